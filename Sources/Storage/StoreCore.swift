// What the parts of a store share: the shards, the segments, the blobs, the space, and the counters.
//
// `Store` is the door, `LogWriter` the only one who changes the log, `Recovery` reads it at start. Whoever drops an
// index entry calls `release` so that its blob is let go.

import Caching
import Platform
import Synchronization

/// How a store is to be opened.
public struct StoreOptions: Sendable {
  /// The directory; made if it is missing.
  public var path: String
  /// Hard cap on disk, in bytes.
  public var size: Int64
  /// For sets that are ready to be sent, in bytes.
  public var memory: Int
  /// What is left of the file system to others, whatever `size` allows.
  public var keepFree = KeepFree.bytes(0)
  /// How many blobs to keep open at most.
  public var openBlobs = 1024
  /// Which fields of a stored response say how it may be used.
  public var targets = TargetedFields.standard
  /// For reading what is there; changes nothing. Fails while an instance has the store open.
  public var readOnly = false
  /// How long the log thread lets responses gather before it writes them.
  package var linger: Duration = .milliseconds(10)
  /// How long closing may take to bring new blobs to the disk. If it is not enough they are checked after the next start.
  public var syncTime: Duration = .seconds(5)
  /// Instead of the one that follows from `size`: for tests.
  package var segmentSize: Int?
  package var queueLimit = LogLimits.queue
  package var shardCount: Int?
  package var measure: FreeSpace.Measure?

  public init(path: String, size: Int64 = 50 << 30, memory: Int = 256 << 20) {
    self.path = path
    self.size = size
    self.memory = memory
  }
}

package final class StoreCore: Sendable {
  let options: StoreOptions
  let format: StoreFormat
  let segmentSize: Int
  let shards: [Shard]
  let shardMask: UInt64
  let blobCost: Int
  let segments = SegmentTable()
  let blobs: BlobTable
  let space: Space
  let freeSpace: FreeSpace
  let troubles = TroubleLog()
  let queue: LogQueue
  /// Blobs nobody refers to any more, until the log thread removes their files.
  let doomed: DigestQueue
  /// Blobs that could not be read as they should be, until the log thread has looked at them.
  let suspects = DigestQueue()
  let counters = Counters()
  /// The start-up scan is complete.
  let isRecovered = Atomic<Bool>(false)
  let recovered = Gate()
  /// `space` knows of all blobs; until then nobody may take any for a body.
  let areBlobsCounted = Gate()
  private let stopping = Atomic<Bool>(false)
  private let nextTicket = Atomic<UInt32>(0)
  let partials = PartialNames()
  let openBodies = OpenBodies()
  let incompletes = IncompleteTable()
  /// What an earlier run left of growing bodies has been looked at.
  let incompletesRecovered = Gate()

  init(_ options: StoreOptions, format: StoreFormat) {
    self.options = options
    self.format = format
    segmentSize = options.segmentSize ?? LogLimits.segmentSize(for: options.size)

    // Shards of no less than 4 MiB, so that a large set fits into one.
    var count = 1
    while count < 64 && options.memory / (2 * count) >= 4 << 20 { count *= 2 }
    count = options.shardCount ?? count
    blobCost = max(4096, options.memory / max(1, options.openBlobs))
    shardMask = UInt64(count - 1)
    let limit = options.memory / count
    let blobCost = blobCost
    shards = (0..<count).map { _ in Shard(hotLimit: limit, blobCost: blobCost) }

    let space = Space(limit: options.size, logReserve: Int64(segmentSize))
    let queue = LogQueue(limit: options.queueLimit)
    let doomed = DigestQueue()
    self.space = space
    freeSpace =
      if let measure = options.measure {
        FreeSpace(path: options.path, options.keepFree, measure: measure)
      } else {
        FreeSpace(path: options.path, options.keepFree)
      }
    self.queue = queue
    self.doomed = doomed
    blobs = BlobTable(directory: options.path + "/blobs", space: space) { digest in
      doomed.add(digest)
      queue.nudge()
    }
  }

  /// Seed of all checksums and key hashes of this store.
  var seed: UInt64 { format.id }

  @inline(__always)
  func shard(_ hash: UInt64) -> Shard { shards[Int(truncatingIfNeeded: hash & shardMask)] }

  var isStopping: Bool {
    get { stopping.load(ordering: .relaxed) }
    set { stopping.store(newValue, ordering: .relaxed) }
  }

  func ticket() -> UInt32 {
    IndexEntry.ticket(nextTicket.wrappingAdd(1, ordering: .relaxed).newValue)
  }

  /// Lets go of the blobs of entries that left the index.
  func release(_ entries: [IndexEntry]) {
    for entry in entries {
      if let blob = entry.blob { blobs.release(blob) }
    }
  }

  /// Removes all variants of a key.
  /// - Returns: how many there were, one without its end included.
  func remove(_ key: [UInt8], _ hash: UInt64) -> Int {
    let (hadIncomplete, removed) = shard(hash).state.withLock { state in
      (
        incompletes.discard(hash),
        state.remove(hash, recovering: !isRecovered.load(ordering: .acquiring))
      )
    }
    release(removed)
    // Even when the index has nothing: the log may still have a record that reclaiming has passed.
    queue.insist(.tombstone(key: key, hash: hash))
    return removed.count + (hadIncomplete ? 1 : 0)
  }

  /// Drops one record because it, or its blob, turned out to be damaged.
  func dropDamaged(_ entry: IndexEntry) {
    troubles.note(.damaged)
    if let removed = shard(entry.hash).state.withLock({ $0.drop(entry) }) { release([removed]) }
  }

  /// Takes space for a body; reclaims if there is none. Blocks.
  func reserve(_ bytes: Int64) -> Bool {
    areBlobsCounted.pass()
    if take(bytes) { return true }
    // What can never fit evicts nothing. And until the start-up scan is through nothing can be evicted: it may take
    // long, and whoever wants the body is served without the store meanwhile.
    guard couldTake(bytes), isRecovered.load(ordering: .acquiring) else { return false }
    for _ in 0..<Self.attemptsAtRoom where queue.makeRoom(for: bytes) { return true }
    return false
  }

  // Whoever finds room at once does not wait for those who wait.
  private static let attemptsAtRoom = 16

  final class Counters: Sendable {
    let saved = Atomic<Int>(0)
    let refused = Atomic<Int>(0)
    let evicted = Atomic<Int>(0)
    let reappended = Atomic<Int>(0)
    let segmentsReclaimed = Atomic<Int>(0)
    let blobsCommitted = Atomic<Int>(0)
    let blobsDeduplicated = Atomic<Int>(0)

    static func add(_ counter: borrowing Atomic<Int>) {
      counter.wrappingAdd(1, ordering: .relaxed)
    }
  }
}

/// Names for growing bodies, unique over restarts.
final class PartialNames: Sendable {
  private let prefix = String(Randomness.word(), radix: 36) + "-"
  private let next = Atomic<UInt64>(0)

  func take() -> String { prefix + String(next.wrappingAdd(1, ordering: .relaxed).newValue) }

  func isOurs(_ name: String) -> Bool { name.hasPrefix(prefix) }
}

/// Closed at first; once open, it stays so.
final class Gate: Sendable {
  // The same twice: the atomic so that passing an open gate costs nothing.
  private let isOpen = Atomic<Bool>(false)
  private let monitor = Monitor(false)

  func open() {
    monitor.withLock { $0 = true }
    isOpen.store(true, ordering: .releasing)
    monitor.wakeAll()
  }

  /// Waits until it is open.
  func pass() {
    if isOpen.load(ordering: .acquiring) { return }
    monitor.wait { $0 ? () : nil }
  }
}
