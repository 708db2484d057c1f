// Processes that the lab starts: commands that end by themselves, and those that go on until they are ended. Each is
// started in the network namespace of the thread that asks, inherits no descriptor but its standard ones, and is ended by
// its number.

import Glibc
import Platform
import Synchronization

package final class Child: Sendable {
  package let id: pid_t
  /// How it ended, as wait(2) says it; nil while its number is its own.
  private let ending = Mutex<Int32?>(nil)

  /// Starts a program.
  /// - Parameters:
  ///   - arguments: the program's path first.
  ///   - input: becomes its standard input; nothing to read if nil.
  ///   - output: takes its standard output and standard error; thrown away if nil.
  package init(_ arguments: [String], input: Int32? = nil, output: Int32? = nil) throws {
    do throws(Errno) {
      // Ctrl-C is for this process alone, which then takes down what it has made, them too.
      id = try Spawn.start(
        arguments, input: input, output: output, errors: output, inOwnGroup: true)
    } catch {
      throw LabError("cannot start \(arguments.first ?? "no program"): \(error)")
    }
  }

  package func signal(_ number: Int32) {
    ending.withLock { if $0 == nil { kill(id, number) } }
  }

  /// Waits for its end.
  /// - Returns: its exit code; negative the signal that killed it.
  @discardableResult
  package func wait() -> Int32 {
    // Its number stays its own until it is taken in here.
    var information = siginfo_t()
    while ending.withLock({ $0 }) == nil,
      waitid(P_PID, id_t(id), &information, WEXITED | WNOWAIT) < 0 && errno == EINTR
    {}
    let status = takeIn(0) ?? 0
    let signal = status & 0x7F
    return signal == 0 ? (status >> 8) & 0xFF : 0 - signal
  }

  /// Whether it has ended.
  package var hasEnded: Bool { takeIn(WNOHANG) != nil }

  private func takeIn(_ options: Int32) -> Int32? {
    ending.withLock { ending in
      var status: Int32 = 0
      if ending == nil, waitpid(id, &status, options) == id { ending = status }
      return ending
    }
  }

  /// Whether every thread of it has been stopped (proc(5), the state in `stat`).
  package var standsStill: Bool {
    let tasks = "/proc/\(id)/task"
    guard let handle = opendir(tasks) else { return false }
    defer { closedir(handle) }
    while let entry = readdir(handle) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard Int(name) != nil else { continue }
      guard let file = try? File.open("\(tasks)/\(name)/stat") else { continue }
      var buffer = [UInt8](repeating: 0, count: 256)
      let count = max(0, read(file.rawValue, &buffer, buffer.count))
      // Behind its name, which ends with the last bracket.
      guard let bracket = buffer[..<count].lastIndex(of: UInt8(ascii: ")")), bracket + 2 < count,
        buffer[bracket + 2] == UInt8(ascii: "T")
      else { return false }
    }
    return true
  }

  deinit {
    signal(SIGKILL)
    wait()
  }
}
