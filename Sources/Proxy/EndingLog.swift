// The file of endings: a JSON line for each when it is met and one when it is judged for good. A thread of its own
// writes; what it cannot write in time, or at all, is counted and said, and never holds up a connection.
//
// Lines are given to the kernel at once. fdatasync(2) follows each batch that has final lines in it: what was judged
// outlives a machine that stops, at the price of one flush of the disk a second at most.

import Configuration
import Logging
import Platform
import Storage
import Synchronization
import Telemetry

final class EndingLog: Sendable {
  /// Bytes waiting to be written, above which lines are dropped.
  private static let limit = 4 << 20
  /// After an error the file is tried again so much later.
  private static let pause: Duration = .seconds(10)

  fileprivate struct State {
    var lines: [EndingLine] = []
    var size = 0
    /// Lines that the thread is writing.
    var inHand = 0
    var dropped: UInt64 = 0
    /// Attempts to move the file aside that have failed.
    var stays: UInt64 = 0
    var isClosing = false
    var reopens = false
  }

  private let state = Monitor(State())
  private let thread: WorkerThread
  /// Where the lines go, for people.
  let name: String
  private let logger: Logger

  /// - Returns: nil where nothing is to be written.
  static func open(_ settings: ResetSettings, logger: Logger) -> EndingLog? {
    do throws(Errno) {
      switch settings.path {
      case .none: return nil
      case .stdout: return try EndingLog(RotatingFile(descriptor: 1), "stdout", logger)
      case .stderr: return try EndingLog(RotatingFile(descriptor: 2), "stderr", logger)
      case .file(let path):
        try File.makeDirectories(above: path, mode: 0o750)
        return try EndingLog(RotatingFile(path: path, settings), path, logger)
      }
    } catch {
      guard case .file(let path) = settings.path else { return nil }
      // No reason not to serve.
      if error == .wouldBlock {
        let writer = LockHolder.process(of: path).map { ", process \($0)," } ?? ""
        logger.warning(
          "another instance\(writer) writes records of resets to \(path), so this one keeps its own in memory only: give each a `resets.path`"
        )
        return nil
      }
      logger.warning(
        "records of resets cannot be written to \(path) (\(error)) and are kept in memory only: set `resets.path`, or `none`"
      )
      return nil
    }
  }

  private init(_ opened: consuming RotatingFile, _ name: String, _ logger: Logger) throws(Errno) {
    (self.name, self.logger) = (name, logger)
    let state = self.state
    let box = FileBox(opened)
    thread = try WorkerThread.start(name: "resets-log") {
      // While a file cannot be written.
      var trouble: (since: Instant, errno: Errno)?
      // While a file cannot be moved aside.
      var hasSaidThatItStays = false
      while true {
        let (batch, isClosing, reopens) = state.wait { state in
          state.take()
        }
        if reopens { box.file.reopens() }
        if let since = trouble?.since, Instant.now() - since < Self.pause, !isClosing {
          state.withLock { $0.dropped &+= UInt64(batch.count) }
        } else if !batch.isEmpty {
          let outcome = box.file.write(batch)
          if let error = outcome.stays {
            state.withLock { $0.stays &+= 1 }
            if !hasSaidThatItStays {
              logger.warning(
                "\(name) cannot be moved aside (\(error)) and grows beyond `resets.file-size`, or its age: its directory has to be writable"
              )
            }
            hasSaidThatItStays = true
          }
          if let error = outcome.error {
            if trouble == nil {
              logger.error(
                "\(name) cannot be written (\(error)): records of resets are lost until it can; holdfast_endings_lost_total counts them"
              )
            }
            trouble = (Instant.now(), error)
            state.withLock { $0.dropped &+= UInt64(batch.count - outcome.written) }
          } else {
            if trouble != nil { logger.notice("\(name) can be written again") }
            trouble = nil
          }
        }
        state.withLock { $0.inHand = 0 }
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
      state.lines.append(EndingLine(bytes: line, isFinal: isFinal))
      state.size += line.count
    }
    state.wakeAll()
  }

  /// Before the next line the file is opened anew: whoever rotates logs has moved the old one.
  func reopen() { state.withLock { $0.reopens = true } }

  /// Lines that were not written.
  var dropped: UInt64 { state.withLock { $0.dropped } }

  /// Attempts to move the file aside that have failed.
  var stays: UInt64 { state.withLock { $0.stays } }

  /// Writes what waits, and ends.
  /// - Parameter patience: whoever reads the other end of a pipe has so much time. What he has not taken then is lost.
  func close(patience: Duration = .seconds(5)) {
    state.withLock { $0.isClosing = true }
    state.wakeAll()
    guard !thread.join(within: patience) else { return }
    let left = state.withLock { state in
      let left = UInt64(state.inHand + state.lines.count)
      state.dropped &+= left
      return left
    }
    logger.error("nobody reads \(name): up to \(left) records of resets at its end are lost")
  }
}

extension EndingLog.State {
  fileprivate mutating func take() -> (lines: [EndingLine], isClosing: Bool, reopens: Bool)? {
    guard !lines.isEmpty || isClosing else { return nil }
    defer {
      lines = []
      size = 0
      reopens = false
    }
    inHand = lines.count
    return (lines, isClosing, reopens)
  }
}

/// What the thread alone touches once it runs.
private final class FileBox: @unchecked Sendable {
  var file: RotatingFile
  init(_ file: consuming RotatingFile) { self.file = file }
}
