// What is in a segment: from its footer when it has one, from its records when not.

import Platform

struct SegmentContents {
  /// One per record, in log order.
  var entries: [FooterEntry] = []
  /// Where the good records end.
  var end = SegmentHeader.length
  var isSealed = false
  /// Every byte was accounted for. If not, what follows `end` is torn or damaged.
  var isWhole = true
  /// The kernel refused to read on: nothing may be concluded about the rest.
  var failure: Errno?

  static func read(_ segment: Segment, seed: UInt64) -> SegmentContents {
    do throws(Errno) {
      let length = Int(try File.status(segment.descriptor).size)
      if let sealed = try fromFooter(segment, fileLength: length, seed: seed) { return sealed }
      return scan(segment, to: length, seed: seed)
    } catch {
      return SegmentContents(isWhole: false, failure: error)
    }
  }

  private static func fromFooter(
    _ segment: Segment, fileLength: Int, seed: UInt64
  ) throws(Errno) -> SegmentContents? {
    let trailerAt = fileLength - SegmentFooter.trailerLength
    guard trailerAt > SegmentHeader.length else { return nil }
    let trailer = try segment.read(at: trailerAt, count: SegmentFooter.trailerLength)
    guard
      let offset = trailer.withUnsafeBytes({
        SegmentFooter.footerOffset(trailer: $0, fileLength: fileLength)
      })
    else { return nil }
    let bytes = try segment.read(at: offset, count: trailerAt - offset)
    guard
      let entries = bytes.withUnsafeBytes({
        SegmentFooter.decode($0, limit: offset, seed: seed)
      })
    else { return nil }
    return SegmentContents(entries: entries, end: offset, isSealed: true)
  }

  /// Reads every record, whether there is a footer or not.
  static func scan(_ segment: Segment, to end: Int, seed: UInt64) -> SegmentContents {
    var contents = SegmentContents()
    var scan = SegmentScan(segment, end: end, seed: seed)
    while true {
      switch scan.next() {
      case .record(let record, let offset):
        guard record.kind == .response || record.kind == .tombstone else {
          // A footer without its trailer: sealing was cut off. It is made again.
          contents.isWhole = false
          return contents
        }
        contents.entries.append(FooterEntry(record, at: offset))
        contents.end = offset + record.length
      case .end:
        return contents
      case .damaged:
        contents.isWhole = false
        return contents
      case .failed(let errno):
        contents.isWhole = false
        contents.failure = errno
        return contents
      }
    }
  }
}

extension FooterEntry {
  init(_ record: RecordView, at offset: Int) {
    var blob: BlobReference?
    if case .blob(let digest, let length) = record.body {
      blob = BlobReference(digest: digest, length: length)
    }
    self.init(
      keyHash: record.keyHash, variantHash: record.variantHash, offset: offset,
      length: record.length, kind: record.kind, blob: blob)
  }
}
