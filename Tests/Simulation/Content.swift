// What bytes anything has: a stretch of one fixed pattern, from a place that a key determines. So whoever knows the
// key can check any piece of an answer, and two versions of a resource differ from their first byte on.

import Glibc
import SeededRandom

package enum Content {
  private static let size = 1 << 20

  // Twice the pattern, so that no stretch of up to `size` wraps.
  private static let pattern: [UInt8] = {
    var random = SeededGenerator(seed: 0x0C0D_E5)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(2 * size)
    for _ in 0..<size / 8 {
      var word = random.next()
      for _ in 0..<8 {
        bytes.append(UInt8(truncatingIfNeeded: word))
        word >>= 8
      }
    }
    return bytes + bytes
  }()

  /// The bytes of `key` from `offset`, at most 1 MiB of them.
  package static func bytes(_ key: UInt64, _ offset: Int, _ count: Int) -> [UInt8] {
    let start = place(key, offset)
    return Array(pattern[start..<start + count])
  }

  /// Whether these are the bytes of `key` from `offset`.
  package static func matches(
    _ key: UInt64, _ offset: Int, _ bytes: UnsafeRawBufferPointer
  ) -> Bool {
    guard let base = bytes.baseAddress else { return true }
    var done = 0
    while done < bytes.count {
      let count = min(bytes.count - done, size)
      let start = place(key, offset + done)
      let isEqual = pattern.withUnsafeBytes { pattern in
        pattern.baseAddress.map { memcmp($0 + start, base + done, count) == 0 } ?? false
      }
      if !isEqual { return false }
      done += count
    }
    return true
  }

  private static func place(_ key: UInt64, _ offset: Int) -> Int {
    Int((SeededGenerator.mix(key) &+ UInt64(offset)) & UInt64(size - 1))
  }
}
