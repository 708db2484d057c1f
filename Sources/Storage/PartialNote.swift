// The note beside a growing body: what is needed to go on with it after a restart.
//
// It is a record like those of the log, of kind `partial`: key, request fields that vary, status, fields with the
// validators, times. In place of a body:
//
//   expected length i64, −1 when unknown · length i64 · SHA-256 of so many bytes · when it was written i64
//
// The digest proves how far the file can be trusted, however the process or the machine stopped: a note that
// does not fit its file is worth nothing.

import Caching

/// How far a body has come.
package struct PartialNote {
  static let bodyLength = 8 + 8 + Digest.byteCount + 8

  package var key: [UInt8]
  package var keyHash: UInt64
  package var variantHash: UInt32
  package var response: StoredResponse
  /// Of the whole body, when it was announced.
  package var expectedLength: Int64?
  /// Of what is there.
  package var length: Int64
  /// Of the first `length` bytes.
  package var digest: Digest
  /// Unix seconds.
  package var writtenAt: Int64

  package func encode(seed: UInt64) -> [UInt8]? {
    var content = RecordContent()
    content.kind = .partial
    content.keyHash = keyHash
    content.key = key
    content.variance = VarianceCoding.encode(response.variance)
    content.variantHash = variantHash
    content.status = response.status.rawValue
    content.requestTime = response.requestTime
    content.responseTime = response.responseTime
    response.fields.serialise(into: &content.fields)
    var body: [UInt8] = []
    body.append(littleEndian: expectedLength ?? -1)
    body.append(littleEndian: length)
    digest.withBytes { body.append(contentsOf: $0) }
    body.append(littleEndian: writtenAt)
    return body.withUnsafeBytes { bytes in
      content.body = .inline(bytes)
      var out: [UInt8] = []
      return RecordFormat.encode(content, seed: seed, into: &out) == nil ? nil : out
    }
  }

  /// `nil` if the bytes are anything but a note, or one that contradicts itself.
  package static func decode(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> PartialNote? {
    guard case .record(let record) = RecordFormat.decode(bytes, seed: seed),
      record.kind == .partial, case .inline(let body) = record.body, body.count == bodyLength,
      let response = StoredResponse(record, in: bytes)
    else { return nil }
    var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[body]))
    guard let expected = reader.integer(Int64.self), let length = reader.integer(Int64.self),
      let digest = reader.digest(), let writtenAt = reader.integer(Int64.self), expected >= -1,
      length > 0, expected == -1 || length <= expected
    else { return nil }
    return PartialNote(
      key: Array(bytes[record.key]), keyHash: record.keyHash, variantHash: record.variantHash,
      response: response,
      expectedLength: expected == -1 ? nil : expected, length: length, digest: digest,
      writtenAt: writtenAt)
  }
}
