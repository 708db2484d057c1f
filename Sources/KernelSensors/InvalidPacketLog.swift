// Packets that a firewall's rule hands to us (NFLOG, nfnetlink_log.h): meant for those that the connection table calls
// INVALID, which are the ones that go through untranslated. The rule is somebody else's; without one nothing comes.
//
//   iptables -t mangle -A PREROUTING -p tcp -m conntrack --ctstate INVALID -j NFLOG --nflog-group N

import Platform

/// A packet that a rule handed over.
package struct InvalidPacket: Hashable, Sendable {
  package let time: Instant
  package let tuple: ConntrackTuple
  package let isReset: Bool
}

enum LogMessage {
  /// Subsystem 4 of netfilter's.
  static let packet: UInt16 = 4 << 8 | 0
  private static let configure: UInt16 = 4 << 8 | 1
  /// So much of a packet is handed over: IPv6's header, and TCP's.
  private static let range: UInt32 = 128

  /// Asks for a group's packets.
  static func bind(_ group: UInt16, sequence: UInt32) -> [UInt8] {
    message(group, sequence) { writer in
      // NFULNL_CFG_CMD_BIND
      writer.add(1, [1])
    }
  }

  /// How they are to be handed over: the beginning of each, at once.
  static func mode(_ group: UInt16, sequence: UInt32) -> [UInt8] {
    message(group, sequence) { writer in
      // NFULNL_COPY_PACKET
      writer.add(2, range.bytes + [2, 0])
      writer.add(5, UInt32(1).bytes)
    }
  }

  private static func message(
    _ group: UInt16, _ sequence: UInt32, _ body: (inout NetlinkWriter) -> Void
  ) -> [UInt8] {
    var writer = NetlinkWriter(
      type: configure, flags: NetlinkWriter.request | NetlinkWriter.acknowledge,
      sequence: sequence, family: 0, resource: group)
    body(&writer)
    return writer.finish()
  }

  /// A packet of TCP; nil for anything else.
  static func invalidPacket(_ message: NetlinkMessage, at time: Instant) -> InvalidPacket? {
    guard message.type == packet else { return nil }
    // NFULA_PAYLOAD
    guard let bytes = message.attributes.first(where: { $0.type == 9 })?.value else { return nil }
    return parse(bytes, at: time)
  }

  private static func parse(_ bytes: ArraySlice<UInt8>, at time: Instant) -> InvalidPacket? {
    guard let first = bytes.first else { return nil }
    let header: Int
    let addresses: (ArraySlice<UInt8>, ArraySlice<UInt8>)
    switch first >> 4 {
    case 4:
      header = Int(first & 15) * 4
      guard header >= 20, bytes.count >= header, bytes[bytes.startIndex + 9] == 6 else {
        return nil
      }
      addresses = (bytes.dropFirst(12).prefix(4), bytes.dropFirst(16).prefix(4))
    case 6:
      header = 40
      // Behind extension headers nobody looks.
      guard bytes.count >= header, bytes[bytes.startIndex + 6] == 6 else { return nil }
      addresses = (bytes.dropFirst(8).prefix(16), bytes.dropFirst(24).prefix(16))
    default: return nil
    }
    let tcp = bytes.dropFirst(header)
    guard tcp.count >= 14, let from = tcp.big16(0), let to = tcp.big16(2),
      let source = ConntrackMessage.address(addresses.0),
      let destination = ConntrackMessage.address(addresses.1)
    else { return nil }
    return InvalidPacket(
      time: time,
      tuple: ConntrackTuple(
        source: SocketAddress(source, port: from),
        destination: SocketAddress(destination, port: to)),
      isReset: tcp[tcp.startIndex + 13] & 4 != 0)
  }
}

/// The last packets that were handed over.
struct InvalidPacketLog {
  static let limit = 256
  private(set) var count: UInt64 = 0
  private var packets: [InvalidPacket] = []

  mutating func add(_ packet: InvalidPacket) {
    count &+= 1
    if packets.count >= Self.limit * 2 { packets.removeFirst(packets.count - Self.limit) }
    packets.append(packet)
  }

  /// How many there were of a flow, by any of the ways in which its packets look.
  func count(of tuples: Set<ConntrackTuple>) -> Int {
    packets.count { tuples.contains($0.tuple) || tuples.contains($0.tuple.reversed) }
  }
}
