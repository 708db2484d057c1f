// The blobs of the store: which exist, how many records name each, and the files themselves.
//
// A blob is there as long as something refers to it: an entry of the index, or a `FinishedBlob` about to get one.
// When the last reference goes the blob is doomed, and the log thread removes the file. Files appear and disappear
// only under `files`, so that a commit and a removal of the same digest cannot cross; the loops only ever take the
// short lock of the rows.

import Platform
import Synchronization

package final class BlobTable: Sendable {
  /// What is known of a blob's bytes.
  package enum Trust: Sendable {
    /// Nothing: the last run did not end in order, or a read of it failed.
    case suspect
    /// They were right when the store was closed.
    case assumed
    /// They were compared with the name in this run.
    case proven
  }

  /// Up to this length an assumed blob is compared with its name before its first use too: a second at most, once,
  /// for bytes that have to be read from the disk anyway. Longer ones would keep a client waiting.
  private static let longestRecheck: Int64 = 256 << 20

  fileprivate struct Row {
    var reference: BlobReference
    var references: UInt32
    var trust: Trust
  }

  fileprivate struct Rows {
    var rows: [Row?] = []
    var free: [UInt32] = []
    var byDigest: [Digest: UInt32] = [:]
    var bytes: Int64 = 0
    var suspects = 0
    /// While the log is being read, a blob without a reference may still get one.
    var keepsUnreferenced = true
    /// Committed in this run and perhaps not on the disk yet.
    var fresh: Set<Digest> = []
  }

  private let directory: String
  private let space: Space
  private let rows = Mutex(Rows())
  private let files = Mutex(())
  /// Told of each digest that lost its last reference. Must not block.
  private let doomed: @Sendable (Digest) -> Void

  package init(directory: String, space: Space, doomed: @escaping @Sendable (Digest) -> Void) {
    self.directory = directory
    self.space = space
    self.doomed = doomed
  }

  package var count: Int { rows.withLock { $0.byDigest.count } }
  package var bytes: Int64 { rows.withLock { $0.bytes } }
  package var hasSuspects: Bool { rows.withLock { $0.suspects > 0 } }

  package func path(_ digest: Digest) -> String {
    let name = digest.hex
    return directory + "/" + name.prefix(2) + "/" + name
  }

  // MARK: References

  /// One more reference to a blob that is there; `nil` when it is not, or has another length.
  package func retain(_ reference: BlobReference) -> BlobID? {
    rows.withLock { rows in
      guard let row = rows.byDigest[reference.digest],
        rows.rows[Int(row)]?.reference == reference
      else { return nil }
      rows.rows[Int(row)]?.references += 1
      return BlobID(row: row)
    }
  }

  package func release(_ id: BlobID) {
    let orphan = rows.withLock { rows -> Digest? in
      guard rows.rows.indices.contains(Int(id.row)), var row = rows.rows[Int(id.row)],
        row.references > 0
      else { return nil }
      row.references -= 1
      rows.rows[Int(id.row)] = row
      return row.references == 0 && !rows.keepsUnreferenced ? row.reference.digest : nil
    }
    if let orphan { doomed(orphan) }
  }

  /// How long a blob is; `nil` when it is not there.
  package func length(_ digest: Digest) -> UInt64? {
    rows.withLock { rows in
      rows.byDigest[digest].flatMap { rows.rows[Int($0)]?.reference.length }
    }
  }

  package func id(_ digest: Digest) -> BlobID? {
    rows.withLock { rows in rows.byDigest[digest].map { BlobID(row: $0) } }
  }

  /// Whether no record and no reader of the store knows of a file with this name.
  package func isOrphan(_ digest: Digest) -> Bool {
    files.withLock { _ in length(digest) == nil }
  }

  private func trust(in digest: Digest) -> Trust {
    rows.withLock { rows in
      rows.byDigest[digest].flatMap { rows.rows[Int($0)]?.trust } ?? .suspect
    }
  }

  /// Writes down what has become known. A suspect blob is compared with its name before its next use, and gives way
  /// to a new one of the same name.
  package func set(_ trust: Trust, for digest: Digest) {
    rows.withLock { rows in
      guard let row = rows.byDigest[digest], let old = rows.rows[Int(row)]?.trust else { return }
      rows.rows[Int(row)]?.trust = trust
      rows.suspects += (trust == .suspect ? 1 : 0) - (old == .suspect ? 1 : 0)
    }
  }

  package func references() -> [BlobReference] {
    rows.withLock { rows in rows.rows.compactMap { $0?.reference } }
  }

  // MARK: Files

  /// A file found at start-up.
  package func adopt(_ reference: BlobReference, _ trust: Trust) {
    files.withLock { _ in
      rows.withLock { rows in
        guard rows.byDigest[reference.digest] == nil else { return }
        _ = rows.add(Row(reference: reference, references: 0, trust: trust))
        space.count(Space.onDisk(Int64(clamping: reference.length)))
      }
    }
  }

  /// After the start-up scan: what has no reference now never will.
  /// - Parameter sweeping: such blobs go.
  package func endRecovery(sweeping: Bool) {
    let orphans = rows.withLock { rows -> [Digest] in
      rows.keepsUnreferenced = false
      guard sweeping else { return [] }
      return rows.rows.compactMap { row in
        row.flatMap { $0.references == 0 ? $0.reference.digest : nil }
      }
    }
    for orphan in orphans { doomed(orphan) }
  }

  /// Gives a complete file its name, unless a good one has it already. The new blob comes with one reference.
  /// - Parameter reserved: what the growing file has taken of the space; passes to the blob.
  func commit(
    _ partial: String, as reference: BlobReference, file: OpenFile, reserved: Int64
  ) throws(Errno) -> (BlobID, OpenFile) {
    try files.withLock { _ throws(Errno) in
      if let id = retain(reference) {
        if trust(in: reference.digest) == .proven, let existing = openFile(reference) {
          space.release(reserved)
          try? File.unlink(partial)
          return (id, existing)
        }
        // Ours is known to be right: it takes the place of what may be damaged.
        do throws(Errno) {
          try move(partial, to: path(reference.digest))
        } catch {
          release(id)
          throw error
        }
        set(.proven, for: reference.digest)
        rows.withLock { _ = $0.fresh.insert(reference.digest) }
        space.release(reserved)
        return (id, file)
      }
      try move(partial, to: path(reference.digest))
      let id = rows.withLock { rows in
        if let row = rows.byDigest[reference.digest], let stump = rows.rows[Int(row)] {
          // A file of another length had this name: cut short by a crash, and just replaced.
          rows.remove(row)
          space.release(Space.onDisk(Int64(clamping: stump.reference.length)))
        }
        rows.fresh.insert(reference.digest)
        return rows.add(Row(reference: reference, references: 1, trust: .proven))
      }
      space.release(reserved - Space.onDisk(Int64(clamping: reference.length)))
      return (id, file)
    }
  }

  private func move(_ partial: String, to final: String) throws(Errno) {
    do {
      try File.rename(partial, to: final)
    } catch .noSuchFile {
      try File.makeDirectories(String(final.prefix(final.count - 65)))
      try File.rename(partial, to: final)
    } catch .isADirectory {
      // Not of our making. An empty one may go.
      try File.removeDirectory(final)
      try File.rename(partial, to: final)
    }
  }

  /// Removes a doomed blob, unless somebody wanted it again meanwhile.
  /// - Returns: how much space that gave.
  func removeUnreferenced(_ digest: Digest) throws(Errno) -> Int64 {
    try files.withLock { _ throws(Errno) in
      let removed = rows.withLock { rows -> BlobReference? in
        guard let row = rows.byDigest[digest], let found = rows.rows[Int(row)],
          found.references == 0
        else { return nil }
        rows.remove(row)
        return found.reference
      }
      guard let removed else { return 0 }
      do throws(Errno) {
        try File.unlink(path(digest))
      } catch .noSuchFile {
        // Somebody else removed it; the space is free all the same.
      } catch .isADirectory {
        // Somebody else has put that there; it is nothing we have counted.
      }
      let size = Space.onDisk(Int64(clamping: removed.length))
      space.release(size)
      return size
    }
  }

  private func openFile(_ reference: BlobReference) -> OpenFile? {
    guard let descriptor = try? File.open(path(reference.digest)) else { return nil }
    let file = OpenFile(descriptor)
    guard let status = try? File.status(file.rawValue), status.kind == .file,
      status.size == Int64(clamping: reference.length)
    else { return nil }
    return file
  }

  package enum Opened: Sendable {
    case file(BlobFile)
    /// Not there, or not what its name says.
    case damaged
    /// The kernel refused: that says nothing about the blob.
    case failed(Errno)
  }

  /// Opens a blob for reading, and compares its bytes with its name if nobody has since an unclean stop. Blocks.
  package func open(_ reference: BlobReference) -> Opened {
    let file: OpenFile
    let status: File.Status
    do {
      file = OpenFile(try File.open(path(reference.digest)))
      status = try File.status(file.rawValue)
    } catch .noSuchFile {
      return .damaged
    } catch .symbolicLinkLoop {
      return .damaged
    } catch {
      return .failed(error)
    }
    guard status.kind == .file, status.size == Int64(clamping: reference.length) else {
      return .damaged
    }
    let isToBeCompared =
      switch trust(in: reference.digest) {
      case .suspect: true
      case .assumed: status.size <= Self.longestRecheck
      case .proven: false
      }
    if isToBeCompared {
      do throws(Errno) {
        guard try Self.digest(of: file.rawValue) == reference.digest else {
          set(.suspect, for: reference.digest)
          return .damaged
        }
      } catch {
        return .failed(error)
      }
      set(.proven, for: reference.digest)
    }
    return .file(BlobFile(digest: reference.digest, length: status.size, file: file))
  }

  /// Brings the blobs of this run to the disk, so that the next can trust them even if the machine stops.
  /// - Returns: false when the time was too short or the disk refused.
  func sync(until deadline: Instant) -> Bool {
    for digest in rows.withLock({ $0.fresh }) {
      guard Instant.precise() < deadline else { return false }
      do throws(Errno) {
        let file = try File.open(path(digest))
        try File.fdatasync(file.rawValue)
      } catch .noSuchFile {
        continue
      } catch {
        return false
      }
    }
    return true
  }

  package enum Check: Sendable {
    case good
    /// Removed from the store meanwhile.
    case gone
    case damaged
    case failed(Errno)
  }

  /// Compares the bytes of a blob with its name, whatever is believed of it. Blocks.
  package func check(_ reference: BlobReference) -> Check {
    do throws(Errno) {
      let file = try File.open(path(reference.digest))
      let status = try File.status(file.rawValue)
      guard status.kind == .file, status.size == Int64(clamping: reference.length),
        try Self.digest(of: file.rawValue) == reference.digest
      else { return .damaged }
      set(.proven, for: reference.digest)
      return .good
    } catch .noSuchFile {
      return length(reference.digest) == nil ? .gone : .damaged
    } catch .symbolicLinkLoop {
      return .damaged
    } catch {
      return .failed(error)
    }
  }

  /// The SHA-256 of a whole file, or of its first `count` bytes; `nil` if OpenSSL could not compute it.
  package static func digest(of file: Int32, count: Int64 = .max) throws(Errno) -> Digest? {
    var hasher = Hasher256()
    var offset: Int64 = 0
    while true {
      let wanted = Int(min(256 << 10, count - offset))
      let bytes = try File.readFully(file, count: wanted, at: offset)
      if bytes.isEmpty { return hasher.finish() }
      bytes.withUnsafeBytes { hasher.update($0) }
      offset += Int64(bytes.count)
    }
  }
}

extension BlobTable.Rows {
  fileprivate mutating func add(_ row: BlobTable.Row) -> BlobID {
    let number: UInt32
    if let last = free.popLast() {
      number = last
      rows[Int(number)] = row
    } else {
      number = UInt32(truncatingIfNeeded: rows.count)
      rows.append(row)
    }
    byDigest[row.reference.digest] = number
    bytes += Int64(clamping: row.reference.length)
    if row.trust == .suspect { suspects += 1 }
    return BlobID(row: number)
  }

  fileprivate mutating func remove(_ number: UInt32) {
    guard let row = rows[Int(number)] else { return }
    byDigest[row.reference.digest] = nil
    fresh.remove(row.reference.digest)
    rows[Int(number)] = nil
    free.append(number)
    bytes -= Int64(clamping: row.reference.length)
    if row.trust == .suspect { suspects -= 1 }
  }
}
