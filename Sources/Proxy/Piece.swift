// Buffers for content on its way from a loop to the pool thread that writes it, used over and over: fresh
// memory of this size would cost a page fault for every 4 KiB of every download.

/// A buffer with one holder at a time: the loop fills it, a pool thread reads it, the loop takes it back.
final class Piece: @unchecked Sendable {
  static let capacity = 256 << 10

  private let base: UnsafeMutableRawPointer
  private(set) var count = 0

  init() {
    base = .allocate(byteCount: Self.capacity, alignment: 4096)
  }

  deinit { base.deallocate() }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  var isFull: Bool { count == Self.capacity }

  func removeAll() { count = 0 }

  /// Takes as much as there is room for.
  /// - Returns: how many bytes that was.
  func append(_ bytes: UnsafeRawBufferPointer) -> Int {
    let taken = min(bytes.count, Self.capacity - count)
    if taken > 0, let source = bytes.baseAddress {
      (base + count).copyMemory(from: source, byteCount: taken)
      count += taken
    }
    return taken
  }
}

/// The pieces of one worker that are not in use.
struct PiecePool {
  /// How many are kept.
  private static let limit = 32

  private var idle: [Piece] = []

  mutating func take() -> Piece { idle.popLast() ?? Piece() }

  mutating func give(_ piece: Piece) {
    guard idle.count < Self.limit else { return }
    piece.removeAll()
    idle.append(piece)
  }
}
