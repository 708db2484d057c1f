// One look at one packet: what the kernel told about it beside its bytes. And the same with the bytes, to keep.

import Platform

/// When, where and in which direction a packet was seen.
package struct PacketSighting: Hashable, Sendable {
  /// The kernel's time stamp, nanoseconds since 1970 (CLOCK_REALTIME).
  package var time: Int64
  /// The index of the interface; `PacketRecorder.interfaceName` knows its name.
  package var interface: Int32
  package var link: LinkType
  /// Sent by this network namespace. On loopback, where each packet is both, always true.
  package var isOutgoing: Bool
  package var isLoopback: Bool
  /// Bytes of the frame, however few were captured.
  package var length: UInt32

  package init(
    time: Int64, interface: Int32, link: LinkType, isOutgoing: Bool, isLoopback: Bool = false,
    length: UInt32
  ) {
    self.time = time
    self.interface = interface
    self.link = link
    self.isOutgoing = isOutgoing
    self.isLoopback = isLoopback
    self.length = length
  }

  package var wallTime: WallTime {
    WallTime(seconds: time / 1_000_000_000, nanoseconds: Int32(time % 1_000_000_000))
  }
}

/// A packet that was kept: the sighting, its headers, and the bytes that were captured.
package struct RecordedPacket: Hashable, Sendable {
  package var sighting: PacketSighting
  package var header: PacketHeader
  /// The beginning of the frame, at most `PacketFilter.snapLength` bytes.
  package var bytes: [UInt8]
  /// How often the same packet was seen besides: on its way over a bridge, a VLAN or another interface.
  package var copies: UInt16

  package init(
    sighting: PacketSighting, header: PacketHeader, bytes: [UInt8], copies: UInt16 = 0
  ) {
    self.sighting = sighting
    self.header = header
    self.bytes = bytes
    self.copies = copies
  }

  package var time: Int64 { sighting.time }

  /// The content of a TCP segment, as far as it was captured. A reset may carry a reason in words (RFC 9293 §3.5.3),
  /// which is whatever its sender likes and to be trusted by nobody.
  package var content: ArraySlice<UInt8> {
    guard let tcp = header.tcp else { return [] }
    let start = min(Int(header.contentOffset), bytes.count)
    return bytes[start..<min(bytes.count, start + Int(tcp.contentLength))]
  }
}
