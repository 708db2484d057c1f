// Between whom a packet went. Small and trivial, because one is made for every packet that is seen, and because it is
// the key that flows are found by.

import Glibc
import Platform

/// Source and destination of a packet: addresses and ports, the ports 0 where the protocol has none.
package struct PacketEndpoints: Hashable, Sendable {
  package var family: IPAddress.Family
  package var sourcePort: UInt16
  package var destinationPort: UInt16
  // Addresses as numbers; IPv4 in the low 32 bits.
  var sourceHigh: UInt64
  var sourceLow: UInt64
  var destinationHigh: UInt64
  var destinationLow: UInt64

  init(
    family: IPAddress.Family, source: (high: UInt64, low: UInt64),
    destination: (high: UInt64, low: UInt64), sourcePort: UInt16 = 0, destinationPort: UInt16 = 0
  ) {
    self.family = family
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
    sourceHigh = source.high
    sourceLow = source.low
    destinationHigh = destination.high
    destinationLow = destination.low
  }

  /// IPv4 addresses in their IPv6 form are taken for what they are on the wire. Nil when the families differ.
  package init?(source: SocketAddress, destination: SocketAddress) {
    let from = source.ip.unmapped
    let to = destination.ip.unmapped
    guard from.family == to.family else { return nil }
    self.init(
      family: from.family, source: from.halves, destination: to.halves,
      sourcePort: source.port, destinationPort: destination.port)
  }

  package var source: SocketAddress {
    SocketAddress(address(sourceHigh, sourceLow), port: sourcePort)
  }

  package var destination: SocketAddress {
    SocketAddress(address(destinationHigh, destinationLow), port: destinationPort)
  }

  private func address(_ high: UInt64, _ low: UInt64) -> IPAddress {
    switch family {
    case .v4: IPAddress(v4: UInt32(truncatingIfNeeded: low))
    case .v6: IPAddress(v6High: high, low: low)
    }
  }

  /// The way back.
  package var reversed: PacketEndpoints {
    PacketEndpoints(
      family: family, source: (destinationHigh, destinationLow),
      destination: (sourceHigh, sourceLow), sourcePort: destinationPort,
      destinationPort: sourcePort)
  }

  /// Whether the source is the lower one of both, by address and then by port. Of the two directions of a flow this
  /// is true for exactly one, unless both ends are the same.
  package var isAscending: Bool {
    (sourceHigh, sourceLow, sourcePort) <= (destinationHigh, destinationLow, destinationPort)
  }

  /// The same for both directions of a flow.
  package var canonical: PacketEndpoints { isAscending ? self : reversed }
}

extension PacketEndpoints: CustomStringConvertible {
  package var description: String { "\(source) > \(destination)" }
}

extension IPAddress {
  /// The address as two numbers, IPv4 in the low 32 bits.
  var halves: (high: UInt64, low: UInt64) {
    if let number = v4Number { return (0, UInt64(number)) }
    // An IPv6 address shows its number in the kernel's form only.
    return SocketAddress(self, port: 0).withSockaddr { address, length in
      let raw = UnsafeRawBufferPointer(start: address, count: Int(length))
      let offset = MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr) ?? 8
      guard raw.count >= offset + 16 else { return (0, 0) }
      return (
        UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
        UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
      )
    }
  }
}
