// TCP segments written by hand, and the sockets that send them: what a forger, or a network that has lost its mind, would
// send. IPv4 and IPv6.

import Glibc
import Platform

/// Where a connection stands, asked from its own end (`TCP_REPAIR`; CAP_NET_ADMIN). Nothing may be waiting to be sent
/// meanwhile: what the kernel sends while it is asked it counts as sent and does not send.
package struct ConnectionState: Sendable {
  /// The number of the next byte that this end sends.
  package var sends: UInt32
  /// The number of the next byte that it expects.
  package var expects: UInt32
  /// Its clock, as in the timestamps it sends.
  package var clock: UInt32

  package init(_ connection: LabConnection) throws {
    // Not in Swift's Glibc: linux/tcp.h.
    let (repair, queue, sequence): (Int32, Int32, Int32) = (19, 20, 21)
    let (receiving, sending, onward): (Int32, Int32, Int32) = (1, 2, -1)
    let fd = connection.descriptor
    func set(_ option: Int32, _ value: Int32) throws {
      var value = value
      guard setsockopt(fd, Int32(IPPROTO_TCP), option, &value, 4) == 0 else {
        throw LabError("no TCP_REPAIR: \(Errno(rawValue: errno))")
      }
    }
    try set(repair, 1)
    try set(queue, sending)
    sends = try Self.get(sequence, of: fd)
    try set(queue, receiving)
    expects = try Self.get(sequence, of: fd)
    // Without the window probe that usually ends it: it goes on as if nothing had been.
    try set(repair, onward)
    clock = try Self.get(Self.timestamp, of: fd)
  }

  private static let timestamp: Int32 = 24

  private static func get(_ option: Int32, of fd: Int32) throws -> UInt32 {
    var value: UInt32 = 0
    var length: socklen_t = 4
    guard getsockopt(fd, Int32(IPPROTO_TCP), option, &value, &length) == 0 else {
      throw LabError("no TCP_REPAIR: \(Errno(rawValue: errno))")
    }
    return value
  }

  /// Where the same connection stands now that so many bytes have been sent and none received.
  package func after(sending count: Int, on connection: LabConnection) throws -> ConnectionState {
    var state = self
    state.sends &+= UInt32(truncatingIfNeeded: count)
    state.clock = try Self.get(Self.timestamp, of: connection.descriptor)
    return state
  }
}

package struct Segment: Sendable {
  package var source: SocketAddress
  package var destination: SocketAddress
  package var sequence: UInt32
  package var acknowledgement: UInt32
  /// RFC 9293 §3.1: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
  package var flags: UInt8
  package var window: UInt16 = 512
  package var hopLimit: UInt8 = 64
  package var identification: UInt16 = 0
  /// TSval and TSecr (RFC 7323).
  package var timestamps: (UInt32, UInt32)?
  package var content: [UInt8] = []

  package static let reset: UInt8 = 4
  package static let pushAcknowledge: UInt8 = 24

  package init(
    from source: SocketAddress, to destination: SocketAddress, sequence: UInt32,
    acknowledgement: UInt32, flags: UInt8
  ) {
    self.source = source
    self.destination = destination
    self.sequence = sequence
    self.acknowledgement = acknowledgement
    self.flags = flags
  }

  /// Data that seems to come from one end of a connection and lies beyond any window, with the right acknowledgement:
  /// conntrack calls it INVALID.
  package static func beyondWindow(
    of connection: LabConnection, at state: ConnectionState, distance: Int64 = 10_000_000
  ) -> Segment {
    var segment = Segment(
      from: connection.local, to: connection.peer,
      sequence: UInt32(truncatingIfNeeded: Int64(state.sends) + distance),
      acknowledgement: state.expects, flags: pushAcknowledge)
    segment.timestamps = (state.clock, 0)
    segment.content = Array(repeating: 0x2A, count: 100)
    return segment
  }

  /// The whole IP packet.
  package var bytes: [UInt8] {
    let isV4 = source.ip.family == .v4
    let (from, to) = (source.ip.octets, destination.ip.octets)
    var options: [UInt8] = []
    if let timestamps {
      options = [1, 1, 8, 10] + Self.big(timestamps.0) + Self.big(timestamps.1)
    }
    var tcp = Self.big(source.port) + Self.big(destination.port)
    tcp += Self.big(sequence) + Self.big(acknowledgement)
    tcp += [UInt8(5 + options.count / 4) << 4, flags] + Self.big(window) + [0, 0, 0, 0]
    tcp += options + content
    let pseudo =
      isV4
      ? from + to + [0, 6] + Self.big(UInt16(truncatingIfNeeded: tcp.count))
      : from + to + Self.big(UInt32(truncatingIfNeeded: tcp.count)) + [0, 0, 0, 6]
    let sum = Self.checksum(pseudo + tcp)
    tcp[16] = UInt8(sum >> 8)
    tcp[17] = UInt8(sum & 0xFF)
    if isV4 {
      var ip: [UInt8] =
        [0x45, 0] + Self.big(UInt16(truncatingIfNeeded: 20 + tcp.count)) + Self.big(identification)
        + [0x40, 0, hopLimit, 6, 0, 0] + from + to
      let sum = Self.checksum(ip)
      ip[10] = UInt8(sum >> 8)
      ip[11] = UInt8(sum & 0xFF)
      return ip + tcp
    }
    return [0x60, 0, 0, 0] + Self.big(UInt16(truncatingIfNeeded: tcp.count)) + [6, hopLimit] + from
      + to
      + tcp
  }

  /// Sends it from a machine, whatever addresses that has.
  package func send(from host: Host) throws {
    let segment = self
    try host.run { try segment.send(as: host.role) }
  }

  /// Sends it from the network namespace of the calling thread (CAP_NET_RAW).
  /// - Parameter sender: who that is, for messages.
  package func send(as sender: String) throws {
    let isV4 = source.ip.family == .v4
    // IPPROTO_RAW: the packet brings its header.
    let fd = socket(isV4 ? AF_INET : AF_INET6, Int32(SOCK_RAW.rawValue) | O_CLOEXEC, 255)
    guard fd >= 0 else { throw LabError("no raw socket: \(Errno(rawValue: errno))") }
    defer { close(fd) }
    // For raw sockets a port would be a protocol.
    let address = SocketAddress(destination.ip, port: 0)
    let bytes = bytes
    let sent = address.withSockaddr { address, length in
      sendto(fd, bytes, bytes.count, 0, address, length)
    }
    guard sent == bytes.count else {
      throw LabError("\(sender) could not send a segment: \(Errno(rawValue: errno))")
    }
  }

  private static func big<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.bigEndian) { Array($0) }
  }

  /// RFC 1071.
  static func checksum(_ bytes: [UInt8]) -> UInt16 {
    var sum: UInt32 = 0
    for (index, byte) in bytes.enumerated() {
      sum &+= UInt32(byte) << (index % 2 == 0 ? 8 : 0)
      if sum > 0xFFFF { sum = (sum & 0xFFFF) + (sum >> 16) }
    }
    return ~UInt16(truncatingIfNeeded: sum)
  }
}

extension IPAddress {
  /// In the order of the wire.
  var octets: [UInt8] {
    SocketAddress(self, port: 0).withSockaddr { address, length in
      let raw = UnsafeRawBufferPointer(start: address, count: Int(length))
      let range = family == .v4 ? 4..<8 : 8..<24
      return raw.count >= range.upperBound ? Array(raw[range]) : []
    }
  }
}
