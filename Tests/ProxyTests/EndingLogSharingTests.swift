// Two that write one file of endings would move it aside under each other's hands.

import Configuration
import Foundation
import Logging
import Platform
import Synchronization
import Testing

@testable import Proxy

@Suite("One writer for a file of endings") struct EndingLogSharingTests {
  private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  @Test("a second one does without the file, and the next has it again")
  func sharing() throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-endings-")
    defer { try? File.removeTree(directory) }
    var settings = ResetSettings()
    settings.path = .file(directory + "/resets.jsonl")
    let first = try #require(EndingLog.open(settings, logger: quiet))
    #expect(EndingLog.open(settings, logger: quiet) == nil)
    // Emptied in place by whoever rotates logs: still ours.
    first.submit(Array("one\n".utf8), isFinal: false)
    first.reopen()
    first.submit(Array("two\n".utf8), isFinal: false)
    first.close()
    #expect(first.dropped == 0)
    let next = try #require(EndingLog.open(settings, logger: quiet))
    next.close()
  }
}
