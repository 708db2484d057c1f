// The fills that are running, by key: the one place where many requests for a cold object become one
// upstream request (collapsed forwarding, RFC 9111 §4). Also remembers, for a short while, keys whose
// answers turned out to be for one client only, so that a thousand such requests do not queue up behind
// each other for nothing.

import Caching
import Platform
import Synchronization

final class FillTable: Sendable {
  /// For how long a key is taken to be unshared after an answer said so.
  private static let unsharedTime: Duration = .seconds(30)
  /// Keys remembered as unshared, per shard.
  private static let unsharedLimit = 512
  private static let shardCount = 64

  private struct Shard {
    var fills: [UInt64: [Fill]] = [:]
    var unshared: [UInt64: Instant] = [:]
  }

  /// A `Mutex` cannot be an element of an array; a class around it can.
  private final class LockedShard: Sendable {
    let state = Mutex(Shard())
  }

  private let shards: [LockedShard]
  private let runningCount = Atomic<Int>(0)

  init() {
    shards = (0..<Self.shardCount).map { _ in LockedShard() }
  }

  enum Entry {
    /// Somebody's fill is running.
    case joined(Fill)
    /// The caller leads a new fill, and must start it.
    case lead(Fill)
    /// Answers for this key are not for sharing: the caller is on its own.
    case alone
  }

  var running: Int { runningCount.load(ordering: .relaxed) }

  /// Whoever is given a fill is counted as interested in it, and says with `FillInterest` when that ends.
  /// - Parameter now: of the monotonic clock, so that a step of the other one keeps no key apart for hours.
  func enter(_ key: CacheKey, now: Instant) -> Entry {
    let hash = key.hash
    return shard(hash).state.withLock { shard in
      if let fill = shard.fills[hash]?.first(where: { $0.key == key && !$0.isSpoiled }) {
        fill.retain()
        return .joined(fill)
      }
      if let until = shard.unshared[hash] {
        if now < until { return .alone }
        shard.unshared[hash] = nil
      }
      let fill = Fill(key)
      fill.retain()
      shard.fills[hash, default: []].append(fill)
      runningCount.add(1, ordering: .relaxed)
      return .lead(fill)
    }
  }

  /// The fill is over; who comes now finds its result in the store, or starts anew.
  /// - Returns: whether it was in the table at all; one that nobody can follow never is.
  @discardableResult
  func leave(_ fill: Fill) -> Bool {
    shard(fill.key.hash).state.withLock { remove(fill, from: &$0) }
  }

  @discardableResult
  private func remove(_ fill: Fill, from shard: inout Shard) -> Bool {
    guard var fills = shard.fills[fill.key.hash],
      let index = fills.firstIndex(where: { $0 === fill })
    else { return false }
    fills.remove(at: index)
    shard.fills[fill.key.hash] = fills.isEmpty ? nil : fills
    runningCount.subtract(1, ordering: .relaxed)
    return true
  }

  /// The fill is over if nobody wants its answer, and nobody can begin to want it while this looks.
  /// - Returns: whether it is over.
  func leaveIfDeserted(_ fill: Fill) -> Bool {
    shard(fill.key.hash).state.withLock { shard in
      guard fill.isDeserted else { return false }
      remove(fill, from: &shard)
      return true
    }
  }

  func rememberUnshared(hash: UInt64, now: Instant) {
    shard(hash).state.withLock { shard in
      if shard.unshared.count >= Self.unsharedLimit {
        shard.unshared = shard.unshared.filter { now < $0.value }
        if shard.unshared.count >= Self.unsharedLimit { shard.unshared.removeAll() }
      }
      shard.unshared[hash] = now + Self.unsharedTime
    }
  }

  private func shard(_ hash: UInt64) -> LockedShard {
    shards[Int(truncatingIfNeeded: hash >> 32) & (Self.shardCount - 1)]
  }
}
