// A body on its way to becoming a blob: a file in partial/ that grows at one end and is read at every other place.
//
//   append … append ─▶ finish ─▶ FinishedBlob ─▶ Store.save
//             ├──────▶ abandon
//             └──────▶ leave ─▶ Incomplete, for a later fetch to go on with
//
// The descriptor is there from the start and every byte below the watermark may be sent from it at any time,
// also after the file has got its final name, or has lost its name. Bytes count against the store's cap
// before they are written. One caller appends at a time (a lane of a pool); readers are on any thread.

import Caching
import Platform
import Synchronization

/// What became of an append.
public enum AppendResult: Sendable, Equatable {
  /// All written; readers may have so many bytes.
  case appended(watermark: Int64)
  /// The cap is reached, or the disk is full. Nothing was added; the rest can only be relayed.
  case noSpace
  case failed(Errno)
}

/// What became of a body at its end.
public enum FinishResult: Sendable {
  case finished(FinishedBlob)
  /// It has another length than was announced.
  case wrongLength(Int64)
  /// Its bytes are not those that were asked for.
  case wrongDigest(Digest)
  case failed(Errno)
}

/// A body that grows.
public final class GrowingBlob: Sendable {
  private struct State: ~Copyable {
    var hasher: Hasher256?
    var reserved: Int64
    var isOpen = true
    /// What an append met that could not be done: nothing may follow, it would stand in its place.
    var failure: AppendResult?
    /// What the note beside the file says, if there is one; of its space, `reserved` has a part.
    var noted: Int64?
    /// What others do to the key while it grows, and until what has come of it is kept.
    var watch: Watch?
  }

  /// For readers: `sendfile` and `pread` below the watermark. Valid as long as this object.
  public let descriptor: Int32
  private let published: Atomic<Int64>
  private let isGivenUp = Atomic<Bool>(false)
  private let state: Mutex<State>
  private let file: OpenFile
  fileprivate let path: String
  private let key: CacheKey
  private let response: StoredResponse
  private let expectedLength: Int64?
  /// The rest could be asked for if it breaks off.
  private let isResumable: Bool
  private let core: StoreCore

  // From here on it is worth a second file to be able to go on after a kill.
  private static let noteFrom: Int64 = 1 << 20
  /// Room for a note is set aside with the first bytes of a body that may need one.
  private static let noteSpace = Space.onDisk(4096)

  /// - Throws: `ENOSPC` when a body of the expected length finds no room. It is set aside here, so that a body
  ///   whose length is known does not fail for want of it in the middle, when it can no longer do without the store.
  init(
    core: StoreCore, key: CacheKey, response: StoredResponse, expectedLength: Int64?,
    watch: Watch?
  ) throws(Errno) {
    self.core = core
    self.key = key
    self.response = response
    self.expectedLength = expectedLength
    isResumable = Completion.isPossible(for: response)
    path = core.options.path + "/partial/" + core.partials.take()
    let expected = max(0, expectedLength ?? 0)
    let noted = isResumable && expected >= IncompleteLimits.least ? Self.noteSpace : 0
    let (reserved, overflow) = Space.onDisk(expected).addingReportingOverflow(noted)
    guard !overflow, core.reserve(reserved) else {
      core.noteNoRoom(for: reserved)
      throw .noSpace
    }
    do throws(Errno) {
      file = OpenFile(try File.open(path, [.readWrite, .create, .exclusive]))
    } catch {
      core.space.release(reserved)
      core.troubles.note(error)
      throw error
    }
    descriptor = file.rawValue
    published = Atomic(0)
    state = Mutex(State(hasher: Hasher256(), reserved: reserved, watch: watch))
    core.openBodies.add(self)
    try allocate(expected)
  }

  /// Goes on where another body of the same response broke off.
  init(
    core: StoreCore, resuming taken: Incomplete, response: StoredResponse, expectedLength: Int64,
    watch: Watch
  ) throws(Errno) {
    self.core = core
    key = CacheKey(taken.key, hasher: KeyHasher(seed: core.seed))
    self.response = response
    self.expectedLength = expectedLength
    isResumable = Completion.isPossible(for: response)
    path = taken.path
    file = taken.openFile
    descriptor = file.rawValue
    published = Atomic(taken.length)
    let more = Space.onDisk(expectedLength) - Space.onDisk(taken.length)
    guard more >= 0, core.reserve(more) else {
      taken.remove(from: core.space)
      core.noteNoRoom(for: more)
      throw .noSpace
    }
    guard let hasher = taken.surrender() else {
      core.space.release(more)
      throw .noSuchFile
    }
    state = Mutex(
      State(
        hasher: consume hasher, reserved: taken.reserved + more, noted: taken.length, watch: watch))
    core.openBodies.add(self)
    try allocate(expectedLength)
  }

  private func allocate(_ expected: Int64) throws(Errno) {
    do throws(Errno) {
      // The disk may have less than the cap allows: now is the time to know.
      if expected > 0 { try File.allocate(descriptor, count: expected) }
    } catch  where error.isOutOfSpace {
      core.troubles.note(error)
      abandon()
      throw error
    } catch {
      // Not every file system can set space aside.
    }
  }

  deinit {
    core.openBodies.remove(self)
    leave()
  }

  /// How many bytes are there for readers.
  /// The digest of all that has been written so far. Nil when it cannot be told.
  public var digestSoFar: Digest? {
    state.withLock { state in
      // Taken out and put back: what cannot be copied cannot be looked at in place.
      guard let hasher = state.hasher.take() else { return nil }
      let digest = hasher.soFar()
      state.hasher = consume hasher
      return digest
    }
  }

  public var watermark: Int64 { published.load(ordering: .acquiring) }

  /// Adds bytes at the end. Blocks; not for event loops. Once it has failed it goes on failing.
  public func append(_ bytes: UnsafeRawBufferPointer) -> AppendResult {
    let borrowed = Borrowed(bytes)
    return state.withLock { state in
      guard state.isOpen, !isGivenUp.load(ordering: .acquiring) else {
        return .failed(.noSuchFile)
      }
      if let failure = state.failure { return failure }
      let result = append(borrowed, &state)
      if case .appended = result { return result }
      state.failure = result
      return result
    }
  }

  private func append(_ borrowed: Borrowed, _ state: inout State) -> AppendResult {
    let count = Int64(borrowed.bytes.count)
    let start = published.load(ordering: .relaxed)
    let noted =
      state.noted != nil || isResumable && start + count >= IncompleteLimits.least
      ? Self.noteSpace : 0
    let needed = Space.onDisk(start + count) + noted - state.reserved
    if needed > 0 {
      guard core.reserve(needed) else {
        core.noteNoRoom(for: needed)
        return .noSpace
      }
      state.reserved += needed
    }
    do throws(Errno) {
      try File.writeFully(descriptor, borrowed.bytes, at: start)
    } catch {
      core.troubles.note(error)
      return error.isOutOfSpace ? .noSpace : .failed(error)
    }
    state.hasher?.update(borrowed.bytes)
    let watermark = start + count
    published.store(watermark, ordering: .releasing)
    if isResumable, watermark >= Self.noteFrom,
      watermark - (state.noted ?? -IncompleteLimits.noteInterval) >= IncompleteLimits.noteInterval
    {
      writeNote(&state)
    }
    return .appended(watermark: watermark)
  }

  /// Ends the body, and gives it its name if it is what it should be; if not it is abandoned. Blocks.
  /// - Parameters:
  ///   - length: as announced by Content-Length; `nil` when unknown.
  ///   - digest: of the whole body, when one is known.
  public func finish(length: Int64?, digest: Digest? = nil) -> FinishResult {
    state.withLock { state in
      guard state.isOpen else { return .failed(.noSuchFile) }
      if let failure = state.failure {
        end(&state)
        if case .failed(let errno) = failure { return .failed(errno) }
        return .failed(.noSpace)
      }
      let watermark = published.load(ordering: .relaxed)
      if let length, length != watermark {
        end(&state)
        return .wrongLength(watermark)
      }
      guard let actual = state.hasher.take()?.finish() else {
        end(&state)
        return .failed(.noMemory)
      }
      if let digest, digest != actual {
        end(&state)
        return .wrongDigest(actual)
      }
      let reference = BlobReference(digest: actual, length: UInt64(clamping: watermark))
      do throws(Errno) {
        // The digest is of what was written. Whether the file still has it, its length tells at least.
        guard try File.status(descriptor).size == watermark else { throw .inputOutput }
        let (id, file) = try core.blobs.commit(
          path, as: reference, file: file, reserved: state.reserved)
        state.isOpen = false
        state.reserved = 0
        removeNote(state.noted != nil)
        state.watch = nil
        StoreCore.Counters.add(core.counters.blobsCommitted)
        if file !== self.file { StoreCore.Counters.add(core.counters.blobsDeduplicated) }
        return .finished(
          FinishedBlob(
            core: core, id: id, reference: reference,
            file: BlobFile(digest: actual, length: watermark, file: file)))
      } catch {
        core.troubles.note(error)
        end(&state)
        return .failed(error)
      }
    }
  }

  /// Gives the body up: its file goes, readers keep what they have. Harmless after the end.
  public func abandon() {
    state.withLock { state in
      if state.isOpen { end(&state) }
    }
  }

  /// The same for event loops: nothing is added any more, and its file goes when the last one lets go of it.
  public func giveUp() { isGivenUp.store(true, ordering: .releasing) }

  /// Ends the body without completing it: what is there is kept as an incomplete response if the rest of it could be
  /// asked for and it was not overtaken, else given up. Harmless after the end. Blocks.
  public func leave() {
    state.withLock { state in
      guard state.isOpen else { return }
      let watermark = published.load(ordering: .relaxed)
      guard isResumable, !isGivenUp.load(ordering: .acquiring), state.failure == nil,
        watermark >= IncompleteLimits.least,
        watermark != expectedLength, let note = writeNote(&state), let hasher = state.hasher.take()
      else { return end(&state) }
      do throws(Errno) {
        // Gives back what was set aside for the rest.
        try File.truncate(descriptor, to: watermark)
      } catch {
        core.troubles.note(error)
        return end(&state)
      }
      state.isOpen = false
      let kept = Space.onDisk(watermark) + Self.noteSpace
      core.space.release(state.reserved - kept)
      state.reserved = 0
      core.keep(
        Incomplete(note, path: path, openFile: file, hasher: consume hasher, reserved: kept),
        watch: state.watch, now: note.writtenAt)
      state.watch = nil
    }
  }

  private func end(_ state: inout State) {
    state.isOpen = false
    try? File.unlink(path)
    removeNote(state.noted != nil)
    core.space.release(state.reserved)
    state.reserved = 0
    state.watch = nil
  }

  private var notePath: String { Incomplete.notePath(path) }

  /// Writes down how far it has come, with the proof. A body without a note is dropped by the next start, which is
  /// all that can come of a failure here.
  @discardableResult
  private func writeNote(_ state: inout State) -> PartialNote? {
    let target = state.watch?.target
    guard target?.isSpoiled != true else { return nil }
    // From here on whoever removes the key sees to it that the note goes too.
    target?.note = notePath
    guard let digest = state.hasher?.soFar() else { return nil }
    let note = PartialNote(
      key: key.bytes, keyHash: key.hash,
      variantHash: VarianceCoding.hash(response.variance, seed: core.seed), response: response,
      expectedLength: expectedLength, length: published.load(ordering: .relaxed), digest: digest,
      writtenAt: WallTime.now().seconds)
    // A head that does not fit into the room set aside is unusual enough to do without.
    guard let bytes = note.encode(seed: core.seed), bytes.count <= Int(Self.noteSpace) else {
      return nil
    }
    do throws(Errno) {
      let file = try File.open(notePath, [.write, .create, .truncate])
      state.noted = note.length
      try File.writeFully(file.rawValue, bytes, at: 0)
      if target?.isSpoiled == true {
        // Removed before the name was there to be removed, perhaps.
        removeNote(true)
        return nil
      }
      return note
    } catch {
      core.troubles.note(error)
      return nil
    }
  }

  private func removeNote(_ exists: Bool) {
    if exists { try? File.unlink(notePath) }
  }
}

/// A complete body with its final name, that no record names yet.
///
/// Keeps the blob from being removed until it is saved with a response, or let go.
public final class FinishedBlob: Sendable {
  public let file: BlobFile
  package let reference: BlobReference
  private let id: BlobID
  private let core: StoreCore

  init(core: StoreCore, id: BlobID, reference: BlobReference, file: BlobFile) {
    self.core = core
    self.id = id
    self.reference = reference
    self.file = file
  }

  deinit {
    core.blobs.release(id)
  }

  public var digest: Digest { file.digest }
  public var length: Int64 { file.length }
}

/// The bodies that are growing, so that closing the store can leave them in order.
final class OpenBodies: Sendable {
  private struct Weak { weak var body: GrowingBlob? }
  private let bodies = Mutex<[ObjectIdentifier: Weak]>([:])

  func add(_ body: GrowingBlob) {
    bodies.withLock { $0[ObjectIdentifier(body)] = Weak(body: body) }
  }

  func remove(_ body: GrowingBlob) { bodies.withLock { $0[ObjectIdentifier(body)] = nil } }

  /// In the order of their names, which is the same in every simulation of a seed.
  func leaveAll() {
    // Copied out first: letting go of the last reference comes back here.
    let open = bodies.withLock { $0.values.compactMap(\.body) }
    for body in open.sorted(by: { $0.path < $1.path }) { body.leave() }
  }
}
