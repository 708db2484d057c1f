// The beginning of a body whose fetch broke off, kept so that the rest can be asked for (RFC 9111 §3.3).
//
//   GrowingBlob.leave ─▶ in the table ─▶ taken by a fill ─▶ resumed: a GrowingBlob again
//          recovery ─▶       │ ▲               └─ given back, or discarded
//                            │ └─ requests read ranges that lie wholly in it
//                            └─▶ discarded: replaced, purged, too old, or space is short
//
// It is never more than that: no index entry leads here, so nothing can take it for a whole response.

import Caching
import HTTP
import Platform
import Synchronization

/// A stored response without the end of its content.
public final class Incomplete: Sendable {
  public let key: [UInt8]
  let keyHash: UInt64
  let variantHash: UInt32
  public let response: StoredResponse
  /// Of the whole content, if it was announced.
  public let expectedLength: Int64?
  /// What is there, to be read below its length. The digest is that of these bytes.
  public let file: BlobFile
  /// Unix seconds at which it broke off.
  public let brokenOffAt: Int64
  let openFile: OpenFile
  let path: String
  /// What it has of the store's space, until it is surrendered.
  let reserved: Int64
  private let hasher: Mutex<Hasher256?>

  /// How many bytes are there.
  public var length: Int64 { file.length }

  init(
    _ note: PartialNote, path: String, openFile: OpenFile, hasher: consuming Hasher256,
    reserved: Int64
  ) {
    key = note.key
    keyHash = note.keyHash
    variantHash = note.variantHash
    response = note.response
    expectedLength = note.expectedLength
    brokenOffAt = note.writtenAt
    file = BlobFile(digest: note.digest, length: note.length, file: openFile)
    self.openFile = openFile
    self.path = path
    self.reserved = reserved
    self.hasher = Mutex(consume hasher)
  }

  /// Where the note beside a body is.
  static func notePath(_ path: String) -> String { path + ".about" }

  /// Gives the file and its space away, with the computation of the digest so far; `nil` the second time.
  func surrender() -> Hasher256? { hasher.withLock { $0.take() } }

  /// Removes the files. Blocks.
  func remove(from space: Space) {
    guard surrender() != nil else { return }
    try? File.unlink(path)
    try? File.unlink(Self.notePath(path))
    space.release(reserved)
  }
}

/// Bounds of what is kept.
enum IncompleteLimits {
  /// Less than this is sooner fetched than asked about.
  static let least: Int64 = 64 << 10
  static let count = 256
  /// Seconds. By then a package has been fetched again or is not wanted any more.
  static let age: Int64 = 24 * 3600
  /// Between two notes of a growing body: what a killed process may lose of it.
  static let noteInterval: Int64 = 16 << 20
}

/// The incomplete responses of a store: one per key at most, oldest first.
final class IncompleteTable: Sendable {
  private struct State {
    var byKey: [UInt64: Incomplete] = [:]
    /// In the order they broke off.
    var order: [UInt64] = []
    /// Out of the table, with files that are still there.
    var discarded: [Incomplete] = []

    mutating func remove(_ hash: UInt64) -> Incomplete? {
      guard let found = byKey.removeValue(forKey: hash) else { return nil }
      if let index = order.firstIndex(of: hash) { order.remove(at: index) }
      return found
    }
  }

  private let state = Mutex(State())
  // So that a store without any costs its users an atomic read.
  private let filled = Atomic<Int>(0)

  var count: Int { filled.load(ordering: .relaxed) }
  var all: [Incomplete] {
    state.withLock { state in state.order.compactMap { state.byKey[$0] } }
  }

  /// Puts one in; what it replaces, and what is beyond the bounds, is discarded.
  func add(_ incomplete: Incomplete, now: Int64) {
    change { state in
      if let old = state.remove(incomplete.keyHash) { state.discarded.append(old) }
      state.byKey[incomplete.keyHash] = incomplete
      state.order.append(incomplete.keyHash)
      while let first = state.order.first, let oldest = state.byKey[first],
        state.order.count > IncompleteLimits.count || Self.isTooOld(oldest, now: now)
      {
        if let removed = state.remove(first) { state.discarded.append(removed) }
      }
    }
  }

  private static func isTooOld(_ incomplete: Incomplete, now: Int64) -> Bool {
    let (age, overflow) = now.subtractingReportingOverflow(incomplete.brokenOffAt)
    return overflow || age > IncompleteLimits.age
  }

  func find(_ key: CacheKey, now: Int64) -> Incomplete? {
    guard count > 0 else { return nil }
    return state.withLock { state in
      guard let found = state.byKey[key.hash], found.key == key.bytes,
        !Self.isTooOld(found, now: now)
      else { return nil }
      return found
    }
  }

  /// Takes one out of the table; false if it is not there any more.
  func take(_ incomplete: Incomplete) -> Bool {
    change { state in
      guard state.byKey[incomplete.keyHash] === incomplete else { return false }
      return state.remove(incomplete.keyHash) != nil
    }
  }

  /// Lets go of what is kept for a key; its files go later. False if there was nothing.
  func discard(_ hash: UInt64) -> Bool {
    guard count > 0 else { return false }
    return change { state in
      guard let removed = state.remove(hash) else { return false }
      state.discarded.append(removed)
      return true
    }
  }

  /// Lets go of one that was taken.
  func discard(_ taken: Incomplete) {
    state.withLock { $0.discarded.append(taken) }
  }

  /// Lets go of the oldest one; false if there is none.
  func discardOldest() -> Bool {
    guard count > 0 else { return false }
    return change { state in
      guard let first = state.order.first, let removed = state.remove(first) else { return false }
      state.discarded.append(removed)
      return true
    }
  }

  /// Those whose files are to be removed now.
  func takeDiscarded() -> [Incomplete] {
    state.withLock { state in
      let discarded = state.discarded
      if !discarded.isEmpty { state.discarded = [] }
      return discarded
    }
  }

  private func change<Result>(_ body: (inout State) -> sending Result) -> sending Result {
    state.withLock { state in
      let result = body(&state)
      filled.store(state.order.count, ordering: .relaxed)
      return result
    }
  }
}

extension Store {
  /// The incomplete response of a key that was chosen by the same request fields; it stays where it is. For event
  /// loops.
  public func incomplete(
    _ key: CacheKey, for request: FieldSection, now: Int64
  ) -> Incomplete? {
    guard let found = core.incompletes.find(key, now: now),
      found.response.variance.matches(request)
    else { return nil }
    return found
  }

  /// The same, taken out: the caller completes it (`resume`), gives it back, or discards it. For event loops.
  /// - Parameter watch: of the fetch that is to complete it.
  public func takeIncomplete(
    _ key: CacheKey, for request: FieldSection, now: Int64, watch: Watch
  ) -> Incomplete? {
    guard !core.options.readOnly, let found = incomplete(key, for: request, now: now) else {
      return nil
    }
    let isTaken = core.shard(key.hash).state.withLock { _ in
      guard !watch.isSpoiled, core.incompletes.take(found) else { return false }
      watch.target.note = Incomplete.notePath(found.path)
      return true
    }
    return isTaken ? found : nil
  }

  /// Nothing has become of it: the next one may try. For event loops.
  /// - Parameter watch: of the fetch that took it. What was removed since is discarded.
  public func giveBack(_ taken: Incomplete, watch: Watch, now: Int64) {
    core.keep(taken, watch: watch, now: now)
  }

  /// It belongs to something that is no more. For event loops.
  public func discard(_ taken: Incomplete) {
    core.incompletes.discard(taken)
    core.queue.nudge()
  }

  /// Goes on with an incomplete response that was taken. Blocks. Whatever comes of it, the caller has it no longer.
  /// - Parameters:
  ///   - response: its head as it is from now on.
  ///   - expectedLength: of the whole content. Room for the rest is set aside.
  ///   - watch: of the fetch that took it.
  public func resume(
    _ taken: Incomplete, response: StoredResponse, expectedLength: Int64, watch: Watch
  ) throws(Errno) -> GrowingBlob {
    try GrowingBlob(
      core: core, resuming: taken, response: response, expectedLength: expectedLength, watch: watch)
  }
}

extension StoreCore {
  /// Keeps the beginning of a response, unless the fetch that brought it was overtaken: then its files go. Asked and
  /// done in one step, like a removal, which lets go of what is kept under the same lock. For event loops.
  /// - Parameter watch: of that fetch; nil when nobody else has the store.
  func keep(_ incomplete: Incomplete, watch: Watch?, now: Int64) {
    let hash = incomplete.keyHash
    shard(hash).state.withLock { _ in
      if watch?.target.permitsKeeping(variant: incomplete.variantHash) ?? true {
        incompletes.add(incomplete, now: now)
      } else {
        incompletes.discard(incomplete)
      }
    }
    queue.nudge()
  }

  /// Lets go of what is kept for a key.
  func discardIncomplete(_ hash: UInt64) {
    if incompletes.discard(hash) { queue.nudge() }
  }

  /// Lets go of what is kept for all keys of a shard that begin so, under the lock of that shard.
  /// - Returns: how many.
  func discardIncompletes(prefix: [UInt8], in shard: Shard) -> Int {
    var count = 0
    for incomplete in incompletes.all
    where self.shard(incomplete.keyHash) === shard && incomplete.key.starts(with: prefix) {
      if incompletes.discard(incomplete.keyHash) { count += 1 }
    }
    return count
  }
}

extension LogWriter {
  /// Removes the files of incomplete responses that nobody wants any more.
  func removeDiscarded() {
    for incomplete in core.incompletes.takeDiscarded() { incomplete.remove(from: core.space) }
  }
}
