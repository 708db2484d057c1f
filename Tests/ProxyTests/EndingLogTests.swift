// The file of endings: moved aside when it is too large, gone on with when it can be written again, and never in the way.

import Configuration
import Foundation
import Glibc
import Logging
import Platform
import Synchronization
import Testing

@testable import Proxy

@Suite("The file of endings") struct EndingLogTests {
  private func withDirectory(_ body: (String) throws -> Void) throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-endings-")
    defer { try? File.removeTree(directory) }
    try body(directory)
  }

  private func settings(_ path: String) -> ResetSettings {
    var settings = ResetSettings()
    settings.path = .file(path)
    settings.fileSize = ByteCount(100)
    settings.files = 3
    return settings
  }

  private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func read(_ path: String) -> String? {
    guard let file = try? File.open(path), let size = try? File.status(file.rawValue).size else {
      return nil
    }
    var bytes = [UInt8](repeating: 0, count: Int(size))
    _ = try? bytes.withUnsafeMutableBytes { try File.readFully(file.rawValue, into: $0, at: 0) }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test("a file that has grown too large is moved aside, and the oldest goes")
  func rotation() throws {
    try withDirectory { directory in
      let path = directory + "/deeper/resets.jsonl"
      // A log for each line: what one writes at once is never torn apart.
      for number in 1...5 {
        let log = try #require(EndingLog.open(settings(path), logger: quiet))
        log.submit(Array((String(repeating: "\(number)", count: 99) + "\n").utf8), isFinal: true)
        log.close()
        #expect(log.dropped == 0)
      }
      #expect(read(path)?.first == "5")
      #expect(read(path + ".1")?.first == "4")
      #expect(read(path + ".2")?.first == "3")
      #expect(read(path + ".3") == nil)
      // Nobody else reads where clients have been.
      #expect(try File.status(at: path).mode & 0o007 == 0)
    }
  }

  @Test("a pipe takes lines as they come: it is neither moved aside nor flushed")
  func pipe() throws {
    try withDirectory { directory in
      let path = directory + "/resets.jsonl"
      #expect(mkfifo(path, 0o600) == 0)
      let reader = try File.open(path, [.read, .nonBlocking])
      let log = try #require(EndingLog.open(settings(path), logger: quiet))
      let line = Array((String(repeating: "x", count: 99) + "\n").utf8)
      for _ in 0..<3 { log.submit(line, isFinal: true) }
      log.close()
      #expect(log.dropped == 0)
      var bytes = [UInt8](repeating: 0, count: 1000)
      #expect(Glibc.read(reader.rawValue, &bytes, bytes.count) == 300)
      #expect(try File.list(directory).map(\.name) == ["resets.jsonl"])
    }
  }

  @Test("who reads a pipe no more holds up the end for a moment only, and what he left is counted")
  func stuckReader() throws {
    try withDirectory { directory in
      let path = directory + "/resets.jsonl"
      #expect(mkfifo(path, 0o600) == 0)
      let reader = try File.open(path, [.read, .nonBlocking])
      let log = try #require(EndingLog.open(settings(path), logger: quiet))
      let line = Array((String(repeating: "x", count: 999) + "\n").utf8)
      for _ in 0..<200 { log.submit(line, isFinal: true) }
      log.close(patience: .milliseconds(50))
      #expect((136...200).contains(log.dropped))
      _ = reader.rawValue
    }
  }

  @Test("a pipe that nobody reads keeps nobody from serving")
  func unread() throws {
    try withDirectory { directory in
      let path = directory + "/resets.jsonl"
      #expect(mkfifo(path, 0o600) == 0)
      #expect(EndingLog.open(settings(path), logger: quiet) == nil)
    }
  }

  private func lines(_ texts: String...) -> [EndingLine] {
    texts.map { EndingLine(bytes: Array($0.utf8), isFinal: true) }
  }

  @Test(
    "a disk that is full in the middle of a line leaves the lines before it, and none is torn",
    arguments: [(0, 0), (3, 0), (5, 1), (7, 1), (10, 2), (14, 2)])
  func full(room: Int, whole: Int) throws {
    try withDirectory { directory in
      var settings = settings(directory + "/resets.jsonl")
      settings.fileSize = ByteCount(1 << 20)
      var file = try RotatingFile(path: directory + "/resets.jsonl", settings)
      let first = file.write(lines("zero\n"))
      #expect(first == .init(written: 1))
      var left = room
      let outcome = file.write(lines("one1\n", "two2\n", "thr3\n")) { fd, bytes throws(Errno) in
        guard left > 0 else { throw .noSpace }
        let part = UnsafeRawBufferPointer(rebasing: bytes.prefix(min(2, left)))
        left -= part.count
        return try File.write(fd, part)
      }
      #expect(outcome == .init(written: whole, error: .noSpace))
      let last = file.write(lines("last\n"))
      #expect(last == .init(written: 1))
      let before = ["zero\n", "one1\n", "two2\n"].prefix(1 + whole).joined()
      #expect(read(directory + "/resets.jsonl") == before + "last\n")
    }
  }

  @Test(
    "a file that cannot be moved aside is written on, which is said once and counted; history stays"
  )
  func stays() throws {
    try withDirectory { directory in
      let path = directory + "/resets.jsonl"
      try Data("history\n".utf8).write(to: URL(fileURLWithPath: path + ".1"))
      let said = Said()
      let log = try #require(
        EndingLog.open(settings(path), logger: Logger(label: "test") { _ in said }))
      let plan = FaultPlan(
        in: .directory(directory), failing: [.rename], number: 1, with: .accessDenied, repeats: true
      )
      plan.install()
      defer { plan.remove() }
      let line = [UInt8](repeating: 0x78, count: 149) + [10]
      for number in 1...3 {
        log.submit(line, isFinal: true)
        while read(path)?.utf8.count != 150 * number { usleep(1000) }
      }
      log.close()
      #expect(log.dropped == 0)
      #expect(log.stays == 1, "it is not tried again with each line")
      #expect(read(path + ".1") == "history\n")
      #expect(said.all.count { $0.contains("cannot be moved aside") } == 1)
    }
  }

  @Test("a file that was moved is not moved again because the new one cannot be opened")
  func movedOnce() throws {
    try withDirectory { directory in
      let path = directory + "/resets.jsonl"
      var settings = settings(path)
      settings.files = 4
      var file = try RotatingFile(path: path, settings)
      let large = EndingLine(bytes: [UInt8](repeating: 0x78, count: 149) + [10], isFinal: true)
      let first = file.write([large])
      #expect(first == .init(written: 1))
      try Data("history\n".utf8).write(to: URL(fileURLWithPath: path + ".1"))
      let plan = FaultPlan(
        in: .directory(directory), failing: [.open], number: 1, with: .tooManyOpenFiles,
        repeats: true)
      plan.install()
      for _ in 0..<5 {
        let outcome = file.write([large])
        #expect(outcome == .init(written: 0, error: .tooManyOpenFiles))
      }
      plan.remove()
      let last = file.write([large])
      #expect(last == .init(written: 1))
      #expect(read(path)?.utf8.count == 150)
      #expect(read(path + ".1")?.utf8.count == 150)
      #expect(read(path + ".2") == "history\n")
      #expect(read(path + ".3") == nil)
    }
  }

  @Test("one that cannot be moved keeps its place, and pushes nothing out in the next attempt")
  func gap() throws {
    try withDirectory { directory in
      let path = directory + "/resets.jsonl"
      var settings = settings(path)
      settings.files = 4
      for number in 1...3 {
        try Data("\(number)\n".utf8).write(to: URL(fileURLWithPath: "\(path).\(number)"))
      }
      let line = EndingLine(bytes: [UInt8](repeating: 0x78, count: 149) + [10], isFinal: true)
      try Data(line.bytes).write(to: URL(fileURLWithPath: path))
      // The last goes, and of the others one after the other can be moved into the place that is free, but not this.
      for failing in [2, 2, 1, 1] {
        var file = try RotatingFile(path: path, settings)
        let plan = FaultPlan(
          in: .directory(directory), failing: [.rename], number: failing, with: .inputOutput,
          repeats: true)
        plan.install()
        let outcome = file.write([line])
        plan.remove()
        #expect(outcome == .init(written: 1, stays: .inputOutput))
      }
      #expect(read(path)?.utf8.count == 750)
      #expect([1, 2, 3].map { read("\(path).\($0)") } == [nil, "1\n", "2\n"])
    }
  }

  @Test("what was torn by whoever wrote before ends where the next line begins")
  func torn() throws {
    try withDirectory { directory in
      let path = directory + "/resets.jsonl"
      let old = try File.open(path, [.write, .create])
      let bytes = Array("whole\nhal".utf8)
      _ = try bytes.withUnsafeBytes { try File.write(old.rawValue, $0) }
      var settings = settings(path)
      settings.fileSize = ByteCount(1 << 20)
      let log = try #require(EndingLog.open(settings, logger: quiet))
      log.submit(Array("next\n".utf8), isFinal: true)
      log.close()
      #expect(log.dropped == 0)
      #expect(read(path) == "whole\nhal\nnext\n")
    }
  }

  @Test("where no file can be made there is none, and that is no reason not to start")
  func nowhere() throws {
    try withDirectory { directory in
      let file = directory + "/file"
      _ = try File.open(file, [.write, .create])
      #expect(EndingLog.open(settings(file + "/resets.jsonl"), logger: quiet) == nil)
    }
  }
}

/// What was logged.
private struct Said: LogHandler {
  private final class Lines: Sendable {
    let lines = Mutex<[String]>([])
  }

  private let lines = Lines()
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.trace

  var all: [String] { lines.lines.withLock { $0 } }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    lines.lines.withLock { $0.append("\(event.message)") }
  }
}
