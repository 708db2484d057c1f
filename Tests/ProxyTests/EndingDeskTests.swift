// Endings in a burst: none is without its last line, and none is counted twice.

import Configuration
import Forensics
import Foundation
import Logging
import Platform
import Testing

@testable import Proxy

@Suite("Where endings come in") struct EndingDeskTests {
  private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  @Test("of five thousand at once each is final, written and counted")
  func burst() throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-desk-")
    defer { try? File.removeTree(directory) }
    var settings = ResetSettings()
    settings.path = .file(directory + "/resets.jsonl")
    let log = try #require(EndingLog.open(settings, logger: quiet))
    let desk = EndingDesk(log: log)
    var names: Set<RecordID> = []
    for number in 0..<5000 {
      var evidence = Evidence(Ending(.upstream, .connect, .reset))
      evidence.socket.errno = .connectionRefused
      // Some of them wait for a download that goes on.
      names.insert(desk.report(evidence, .init(), isHealing: number % 3 == 0))
      // Those before are judged meanwhile, now and then.
      if number % 1700 == 0 { desk.finish() }
    }
    #expect(names.count == 5000)
    #expect(desk.isAnyWaiting)
    desk.close()
    #expect(desk.counts.values.reduce(0, +) == 5000)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: directory + "/resets.jsonl"))
    let lines = bytes.split(separator: 10).map { String(decoding: $0, as: UTF8.self) }
    let final = lines.filter { $0.contains("\"stage\":\"final\"") }
    #expect(UInt64(final.count) + log.dropped >= 5000)
    #expect(log.dropped > 0 || lines.count == 10_000 && final.count == 5000)
    // Memory is bounded all the same.
    #expect(desk.recent(.max).count == 2000)
  }
}
