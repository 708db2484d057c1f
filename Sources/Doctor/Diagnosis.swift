// The judge: facts about a namespace in, a verdict with its reasons and remedies out. Three ways lead an untranslated reply to
// a kernel that resets it; each has to be closed in its own place.
//
//   forwarded     client ── here: DNAT ── backend         the client's kernel resets;  FORWARD
//   masqueraded   client ── here: SNAT ── server          ours does;                   INPUT
//   own           here: DNAT of our own ── backend        ours does;                   INPUT, or the shield

package enum Verdict: String, Sendable {
  case exposed
  case protected
  /// Nothing is translated here.
  case notExposed = "not-exposed"
  /// Something that matters could not be seen, or depends on more than the rules.
  case unknown

  package var exitCode: Int32 {
    switch self {
    case .protected, .notExposed: 0
    case .unknown: 1
    case .exposed: 3
    }
  }
}

/// How a reply that is not translated does its harm.
package enum ReplyPath: String, Sendable, CaseIterable {
  case forwarded, masqueraded, own

  package var hooks: [Hook] {
    self == .forwarded ? [.prerouting, .forward, .postrouting] : [.prerouting, .input]
  }

  /// What such replies are.
  package var words: String {
    switch self {
    case .forwarded: "replies of backends on their way through this machine"
    case .masqueraded: "replies to connections that this machine gives its own address"
    case .own: "replies to this machine's own programs that use a Service"
    }
  }
}

package enum PathState: Sendable, Equatable {
  case open
  case liberal
  case dropped(RulePlace)
  case shielded(RulePlace)
  case depends(drop: RulePlace, pass: RulePlace?)
  case reset(RulePlace)

  package var isClosed: Bool {
    switch self {
    case .liberal, .dropped, .shielded: true
    case .open, .depends, .reset: false
    }
  }
}

package struct PathFinding: Sendable, Equatable {
  package var family: Family
  package var path: ReplyPath
  package var state: PathState
}

package struct Finding: Sendable, Equatable {
  package enum Severity: String, Sendable { case fault, warning, note }

  package var severity: Severity
  package var code: String
  package var reason: String
  package var remedy: String?
}

/// What is translated, in one family.
package struct Translation: Sendable, Equatable {
  package var destinations: [String] = []
  /// Tables in which that is done.
  package var tables: [String] = []
  package var forOthers = false
  package var forOwn = false
  package var masquerades = false
  package var leavesUntracked = false
  package var redirects = false
  package var shield: (place: RulePlace, ports: ClosedRange<Int>)?

  package var isNone: Bool { !forOthers && !forOwn && !masquerades }

  package init(_ rules: Ruleset) {
    var destinations: Set<String> = []
    var tables: Set<String> = []
    for (hook, isOwn) in [(Hook.prerouting, false), (.output, true)] {
      var found = false
      rules.visit(from: hook) { chain, rule in
        for action in rule.action.leaves {
          switch action {
          case .destinationNAT(let address) where rule.match != .never:
            found = true
            tables.insert(chain.id.table)
            if !address.isEmpty { destinations.insert(address) }
          case .redirect: redirects = true
          case .untrack: leavesUntracked = true
          default: continue
          }
        }
      }
      if found { if isOwn { forOwn = true } else { forOthers = true } }
    }
    rules.visit(from: .postrouting) { chain, rule in
      for case .sourceNAT in rule.action.leaves where rule.match != .never {
        masquerades = true
        tables.insert(chain.id.table)
      }
    }
    rules.visit(from: .output) { chain, rule in
      guard shield == nil, let ports = rule.shieldedPorts else { return }
      shield = (
        RulePlace(table: chain.id.table, chain: chain.id.name, rule: rule.text), ports
      )
    }
    self.destinations = destinations.sorted()
    self.tables = tables.sorted()
  }

  package static func == (left: Translation, right: Translation) -> Bool {
    left.destinations == right.destinations && left.tables == right.tables
      && left.forOthers == right.forOthers && left.forOwn == right.forOwn
      && left.masquerades == right.masquerades && left.shield?.place == right.shield?.place
  }
}

package struct Diagnosis: Sendable {
  package let facts: HostFacts
  package let verdict: Verdict
  /// The verdict in a sentence.
  package let headline: String
  package let translations: [Family: Translation]
  package let paths: [PathFinding]
  package let findings: [Finding]
  package let remedies: [Remedy]

  package init(_ facts: HostFacts) {
    self.facts = facts
    var translations: [Family: Translation] = [:]
    var paths: [PathFinding] = []
    let isLiberal = facts.conntrack?.isLiberal == true
    for family in Family.allCases {
      let rules = facts.rules[family] ?? Ruleset()
      let translation = Translation(rules)
      translations[family] = translation
      for path in ReplyPath.allCases where translation.uses(path) {
        let state =
          isLiberal ? .liberal : translation.state(of: path, in: rules, ports: facts.localPorts)
        paths.append(PathFinding(family: family, path: path, state: state))
      }
    }
    self.translations = translations
    self.paths = paths
    let findings = Self.findings(facts, translations, paths)
    self.findings = findings
    let verdict = Self.verdict(facts, paths, findings)
    self.verdict = verdict
    headline = Self.headline(verdict, facts, translations, paths, findings)
    remedies = Remedy.fitting(verdict, paths, translations, facts)
  }

  private static func verdict(
    _ facts: HostFacts, _ paths: [PathFinding], _ findings: [Finding]
  ) -> Verdict {
    if findings.contains(where: { $0.severity == .fault }) { return .exposed }
    let hidden = facts.obstacles.contains { $0.hidesRules }
    let isLiberal = facts.conntrack?.isLiberal == true
    if hidden && !isLiberal { return .unknown }
    if !paths.allSatisfy(\.state.isClosed) { return .unknown }
    // Its translation is its own, which is not looked into.
    if paths.isEmpty, facts.virtualServices ?? 0 > 0 { return .unknown }
    return paths.isEmpty && !hidden ? .notExposed : .protected
  }

  private static func headline(
    _ verdict: Verdict, _ facts: HostFacts, _ translations: [Family: Translation],
    _ paths: [PathFinding],
    _ findings: [Finding]
  ) -> String {
    switch verdict {
    case .exposed:
      return findings.first { $0.severity == .fault }?.reason ?? ""
    case .protected:
      if paths.isEmpty || paths.contains(where: { $0.state == .liberal }) {
        return
          "what connection tracking finds invalid is translated all the same (nf_conntrack_tcp_be_liberal=1)"
      }
      return "what connection tracking finds invalid reaches nobody"
    case .notExposed:
      if translations.values.contains(where: { $0.shield != nil }) {
        return
          "no address is translated here, and strays from a node that does are harmless (shield)"
      }
      return "no address is translated here"
    case .unknown:
      if facts.obstacles.contains(where: \.hidesRules) {
        return "the rules could not all be read"
      }
      if let doubt = paths.first(where: { !$0.state.isClosed }) {
        return
          "a rule drops some of what connection tracking finds invalid, and not all of it (\(doubt.family.rawValue), \(doubt.path.words))"
      }
      return "IPVS translates here, by a table of its own that rules do not show"
    }
  }

  // MARK: Findings

  private static func findings(
    _ facts: HostFacts, _ translations: [Family: Translation], _ paths: [PathFinding]
  ) -> [Finding] {
    var findings: [Finding] = []
    findings += exposures(paths)
    findings += conntrack(facts, isUsed: !paths.isEmpty)
    for path in paths {
      if case .depends(let drop, let pass) = path.state {
        findings.append(
          Finding(
            severity: .warning, code: "invalid-partly-dropped",
            reason:
              "\(path.family.rawValue), \(path.path.words): \(drop) is there, but not every such segment meets it"
              + (pass.map { "; \($0) lets some through" } ?? ""),
            remedy: "move the drop before it, without conditions; or try with `holdfast probe`"))
      }
    }
    if let count = facts.virtualServices, count > 0 {
      findings.append(
        Finding(
          severity: .note, code: "ipvs",
          reason:
            "IPVS has \(count) service\(count == 1 ? "" : "s"); it translates by its own table, which knows no windows, and what is masqueraded beside it is translated by connection tracking",
          remedy: "`holdfast probe` through one of them tells"))
    }
    if translations.values.contains(where: { $0.leavesUntracked && !$0.isNone }) {
      findings.append(
        Finding(
          severity: .note, code: "untracked",
          reason:
            "a rule leaves packets untracked (NOTRACK): those of a translated connection would pass as they are, and no cure helps them",
          remedy: nil))
    }
    if paths.isEmpty, facts.obstacles.isEmpty, facts.virtualServices ?? 0 == 0 {
      findings.append(
        Finding(
          severity: .note, code: "elsewhere",
          reason: "in a pod this says nothing about the node, where Services are translated",
          remedy:
            "run it on the node (hostNetwork, or nsenter --net=/proc/1/ns/net), or `holdfast probe` through a Service; --fix has a shield for the pod"
        ))
    }
    return findings
  }

  private static func exposures(_ paths: [PathFinding]) -> [Finding] {
    var findings: [Finding] = []
    for path in ReplyPath.allCases {
      let open = paths.filter { $0.path == path && $0.state == .open }
      if !open.isEmpty {
        let families = open.map(\.family.rawValue).joined(separator: ", ")
        findings.append(
          Finding(
            severity: .fault, code: "invalid-passes-\(path.rawValue)",
            reason:
              "segments that connection tracking finds invalid pass untranslated, and draw resets (\(families)): \(path.words)",
            remedy: nil))
      }
      for case let finding in paths where finding.path == path {
        guard case .reset(let place) = finding.state else { continue }
        findings.append(
          Finding(
            severity: .fault, code: "invalid-is-reset",
            reason:
              "\(place) answers what connection tracking finds invalid with a reset, which kills the connection that it belongs to (\(finding.family.rawValue))",
            remedy: "drop it instead"))
      }
    }
    return findings
  }

  /// Beyond this the table is as good as full: a burst, and connections are dropped.
  private static let full = 0.9
  private static let crowded = 0.75
  /// Connections that are kept for reuse are often kept for as long.
  private static let shortTimeout = 900

  private static func conntrack(_ facts: HostFacts, isUsed: Bool) -> [Finding] {
    guard let conntrack = facts.conntrack else { return [] }
    var findings: [Finding] = []
    if let use = conntrack.use, use >= crowded, let count = conntrack.count,
      let maximum = conntrack.maximum
    {
      findings.append(
        Finding(
          severity: use >= full ? .fault : .warning, code: "conntrack-full",
          reason:
            "the table of connections is \(use >= full ? "nearly full" : "filling up"): \(count) of \(maximum); when it is full, new connections are dropped",
          remedy:
            "raise net.netfilter.nf_conntrack_max (and _buckets to a quarter of it), or find out who opens so many"
        ))
    }
    func count(_ name: String) -> Int { conntrack.counters[name] ?? 0 }
    if count("drop") + count("early_drop") > 0 {
      findings.append(
        Finding(
          severity: .warning, code: "conntrack-dropped",
          reason:
            "the table of connections has been full: \(count("drop")) packets dropped, \(count("early_drop")) connections given up early",
          remedy: "raise net.netfilter.nf_conntrack_max"))
    }
    if count("insert_failed") > 0 {
      findings.append(
        Finding(
          severity: .note, code: "conntrack-insert-failed",
          reason:
            "\(count("insert_failed")) packets lost because two connections were given the same translation at once (insert_failed)",
          remedy: "masquerade with --random-fully"))
    }
    if count("invalid") > 0 {
      findings.append(
        Finding(
          severity: .note, code: "conntrack-invalid",
          reason:
            "connection tracking has found \(count("invalid")) packets invalid so far: they do occur here",
          remedy: nil))
    }
    if isUsed, let timeout = conntrack.establishedTimeout, timeout < shortTimeout {
      findings.append(
        Finding(
          severity: .warning, code: "idle-timeout",
          reason:
            "a translated connection that is idle for \(timeout) s is forgotten (nf_conntrack_tcp_timeout_established): what is sent on it after that meets nobody",
          remedy:
            "keep idle connections for less (upstream.idle-timeout below \(max(1, timeout * 3 / 4))s), probe them more often, or raise the time limit"
        ))
    }
    return findings
  }
}

extension Translation {
  func uses(_ path: ReplyPath) -> Bool {
    switch path {
    case .forwarded: forOthers
    case .masqueraded: masquerades
    case .own: forOwn
    }
  }

  func state(of path: ReplyPath, in rules: Ruleset, ports: ClosedRange<Int>) -> PathState {
    let fate = rules.fate(at: path.hooks)
    if case .dropped(let place) = fate { return .dropped(place) }
    if path == .own, let shield, shield.ports.lowerBound <= ports.lowerBound,
      shield.ports.upperBound >= ports.upperBound
    {
      return .shielded(shield.place)
    }
    switch fate {
    case .dropped(let place): return .dropped(place)
    case .passes: return .open
    case .depends(let drop, let pass): return .depends(drop: drop, pass: pass)
    case .reset(let place): return .reset(place)
    }
  }
}
