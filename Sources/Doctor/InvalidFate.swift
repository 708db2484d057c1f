// What becomes of an INVALID segment on its way through the base chains of some hooks, told by the rules alone: it is walked
// through them as a segment of which nothing is known but that it is TCP, carries ACK and is INVALID. Where a rule matches
// sometimes, both ways are gone.

/// Where a decision is made.
package struct RulePlace: Hashable, Sendable, CustomStringConvertible {
  package var table: String
  package var chain: String
  package var rule: String

  package var description: String { "\(table) \(chain): \(rule)" }
}

package enum InvalidFate: Sendable, Equatable {
  /// No way leads through.
  case dropped(by: RulePlace)
  /// Nothing looks for it.
  case passes
  /// There is a rule against it, which does not meet every such segment.
  case depends(drop: RulePlace, pass: RulePlace?)
  /// It is answered with a reset, which does the harm that it should prevent.
  case reset(by: RulePlace)
}

extension Ruleset {
  /// What becomes of an INVALID segment at these hooks, met in this order.
  package func fate(at hooks: [Hook]) -> InvalidFate {
    var walker = InvalidWalk(self)
    var doubt: InvalidFate?
    for hook in hooks {
      for chain in baseChains(at: hook) {
        // Chains for translation are asked about new connections only; connection tracking looks at -200.
        if chain.kind == .nat || (hook == .prerouting || hook == .output) && chain.priority <= -200
        {
          continue
        }
        var way = walker.walk(chain.id)
        if way.ways.contains(.end) {
          way.ways.remove(.end)
          way.ways.insert(chain.policyDrops ? .drop : .accept)
          if chain.policyDrops, way.drop == nil {
            way.drop = RulePlace(
              table: chain.id.table, chain: chain.id.name, rule: "policy drop")
          }
        }
        if way.ways.contains(.reset), let place = way.reset { return .reset(by: place) }
        if way.ways == [.drop], let place = way.drop { return .dropped(by: place) }
        if doubt == nil, let place = way.stateDrop { doubt = .depends(drop: place, pass: way.pass) }
      }
    }
    return doubt ?? .passes
  }
}

private struct InvalidWalk {
  struct Ways: OptionSet {
    let rawValue: Int
    static let accept = Ways(rawValue: 1)
    static let drop = Ways(rawValue: 2)
    static let reset = Ways(rawValue: 4)
    /// Off the end of the chain, or back from it.
    static let end = Ways(rawValue: 8)
  }

  struct Outcome {
    var ways: Ways = []
    var drop: RulePlace?
    /// A drop that is there because of the state.
    var stateDrop: RulePlace?
    var pass: RulePlace?
    var reset: RulePlace?
  }

  private let rules: Ruleset
  private var known: [ChainID: Outcome] = [:]
  init(_ rules: Ruleset) { self.rules = rules }

  mutating func walk(_ id: ChainID) -> Outcome {
    if let outcome = known[id] { return outcome }
    // No kernel takes chains that lead back to themselves; text may have them.
    known[id] = Outcome(ways: .end)
    guard let chain = rules[id] else { return Outcome(ways: .end) }
    var outcome = Outcome()
    var goesOn = true
    for rule in chain.rules where rule.match != .never {
      let place = RulePlace(table: id.table, chain: id.name, rule: rule.text)
      var ways: Ways = []
      for action in rule.action.leaves {
        ways.formUnion(follow(action, rule, place, chain, &outcome))
      }
      // What may not match may also go on; so may what does nothing.
      let proceeds = ways.contains(.end) && !leaves(rule.action)
      outcome.ways.formUnion(ways.subtracting(.end))
      if ways.contains(.end), leaves(rule.action) { outcome.ways.insert(.end) }
      if rule.match == .always, !proceeds, !isChoice(rule.action) {
        goesOn = false
        break
      }
    }
    if goesOn { outcome.ways.insert(.end) }
    known[id] = outcome
    return outcome
  }

  /// A choice may have nothing for a segment, which then goes on.
  private func isChoice(_ action: RuleAction) -> Bool {
    if case .choose = action { true } else { false }
  }

  /// Whether the end that it leads to is that of this chain too.
  private func leaves(_ action: RuleAction) -> Bool {
    switch action {
    case .leave, .goto: true
    case .choose(let actions): actions.allSatisfy(leaves)
    default: false
    }
  }

  private mutating func follow(
    _ action: RuleAction, _ rule: Rule, _ place: RulePlace, _ chain: Chain,
    _ outcome: inout Outcome
  ) -> Ways {
    switch action {
    case .accept:
      if outcome.pass == nil { outcome.pass = place }
      return .accept
    case .drop, .reject(withReset: false):
      if outcome.drop == nil { outcome.drop = place }
      if rule.asksForInvalid, outcome.stateDrop == nil { outcome.stateDrop = place }
      return .drop
    case .reject(withReset: true):
      // One that would meet other segments as well is about something else.
      guard rule.asksForInvalid || rule.match == .always else { return .drop }
      if outcome.reset == nil { outcome.reset = place }
      return .reset
    case .jump(let name), .goto(let name):
      let inner = walk(ChainID(table: chain.id.table, name: name))
      if outcome.drop == nil { outcome.drop = inner.drop }
      if outcome.pass == nil { outcome.pass = inner.pass }
      if outcome.reset == nil { outcome.reset = inner.reset }
      if outcome.stateDrop == nil {
        outcome.stateDrop = inner.stateDrop ?? (rule.asksForInvalid ? inner.drop : nil)
      }
      return inner.ways
    case .leave: return .end
    case .destinationNAT, .sourceNAT, .redirect, .untrack, .proceed, .choose: return .end
    }
  }
}
