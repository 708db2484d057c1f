// A part of the keys: their index, their hot sets and what is still to be written, under one lock.
//
// Every step that must be seen as one by others is one method here. Nothing in here blocks, allocates for a hit, or
// touches a file. Index entries that lose their place are handed back, so that the caller gives up their blobs
// after the lock is released.

import Caching
import Synchronization

/// What the store has for a key.
public enum Lookup: Sendable {
  case absent
  /// In memory.
  case hot(VariantSet)
  /// On disk: `Store.load` brings it in.
  case cold
}

package final class Shard: Sendable {
  let state: Mutex<ShardState>

  init(hotLimit: Int, blobCost: Int) {
    state = Mutex(ShardState(hotLimit: hotLimit, blobCost: blobCost))
  }
}

struct ShardState: ~Copyable {
  var index = Index()
  var hot: HotTable
  /// Saved, in the index, and waiting for the log thread; by ticket.
  var pending: [UInt32: StoredEntry] = [:]
  /// Keys removed while the start-up scan runs: what it still finds for them does not count.
  var removedWhileRecovering: Set<UInt64> = []
  /// Fetches under way, by the hash of their key (Watch.swift).
  var watches: [UInt64: [WatchedKey]] = [:]
  /// Notes of what was removed while it was fetched, until the log thread has removed them too.
  var spoiledNotes: [String] = []
  let blobCost: Int

  var hotHits = 0
  var coldHits = 0
  var misses = 0

  init(hotLimit: Int, blobCost: Int) {
    hot = HotTable(limit: hotLimit)
    self.blobCost = blobCost
  }

  mutating func lookup(_ key: Borrowed, _ hash: UInt64) -> Lookup {
    if let set = hot.use(hash, key: key.bytes) {
      hotHits &+= 1
      return .hot(set)
    }
    if index.touch(hash) {
      coldHits &+= 1
      return .cold
    }
    misses &+= 1
    return .absent
  }

  /// Makes an entry visible that is not written yet. Gives back what it displaces.
  mutating func save(_ entry: StoredEntry, as pendingEntry: IndexEntry, ticket: UInt32)
    -> [IndexEntry]
  {
    var displaced: [IndexEntry] = []
    if let old = index.put(pendingEntry) { displaced.append(old) }
    pending[ticket] = entry
    let all = index.entries(entry.hash)
    if all.count > LogLimits.variants, let oldest = all.last, let removed = index.remove(oldest) {
      displaced.append(removed)
    }
    forget(displaced)

    if let set = hot.peek(entry.hash), set.key == entry.key {
      makeHot(set.adding(entry), wasUsed: false)
    } else if all.count == 1 {
      makeHot(
        VariantSet(key: entry.key, hash: entry.hash, entries: [entry], blobCost: blobCost),
        wasUsed: false)
    } else {
      // Other variants are on disk: the next use loads them all.
      hot.remove(entry.hash)
    }
    return displaced
  }

  /// Everything under a hash goes.
  mutating func remove(_ hash: UInt64, recovering: Bool) -> [IndexEntry] {
    spoil(hash)
    hot.remove(hash)
    let removed = index.removeAll(hash)
    forget(removed)
    if recovering { removedWhileRecovering.insert(hash) }
    return removed
  }

  /// One record goes, if it is still the one the index means.
  mutating func drop(_ entry: IndexEntry) -> IndexEntry? {
    guard let removed = index.remove(entry) else { return nil }
    hot.remove(entry.hash)
    forget([removed])
    return removed
  }

  /// What is needed to load a key: where its records are, and those that are in memory still.
  func candidates(_ hash: UInt64) -> [(IndexEntry, StoredEntry?)] {
    index.entries(hash).map { entry in (entry, entry.ticket.flatMap { pending[$0] }) }
  }

  /// Makes a loaded set hot, if its records are still the ones the index means.
  mutating func install(_ set: VariantSet, loadedFrom candidates: [IndexEntry]) -> Bool {
    let now = index.entries(set.hash)
    guard now.count == candidates.count,
      zip(now, candidates).allSatisfy({ $0.isAtSamePlace(as: $1) && $0.variant == $1.variant })
    else { return false }
    makeHot(set, wasUsed: now.contains { $0.isUsed })
    return true
  }

  /// A record got its place on disk.
  mutating func place(_ from: IndexEntry, at to: IndexEntry, keepingUse: Bool) -> Bool {
    if let ticket = from.ticket { pending[ticket] = nil }
    return index.move(from, to: to, keepingUse: keepingUse)
  }

  /// Whether the index means this record.
  func isLive(_ entry: IndexEntry) -> IndexEntry? {
    guard let found = index.entry(entry.hash, variant: entry.variant),
      found.isAtSamePlace(as: entry)
    else { return nil }
    return found
  }

  /// Whether the key was used since this was last asked.
  mutating func takeUse(_ entry: IndexEntry) -> Bool {
    let usedHot = hot.takeUse(entry.hash)
    return usedHot || entry.isUsed
  }

  /// A record found by the start-up scan, which goes from newest to oldest. False if it does not count.
  mutating func recover(_ entry: IndexEntry) -> Bool {
    guard !removedWhileRecovering.contains(entry.hash),
      index.entry(entry.hash, variant: entry.variant) == nil,
      index.entries(entry.hash).count < LogLimits.variants
    else { return false }
    _ = index.put(entry)
    // A set made before this variant was known is not complete.
    hot.remove(entry.hash)
    return true
  }

  private mutating func makeHot(_ set: VariantSet, wasUsed: Bool) {
    for used in hot.insert(set, wasUsed: wasUsed) { _ = index.touch(used) }
  }

  private mutating func forget(_ entries: [IndexEntry]) {
    for entry in entries {
      if let ticket = entry.ticket { pending[ticket] = nil }
    }
  }
}
