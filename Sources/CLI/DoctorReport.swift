// What `holdfast doctor` prints: the verdict, what it rests on, what to do.

import Doctor
import Foundation

enum DoctorReport {
  static func text(_ diagnosis: Diagnosis, remedies: [Remedy]?, _ style: Style) -> String {
    var parts = ["\(verdict(diagnosis.verdict, style)): \(diagnosis.headline)"]
    parts.append(facts(diagnosis, style))
    let findings = diagnosis.findings.filter { $0.reason != diagnosis.headline || $0.remedy != nil }
    if !findings.isEmpty {
      parts.append(findings.map { finding($0, style) }.joined(separator: "\n"))
    }
    if !diagnosis.facts.obstacles.isEmpty { parts.append(obstacles(diagnosis.facts, style)) }
    if let remedies {
      parts.append(
        remedies.isEmpty
          ? "nothing to do"
          : remedies.map { remedy($0, style) }.joined(separator: "\n\n"))
    } else if diagnosis.verdict != .notExposed, let first = diagnosis.remedies.first {
      parts.append(
        "to do: \(first.words)\n       \(style.bold(first.commands[0]))\n       `holdfast doctor --fix` has the whole of it, its price, and what else would do"
      )
    }
    return parts.joined(separator: "\n\n")
  }

  /// What could not be looked at, by what would help.
  private static func obstacles(_ facts: HostFacts, _ style: Style) -> String {
    var lines: [String] = []
    var told: Set<String> = []
    for remedy in facts.obstacles.map(\.remedy) where told.insert(remedy).inserted {
      for obstacle in facts.obstacles where obstacle.remedy == remedy {
        lines.append("  \(style.warning("not seen"))  \(line(obstacle.what))")
      }
      lines.append("            \(remedy)")
    }
    return lines.joined(separator: "\n")
  }

  private static func verdict(_ verdict: Verdict, _ style: Style) -> String {
    switch verdict {
    case .exposed: style.bold(style.bad("EXPOSED"))
    case .protected: style.bold(style.good("PROTECTED"))
    case .notExposed: style.bold(style.good("NOT EXPOSED"))
    case .unknown: style.bold(style.warning("UNKNOWN"))
    }
  }

  private static func facts(_ diagnosis: Diagnosis, _ style: Style) -> String {
    let known = diagnosis.facts
    var facts = Facts()
    facts.add(
      "translates",
      lines: Family.allCases.map { family in
        translation(
          diagnosis.translations[family], family,
          isSeen: !known.obstacles.contains { $0.hidesRules })
      })
    for path in diagnosis.paths {
      let words = state(path.state)
      facts.add(
        "invalid \(path.family.rawValue)",
        "\(path.path.rawValue): \(path.state.isClosed ? style.good(words) : style.bad(words))")
    }
    if let conntrack = known.conntrack {
      facts.add("settings", settings(conntrack))
      facts.add("connections", use(conntrack))
      facts.add(
        "counters",
        ["invalid", "drop", "early_drop", "insert_failed"].map {
          "\($0) \(conntrack.counters[$0] ?? 0)"
        }.joined(separator: ", "))
    } else {
      facts.add("conntrack", "none in this kernel, or not to be seen")
    }
    facts.add("kernel", kernel(known.kernel))
    facts.add("shield", shield(diagnosis))
    facts.add(
      "sensors",
      lines: known.sensors.map { sensor in
        let mark = sensor.isAvailable ? style.good("yes") : style.warning("no ")
        return "\(mark) \(sensor.name): \(sensor.words)"
      })
    return facts.text(style)
  }

  private static func translation(
    _ translation: Translation?, _ family: Family, isSeen: Bool
  ) -> String {
    guard let translation, !translation.isNone else {
      return "\(family.rawValue) nothing\(isSeen ? "" : " that could be seen")"
    }
    var words: [String] = []
    if translation.forOthers || translation.forOwn {
      let shown = translation.destinations.prefix(3).joined(separator: ", ")
      let more = translation.destinations.count - 3
      let who =
        translation.forOthers
        ? (translation.forOwn ? "" : " (not for its own programs)") : " (for its own programs only)"
      words.append(
        "destinations\(shown.isEmpty ? "" : " to \(shown)")\(more > 0 ? " and \(more) more" : "")\(who)"
      )
    }
    if translation.masquerades { words.append("sources (masquerading)") }
    return
      "\(family.rawValue) \(words.joined(separator: "; ")), by \(translation.tables.joined(separator: ", "))"
  }

  private static func state(_ state: PathState) -> String {
    switch state {
    case .open: "passes untranslated"
    case .liberal: "is translated"
    case .dropped(let place): "dropped by \(place)"
    case .shielded(let place): "harmless by \(place)"
    case .depends(let drop, let pass):
      "perhaps dropped by \(drop)" + (pass.map { ", perhaps met before by \($0)" } ?? "")
    case .reset(let place): "answered with a reset by \(place)"
    }
  }

  private static func settings(_ conntrack: ConntrackFacts) -> String {
    func flag(_ name: String, _ value: Bool?) -> String {
      "\(name) \(value.map { $0 ? "1" : "0" } ?? "unknown")"
    }
    let timeout = conntrack.establishedTimeout.map {
      ", idle connections are forgotten after \(age(seconds: Int64($0)))"
    }
    return flag("be_liberal", conntrack.isLiberal) + ", " + flag("loose", conntrack.isLoose)
      + (timeout ?? "")
  }

  private static func use(_ conntrack: ConntrackFacts) -> String {
    guard let count = conntrack.count else { return "unknown" }
    guard let maximum = conntrack.maximum, let use = conntrack.use else { return "\(count)" }
    return "\(count) of \(maximum) (\(String(format: "%.1f", use * 100)) %)"
  }

  private static func kernel(_ version: KernelVersion) -> String {
    if version.text.isEmpty { return "unknown" }
    return version.ignoresEarlySegments
      ? "\(version.text): segments above the window are invalid; those below it are let be (since 6.1)"
      : "\(version.text): segments above the window are invalid, and (before 6.1) those below it too"
  }

  private static func shield(_ diagnosis: Diagnosis) -> String {
    let shielded = Family.allCases.compactMap { family in
      diagnosis.translations[family]?.shield.map {
        "\(family.rawValue) ports \($0.ports.lowerBound)-\($0.ports.upperBound)"
      }
    }
    return shielded.isEmpty
      ? "none: this namespace resets strangers from its own ports"
      : "resets for want of a socket are kept back: \(shielded.joined(separator: ", "))"
  }

  private static func finding(_ finding: Finding, _ style: Style) -> String {
    let mark =
      switch finding.severity {
      case .fault: style.bad("fault   ")
      case .warning: style.warning("warning ")
      case .note: style.dim("note    ")
      }
    let remedy = finding.remedy.map { "\n            \($0)" } ?? ""
    return "  \(mark)  \(line(finding.reason))\(remedy)"
  }

  private static func remedy(_ remedy: Remedy, _ style: Style) -> String {
    var lines = ["\(style.bold(remedy.cure.rawValue)): \(remedy.words)"]
    lines += remedy.commands.map { "    \($0)" }
    lines.append("  \(style.dim("price")) \(remedy.price)")
    lines.append("  \(style.dim("undo "))")
    lines += remedy.undo.map { "    \($0)" }
    lines.append("  \(style.dim("or   ")) holdfast doctor --apply --cure \(remedy.cure.rawValue)")
    return lines.joined(separator: "\n")
  }

  /// Rules are written by others, tools too.
  private static func line(_ text: String) -> String { StoreReport.printable(text) }

  // MARK: For scripts

  static func json(_ diagnosis: Diagnosis, remedies: [Remedy], done: [String]) -> String {
    let known = diagnosis.facts
    var object: [String: Any] = [
      "verdict": diagnosis.verdict.rawValue, "reason": diagnosis.headline,
      "kernel": known.kernel.text, "rules_from": known.sources, "done": done,
      "translations": Family.allCases.compactMap { family -> [String: Any]? in
        guard let translation = diagnosis.translations[family] else { return nil }
        return [
          "family": family.rawValue, "destinations": translation.destinations,
          "tables": translation.tables, "forwarded": translation.forOthers,
          "own": translation.forOwn, "masquerades": translation.masquerades,
          "shield": translation.shield?.place.description ?? NSNull(),
        ]
      },
      "invalid": diagnosis.paths.map {
        [
          "family": $0.family.rawValue, "path": $0.path.rawValue, "closed": $0.state.isClosed,
          "words": state($0.state),
        ] as [String: Any]
      },
      "findings": diagnosis.findings.map {
        [
          "severity": $0.severity.rawValue, "code": $0.code, "reason": $0.reason,
          "remedy": $0.remedy ?? NSNull(),
        ] as [String: Any]
      },
      "not_seen": known.obstacles.map { ["what": $0.what, "remedy": $0.remedy] },
      "sensors": known.sensors.map {
        ["name": $0.name, "available": $0.isAvailable, "words": $0.words] as [String: Any]
      },
      "remedies": remedies.map {
        [
          "cure": $0.cure.rawValue, "words": $0.words, "price": $0.price, "commands": $0.commands,
          "undo": $0.undo,
        ] as [String: Any]
      },
    ]
    if let count = known.virtualServices { object["ipvs_services"] = count }
    if let conntrack = known.conntrack {
      object["conntrack"] =
        [
          "be_liberal": conntrack.isLiberal ?? NSNull(), "loose": conntrack.isLoose ?? NSNull(),
          "timeout_established_seconds": conntrack.establishedTimeout ?? NSNull(),
          "count": conntrack.count ?? NSNull(), "maximum": conntrack.maximum ?? NSNull(),
          "counters": conntrack.counters,
        ] as [String: Any]
    }
    let data = try? JSONSerialization.data(
      withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
    return data.map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }
}
