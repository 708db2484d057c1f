// Dates in and out: the three forms, what is none of them, the whole calendar round and back.

import SeededRandom
import Testing

@testable import HTTP

// 2026-03-02T10:11:12Z
private let now: Int64 = 1_772_446_272

private func parse(_ text: String, now: Int64 = now) -> Int64? {
  HTTPDate.parse(Array(text.utf8).span, now: now)
}

@Suite("HTTPDate")
struct HTTPDateTests {
  @Test(
    "all three forms of one moment are the same number",
    arguments: [
      "Sun, 06 Nov 1994 08:49:37 GMT",
      "Sunday, 06-Nov-94 08:49:37 GMT",
      "Sun Nov  6 08:49:37 1994",
      "Sun Nov 06 08:49:37 1994",
      "  Sun, 06 Nov 1994 08:49:37 GMT\t",
      "sun, 06 nov 1994 08:49:37 gmt",
      "Tue, 06 Nov 1994 08:49:37 GMT",
    ])
  func oneMoment(text: String) {
    #expect(parse(text) == 784_111_777)
  }

  @Test(
    "what is not a date by the grammar is none",
    arguments: [
      "", "0", "-1", "Sun", "1994-11-06T08:49:37Z",
      "Sun, 6 Nov 1994 08:49:37 GMT",
      "Sun, 06 Nov 94 08:49:37 GMT",
      "Sun, 06 Nov 1994 08:49:37",
      "Sun, 06 Nov 1994 08:49:37 UTC",
      "Sun, 06 Nov 1994 08:49:37 PST",
      "Sun, 06 Nov 1994 08:49:37 GMT+2",
      "Sun, 06 Nov 1994 24:00:00 GMT",
      "Sun, 06 Nov 1994 08:60:00 GMT",
      "Sun, 06 Nov 1994 08:49:61 GMT",
      "Sun, 06 Nov 1994 8:49:37 GMTx",
      "Sun, 32 Jan 1994 08:49:37 GMT",
      "Sun, 00 Jan 1994 08:49:37 GMT",
      "Wed, 29 Feb 2023 00:00:00 GMT",
      "Wed, 29 Feb 1900 00:00:00 GMT",
      "Sat, 01 Jan 0000 00:00:00 GMT",
      "Xxx, 06 Nov 1994 08:49:37 GMT",
      "Sun, 06 Xxx 1994 08:49:37 GMT",
      "Sun, +6 Nov 1994 08:49:37 GMT",
      "Sunday, 06-Nov-94 08:49:37 UTC",
      "Sunday, 06 Nov 94 08:49:37 GMT",
      "Sunday,",
      "Sun Nov  6 08:49:37 94xx",
      "Sun Nov   6 8:49:37 1994",
      "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
      ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,", "aaa,aaaaaaaaaaaaaaaaaaaaaaaaa",
    ])
  func noDate(text: String) {
    #expect(parse(text) == nil)
  }

  @Test("a two-digit year is at most fifty years ahead, else in the past")
  func twoDigitYears() {
    // The present is March 2026, so the line runs through March 2076.
    #expect(parse("Monday, 01-Jan-26 00:00:00 GMT") == parse("Thu, 01 Jan 2026 00:00:00 GMT"))
    #expect(parse("Monday, 01-Jan-75 00:00:00 GMT") == parse("Tue, 01 Jan 2075 00:00:00 GMT"))
    #expect(parse("Monday, 01-Jan-76 00:00:00 GMT") == parse("Wed, 01 Jan 2076 00:00:00 GMT"))
    #expect(parse("Monday, 31-Dec-76 00:00:00 GMT") == parse("Fri, 31 Dec 1976 00:00:00 GMT"))
    #expect(parse("Monday, 01-Jan-77 00:00:00 GMT") == parse("Sat, 01 Jan 1977 00:00:00 GMT"))
    #expect(parse("Monday, 01-Jan-99 00:00:00 GMT") == parse("Fri, 01 Jan 1999 00:00:00 GMT"))
    let in2090 = parse("Sun, 01 Jan 2090 00:00:00 GMT") ?? 0
    #expect(
      parse("Monday, 01-Jan-05 00:00:00 GMT", now: in2090)
        == parse("Thu, 01 Jan 2105 00:00:00 GMT"))
  }

  @Test("a leap day and a leap second are understood")
  func leaps() {
    #expect(parse("Thu, 29 Feb 2024 00:00:00 GMT") == 1_709_164_800)
    #expect(parse("Tue, 29 Feb 2000 00:00:00 GMT") == 951_782_400)
    #expect(
      parse("Sat, 31 Dec 2016 23:59:60 GMT") == parse("Sat, 31 Dec 2016 23:59:59 GMT"))
  }

  @Test(
    "known moments are written as everybody writes them",
    arguments: [
      (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
      (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
      (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
      (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
      (now, "Mon, 02 Mar 2026 10:11:12 GMT"),
      (-62_135_596_800, "Mon, 01 Jan 0001 00:00:00 GMT"),
      (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
      (Int64.min, "Mon, 01 Jan 0001 00:00:00 GMT"),
      (Int64.max, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] as [(Int64, String)])
  func written(seconds: Int64, text: String) {
    #expect(String(decoding: HTTPDate.bytes(seconds), as: UTF8.self) == text)
  }

  @Test("what is written is read as the same second, all over the calendar")
  func roundTrip() {
    var random = SeededGenerator(seed: 0xDA7E)
    for _ in 0..<20_000 {
      let seconds = Int64.random(in: HTTPDate.range, using: &random)
      guard HTTPDate.parse(HTTPDate.bytes(seconds).span, now: now) == seconds else {
        Issue.record("second \(seconds) does not come back")
        return
      }
    }
    // Every day of a full Gregorian cycle.
    for day in 0..<Int64(146_097) {
      let seconds = (day - 25_567) * 86_400 + 43_210
      guard HTTPDate.parse(HTTPDate.bytes(seconds).span, now: now) == seconds else {
        Issue.record("day \(day) does not come back")
        return
      }
    }
  }

  @Test("no bytes make the reader fail other than by saying no")
  func hostileBytes() {
    var random = SeededGenerator(seed: 7)
    let alphabet = Array("SunMonday, 06-Nov 1994 08:49:37GMT\u{0}\u{7F}".utf8)
    for _ in 0..<20_000 {
      let count = Int.random(in: 0...40, using: &random)
      let bytes = (0..<count).map { _ in alphabet.randomElement(using: &random) ?? 0 }
      if let date = HTTPDate.parse(bytes.span, now: Int64.random(in: .min ... .max, using: &random))
      {
        #expect(HTTPDate.range.contains(date))
      }
    }
  }

  @Test("a date is written where the caller wants it, and nowhere else")
  func offset() {
    var buffer = [UInt8](repeating: 0x2E, count: 33)
    var span = buffer.mutableSpan
    HTTPDate.write(0, into: &span, at: 2)
    #expect(String(decoding: buffer, as: UTF8.self) == "..Thu, 01 Jan 1970 00:00:00 GMT..")
  }
}
