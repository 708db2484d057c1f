// The thread that writes the access log's lines of all workers. A slow terminal or disk costs lines and never a client's
// time; so does a disk that is full or gone, until it can be written again. What is lost is counted and said.

import Configuration
import Logging
import Platform

final class AccessLogWriter: Sendable {
  /// Bytes waiting to be written, above which new lines are dropped.
  private static let limit = 8 << 20

  private struct State {
    var waiting: [[UInt8]] = []
    var bytes = 0
    /// Lines that the thread is writing.
    var inHand: UInt64 = 0
    var lost: UInt64 = 0
    var isClosing = false
    var reopens = false

    /// Nil while there is nothing to do.
    mutating func take() -> (batch: [[UInt8]], reopens: Bool, isClosing: Bool)? {
      guard !waiting.isEmpty || isClosing || reopens else { return nil }
      defer {
        waiting = []
        bytes = 0
        reopens = false
      }
      inHand = waiting.reduce(0) { $0 &+ AccessLog.lineCount($1[...]) }
      return (waiting, reopens, isClosing)
    }
  }

  private let state = Monitor(State())
  private let thread: WorkerThread
  private let name: String
  private let logger: Logger

  /// - Parameter pause: after an error the place is tried again so much later.
  /// - Returns: nil where nothing is to be written.
  static func open(
    _ place: LogDestination, logger: Logger, pause: Duration = .seconds(10)
  ) throws(StartFailure) -> AccessLogWriter? {
    do throws(Errno) {
      let log: AccessLog
      switch place {
      case .none: return nil
      case .stdout: log = try AccessLog(descriptor: 1, place.text, logger, pause)
      case .stderr: log = try AccessLog(descriptor: 2, place.text, logger, pause)
      case .file(let path): log = try AccessLog(path: path, logger, pause)
      }
      return try AccessLogWriter(log, place.text, logger)
    } catch {
      throw StartFailure(
        description:
          "the access log cannot be written to \(place.text): \(error == .noDeviceOrAddress ? "it is a pipe that nobody reads" : error.message). Give log.access (--access-log) a file that can be made there, stdout, stderr or none"
      )
    }
  }

  private init(
    _ opened: consuming AccessLog, _ name: String, _ logger: Logger
  ) throws(Errno) {
    (self.name, self.logger) = (name, logger)
    let state = self.state
    let box = AccessLogBox(opened)
    thread = try WorkerThread.start(name: "access-log") {
      while true {
        let (batch, reopens, isClosing) = state.wait { state in state.take() }
        let lost = box.log.write(batch, reopens: reopens, isLast: isClosing)
        state.withLock { state in
          state.lost &+= lost
          state.inHand = 0
        }
        if isClosing { return }
      }
    }
  }

  /// Takes whole lines.
  func submit(_ lines: [UInt8]) {
    state.withLock { state in
      guard state.bytes + lines.count <= Self.limit else {
        state.lost &+= AccessLog.lineCount(lines[...])
        return
      }
      state.waiting.append(lines)
      state.bytes += lines.count
    }
    state.wakeAll()
  }

  /// Opens the file anew: whoever rotates logs has moved the old one.
  func reopen() {
    state.withLock { $0.reopens = true }
    state.wakeAll()
  }

  /// Lines that were not written: the reader is too slow, or the disk took no more.
  var lost: UInt64 { state.withLock { $0.lost } }

  /// Writes what waits, and ends.
  /// - Parameter patience: whoever reads the other end of a pipe, or looks at a terminal that he has stopped, has so much
  ///   time. What he has not taken then is lost.
  func close(patience: Duration = .seconds(5)) {
    state.withLock { $0.isClosing = true }
    state.wakeAll()
    guard !thread.join(within: patience) else { return }
    let left = state.withLock { state in
      let left = state.waiting.reduce(state.inHand) { $0 &+ AccessLog.lineCount($1[...]) }
      state.lost &+= left
      return left
    }
    logger.error("nobody reads the access log \(name): up to \(left) lines at its end are lost")
  }
}

/// What the thread alone touches once it runs.
private final class AccessLogBox: @unchecked Sendable {
  var log: AccessLog
  init(_ log: consuming AccessLog) { self.log = log }
}

/// The open file, and how things stand with it.
private struct AccessLog: ~Copyable {
  private let name: String
  /// Nil for a descriptor that is somebody else's.
  private let path: String?
  private let logger: Logger
  private let pause: Duration
  private var file: FileDescriptor
  /// Another file is to be opened, and could not yet.
  private var isStale = false
  /// Lines are lost.
  private var isFailing = false
  /// The last attempt while something is wrong.
  private var triedAt: Instant?
  /// What was written last is not the end of a line.
  private var isTorn = false

  init(descriptor: Int32, _ name: String, _ logger: Logger, _ pause: Duration) throws(Errno) {
    (self.name, path, self.logger, self.pause) = (name, nil, logger, pause)
    file = try FileDescriptor.duplicate(descriptor)
  }

  init(path: String, _ logger: Logger, _ pause: Duration) throws(Errno) {
    (name, self.path, self.logger, self.pause) = (path, path, logger, pause)
    file = try Self.open(path)
  }

  private static func open(_ path: String) throws(Errno) -> FileDescriptor {
    try File.makeDirectories(above: path, mode: 0o750)
    return try File.openLog(path)
  }

  static func lineCount(_ lines: ArraySlice<UInt8>) -> UInt64 {
    lines.reduce(0) { $1 == 0x0A ? $0 &+ 1 : $0 }
  }

  /// - Parameters:
  ///   - reopens: the file is opened anew first.
  ///   - isLast: there will be no later attempt.
  /// - Returns: how many lines are lost.
  mutating func write(_ batch: [[UInt8]], reopens: Bool, isLast: Bool) -> UInt64 {
    if reopens {
      isStale = path != nil
      triedAt = nil
    }
    let isDue = isLast || triedAt.map { Instant.now() - $0 >= pause } ?? true
    let count = batch.reduce(0) { $0 &+ Self.lineCount($1[...]) }
    if isFailing, !isDue { return count }
    if isStale || isFailing, isDue {
      do throws(Errno) {
        try reopen()
      } catch {
        triedAt = .now()
        // One that was moved aside still takes lines; one that was removed loses them.
        guard !isFailing, (try? File.status(file.rawValue).linkCount) ?? 0 > 0 else {
          fail(error)
          return count
        }
        if reopens {
          logger.warning(
            "the access log \(name) cannot be opened anew (\(error)): lines go on into the file that was open, until it can"
          )
        }
      }
    }
    var lost: UInt64 = 0
    for lines in batch {
      guard lost == 0 else {
        lost &+= Self.lineCount(lines[...])
        continue
      }
      lost = append(lines)
    }
    if lost == 0, isFailing, !batch.isEmpty {
      isFailing = false
      logger.notice("the access log \(name) can be written again")
    }
    if lost == 0, !isStale { triedAt = nil }
    return lost
  }

  private mutating func reopen() throws(Errno) {
    guard let path else { return }
    let opened = try Self.open(path)
    if (try? File.status(opened.rawValue).inode) != (try? File.status(file.rawValue).inode) {
      isTorn = false
    }
    file = opened
    isStale = false
  }

  /// - Returns: how many lines are lost.
  private mutating func append(_ lines: [UInt8]) -> UInt64 {
    let bytes = (isTorn ? [0x0A] : []) + lines
    let (done, error) = File.writeAll(file.rawValue, bytes)
    if done > 0 { isTorn = bytes[done - 1] != 0x0A }
    guard let error else { return 0 }
    fail(error)
    return Self.lineCount(bytes[done...])
  }

  private mutating func fail(_ errno: Errno) {
    triedAt = .now()
    guard !isFailing else { return }
    isFailing = true
    logger.error(
      "the access log \(name) cannot be written (\(errno)): its lines are lost until it can; holdfast_access_log_lost_total counts them"
    )
  }
}
