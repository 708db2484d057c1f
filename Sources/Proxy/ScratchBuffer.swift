// Where a worker puts an answer together before it goes to the socket: head after head of pipelined hits,
// small content included, sent with one call. Raw memory, because this is touched for every hit.

import HTTP

final class ScratchBuffer {
  static let capacity = 256 << 10

  let base: UnsafeMutableRawPointer
  var count = 0

  init() {
    base = UnsafeMutableRawPointer.allocate(byteCount: Self.capacity, alignment: 64)
  }

  deinit { base.deallocate() }

  var room: Int { Self.capacity - count }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  /// Appends what fits; the callers see to it that there is room.
  @inline(__always)
  func append(_ bytes: UnsafeRawBufferPointer) {
    let size = min(bytes.count, room)
    guard size > 0, let source = bytes.baseAddress else { return }
    (base + count).copyMemory(from: source, byteCount: size)
    count &+= size
  }

  @inline(__always)
  func append(_ text: StaticString) {
    append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  func append(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { append($0) }
  }

  @inline(__always)
  func append(decimal number: Int64) {
    guard room >= 20 else { return }
    var value = number.magnitude
    if number < 0 { append("-") }
    var divisor: UInt64 = 1
    while value / divisor >= 10 { divisor &*= 10 }
    while divisor > 0 {
      let digit = value / divisor
      (base + count).storeBytes(of: 0x30 &+ UInt8(truncatingIfNeeded: digit), as: UInt8.self)
      count &+= 1
      value &-= digit &* divisor
      divisor /= 10
    }
  }
}
