// Start-up, for bodies that were growing when the last run ended: those with a good note are looked at, once the
// store serves; all others go at once.
//
// A note says how many bytes there are and what their digest is. They are read and compared: neither a killed process nor a
// power cut can so pass off anything for what it is not, and the digest's computation can go on from there.
// What is removed, or saved whole, before that is done is dropped.

import Caching
import Platform

struct PartialRecovery {
  let core: StoreCore

  /// A body with its note, not compared yet.
  struct Begun {
    var note: PartialNote
    var path: String
    var reserved: Int64
    /// What happens to the key until it can be kept: requests are served already.
    var watch: Watch
  }

  private var directory: String { core.options.path + "/partial" }

  /// Finds what may be worth keeping and counts its space; removes everything else.
  func sort() -> [Begun] {
    let names: [String]
    do throws(Errno) {
      names = try File.list(directory).map(\.name).filter { !core.partials.isOurs($0) }
    } catch {
      core.troubles.note(error)
      return []
    }
    let now = WallTime.now().seconds
    var begun: [Begun] = []
    for name in names where !name.hasSuffix(".about") {
      if let found = read(name, now: now) { begun.append(found) }
    }
    begun.sort { $0.note.writtenAt < $1.note.writtenAt }
    if begun.count > IncompleteLimits.count {
      begun.removeFirst(begun.count - IncompleteLimits.count)
    }
    guard !core.options.readOnly else { return begun }
    let kept = Set(begun.flatMap { [$0.path, Incomplete.notePath($0.path)] })
    for name in names where !kept.contains(directory + "/" + name) {
      do throws(Errno) {
        try File.unlink(directory + "/" + name)
      } catch {
        core.troubles.note(error)
      }
    }
    for found in begun { core.space.count(found.reserved) }
    return begun
  }

  private func read(_ name: String, now: Int64) -> Begun? {
    let path = directory + "/" + name
    do throws(Errno) {
      let about = try File.open(Incomplete.notePath(path))
      let bytes = try File.readFully(about.rawValue, count: LogLimits.longestRecord, at: 0)
      guard
        let note = bytes.withUnsafeBytes({ PartialNote.decode($0, seed: core.seed) }),
        note.keyHash == KeyHasher(seed: core.seed).hash(note.key.span),
        note.length >= IncompleteLimits.least, note.length != note.expectedLength,
        Completion.isPossible(for: note.response)
      else { return nil }
      let (age, overflow) = now.subtractingReportingOverflow(note.writtenAt)
      guard !overflow, age <= IncompleteLimits.age else { return nil }
      let status = try File.status(at: path)
      guard status.kind == .file, status.size >= note.length else { return nil }
      // What came after the note cannot be proven.
      if !core.options.readOnly {
        let file = try File.open(path, .readWrite)
        try File.truncate(file.rawValue, to: note.length)
      }
      return Begun(
        note: note, path: path,
        reserved: Space.onDisk(note.length) + Space.onDisk(Int64(bytes.count)),
        watch: core.watchLeftBehind(
          key: note.key, hash: note.keyHash, variant: note.variantHash,
          note: Incomplete.notePath(path)))
    } catch {
      return nil
    }
  }

  /// Compares each with its note and keeps what is right. Takes as long as the disk takes; who only reads the store
  /// can do without, since nothing is made of them then.
  func adopt(_ begun: [Begun]) {
    for found in begun {
      if core.isStopping { return }
      guard !found.watch.isSpoiled else {
        drop(found)
        continue
      }
      do throws(Errno) {
        let file = OpenFile(
          try File.open(found.path, core.options.readOnly ? .read : .readWrite))
        var hasher = Hasher256()
        var offset: Int64 = 0
        while !core.options.readOnly, offset < found.note.length {
          // Left as it is: the next start looks again.
          if core.isStopping { return }
          let count = Int(min(256 << 10, found.note.length - offset))
          let bytes = try File.readFully(file.rawValue, count: count, at: offset)
          guard bytes.count == count else { throw .inputOutput }
          bytes.withUnsafeBytes { hasher.update($0) }
          offset += Int64(count)
        }
        guard core.options.readOnly || hasher.soFar() == found.note.digest else {
          core.troubles.note(.damaged)
          drop(found)
          continue
        }
        core.keep(
          Incomplete(
            found.note, path: found.path, openFile: file, hasher: consume hasher,
            reserved: found.reserved), watch: found.watch, now: WallTime.now().seconds)
      } catch {
        core.troubles.note(error)
        drop(found)
      }
    }
  }

  private func drop(_ found: Begun) {
    guard !core.options.readOnly else { return }
    try? File.unlink(found.path)
    try? File.unlink(Incomplete.notePath(found.path))
    core.space.release(found.reserved)
  }
}
