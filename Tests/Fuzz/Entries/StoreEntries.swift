// What the store reads off its disk besides the records of responses: the ends and beginnings of segments,
// notes beside growing bodies, the two codings inside a record, the file `format`, names of files.
//
// The same bytes go to every reader. Where a checksum stands in front, it is put right as well
// (RecordChecks). What is understood says the same when it is written and read again, and no place
// lies outside the file.

import Caching
import HTTP
import Storage

func fuzzStore(_ bytes: [UInt8]) {
  for bytes in [bytes] + (RecordChecks.repaired(bytes).map { [$0] } ?? []) {
    require(StoreChecks.footer(bytes))
    require(StoreChecks.note(bytes))
  }
  require(StoreChecks.segment(bytes))
  require(StoreChecks.header(bytes))
  require(StoreChecks.variance(bytes))
  require(StoreChecks.fields(bytes))
  require(StoreChecks.texts(bytes))
}

/// Each answers nil, or says which promise was broken.
enum StoreChecks {
  static func footer(_ bytes: [UInt8]) -> String? {
    // A footer speaks of what lies before it, which is not here: any place that a segment may have.
    let limit = 1 << 20
    func decode(_ bytes: [UInt8]) -> [FooterEntry]? {
      bytes.withUnsafeBytes { SegmentFooter.decode($0, limit: limit, seed: storeSeed) }
    }
    guard let entries = decode(bytes) else { return nil }
    for entry in entries
    where entry.offset < SegmentHeader.length || entry.length < 0
      || entry.offset + entry.length > limit
    {
      return "an entry at \(entry.offset) of \(entry.length) bytes"
    }
    guard
      let written = SegmentFooter.encode(entries, at: limit, sequence: 1, seed: storeSeed)
    else { return "a footer that was read cannot be written" }
    return decode(written) == entries ? nil : "written again it is another footer"
  }

  /// The bytes as a whole sealed segment: from the trailer to the footer.
  static func segment(_ bytes: [UInt8]) -> String? {
    let trailer = Array(bytes.suffix(SegmentFooter.trailerLength))
    let found = trailer.withUnsafeBytes {
      SegmentFooter.footerOffset(trailer: $0, fileLength: bytes.count)
    }
    guard let offset = found else { return nil }
    guard (0...bytes.count - SegmentFooter.trailerLength).contains(offset) else {
      return "a footer at \(offset) of \(bytes.count)"
    }
    let record = Array(bytes[offset...])
    return footer(record) ?? RecordChecks.repaired(record).flatMap(footer)
  }

  static func header(_ bytes: [UInt8]) -> String? {
    func isValid(_ segment: UInt32, _ store: UInt64) -> Bool {
      bytes.withUnsafeBytes { SegmentHeader.isValid($0, segment: segment, store: store) }
    }
    guard isValid(1, storeSeed) else { return nil }
    return isValid(2, storeSeed) || isValid(1, storeSeed + 1)
      ? "the header of one segment is that of another" : nil
  }

  static func note(_ bytes: [UInt8]) -> String? {
    func decode(_ bytes: [UInt8]) -> PartialNote? {
      bytes.withUnsafeBytes { PartialNote.decode($0, seed: storeSeed) }
    }
    guard let note = decode(bytes) else { return nil }
    if note.length <= 0 { return "\(note.length) bytes of a body" }
    if let expected = note.expectedLength, expected < note.length { return "more than the whole" }
    guard let written = note.encode(seed: storeSeed) else { return "it cannot be written again" }
    guard let again = decode(written) else { return "written again it is no note" }
    return again.encode(seed: storeSeed) == written ? nil : "written again it is another note"
  }

  static func variance(_ bytes: [UInt8]) -> String? {
    func decode(_ bytes: [UInt8]) -> Variance? {
      bytes.withUnsafeBytes { VarianceCoding.decode($0) }
    }
    guard let variance = decode(bytes) else { return nil }
    return decode(VarianceCoding.encode(variance)) == variance
      ? nil : "written again it is another variance"
  }

  static func fields(_ bytes: [UInt8]) -> String? {
    func decode(_ bytes: [UInt8]) -> FieldSection? {
      bytes.withUnsafeBytes { FieldCoding.decode($0) }
    }
    guard let fields = decode(bytes) else { return nil }
    var written: [UInt8] = []
    fields.serialise(into: &written)
    if written.count > bytes.count { return "fields grow when they are written again" }
    return decode(written) == fields ? nil : "written again they are other fields"
  }

  static func texts(_ bytes: [UInt8]) -> String? {
    let text = String(decoding: bytes, as: UTF8.self)
    if let segment = Segment.id(named: text), Segment.name(segment) != text {
      return "segment \(segment) has two names"
    }
    if let digest = Digest(hex: text), digest.hex != text { return "a digest has two names" }
    if let (id, state) = try? StoreFormat.parse(text, directory: "store") {
      let digits = String(id, radix: 16)
      let padded = String(repeating: "0", count: max(0, 16 - digits.count)) + digits
      let written = "holdfast-store \(StoreFormat.version)\nid \(padded)\nstate "
      if !text.hasPrefix(written) { return "the id \(padded) is not what is written" }
      if state == .clean, !text.hasPrefix(written + "clean\n") { return "taken for clean" }
    }
    return nil
  }
}
