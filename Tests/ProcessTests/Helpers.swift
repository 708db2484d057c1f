// What the suites share: state that threads wait for, threads that begin together, directories that go again,
// random numbers that can be had again.

import Foundation
import Glibc

/// Why a test could not go on.
struct Failure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// State behind a lock that threads can wait for.
final class Shared<State>: @unchecked Sendable {
  // Sendable, because the state is only reached with the lock held.
  private let condition = NSCondition()
  private var state: State

  init(_ state: sending State) { self.state = state }

  /// Changes the state, and wakes who waits for it.
  @discardableResult
  func withLock<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
    condition.lock()
    defer {
      condition.broadcast()
      condition.unlock()
    }
    return try body(&state)
  }

  /// Waits until `body` answers something.
  /// - Throws: after so many seconds, because nothing here may hang for ever. Generous: machines are busy.
  func wait<Result>(
    for what: String, seconds: Double = 120, _ body: (inout State) -> Result?
  ) throws -> Result {
    let deadline = Date(timeIntervalSinceNow: seconds)
    condition.lock()
    defer { condition.unlock() }
    while true {
      if let result = body(&state) { return result }
      guard condition.wait(until: deadline) else {
        if let result = body(&state) { return result }
        throw Failure("waited \(seconds) s for \(what)")
      }
    }
  }
}

/// Runs `body` on as many threads as asked, which begin together, and returns what they gave in order.
func concurrently<Value: Sendable>(
  _ count: Int, _ body: @escaping @Sendable (Int) throws -> Value
) -> [Result<Value, any Error>] {
  let crew = Crew(count, body)
  return crew.results()
}

/// Threads at work, whose results can be waited for later.
final class Crew<Value: Sendable>: Sendable {
  private struct State: Sendable {
    var waiting = 0
    var results: [Int: Result<Value, any Error>] = [:]
  }

  private let state = Shared(State())
  private let count: Int

  init(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Value) {
    self.count = count
    for index in 0..<count {
      let thread = Thread { [state] in
        state.withLock { $0.waiting += 1 }
        let met = Result { try state.wait(for: "all threads") { $0.waiting == count ? () : nil } }
        let result = met.flatMap { _ in Result { try body(index) } }
        state.withLock { $0.results[index] = result }
      }
      thread.stackSize = 512 << 10
      thread.start()
    }
  }

  var isFinished: Bool { state.withLock { $0.results.count == count } }

  /// Waits for all of them. They have time limits of their own.
  func results() -> [Result<Value, any Error>] {
    let all = try? state.wait(for: "threads", seconds: 1200) { state in
      state.results.count == count ? state.results : nil
    }
    return (0..<count).map { all?[$0] ?? .failure(Failure("thread \($0) did not come back")) }
  }
}

/// Asks again and again until the answer is yes. For what another process does and nobody tells.
func poll(_ what: String, seconds: Double = 60, _ isTrue: () throws -> Bool) throws {
  let deadline = Date(timeIntervalSinceNow: seconds)
  while try !isTrue() {
    guard Date() < deadline else { throw Failure("after \(seconds) s there is still no \(what)") }
    usleep(3_000)
  }
}

/// Calls `body` every few milliseconds until it is stopped, on a thread of its own.
final class Sampler: Sendable {
  private let isStopped = Shared(false)
  private let crew: Crew<Void>

  init(everyMilliseconds interval: UInt32 = 20, _ body: @escaping @Sendable () -> Void) {
    let isStopped = self.isStopped
    crew = Crew(1) { _ in
      while !isStopped.withLock({ $0 }) {
        body()
        usleep(interval * 1000)
      }
      body()
    }
  }

  func stop() {
    isStopped.withLock { $0 = true }
    _ = crew.results()
  }
}

/// A directory that goes with its holder.
final class TemporaryDirectory: Sendable {
  let path: String

  init() throws {
    let base = NSTemporaryDirectory()
    var template = Array("\(base)/holdfast-process-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Failure("cannot make a directory in \(base)") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ text: String, to name: String) throws {
    try text.write(toFile: "\(path)/\(name)", atomically: true, encoding: .utf8)
  }
}

/// What a directory takes on its disk, as `du` counts: each file once, however many names it has.
///
/// Of a directory that changes meanwhile it can be too much: a file that is counted and then removed, and one that
/// grows in its place and is counted too. So a figure above `limit` is doubted, and counted again a few times.
func diskUsage(_ directory: String, doubtingAbove limit: Int = .max) -> Int {
  var least = Int.max
  for _ in 0..<4 {
    var files: [UInt: Int] = [:]
    countFiles(directory, &files)
    least = min(least, files.values.reduce(0, +))
    if least <= limit { break }
  }
  return least
}

private func countFiles(_ directory: String, _ files: inout [UInt: Int]) {
  for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] {
    var status = stat()
    let path = "\(directory)/\(name)"
    guard lstat(path, &status) == 0 else { continue }
    if status.st_mode & S_IFMT == S_IFDIR {
      countFiles(path, &files)
    } else {
      files[UInt(status.st_ino)] = Int(status.st_blocks) * 512
    }
  }
}

/// Sizes as a person reads them.
func mebibytes(_ bytes: Int) -> String { String(format: "%.1f MiB", Double(bytes) / 1_048_576) }
