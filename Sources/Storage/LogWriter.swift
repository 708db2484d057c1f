// The log thread: the only one who appends to the log, begins and seals segments, and removes files of blobs.
//
//   queue ─▶ batch ─▶ one write ─▶ the index learns the places ─▶ room is made ahead of need
//
// A record that cannot be written is dropped from memory too: what is served as stored is stored. A tombstone that
// cannot be written is owed and tried again with every batch.

import Platform

/// Lives on the log thread and is touched by no other.
package final class LogWriter {
  /// A record of the batch: where the index has it now and where it will be.
  private struct Move {
    var from: IndexEntry
    var to: IndexEntry
    var isNew: Bool
  }

  let core: StoreCore
  private(set) var active: Segment?
  /// What the footer of the active segment will say.
  private(set) var footer: [FooterEntry] = []
  private var footerLength = 0
  private var nextSegment: UInt32
  private var nextSequence: UInt32 = 1
  private var batch: [UInt8] = []
  private var batchStart = 0
  private var moves: [Move] = []
  private var batchFooter: [FooterEntry] = []
  private var batchTombstones: [(key: [UInt8], hash: UInt64)] = []
  private var owed: [UInt64: [UInt8]] = [:]
  var reclaimCursor = ReclaimCursor()
  var isReclaiming = false

  init(core: StoreCore, nextSegment: UInt32) {
    self.core = core
    self.nextSegment = nextSegment
  }

  func run() {
    while true {
      let isUrgent = core.queue.waitForWork()
      if !isUrgent && core.options.linger > .zero { sleep(core.options.linger) }
      let work = core.queue.take()
      for (hash, key) in owed { appendTombstone(key: key, hash: hash) }
      owed = [:]
      for item in work.items {
        switch item {
        case .save(let entry, let pending): append(entry, pending)
        case .tombstone(let key, let hash): appendTombstone(key: key, hash: hash)
        }
      }
      writeBatch()
      examineSuspects()
      removeSpoiledNotes()
      removeDiscarded()
      removeDoomed()
      grant(work.rooms)
      for errand in work.errands { errand(self) }
      if work.isStopping {
        seal()
        removeSpoiledNotes()
        removeDiscarded()
        removeDoomed()
        core.queue.done(work)
        return
      }
      core.queue.done(work)
    }
  }

  private func sleep(_ duration: Duration) {
    sleepThread(min(duration, .seconds(1)))
  }

  // MARK: Appending

  private func append(_ entry: StoredEntry, _ pending: IndexEntry) {
    // Replaced or removed while it waited: nobody would find it.
    guard core.shard(entry.hash).state.withLock({ $0.isLive(pending) }) != nil else { return }
    var record: [UInt8] = []
    let length = entry.withRecord { RecordFormat.encode($0, seed: core.seed, into: &record) }
    guard length != nil,
      let offset = place(
        &record, hash: entry.hash, variant: entry.variantHash, kind: .response,
        blob: entry.blobReference)
    else {
      fail(Move(from: pending, to: pending, isNew: true))
      return
    }
    moves.append(
      Move(
        from: pending,
        to: IndexEntry(
          hash: entry.hash, variant: entry.variantHash, segment: active?.id ?? 0, offset: offset,
          length: record.count, blob: pending.blob),
        isNew: true))
    if batch.count >= LogLimits.batch { writeBatch() }
  }

  /// Appends a record that is in the log already, because its segment is about to go.
  /// - Returns: false when there is no room for it.
  func reappend(_ record: [UInt8], _ view: RecordView, from old: IndexEntry, blob: BlobReference?)
    -> Bool
  {
    var record = record
    guard
      let offset = place(
        &record, hash: view.keyHash, variant: view.variantHash, kind: .response, blob: blob)
    else { return false }
    moves.append(
      Move(
        from: old,
        to: IndexEntry(
          hash: view.keyHash, variant: view.variantHash, segment: active?.id ?? 0, offset: offset,
          length: record.count, blob: old.blob),
        isNew: false))
    if batch.count >= LogLimits.batch { writeBatch() }
    return true
  }

  func appendTombstone(key: [UInt8], hash: UInt64) {
    var content = RecordContent()
    content.kind = .tombstone
    content.keyHash = hash
    content.key = key
    var record: [UInt8] = []
    guard RecordFormat.encode(content, seed: core.seed, into: &record) != nil else { return }
    if place(&record, hash: hash, variant: 0, kind: .tombstone, blob: nil) != nil {
      batchTombstones.append((key, hash))
    } else {
      owe(key: key, hash: hash)
    }
  }

  /// Puts a record at the end of the batch, in a segment with room for it.
  /// - Returns: where in the segment it will be.
  private func place(
    _ record: inout [UInt8], hash: UInt64, variant: UInt32, kind: RecordKind, blob: BlobReference?
  ) -> Int? {
    var entry = FooterEntry(
      keyHash: hash, variantHash: variant, offset: 0, length: record.count, kind: kind, blob: blob)
    guard makeSegment(for: record.count, SegmentFooter.encodedLength(of: entry)),
      let active
    else { return nil }
    let offset = active.end + batch.count
    entry.offset = offset
    RecordFormat.renumber(&record, sequence: takeSequence(in: active), seed: core.seed)
    batch.append(contentsOf: record)
    batchFooter.append(entry)
    footerLength += SegmentFooter.encodedLength(of: entry)
    return offset
  }

  private func takeSequence(in segment: Segment) -> UInt64 {
    defer { nextSequence &+= 1 }
    return UInt64(segment.id) << 32 | UInt64(nextSequence)
  }

  /// Writes the batch, and tells the index where its records are.
  func writeBatch() {
    guard let active, !batch.isEmpty else { return }
    let (batchMoves, entries, tombstones) = (moves, batchFooter, batchTombstones)
    let length = batch.count
    // Emptied where it is, with nobody else holding it: emptying a copy would make a new buffer each time, a
    // page larger than the one before.
    defer { batch.removeAll(keepingCapacity: batch.capacity <= 4 * LogLimits.batch) }
    moves = []
    batchFooter = []
    batchTombstones = []
    do throws(Errno) {
      try File.writeFully(active.descriptor, batch, at: Int64(active.end))
    } catch {
      // What got onto the disk of it will be written over; its sequence numbers are not used again, so
      // none of it can be taken for what comes after.
      core.troubles.note(error)
      footerLength -= entries.reduce(0) { $0 + SegmentFooter.encodedLength(of: $1) }
      for move in batchMoves { fail(move) }
      for tombstone in tombstones { owe(key: tombstone.key, hash: tombstone.hash) }
      return
    }
    active.end += length
    footer.append(contentsOf: entries)
    for move in batchMoves {
      _ = core.shard(move.from.hash).state.withLock {
        $0.place(move.from, at: move.to, keepingUse: move.isNew)
      }
    }
  }

  /// A record that could not be written is not stored.
  private func fail(_ move: Move) {
    StoreCore.Counters.add(core.counters.refused)
    if let removed = core.shard(move.from.hash).state.withLock({ $0.drop(move.from) }) {
      core.release([removed])
    }
  }

  private func owe(key: [UInt8], hash: UInt64) {
    // More than this only with a disk that has failed for good.
    if owed.count < 65536 { owed[hash] = key }
  }

  // MARK: Segments

  /// Makes sure that the active segment has room for a record and its line in the footer.
  private func makeSegment(for length: Int, _ footerEntryLength: Int) -> Bool {
    let overhead =
      RecordFormat.totalLength(0) + RecordFormat.alignment + SegmentFooter.trailerLength
    if let active {
      let needed =
        active.end + batch.count + length + footerLength + footerEntryLength + overhead
      if needed <= core.segmentSize && nextSequence < .max - 1 { return true }
      writeBatch()
      seal()
    }
    guard SegmentHeader.length + length + footerEntryLength + overhead <= core.segmentSize else {
      return false
    }
    guard begin(), let active else { return false }
    return active.end + batch.count + length + footerLength + footerEntryLength + overhead
      <= core.segmentSize
  }

  private func begin() -> Bool {
    guard nextSegment < IndexEntry.pendingSegment else { return false }
    let size = Int64(core.segmentSize)
    // The last free segment is for reclaiming: without it, what is worth keeping could not be copied.
    if isReclaiming || !core.take(size) {
      if !isReclaiming {
        makeRoom(for: size)
        // Reclaiming may have begun a segment for what it kept.
        if active != nil { return true }
      }
      // Growing bodies may hold all the rest; then this is what there is. On a disk without room to spare there is
      // a segment at least, for removals have to be written down.
      guard
        isReclaiming || core.segments.oldest == nil
          || core.freeSpace.shortage(for: size, used: core.space.used) <= 0,
        core.space.reserveForLog(size)
      else {
        core.noteNoRoom(for: size)
        return false
      }
    }
    let id = nextSegment
    // A number is used once, even if the file could not be made: what it may have left is not ours.
    nextSegment += 1
    let path = core.options.path + "/log/" + Segment.name(id)
    do throws(Errno) {
      let file = OpenFile(try File.open(path, [.readWrite, .create, .exclusive]))
      do throws(Errno) {
        try prepare(file, id: id)
      } catch {
        try? File.unlink(path)
        throw error
      }
      let segment = Segment(
        id: id, path: path, file: file, end: SegmentHeader.length, reserved: size)
      core.segments.add(segment)
      active = segment
      footer = []
      footerLength = 0
      nextSequence = 1
      return true
    } catch {
      core.space.release(size)
      core.troubles.note(error)
      return false
    }
  }

  private func prepare(_ file: OpenFile, id: UInt32) throws(Errno) {
    do throws(Errno) {
      try File.allocate(file.rawValue, count: Int64(core.segmentSize))
    } catch  where !error.isOutOfSpace {
      // Not every file system can; then a full disk shows when we write.
    }
    try File.writeFully(file.rawValue, SegmentHeader.encode(segment: id, store: core.seed), at: 0)
  }

  /// Ends the active segment: its keys at its end, and all of it on the disk.
  func seal() {
    writeBatch()
    guard let segment = active else { return }
    active = nil
    SegmentSealer.seal(segment, footer, core: core)
    footer = []
    footerLength = 0
  }

  /// Waits until what was written is on the disk, and that what had begun of it is gone.
  func sync() {
    removeDiscarded()
    do throws(Errno) {
      if let active { try File.fdatasync(active.descriptor) }
      try File.syncDirectory(core.options.path + "/partial")
    } catch {
      core.troubles.note(error)
    }
  }

  // MARK: Room

  /// Removes the files of blobs that lost their last reference.
  func removeDoomed() {
    for digest in core.doomed.take() {
      do throws(Errno) {
        _ = try core.blobs.removeUnreferenced(digest)
      } catch {
        core.troubles.note(error)
      }
    }
  }

  /// Makes room for those who wait for it and takes it for them, in their order.
  private func grant(_ rooms: [LogQueue.Room]) {
    guard !rooms.isEmpty else { return }
    makeRoom(for: rooms.reduce(0) { $0 &+ $1.bytes })
    for room in rooms where core.take(room.bytes) {
      room.isGranted.store(true, ordering: .releasing)
    }
  }

  /// Reclaims until a body of `bytes` fits, and some more so that the next one need not wait.
  private func makeRoom(for bytes: Int64) {
    guard core.isRecovered.load(ordering: .acquiring) else { return }
    let ahead = min(core.space.limit / 64, 64 << 20)
    guard core.shortage(for: bytes, ahead: ahead / 2) > 0 else { return }
    reclaim { core.shortage(for: bytes, ahead: ahead) <= 0 }
  }
}

/// Sealing is done to the active segment, and at start to one that a crash left unsealed.
enum SegmentSealer {
  /// Appends the footer and gives back the space the segment did not need. A failure leaves it unsealed, which costs
  /// the next start a scan.
  static func seal(_ segment: Segment, _ entries: [FooterEntry], core: StoreCore) {
    let sequence = UInt64(segment.id) << 32 | UInt64(UInt32.max)
    guard
      let bytes = SegmentFooter.encode(
        entries, at: segment.end, sequence: sequence, seed: core.seed)
    else { return }
    do throws(Errno) {
      try File.writeFully(segment.descriptor, bytes, at: Int64(segment.end))
      let length = Int64(segment.end + bytes.count)
      try File.truncate(segment.descriptor, to: length)
      let surplus = segment.taken - Space.onDisk(length)
      segment.taken -= surplus
      core.space.release(surplus)
      try File.fdatasync(segment.descriptor)
    } catch {
      core.troubles.note(error)
    }
  }
}
