// What must hold for any bytes in the log: a record is read as what was written, and written again
// it is the same bytes. The checksum would turn away nearly every input before it is looked at,
// so here it is put right first, as a disk never would.

import Storage

func fuzzRecord(_ bytes: [UInt8]) {
  let seed: UInt64 = 7
  decode(bytes, seed: seed)
  guard
    let length = bytes.withUnsafeBytes({ RecordFormat.announcedLength($0) }),
    length <= bytes.count
  else { return }
  var repaired = Array(bytes[..<length])
  let sequence = repaired[8..<16].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  RecordFormat.renumber(&repaired, sequence: sequence, seed: seed)
  decode(repaired, seed: seed)
}

private func decode(_ bytes: [UInt8], seed: UInt64) {
  let decoded = bytes.withUnsafeBytes { RecordFormat.decode($0, seed: seed) }
  guard case .record(let view) = decoded else { return }
  precondition(view.length <= bytes.count, "a record ends inside the bytes")
  for part in [view.key, view.variance, view.fields] {
    precondition(part.upperBound <= view.length, "its parts lie inside")
  }

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
  var written: [UInt8] = []
  let length = bytes.withUnsafeBytes { bytes in
    switch view.body {
    case .none: content.body = .none
    case .inline(let range):
      precondition(range.upperBound <= view.length, "the body lies inside")
      content.body = .inline(UnsafeRawBufferPointer(rebasing: bytes[range]))
    case .blob(let digest, let length): content.body = .blob(digest, length: length)
    }
    return RecordFormat.encode(content, seed: seed, into: &written)
  }
  precondition(length == view.length, "written again it is as long")
  precondition(written[...] == bytes[..<view.length], "and the same")
}
