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
      let translation = Translation(rules, localPorts: facts.localPorts)
      translations[family] = translation
      for path in ReplyPath.allCases where translation.uses(path) {
        if path == .forwarded, facts.forwards[family] == false { continue }
        let state =
          isLiberal
          ? .liberal : translation.state(of: path, in: rules, localPorts: facts.localPorts)
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

  /// Of rules that leave some of a connection's segments untracked.
  static let untrackedCode = "partly-untracked"
  /// Of connections that are translated without a rule.
  static let unseenCode = "translated-unseen"
  /// Of rules that may translate.
  static let unreadCode = "target-unknown"

  private static func verdict(
    _ facts: HostFacts, _ paths: [PathFinding], _ findings: [Finding]
  ) -> Verdict {
    if findings.contains(where: { $0.severity == .fault }) { return .exposed }
    let hidden = facts.obstacles.contains { $0.hidesRules }
    let isLiberal = facts.conntrack?.isLiberal == true
    if hidden && !isLiberal { return .unknown }
    if findings.contains(where: { $0.code == untrackedCode }) { return .unknown }
    if !paths.allSatisfy(\.state.isClosed) { return .unknown }
    // Its translation is its own, which is not looked into.
    if paths.isEmpty, facts.virtualServices ?? 0 > 0 { return .unknown }
    let isUnseen = findings.contains { $0.code == unseenCode || $0.code == unreadCode }
    if isUnseen && !isLiberal { return .unknown }
    return paths.isEmpty && !hidden && !isUnseen ? .notExposed : .protected
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
      let what =
        translations.values.contains { $0.forOthers }
        ? "addresses are translated here, but nothing is forwarded"
        : "no address is translated here"
      let shielded = Family.allCases.filter { translations[$0]?.shield != nil }
      if shielded.isEmpty { return what }
      let over = shielded.count == Family.allCases.count ? "" : " over \(shielded[0].rawValue)"
      return "\(what), and strays from a node that does are harmless\(over) (shield)"
    case .unknown:
      if facts.obstacles.contains(where: \.hidesRules) {
        return "the rules could not all be read"
      }
      if let doubt = paths.first(where: { !$0.state.isClosed }) {
        return
          "a rule drops some of what connection tracking finds invalid, and perhaps not all of it (\(doubt.family.rawValue), \(doubt.path.words))"
      }
      if let finding = findings.first(where: { $0.code == untrackedCode }) { return finding.reason }
      if let finding = findings.first(where: {
        $0.code == unseenCode || $0.code == unreadCode
      }) {
        return finding.reason
      }
      return "IPVS translates here, by a table of its own that rules do not show"
    }
  }
}
