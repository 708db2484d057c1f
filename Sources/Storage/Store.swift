// The store: stored responses by key, in memory and on disk.
//
//   lookup ─▶ hot: send it        save ─▶ visible at once ─▶ log thread ─▶ log/
//          ─▶ cold: load on a pool thread                 GrowingBlob ─▶ blobs/
//          ─▶ absent: fetch
//
// A directory belongs to one process at a time. `lookup`, `save`, `refresh` and `remove` may be called on event
// loops: they take a lock of one shard and do no input or output. All else blocks. docs/store-format.md describes what is on disk.

import Caching
import HTTP
import Platform
import Synchronization

/// A store of responses.
public final class Store: Sendable {
  let core: StoreCore
  private let threads = Mutex<[WorkerThread]>([])
  private let isClosed = Atomic<Bool>(false)
  /// Hashes the keys of this store. The same for its whole life, because hashes are on disk.
  public let keyHasher: KeyHasher

  /// Bodies up to this length are saved inline; longer ones grow into blobs.
  public static var inlineLimit: Int { RecordFormat.inlineLimit }

  // MARK: Opening and closing

  /// Opens the store in a directory, which is made if it is missing. Serves at once; what is on disk is found by and by.
  public static func open(_ options: StoreOptions) throws(StoreError) -> Store {
    let path = options.path
    let segmentSize = options.segmentSize ?? LogLimits.segmentSize(for: options.size)
    guard options.size >= 4 * Int64(segmentSize) else {
      throw .tooSmall(size: options.size, minimum: 4 * Int64(segmentSize))
    }
    if !options.readOnly { try makeDirectories(path) }
    let format = try StoreFormat(directory: path, readOnly: options.readOnly)
    if !options.readOnly {
      for name in ["log", "blobs", "partial"] { try makePart(path + "/" + name) }
      do {
        try format.mark(.dirty)
      } catch {
        throw StoreError(path: path + "/format", doing: "write", error)
      }
    }
    let core = StoreCore(options, format: format)
    let ids: [UInt32]
    do {
      ids = try Recovery.list(options)
    } catch {
      throw StoreError(path: path + "/log", doing: "read", error)
    }
    let recovery = Recovery(core: core, segments: ids)
    recovery.countLog()
    let store = Store(core: core)
    if options.readOnly {
      recovery.run()
      return store
    }
    let next = (ids.first ?? 0) + 1
    do {
      let log = try WorkerThread.start(name: "store-log") {
        LogWriter(core: core, nextSegment: next).run()
      }
      store.threads.withLock { $0.append(log) }
      let scan = try WorkerThread.start(name: "store-scan") { recovery.run() }
      store.threads.withLock { $0.append(scan) }
    } catch {
      core.queue.stop()
      throw .unavailable(path: path, doing: "start the threads of", error)
    }
    return store
  }

  private init(core: StoreCore) {
    self.core = core
    keyHasher = KeyHasher(seed: core.seed)
  }

  /// The store itself may be a link, which is how people move one to another disk. Its parts may not: what is
  /// written there must stay there.
  private static func makePart(_ path: String) throws(StoreError) {
    try makeDirectories(path)
    guard let status = try? File.status(at: path), status.kind == .directory else {
      throw .notADirectory(path: path)
    }
  }

  private static func makeDirectories(_ path: String) throws(StoreError) {
    do {
      try File.makeDirectories(path)
    } catch {
      throw StoreError(path: path, doing: "make", error)
    }
  }

  deinit { close() }

  /// Writes what is still in memory, seals the log and marks the store as left in order. Blocks. Closing again does nothing.
  public func close() {
    guard !isClosed.exchange(true, ordering: .relaxed) else { return }
    defer { core.format.unlock() }
    if core.options.readOnly { return }
    endWaiting()
    core.openBodies.leaveAll()
    core.queue.stop()
    for thread in threads.withLock({ $0 }) { thread.join() }
    // What was not checked in this run must not be trusted in the next.
    // Nor must what the disk does not have yet.
    let isComplete =
      core.isRecovered.load(ordering: .acquiring) && !core.blobs.hasSuspects
      && core.blobs.sync(until: Instant.precise() + core.options.syncTime)
    if isComplete {
      do {
        try core.format.mark(.clean)
      } catch {
        core.troubles.note(error)
      }
    }
  }

  /// The process is about to end: nobody waits for the start-up scan any longer, which ends where it is.
  /// `close` is still to be called.
  public func endWaiting() {
    core.isStopping = true
    core.areBlobsCounted.open()
    core.recovered.open()
    core.incompletesRecovered.open()
  }

  /// Waits until everything on disk at the start has been found, or the store is to be closed.
  public func waitUntilRecovered() {
    core.recovered.pass()
    core.incompletesRecovered.pass()
  }

  /// Leaves so much of the file system to others from now on. What is stored beyond that goes as new things come.
  public func use(_ keepFree: KeepFree) { core.freeSpace.use(keepFree) }

  /// Which fields of a response say how it may be used, for responses that are to be saved here.
  public var targets: TargetedFields { core.options.targets }

  public var isRecovered: Bool { core.isRecovered.load(ordering: .acquiring) }

  /// Waits until everything saved or removed so far is in the log. Blocks.
  public func flush() {
    if !core.options.readOnly { core.queue.flush() }
  }

  // MARK: Finding

  /// What there is for a key. For event loops: one short lock, no allocation.
  /// - Parameter hash: of the same bytes, by `keyHasher`.
  public func lookup(keyBytes: UnsafeRawBufferPointer, hash: UInt64) -> Lookup {
    let key = Borrowed(keyBytes)
    return core.shard(hash).state.withLock { $0.lookup(key, hash) }
  }

  /// Reads all variants of a cold key and makes them hot. Blocks: for a thread of a pool.
  public func load(_ key: CacheKey) -> LoadResult {
    EntryLoader(core: core).load(key)
  }

  // MARK: Saving

  /// The content of a response to be saved.
  public enum Body: Sendable {
    case inline([UInt8])
    case blob(FinishedBlob)
  }

  /// Stores a response: found by `lookup` from now on, on disk soon after. For event loops.
  ///
  /// Takes the place of the variant with the same variance. When the log cannot keep up, or the response has
  /// more fields than the format allows, it is not stored; the entry that comes back can be sent all the same.
  /// - Parameter watch: of the fetch that brought it; when that was overtaken it is not stored either.
  @discardableResult
  public func save(
    _ key: CacheKey, response: StoredResponse, body: Body, watch: Watch? = nil
  ) -> StoredEntry {
    switch body {
    case .inline(let bytes):
      let entry = bytes.withUnsafeBytes { bytes in
        StoredEntry(
          key: key.bytes, hash: key.hash, response: response, content: .inline(bytes),
          seed: core.seed)
      }
      save(entry, watch)
      return entry
    case .blob(let blob):
      let entry = StoredEntry(
        key: key.bytes, hash: key.hash, response: response, content: .blob(blob.file),
        seed: core.seed)
      // `blob` keeps the file from being removed until the entry has a reference of its own.
      withExtendedLifetime(blob) { save(entry, watch) }
      return entry
    }
  }

  /// Stores a freshened response with the body it had. For event loops.
  /// - Parameter watch: of the request that freshened it; what was overtaken meanwhile is not stored.
  @discardableResult
  public func refresh(
    _ entry: StoredEntry, response: StoredResponse, watch: Watch? = nil
  ) -> StoredEntry {
    let fresh = freshened(entry, response: response)
    withExtendedLifetime(entry) { save(fresh, watch, isFreshened: true) }
    return fresh
  }

  /// A freshened response with the body it had, for whoever has asked and nobody else: it is not stored.
  public func freshened(_ entry: StoredEntry, response: StoredResponse) -> StoredEntry {
    let content: StoredEntry.Content =
      switch entry.body {
      case .inline: .inline(entry.inlineBody)
      case .blob(let file): .blob(file)
      }
    return withExtendedLifetime(entry) {
      StoredEntry(
        key: entry.key, hash: entry.hash, response: response, content: content, seed: core.seed)
    }
  }

  private func save(_ entry: StoredEntry, _ watch: Watch?, isFreshened: Bool = false) {
    guard !core.options.readOnly else { return }
    guard entry.inlineBody.count <= RecordFormat.inlineLimit, core.queue.hasRoom else {
      refuse()
      return
    }
    var blob: BlobID?
    if let reference = entry.blobReference {
      blob = core.blobs.retain(reference)
      // The blob was evicted while its last reader still had it open.
      if blob == nil { return refuse() }
    }
    let ticket = core.ticket()
    let pending = IndexEntry(
      hash: entry.hash, variant: entry.variantHash, ticket: ticket, blob: blob)
    let shard = core.shard(entry.hash)
    let displaced = shard.state.withLock { state -> [IndexEntry]? in
      guard watch?.target.permits(entry, isFreshened: isFreshened) ?? true else { return nil }
      state.noteSaved(entry, by: watch)
      // Whatever was begun before, this is newer and whole.
      _ = core.incompletes.discard(entry.hash)
      return state.save(entry, as: pending, ticket: ticket)
    }
    guard let displaced else {
      core.release([pending])
      return
    }
    core.release(displaced)
    if core.queue.offer(.save(entry, pending: pending), bytes: entry.memoryCost) {
      StoreCore.Counters.add(core.counters.saved)
    } else {
      if let dropped = shard.state.withLock({ $0.drop(pending) }) { core.release([dropped]) }
      refuse()
    }
  }

  private func refuse() {
    StoreCore.Counters.add(core.counters.refused)
    core.troubles.note(.logBehind)
  }

  /// Begins a body that is to become a blob. Blocks.
  /// - Parameters:
  ///   - key, response, expectedLength: what is needed to go on with it after a restart. Room for the expected
  ///     length is set aside.
  ///   - watch: of the fetch that brings it. What is removed meanwhile is not kept when it breaks off.
  /// - Throws: `ENOSPC` when there is no such room, for one.
  public func grow(
    _ key: CacheKey, response: StoredResponse, expectedLength: Int64?, watch: Watch? = nil
  ) throws(Errno) -> GrowingBlob {
    try GrowingBlob(
      core: core, key: key, response: response, expectedLength: expectedLength, watch: watch)
  }

  // MARK: Removing

  /// Removes all variants of a key, from memory at once and from disk soon after. For event loops.
  /// - Returns: whether there was anything.
  @discardableResult
  public func remove(_ key: CacheKey) -> Bool {
    guard !core.options.readOnly else { return false }
    return core.remove(key.bytes, key.hash) > 0
  }
}
