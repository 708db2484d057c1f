// Where this very process listens. A connection there would come back to it: through the proxy port a
// request would go round until something runs out, through the admin port a client would get what is not
// for clients. So these addresses are refused to everyone, `destinations.private` and named mirrors
// included.

import Platform
import Synchronization

/// The listening addresses of this process, proxy and admin.
final class OwnAddresses: Sendable {
  private let listening = Mutex<[SocketAddress]>([])

  func add(_ addresses: [SocketAddress]) { listening.withLock { $0 += addresses } }

  /// Whether a connection to this address would come back here.
  func contains(_ target: SocketAddress) -> Bool {
    let candidates = listening.withLock { $0.filter { $0.port == target.port } }
    // Most targets have another port. For the few others the interfaces are asked each time, since
    // addresses come and go.
    return !candidates.isEmpty
      && Self.leads(target.ip, to: candidates.map(\.ip), machine: IPAddress.ofInterfaces)
  }

  /// Whether connecting to `target` reaches a socket that listens on one of `listening`, the ports being
  /// the same.
  /// - Parameter machine: the addresses of this machine's interfaces.
  static func leads(_ target: IPAddress, to listening: [IPAddress], machine: () -> [IPAddress])
    -> Bool
  {
    let target = target.unwrapped.withoutScope
    for own in listening.map(\.unwrapped.withoutScope) {
      if own == target { return true }
      guard own.family == target.family || target.isUnspecified else { continue }
      // connect(2) to 0.0.0.0 or :: goes to the loopback address.
      if target.isUnspecified, own.isLoopback || own.isUnspecified { return true }
      if own.isUnspecified {
        if target.isLoopback { return true }
        if machine().contains(where: { $0.withoutScope == target }) { return true }
      }
    }
    return false
  }
}
