// What others do to a key while somebody fetches it. Whoever fetches watches the key from before the request
// leaves until the answer is saved, and an answer that was overtaken is then not saved:
//
//   key removed meanwhile (an unsafe request, a purge)   nothing of this fetch may be saved: it may be older
//   same variant saved by another, later one             neither freshened nor replaced by something older
//
// Noted and asked under the lock of the key's shard, so that there is no moment in between.

import Caching
import Synchronization

/// One fetch of one key, as the store sees it. Made by `Store.watch`, ended by `Store.unwatch`.
public final class Watch: Sendable {
  let key: [UInt8]
  let hash: UInt64
  private let spoiled = Atomic<Bool>(false)
  /// The Date of what others saved, by variant.
  private let saved = Mutex<[UInt32: Int64]>([:])

  init(_ key: CacheKey) {
    self.key = key.bytes
    hash = key.hash
  }

  /// What is being fetched has been removed since: the answer is for those who were waiting for it, and nobody
  /// else.
  public var isSpoiled: Bool { spoiled.load(ordering: .acquiring) }

  func spoil() { spoiled.store(true, ordering: .releasing) }

  /// More variants than this are not told apart: whoever makes so many in the time of one fetch costs that
  /// fetch its place, and not this process its memory.
  static let variantLimit = 2 * LogLimits.variants

  func note(saved variant: UInt32, date: Int64) {
    let hasRoom = saved.withLock { saved in
      guard saved.count < Self.variantLimit || saved[variant] != nil else { return false }
      saved[variant] = max(saved[variant] ?? date, date)
      return true
    }
    if !hasRoom { spoil() }
  }

  /// - Parameter isFreshened: the content is that of an entry which is already stored.
  func permits(_ entry: StoredEntry, isFreshened: Bool) -> Bool {
    guard !isSpoiled else { return false }
    guard let date = saved.withLock({ $0[entry.variantHash] }) else { return true }
    return !isFreshened && date <= entry.response.validators.date
  }
}

extension Store {
  /// Begins to watch a key, before its request is sent. For event loops.
  /// - Parameter held: what the fetch may confirm, as it was looked up a moment ago.
  public func watch(_ key: CacheKey, holding held: StoredEntry?) -> Watch {
    let watch = Watch(key)
    core.shard(key.hash).state.withLock { $0.watch(watch, holding: held) }
    return watch
  }

  /// The fetch is over. Doing so again does nothing.
  public func unwatch(_ watch: Watch) {
    core.shard(watch.hash).state.withLock { $0.unwatch(watch) }
  }

  /// Nothing that is being fetched for a key that begins so may be saved.
  func spoilFetches(prefix: [UInt8]) {
    for shard in core.shards { shard.state.withLock { $0.spoil(prefix: prefix) } }
  }
}

extension ShardState {
  mutating func watch(_ watch: Watch, holding held: StoredEntry?) {
    watches[watch.hash, default: []].append(watch)
    guard let held else { return }
    let isCurrent =
      if let set = hot.peek(held.hash), set.key == held.key {
        set.entries.contains { $0 === held }
      } else {
        index.entry(held.hash, variant: held.variantHash) != nil
      }
    if !isCurrent { watch.note(saved: held.variantHash, date: .max) }
  }

  mutating func unwatch(_ watch: Watch) {
    guard var all = watches[watch.hash] else { return }
    all.removeAll { $0 === watch }
    watches[watch.hash] = all.isEmpty ? nil : all
  }

  func spoil(_ hash: UInt64) {
    for watch in watches[hash] ?? [] { watch.spoil() }
  }

  func spoil(prefix: [UInt8]) {
    for watch in watches.values.joined() where watch.key.starts(with: prefix) { watch.spoil() }
  }

  func noteSaved(_ entry: StoredEntry, by own: Watch?) {
    guard !watches.isEmpty else { return }
    for watch in watches[entry.hash] ?? [] where watch !== own {
      watch.note(saved: entry.variantHash, date: entry.response.validators.date)
    }
  }
}
