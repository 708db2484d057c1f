// A file of lines that is moved aside when it has grown too large or too old. However a write ends, what is read from it
// later is one record in each line: a piece of a line that found no room is taken back.
//
//   resets.jsonl ─▶ resets.jsonl.1 ─▶ … ─▶ resets.jsonl.N ─▶ gone     (when it is too large, or too old)
//
// Where it cannot be moved, it is written on, and that is tried again later; what was moved once is not moved again because
// the new file cannot be opened: history is not to be pushed out by attempts.

import Configuration
import Platform

/// One line, with its end.
struct EndingLine {
  let bytes: [UInt8]
  /// Nothing will be written about it any more.
  let isFinal: Bool
}

/// A file that is moved aside when it has grown too large or too old.
struct RotatingFile: ~Copyable {
  /// Nil for a descriptor that is somebody else's.
  private let path: String?
  private let settings: ResetSettings
  private var file: FileDescriptor
  /// It lies on a disk: it can grow too large, be cut, and be flushed. Others are pipes and terminals.
  private var isOnDisk = false
  private var size: Int64
  /// Seconds since 1970.
  private var bornAt: Int64
  private var isStale = false
  /// It has been moved aside, and the new one is not there yet.
  private var isAside = false
  /// Seconds since 1970 before which it is not tried again to move it aside, because that has failed.
  private var staysUntil: Int64 = 0
  /// After that the next attempt is made so much later.
  private static let pause: Int64 = 10
  /// It does not end with a whole line.
  private var isTorn = false

  init(descriptor: Int32) throws(Errno) {
    path = nil
    settings = ResetSettings()
    size = 0
    bornAt = .max
    file = try FileDescriptor.duplicate(descriptor)
  }

  init(path: String, _ settings: ResetSettings) throws(Errno) {
    self.path = path
    self.settings = settings
    let opened = try Self.open(path)
    (size, bornAt) = (opened.size, opened.bornAt)
    (isTorn, isOnDisk) = (opened.isTorn, opened.isOnDisk)
    file = opened.file
  }

  private struct Opened: ~Copyable {
    let file: FileDescriptor
    let isOnDisk: Bool
    let size: Int64
    let bornAt: Int64
    let isTorn: Bool
  }

  private static func open(_ path: String) throws(Errno) -> Opened {
    let file = try File.openLog(path)
    // Two that move one file aside would lose each other's lines. File systems without locks have to do without.
    let isOurs: Bool
    do throws(Errno) { isOurs = try File.lock(file.rawValue) } catch { isOurs = true }
    guard isOurs else { throw .wouldBlock }
    let status = try File.status(file.rawValue)
    let now = WallTime.now().seconds
    return Opened(
      file: file, isOnDisk: status.kind == .file, size: status.size,
      bornAt: status.size == 0 ? now : min(now, status.modified.seconds),
      isTorn: status.size > 0 && isTorn(path, status.size))
  }

  /// Whoever wrote it last may have ended in the middle of a line.
  private static func isTorn(_ path: String, _ size: Int64) -> Bool {
    guard let file = try? File.open(path, [.read, .followLinks]) else { return false }
    var last: UInt8 = 0x0A
    let count = withUnsafeMutableBytes(of: &last) {
      try? File.readFully(file.rawValue, into: $0, at: size - 1)
    }
    return count == 1 && last != 0x0A
  }

  mutating func reopens() { isStale = true }

  /// What became of a batch.
  struct Outcome: Equatable {
    /// Lines that are there, the first ones.
    var written: Int
    /// What kept the others out.
    var error: Errno?
    /// What kept the file from being moved aside. The lines are in it nevertheless.
    var stays: Errno?
  }

  /// - Parameter call: write(2).
  mutating func write(
    _ lines: [EndingLine],
    with call: (Int32, UnsafeRawBufferPointer) throws(Errno) -> Int = File.write
  ) -> Outcome {
    let stays: Errno?
    do throws(Errno) { stays = try prepare() } catch { return Outcome(written: 0, error: error) }
    var outcome = append(lines, with: call)
    outcome.stays = stays
    return outcome
  }

  private mutating func append(
    _ lines: [EndingLine], with call: (Int32, UnsafeRawBufferPointer) throws(Errno) -> Int
  ) -> Outcome {
    let start = isTorn ? 1 : 0
    let bytes = [UInt8](repeating: 0x0A, count: start) + lines.flatMap(\.bytes)
    let (done, error) = File.writeAll(file.rawValue, bytes, with: call)
    if let error {
      return Outcome(written: keepWhole(lines, start: start, done: done), error: error)
    }
    size += Int64(done)
    isTorn = false
    guard isOnDisk, lines.contains(where: \.isFinal) else {
      return Outcome(written: lines.count)
    }
    do throws(Errno) { try File.fdatasync(file.rawValue) } catch {
      return Outcome(written: 0, error: error)
    }
    return Outcome(written: lines.count)
  }

  /// Takes the piece of a line back with which a batch has ended too early. Where that cannot be done, the next batch
  /// begins with the end of that line, and only one is torn.
  /// - Returns: how many lines are whole.
  private mutating func keepWhole(_ lines: [EndingLine], start: Int, done: Int) -> Int {
    guard done > 0 else { return 0 }
    var end = start
    var whole = 0
    for line in lines {
      guard end + line.bytes.count <= done else { break }
      end += line.bytes.count
      whole += 1
    }
    size += Int64(done)
    isTorn = done > end && !takeBack(Int64(done - end))
    return whole
  }

  private mutating func takeBack(_ count: Int64) -> Bool {
    guard isOnDisk else { return false }
    do throws(Errno) {
      // Somebody else may have cut it meanwhile.
      let length = try File.status(file.rawValue).size
      guard length >= count else { return false }
      try File.truncate(file.rawValue, to: length - count)
      size = max(0, size - count)
      return true
    } catch {
      return false
    }
  }

  /// Opens another one where it is time for it.
  /// - Returns: why it could not be moved aside, when that was tried.
  private mutating func prepare() throws(Errno) -> Errno? {
    let now = WallTime.now().seconds
    if isStale || isAside {
      try reopen()
      return nil
    }
    guard isOnDisk,
      size >= settings.fileSize.bytes
        || size > 0 && now - bornAt >= settings.fileAge.components.seconds,
      now >= staysUntil || now < staysUntil - Self.pause
    else { return nil }
    do throws(Errno) { try rotate() } catch {
      staysUntil = now + Self.pause
      return error
    }
    isAside = true
    try reopen()
    return nil
  }

  private mutating func reopen() throws(Errno) {
    guard let path else { return }
    // It may be the same file, emptied: our own lock must not keep us out.
    File.unlock(file.rawValue)
    let opened = try Self.open(path)
    (size, bornAt) = (opened.size, opened.bornAt)
    (isTorn, isOnDisk) = (opened.isTorn, opened.isOnDisk)
    file = opened.file
    isStale = false
    isAside = false
    staysUntil = 0
  }

  /// Every file's number becomes one more, as far as there is none missing; the last one goes.
  private func rotate() throws(Errno) {
    guard let path else { return }
    guard settings.files > 1 else {
      return try Self.unlessMissing { () throws(Errno) in try File.unlink(path) }
    }
    var last = 1
    while last < settings.files - 1, (try? File.status(at: "\(path).\(last)")) != nil { last += 1 }
    // From the last one on: where one cannot be moved, none is put in its place.
    for number in (1...last).reversed() {
      let newer = number == 1 ? path : "\(path).\(number - 1)"
      try Self.unlessMissing { () throws(Errno) in
        try File.rename(newer, to: "\(path).\(number)")
      }
    }
  }

  /// Somebody may have taken the file away.
  private static func unlessMissing(_ move: () throws(Errno) -> Void) throws(Errno) {
    do throws(Errno) { try move() } catch {
      guard error == .noSuchFile else { throw error }
    }
  }
}
