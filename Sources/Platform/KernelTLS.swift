// Whether this kernel would encrypt TLS records itself (kTLS). It is asked as a use of it would ask; nothing here uses it
// (docs/decisions/0020-no-kernel-tls.md).

import Glibc

/// What the kernel offers of TLS.
public enum KernelTLS: Hashable, Sendable, CustomStringConvertible {
  /// It was built without it, its module is not loaded, or this process may not have it.
  case notOffered
  case offered
  /// It could not be found out: there are no sockets to be had.
  case unknown

  /// Asked once in the life of the process.
  public static let found = probe()

  public var description: String {
    switch self {
    case .notOffered: "not offered by this kernel"
    case .offered: "offered, not used"
    case .unknown: "not known"
    }
  }

  /// Connects a socket to this machine and asks for TLS on it, which is possible on connected ones only.
  static func probe() -> KernelTLS {
    do throws(Errno) {
      let listener = try Socket.listen(on: SocketAddress(.loopbackV4, port: 0), backlog: 1)
      let client = try Socket.connect(to: Socket.localAddress(listener.rawValue))
      // On loopback it is connected by now, or the answer is ENOTCONN.
      let result = "tls".withCString {
        setsockopt(client.rawValue, Int32(IPPROTO_TCP), upperLayerProtocol, $0, 3)
      }
      if result == 0 { return .offered }
      return Glibc.errno == ENOTCONN ? .unknown : .notOffered
    } catch {
      return .unknown
    }
  }

  /// `TCP_ULP` of <linux/tcp.h>.
  private static let upperLayerProtocol: Int32 = 31
}
