// The firewall's rules as one value, whoever wrote them: iptables of either make, or nftables. Of each rule only that is
// kept which matters to the segments that are asked about (`Segment`). What cannot be said of such a segment in general (an
// address, an interface) matches `sometimes`.

/// Where in the kernel a base chain hangs.
package enum Hook: String, Sendable, CaseIterable {
  case prerouting, input, forward, output, postrouting
}

/// Rules of IPv4 and of IPv6 are apart, and so are faults in them.
package enum Family: String, Sendable, CaseIterable {
  case v4 = "IPv4"
  case v6 = "IPv6"
}

package enum RuleAction: Sendable, Equatable {
  case accept, drop
  /// With a reset, or with ICMP; nil where it is not told which.
  case reject(withReset: Bool?)
  /// To a chain of the same table; comes back unless the chain decides.
  case jump(String)
  case goto(String)
  case leave
  case destinationNAT(String)
  /// - choosesPorts: whether the rule says which ports are given.
  case sourceNAT(choosesPorts: Bool)
  /// The addresses of one network for those of another: those that packets go to, or come from, as the hook has it.
  case mapping(String)
  case redirect
  case untrack
  /// To a program, which lets it go on or not.
  case queue
  /// Counts, marks, logs; the next rule follows.
  case proceed

  /// The chain it leads to.
  package var target: String? {
    switch self {
    case .jump(let name), .goto(let name): name
    default: nil
    }
  }
}

package struct Rule: Sendable, Equatable {
  /// Whatever the ports are.
  package var matches = Matches.always
  /// The local ports of a stray (to which it goes) and of a reset (from which it comes), as far as the rule asks for them.
  package var destinationPorts: [Ports] = []
  package var sourcePorts: [Ports] = []
  /// Asks for the state of the connection, and INVALID fits.
  package var asksForInvalid = false
  /// Asks for the flags, and those of a reset without ACK fit: the shield.
  package var asksForReset = false
  /// Asks only for what all segments of one direction of a connection have in common.
  package var isSteady = true
  package var action = RuleAction.proceed
  /// The rule as its tool prints it, or the gist of it.
  package var text: String

  /// - Parameter ports: those of which a segment's own, on this machine, is one.
  func match(_ segment: Segment, ports: ClosedRange<Int>) -> RuleMatch {
    let asked =
      switch segment {
      case .stray: destinationPorts
      case .reset: sourcePorts
      case .first: [Ports]()
      }
    return asked.reduce(matches[segment]) { $0.and($1.match(ports)) }
  }

  /// Whether it is there for the sake of such segments.
  func isAbout(_ segment: Segment) -> Bool {
    asksForInvalid || segment == .reset && asksForReset
  }
}

package struct ChainID: Hashable, Sendable {
  /// Its tool, and the table: `iptables-nft filter`, `nft ip kube-proxy`.
  package var table: String
  package var name: String
}

package struct Chain: Sendable {
  package enum Kind: String, Sendable { case filter, nat, route }

  package let id: ChainID
  /// Nil for a chain that is only jumped to.
  package var hook: Hook?
  package var kind = Kind.filter
  package var priority = 0
  package var policyDrops = false
  /// Under which name the other chains of its table are kept, if another tool has told of them.
  package var otherTable: String?
  package var rules: [Rule] = []
}

/// Every chain of a family.
package struct Ruleset: Sendable {
  package private(set) var chains: [ChainID: Chain] = [:]
  /// In the order in which they were met, so that answers do not change from run to run.
  private var order: [ChainID] = []

  package init() {}

  package var isEmpty: Bool { chains.isEmpty }

  package subscript(_ id: ChainID) -> Chain? { chains[id] }

  package mutating func add(_ chain: Chain) {
    if chains[chain.id] == nil { order.append(chain.id) }
    chains[chain.id] = chain
  }

  package mutating func append(_ rule: Rule, to id: ChainID) {
    if chains[id] == nil { add(Chain(id: id)) }
    chains[id]?.rules.append(rule)
  }

  package mutating func merge(_ other: Ruleset) {
    for id in other.order { if let chain = other.chains[id] { add(chain) } }
  }

  /// The base chains of a hook, in the order in which packets meet them.
  package func baseChains(at hook: Hook) -> [Chain] {
    order.compactMap { chains[$0] }.filter { $0.hook == hook }.enumerated()
      .sorted { ($0.element.priority, $0.offset) < ($1.element.priority, $1.offset) }
      .map(\.element)
  }

  /// The chain that a rule leads to.
  package func target(of rule: Rule, in chain: Chain) -> Chain? {
    guard let name = rule.action.target else { return nil }
    return chains[ChainID(table: chain.id.table, name: name)]
      ?? chain.otherTable.flatMap { chains[ChainID(table: $0, name: name)] }
  }

  /// A rule that a first segment of a TCP connection may meet.
  package struct Visit {
    package var chain: Chain
    package var rule: Rule
    /// The base chain from which it was reached.
    package var base: Chain
    /// Whether all segments of one direction of a connection meet it, or none.
    package var isSteady: Bool

    package var place: RulePlace {
      RulePlace(table: chain.id.table, chain: chain.id.name, rule: rule.text)
    }
  }

  /// Calls `body` with each rule that can be reached from the hook by the first segment of a TCP connection, in no
  /// particular order, and more than once if it can be reached both ways: by each segment, and by some.
  package func visit(from hook: Hook, _ body: (Visit) -> Void) {
    for base in baseChains(at: hook) {
      var seen: [Bool: Set<ChainID>] = [:]
      var waiting = [(chain: base, isSteady: true)]
      while let (chain, isSteady) = waiting.popLast() {
        guard seen[isSteady, default: []].insert(chain.id).inserted else { continue }
        for rule in chain.rules where rule.matches.first != .never {
          let steady = isSteady && rule.isSteady
          body(Visit(chain: chain, rule: rule, base: base, isSteady: steady))
          if let target = target(of: rule, in: chain) { waiting.append((target, steady)) }
          // What follows is reached by nothing.
          if rule.matches.first == .always, rule.ends { break }
        }
      }
    }
  }
}

extension Rule {
  /// Whether nothing that it meets gets to the next rule of its chain.
  fileprivate var ends: Bool {
    switch action {
    case .accept, .drop, .reject, .goto, .leave, .destinationNAT, .sourceNAT, .mapping,
      .redirect:
      true
    case .jump, .untrack, .queue, .proceed: false
    }
  }
}
