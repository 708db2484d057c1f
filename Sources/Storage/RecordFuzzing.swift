// The entry point for fuzzing everything that reads the store's bytes: given anything, it must come back.

import Caching

/// Reads bytes in every way the store would.
package enum RecordFuzzing {
  /// The seed that the records of the corpus were made with.
  package static let seed: UInt64 = 0

  package static func run(_ data: UnsafeRawBufferPointer) {
    _ = RecordFormat.announcedLength(data)
    if case .record(let record) = RecordFormat.decode(data, seed: seed) {
      // What is a record must say the same when it is written again.
      check(record, data)
    }
    _ = SegmentFooter.decode(data, limit: 1 << 20, seed: seed)
    _ = SegmentFooter.footerOffset(trailer: data, fileLength: data.count)
    _ = SegmentHeader.isValid(data, segment: 1, store: seed)
    _ = VarianceCoding.decode(data)
    _ = FieldCoding.decode(data)
    // The checksum hides the rest from a fuzzer: once more with a right one.
    if let length = RecordFormat.announcedLength(data), length <= data.count, length < 1 << 20 {
      var repaired = Array(data[..<length])
      RecordFormat.renumber(&repaired, sequence: 1, seed: seed)
      repaired.withUnsafeBytes { bytes in
        if case .record(let record) = RecordFormat.decode(bytes, seed: seed) {
          check(record, bytes)
        }
        _ = SegmentFooter.decode(bytes, limit: 1 << 20, seed: seed)
      }
    }
  }

  package static func run(_ data: [UInt8]) {
    data.withUnsafeBytes { run($0) }
  }

  private static func check(_ record: RecordView, _ data: UnsafeRawBufferPointer) {
    _ = StoredResponse(record, in: data)
    _ = StoredSummary(record, in: data)
    var content = RecordContent()
    content.kind = record.kind
    content.sequence = record.sequence
    content.keyHash = record.keyHash
    content.variantHash = record.variantHash
    content.status = record.status
    content.requestTime = record.requestTime
    content.responseTime = record.responseTime
    content.key = Array(data[record.key])
    content.variance = Array(data[record.variance])
    content.fields = Array(data[record.fields])
    switch record.body {
    case .none: content.body = .none
    case .inline(let range):
      content.body = .inline(UnsafeRawBufferPointer(rebasing: data[range]))
    case .blob(let digest, let length): content.body = .blob(digest, length: length)
    }
    var again: [UInt8] = []
    _ = RecordFormat.encode(content, seed: seed, into: &again)
    precondition(
      again.elementsEqual(data[..<record.length]),
      "a record that is not what it would be written as")
  }
}
