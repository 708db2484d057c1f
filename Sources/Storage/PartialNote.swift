// The note beside a growing body: what is needed to go on with it after a restart.
//
// It is a record like those of the log, of kind `partial`: key, request fields that vary, status, fields with the
// validators, times. In place of a body it has the expected length, 8 bytes, −1 when unknown.

import Caching

enum PartialNote {
  static func encode(
    _ key: CacheKey, _ response: StoredResponse, expectedLength: Int64?, seed: UInt64
  ) -> [UInt8]? {
    var content = RecordContent()
    content.kind = .partial
    content.keyHash = key.hash
    content.key = key.bytes
    content.variance = VarianceCoding.encode(response.variance)
    content.variantHash = VarianceCoding.hash(content.variance, seed: seed)
    content.status = response.status.rawValue
    content.requestTime = response.requestTime
    content.responseTime = response.responseTime
    response.fields.serialise(into: &content.fields)
    var length: [UInt8] = []
    length.append(littleEndian: expectedLength ?? -1)
    return length.withUnsafeBytes { bytes in
      content.body = .inline(bytes)
      var out: [UInt8] = []
      return RecordFormat.encode(content, seed: seed, into: &out) == nil ? nil : out
    }
  }
}
