// The reasons for a verdict, and what else is worth knowing, each with a code for scripts.

extension Diagnosis {
  static func findings(
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
              + (pass.map { "; \($0) may meet some before" } ?? ""),
            remedy:
              "drop what is INVALID before that, without conditions; or try with `holdfast probe`"))
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
    if paths.isEmpty, facts.virtualServices ?? 0 == 0 {
      for family in Family.allCases {
        guard let connection = facts.translated[family] else { continue }
        findings.append(
          Finding(
            severity: .warning, code: unseenCode,
            reason:
              "no rule translates \(family.rawValue) here, but somebody does: \(connection)",
            remedy:
              "tc (act_ct), Open vSwitch (ct(nat)) and rules that are gone leave no trace in tables; try with `holdfast probe`"
          ))
      }
    }
    for family in Family.allCases {
      guard let place = translations[family]?.unread else { continue }
      findings.append(
        Finding(
          severity: .warning, code: unreadCode,
          reason: "what \(place) does is not known, and it may translate (\(family.rawValue))",
          remedy: "`holdfast probe` through it tells"))
    }
    findings += untracked(translations)
    findings += unforwarded(facts, translations)
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

  private static func untracked(_ translations: [Family: Translation]) -> [Finding] {
    var findings: [Finding] = []
    for family in Family.allCases {
      guard let translation = translations[family], !translation.isNone else { continue }
      if let place = translation.untracksSome {
        findings.append(
          Finding(
            severity: .warning, code: untrackedCode,
            reason:
              "\(place) may leave some segments of a translated connection untracked (NOTRACK, \(family.rawValue)): they would pass as they are, and no cure helps them",
            remedy: "have it ask only for addresses and ports; or try with `holdfast probe`"))
      } else if let place = translation.untracks {
        findings.append(
          Finding(
            severity: .note, code: "untracked",
            reason:
              "\(place) leaves connections untracked (NOTRACK, \(family.rawValue)): those are not translated at all",
            remedy: nil))
      }
    }
    return findings
  }

  private static func unforwarded(
    _ facts: HostFacts, _ translations: [Family: Translation]
  ) -> [Finding] {
    Family.allCases.filter { translations[$0]?.forOthers == true && facts.forwards[$0] == false }
      .map { family in
        Finding(
          severity: .note, code: "not-forwarding",
          reason:
            "\(family.rawValue) destinations are translated, but nothing is forwarded (\(family == .v4 ? "net.ipv4.ip_forward is 0" : "net.ipv6.conf.all.forwarding is 0")): no connection leads through here",
          remedy: "look again when it is set")
      }
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
