// The bytes of records: what goes in comes out, and nothing else is taken for a record.

import FuzzEntries
import SeededRandom
import Testing

@testable import Storage

private func sample(_ random: inout SeededGenerator) -> RecordContent {
  func some(_ limit: Int) -> [UInt8] {
    (0..<Int.random(in: 0...limit, using: &random)).map { _ in .random(in: 0...255, using: &random)
    }
  }
  var content = RecordContent()
  content.kind = Bool.random(using: &random) ? .response : .tombstone
  content.sequence = .random(in: 0...UInt64.max, using: &random)
  content.keyHash = .random(in: 0...UInt64.max, using: &random)
  content.variantHash = .random(in: 0...UInt32.max, using: &random)
  content.status = .random(in: 0...UInt16.max, using: &random)
  content.requestTime = .random(in: Int64.min...Int64.max, using: &random)
  content.responseTime = .random(in: Int64.min...Int64.max, using: &random)
  content.key = some(200)
  content.variance = some(50)
  content.fields = some(400)
  return content
}

private func encoded(_ content: RecordContent, _ inline: [UInt8]? = nil, seed: UInt64 = 9)
  -> [UInt8]
{
  var out: [UInt8] = []
  _ = (inline ?? []).withUnsafeBytes { bytes in
    var content = content
    if inline != nil { content.body = .inline(bytes) }
    return RecordFormat.encode(content, seed: seed, into: &out)
  }
  return out
}

private func decoded(_ bytes: [UInt8], seed: UInt64 = 9) -> RecordFormat.Decoded {
  bytes.withUnsafeBytes { RecordFormat.decode($0, seed: seed) }
}

@Suite struct RecordFormatTests {
  @Test("what is written is read back", arguments: 0..<200 as Range<UInt64>)
  func roundTrip(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let content = sample(&random)
    let inline = seed % 3 == 0 ? nil : bytes(Int.random(in: 0...2000, using: &random), seed: seed)
    let record = encoded(content, inline)
    #expect(record.count % 8 == 0)
    guard case .record(let view) = decoded(record + bytes(Int(seed) % 40)) else {
      Issue.record("not a record")
      return
    }
    #expect(view.length == record.count)
    #expect(view.kind == content.kind)
    #expect(view.sequence == content.sequence)
    #expect(view.keyHash == content.keyHash)
    #expect(view.variantHash == content.variantHash)
    #expect(view.status == content.status)
    #expect(view.requestTime == content.requestTime)
    #expect(view.responseTime == content.responseTime)
    #expect(Array(record[view.key]) == content.key)
    #expect(Array(record[view.variance]) == content.variance)
    #expect(Array(record[view.fields]) == content.fields)
    if let inline {
      guard case .inline(let range) = view.body else {
        Issue.record("body lost")
        return
      }
      #expect(Array(record[range]) == inline)
    } else {
      #expect(view.body == .none)
    }
  }

  @Test("a blob reference is read back")
  func blob() throws {
    let digest = try #require(Digest(hex: String(repeating: "ab", count: 32)))
    var content = RecordContent()
    content.key = Array("k".utf8)
    content.body = .blob(digest, length: 12345)
    var out: [UInt8] = []
    _ = RecordFormat.encode(content, seed: 1, into: &out)
    guard case .record(let view) = decoded(out, seed: 1) else {
      Issue.record("not a record")
      return
    }
    #expect(view.body == .blob(digest, length: 12345))
  }

  @Test("no flipped bit, no missing byte and no other store's seed goes unnoticed")
  func damage() {
    var random = SeededGenerator(seed: 3)
    let record = encoded(sample(&random), bytes(100))
    for bit in 0..<record.count * 8 {
      var damaged = record
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      if case .record = decoded(damaged) { Issue.record("bit \(bit)") }
    }
    for count in 0..<record.count {
      if case .record = decoded(Array(record[..<count])) { Issue.record("length \(count)") }
    }
    if case .record = decoded(record, seed: 10) { Issue.record("seed") }
  }

  @Test("a part that is longer than the format allows is refused, not cut")
  func tooLong() {
    var content = RecordContent()
    content.key = [UInt8](repeating: 65, count: RecordFormat.maximumKey + 1)
    var out: [UInt8] = []
    #expect(RecordFormat.encode(content, seed: 1, into: &out) == nil)
    #expect(out.isEmpty)
  }

  @Test("a renumbered record is the same but for its number")
  func renumbered() {
    var random = SeededGenerator(seed: 4)
    var record = encoded(sample(&random), bytes(64))
    RecordFormat.renumber(&record, sequence: 77, seed: 9)
    guard case .record(let view) = decoded(record) else {
      Issue.record("not a record")
      return
    }
    #expect(view.sequence == 77)
  }

  @Test("any bytes are survived", arguments: 0..<300 as Range<UInt64>)
  func anyBytes(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    // Random bytes behind a right beginning, so that the lengths are reached.
    var data = bytes(Int.random(in: 0...400, using: &random), seed: seed)
    if seed % 2 == 0, data.count >= 8 {
      data.overwrite(littleEndian: RecordFormat.magic, at: 0)
      data.overwrite(littleEndian: UInt32(data.count / 8 * 8), at: 4)
    }
    FuzzTarget.record.run(data)
    FuzzTarget.store.run(data)
  }
}

@Suite struct SegmentFooterTests {
  @Test("the keys of a segment are read back, and damage is seen")
  func roundTrip() throws {
    let digest = try #require(Digest(hex: String(repeating: "cd", count: 32)))
    let entries = (0..<50).map { number in
      FooterEntry(
        keyHash: UInt64(number) &* 0x1234_5678_9ABC, variantHash: UInt32(number),
        offset: 32 + number * 80, length: 80, kind: number % 7 == 0 ? .tombstone : .response,
        blob: number % 3 == 0 ? BlobReference(digest: digest, length: 99) : nil)
    }
    let end = 32 + 50 * 80
    let footer = try #require(SegmentFooter.encode(entries, at: end, sequence: 1, seed: 5))
    let read = footer.withUnsafeBytes { SegmentFooter.decode($0, limit: end, seed: 5) }
    #expect(read == entries)
    // An entry that points behind the records is no entry.
    #expect(footer.withUnsafeBytes { SegmentFooter.decode($0, limit: end - 8, seed: 5) } == nil)
    var damaged = footer
    damaged[200] ^= 1
    #expect(damaged.withUnsafeBytes { SegmentFooter.decode($0, limit: end, seed: 5) } == nil)
    let trailer = Array(footer.suffix(SegmentFooter.trailerLength))
    #expect(
      trailer.withUnsafeBytes {
        SegmentFooter.footerOffset(trailer: $0, fileLength: end + footer.count)
      } == end)
  }
}
