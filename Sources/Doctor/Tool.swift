// Programs of others that are asked: found in the usual places, run in this thread's network namespace with a bound on time
// and on output, their words taken as they are.

import Glibc
import Platform

package enum ToolError: Error, Sendable, Equatable, CustomStringConvertible {
  case missing(String, package: String)
  case failed(String, words: String)
  case tooSlow(String, seconds: Int)
  case tooMuch(String)

  package var description: String {
    switch self {
    case .missing(let name, let package): "\(name) is not installed (apt-get install \(package))"
    case .failed(let name, let words): "\(name): \(words)"
    case .tooSlow(let name, let seconds): "\(name) had not answered after \(seconds) s"
    case .tooMuch(let name): "\(name) printed more than is read"
    }
  }
}

extension ToolError {
  /// Whether it may be had by another user.
  package var isForbidden: Bool {
    guard case .failed(_, let words) = self else { return false }
    return ["ermitted", "denied", "root"].contains { words.contains($0) }
  }
}

package struct Tool: Sendable {
  package let name: String
  /// Debian's, to be named where it is missing.
  package let package: String

  package init(_ name: String, package: String) {
    self.name = name
    self.package = package
  }

  private static let places = [
    "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin",
  ]
  private static let seconds = 30
  /// Tens of thousands of Services take tens of megabytes.
  private static let maximumOutput = 512 << 20

  package var path: String? {
    Self.places.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
  }

  /// What it prints to its standard output.
  package func run(_ arguments: [String]) throws(ToolError) -> [UInt8] {
    guard let path else { throw .missing(name, package: package) }
    var (output, complaints): ([Int32], [Int32]) = ([-1, -1], [-1, -1])
    guard pipe(&output) == 0 else { throw .failed(name, words: "\(Errno(rawValue: errno))") }
    guard pipe(&complaints) == 0 else {
      let error = Errno(rawValue: errno)
      for fd in output { close(fd) }
      throw .failed(name, words: "\(error)")
    }
    defer {
      close(output[0])
      close(complaints[0])
    }
    let id: pid_t
    do throws(Errno) {
      defer {
        close(output[1])
        close(complaints[1])
      }
      // Its words are read, so they have to be in one language.
      id = try Spawn.start(
        [path] + arguments, environment: ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        output: output[1], errors: complaints[1])
    } catch {
      throw .failed(name, words: "\(error)")
    }
    let (result, text) = gather(output[0], complaints[0])
    if result == nil || (result?.count ?? 0) > Self.maximumOutput { kill(id, SIGKILL) }
    var status: Int32 = 0
    while waitpid(id, &status, 0) < 0 && errno == EINTR {}
    guard let result else { throw .tooSlow(name, seconds: Self.seconds) }
    if result.count > Self.maximumOutput { throw .tooMuch(name) }
    guard status == 0 else {
      let words = text.split(separator: "\n").last.map(String.init) ?? "it failed, without a word"
      throw .failed(name, words: words)
    }
    return result
  }

  /// Reads both until both end; nil for the output if that takes too long.
  private func gather(_ output: Int32, _ complaints: Int32) -> ([UInt8]?, String) {
    let end = Instant.now() + .seconds(Self.seconds)
    var texts: [[UInt8]] = [[], []]
    var entries = [output, complaints].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    var buffer = [UInt8](repeating: 0, count: 65536)
    while entries.contains(where: { $0.fd >= 0 }) {
      let left = (end - Instant.now()).wholeNanoseconds / 1_000_000
      guard left > 0 else { return (nil, "") }
      let ready = poll(&entries, 2, Int32(clamping: left))
      if ready < 0 && errno == EINTR { continue }
      guard ready > 0 else { return (nil, "") }
      for index in entries.indices where entries[index].fd >= 0 && entries[index].revents != 0 {
        let count = read(entries[index].fd, &buffer, buffer.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else {
          entries[index].fd = -1
          continue
        }
        texts[index] += buffer[..<count]
        if texts[index].count > Self.maximumOutput { return (texts[index], "") }
      }
    }
    return (texts[0], String(decoding: texts[1], as: UTF8.self))
  }
}
