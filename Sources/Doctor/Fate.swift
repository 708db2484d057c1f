// What becomes of a segment on its way through the base chains of some hooks, told by the rules alone. Where a rule matches
// sometimes, both ways are gone.

/// Where in the rules a decision is made.
package struct RulePlace: Hashable, Sendable, CustomStringConvertible {
  package var table: String
  package var chain: String
  package var rule: String

  package var description: String { "\(table) \(chain): \(rule)" }
}

package enum Fate: Sendable, Equatable {
  /// No way leads through.
  case dropped(by: RulePlace)
  /// Nothing looks for it.
  case passes
  /// There is a rule against it, which does not meet every such segment, or not before another rule.
  case depends(drop: RulePlace, pass: RulePlace?)
  /// It is answered with a reset, which does the harm that it should prevent.
  case reset(by: RulePlace)
}

extension Ruleset {
  /// What becomes of strays at these hooks, met in this order.
  /// - Parameter ports: those to which they go, in this machine; all if they go elsewhere.
  package func fate(at hooks: [Hook], ports: ClosedRange<Int> = Ports.all) -> Fate {
    fate(of: .stray, at: hooks, ports)
  }

  /// What becomes of the resets that this machine sends from these ports.
  package func fate(ofResetsFrom ports: ClosedRange<Int>) -> Fate {
    // Each stretch between the bounds that rules name is asked about by itself: a shield for some ports is none for others.
    var bounds: Set<Int> = []
    for base in [Hook.output, .postrouting].flatMap(baseChains) where base.kind != .nat {
      visitAll(from: base) { rule in
        for range in rule.sourcePorts.flatMap(\.ranges) {
          for bound in [range.lowerBound, range.upperBound + 1]
          where bound > ports.lowerBound && bound <= ports.upperBound {
            bounds.insert(bound)
          }
        }
      }
    }
    let starts = bounds.count > Self.mostStretches ? [] : bounds.sorted()
    var fates: [Fate] = []
    for (start, next) in zip([ports.lowerBound] + starts, starts + [ports.upperBound + 1]) {
      fates.append(fate(of: .reset, at: [.output, .postrouting], start...next - 1))
    }
    func isDropped(_ fate: Fate) -> Bool { if case .dropped = fate { true } else { false } }
    if fates.contains(.passes) { return .passes }
    return fates.first { !isDropped($0) } ?? fates.first ?? .passes
  }

  /// With more, rules for some ports match sometimes.
  private static let mostStretches = 100

  private func visitAll(from base: Chain, _ body: (Rule) -> Void) {
    var seen: Set<ChainID> = []
    var waiting = [base]
    while let chain = waiting.popLast() {
      guard seen.insert(chain.id).inserted else { continue }
      for rule in chain.rules {
        body(rule)
        if let target = target(of: rule, in: chain) { waiting.append(target) }
      }
    }
  }

  private func fate(of segment: Segment, at hooks: [Hook], _ ports: ClosedRange<Int>) -> Fate {
    var walk = Walk(rules: self, segment: segment, ports: ports)
    var doubt: Fate?
    var perhapsReset: RulePlace?
    for hook in hooks {
      for chain in baseChains(at: hook) {
        // Chains for translation are asked about new connections only.
        if chain.kind == .nat { continue }
        // Connection tracking looks at -200: before, a stray has no state.
        if segment == .stray, hook == .prerouting || hook == .output, chain.priority <= -200 {
          continue
        }
        let outcome = walk.follow(base: chain)
        if outcome.ways == [.drop], let place = outcome.plainPlace {
          return perhapsReset.map { .depends(drop: place, pass: $0) } ?? .dropped(by: place)
        }
        if outcome.ways.contains(.reset), perhapsReset == nil {
          perhapsReset = outcome.places[.reset]
        }
        let pass = outcome.places[.accept] ?? outcome.places[.reset]
        if outcome.plain == .drop, let place = outcome.plainPlace {
          doubt = doubt ?? .depends(drop: place, pass: pass)
        } else if let place = outcome.aimedDrop {
          doubt = doubt ?? .depends(drop: place, pass: pass)
        } else if outcome.plain == .reset, let place = outcome.plainPlace {
          return doubt ?? .reset(by: place)
        }
      }
    }
    return doubt ?? .passes
  }
}

/// A segment's walk through the chains of a ruleset.
private struct Walk {
  struct Ways: OptionSet, Hashable {
    let rawValue: Int
    static let accept = Ways(rawValue: 1)
    static let drop = Ways(rawValue: 2)
    static let reset = Ways(rawValue: 4)
    /// Off the end of the chain, or back from it.
    static let end = Ways(rawValue: 8)
  }

  struct Outcome {
    /// All that may become of it.
    var ways: Ways = []
    /// What becomes of it if no rule that matches sometimes matches, and where; one of the ways.
    var plain = Ways.end
    var plainPlace: RulePlace?
    /// The first place of each kind.
    var places: [Ways: RulePlace] = [:]
    /// A drop that is there because of what the segment is.
    var aimedDrop: RulePlace?

    /// Notes what an action does.
    mutating func add(_ way: Ways, at place: RulePlace) {
      ways.insert(way)
      if places[way] == nil { places[way] = place }
    }

    /// Decided by one rule.
    static func decided(_ way: Ways, at place: RulePlace) -> Outcome {
      var outcome = Outcome()
      outcome.add(way, at: place)
      outcome.plain = way
      outcome.plainPlace = place
      return outcome
    }

    static var back: Outcome { Outcome(ways: .end) }
  }

  let rules: Ruleset
  let segment: Segment
  let ports: ClosedRange<Int>
  private var known: [ChainID: Outcome] = [:]

  init(rules: Ruleset, segment: Segment, ports: ClosedRange<Int>) {
    self.rules = rules
    self.segment = segment
    self.ports = ports
  }

  /// A base chain, with its policy.
  mutating func follow(base chain: Chain) -> Outcome {
    var outcome = follow(chain)
    guard outcome.ways.contains(.end) else { return outcome }
    outcome.ways.remove(.end)
    let policy: Ways = chain.policyDrops ? .drop : .accept
    outcome.ways.insert(policy)
    let place = RulePlace(table: chain.id.table, chain: chain.id.name, rule: "policy drop")
    if chain.policyDrops, outcome.places[.drop] == nil { outcome.places[.drop] = place }
    if outcome.plain == .end {
      outcome.plain = policy
      outcome.plainPlace = place
    }
    return outcome
  }

  private mutating func follow(_ chain: Chain) -> Outcome {
    if let outcome = known[chain.id] { return outcome }
    // No kernel takes chains that lead back to themselves; text may have them.
    known[chain.id] = .back
    var outcome = Outcome()
    var isDecided = false
    var goesOn = true
    for rule in chain.rules {
      let match = rule.match(segment, ports: ports)
      if match == .never { continue }
      let step = follow(rule, in: chain)
      outcome.ways.formUnion(step.ways.subtracting(.end))
      outcome.places.merge(step.places) { first, _ in first }
      if outcome.aimedDrop == nil {
        outcome.aimedDrop = step.aimedDrop ?? (rule.isAbout(segment) ? step.places[.drop] : nil)
      }
      let leaves = rule.action.leavesChain
      if leaves, step.ways.contains(.end) { outcome.ways.insert(.end) }
      guard match == .always else { continue }
      if !isDecided, leaves || step.plain != .end {
        isDecided = true
        outcome.plain = step.plain
        outcome.plainPlace = step.plainPlace
      }
      if leaves || !step.ways.contains(.end) {
        goesOn = false
        break
      }
    }
    if goesOn { outcome.ways.insert(.end) }
    known[chain.id] = outcome
    return outcome
  }

  private mutating func follow(_ rule: Rule, in chain: Chain) -> Outcome {
    let place = RulePlace(table: chain.id.table, chain: chain.id.name, rule: rule.text)
    switch rule.action {
    case .accept: return .decided(.accept, at: place)
    case .drop, .reject(withReset: false): return .decided(.drop, at: place)
    case .reject(let withReset):
      // A reset draws none.
      if segment == .reset { return .decided(.drop, at: place) }
      var outcome = Outcome.decided(.reset, at: place)
      if withReset == nil {
        outcome.add(.drop, at: place)
        outcome.plain = .drop
      }
      return outcome
    case .queue:
      var outcome = Outcome.decided(.drop, at: place)
      outcome.add(.accept, at: place)
      return outcome
    case .jump, .goto:
      if let target = rules.target(of: rule, in: chain) { return follow(target) }
      // An extension that is not known by name, and may do anything.
      var outcome = Outcome.back
      outcome.add(.accept, at: place)
      return outcome
    case .leave, .destinationNAT, .sourceNAT, .mapping, .redirect, .untrack, .proceed:
      return .back
    }
  }
}

extension RuleAction {
  /// Whether the end that it leads to is that of this chain too.
  fileprivate var leavesChain: Bool {
    switch self {
    case .leave, .goto: true
    default: false
    }
  }
}
