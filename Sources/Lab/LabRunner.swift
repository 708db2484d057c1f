// Plays a scenario: machines up, holdfast started, the story told, records awaited and compared, all taken down again.

import Forensics
import Platform
import Synchronization

/// What became of a scenario.
package struct ScenarioResult: Sendable {
  package let name: String
  package let title: String
  package let tier: Tier
  package let fix: Fix
  /// What happened, and when, in seconds since the story began.
  package var steps: [(at: Double, words: String)] = []
  package var expected: [String] = []
  package var found: [LabRecord] = []
  package var mismatches: [String] = []
  /// Why it could not be played to its end.
  package var failure: String?
  /// Seconds.
  package var faultToRecord: Double?
  package var faultToResumption: Double?
  /// What is left of it, when it was asked for.
  package var directory: String?

  package var isAsExpected: Bool { mismatches.isEmpty && failure == nil }
}

package struct LabRunner: Sendable {
  /// The program under test.
  package let program: String
  /// Leaves the files of each run where they are.
  package var keeps = false

  package init(program: String, keeps: Bool = false) {
    self.program = program
    self.keeps = keeps
  }

  /// What the proxy is told of sensors at a tier: as in the YAML of `resets`. The table of connections is the node's.
  static func sensors(_ tier: Tier, _ node: Host) -> String {
    switch tier {
    case .sockets: "sensors: off, kernel: off"
    case .counters: "sensors: off, kernel: counters"
    case .packets: "sensors: full, kernel: off"
    case .kernel: "sensors: full, kernel: auto, namespace: \(node.path)"
    }
  }

  /// - Parameter told: hears of each step as it happens.
  package func play(
    _ scenario: Scenario, tier: Tier, fix: Fix = .none,
    told: @escaping @Sendable (Double, String) -> Void = { _, _ in }
  ) -> ScenarioResult {
    var result = ScenarioResult(
      name: scenario.name, title: scenario.title, tier: tier, fix: fix)
    let expected = scenario.expected(fix).filter { $0.tiers.contains(tier) }
    result.expected = expected.map { $0.description(at: tier) }
    do {
      try play(scenario, tier, fix, expected, told, &result)
    } catch {
      result.failure = "\(error)"
    }
    // Of a story that was broken off nobody needs to hear.
    Interruption.guarding {}
    return result
  }

  private func play(
    _ scenario: Scenario, _ tier: Tier, _ fix: Fix, _ expected: [Expectation],
    _ told: @escaping @Sendable (Double, String) -> Void, _ result: inout ScenarioResult
  ) throws {
    let run = try LabRun()
    defer { if keeps { run.keep() } else { run.remove() } }
    if keeps { result.directory = run.directory }
    let network = try Network(scenario.topology, of: run)
    try fix.apply(to: network)
    let proxy = try ProxyUnderTest(
      program: program, on: try network[.proxy], directory: run.directory,
      options: scenario.options, sensors: Self.sensors(tier, try network[.node]))
    let begin = Stage.now
    var steps: [(at: Double, words: String)] = []
    let stage = Stage(network: network, fix: fix, tier: tier, proxy: proxy) { words in
      let at = Stage.now - begin
      steps.append((at, words))
      told(at, words)
    }
    defer { result.steps = steps }
    do {
      try scenario.story(stage)
      try proxy.waitForFinal(expected.count)
    } catch {
      result.failure = "\(error)"
    }
    // What else it has to say it says now.
    try proxy.stop()
    let found = proxy.records()
    result.found = found
    result.mismatches += stage.complaints
    result.mismatches += Self.compare(expected, found, at: tier)
    if let fault = stage.faultTime, let first = found.first {
      result.faultToRecord = first.time - fault
      result.faultToResumption = first.after.map { first.time - fault + $0 }
    }
  }

  static func compare(_ expected: [Expectation], _ found: [LabRecord], at tier: Tier) -> [String] {
    var mismatches: [String] = []
    for (index, expectation) in expected.enumerated() {
      let name = expected.count > 1 ? "record \(index + 1): " : ""
      guard index < found.count else {
        mismatches.append("\(name)missing: \(expectation.description(at: tier))")
        continue
      }
      mismatches += expectation.mismatches(found[index], at: tier).map { name + $0 }
    }
    for record in found.dropFirst(expected.count) {
      mismatches.append(
        "not expected: \(record.side) \(record.phase) \(record.means), \(record.code) \(hundredths(record.confidence))"
      )
    }
    return mismatches
  }

  /// Plays several at a time: most of the time all that they do is wait.
  /// - Parameter done: hears of each result, in any order, one at a time.
  package func playAll(
    _ plays: [(Scenario, Tier)], fix: Fix, atOnce: Int,
    told: @escaping @Sendable (Int, Double, String) -> Void = { _, _, _ in },
    done: @escaping @Sendable (Int, ScenarioResult) -> Void
  ) throws {
    let next = Mutex(0)
    var threads: [WorkerThread] = []
    for number in 0..<max(1, min(atOnce, plays.count)) {
      threads.append(
        try WorkerThread.start(name: "lab-\(number)") {
          while true {
            let index = next.withLock { next in
              defer { next += 1 }
              return next
            }
            guard index < plays.count else { return }
            let (scenario, tier) = plays[index]
            let result = play(scenario, tier: tier, fix: fix) { told(index, $0, $1) }
            done(index, result)
          }
        })
    }
    for thread in threads { thread.join() }
  }
}
