// How what was found is compared with what was expected.

import Forensics
import Foundation
import Testing

@testable import Lab

@Suite("Comparing records") struct ExpectationTests {
  private func record(_ code: String, _ confidence: Double, also: [String] = [], more: String = "")
    throws -> LabRecord
  {
    let line = """
      {"id":"A","time":"2026-03-02T10:11:12.345678Z","stage":"final","side":"upstream","phase":"content","means":"reset",\
      "connection":{"reused":true,"requests":1},"verdict":{"code":"\(code)","confidence":\(confidence),"tier":"S",\
      "also":\(also)}\(more)}
      """
    return try #require(LabRecord(Data(line.utf8)))
  }

  private let aborted = Expectation(.originAborted, .content, .reset)
    .judged(.sockets, atMost: 79).judged(.packets, atLeast: 90)

  @Test("a weaker verdict with fewer sensors is right, a surer one is not")
  func confidence() throws {
    #expect(try aborted.mismatches(record("origin-aborted", 0.6), at: .sockets).isEmpty)
    #expect(try !aborted.mismatches(record("origin-aborted", 0.9), at: .sockets).isEmpty)
    #expect(try aborted.mismatches(record("origin-aborted", 0.9), at: .packets).isEmpty)
    #expect(try !aborted.mismatches(record("origin-aborted", 0.6), at: .packets).isEmpty)
    // What holds for packets holds with the kernel's words as well.
    #expect(try !aborted.mismatches(record("origin-aborted", 0.6), at: .kernel).isEmpty)
  }

  @Test("a verdict that is sure and wrong never passes, nor one that does not name the truth")
  func wrong() throws {
    #expect(try !aborted.mismatches(record("client-left", 0.9), at: .packets).isEmpty)
    #expect(try !aborted.mismatches(record("client-left", 0.5), at: .sockets).isEmpty)
    #expect(
      try aborted.mismatches(record("client-left", 0.5, also: ["origin-aborted"]), at: .sockets)
        .isEmpty)
    let open = Expectation(.originAborted, .content, .reset)
    #expect(try !open.mismatches(record("client-left", 0.8), at: .sockets).isEmpty)
    #expect(try open.mismatches(record("client-left", 0.79), at: .sockets).isEmpty)
  }

  @Test("facts are compared by name, some with one of several values, some from a tier on")
  func facts() throws {
    let expectation = Expectation(.originAborted, .head, .reset).inPhase(.head, .content)
      .having("connection.reused", "true").having("connection.requests", "1")
      .having("rst.shape", "active", from: .packets)
    #expect(try expectation.mismatches(record("origin-aborted", 0.6), at: .sockets).isEmpty)
    #expect(try !expectation.mismatches(record("origin-aborted", 0.6), at: .packets).isEmpty)
    let shaped = try record("origin-aborted", 0.6, more: #","rst":{"shape":"active"}"#)
    #expect(expectation.mismatches(shaped, at: .packets).isEmpty)
    #expect(
      try !expectation.having("errno", "EPIPE").mismatches(
        record("origin-aborted", 0.6), at: .sockets
      )
      .isEmpty)
  }

  @Test("records that are missing, and those that nobody expected, are both wrong")
  func counts() throws {
    let one = try record("origin-aborted", 0.6)
    #expect(LabRunner.compare([aborted], [one], at: .sockets).isEmpty)
    #expect(LabRunner.compare([aborted], [], at: .sockets).count == 1)
    #expect(LabRunner.compare([], [one], at: .sockets).count == 1)
    #expect(abs(one.time - 1_772_446_272.345678) < 0.0001)
  }

  @Test("names of scenarios are found whatever their case, and each is there once")
  func names() {
    #expect(Scenario.named("l10v6")?.name == "L10v6")
    #expect(Scenario.named("L99") == nil)
    #expect(Set(Scenario.all.map(\.name)).count == Scenario.all.count)
  }

  @Test("each scenario is told of in the lab's page", arguments: Scenario.all.map(\.name))
  func told(name: String) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let page = try String(contentsOf: root.appending(path: "docs/lab.md"), encoding: .utf8)
    let names = page.split(separator: "\n").filter { $0.hasPrefix("| L") }.compactMap {
      $0.split(separator: "|").first
    }.flatMap { $0.split(separator: ",") }.map { $0.trimmingCharacters(in: .whitespaces) }
    #expect(names.contains(name))
  }

  @Test("content is the same however it is cut, and no two places have the same")
  func content() {
    let whole = Content.bytes(0..<300_000)
    #expect(whole.count == 300_000)
    for range in [0..<5, 3..<12, 65_515..<65_540, 131_040..<131_044, 100_000..<300_000] {
      #expect(Content.bytes(range) == Array(whole[range]))
    }
    #expect(whole[0..<65_521] != whole[65_521..<131_042])
  }
}
