// The fills that are running, by key: the one place where many requests for a cold object become one
// upstream request (collapsed forwarding, RFC 9111 §4). Also remembers, for a short while, what fills were begun for
// nothing and why, so that a thousand requests do not repeat that.

import Caching
import Platform
import Synchronization

final class FillTable: Sendable {
  /// For how long something is remembered of a key.
  private static let memoryTime: Duration = .seconds(30)
  /// Keys remembered for one reason, per shard.
  private static let memoryLimit = 512
  private static let shardCount = 64

  /// What a fill has taught about its key.
  enum Lesson: CaseIterable {
    /// Its answers are for one client each: nobody waits for another's.
    case unshared
    /// All who were there wanted parts, and the whole was given up as too large: parts are asked for as they are.
    case wholeUnwanted
    /// It was to renew what is stored, for nobody in particular, and was given up.
    case renewalGivenUp
  }

  private struct Shard {
    var fills: [UInt64: [Fill]] = [:]
    /// Until when it counts.
    var lessons: [Lesson: [UInt64: Instant]] = [:]

    mutating func remembers(_ lesson: Lesson, _ hash: UInt64, now: Instant) -> Bool {
      guard let until = lessons[lesson]?[hash] else { return false }
      if now < until { return true }
      lessons[lesson]?[hash] = nil
      return false
    }
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
  /// - Parameters:
  ///   - now: of the monotonic clock, so that a step of the other one keeps no key apart for hours.
  ///   - asksForLess: a part would do, or a word that nothing has changed.
  func enter(_ key: CacheKey, now: Instant, asksForLess: Bool = false) -> Entry {
    let hash = key.hash
    return shard(hash).state.withLock { shard in
      if let fill = shard.fills[hash]?.first(where: { $0.key == key && !$0.isSpoiled }) {
        fill.retain()
        return .joined(fill)
      }
      if shard.remembers(.unshared, hash, now: now) { return .alone }
      if asksForLess, shard.remembers(.wholeUnwanted, hash, now: now) { return .alone }
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

  func remember(_ lesson: Lesson, hash: UInt64, now: Instant) {
    shard(hash).state.withLock { shard in
      var known = shard.lessons.removeValue(forKey: lesson) ?? [:]
      if known.count >= Self.memoryLimit {
        known = known.filter { now < $0.value }
        if known.count >= Self.memoryLimit { known.removeAll() }
      }
      known[hash] = now + Self.memoryTime
      shard.lessons[lesson] = known
    }
  }

  func remembers(_ lesson: Lesson, hash: UInt64, now: Instant) -> Bool {
    shard(hash).state.withLock { $0.remembers(lesson, hash, now: now) }
  }

  private func shard(_ hash: UInt64) -> LockedShard {
    shards[Int(truncatingIfNeeded: hash >> 32) & (Self.shardCount - 1)]
  }
}
