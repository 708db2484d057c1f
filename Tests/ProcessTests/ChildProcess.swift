// A process started by a test: what it says on standard error, how it ends, what it uses. Ended by its number,
// and never left behind.

import Foundation
import Glibc

final class ChildProcess: Sendable {
  /// How a process ended.
  enum Ending: Equatable, Sendable {
    case exited(Int32)
    case killed(by: Int32)
  }

  private struct State: Sendable {
    var lines: [String] = []
    var isSilent = false
    var ending: Ending?
  }

  let id: pid_t
  private let state = Shared(State())

  /// Starts a program, with nothing to read.
  /// - Parameter listensToOutput: its standard output is taken down like its standard error, and not thrown away.
  init(_ executable: String, _ arguments: [String], listensToOutput: Bool = false) throws {
    var ends: [Int32] = [0, 0]
    guard socketpair(AF_UNIX, Sockets.streamType, 0, &ends) == 0 else {
      throw Failure("no pair of sockets: errno \(errno)")
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
    if listensToOutput { posix_spawn_file_actions_adddup2(&actions, ends[1], 1) }
    // The thread that runs a test may block signals, and the child would inherit that.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var words: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    var started = pid_t()
    let result = Sockets.inheritance.withLock {
      posix_spawn(&started, executable, &actions, &attributes, words, environ)
    }
    Glibc.close(ends[1])
    guard result == 0 else {
      Glibc.close(ends[0])
      throw Failure("cannot start \(executable): errno \(result)")
    }
    let id = started
    self.id = id
    let input = ends[0]
    let thread = Thread { [state] in
      Self.read(input, into: state)
      Glibc.close(input)
      var status: Int32 = 0
      while waitpid(id, &status, 0) < 0 && errno == EINTR {}
      let signal = status & 0x7F
      let ending: Ending = signal == 0 ? .exited((status >> 8) & 0xFF) : .killed(by: signal)
      state.withLock {
        $0.isSilent = true
        $0.ending = ending
      }
    }
    thread.start()
  }

  deinit { end() }

  /// Its standard error ends when it does.
  private static func read(_ input: Int32, into state: Shared<State>) {
    var rest: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = Glibc.read(input, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { break }
      rest.append(contentsOf: buffer[..<count])
      while let end = rest.firstIndex(of: 10) {
        let line = String(decoding: rest[..<end], as: UTF8.self)
        rest.removeSubrange(...end)
        state.withLock { $0.lines.append(line) }
      }
    }
  }

  /// Everything it has said on standard error so far.
  var lines: [String] { state.withLock { $0.lines } }

  /// Waits for what it says: `body` gets all lines so far.
  func wait<Result>(for what: String, _ body: ([String]) -> Result?) throws -> Result {
    let found: Result?? = try state.wait(for: what) { state in
      if let result = body(state.lines) { return .some(result) }
      return state.isSilent ? .some(nil) : nil
    }
    guard let result = found ?? nil else {
      throw Failure("it ended before \(what): \(lines.joined(separator: "\n"))")
    }
    return result
  }

  func signal(_ number: Int32) { kill(id, number) }

  var ending: Ending? { state.withLock { $0.ending } }

  /// Waits for its end.
  @discardableResult
  func waitForEnd(seconds: Double = 60) throws -> Ending {
    try state.wait(for: "the end of process \(id)", seconds: seconds) { $0.ending }
  }

  /// Kills it if it still runs, and waits until it is gone.
  func end() {
    guard ending == nil else { return }
    signal(SIGKILL)
    _ = try? waitForEnd()
  }

  // MARK: What it uses

  /// A line of /proc/PID/status in bytes: `VmRSS`, or `VmHWM` for its highest value so far.
  func memory(_ name: String = "VmRSS") -> Int {
    guard let text = try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8) else {
      return 0
    }
    for line in text.split(separator: "\n") where line.hasPrefix(name + ":") {
      return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 << 10 } ?? 0
    }
    return 0
  }

  /// Lets the highest value of resident memory begin anew (proc(5), clear_refs).
  func resetMemoryPeak() {
    try? "5".write(toFile: "/proc/\(id)/clear_refs", atomically: false, encoding: .utf8)
  }
}
