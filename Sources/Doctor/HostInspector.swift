// Looks at the network namespace of the calling thread: asks the tools, reads the kernel's files, changes nothing. What
// cannot be had is noted beside what can.

import Foundation
import KernelSensors
import Platform

package enum HostInspector {
  package static func inspect() -> HostFacts {
    var facts = HostFacts()
    facts.kernel = KernelVersion(read("/proc/sys/kernel/osrelease")?.trimmed ?? "")
    readRules(&facts)
    if let text = read("/proc/thread-self/net/ip_vs") {
      facts.virtualServices = HostFacts.virtualServices(text)
    }
    facts.conntrack = conntrack()
    for (family, addresses) in [(Family.v4, IPAddress.Family.v4), (.v6, .v6)] {
      // Where rules do it there is nothing to be found out.
      guard facts.conntrack != nil,
        !Translation(facts.rules[family] ?? Ruleset(), localPorts: facts.localPorts).translates,
        let entry = ConntrackSurvey.translated(addresses)
      else { continue }
      facts.translated[family] = "\(entry.original), answered by \(entry.reply)"
    }
    facts.localPorts =
      read("/proc/sys/net/ipv4/ip_local_port_range").flatMap(HostFacts.ports)
      ?? facts.localPorts
    for (family, name) in [(Family.v4, "ipv4"), (.v6, "ipv6")] {
      facts.forwards[family] = forwards("/proc/sys/net/\(name)/conf")
    }
    facts.sensors = sensors()
    return facts
  }

  static func read(_ path: String) -> String? {
    guard let data = FileManager.default.contents(atPath: path) else { return nil }
    return String(decoding: data, as: UTF8.self)
  }

  // MARK: Rules

  private static func readRules(_ facts: inout HostFacts) {
    let nftables = nftables(&facts)
    for (family, prefix, names) in [
      (Family.v4, "iptables", "ip_tables_names"), (.v6, "ip6tables", "ip6_tables_names"),
    ] {
      var rules = Ruleset()
      let dormant = nftables?.dormantTables(family) ?? []
      let known = readIptables(prefix, names, dormant: dormant, &rules, &facts)
      if let nftables {
        let more = nftables.rules(family, known: known)
        rules.merge(more)
        facts.note(source: "nft", more.isEmpty)
      }
      facts.rules[family] = rules
    }
  }

  /// Both makes of iptables.
  /// - Parameter dormant: tables of nftables that are asleep.
  /// - Returns: the chains that are nftables underneath.
  private static func readIptables(
    _ prefix: String, _ names: String, dormant: Set<String>, _ rules: inout Ruleset,
    _ facts: inout HostFacts
  ) -> NftablesDocument.Known {
    var known = NftablesDocument.Known()
    let modern = Tool("\(prefix)-nft-save", package: "iptables")
    // Before there were two makes there was one name.
    let only = Tool("\(prefix)-save", package: "iptables")
    if modern.path != nil || only.path != nil {
      let tool = modern.path == nil ? only : modern
      let source = modern.path == nil ? prefix : "\(prefix)-nft"
      if let text = ask(tool, [], &facts) {
        // The older make's tables are others than nft's of the same name.
        let isModern = modern.path != nil || text.contains("(nf_tables)")
        if isModern {
          known = NftablesDocument.Known(IptablesParser.chains(text), source: source)
        }
        let found = IptablesParser.parse(text, source: source, dormant: isModern ? dormant : [])
        rules.merge(found)
        facts.note(source: source, found.isEmpty)
      }
    }
    // The kernel knows whether there are tables of the older make; asking for them would not do any harm.
    let legacy = read("/proc/thread-self/net/\(names)")
    let tool = Tool("\(prefix)-legacy-save", package: "iptables")
    if legacy?.isEmpty == true || legacy == nil && tool.path == nil { return known }
    if modern.path == nil, only.path != nil, tool.path == nil { return known }
    if let text = ask(tool, [], &facts) {
      let found = IptablesParser.parse(text, source: "\(prefix)-legacy")
      rules.merge(found)
      facts.note(source: "\(prefix)-legacy", found.isEmpty)
    }
    return known
  }

  private static func nftables(_ facts: inout HostFacts) -> NftablesDocument? {
    let tool = Tool("nft", package: "nftables")
    let output: [UInt8]
    do {
      output = try tool.run(["-j", "list", "ruleset"])
    } catch {
      facts.add(obstacle(error))
      return nil
    }
    do {
      var document = try NftablesDocument(Data(output))
      for table in document.unclearTables where isDormant(table, tool, &facts) {
        document.asleep.insert(table)
      }
      return document
    } catch {
      facts.add(
        Obstacle(
          "nft printed no JSON that can be read",
          remedy: "it has to be built with JSON, as Debian's is", hidesRules: true))
      return nil
    }
  }

  /// - Parameter table: `ip filter`.
  private static func isDormant(_ table: String, _ tool: Tool, _ facts: inout HostFacts) -> Bool {
    // nft reads its arguments as commands, and whoever makes tables by netlink may call them anything.
    let isPlain = table.allSatisfy {
      $0.isASCII && ($0.isLetter || $0.isNumber || " _-./".contains($0))
    }
    guard isPlain else {
      facts.add(
        Obstacle(
          "whether the table \(table) is asleep (flags dormant)", remedy: "nft list ruleset tells",
          hidesRules: true))
      return false
    }
    let words = ["-t", "list", "table"] + table.split(separator: " ").map(String.init)
    return ask(tool, words, &facts).map(NftablesDocument.isDormant) ?? false
  }

  private static func ask(_ tool: Tool, _ arguments: [String], _ facts: inout HostFacts) -> String?
  {
    do {
      return String(decoding: try tool.run(arguments), as: UTF8.self)
    } catch {
      facts.add(obstacle(error))
      return nil
    }
  }

  private static func obstacle(_ error: ToolError) -> Obstacle {
    let remedy =
      switch error {
      case .missing(_, let package): "apt-get install \(package)"
      case .failed where error.isForbidden:
        "needs CAP_NET_ADMIN in this network namespace: run it as root (sudo), or in a pod with securityContext.capabilities.add: [NET_ADMIN]"
      case .failed, .tooSlow, .tooMuch: "run it by hand and see"
      }
    return Obstacle("\(error)", remedy: remedy, hidesRules: true)
  }

  // MARK: The kernel's files

  private static func conntrack() -> ConntrackFacts? {
    let settings = ConntrackSettings.read()
    guard let count = settings.count else { return nil }
    var facts = ConntrackFacts()
    facts.count = Int(clamping: count)
    facts.maximum = settings.maximum.map { Int(clamping: $0) }
    facts.isLiberal = settings.isLiberal
    facts.isLoose = settings.isLoose
    facts.establishedTimeout = settings.establishedTimeout.map { Int(clamping: $0) }
    facts.counters =
      read("/proc/thread-self/net/stat/nf_conntrack").map(ConntrackFacts.counters) ?? [:]
    return facts
  }

  /// Whether any interface forwards: each has a setting of its own beside that for all.
  private static func forwards(_ directory: String) -> Bool? {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
      return nil
    }
    let settings = names.compactMap { read("\(directory)/\($0)/forwarding")?.trimmed }
    return settings.isEmpty ? nil : settings.contains { $0 != "0" }
  }

  private static func sensors() -> [SensorFact] {
    let capabilities = Capabilities(status: read("/proc/thread-self/status") ?? "")
    let (raw, admin) = (
      capabilities.has(Capabilities.netRaw), capabilities.has(Capabilities.netAdmin)
    )
    let counts = read("/proc/thread-self/net/netstat") != nil
    let watches = capabilities.has(Capabilities.perfmon) || capabilities.has(Capabilities.sysAdmin)
    let traces = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"].contains {
      FileManager.default.isReadableFile(atPath: "\($0)/events/tcp/tcp_send_reset/id")
    }
    var missing: [String] = []
    if !traces { missing.append("tracefs, mounted at /sys/kernel/tracing and readable") }
    if !watches { missing.append("CAP_PERFMON (CAP_SYS_ADMIN before Linux 5.8)") }
    return [
      SensorFact("sockets", true, "take nothing"),
      SensorFact("counters", counts, counts ? "take nothing" : "need procfs at /proc"),
      SensorFact(
        "packets", raw,
        raw
          ? "CAP_NET_RAW"
          : "need CAP_NET_RAW: setcap, AmbientCapabilities=, or capabilities.add: [NET_RAW]"),
      SensorFact(
        "conntrack", admin,
        admin
          ? "CAP_NET_ADMIN"
          : "needs CAP_NET_ADMIN in the namespace that translates (resets.namespace)"),
      SensorFact(
        "tracepoints", missing.isEmpty,
        missing.isEmpty ? "tracefs, CAP_PERFMON" : "need \(missing.joined(separator: ", and "))"),
    ]
  }
}

extension HostFacts {
  mutating func add(_ obstacle: Obstacle) {
    if !obstacles.contains(obstacle) { obstacles.append(obstacle) }
  }

  mutating func note(source: String, _ isEmpty: Bool) {
    if !isEmpty, !sources.contains(source) { sources.append(source) }
  }
}

extension String {
  var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
