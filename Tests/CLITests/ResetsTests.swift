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

  @Test("the story of one tells what the kernel said, and moves no cursor by it")
  func kernel() throws {
    var record = record(1)
    record.evidence.counters = ["OutRsts": 2, "EstabResets": 1]
    var kernel = KernelEvidence()
    kernel.hadEntry = true
    kernel.hasEntry = false
    kernel.isEntryLost = true
    kernel.realPeer = .loopback(port: 8081)
    kernel.switchedFrom = .loopback(port: 8080)
    kernel.translatedSource = .loopback(port: 999)
    kernel.invalidPackets = 3
    kernel.counters = ["conntrack.invalid": 3]
    kernel.settings = KernelEvidence.Settings()
    kernel.settings?.isLiberal = false
    kernel.settings?.isLoose = true
    kernel.settings?.establishedTimeout = .seconds(432_000)
    kernel.settings?.count = 5
    kernel.settings?.maximum = 9
    kernel.sentByPeer = KernelEvidence.Reset(reason: "NO_SOCKET\u{1B}[2J", state: nil)
    kernel.drops = ["NETFILTER_DROP": 4]
    record.evidence.kernel = kernel
    record.verdict = Judge.judge(record.evidence)
    let entry = try #require(ResetEntry(line: record.line))
    let text = ResetReport.show(entry, style: .plain)
    for words in [
      "backend-switched", "judged with sockets and the kernel's word",
      "really with   127.0.0.1:8081 (from the connection table)",
      "the peer's kernel, which is this machine's, sent the reset: NO_SOCKET?[2J",
      "packets of this connection that it threw away: NETFILTER_DROP +4",
      "its entry was lost while it was established", "it leads to 127.0.0.1:8081",
      "it had led to 127.0.0.1:8080", "our end looks like 127.0.0.1:999 there",
      "3 packets of it were invalid", "counted there: conntrack.invalid +3",
      "be_liberal 0, loose 1, forgets after 432000 s, 5 of 9 entries",
      "EstabResets +1, OutRsts +2", "which is this machine's, says NO_SOCKET?[2J",
    ] {
      #expect(text.contains(words), "\(words) in\n\(text)")
    }
    #expect(!text.contains("\u{1B}"))
  }

  @Test("the list names cause, certainty and healing; strangers' text moves no cursor")
  func list() throws {
    let lines = [
      record(1),
      record(2, resumption: .init(offset: 400, outcome: .resumed, after: .milliseconds(13))),
    ].map(\.line)
    let entries = lines.compactMap { ResetEntry(line: $0) }
    #expect(entries.count == 2)
    let text = ResetReport.list(entries, of: 2, style: .plain)
    #expect(text.contains("origin-aborted"))
    // One of them is not final yet.
    #expect(text.contains("60%… S"))
    #expect(text.contains("60% S"))
    #expect(text.contains("…  is not final yet"))
    #expect(!ResetReport.list([entries[1]], of: 1, style: .plain).contains("…"))
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
    let summary = ResetReport.summary(entries, of: 2, style: .plain)
    #expect(summary.contains("origin-aborted  ████"))
    #expect(summary.contains("registry.example.org"))
    #expect(ResetReport.list([], of: 0, style: .plain) == "no ending is on record")
    #expect(ResetReport.list([], of: 113, style: .plain) == "none of 113 endings on record matches")
    #expect(ResetReport.summary([], of: 1, style: .plain) == "none of 1 ending on record matches")
  }

  /// A line that is a record, with this in the place of one of its values.
  private func line(_ key: String, _ value: String) throws -> [UInt8] {
    var lines: [String] = [
      #""id":"01KJ2M5V6C0000000000000000""#, #""time":"2026-03-02T10:11:12.345678Z""#,
      #""stage":"final""#, #""side":"upstream""#, #""phase":"content""#, #""means":"reset""#,
      #""errno":"ECONNRESET""#, #""syscall":"recv""#, #""server.address":"o.test""#,
      #""client.address":"10.0.0.1""#, #""url.full":"http://o.test/""#, #""remedy":"Look.""#,
      #""http.request.method":"GET""#, #""incident":"01KJ2M5V6C0000000000000000""#,
      #""network.local.address":"10.0.0.2""#, #""network.peer.address":"10.0.0.3""#,
      #""connection":{"age":1,"idle":1,"requests":2,"reused":true}"#,
      #""content":{"expected":9,"received":4,"delivered":4}"#,
      #""tcp_info":{"rtt":1,"last_data_recv":1,"last_ack_recv":1}"#,
      #""verdict":{"code":"origin-aborted","confidence":0.9,"tier":"P","for":["a"],"against":["b"],"also":["c"]}"#,
      #""resume":{"offset":4,"outcome":"failed","after":1,"note":"d"}"#,
      #""rst":{"direction":"in","shape":"active","ttl":64,"after_trigger_us":5,"trigger":"e","odd":["f"]}"#,
      #""packets":[{"us":-5,"direction":"in","what":"RST","seq":1,"ack":1,"len":1,"note":"g"}]"#,
      #""conntrack":{"has_entry":true,"timeout":5,"state":"h","real":"i","invalid_packets":1}"#,
      #""origin.real":{"address":"j","port":1,"source":"stray"}"#,
    ]
    // A value is replaced wherever its name is.
    let name = "\"\(key)\":"
    let index = try #require(lines.firstIndex { $0.contains(name) })
    let parts = lines[index].split(separator: name, maxSplits: 1, omittingEmptySubsequences: false)
    var rest = parts[1]
    if rest.hasPrefix("[") {
      rest = rest.drop { $0 != "]" }.dropFirst()
    } else {
      rest = rest.drop { !",}".contains($0) }
    }
    lines[index] = "\(parts[0])\(name)\(value)\(rest)"
    return Array("{\(lines.joined(separator: ","))}".utf8)
  }

  private func tellAll(_ entry: ResetEntry) -> String {
    ResetReport.list([entry], of: 1, style: .plain) + ResetReport.line(entry)
      + ResetReport.show(entry, style: .plain)
      + ResetReport.summary([entry], of: 1, style: .plain)
  }

  @Test(
    "whatever numbers a file has, they are told or the line is no record",
    arguments: [
      "age", "idle", "requests", "expected", "received", "delivered", "confidence", "offset",
      "after", "ttl", "after_trigger_us", "us", "seq", "len", "rtt", "last_data_recv", "timeout",
      "invalid_packets", "port",
    ])
  func numbers(key: String) throws {
    #expect(ResetEntry(line: try line(key, "1")) != nil)
    for value in [
      "1e300", "-1e300", "1e19", "-1e19", "9223372036854775807", "-9223372036854775808", "-1",
      "-0.5", "1e-300", "0", "1.7976931348623157e308",
    ] {
      guard let entry = ResetEntry(line: try line(key, value)) else { continue }
      #expect(!tellAll(entry).isEmpty, "\(key) \(value)")
      #expect(entry.seconds > 0)
    }
    // No judge has ever been surer than sure.
    #expect(
      (ResetEntry(line: try line(key, "1e300")) == nil)
        == (key == "confidence" || !["age", "idle", "after"].contains(key)))
  }

  @Test(
    "whatever texts a file has, none of them moves the cursor or turns the line",
    arguments: [
      "id", "time", "side", "phase", "means", "errno", "syscall", "server.address", "url.full",
      "client.address", "remedy", "http.request.method", "incident", "network.local.address",
      "network.peer.address", "code", "tier", "for", "against", "also", "note", "outcome",
      "direction", "shape", "trigger", "odd", "what", "state", "real", "address", "source",
    ])
  func texts(key: String) throws {
    let evil = #"x\u001b[2J\u009b2J\u202ey\u2066z\u2028\u200fq\u007f\r"#
    let isList = ["for", "against", "also", "odd"].contains(key)
    let value = isList ? "[\"\(evil)\"]" : "\"\(evil)\""
    var entries = [try #require(ResetEntry(line: try line(key, value)))]
    // Those of clients are told otherwise.
    entries[0].side = key == "side" ? entries[0].side : "downstream"
    entries.append(try #require(ResetEntry(line: try line(key, value))))
    for entry in entries {
      let strange = tellAll(entry).unicodeScalars.filter {
        $0 != "\n"
          && ($0.properties.generalCategory == .control
            || [.format, .lineSeparator].contains($0.properties.generalCategory))
      }
      #expect(strange.isEmpty, "\(key)")
    }
  }

  @Test("of an attempt to connect no times are told that only a connection has")
  func attempt() throws {
    var evidence = Evidence(Ending(.upstream, .connect, .reset))
    evidence.socket.errno = .connectionRefused
    evidence.socket.info = TCPInfo([UInt8](repeating: 1, count: 232))?.ofAttempt
    let record = EndingRecord(
      id: RecordID(milliseconds: 1, random: (1, 2)), time: 1, evidence: evidence,
      transaction: .init())
    let text = ResetReport.show(try #require(ResetEntry(line: record.line)), style: .plain)
    #expect(text.contains("The attempt to connect with the origin"))
    #expect(text.contains("retransmits in all"))
    #expect(!text.contains("last data"))
    #expect(!text.contains("round trip"))
  }

  @Test("of a client that left it is told how much it had confirmed, and of how much")
  func progress() throws {
    var evidence = Evidence(Ending(.downstream, .content, .reset))
    evidence.content.delivered = 900
    evidence.content.confirmed = 700
    evidence.content.expected = 5000
    let record = EndingRecord(
      id: RecordID(milliseconds: 1, random: (1, 2)), time: 1, evidence: evidence,
      transaction: .init())
    let text = ResetReport.show(try #require(ResetEntry(line: record.line)), style: .plain)
    #expect(
      text.contains(
        "900 of 5000 bytes of the answer, its head included, had been given to its socket, and its kernel had confirmed 700."
      ))
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
    #expect(entries.count(where: filter.selection()) == expected)
  }

  @Test("--since is counted from the start of the command, however long it waits for more")
  func sinceTheStart() throws {
    let entry = try #require(ResetEntry(line: record(1).line))
    let filter = try ResetFilter.parse(["--since", "1s"])
    #expect(filter.selection(now: entry.seconds)(entry), "which is in force much later")
    #expect(!filter.selection(now: entry.seconds + 2)(entry))
  }

  @Test("a file without a single record is refused, and so is one that is named and not there")
  func noRecords() throws {
    try withFile("r.jsonl", ["r.jsonl": Array("import os\nprint()\n".utf8)]) { source in
      do {
        _ = try source.read()
        Issue.record("was read")
      } catch {
        #expect("\(error)".contains("none of its 2 lines is a record"))
      }
    }
    try withFile("r.jsonl", ["r.jsonl": Array("print()\n".utf8)]) { source in
      #expect {
        try source.read()
      } throws: { error in
        (error as? Failure)?.message.hasSuffix("its one line is no record") == true
      }
    }
    let source = ResetSource(Configuration(), file: "/no/such/file", asksInstance: false)
    do {
      _ = try source.read()
      Issue.record("was read")
    } catch {
      #expect((error as? Failure)?.text == "holdfast: there is no file /no/such/file")
    }
  }

  @Test("on a narrow terminal the list shortens whom it was with, and nothing else")
  func narrow() throws {
    let entries = [record(1), record(2)].compactMap { ResetEntry(line: $0.line) }
    let wide = ResetReport.list(entries, of: 2, style: .plain)
    let line = wide.split(separator: "\n")[1]
    let narrow = ResetReport.list(entries, of: 2, style: .plain, width: line.count - 5)
    let shortened = narrow.split(separator: "\n")[1]
    #expect(shortened.count == line.count - 5)
    #expect(shortened.contains("registry.examp…") || shortened.contains("registry.exam…"))
    #expect(shortened.hasSuffix(entries[0].id))
  }

  @Test("the counts for scripts")
  func summaryJSON() throws {
    let lines = [
      record(1), record(2, resumption: .init(offset: 4, outcome: .resumed, after: .zero)),
    ]
    let text = JSONLine.text(ResetSummary(lines.compactMap { ResetEntry(line: $0.line) }))
    #expect(text.contains(#""causes":{"origin-aborted":2}"#))
    #expect(text.contains(#""endings":2"#))
    #expect(text.contains(#""healed":1"#))
    #expect(text.contains(#""origins":{"registry.example.org":2}"#))
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
