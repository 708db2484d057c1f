// Bytes waiting between two turns of the loop: an incomplete head, or what a socket would not take yet.
// A connection with nothing waiting owns no memory, which is what makes ten thousand idle ones cheap.

struct ByteQueue: ~Copyable {
  private var base: UnsafeMutableRawPointer?
  private var capacity = 0
  private var start = 0
  private var end = 0

  init() {}

  deinit { base?.deallocate() }

  var count: Int { end - start }
  var isEmpty: Bool { start == end }

  /// The waiting bytes; valid until the queue is changed.
  var bytes: UnsafeRawBufferPointer {
    guard let base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    return UnsafeRawBufferPointer(start: base + start, count: end - start)
  }

  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
    reserve(bytes.count)
    guard let base else { return }
    (base + end).copyMemory(from: source, byteCount: bytes.count)
    end += bytes.count
  }

  mutating func append(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { append($0) }
  }

  /// Forgets the first `count` bytes; the memory goes with the last of them.
  mutating func consume(_ count: Int) {
    start = min(end, start + max(0, count))
    if start == end { removeAll() }
  }

  mutating func removeAll() {
    base?.deallocate()
    base = nil
    capacity = 0
    start = 0
    end = 0
  }

  private mutating func reserve(_ more: Int) {
    if capacity - end >= more { return }
    let held = end - start
    // Move down only when that frees more than it copies, so that a queue never shuffles the same bytes
    // over and over.
    if let base, start >= held, capacity - held >= more {
      base.copyMemory(from: base + start, byteCount: held)
    } else {
      let newCapacity = max(held + more, min(capacity * 2, 1 << 20), 512)
      let new = UnsafeMutableRawPointer.allocate(byteCount: newCapacity, alignment: 16)
      if let base {
        new.copyMemory(from: base + start, byteCount: held)
        base.deallocate()
      }
      base = new
      capacity = newCapacity
    }
    start = 0
    end = held
  }
}
