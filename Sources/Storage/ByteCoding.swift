// Little-endian integers into and out of bytes, for everything the store keeps on disk.
//
// `ByteReader` never reads past its end, whatever the bytes say: each method answers `nil` instead.

/// Reads forward through bytes that may be anything.
struct ByteReader {
  let bytes: UnsafeRawBufferPointer
  private(set) var offset: Int

  init(_ bytes: UnsafeRawBufferPointer, at offset: Int = 0) {
    self.bytes = bytes
    self.offset = offset
  }

  var remaining: Int { bytes.count - offset }

  mutating func integer<Value: FixedWidthInteger>(_: Value.Type = Value.self) -> Value? {
    let size = MemoryLayout<Value>.size
    guard remaining >= size else { return nil }
    defer { offset += size }
    return Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Value.self))
  }

  /// The range of the next `count` bytes, which are skipped.
  mutating func range(_ count: Int) -> Range<Int>? {
    guard count >= 0, remaining >= count else { return nil }
    defer { offset += count }
    return offset..<offset + count
  }

  mutating func digest() -> Digest? {
    guard let range = range(Digest.byteCount) else { return nil }
    return Digest(UnsafeRawBufferPointer(rebasing: bytes[range]))
  }
}

extension [UInt8] {
  mutating func append<Value: FixedWidthInteger>(littleEndian value: Value) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  mutating func overwrite<Value: FixedWidthInteger>(littleEndian value: Value, at offset: Int) {
    Swift.withUnsafeBytes(of: value.littleEndian) {
      replaceSubrange(offset..<offset + MemoryLayout<Value>.size, with: $0)
    }
  }
}

/// Bytes that somebody lends for the time of a call, taken into a lock's closure.
///
/// `Mutex` refuses a plain pointer there, since it could be kept; these methods do not keep it.
struct Borrowed: @unchecked Sendable {
  nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

  @inline(__always)
  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }
}
