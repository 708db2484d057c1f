// What must hold for any bytes in the log: a record is read as what was written, and written again
// it is the same bytes. The checksum would turn away nearly every input before it is looked at,
// so here it is put right first, as a disk never would.

import Caching
import Storage

/// The seed that the corpus was made with.
let storeSeed: UInt64 = 0

func fuzzRecord(_ bytes: [UInt8]) {
  require(RecordChecks.roundTrip(bytes))
  if let repaired = RecordChecks.repaired(bytes) { require(RecordChecks.roundTrip(repaired)) }
}

/// Each answers nil, or says which promise was broken.
enum RecordChecks {
  /// The record at the start of the bytes, with a checksum that fits; nil if there is none.
  static func repaired(_ bytes: [UInt8]) -> [UInt8]? {
    guard
      let length = bytes.withUnsafeBytes({ RecordFormat.announcedLength($0) }),
      length <= bytes.count
    else { return nil }
    var record = Array(bytes[..<length])
    let sequence = record[8..<16].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    RecordFormat.renumber(&record, sequence: sequence, seed: storeSeed)
    return record
  }

  static func roundTrip(_ bytes: [UInt8]) -> String? {
    bytes.withUnsafeBytes { bytes in
      guard case .record(let view) = RecordFormat.decode(bytes, seed: storeSeed) else { return nil }
      if view.length > bytes.count { return "a record ends behind the bytes" }
      for part in [view.key, view.variance, view.fields] where part.upperBound > view.length {
        return "a part ends behind its record"
      }
      return writing(view, bytes) ?? meaning(view, bytes)
    }
  }

  private static func writing(_ view: RecordView, _ bytes: UnsafeRawBufferPointer) -> String? {
    var content = RecordContent()
    content.kind = view.kind
    content.sequence = view.sequence
    content.keyHash = view.keyHash
    content.variantHash = view.variantHash
    content.status = view.status
    content.requestTime = view.requestTime
    content.responseTime = view.responseTime
    content.key = Array(bytes[view.key])
    content.variance = Array(bytes[view.variance])
    content.fields = Array(bytes[view.fields])
    switch view.body {
    case .none: content.body = .none
    case .inline(let range):
      if range.upperBound > view.length { return "the body ends behind its record" }
      content.body = .inline(UnsafeRawBufferPointer(rebasing: bytes[range]))
    case .blob(let digest, let length): content.body = .blob(digest, length: length)
    }
    var written: [UInt8] = []
    guard RecordFormat.encode(content, seed: storeSeed, into: &written) == view.length else {
      return "written again it has another length"
    }
    return written.elementsEqual(bytes[..<view.length]) ? nil : "written again it is another record"
  }

  /// What the proxy and `holdfast store` make of a record.
  private static func meaning(_ view: RecordView, _ bytes: UnsafeRawBufferPointer) -> String? {
    if let response = StoredResponse(view, in: bytes), response.status.rawValue != view.status {
      return "a response with another status"
    }
    if let summary = StoredSummary(view, in: bytes), summary.contentLength < 0 {
      return "content of \(summary.contentLength) bytes"
    }
    return nil
  }
}
