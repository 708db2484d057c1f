// What a namespace translates, in one family: what the first segments of connections may meet in the chains for translation.

package struct Translation: Sendable, Equatable {
  /// What keeps back the resets that strays draw.
  package struct Shield: Sendable, Equatable {
    package var place: RulePlace
    package var ports: ClosedRange<Int>
  }

  package var destinations: [String] = []
  /// Tables in which that is done.
  package var tables: [String] = []
  package var forOthers = false
  package var forOwn = false
  package var masquerades = false
  package var redirects = false
  /// The ports that masqueraded connections may have here. The kernel leaves them theirs, or gives them one from 1024 on; a
  /// lower one only to a client that uses such itself.
  package var givenPorts = Ports.all
  /// A rule that leaves segments untracked (NOTRACK).
  package var untracks: RulePlace?
  /// One that leaves some of a connection's untracked, and others not.
  package var untracksSome: RulePlace?
  /// A rule in a chain for translation that does nobody knows what: an extension that is not known by name.
  package var unread: RulePlace?
  package var shield: Shield?

  package var isNone: Bool { !forOthers && !forOwn && !masquerades }
  /// Whether a rule translates anything, be it to this machine itself.
  package var translates: Bool { !isNone || redirects }

  /// - Parameter localPorts: those that own connections have.
  package init(_ rules: Ruleset, localPorts: ClosedRange<Int>) {
    var destinations: Set<String> = []
    var tables: Set<String> = []
    var choosesPorts = false
    for hook in [Hook.prerouting, .output] {
      var found = false
      rules.visit(from: hook) { visit in
        switch visit.rule.action {
        case .destinationNAT(let address), .mapping(let address):
          found = true
          tables.insert(visit.chain.id.table)
          if !address.isEmpty { destinations.insert(address) }
        case .redirect: redirects = true
        case .jump, .goto: note(unread: visit, rules)
        case .untrack:
          if untracks == nil { untracks = visit.place }
          // After connection tracking it takes a stray's state away, for which rules that follow may ask.
          if !visit.isSteady || visit.base.priority >= -200, untracksSome == nil {
            untracksSome = visit.place
          }
        default: break
        }
      }
      if found { if hook == .output { forOwn = true } else { forOthers = true } }
    }
    rules.visit(from: .postrouting) { visit in
      switch visit.rule.action {
      case .sourceNAT(let choosing):
        if choosing { choosesPorts = true }
      case .mapping: break
      case .jump, .goto:
        note(unread: visit, rules)
        return
      default: return
      }
      masquerades = true
      tables.insert(visit.chain.id.table)
    }
    self.destinations = destinations.sorted()
    self.tables = tables.sorted()
    if !choosesPorts { givenPorts = min(1024, localPorts.lowerBound)...65535 }
    if case .dropped(let place) = rules.fate(ofResetsFrom: localPorts) {
      shield = Shield(place: place, ports: localPorts)
    }
  }

  private mutating func note(unread visit: Ruleset.Visit, _ rules: Ruleset) {
    guard unread == nil, visit.base.kind == .nat,
      rules.target(of: visit.rule, in: visit.chain) == nil
    else { return }
    unread = visit.place
  }

  func uses(_ path: ReplyPath) -> Bool {
    switch path {
    case .forwarded: forOthers
    case .masqueraded: masquerades
    case .own: forOwn
    }
  }

  func state(of path: ReplyPath, in rules: Ruleset, localPorts: ClosedRange<Int>) -> PathState {
    let fate = rules.fate(at: path.hooks, ports: path == .forwarded ? Ports.all : givenPorts)
    if case .dropped(let place) = fate { return .dropped(place) }
    if path != .forwarded {
      switch rules.fate(ofResetsFrom: path == .own ? localPorts : Ports.all) {
      case .dropped(let place): return .shielded(place)
      case .depends(let drop, let pass):
        guard case .depends = fate else { return .depends(drop: drop, pass: pass) }
      case .passes, .reset: break
      }
    }
    switch fate {
    case .dropped(let place): return .dropped(place)
    case .passes: return .open
    case .depends(let drop, let pass): return .depends(drop: drop, pass: pass)
    case .reset(let place): return .reset(place)
    }
  }
}
