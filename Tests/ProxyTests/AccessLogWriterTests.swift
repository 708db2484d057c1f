// The access log's thread: what it cannot write is counted and said once, and it goes on when it can.

import Configuration
import Foundation
import Logging
import Platform
import Synchronization
import Testing

@testable import Proxy

@Suite("The access log's file") struct AccessLogWriterTests {
  private let said = Sayings()

  private func withDirectory(_ body: (String) throws -> Void) throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-access-")
    defer { try? File.removeTree(directory) }
    try body(directory)
  }

  private func open(_ path: String) throws -> AccessLogWriter {
    let logger = Logger(label: "test") { _ in said }
    return try #require(try AccessLogWriter.open(.file(path), logger: logger, pause: .zero))
  }

  private func text(_ path: String) -> String? {
    try? String(contentsOfFile: path, encoding: .utf8)
  }

  /// What was handed in is written, or lost: waits for the thread to have done it.
  private func settle(_ isDone: () -> Bool) { while !isDone() { usleep(1000) } }

  @Test("directories are made, and made again after somebody removed them and asked for a new file")
  func directories() throws {
    try withDirectory { directory in
      let path = directory + "/deep/er/access.log"
      let log = try open(path)
      log.submit(Array("one\n".utf8))
      settle { text(path) == "one\n" }
      try File.removeTree(directory + "/deep")
      log.reopen()
      settle { text(path) == "" }
      log.submit(Array("two\n".utf8))
      log.close()
      #expect(text(path) == "two\n")
      #expect(log.lost == 0)
    }
  }

  @Test(
    "lines that a full disk did not take are counted, told of once, and the next ones are tried")
  func full() throws {
    try withDirectory { directory in
      let path = directory + "/access.log"
      try FileManager.default.createSymbolicLink(
        atPath: path, withDestinationPath: "/dev/full")
      let log = try open(path)
      log.submit(Array("one\ntwo\n".utf8))
      settle { log.lost == 2 }
      log.submit(Array("three\n".utf8))
      settle { log.lost == 3 }
      try File.unlink(path)
      log.submit(Array("four\n".utf8))
      log.close()
      #expect(text(path) == "four\n")
      #expect(log.lost == 3)
      #expect(said.lines.map { $0.contains("lines are lost") } == [true, false])
      #expect(said.lines.last?.contains("can be written again") == true)
    }
  }

  @Test("a file that cannot be opened anew goes on if it still has a name, and says so")
  func moved() throws {
    try withDirectory { directory in
      let path = directory + "/logs/access.log"
      let log = try open(path)
      try File.rename(directory + "/logs", to: directory + "/older")
      // Where the directory was is something else now.
      try Data().write(to: URL(fileURLWithPath: directory + "/logs"))
      log.reopen()
      log.submit(Array("one\n".utf8))
      settle { text(directory + "/older/access.log") == "one\n" }
      #expect(said.lines.count == 1)
      #expect(said.lines[0].contains("cannot be opened anew"))
      try File.unlink(directory + "/logs")
      log.submit(Array("two\n".utf8))
      log.close()
      #expect(text(path) == "two\n")
      #expect(log.lost == 0)
    }
  }

  @Test("a pipe that nobody reads is refused and waited for by nobody")
  func unread() throws {
    try withDirectory { directory in
      let path = directory + "/access.log"
      #expect(mkfifo(path, 0o600) == 0)
      do throws(StartFailure) {
        _ = try AccessLogWriter.open(.file(path), logger: Logger(label: "test") { _ in said })
        Issue.record("nobody reads it")
      } catch {
        #expect(error.description.contains("a pipe that nobody reads"))
        #expect(error.description.contains(path))
      }
      let reader = try File.open(path, [.read, .nonBlocking])
      let log = try open(path)
      log.submit(Array("one\n".utf8))
      log.close()
      var bytes = [UInt8](repeating: 0, count: 10)
      #expect(read(reader.rawValue, &bytes, bytes.count) == 4)
      #expect(log.lost == 0)
    }
  }

  @Test("who reads a pipe no more holds up the end for a moment only, and what he left is counted")
  func stuckReader() throws {
    try withDirectory { directory in
      let path = directory + "/access.log"
      #expect(mkfifo(path, 0o600) == 0)
      let reader = try File.open(path, [.read, .nonBlocking])
      let log = try open(path)
      let line = Array((String(repeating: "x", count: 999) + "\n").utf8)
      for _ in 0..<200 { log.submit(line) }
      log.close(patience: .milliseconds(50))
      // 64 KiB lie in the pipe (pipe(7)), and who can say what becomes of them?
      #expect((136...200).contains(log.lost))
      #expect(said.lines.count == 1)
      #expect(said.lines[0].contains("nobody reads the access log \(path)"))
      _ = reader.rawValue
    }
  }

  @Test("what cannot be a log is refused with its name and its key")
  func refused() throws {
    try withDirectory { directory in
      let logger = Logger(label: "test") { _ in said }
      do throws(StartFailure) {
        _ = try AccessLogWriter.open(.file(directory), logger: logger)
        Issue.record("a directory is no log")
      } catch {
        for word in [directory, "Is a directory", "log.access", "--access-log"] {
          #expect(error.description.contains(word))
        }
      }
    }
  }
}

/// Takes down what is logged.
private final class Sayings: LogHandler, Sendable {
  private let taken = Mutex<[String]>([])

  var lines: [String] { taken.withLock { $0 } }
  var logLevel: Logger.Level {
    get { .trace }
    set {}
  }
  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  func log(event: LogEvent) { taken.withLock { $0.append("\(event.message)") } }
}
