// How many connections each client has, over all workers (`limits.connections-per-client`). A client is an IPv4 address
// or an IPv6 network of 64 bits, which is what one site is given at least (RFC 6177 §2): an attacker has as many
// addresses within it as it likes.

import Platform
import Synchronization

final class ClientCounts: Sendable {
  private static let shardCount = 16

  private final class LockedShard: Sendable {
    let counts = Mutex<[IPNetwork: Int]>([:])
  }

  private let shards: [LockedShard]

  init() {
    shards = (0..<Self.shardCount).map { _ in LockedShard() }
  }

  /// Whom an address is counted with.
  static func network(of address: IPAddress) -> IPNetwork {
    let address = address.unmapped
    let network = IPNetwork(address, prefixLength: address.family == .v4 ? 32 : 64)
    guard let network else { preconditionFailure("32 and 64 are lengths of prefixes") }
    return network
  }

  /// Counts one more connection, unless there are `limit` already.
  func enter(_ address: IPAddress, limit: Int) -> Bool {
    let network = Self.network(of: address)
    return shard(network).counts.withLock { counts in
      let count = counts[network, default: 0]
      guard count < limit else { return false }
      counts[network] = count + 1
      return true
    }
  }

  /// Counts one more in any case: a connection that goes on as something else.
  func keep(_ address: IPAddress) { _ = enter(address, limit: .max) }

  func leave(_ address: IPAddress) {
    let network = Self.network(of: address)
    shard(network).counts.withLock { counts in
      let count = counts[network, default: 0]
      counts[network] = count > 1 ? count - 1 : nil
    }
  }

  /// Clients that have connections now.
  var clients: Int { shards.reduce(0) { $0 + $1.counts.withLock { $0.count } } }

  private func shard(_ network: IPNetwork) -> LockedShard {
    shards[Int(truncatingIfNeeded: UInt(bitPattern: network.hashValue)) & (Self.shardCount - 1)]
  }
}
