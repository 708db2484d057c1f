// Sequence numbers of TCP: 32 bits that wrap around, so that "before" and "after" are differences and never order.

/// A place in one direction of a connection (RFC 9293 §3.4).
package struct SequenceNumber: Hashable, Sendable, CustomStringConvertible {
  package var rawValue: UInt32

  package init(_ rawValue: UInt32) { self.rawValue = rawValue }

  package static func + (start: SequenceNumber, count: UInt32) -> SequenceNumber {
    SequenceNumber(start.rawValue &+ count)
  }

  /// How far `left` is ahead of `right`; negative behind it. Right for less than half of the number space.
  package static func - (left: SequenceNumber, right: SequenceNumber) -> Int32 {
    Int32(bitPattern: left.rawValue &- right.rawValue)
  }

  /// The later one of both.
  package func later(_ other: SequenceNumber) -> SequenceNumber {
    other - self > 0 ? other : self
  }

  /// Both ends are within. Nothing is between ends that are the wrong way round, or further apart than any window
  /// (RFC 7323 §2.3): then one of them is wrong.
  package func isBetween(_ first: SequenceNumber, _ last: SequenceNumber) -> Bool {
    let width = last.rawValue &- first.rawValue
    return width <= 1 << 30 && rawValue &- first.rawValue <= width
  }

  package var description: String { String(rawValue) }
}
