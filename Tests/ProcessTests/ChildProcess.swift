// A process started by a test: what it says on standard error, how it ends, what it uses. Ended by its number,
// and never left behind.

import Foundation
import Glibc

import struct Platform.Errno
import enum Platform.Spawn

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
    let result = Result { () throws(Errno) in
      try Spawn.start(
        [executable] + arguments, output: listensToOutput ? ends[1] : nil, errors: ends[1])
    }
    Glibc.close(ends[1])
    let id: pid_t
    switch result {
    case .success(let started): id = started
    case .failure(let error):
      Glibc.close(ends[0])
      throw Failure("cannot start \(executable): \(error)")
    }
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

  /// A value of /proc/PID/status, without its unit.
  func status(_ name: String) -> String? {
    let text = try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8)
    let line = text?.split(separator: "\n").first { $0.hasPrefix(name + ":") }
    return line?.split(whereSeparator: \.isWhitespace).dropFirst().first.map { String($0) }
  }

  /// In bytes: `VmRSS`, or `VmHWM` for its highest value so far.
  func memory(_ name: String = "VmRSS") -> Int {
    status(name).flatMap { Int($0) }.map { $0 << 10 } ?? 0
  }

  /// Lets the highest value of resident memory begin anew (proc(5), clear_refs).
  func resetMemoryPeak() {
    try? "5".write(toFile: "/proc/\(id)/clear_refs", atomically: false, encoding: .utf8)
  }
}
