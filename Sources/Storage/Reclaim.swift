// Making room: eviction and compaction in one pass over the oldest end of the log.
//
//   oldest segment                                          active segment
//   [r r r r|r r r r]   [r r r r r r r r]   …   [r r r r ──▶ appended here
//           ▲ cursor
//
// The cursor goes through the records from the oldest on. One that the index does not mean is passed over. One
// that was used since it was written is appended again and loses its mark; any other is evicted, with its blob if
// nobody else names it. A segment the cursor has left behind is removed. It stops as soon as there is room: a
// store of large blobs has few records, and giving up a whole segment at a time would empty it.
//
// Records passed by the cursor lie in their file until it is removed. A restart may find them again: they are
// older than everything else about their key, still right, and without a blob if that is gone.

import Platform

/// How far reclaiming has got.
struct ReclaimCursor {
  var segment: UInt32 = 0
  /// The next record, as its number in the segment's footer.
  var position = 0
  /// The footer of that segment, unless it is the active one.
  var entries: [FooterEntry]?
  /// Not all of the segment could be read.
  var isPartial = false
}

extension LogWriter {
  /// Evicts from the oldest end until `isEnough`, or until everything was passed twice: once to take its mark, once to go.
  func reclaim(until isEnough: () -> Bool) {
    guard !isReclaiming else { return }
    isReclaiming = true
    defer { isReclaiming = false }
    writeBatch()
    removeDoomed()
    removeDiscarded()
    // What is not whole goes first.
    while !isEnough(), core.incompletes.discardOldest() { removeDiscarded() }
    var rounds = 0
    var roundEnd = (active?.id ?? .max, footer.count)
    while !isEnough() {
      guard let segment = core.segments.oldest else { break }
      if reclaimCursor.segment != segment.id { enter(segment) }
      if (segment.id, reclaimCursor.position) >= roundEnd {
        rounds += 1
        if rounds == 2 { break }
        writeBatch()
        roundEnd = (active?.id ?? .max, footer.count)
      }
      if let entry = nextEntry(of: segment) {
        pass(entry, in: segment)
      } else if segment.id == active?.id {
        break
      } else {
        leave(segment)
      }
      removeDoomed()
    }
    writeBatch()
  }

  private func enter(_ segment: Segment) {
    reclaimCursor = ReclaimCursor(segment: segment.id)
    guard segment.id != active?.id else { return }
    let contents = SegmentContents.read(segment, seed: core.seed)
    reclaimCursor.entries = contents.entries
    reclaimCursor.isPartial = !contents.isWhole
  }

  private func nextEntry(of segment: Segment) -> FooterEntry? {
    // The active segment may have been sealed since the cursor entered it.
    if reclaimCursor.entries == nil, segment.id != active?.id {
      let position = reclaimCursor.position
      enter(segment)
      reclaimCursor.position = position
    }
    let entries = reclaimCursor.entries ?? footer
    guard reclaimCursor.position < entries.count else { return nil }
    defer { reclaimCursor.position += 1 }
    return entries[reclaimCursor.position]
  }

  private func pass(_ entry: FooterEntry, in segment: Segment) {
    guard entry.kind == .response else { return }
    let here = IndexEntry(
      hash: entry.keyHash, variant: entry.variantHash, segment: segment.id, offset: entry.offset,
      length: entry.length, blob: nil)
    let (live, wasUsed) = core.shard(entry.keyHash).state.withLock {
      state -> (IndexEntry?, Bool) in
      guard let live = state.isLive(here) else { return (nil, false) }
      return (live, state.takeUse(live))
    }
    guard let live else { return }
    if wasUsed {
      switch segment.record(at: entry.offset, length: entry.length, seed: core.seed) {
      case .record(let bytes, let view):
        if reappend(bytes, view, from: live, blob: entry.blob) {
          StoreCore.Counters.add(core.counters.reappended)
          return
        }
      case .damaged:
        core.troubles.note(.damaged)
      case .failed(let errno):
        core.troubles.note(errno)
      }
    }
    if let removed = core.shard(entry.keyHash).state.withLock({ $0.drop(live) }) {
      core.release([removed])
      StoreCore.Counters.add(core.counters.evicted)
    }
  }

  private func leave(_ segment: Segment) {
    // What was copied must be in the log before its old place goes.
    writeBatch()
    if reclaimCursor.isPartial { dropRest(of: segment) }
    remove(segment)
    StoreCore.Counters.add(core.counters.segmentsReclaimed)
  }

  private func remove(_ segment: Segment) {
    do {
      try File.unlink(segment.path)
    } catch .noSuchFile {
    } catch {
      // Still there and still counted. Its records are not: out of the table with it, the next start tries again.
      core.troubles.note(error)
      core.segments.remove(segment.id)
      return
    }
    core.segments.remove(segment.id)
    core.space.release(segment.taken)
  }

  /// Moves everything that counts out of a damaged segment and removes it.
  func evacuate(_ segment: Segment) {
    if segment.id == active?.id { seal() }
    writeBatch()
    let contents = SegmentContents.read(segment, seed: core.seed)
    for entry in contents.entries {
      let places: [IndexEntry]
      if entry.kind == .tombstone {
        guard
          case .record(let bytes, let view) = segment.record(
            at: entry.offset, length: entry.length, seed: core.seed)
        else { continue }
        // At its new place it would also hide what came after it: that follows it there.
        appendTombstone(key: Array(bytes[view.key]), hash: entry.keyHash)
        places = core.shard(entry.keyHash).state.withLock { $0.index.entries(entry.keyHash) }
      } else {
        let here = IndexEntry(
          hash: entry.keyHash, variant: entry.variantHash, segment: segment.id,
          offset: entry.offset, length: entry.length, blob: nil)
        let live = core.shard(entry.keyHash).state.withLock { $0.isLive(here) }
        places = live.map { [$0] } ?? []
      }
      for place in places.reversed() where !place.isPending { move(place) }
      writeBatch()
    }
    dropRest(of: segment)
    reclaimCursor = ReclaimCursor()
    remove(segment)
  }

  private func move(_ place: IndexEntry) {
    guard let segment = core.segments[place.segment] else { return }
    if case .record(let bytes, let view) = segment.record(
      at: place.offset, length: place.length, seed: core.seed),
      reappend(bytes, view, from: place, blob: FooterEntry(view, at: place.offset).blob)
    {
      return
    }
    core.dropDamaged(place)
  }

  /// Drops what the index still has of a segment that could not be read to its end.
  private func dropRest(of segment: Segment) {
    for shard in core.shards {
      let dropped = shard.state.withLock { state -> [IndexEntry] in
        var found: [IndexEntry] = []
        state.index.visit { if $0.segment == segment.id { found.append($0) } }
        return found.compactMap { state.drop($0) }
      }
      core.release(dropped)
    }
  }
}
