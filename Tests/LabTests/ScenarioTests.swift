// The lab's scenarios as tests: real sockets, real netfilter, and what the proxy says of them.

import Forensics
import Foundation
import Glibc
import Testing

@testable import Lab

@Suite(
  "Lab", .serialized, .timeLimit(.minutes(10)),
  .enabled(if: Requirements.obstacle == nil, Labels.obstacle))
struct ScenarioTests {
  @Test("every scenario ends as it should", arguments: Tier.allCases)
  func scenarios(tier: Tier) async throws {
    try await play(Scenario.all.filter { $0.needs() == nil }.map { ($0, tier) })
  }

  @Test("with a cure nothing breaks", arguments: Fix.allCases.filter { $0 != .none })
  func cures(fix: Fix) async throws {
    try await play(
      Scenario.all.filter { $0.fixes.contains(fix) }.map { ($0, .sockets) }, fix: fix)
  }

  @Test(
    "tshark opens the captures, and shows the verdict and what the reset was",
    .enabled(if: Requirements.has("tshark"), "there is no tshark: apt-get install tshark"))
  func captures() async throws {
    let names = ["L03", "L10", "L10v6", "L12", "L16"]
    let results = try await results(
      names.compactMap { Scenario.named($0) }.map { ($0, .packets) }, keeps: true)
    #expect(results.count == names.count)
    for result in results {
      let directory = try #require(result.directory)
      defer { _ = try? Shell.run("rm -rf '\(directory)'") }
      #expect(result.isAsExpected, "\(Labels.story(result))")
      for record in result.found {
        let capture = try #require(record.capture, "\(result.name)")
        let shown = try Shell.run("tshark -r '\(capture)' -V 2>&1")
        #expect(shown.contains("Packet comments"), "\(result.name)")
        #expect(shown.contains(record.code), "\(result.name)")
        // A reset is among the packets, and what it was stands with it.
        let resets = try Shell.run(
          "tshark -r '\(capture)' -Y 'tcp.flags.reset == 1 && frame.comment' -T fields -e frame.comment 2>&1"
        )
        #expect(resets.contains("reset") || resets.contains("kernel"), "\(result.name): \(resets)")
      }
    }
  }

  private func play(_ plays: [(Scenario, Tier)], fix: Fix = .none) async throws {
    for result in try await results(plays, fix: fix).sorted(by: { $0.name < $1.name }) {
      #expect(result.isAsExpected, "\(Labels.story(result))")
      for record in result.found { expectMeasures(record, of: result) }
      if fix == .none { print(Labels.times(result)) }
    }
  }

  /// What is measured of every ending, whatever its cause.
  private func expectMeasures(_ record: LabRecord, of result: ScenarioResult) {
    let place = "\(result.name): \(record.side) \(record.phase) \(record.means)"
    if record.phase != "connect" {
      let state = record.facts["tcp_info.state"].flatMap { Int($0) }
      #expect(state.map { (1...12).contains($0) } == true, "\(place): TCP_INFO")
    }
    if record.phase == "content" {
      #expect(record.received.map { $0 >= 0 } == true, "\(place): bytes received")
    }
  }

  private func results(_ plays: [(Scenario, Tier)], fix: Fix = .none, keeps: Bool = false)
    async throws -> [ScenarioResult]
  {
    let runner = LabRunner(program: try Labels.program(), keeps: keeps)
    return try await withCheckedThrowingContinuation { continuation in
      // A thread of its own: it waits, and tasks must not.
      let thread = Thread {
        let results = Results()
        continuation.resume(
          with: Result {
            try runner.playAll(plays, fix: fix, atOnce: 4) { _, result in results.add(result) }
            return results.all
          })
      }
      thread.start()
    }
  }
}

enum Labels {
  static let obstacle = Comment(rawValue: Requirements.obstacle ?? "")

  /// Beside the tests, unless it is named.
  static func program() throws -> String {
    if let path = ProcessInfo.processInfo.environment["HOLDFAST_EXECUTABLE"] { return path }
    let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent(
      "holdfast"
    ).path
  }

  static func story(_ result: ScenarioResult) -> String {
    var lines = ["\(result.name) at \(result.tier.letter): \(result.title)"]
    lines += result.steps.map { String(format: "  %6.3f  ", $0.at) + $0.words }
    if let failure = result.failure { lines.append("  failed: \(failure)") }
    lines += result.mismatches.map { "  wrong: \($0)" }
    for record in result.found {
      lines.append(
        "  found: \(record.side) \(record.phase) \(record.means) \(record.code) \(hundredths(record.confidence)) also \(record.also)"
      )
      for (name, value) in record.facts.sorted(by: { $0.key < $1.key }) {
        lines.append("    \(name) \(value)")
      }
    }
    return lines.joined(separator: "\n")
  }

  static func times(_ result: ScenarioResult) -> String {
    func milliseconds(_ seconds: Double?) -> String {
      seconds.map { String(format: "%.1f ms", $0 * 1000) } ?? "-"
    }
    return
      "lab \(result.name) \(result.tier.letter): fault to record \(milliseconds(result.faultToRecord)), to resumption \(milliseconds(result.faultToResumption))"
  }
}

private final class Results: @unchecked Sendable {
  private let lock = NSLock()
  private var results: [ScenarioResult] = []

  func add(_ result: ScenarioResult) { lock.withLock { results.append(result) } }
  var all: [ScenarioResult] { lock.withLock { results } }
}
