// The file of endings: a JSON line for each when it is met and one when it is judged for good. A thread of its own
// writes; what it cannot write in time, or at all, is counted and said, and never holds up a connection.
//
// Lines are given to the kernel at once. fdatasync(2) follows each batch that has final lines in it: what was judged
// outlives a machine that stops, at the price of one flush of the disk a second at most.
//
//   resets.jsonl ─▶ resets.jsonl.1 ─▶ … ─▶ resets.jsonl.N ─▶ gone     (when it is too large, or too old)

import Configuration
import Logging
import Platform
import Synchronization
import Telemetry

final class EndingLog: Sendable {
  /// Bytes waiting to be written, above which lines are dropped.
  private static let limit = 4 << 20
  /// After an error the file is tried again so much later.
  private static let pause: Duration = .seconds(10)

  fileprivate struct State {
    var lines: [(bytes: [UInt8], isFinal: Bool)] = []
    var size = 0
    var dropped: UInt64 = 0
    var isClosing = false
    var reopens = false
  }

  private let state = Monitor(State())
  private let thread: WorkerThread
  /// Where the lines go, for people.
  let name: String

  /// - Returns: nil where nothing is to be written.
  static func open(_ settings: ResetSettings, logger: Logger) -> EndingLog? {
    do throws(Errno) {
      switch settings.path {
      case .none: return nil
      case .stdout: return try EndingLog(RotatingFile(descriptor: 1), "stdout", logger)
      case .stderr: return try EndingLog(RotatingFile(descriptor: 2), "stderr", logger)
      case .file(let path):
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
          try File.makeDirectories(String(path[..<slash]), mode: 0o750)
        }
        return try EndingLog(RotatingFile(path: path, settings), path, logger)
      }
    } catch {
      guard case .file(let path) = settings.path else { return nil }
      // No reason not to serve.
      logger.warning(
        "records of resets cannot be written to \(path) (\(error)) and are kept in memory only: set `resets.path`, or `none`"
      )
      return nil
    }
  }

  private init(_ opened: consuming RotatingFile, _ name: String, _ logger: Logger) throws(Errno) {
    self.name = name
    let state = self.state
    let box = FileBox(opened)
    thread = try WorkerThread.start(name: "resets-log") {
      // While a file cannot be written.
      var trouble: (since: Instant, errno: Errno)?
      while true {
        let (batch, isClosing, reopens) = state.wait { state in
          state.take()
        }
        if reopens { box.file.reopens() }
        if let since = trouble?.since, Instant.now() - since < Self.pause, !isClosing {
          state.withLock { $0.dropped &+= UInt64(batch.count) }
        } else if !batch.isEmpty {
          do throws(Errno) {
            try box.file.write(batch)
            if trouble != nil { logger.notice("\(name) can be written again") }
            trouble = nil
          } catch {
            if trouble == nil {
              logger.error(
                "\(name) cannot be written (\(error)): records of resets are lost until it can; holdfast_endings_lost_total counts them"
              )
            }
            trouble = (Instant.now(), error)
            state.withLock { $0.dropped &+= UInt64(batch.count) }
          }
        }
        if isClosing { return }
      }
    }
  }

  func submit(_ line: [UInt8], isFinal: Bool) {
    state.withLock { state in
      guard state.size + line.count <= Self.limit else {
        state.dropped &+= 1
        return
      }
      state.lines.append((line, isFinal))
      state.size += line.count
    }
    state.wakeAll()
  }

  /// Before the next line the file is opened anew: whoever rotates logs has moved the old one.
  func reopen() { state.withLock { $0.reopens = true } }

  /// Lines that were not written.
  var dropped: UInt64 { state.withLock { $0.dropped } }

  /// Writes what waits, and ends.
  func close() {
    state.withLock { $0.isClosing = true }
    state.wakeAll()
    thread.join()
  }
}

extension EndingLog.State {
  fileprivate mutating func take() -> (
    lines: [(bytes: [UInt8], isFinal: Bool)], isClosing: Bool, reopens: Bool
  )? {
    guard !lines.isEmpty || isClosing else { return nil }
    defer {
      lines = []
      size = 0
      reopens = false
    }
    return (lines, isClosing, reopens)
  }
}

/// What the thread alone touches once it runs.
private final class FileBox: @unchecked Sendable {
  var file: RotatingFile
  init(_ file: consuming RotatingFile) { self.file = file }
}

/// A file that is moved aside when it has grown too large or too old.
private struct RotatingFile: ~Copyable {
  /// Nil for a descriptor that is somebody else's.
  private let path: String?
  private let settings: ResetSettings
  private var file: FileDescriptor
  private var size: Int64
  /// Seconds since 1970.
  private var bornAt: Int64
  private var isStale = false

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
    file = opened.file
  }

  private struct Opened: ~Copyable {
    let file: FileDescriptor
    let size: Int64
    let bornAt: Int64
  }

  private static func open(_ path: String) throws(Errno) -> Opened {
    // Addresses of clients and targets of requests are nobody else's business.
    let file = try File.open(path, [.write, .append, .create, .followLinks], mode: 0o640)
    let status = try File.status(file.rawValue)
    let now = WallTime.now().seconds
    return Opened(
      file: file, size: status.size,
      bornAt: status.size == 0 ? now : min(now, status.modified.seconds))
  }

  mutating func reopens() { isStale = true }

  mutating func write(_ lines: [(bytes: [UInt8], isFinal: Bool)]) throws(Errno) {
    let now = WallTime.now().seconds
    if isStale {
      try reopen()
    } else if path != nil,
      size >= settings.fileSize.bytes
        || size > 0 && now - bornAt >= settings.fileAge.components.seconds
    {
      rotate()
      try reopen()
    }
    let bytes = lines.flatMap(\.bytes)
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = try rest.withUnsafeBytes { bytes in
        Result { () throws(Errno) in try File.write(file.rawValue, bytes) }
      }.get()
      guard count > 0 else { throw .inputOutput }
      rest = rest.dropFirst(count)
    }
    size += Int64(bytes.count)
    if path != nil, lines.contains(where: \.isFinal) { try File.fdatasync(file.rawValue) }
  }

  private mutating func reopen() throws(Errno) {
    guard let path else { return }
    let opened = try Self.open(path)
    (size, bornAt) = (opened.size, opened.bornAt)
    file = opened.file
    isStale = false
  }

  /// Every file's number becomes one more; the last one goes.
  private func rotate() {
    guard let path else { return }
    for number in (1..<max(2, settings.files)).reversed() {
      let older = "\(path).\(number)"
      let newer = number == 1 ? path : "\(path).\(number - 1)"
      // One that is missing is no trouble, and trouble with a disk shows in the next write.
      try? File.rename(newer, to: older)
    }
    if settings.files <= 1 { try? File.unlink(path) }
  }
}
