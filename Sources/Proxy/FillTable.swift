// The fills that are running, by key: the one place where many requests for a cold object become one
// upstream request (collapsed forwarding, RFC 9111 §4). Also remembers, for a short while, keys whose
// answers turned out to be for one client only, so that a thousand such requests do not queue up behind
// each other for nothing.

import Caching
import Platform
import Synchronization

final class FillTable: Sendable {
  /// Seconds for which a key is taken to be unshared after an answer said so.
  private static let unsharedSeconds: Int64 = 30
  /// Keys remembered as unshared, per shard.
  private static let unsharedLimit = 512
  private static let shardCount = 64

  private struct Shard {
    var fills: [UInt64: [Fill]] = [:]
    var unshared: [UInt64: Int64] = [:]
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

  func enter(_ key: CacheKey, now: Int64) -> Entry {
    let hash = key.hash
    return shard(hash).state.withLock { shard in
      if let fill = shard.fills[hash]?.first(where: { $0.key == key && !$0.isSpoiled }) {
        return .joined(fill)
      }
      if let until = shard.unshared[hash] {
        if now < until { return .alone }
        shard.unshared[hash] = nil
      }
      let fill = Fill(key)
      shard.fills[hash, default: []].append(fill)
      runningCount.add(1, ordering: .relaxed)
      return .lead(fill)
    }
  }

  /// The fill is over; who comes now finds its result in the store, or starts anew.
  /// - Returns: whether it was in the table at all; one that nobody can follow never is.
  @discardableResult
  func leave(_ fill: Fill) -> Bool {
    shard(fill.key.hash).state.withLock { shard in
      guard var fills = shard.fills[fill.key.hash],
        let index = fills.firstIndex(where: { $0 === fill })
      else { return false }
      fills.remove(at: index)
      shard.fills[fill.key.hash] = fills.isEmpty ? nil : fills
      runningCount.subtract(1, ordering: .relaxed)
      return true
    }
  }

  func rememberUnshared(hash: UInt64, now: Int64) {
    shard(hash).state.withLock { shard in
      if shard.unshared.count >= Self.unsharedLimit {
        shard.unshared = shard.unshared.filter { now < $0.value }
        if shard.unshared.count >= Self.unsharedLimit { shard.unshared.removeAll() }
      }
      let (until, overflow) = now.addingReportingOverflow(Self.unsharedSeconds)
      shard.unshared[hash] = overflow ? now : until
    }
  }

  private func shard(_ hash: UInt64) -> LockedShard {
    shards[Int(truncatingIfNeeded: hash >> 32) & (Self.shardCount - 1)]
  }
}
