// Looking into the store as a whole: list what is in it, show one key, purge by key or prefix.
//
// Keys are only in the log, so these read all of it, record by record. They are for people and for the admin
// side: they block, and take as long as the disk takes.

import Caching
import Platform
import Synchronization

/// A stored response, as far as a list shows it.
public struct StoredSummary: Sendable {
  public var key: [UInt8]
  public var status: UInt16
  /// Length of the content.
  public var contentLength: Int64
  /// The blob with the content, unless it is in the log.
  public var digest: Digest?
  /// Unix seconds when the response was received.
  public var responseTime: Int64
  /// Whether requests with other fields may get other variants.
  public var varies: Bool
  /// The end of the content is missing: `contentLength` is what is there.
  public var isIncomplete = false

  init(_ incomplete: Incomplete) {
    key = incomplete.key
    status = incomplete.response.status.rawValue
    contentLength = incomplete.length
    responseTime = incomplete.response.responseTime
    varies = !incomplete.response.variance.selectors.isEmpty
    isIncomplete = true
  }

  package init?(_ record: RecordView, in bytes: UnsafeRawBufferPointer) {
    switch record.body {
    case .none:
      return nil
    case .inline(let range):
      contentLength = Int64(range.count)
    case .blob(let blob, let length):
      contentLength = Int64(clamping: length)
      digest = blob
    }
    key = Array(bytes[record.key])
    status = record.status
    responseTime = record.responseTime
    varies = !record.variance.isEmpty
  }

  public var keyText: String { String(decoding: key, as: UTF8.self) }
}

extension Store {
  /// Calls `body` for every stored response, in the order of the log, then for the incomplete ones; stops when it
  /// answers false.
  public func forEachEntry(_ body: (StoredSummary) -> Bool) {
    waitUntilRecovered()
    flush()
    var goesOn = true
    LogReader(core: core).forEachLive { record, bytes in
      guard let summary = StoredSummary(record, in: bytes) else { return true }
      goesOn = body(summary)
      return goesOn
    }
    guard goesOn else { return }
    for incomplete in core.incompletes.all where !body(StoredSummary(incomplete)) { return }
  }

  /// What is kept of a key whose fetch broke off. Does not count as a use.
  public func showIncomplete(_ key: CacheKey) -> Incomplete? {
    waitUntilRecovered()
    return core.incompletes.all.first { $0.key == key.bytes }
  }

  /// Everything stored for a key, newest first. Does not count as a use.
  public func show(_ key: CacheKey) -> [StoredEntry] {
    waitUntilRecovered()
    let loader = EntryLoader(core: core)
    let candidates = core.shard(key.hash).state.withLock { $0.candidates(key.hash) }
    return candidates.compactMap { place, pending in
      if let pending { return pending }
      guard case .entry(let entry) = loader.read(place) else { return nil }
      return entry
    }.filter { $0.key == key.bytes }
  }

  /// Which keys to purge.
  public enum Selection: Sendable {
    case exact([UInt8])
    /// All keys that begin with these bytes.
    case prefix([UInt8])
  }

  /// Removes what is selected, and returns when that is on the disk.
  /// - Returns: how many stored responses went.
  /// - Throws: when the log could not be read to its end, so that something that is selected may still be there.
  @discardableResult
  public func purge(_ selection: Selection) throws(StoreError) -> Int {
    guard !core.options.readOnly else { throw .readOnly(path: core.options.path) }
    waitUntilRecovered()
    guard isRecovered else {
      throw .unavailable(path: core.options.path, doing: "read all of", .canceled)
    }
    let purge = Purge()
    switch selection {
    case .exact(let bytes):
      let key = CacheKey(bytes, hasher: keyHasher)
      purge.add(core.remove(key.bytes, key.hash))
    case .prefix(let prefix):
      purge.add(core.spoilFetches(prefix: prefix))
      // On the log thread nothing is moved while we read.
      let core = core
      core.queue.run { _ in
        LogReader(core: core).forEachLive { record, bytes in
          let key = bytes[record.key]
          if key.starts(with: prefix) { purge.add(core.remove(Array(key), record.keyHash)) }
          return true
        }.map { purge.fail($0) }
      }
      if let error = purge.failure {
        throw .notAllRead(path: core.options.path + "/log", error)
      }
    }
    core.queue.run { $0.sync() }
    return purge.count
  }

  private final class Purge: Sendable {
    private let removed = Atomic<Int>(0)
    private let failed = Mutex<Errno?>(nil)

    var failure: Errno? { failed.withLock { $0 } }

    func fail(_ error: Errno) { failed.withLock { $0 = error } }

    func add(_ count: Int) { removed.wrappingAdd(count, ordering: .relaxed) }

    var count: Int { removed.load(ordering: .relaxed) }
  }
}

/// Reads the log from its oldest record to its newest.
struct LogReader {
  let core: StoreCore

  /// Calls `body` for every record the index means; stops when it answers false.
  /// - Returns: why some records could not be read, if so; a damaged one hides those behind it.
  @discardableResult
  func forEachLive(_ body: (RecordView, UnsafeRawBufferPointer) -> Bool) -> Errno? {
    var failure: Errno?
    for segment in core.segments.all {
      var scan = SegmentScan(segment, end: segment.end, seed: core.seed)
      reading: while true {
        switch scan.next() {
        case .record(let record, let offset):
          guard record.kind == .response else { continue }
          let here = IndexEntry(
            hash: record.keyHash, variant: record.variantHash, segment: segment.id, offset: offset,
            length: record.length, blob: nil)
          let isLive = core.shard(record.keyHash).state.withLock { $0.isLive(here) != nil }
          if isLive, !scan.withRecord({ body(record, $0) }) { return failure }
        case .end:
          break reading
        case .damaged:
          failure = .inputOutput
          break reading
        case .failed(let error):
          failure = error
          break reading
        }
      }
    }
    return failure
  }
}
