// What a store can tell about itself, for metrics, the admin side and the command line.

import Platform

/// A store in numbers, as of one moment. Counters count from the opening.
public struct StoreStatistics: Sendable {
  /// Stored responses.
  public var entries = 0
  public var blobs = 0
  public var segments = 0
  /// Bytes on disk, growing bodies included, and the cap on them.
  public var usedBytes: Int64 = 0
  public var limitBytes: Int64 = 0
  public var blobBytes: Int64 = 0
  /// Sets in memory, what they are charged as, and the memory of the index.
  public var hotSets = 0
  public var hotBytes = 0
  public var indexBytes = 0

  public var hotHits = 0
  public var coldHits = 0
  public var misses = 0

  /// Responses taken for storing; refused for want of room, time or because a write failed; evicted for space.
  public var saved = 0
  public var refused = 0
  public var evicted = 0
  /// Records written again because they were in use when their segment went.
  public var reappended = 0
  public var segmentsReclaimed = 0
  public var blobsCommitted = 0
  /// Bodies that were there already under another key.
  public var blobsDeduplicated = 0
  /// Responses without their end, that may be completed, and the bytes there are of them.
  public var incompletes = 0
  public var incompleteBytes: Int64 = 0
  /// Everything at hand from before the start has been found.
  public var isRecovered = false
  public var troubles: [StoreTrouble: Int] = [:]
}

extension Store {
  public var statistics: StoreStatistics {
    var result = StoreStatistics()
    for shard in core.shards {
      shard.state.withLock { state in
        result.entries += state.index.count
        result.indexBytes += state.index.memory
        result.hotSets += state.hot.count
        result.hotBytes += state.hot.cost
        result.hotHits += state.hotHits
        result.coldHits += state.coldHits
        result.misses += state.misses
      }
    }
    result.blobs = core.blobs.count
    result.blobBytes = core.blobs.bytes
    result.segments = core.segments.all.count
    result.usedBytes = core.space.used
    result.limitBytes = core.space.limit
    result.saved = core.counters.saved.load(ordering: .relaxed)
    result.refused = core.counters.refused.load(ordering: .relaxed)
    result.evicted = core.counters.evicted.load(ordering: .relaxed)
    result.reappended = core.counters.reappended.load(ordering: .relaxed)
    result.segmentsReclaimed = core.counters.segmentsReclaimed.load(ordering: .relaxed)
    result.blobsCommitted = core.counters.blobsCommitted.load(ordering: .relaxed)
    result.blobsDeduplicated = core.counters.blobsDeduplicated.load(ordering: .relaxed)
    let incompletes = core.incompletes.all
    result.incompletes = incompletes.count
    result.incompleteBytes = incompletes.reduce(0) { $0 &+ $1.length }
    result.isRecovered = isRecovered
    for trouble in StoreTrouble.allCases { result.troubles[trouble] = core.troubles.total(trouble) }
    return result
  }

  /// What went wrong since it was last asked, each kind at most once a minute: for the log.
  public func troubles(now: Instant) -> [TroubleReport] {
    core.troubles.due(now: now)
  }
}
