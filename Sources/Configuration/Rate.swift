// Bandwidths as people write them: "10MiB/s".

import Platform

/// A number of bytes per second.
package struct Rate: Hashable, Comparable, Sendable {
  package var bytesPerSecond: Int64

  package init(bytesPerSecond: Int64) { self.bytesPerSecond = bytesPerSecond }
  package static func perSecond(_ count: ByteCount) -> Self { Self(bytesPerSecond: count.bytes) }

  package static func < (left: Self, right: Self) -> Bool {
    left.bytesPerSecond < right.bytesPerSecond
  }

  /// Below this the heads of answers alone would take seconds; above it no number means anything.
  static let smallest = Rate.perSecond(.kib(1))
  static let largest = Rate.perSecond(.gib(1024))
}

extension Rate: ConfigurationScalar {
  package static var form: String { "a rate" }

  /// Reads a size and `/s`.
  package init(reading text: String) throws(Misreading) {
    guard text.hasSuffix("/s") else {
      let size = try? ByteCount(reading: text)
      let bits = ["bit", "bps", "Bit"].contains { text.contains($0) }
      throw Misreading(
        size != nil
          ? "is a size; a rate is written \(text)/s"
          : bits
            ? "counts bits; write bytes per second, like 10MiB/s (80 Mbit/s are 10MB/s)"
            : "is not a rate; write a size per second, like 10MiB/s, or none")
    }
    let size = try ByteCount(reading: String(text.dropLast(2)))
    self = .perSecond(size)
    if self < Self.smallest {
      throw Misreading("is too small; write \(Self.smallest.text) or more")
    }
    if self > Self.largest { throw Misreading("is too large; write \(Self.largest.text) or less") }
  }

  package var text: String { ByteCount(bytesPerSecond).text + "/s" }
}

/// How fast answers go to clients; nil for as fast as can be.
package struct RateSettings: Sendable, Equatable {
  /// Each connection.
  package var connection: Rate?
  /// All connections of one client together.
  package var client: Rate?
  /// All connections together.
  package var total: Rate?

  package init() {}

  package var isLimited: Bool { connection != nil || client != nil || total != nil }
}
