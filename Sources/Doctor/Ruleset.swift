// The firewall's rules as one value, whoever wrote them: iptables of either make, or nftables. Of each rule only what
// matters to a stray is kept: a TCP segment that carries ACK and that connection tracking calls INVALID. What cannot be
// said of such a segment in general (an address, an interface) matches `sometimes`.

/// Where in the kernel a base chain hangs.
package enum Hook: String, Sendable, CaseIterable {
  case prerouting, input, forward, output, postrouting
}

/// Rules of IPv4 and of IPv6 are apart, and so are faults in them.
package enum Family: String, Sendable, CaseIterable {
  case v4 = "IPv4"
  case v6 = "IPv6"
}

package enum RuleMatch: Sendable, Equatable {
  case never, sometimes, always
}

package indirect enum RuleAction: Sendable, Equatable {
  case accept, drop
  /// With a reset, or with ICMP.
  case reject(withReset: Bool)
  /// To a chain of the same table; comes back unless the chain decides.
  case jump(String)
  case goto(String)
  case leave
  case destinationNAT(String)
  case sourceNAT(String)
  case redirect
  case untrack
  /// One of several, by an address, a port or chance.
  case choose([RuleAction])
  /// Counts, marks, logs; the next rule follows.
  case proceed
}

package struct Rule: Sendable, Equatable {
  package var match = RuleMatch.always
  /// Asks for the state of the connection, and INVALID fits.
  package var asksForInvalid = false
  package var action = RuleAction.proceed
  /// Drops resets without ACK, whatever their address, from these ports: the shield.
  package var shieldedPorts: ClosedRange<Int>?
  /// The rule as its tool prints it, or the gist of it.
  package var text: String
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

  /// Calls `body` with each rule that can be reached from the hook, whatever its match, and the chain it is in.
  package func visit(from hook: Hook, _ body: (Chain, Rule) -> Void) {
    var seen: Set<ChainID> = []
    var waiting = baseChains(at: hook)
    while let chain = waiting.popLast() {
      guard seen.insert(chain.id).inserted else { continue }
      for rule in chain.rules {
        body(chain, rule)
        for name in rule.action.targets {
          if let target = chains[ChainID(table: chain.id.table, name: name)] {
            waiting.append(target)
          }
        }
      }
    }
  }
}

extension RuleAction {
  /// The chains it may lead to.
  package var targets: [String] {
    switch self {
    case .jump(let name), .goto(let name): [name]
    case .choose(let actions): actions.flatMap(\.targets)
    default: []
    }
  }

  /// The action, or those of which it may be one.
  package var leaves: [RuleAction] {
    if case .choose(let actions) = self { actions.flatMap(\.leaves) } else { [self] }
  }
}
