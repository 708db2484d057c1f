// What others do to a key while somebody fetches it. Whoever fetches watches the key from before the request
// leaves, and what was overtaken is then not saved:
//
//   key removed meanwhile (an unsafe request, a purge)   nothing of this fetch may be kept: it may be older
//   same variant saved by another, later one             neither freshened nor replaced by something older,
//                                                        and no beginning of an answer is kept for later
//
// Noted and asked under the lock of the key's shard, so that there is no moment in between. A watch goes on as long
// as anybody holds it: a growing body, or a beginning that was taken to be completed, holds its own, because both
// may outlive the fetch.

import Caching
import Platform
import Synchronization

/// One fetch of one key. Made by `Store.watch`; whoever lets go of it has ended it.
public final class Watch: Sendable {
  /// What the shard knows of it: the shard must never be the one who lets go of a watch, whose end needs its lock.
  let target: WatchedKey
  private let core: StoreCore

  fileprivate init(_ target: WatchedKey, core: StoreCore) {
    self.target = target
    self.core = core
  }

  deinit {
    core.shard(target.hash).state.withLock { $0.unwatch(target) }
  }

  /// What is being fetched has been removed since: the answer is for those who were waiting for it, and nobody
  /// else.
  public var isSpoiled: Bool { target.isSpoiled }
}

/// What has happened to a key since somebody began to fetch it.
final class WatchedKey: Sendable {
  let key: [UInt8]
  let hash: UInt64
  private let spoiled = Atomic<Bool>(false)
  /// The Date of what others saved, by variant.
  private let saved = Mutex<[UInt32: Int64]>([:])
  /// A file that would bring what is fetched back after a kill, and has to go with it.
  private let notePath = Mutex<String?>(nil)

  init(key: [UInt8], hash: UInt64) {
    self.key = key
    self.hash = hash
  }

  var isSpoiled: Bool { spoiled.load(ordering: .acquiring) }

  func spoil() { spoiled.store(true, ordering: .releasing) }

  var note: String? {
    get { notePath.withLock { $0 } }
    set { notePath.withLock { $0 = newValue } }
  }

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

  /// Whether an answer may be saved.
  /// - Parameter isFreshened: the content is that of an entry which is already stored.
  func permits(_ entry: StoredEntry, isFreshened: Bool) -> Bool {
    guard !isSpoiled else { return false }
    guard let date = saved.withLock({ $0[entry.variantHash] }) else { return true }
    return !isFreshened && date <= entry.response.validators.date
  }

  /// Whether the beginning of an answer may be kept: what somebody has saved whole meanwhile is better.
  func permitsKeeping(variant: UInt32) -> Bool {
    !isSpoiled && saved.withLock { $0[variant] == nil }
  }
}

extension Store {
  /// Begins to watch a key, before its request is sent. For event loops.
  /// - Parameter held: what the fetch may confirm, as it was looked up a moment ago.
  public func watch(_ key: CacheKey, holding held: StoredEntry?) -> Watch {
    let target = WatchedKey(key: key.bytes, hash: key.hash)
    core.shard(key.hash).state.withLock { $0.watch(target, holding: held) }
    return Watch(target, core: core)
  }
}

extension StoreCore {
  /// Watches for what an earlier run has left of a fetch, until it can be kept. What was removed or saved since this
  /// run began counts too.
  func watchLeftBehind(key: [UInt8], hash: UInt64, variant: UInt32, note: String) -> Watch {
    let target = WatchedKey(key: key, hash: hash)
    target.note = note
    shard(hash).state.withLock { state in
      state.watch(target, holding: nil)
      if state.removedWhileRecovering.contains(hash)
        || state.index.entry(hash, variant: variant) != nil
      {
        target.spoil()
      }
    }
    return Watch(target, core: self)
  }

  /// Nothing that is being fetched for a key that begins so may be kept.
  /// - Returns: how many responses without their end were let go of.
  func spoilFetches(prefix: [UInt8]) -> Int {
    var discarded = 0
    for shard in shards {
      shard.state.withLock { state in
        for target in state.watches.values.joined() where target.key.starts(with: prefix) {
          state.spoil(target)
        }
        discarded += discardIncompletes(prefix: prefix, in: shard)
      }
    }
    queue.nudge()
    return discarded
  }

  /// Files that spoiled fetches would come back from after a kill; nobody is told of them twice.
  func takeSpoiledNotes() -> [String] {
    shards.flatMap { shard in
      shard.state.withLock { state -> [String] in
        guard !state.spoiledNotes.isEmpty else { return [] }
        defer { state.spoiledNotes = [] }
        return state.spoiledNotes
      }
    }
  }
}

extension ShardState {
  mutating func watch(_ target: WatchedKey, holding held: StoredEntry?) {
    watches[target.hash, default: []].append(target)
    guard let held else { return }
    let isCurrent =
      if let set = hot.peek(held.hash), set.key == held.key {
        set.entries.contains { $0 === held }
      } else {
        index.entry(held.hash, variant: held.variantHash) != nil
      }
    if !isCurrent { target.note(saved: held.variantHash, date: .max) }
  }

  mutating func unwatch(_ target: WatchedKey) {
    guard var all = watches[target.hash] else { return }
    all.removeAll { $0 === target }
    watches[target.hash] = all.isEmpty ? nil : all
  }

  mutating func spoil(_ hash: UInt64) {
    for target in watches[hash] ?? [] { spoil(target) }
  }

  mutating func spoil(_ target: WatchedKey) {
    target.spoil()
    if let note = target.note {
      target.note = nil
      spoiledNotes.append(note)
    }
  }

  func noteSaved(_ entry: StoredEntry, by own: Watch?) {
    guard !watches.isEmpty else { return }
    for target in watches[entry.hash] ?? [] where target !== own?.target {
      target.note(saved: entry.variantHash, date: entry.response.validators.date)
    }
  }
}

extension LogWriter {
  /// What was removed while it was fetched does not come back after a kill either.
  func removeSpoiledNotes() {
    for path in core.takeSpoiledNotes() {
      do {
        try File.unlink(path)
      } catch .noSuchFile {
      } catch {
        core.troubles.note(error)
      }
    }
  }
}
