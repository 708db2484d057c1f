// Which beginnings are kept, what is asked for, and what is taken for their rest.

import HTTP
import Testing

@testable import Caching

@Suite struct CompletionTests {
  private static let date = "Mon, 02 Mar 2026 10:11:12 GMT"
  private static let dayBefore = "Sun, 01 Mar 2026 10:11:12 GMT"

  private func stored(_ fields: [(String, String)], status: UInt16 = 200) -> StoredResponse {
    StoredResponse(
      status: Status(rawValue: status), fields: section([("Date", Self.date)] + fields),
      requestTime: 1_772_446_272, responseTime: 1_772_446_272, variance: Variance(selectors: []))
  }

  private func section(_ fields: [(String, String)]) -> FieldSection {
    var section = FieldSection()
    for (name, value) in fields {
      section.append(named: name, value)
    }
    return section
  }

  @Test(
    "only what a strong validator names is worth keeping, and only of origins that give ranges",
    arguments: [
      ([("ETag", "\"a\"")], true),
      ([("ETag", "\"a\""), ("Accept-Ranges", "bytes")], true),
      ([("ETag", "\"a\""), ("Accept-Ranges", "none")], false),
      ([("ETag", "\"a\""), ("Accept-Ranges", "bytes, None")], false),
      ([("ETag", "W/\"a\"")], false),
      ([("ETag", "W/\"a\""), ("Last-Modified", dayBefore)], false),
      ([("ETag", "a")], false),
      ([("ETag", "\"a\""), ("ETag", "\"b\"")], false),
      ([("Last-Modified", dayBefore)], true),
      // The same second: it may have changed again within it.
      ([("Last-Modified", date)], false),
      ([("ETag", "\"a\""), ("Content-Range", "bytes 0-9/10")], false),
      ([], false),
    ] as [([(String, String)], Bool)])
  func possible(fields: [(String, String)], expected: Bool) {
    #expect(Completion.isPossible(for: stored(fields)) == expected)
  }

  @Test("only a 200 is", arguments: [UInt16(203), 206, 301, 404, 500])
  func otherStatus(status: UInt16) {
    #expect(!Completion.isPossible(for: stored([("ETag", "\"a\"")], status: status)))
  }

  @Test(
    "the rest is asked for on condition of the tag, or else of the date, as the origin wrote them")
  func asked() {
    var request = section([
      ("Accept", "*/*"), ("Range", "bytes=5-6"), ("If-Range", "\"x\""), ("If-None-Match", "\"x\""),
    ])
    Completion.ask(
      for: stored([("ETag", "\"a\""), ("Last-Modified", Self.dayBefore)]), from: 70_000,
      in: &request)
    #expect(text(request) == "Accept: */*|Range: bytes=70000-|If-Range: \"a\"")
    request = section([])
    Completion.ask(for: stored([("Last-Modified", Self.dayBefore)]), from: 1, in: &request)
    #expect(text(request) == "Range: bytes=1-|If-Range: \(Self.dayBefore)")
  }

  private func text(_ fields: FieldSection) -> String {
    (0..<fields.count).map { index in
      "\(String(decoding: fields.name(at: index), as: UTF8.self)): \(String(decoding: fields.value(at: index), as: UTF8.self))"
    }.joined(separator: "|")
  }

  struct Case: Sendable {
    var what: String
    var range: String?
    var tag: String? = "\"a\""
    var announced: UInt64? = 60
    var fits = false
  }

  private static let cases = [
    Case(what: "the rest", range: "bytes 40-99/100", fits: true),
    Case(
      what: "the rest, of unannounced length", range: "bytes 40-99/100", announced: nil, fits: true),
    Case(what: "another tag", range: "bytes 40-99/100", tag: "\"b\""),
    Case(what: "the tag weakened", range: "bytes 40-99/100", tag: "W/\"a\""),
    Case(what: "no tag", range: "bytes 40-99/100", tag: nil),
    Case(what: "no Content-Range (multipart)", range: nil),
    Case(what: "not where the beginning ends", range: "bytes 39-99/100", announced: 61),
    Case(what: "a gap", range: "bytes 41-99/100", announced: 59),
    Case(what: "not to the end", range: "bytes 40-98/100", announced: 59),
    Case(what: "another length", range: "bytes 40-100/101", announced: 61),
    Case(what: "a length nobody knows", range: "bytes 40-99/*"),
    Case(what: "content of another length", range: "bytes 40-99/100", announced: 61),
    Case(what: "another unit", range: "lines 40-99/100"),
    Case(what: "nonsense", range: "bytes 99-40/100"),
  ]

  @Test("parts are joined only if they meet and are surely of the same whole", arguments: cases)
  func joined(_ example: Case) {
    let stored = stored([
      ("ETag", "\"a\""), ("Content-Length", "100"), ("Cache-Control", "max-age=9"), ("X", "old"),
    ])
    var fields = [("Cache-Control", "max-age=600"), ("X", "new")]
    if let range = example.range { fields.append(("Content-Range", range)) }
    if let tag = example.tag { fields.append(("ETag", tag)) }
    let outcome = Completion.join(
      stored, keptUpTo: 40, with: section(fields), announced: example.announced,
      request: FieldSection(), requestTime: 1_772_446_300, responseTime: 1_772_446_300)
    guard case .rest(let response, let length) = outcome else {
      #expect(!example.fits)
      return
    }
    #expect(example.fits && length == 100)
    #expect(response.status == .ok && response.contentLength == 100)
    #expect(response.freshness.lifetime == 600)
    let fieldsNow = text(response.fields)
    #expect(fieldsNow.contains("X: new") && !fieldsNow.contains("Content-Range"))
  }

  @Test("a date joins parts only if it is the same and strong, and no tag speaks against it")
  func byDate() {
    let stored = stored([("Last-Modified", Self.dayBefore), ("Cache-Control", "max-age=9")])
    func fits(_ fields: [(String, String)]) -> Bool {
      let outcome = Completion.join(
        stored, keptUpTo: 40, with: section([("Content-Range", "bytes 40-99/100")] + fields),
        announced: 60, request: FieldSection(), requestTime: 1_772_446_300,
        responseTime: 1_772_446_300)
      if case .rest = outcome { return true }
      return false
    }
    #expect(fits([("Last-Modified", Self.dayBefore)]))
    #expect(!fits([("Last-Modified", Self.date)]))
    #expect(!fits([("Last-Modified", Self.dayBefore), ("ETag", "\"a\"")]))
    #expect(!fits([]))
  }

  @Test("a rest that forbids storing is not joined")
  func forbidden() {
    let outcome = Completion.join(
      stored([("ETag", "\"a\"")]), keptUpTo: 40,
      with: section([
        ("Content-Range", "bytes 40-99/100"), ("ETag", "\"a\""), ("Cache-Control", "no-store"),
      ]), announced: 60, request: FieldSection(), requestTime: 1_772_446_300,
      responseTime: 1_772_446_300)
    guard case .unrelated = outcome else {
      Issue.record("joined")
      return
    }
  }
}
