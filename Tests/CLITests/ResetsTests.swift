// What `holdfast resets` reads and prints: records as the proxy writes them, out of files as they are found.

import Configuration
import Forensics
import Foundation
import Platform
import Telemetry
import Testing

@testable import CLI
@testable import Proxy

@Suite("holdfast resets") struct ResetsTests {
  private func record(
    _ number: Int, _ means: Means = .reset, side: Side = .upstream,
    resumption: EndingRecord.Resumption? = nil
  ) -> EndingRecord {
    var evidence = Evidence(Ending(side, .content, means))
    evidence.socket.errno = means == .reset ? .connectionReset : nil
    evidence.socket.local = .loopback(port: 41532)
    evidence.socket.peer = .loopback(port: 80)
    evidence.connection.age = .milliseconds(4200)
    evidence.connection.requests = 3
    evidence.connection.idle = .seconds(7)
    evidence.content.hasHead = true
    evidence.content.expected = 1000
    evidence.content.received = 400
    evidence.content.answerBytes = 400
    var transaction = EndingRecord.Transaction()
    transaction.method = "GET"
    transaction.url = "http://registry.example.org/big.tar\u{1B}[2J"
    transaction.server = "registry.example.org"
    transaction.client = .loopback(port: 5000)
    let time = 1_772_446_272_000_000 + Int64(number) * 1_000_000
    var record = EndingRecord(
      id: RecordID(milliseconds: time / 1000, random: (UInt64(number), 7)), time: time,
      evidence: evidence, transaction: transaction)
    record.resumption = resumption
    record.stage = resumption == nil ? .provisional : .final
    return record
  }

  private func withFile(
    _ name: String, _ files: [String: [UInt8]], _ body: (ResetSource) throws -> Void
  )
    throws
  {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-resets-")
    defer { try? File.removeTree(directory) }
    for (name, bytes) in files {
      try Data(bytes).write(to: URL(fileURLWithPath: directory + "/" + name))
    }
    var configuration = Configuration()
    configuration.admin = nil
    configuration.resets.path = .file(directory + "/" + name)
    try body(ResetSource(configuration, file: nil, asksInstance: false))
  }

  @Test(
    "files that were moved aside come first, the youngest line of a record counts, torn lines are skipped"
  )
  func reading() throws {
    let healed = record(
      2, resumption: .init(offset: 400, outcome: .resumed, after: .milliseconds(13)))
    try withFile(
      "r.jsonl",
      [
        "r.jsonl.1": record(1).line + Array("{\"time\": \"torn".utf8),
        "r.jsonl": record(2).line + record(3, .finish).line + healed.line + Array("{".utf8),
      ]
    ) { source in
      let entries = try source.read().map(\.entry)
      #expect(entries.map(\.id) == [1, 2, 3].map { record($0).id.text })
      #expect(entries[1].stage == "final")
      #expect(entries[1].resume?.outcome == "resumed")
      #expect(entries.map(\.seconds) == [1, 2, 3].map { 1_772_446_272 + Int64($0) })
    }
  }

  @Test("no file and nobody to ask is said, with the file's name")
  func nothing() throws {
    try withFile("missing.jsonl", [:]) { source in
      let failure = #expect(throws: Failure.self) { _ = try source.read() }
      #expect(failure?.text.contains("missing.jsonl") == true)
    }
  }

  @Test("the list names cause, certainty and healing; strangers' text moves no cursor")
  func list() throws {
    let lines = [
      record(1),
      record(2, resumption: .init(offset: 400, outcome: .resumed, after: .milliseconds(13))),
    ].map(\.line)
    let entries = lines.compactMap { ResetEntry(line: $0) }
    #expect(entries.count == 2)
    let text = ResetReport.list(entries, style: .plain)
    #expect(text.contains("origin-aborted"))
    #expect(text.contains("60% S"))
    #expect(text.contains("resumed"))
    #expect(text.contains("2 endings, 1 healed"))
    let story = ResetReport.show(entries[1], style: .plain)
    #expect(!story.contains("\u{1B}"))
    for sentence in [
      "was 4.2 s old, on its request number 3, after 7.0 s of idling",
      "It was reset in the middle of the content (ECONNRESET",
      "400 of 1000 bytes had come (40%)",
      "The download went on from byte 400 after 13 ms, and nobody noticed.",
      "or perhaps", "to do",
    ] { #expect(story.contains(sentence), "\(sentence) is not in\n\(story)") }
    let summary = ResetReport.summary(entries, style: .plain)
    #expect(summary.contains("origin-aborted  ████"))
    #expect(summary.contains("registry.example.org"))
    #expect(ResetReport.list([], style: .plain).contains("as it should"))
  }

  @Test(
    "filters",
    arguments: [
      (["--code", "origin-aborted"], 2), (["--code", "client-left"], 0),
      (["--side", "downstream"], 1),
      (["--match", "registry"], 3), (["--match", "nowhere"], 0), (["--since", "1s"], 0),
      (["--since", "10000d"], 3),
    ])
  func filters(arguments: [String], count: Int) throws {
    let filter = try ResetFilter.parse(arguments)
    let entries = [record(1), record(2), record(3, .finish, side: .downstream)]
      .compactMap { ResetEntry(line: $0.line) }
    // A client that left is one of the client's.
    let expected = arguments == ["--code", "client-left"] ? 1 : count
    #expect(entries.count(where: filter.takes) == expected)
  }

  @Test(
    "what cannot be meant is refused",
    arguments: [
      ["--code", "origin-abortd"], ["--side", "left"], ["--since", "yesterday"],
      ["--since", "-1h"],
    ])
  func refused(arguments: [String]) {
    #expect(throws: (any Error).self) { _ = try ResetFilter.parse(arguments) }
  }

  @Test("a cause that does not exist is answered with the nearest")
  func unknown() {
    #expect(ExplainCommand.unknown("undnat-her").contains("undnat-here"))
    for cause in Cause.allCases {
      #expect(ExplainCommand.text(cause, .plain).contains(cause.remedy))
    }
  }
}
