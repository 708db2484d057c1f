// Range and Content-Range: reading, resolving against known and growing lengths, no amplification.

import SeededRandom
import Testing

@testable import HTTP

private func field(_ text: String) -> RangeField { RangeField(Array(text.utf8).span) }

@Suite("Byte ranges")
struct ByteRangeTests {
  @Test(
    "one range is read",
    arguments: [
      ("bytes=0-0", .bounded(0, through: 0)),
      ("bytes=0-499", .bounded(0, through: 499)),
      ("bytes=500-", .from(500)),
      ("bytes=-500", .suffix(500)),
      ("Bytes=1-2", .bounded(1, through: 2)),
      ("bytes=1-2,", .bounded(1, through: 2)),
      ("bytes= 1-2 ", .bounded(1, through: 2)),
      ("bytes=0-99999999999999999999999", .bounded(0, through: .max)),
      ("bytes=99999999999999999999999-", .from(.max)),
    ] as [(String, ByteRange)])
  func single(text: String, range: ByteRange) {
    #expect(field(text) == .single(range))
  }

  @Test(
    "what cannot be read as ranges of bytes is ignored",
    arguments: [
      "", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=5", "bytes=5-4", "bytes=a-b",
      "bytes=0x0-1", "bytes=-1-2", "bytes=1 - 2", "bytes=+1-2", "bytes=1-2;3-4", "bytes 0-1",
      "items=0-1", "bytes=0-1,x", "bytes=0-1,5-4", "none", "bytes=1-2-3",
    ])
  func ignored(text: String) {
    #expect(field(text) == .ignored)
  }

  @Test("a list of more than 256 ranges is ignored")
  func tooMany() {
    let ranges = (0..<257).map { "\($0 * 10)-\($0 * 10 + 1)" }
    #expect(field("bytes=" + ranges.joined(separator: ",")) == .ignored)
    let fewer = field("bytes=" + ranges.dropLast().joined(separator: ","))
    if case .list(let list) = fewer { #expect(list.count == 256) } else { Issue.record("\(fewer)") }
  }

  @Test(
    "ranges are resolved against a known length",
    arguments: [
      ("bytes=0-9", 100, .single(0..<10)),
      ("bytes=0-999", 100, .single(0..<100)),
      ("bytes=99-", 100, .single(99..<100)),
      ("bytes=100-", 100, .unsatisfiable),
      ("bytes=100-200", 100, .unsatisfiable),
      ("bytes=-10", 100, .single(90..<100)),
      ("bytes=-1000", 100, .single(0..<100)),
      ("bytes=-0", 100, .unsatisfiable),
      ("bytes=0-", 0, .unsatisfiable),
      ("bytes=-5", 0, .whole),
      ("bytes=0-99999999999999999999999", 100, .single(0..<100)),
      ("bytes=99999999999999999999999-", 100, .unsatisfiable),
      ("bytes=-99999999999999999999999", 100, .single(0..<100)),
      ("bytes=x", 100, .whole),
      ("bytes=0-9,20-29", 100, .multiple([0..<10, 20..<30])),
      ("bytes=20-29,0-9", 100, .multiple([20..<30, 0..<10])),
      ("bytes=0-9,5-14", 100, .single(0..<15)),
      ("bytes=0-9,10-19", 100, .single(0..<20)),
      ("bytes=5-14,0-9", 100, .single(0..<15)),
      ("bytes=0-9,200-", 100, .single(0..<10)),
      ("bytes=200-,300-", 100, .unsatisfiable),
      ("bytes=0-,0-,0-", 100, .single(0..<100)),
      ("bytes=50-,0-49,50-,0-49", 100, .single(0..<100)),
      ("bytes=0-59,80-,0-59,80-", 100, .whole),
      ("bytes=0-9,20-29,5-14", 100, .whole),
      ("bytes=0-9,20-29,0-9", 100, .whole),
      ("bytes=0-9,20-29,10-19", 100, .multiple([0..<10, 10..<30])),
      ("bytes=-1,0-0", 100, .multiple([99..<100, 0..<1])),
    ] as [(String, Int64, RangeField.Resolution)])
  func knownLength(text: String, length: Int64, resolution: RangeField.Resolution) {
    #expect(field(text).resolve(length: length) == resolution)
  }

  @Test(
    "of a body whose length is not known yet only what has arrived is certain",
    arguments: [
      ("bytes=0-9", 10, .single(0..<10)),
      ("bytes=0-9", 9, .needsLength),
      ("bytes=0-", 10, .needsLength),
      ("bytes=-5", 10, .needsLength),
      ("bytes=0-1,4-5", 10, .multiple([0..<2, 4..<6])),
      ("bytes=0-1,40-50", 10, .needsLength),
    ] as [(String, Int64, RangeField.Resolution)])
  func unknownLength(text: String, received: Int64, resolution: RangeField.Resolution) {
    #expect(field(text).resolve(length: nil, received: received) == resolution)
  }

  @Test("of an endless whole, more than can be counted is the whole")
  func sumOverflows() {
    let all = field("bytes=250-600,601-998,-2,90-").resolve(length: .max)
    #expect(all == .whole)
  }

  @Test("no list makes the answer longer than the whole")
  func noAmplification() {
    var random = SeededGenerator(seed: 206)
    for _ in 0..<2000 {
      let length = Int64.random(in: 1...1000, using: &random)
      let count = Int.random(in: 1...20, using: &random)
      let specs = (0..<count).map { _ in
        switch Int.random(in: 0...2, using: &random) {
        case 0: "\(Int64.random(in: 0...1200, using: &random))-"
        case 1: "-\(Int64.random(in: 0...1200, using: &random))"
        default:
          {
            let first = Int64.random(in: 0...1200, using: &random)
            return "\(first)-\(first + Int64.random(in: 0...300, using: &random))"
          }()
        }
      }
      switch field("bytes=" + specs.joined(separator: ", ")).resolve(length: length) {
      case .multiple(let parts):
        #expect(parts.count > 1)
        #expect(parts.reduce(0) { $0 + $1.count } <= Int(length))
        #expect(parts.allSatisfy { $0.lowerBound >= 0 && $0.upperBound <= length && !$0.isEmpty })
      case .single(let part):
        #expect(part.lowerBound >= 0 && part.upperBound <= length && !part.isEmpty)
      case .whole, .unsatisfiable: break
      case .needsLength: Issue.record("the length is known")
      }
    }
  }
}

@Suite("Content-Range")
struct ContentRangeTests {
  @Test(
    "is read and written alike",
    arguments: [
      ("bytes 0-9/100", 0..<10, 100), ("bytes 90-99/100", 90..<100, 100),
      ("bytes 5-5/*", 5..<6, nil), ("bytes */100", nil, 100), ("bytes */0", nil, 0),
    ] as [(String, Range<Int64>?, Int64?)])
  func readAndWritten(text: String, range: Range<Int64>?, length: Int64?) {
    let value = ContentRange(Array(text.utf8).span)
    #expect(value == ContentRange(range: range, completeLength: length))
    var written: [UInt8] = []
    value?.serialise(into: &written)
    #expect(String(decoding: written, as: UTF8.self) == text)
  }

  @Test(
    "an invalid one is refused, never guessed at",
    arguments: [
      "", "bytes", "bytes ", "bytes 0-9", "bytes 9-0/100", "bytes 0-100/100", "bytes 0-9/9",
      "bytes */*", "bytes=0-9/100", "items 0-9/100", "bytes 0-/100", "bytes -9/100",
      "bytes 0-9/", "bytes 0-9/1x", "bytes 0 -9/100", "bytes 0-9/100/100", "bytes /100",
      "bytes 0-9223372036854775807/*", "bytes 0-9/9223372036854775807", "bytes **/5",
      "bytes 99999999999999999999-99999999999999999999/*",
    ])
  func invalid(text: String) {
    #expect(ContentRange(Array(text.utf8).span) == nil)
  }
}
