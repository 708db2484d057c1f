// The buckets that connections share: one for each client, one for all downstream, one for all upstream. They
// belong to all workers, behind small locks that are taken once for every portion and not at all where nothing
// is limited.

import Configuration
import Platform
import Synchronization

/// A bucket for several connections, on any thread.
final class SharedBucket: Sendable {
  private let bucket: Mutex<TokenBucket>

  init(_ rate: Rate) {
    bucket = Mutex(TokenBucket(rate: rate.bytesPerSecond, now: .now()))
  }

  func reserve(_ count: Int, now: Instant) -> Instant {
    bucket.withLock { $0.reserve(count, now: now) }
  }

  func giveBack(_ count: Int) { bucket.withLock { $0.giveBack(count) } }

  func change(_ rate: Rate) {
    bucket.withLock { $0.change(rate: rate.bytesPerSecond, now: .now()) }
  }

  var rate: Int64 { bucket.withLock { $0.rate } }
}

final class RateLimits: Sendable {
  private struct Client {
    var bucket: SharedBucket
    var connections: Int
  }

  private struct State {
    var settings = RateSettings()
    var total: SharedBucket?
    var upstream: SharedBucket?
    /// Of clients that are connected.
    var clients: [IPAddress: Client] = [:]
  }

  private let state = Mutex(State())

  /// Goes by these rates from now on. Connections notice when their worker has the new settings.
  func apply(_ settings: RateSettings, upstream: Rate?) {
    state.withLock { state in
      state.settings = settings
      Self.change(&state.total, to: settings.total)
      Self.change(&state.upstream, to: upstream)
      for client in state.clients.values {
        if let rate = settings.client { client.bucket.change(rate) }
      }
    }
  }

  private static func change(_ bucket: inout SharedBucket?, to rate: Rate?) {
    switch (bucket, rate) {
    case (_, nil): bucket = nil
    case (nil, let rate?): bucket = SharedBucket(rate)
    case (let bucket?, let rate?): bucket.change(rate)
    }
  }

  /// The buckets of a connection from this client; `leave` ends its use of them.
  func join(_ client: IPAddress) -> [SharedBucket] {
    state.withLock { state in
      var buckets: [SharedBucket] = []
      let rate = state.settings.client
      let key = Self.key(client)
      // Counted also while there is no limit, so that `leave` need not know what held when it joined.
      if var known = state.clients[key] {
        known.connections += 1
        state.clients[key] = known
        if rate != nil { buckets.append(known.bucket) }
      } else {
        let bucket = SharedBucket(rate ?? .perSecond(.gib(1)))
        state.clients[key] = Client(bucket: bucket, connections: 1)
        if rate != nil { buckets.append(bucket) }
      }
      if let total = state.total { buckets.append(total) }
      return buckets
    }
  }

  func leave(_ client: IPAddress) {
    state.withLock { state in
      let key = Self.key(client)
      guard var known = state.clients[key] else { return }
      known.connections -= 1
      state.clients[key] = known.connections > 0 ? known : nil
    }
  }

  /// What is fetched from origins goes through this one, if there is a limit.
  var upstream: SharedBucket? { state.withLock { $0.upstream } }

  /// Clients that have a bucket now.
  var clientCount: Int { state.withLock { $0.clients.count } }

  /// One client: an IPv4 address, or the 64 bits of an IPv6 address that one subscriber has to itself.
  static func key(_ client: IPAddress) -> IPAddress {
    let address = client.unmapped
    guard address.family == .v6 else { return address }
    return IPNetwork(address.withoutScope, prefixLength: 64)?.address ?? address
  }
}
