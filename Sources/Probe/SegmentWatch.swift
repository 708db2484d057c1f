// Sees the TCP segments that come in from one address (a raw socket, CAP_NET_RAW): the server takes the numbers of its own
// connection from them, and counts what its injected segments drew; the client counts those that came untranslated.

import Glibc
import Platform

/// What matters of one.
struct SeenSegment: Equatable, Sendable {
  var sourcePort: UInt16
  var destinationPort: UInt16
  var sequence: UInt32
  var acknowledgement: UInt32
  var flags: UInt8
  var contentLength: Int
  /// TSval (RFC 7323 §3.2), where there is one.
  var timestamp: UInt32?

  var isReset: Bool { flags & 4 != 0 }
  var isSynchronising: Bool { flags & 2 != 0 }

  /// Reads what a raw socket gives: for IPv4 the IP header is there, for IPv6 it is not.
  init?(_ bytes: ArraySlice<UInt8>, isV4: Bool) {
    let bytes = Array(bytes)
    var start = 0
    if isV4 {
      guard let first = bytes.first, first >> 4 == 4 else { return nil }
      start = Int(first & 0xF) * 4
    }
    guard bytes.count >= start + 20 else { return nil }
    func number(_ offset: Int, _ count: Int) -> UInt32 {
      bytes[(start + offset)..<(start + offset + count)].reduce(0) { $0 << 8 | UInt32($1) }
    }
    sourcePort = UInt16(truncatingIfNeeded: number(0, 2))
    destinationPort = UInt16(truncatingIfNeeded: number(2, 2))
    sequence = number(4, 4)
    acknowledgement = number(8, 4)
    flags = UInt8(truncatingIfNeeded: number(13, 1))
    let header = Int(number(12, 1) >> 4) * 4
    contentLength = max(0, bytes.count - start - header)
    timestamp = Self.timestamp(
      bytes[min(start + 20, bytes.count)..<min(start + max(header, 20), bytes.count)])
  }

  /// Finds it among the options (RFC 9293 §3.1).
  private static func timestamp(_ options: ArraySlice<UInt8>) -> UInt32? {
    var rest = options
    while let kind = rest.first, kind != 0 {
      // The only one without a length, as a filling.
      if kind == 1 {
        rest = rest.dropFirst()
        continue
      }
      guard let length = rest.dropFirst().first, length >= 2, rest.count >= Int(length) else {
        return nil
      }
      if kind == 8, length == 10 {
        return rest.dropFirst(2).prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
      }
      rest = rest.dropFirst(Int(length))
    }
    return nil
  }
}

final class SegmentWatch {
  private let descriptor: Int32
  private let isV4: Bool

  /// - Parameters:
  ///   - peer: whose segments; its port does not matter here.
  ///   - local: to which address of ours.
  init(from peer: IPAddress, to local: IPAddress) throws(ProbeError) {
    isV4 = peer.family == .v4
    let fd = socket(
      isV4 ? AF_INET : AF_INET6, Int32(SOCK_RAW.rawValue) | O_CLOEXEC | O_NONBLOCK,
      Int32(IPPROTO_TCP))
    guard fd >= 0 else {
      let error = Errno(rawValue: errno)
      if error == .notPermitted || error == .accessDenied { throw .lacksCapability }
      throw .noRawSocket(error)
    }
    descriptor = fd
    // Nothing else is queued for it: only what these two addresses have with each other.
    let bound = SocketAddress(local, port: 0).withSockaddr { bind(fd, $0, $1) }
    let joined = SocketAddress(peer, port: 0).withSockaddr { Glibc.connect(fd, $0, $1) }
    guard bound == 0, joined == 0 else { throw .noRawSocket(Errno(rawValue: errno)) }
  }

  deinit { FileDescriptor.close(raw: descriptor) }

  /// What has come so far between two ports.
  func take(from source: UInt16, to destination: UInt16) -> [SeenSegment] {
    var seen: [SeenSegment] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    // As many as a busy pair of hosts may have had in a moment.
    for _ in 0..<10_000 {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { break }
      if let segment = SeenSegment(buffer[..<count], isV4: isV4), segment.sourcePort == source,
        segment.destinationPort == destination
      {
        seen.append(segment)
      }
    }
    return seen
  }

  /// Whether this process may watch and write segments.
  static func check() throws(ProbeError) {
    guard let loopback = IPAddress("127.0.0.1") else { return }
    _ = try SegmentWatch(from: loopback, to: loopback)
  }
}
