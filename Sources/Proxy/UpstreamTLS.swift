// TLS towards origins, as the configuration wants it: whom to trust, and for which hosts not to look. Replaced as a
// whole when the configuration is read again, and so is what was remembered of earlier handshakes.

import Configuration
import Synchronization
import TLS

final class UpstreamTLS: Sendable {
  private let trust: TLSTrust
  private let unverified: [HostPattern]
  private let made = Mutex<Result<TLSContext, TLSSetupError>?>(nil)

  init(_ upstream: UpstreamSettings) {
    trust = upstream.ca
    unverified = upstream.unverifiedHosts
  }

  /// Made when the first https origin is asked: reading the system's authorities takes some milliseconds, which who
  /// asks none need not spend.
  func context() throws(ProxyError) -> TLSContext {
    let result = made.withLock { made in
      if let made { return made }
      let result = Result { () throws(TLSSetupError) in try TLSContext(clientTrusting: trust) }
      made = result
      return result
    }
    switch result {
    case .success(let context): return context
    case .failure(let error): throw .cannotUseTLS(error)
    }
  }

  /// Whether certificates of this host have to be right.
  func verifies(_ host: String) -> Bool { !unverified.contains { $0.matches(name: host) } }
}

/// Tickets of handshakes with origins, the newest of each, for one worker.
struct TicketBox {
  private static let limit = 1024
  private var tickets: [Origin: TLSTicket] = [:]

  /// Each is used once, as RFC 8446 §C.4 advises.
  mutating func take(_ origin: Origin) -> TLSTicket? { tickets.removeValue(forKey: origin) }

  mutating func put(_ ticket: TLSTicket, for origin: Origin) {
    // So many origins are asked in turn by nobody whom a round trip hurts.
    if tickets.count >= Self.limit, tickets[origin] == nil { tickets.removeAll() }
    tickets[origin] = ticket
  }

  mutating func removeAll() { tickets.removeAll() }
}
