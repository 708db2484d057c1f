// Start-up: from what is on disk to an index, newest first, while the store serves already.
//
//   sort partial/ ─▶ note which blobs exist ─▶ segments from newest to oldest ─▶ remove blobs nobody names ─▶ adopt partial bodies
//
// The first record found for a key and variant is the newest and wins, unless something newer was saved or the key
// removed since the start. A record whose blob is not there is passed over. A segment without a footer was being
// written when the process ended: it is read record by record, cut after the last good one, and sealed.
// Until all is done nothing is reclaimed, because a record the index does not know yet would look dead.

import Platform

struct Recovery {
  let core: StoreCore
  /// Newest first.
  let segments: [UInt32]

  /// The numbers of the segments in the log, newest first, and what they take.
  static func list(_ options: StoreOptions) throws(Errno) -> [UInt32] {
    try File.list(options.path + "/log").compactMap { Segment.id(named: $0.name) }
      .sorted(by: >)
  }

  /// Counts what the log takes. Quick, and done before the store opens for writing.
  func countLog() {
    for id in segments {
      let path = core.options.path + "/log/" + Segment.name(id)
      if let status = try? File.status(at: path) { core.space.count(Space.onDisk(status.size)) }
    }
  }

  func run() {
    let partials = PartialRecovery(core: core)
    let begun = partials.sort()
    adoptBlobs()
    core.areBlobsCounted.open()
    var dead: Set<UInt64> = []
    var isComplete = true
    for id in segments {
      if core.isStopping { return }
      if !recover(id, dead: &dead) { isComplete = false }
    }
    for shard in core.shards { shard.state.withLock { $0.removedWhileRecovering = [] } }
    core.isRecovered.store(true, ordering: .releasing)
    // What an unreadable segment names may be wanted again when it can be read.
    if !core.options.readOnly { core.blobs.endRecovery(sweeping: isComplete) }
    core.recovered.open()
    partials.adopt(begun)
    core.incompletesRecovered.open()
  }

  private func adoptBlobs() {
    let directory = core.options.path + "/blobs"
    let trust: BlobTable.Trust = core.format.found == .clean ? .assumed : .suspect
    for prefix in list(directory) where prefix.kind == .directory {
      for entry in list(directory + "/" + prefix.name) {
        let path = directory + "/" + prefix.name + "/" + entry.name
        guard let digest = Digest(hex: entry.name), entry.name.hasPrefix(prefix.name),
          let status = try? File.status(at: path), status.kind == .file
        else { continue }
        core.blobs.adopt(
          BlobReference(digest: digest, length: UInt64(clamping: status.size)), trust)
      }
    }
  }

  private func list(_ directory: String) -> [File.Entry] {
    do throws(Errno) {
      return try File.list(directory)
    } catch {
      core.troubles.note(error)
      return []
    }
  }

  /// False when the segment could not be read.
  private func recover(_ id: UInt32, dead: inout Set<UInt64>) -> Bool {
    let opened: (Segment, SegmentContents)?
    do throws(Errno) {
      opened = try openSegment(id)
    } catch {
      core.troubles.note(error)
      return false
    }
    guard let (segment, contents) = opened else { return true }
    core.segments.add(segment)
    for entry in contents.entries.reversed() {
      if entry.kind == .tombstone {
        dead.insert(entry.keyHash)
        continue
      }
      guard entry.kind == .response, !dead.contains(entry.keyHash) else { continue }
      var blob: BlobID?
      if let reference = entry.blob {
        blob = core.blobs.retain(reference)
        if blob == nil { continue }
      }
      let place = IndexEntry(
        hash: entry.keyHash, variant: entry.variantHash, segment: id, offset: entry.offset,
        length: entry.length, blob: blob)
      let counts = core.shard(entry.keyHash).state.withLock { $0.recover(place) }
      if !counts, let blob { core.blobs.release(blob) }
    }
    return true
  }

  /// Opens a segment and brings it into order; `nil` when there is nothing in it. One that cannot be read is left
  /// as it is: the next start may have better luck.
  private func openSegment(_ id: UInt32) throws(Errno) -> (Segment, SegmentContents)? {
    let path = core.options.path + "/log/" + Segment.name(id)
    let file = OpenFile(try File.open(path, core.options.readOnly ? .read : .readWrite))
    let taken = Space.onDisk(try File.status(file.rawValue).size)
    let segment = Segment(
      id: id, path: path, file: file, end: SegmentHeader.length, reserved: taken)
    let header = try segment.read(at: 0, count: SegmentHeader.length)
    guard
      header.withUnsafeBytes({
        SegmentHeader.isValid($0, segment: id, store: core.seed)
      })
    else {
      try remove(segment)
      return nil
    }
    let contents = SegmentContents.read(segment, seed: core.seed)
    segment.end = contents.end
    if let errno = contents.failure { throw errno }
    if contents.isSealed || core.options.readOnly { return (segment, contents) }
    if contents.entries.isEmpty {
      try remove(segment)
      return nil
    }
    try File.truncate(segment.descriptor, to: Int64(contents.end))
    SegmentSealer.seal(segment, contents.entries, core: core)
    return (segment, contents)
  }

  private func remove(_ segment: Segment) throws(Errno) {
    if core.options.readOnly { return }
    try File.unlink(segment.path)
    core.space.release(segment.taken)
  }
}
