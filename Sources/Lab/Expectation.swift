// What a scenario expects of the records, and how what was found compares with it.

import Forensics
import Telemetry

/// One record that has to be there.
package struct Expectation: Sendable {
  /// What must be judged at a tier, and how sure at least, in hundredths.
  package struct Judgement: Sendable {
    let causes: [Cause]
    let atLeast: Int
    let atMost: Int
  }

  /// Why it really ended. Nothing else may be claimed with 80 or more.
  package let truth: [Cause]
  private(set) var judgements: [Tier: Judgement] = [:]
  private(set) var facts: [(name: String, value: String)] = []
  private(set) var tierFacts: [Tier: [(name: String, value: String)]] = [:]
  /// At these tiers only.
  private(set) var tiers: Set<Tier> = Set(Tier.allCases)

  /// - Parameter others: what it may be said to be as well.
  package init(
    _ truth: Cause, _ phase: Phase, _ means: Means, side: Side = .upstream, or others: Cause...
  ) {
    self.truth = [truth] + others
    facts = [("side", "\(side)"), ("phase", "\(phase)"), ("means", "\(means)")]
  }

  /// One of several phases, for what happens in between.
  package func inPhase(_ phases: Phase...) -> Expectation {
    var copy = self
    copy.facts[1].value = phases.map { "\($0)" }.joined(separator: "|")
    return copy
  }

  /// By one of several means: without packets something else is noticed first.
  package func by(_ means: Means..., at tier: Tier) -> Expectation {
    var copy = self
    copy.facts.removeAll { $0.name == "means" }
    return copy.having("means", means.map { "\($0)" }.joined(separator: "|"), from: tier)
  }

  /// At this tier and above, until said otherwise.
  /// - Parameter causes: one of them; the truth, if none is named.
  package func judged(
    _ tier: Tier, _ causes: Cause..., atLeast: Int = 0, atMost: Int = 99
  ) -> Expectation {
    var copy = self
    copy.judgements[tier] = Judgement(
      causes: causes.isEmpty ? truth : causes, atLeast: atLeast, atMost: atMost)
    return copy
  }

  package func having(_ name: String, _ value: String) -> Expectation {
    var copy = self
    copy.facts.append((name, value))
    return copy
  }

  /// A fact that only sensors of this tier tell, and of those above.
  package func having(_ name: String, _ value: String, from tier: Tier) -> Expectation {
    var copy = self
    copy.tierFacts[tier, default: []].append((name, value))
    return copy
  }

  package func only(_ tiers: Tier...) -> Expectation {
    var copy = self
    copy.tiers = Set(tiers)
    return copy
  }

  func judgement(at tier: Tier) -> Judgement? {
    judgements.filter { $0.key <= tier }.max { $0.key < $1.key }?.value
  }

  /// In words: `origin-aborted 0.90 or more; side upstream`.
  func description(at tier: Tier) -> String {
    var words: [String] = []
    if let judgement = judgement(at: tier) {
      words.append(judgement.causes.map(\.rawValue).joined(separator: " or "))
      if judgement.atLeast > 0 { words.append("≥ \(hundredths(judgement.atLeast))") }
      if judgement.atMost < 99 { words.append("≤ \(hundredths(judgement.atMost))") }
    } else {
      words.append(truth.map(\.rawValue).joined(separator: " or ") + " at any confidence")
    }
    return words.joined(separator: " ")
  }

  /// What does not fit.
  func mismatches(_ record: LabRecord, at tier: Tier) -> [String] {
    var mismatches: [String] = []
    if let judgement = judgement(at: tier) {
      let isCause =
        judgement.causes.contains { $0.rawValue == record.code }
        || record.confidence < 80 && judgement.atLeast == 0
          && judgement.causes.contains { record.also.contains($0.rawValue) }
      if !isCause {
        mismatches.append(
          "\(record.code) \(hundredths(record.confidence)) instead of \(judgement.causes.map(\.rawValue).joined(separator: " or "))"
        )
      }
      if record.confidence < judgement.atLeast {
        mismatches.append(
          "\(hundredths(record.confidence)) sure instead of \(hundredths(judgement.atLeast))")
      }
      if record.confidence > judgement.atMost {
        mismatches.append(
          "\(hundredths(record.confidence)) sure, at most \(hundredths(judgement.atMost)) is right")
      }
    }
    if record.confidence >= 80, !truth.contains(where: { $0.rawValue == record.code }) {
      mismatches.append("\(record.code) is wrong, at \(hundredths(record.confidence))")
    }
    // Of what is said of a name for several tiers the highest holds.
    var atTier: [String: String] = [:]
    for (_, facts) in tierFacts.filter({ $0.key <= tier }).sorted(by: { $0.key < $1.key }) {
      for (name, value) in facts { atTier[name] = value }
    }
    let expected = facts + atTier.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    for (name, value) in expected {
      let found = record.facts[name] ?? "nothing"
      let fits = value.split(separator: "|").contains { $0 == found }
      if !fits { mismatches.append("\(name) is \(found) instead of \(value)") }
    }
    return mismatches
  }
}

/// `0.95`
package func hundredths(_ value: Int) -> String {
  "0." + (value < 10 ? "0" : "") + "\(value)"
}
