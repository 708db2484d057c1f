// The file of endings: moved aside when it is too large, gone on with when it can be written again, and never in the way.

import Configuration
import Logging
import Platform
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

  @Test("where no file can be made there is none, and that is no reason not to start")
  func nowhere() throws {
    try withDirectory { directory in
      let file = directory + "/file"
      _ = try File.open(file, [.write, .create])
      #expect(EndingLog.open(settings(file + "/resets.jsonl"), logger: quiet) == nil)
    }
  }
}
