// What became of a scenario, for people and for scripts.

import Forensics
import Foundation
import Lab

enum LabReport {
  static func tier(_ letter: String) -> Tier? {
    Tier.allCases.first { $0.letter == letter.uppercased() }
  }

  /// What it should be judged to be, where all is seen.
  static func verdicts(_ scenario: Scenario) -> [String] {
    let codes = scenario.expected(.none).map(\.truth[0].rawValue)
    var verdicts: [String] = []
    for code in codes where !verdicts.contains(code) { verdicts.append(code) }
    return verdicts.isEmpty ? ["nothing to record"] : verdicts
  }

  static func step(_ at: Double, _ words: String, _ style: Style) -> String {
    "\(style.dim(String(format: "%8.3f", at)))  \(words)"
  }

  static func heading(_ scenario: Scenario, _ tier: Tier, _ fix: Fix, _ style: Style) -> String {
    heading(scenario.name, scenario.title, tier, fix, style)
  }

  private static func heading(
    _ name: String, _ title: String, _ tier: Tier, _ fix: Fix, _ style: Style
  ) -> String {
    "\(style.bold(name)) \(title)  [\(tier.letter)\(fix == .none ? "" : ", " + fix.rawValue)]"
  }

  static func text(_ result: ScenarioResult, withSteps: Bool, _ style: Style) -> String {
    var lines: [String] = []
    if withSteps || result.steps.isEmpty {
      lines.append(heading(result.name, result.title, result.tier, result.fix, style))
      lines += result.steps.map { step($0.at, $0.words, style) }
    }
    let found = result.found.map { record in
      "\(record.code) \(hundredths(record.confidence))"
        + (record.outcome.map { ", download \($0)" } ?? "")
    }
    let count = max(1, max(result.expected.count, found.count))
    let width = result.expected.map(\.count).max() ?? 0
    for index in 0..<count {
      let left = index < result.expected.count ? result.expected[index] : "no record"
      let right = index < found.count ? found[index] : "no record"
      let padding = String(repeating: " ", count: max(0, width - left.count))
      lines.append("  \(style.dim("expected")) \(left)\(padding)  \(style.dim("found")) \(right)")
    }
    if let failure = result.failure {
      lines.append("  \(style.bad("not played to its end")): \(failure)")
    }
    lines += result.mismatches.map { "  \(style.bad("wrong")) \($0)" }
    var last = result.isAsExpected ? style.good("as expected") : style.bad("not as expected")
    if let time = result.faultToRecord { last += ", recorded after \(milliseconds(time))" }
    if let time = result.faultToResumption { last += ", went on after \(milliseconds(time))" }
    lines.append("  \(last)")
    // Without a directory of its own they are gone by now.
    if let directory = result.directory {
      for capture in result.found.compactMap(\.capture) { lines.append("  packets: \(capture)") }
      lines.append("  files: \(directory)")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func milliseconds(_ seconds: Double) -> String {
    String(format: seconds < 0.1 ? "%.1f ms" : "%.0f ms", seconds * 1000)
  }

  static func json(_ result: ScenarioResult) -> String {
    var object: [String: Any] = [
      "scenario": result.name, "title": result.title, "tier": result.tier.letter,
      "fix": result.fix.rawValue, "as_expected": result.isAsExpected,
      "steps": result.steps.map { ["at": $0.at, "words": $0.words] as [String: Any] },
      "expected": result.expected, "wrong": result.mismatches,
      "found": result.found.map { record in
        [
          "id": record.id, "side": record.side, "phase": record.phase, "means": record.means,
          "code": record.code, "confidence": Double(record.confidence) / 100, "also": record.also,
          "for": record.reasons, "against": record.doubts, "outcome": record.outcome ?? NSNull(),
        ] as [String: Any]
      },
    ]
    if let failure = result.failure { object["failure"] = failure }
    if let time = result.faultToRecord { object["fault_to_record_seconds"] = time }
    if let time = result.faultToResumption { object["fault_to_resumption_seconds"] = time }
    if let directory = result.directory { object["directory"] = directory }
    let data = try? JSONSerialization.data(withJSONObject: object, options: [.sortedKeys])
    return data.map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }
}
