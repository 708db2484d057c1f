// One rule as iptables-save prints it. The options that decide about a stray are known by name; any other makes the rule
// match `sometimes`, and so does any match that is named without an option.

struct IptablesRule {
  private let words: [String]
  private var index = 0
  private var rule: Rule
  /// What this `-m conntrack` has asked for: that a segment belongs to no connection makes all its conditions but the state
  /// be passed over if it asks for the state as well, and fail if not (`conntrack_mt` in the kernel's xt_conntrack.c).
  private var state: RuleMatch?
  private var asksOfConnection = false

  /// - Parameters:
  ///   - words: what follows the name of the chain.
  ///   - line: the whole of it.
  static func read(_ words: [String], _ line: Substring) -> Rule {
    var reader = IptablesRule(words, line)
    while reader.index < words.count { reader.readWord() }
    reader.endMatch()
    return reader.rule
  }

  private init(_ words: [String], _ line: Substring) {
    self.words = words
    rule = Rule(text: String(line))
  }

  private mutating func next() -> String {
    guard index < words.count else { return "" }
    defer { index += 1 }
    return words[index]
  }

  private mutating func take(_ matches: Matches, isSteady: Bool = true) {
    rule.matches = rule.matches.and(matches)
    if !isSteady { rule.isSteady = false }
  }

  /// An interface or an address: no stray comes from the machine itself.
  private mutating func take(isLocal: Bool, _ isNegated: Bool, isSteady: Bool) {
    guard isLocal else { return take(.sometimes, isSteady: isSteady) }
    take(Matches { $0 == .first ? .sometimes : RuleMatch(isNegated) })
  }

  /// Matches that have no conditions of their own. An object of nfacct with a quota would have; kube-proxy's have none.
  private static let plain: Set<String> = [
    "tcp", "udp", "comment", "conntrack", "state", "nfacct", "multiport", "addrtype", "iprange",
  ]

  private mutating func readWord() {
    var word = next()
    var isNegated = false
    while word == "!" {
      isNegated.toggle()
      word = next()
    }
    switch word {
    case "-j", "-g":
      rule.action = action(next(), Array(words.dropFirst(index)), goes: word == "-g")
      index = words.count
    case "-m", "--match":
      endMatch()
      if !Self.plain.contains(next()) { take(.sometimes, isSteady: false) }
    case "--comment", "--nfacct-name": _ = next()
    case "-c":
      _ = next()
      _ = next()
    case "-p", "--protocol":
      let isTCP = ["tcp", "6", "all", "0"].contains(next())
      if isTCP == isNegated { take(.never) }
    case "-s", "-d":
      take(isLocal: Self.isLoopback(next()), isNegated, isSteady: true)
    case "-i", "-o":
      let isLocal = next() == "lo"
      take(isLocal: isLocal, isNegated, isSteady: isLocal)
    case "--ctstate", "--state":
      let fits = next().split(separator: ",").contains("INVALID") != isNegated
      if fits { rule.asksForInvalid = true }
      state = (state ?? .always).and(RuleMatch(fits))
    case _ where word.hasPrefix("--ct"):
      _ = next()
      asksOfConnection = true
    case "--tcp-flags":
      let (mask, flags) = (Self.flags(next()), Self.flags(next()))
      let matches = Matches { $0.match(mask: mask, flags: flags) }
      take(isNegated ? matches.negated : matches, isSteady: false)
      if !isNegated, flags.contains("rst") { rule.asksForReset = true }
    case "--syn":
      let matches = Matches { $0.match(mask: ["fin", "syn", "rst", "ack"], flags: ["syn"]) }
      take(isNegated ? matches.negated : matches, isSteady: false)
    case "--sport", "--source-port", "--sports", "--source-ports":
      takePorts(isSource: true, isNegated)
    case "--dport", "--destination-port", "--dports", "--destination-ports":
      takePorts(isSource: false, isNegated)
    case "--ports", "--src-range", "--dst-range", "--src-type", "--dst-type":
      _ = next()
      take(.sometimes)
    case "--string", "--hex-string":
      // The value may look like an option.
      _ = next()
      take(.sometimes, isSteady: false)
    default:
      // A word of its own is an option's value.
      if word.hasPrefix("-") { take(.sometimes, isSteady: false) }
    }
  }

  /// Judges what has been asked of the connection by one `-m`.
  private mutating func endMatch() {
    guard state != nil || asksOfConnection else { return }
    let match = state ?? .never
    take(Matches { $0 == .first ? .sometimes : match }, isSteady: false)
    state = nil
    asksOfConnection = false
  }

  private mutating func takePorts(isSource: Bool, _ isNegated: Bool) {
    guard let ports = Self.ports(next()) else { return take(.sometimes) }
    let asked = isNegated ? ports.inverted : ports
    if isSource { rule.sourcePorts.append(asked) } else { rule.destinationPorts.append(asked) }
    // Of the other end nothing is known.
    take(
      Matches { segment in
        switch segment {
        case .stray: isSource ? .sometimes : .always
        case .reset: isSource ? .always : .sometimes
        case .first: .sometimes
        }
      })
  }

  /// `32768:60999`, `80`, `22,80:90`.
  private static func ports(_ text: String) -> Ports? {
    var ranges: [ClosedRange<Int>] = []
    for part in text.split(separator: ",") {
      let ends = part.split(separator: ":", omittingEmptySubsequences: false)
      guard ends.count <= 2, let first = ends.first, let last = ends.last,
        let low = first.isEmpty ? 0 : Int(first), let high = last.isEmpty ? 65535 : Int(last),
        low <= high
      else { return nil }
      ranges.append(low...high)
    }
    return ranges.isEmpty ? nil : Ports(ranges)
  }

  private static func flags(_ text: String) -> Set<String> {
    switch text {
    case "NONE": []
    case "ALL": ["fin", "syn", "rst", "psh", "ack", "urg"]
    default: Set(text.split(separator: ",").map { $0.lowercased() })
    }
  }

  static func isLoopback(_ address: String) -> Bool {
    address.hasPrefix("127.") || address == "::1/128" || address == "::1"
  }

  // MARK: What it does

  private func action(_ target: String, _ options: [String], goes: Bool) -> RuleAction {
    func value(_ names: String...) -> String {
      guard let place = options.firstIndex(where: names.contains), place + 1 < options.count else {
        return ""
      }
      return options[place + 1]
    }
    switch target {
    case "ACCEPT", "TPROXY": return .accept
    case "DROP": return .drop
    case "REJECT":
      return .reject(withReset: ["tcp-reset", "tcp-rst"].contains(value("--reject-with")))
    case "RETURN": return .leave
    case "DNAT": return .destinationNAT(value("--to-destination", "--to"))
    case "NETMAP", "FULLCONENAT": return .mapping(value("--to"))
    case "SNAT", "MASQUERADE":
      let ports = options.contains("--to-ports") || Self.namesPorts(value("--to-source", "--to"))
      return .sourceNAT(choosesPorts: ports)
    case "REDIRECT": return .redirect
    case "NOTRACK": return .untrack
    case "CT": return options.contains("--notrack") ? .untrack : .proceed
    case "QUEUE", "NFQUEUE": return .queue
    case "LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "SECMARK", "CONNSECMARK", "TOS", "DSCP", "TTL",
      "HL", "TCPMSS", "TRACE", "CHECKSUM", "CLASSIFY", "SET", "AUDIT", "RATEEST", "IDLETIMER",
      "LED", "TEE",
      "HMARK", "ECN", "TCPOPTSTRIP", "CLUSTERIP", "SYNPROXY":
      return .proceed
    default: return goes ? .goto(target) : .jump(target)
    }
  }

  /// `203.0.113.7:1024-2000`, `[2001:db8::7]:1024-2000`.
  private static func namesPorts(_ address: String) -> Bool {
    address.contains("]:") || address.contains(".") && address.contains(":")
  }
}
