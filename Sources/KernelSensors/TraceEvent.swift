// A record of one of the tracepoints about resets, whatever layout this kernel gives it.
//
//   tcp_send_reset       before 6.10: ports, family, addresses, and only where there was a socket; since: two sockaddr,
//                        the reason, and also without a socket
//   tcp_receive_reset    ports, (family,) addresses, cookie
//   tcp_retransmit_skb   ports, (family,) addresses, state
//   kfree_skb            the packet, (since 5.17) the reason, (since 6.11) the socket

import Platform

package struct TraceEvent: Hashable, Sendable {
  package enum Kind: String, CaseIterable, Hashable, Sendable {
    case resetSent = "tcp_send_reset"
    case resetReceived = "tcp_receive_reset"
    case retransmitted = "tcp_retransmit_skb"
    case dropped = "kfree_skb"

    /// Below `events/`.
    var path: String { (self == .dropped ? "skb/" : "tcp/") + rawValue }
  }

  package var kind: Kind
  package var time: Instant
  /// Of the host that the event is on; nil where the kernel does not tell.
  package var local: SocketAddress?
  package var remote: SocketAddress?
  package var cookie: UInt64?
  /// The state of the socket.
  package var state: String?
  /// The kernel's name for why.
  package var reason: String?
  /// Addresses in the kernel: only good for finding out whether two are the same.
  package var socket: UInt64 = 0
  package var packet: UInt64 = 0

  package init(_ kind: Kind, time: Instant) {
    self.kind = kind
    self.time = time
  }

  /// Reads a record; nil when it is none of this format.
  init?(_ kind: Kind, _ format: TraceFormat, _ record: ArraySlice<UInt8>, time: Instant) {
    guard record.native16(0).map(Int.init) == format.id else { return nil }
    self.init(kind, time: time)
    socket = format.number(kind == .dropped ? "rx_sk" : "skaddr", in: record) ?? 0
    packet = format.number("skbaddr", in: record) ?? 0
    reason = format.symbol("reason", in: record)
    guard kind != .dropped else { return }
    cookie = format.number("sock_cookie", in: record).flatMap { $0 == 0 ? nil : $0 }
    if let number = format.number("state", in: record), number != 0 {
      state = format.symbol("state", in: record)
    }
    local = Self.address("s", format, record)
    remote = Self.address("d", format, record)
  }

  /// - Parameter end: `s` or `d`.
  private static func address(
    _ end: String, _ format: TraceFormat, _ record: ArraySlice<UInt8>
  ) -> SocketAddress? {
    guard let bytes = format.bytes(end + "addr", in: record) else { return nil }
    // A whole sockaddr.
    if bytes.count >= 28 {
      let address = Array(bytes)
      return address.withUnsafeBytes { bytes in
        guard let start = bytes.baseAddress else { return nil }
        return SocketAddress(start, length: UInt32(clamping: bytes.count)).map {
          SocketAddress($0.ip.unmapped, port: $0.port)
        }
      }
    }
    // Ports are in the machine's byte order here.
    let port = UInt16(truncatingIfNeeded: format.number(end + "port", in: record) ?? 0)
    let six = format.bytes(end + "addr_v6", in: record).flatMap(ConntrackMessage.address)
    let four = ConntrackMessage.address(bytes)
    let ip: IPAddress?
    switch format.number("family", in: record) {
    case 2: ip = four
    case 10: ip = six
    // Older kernels do not say; what is IPv4 is in both.
    default: ip = six.map(\.unmapped) ?? four
    }
    return ip.map { SocketAddress($0.unmapped, port: port) }
  }
}
