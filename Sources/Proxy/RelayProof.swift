// Content that is passed on without being stored, and that has to be something in particular by its path or its index: its
// last byte, or its end, stays back until the rest is known to be right, as it is with what is stored. Hashed on the loop, in
// the pieces in which it comes: rare enough, since what has a digest is stored as long as there is room.

import HTTP
import Storage

final class RelayProof {
  private let expected: Digest
  private var hasher = Hasher256()
  /// Bytes still to come, if that is known.
  private var left: UInt64?
  private(set) var held: UInt8?

  init(_ expected: Digest, framing: MessageFraming) {
    self.expected = expected
    if case .length(let length) = framing { left = length }
  }

  /// Takes in what comes next.
  /// - Returns: how much of it may go on at once.
  func take(_ bytes: UnsafeRawBufferPointer) -> Int {
    hasher.update(bytes)
    guard let left else { return bytes.count }
    let rest = left &- min(left, UInt64(bytes.count))
    self.left = rest
    guard rest == 0, let last = bytes.last else { return bytes.count }
    held = last
    return bytes.count - 1
  }

  /// Whether all that was taken in is what it has to be.
  var isRight: Bool { hasher.soFar() == expected }
}
