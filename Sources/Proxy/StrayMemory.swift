// The strays that were found last, for who asks when a record becomes final: each belongs to the one connection that was
// watched over when it was found, and to no later one between the same ends.

import Packets
import Platform

struct StrayMemory: Sendable {
  private struct Entry: Sendable {
    let stray: Stray
    /// Of the socket that was watched over.
    let cookie: UInt64?
  }

  static let capacity = 256

  /// Oldest first.
  private var entries: [Entry] = []

  /// - Parameter cookie: what distinguishes the socket that was watched over (`SO_COOKIE`).
  mutating func add(_ stray: Stray, cookie: UInt64?) {
    entries.append(Entry(stray: stray, cookie: cookie))
    if entries.count > Self.capacity { entries.removeFirst() }
  }

  /// The stray that meant this connection, if there was one.
  /// - Parameters:
  ///   - cookie: of its socket, which alone decides where it is known.
  ///   - times: when the connection was there; nanoseconds since 1970.
  func stray(
    local: SocketAddress, peer: SocketAddress, cookie: UInt64?, in times: PartialRangeFrom<Int64>
  ) -> Stray? {
    let local = SocketAddress(local.ip.unmapped, port: local.port)
    let peer = SocketAddress(peer.ip.unmapped, port: peer.port)
    return entries.last { entry in
      guard entry.stray.local == local, entry.stray.peer == peer else { return false }
      if let cookie, let watched = entry.cookie { return cookie == watched }
      return times.contains(entry.stray.sighting.time)
    }?.stray
  }
}
