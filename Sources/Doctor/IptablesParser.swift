// Reads what iptables-save and ip6tables-save print, of either make. The options that decide about a stray are known by
// name; any other makes a rule match `sometimes`.

package enum IptablesParser {
  /// - Parameters:
  ///   - source: who printed it: `iptables-nft`.
  ///   - text: the whole output.
  package static func parse(_ text: String, source: String) -> Ruleset {
    var rules = Ruleset()
    var table = ""
    var name = ""
    for line in text.split(whereSeparator: \.isNewline) {
      switch line.first {
      case "*":
        name = String(line.dropFirst())
        table = "\(source) \(name)"
      case ":":
        let words = line.dropFirst().split(separator: " ")
        guard let chain = words.first else { continue }
        rules.add(declared(String(chain), policy: words.dropFirst().first ?? "-", table, name))
      case "-":
        let words = words(line)
        guard words.count > 1, words[0] == "-A" else { continue }
        rules.append(
          rule(Array(words.dropFirst(2)), line), to: ChainID(table: table, name: words[1]))
      default: continue
      }
    }
    return rules
  }

  /// The tables that are in it.
  package static func tables(_ text: String) -> Set<String> {
    Set(
      text.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("*") }.map {
        String($0.dropFirst())
      })
  }

  private static func declared(
    _ name: String, policy: Substring, _ table: String, _ tableName: String
  ) -> Chain {
    var chain = Chain(id: ChainID(table: table, name: name))
    // Chains of users have no policy, which is written as a dash.
    guard policy != "-" else { return chain }
    chain.hook = Hook(rawValue: name.lowercased())
    chain.policyDrops = policy == "DROP"
    chain.kind = tableName == "nat" ? .nat : .filter
    chain.priority =
      switch tableName {
      case "raw": -300
      case "mangle": -150
      case "nat": chain.hook == .postrouting || chain.hook == .input ? 100 : -100
      case "security": 50
      default: 0
      }
    return chain
  }

  /// The words of a line; quotation marks keep one together.
  static func words(_ line: Substring) -> [String] {
    var words: [String] = []
    var word = ""
    var isQuoted = false
    var isOpen = false
    var isEscaped = false
    for character in line {
      if isEscaped {
        word.append(character)
        isEscaped = false
      } else if character == "\\" && isQuoted {
        isEscaped = true
      } else if character == "\"" {
        isQuoted.toggle()
        isOpen = true
      } else if character == " " && !isQuoted {
        if isOpen || !word.isEmpty { words.append(word) }
        word = ""
        isOpen = false
      } else {
        word.append(character)
      }
    }
    if isOpen || !word.isEmpty { words.append(word) }
    return words
  }

  // MARK: A rule

  private static func rule(_ words: [String], _ line: Substring) -> Rule {
    var rule = Rule(text: String(line))
    var ports = 0...65535
    var isLoneReset = false
    var others = 0
    var index = 0
    var negated = false

    func next() -> String {
      index += 1
      return index < words.count ? words[index] : ""
    }
    func atMost(_ match: RuleMatch) {
      if match == .never || rule.match == .always { rule.match = match }
    }

    while index < words.count {
      let word = words[index]
      let isNegated = negated
      negated = false
      switch word {
      case "!": negated = true
      case "-j", "-g":
        rule.action = action(
          next(), Array(words.dropFirst(index + 1)), goes: word == "-g")
        index = words.count
      case "-m": _ = next()
      case "--comment", "--nfacct-name": _ = next()
      case "-c":
        _ = next()
        _ = next()
      case "-p", "--protocol":
        let isTCP = ["tcp", "6", "all", "0"].contains(next())
        if isTCP == isNegated { atMost(.never) }
      case "-s", "-d":
        others += 1
        let isLocal = isLoopback(next())
        if isLocal { atMost(isNegated ? .always : .never) } else { atMost(.sometimes) }
      case "-i", "-o":
        others += 1
        let isLocal = next() == "lo"
        if isLocal { atMost(isNegated ? .always : .never) } else { atMost(.sometimes) }
      case "--ctstate", "--state":
        others += 1
        let fits = next().split(separator: ",").contains("INVALID") != isNegated
        if fits { rule.asksForInvalid = true } else { atMost(.never) }
      case _ where word.hasPrefix("--ct"):
        // Such a segment belongs to no connection, about which there could be something to ask.
        others += 1
        _ = next()
        atMost(.never)
      case "--tcp-flags":
        let mask = Set(next().split(separator: ","))
        let set = next()
        if mask == ["RST", "ACK"], set == "RST", !isNegated {
          isLoneReset = true
          atMost(.never)
        } else if set == "SYN", mask.contains("ACK"), !isNegated {
          atMost(.never)
        } else {
          others += 1
          atMost(.sometimes)
        }
      case "--syn": atMost(isNegated ? .always : .never)
      case "--sport", "--source-port":
        ports = range(next()) ?? 0...0
        if isNegated { others += 1 }
        atMost(.sometimes)
      default:
        // A word of its own is an option's value.
        guard word.hasPrefix("-") else { break }
        others += 1
        atMost(.sometimes)
      }
      index += 1
    }
    if isLoneReset, others == 0, rule.action == .drop { rule.shieldedPorts = ports }
    return rule
  }

  private static func action(_ target: String, _ options: [String], goes: Bool) -> RuleAction {
    func value(_ names: String...) -> String {
      guard let place = options.firstIndex(where: names.contains), place + 1 < options.count else {
        return ""
      }
      return options[place + 1]
    }
    switch target {
    case "ACCEPT", "TPROXY": return .accept
    case "DROP": return .drop
    case "REJECT": return .reject(withReset: value("--reject-with") == "tcp-reset")
    case "RETURN": return .leave
    case "DNAT": return .destinationNAT(value("--to-destination", "--to"))
    case "SNAT", "NETMAP": return .sourceNAT(value("--to-source", "--to"))
    case "MASQUERADE": return .sourceNAT("masquerade")
    case "REDIRECT": return .redirect
    case "NOTRACK": return .untrack
    case "CT": return options.contains("--notrack") ? .untrack : .proceed
    case "QUEUE", "NFQUEUE": return .choose([.accept, .drop])
    case "LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "SECMARK", "CONNSECMARK", "TOS", "DSCP", "TTL",
      "HL", "TCPMSS", "TRACE", "CHECKSUM", "CLASSIFY", "SET", "AUDIT", "RATEEST", "IDLETIMER",
      "LED", "TEE",
      "HMARK", "ECN", "TCPOPTSTRIP", "CLUSTERIP", "SYNPROXY":
      return .proceed
    default: return goes ? .goto(target) : .jump(target)
    }
  }

  /// `32768:60999`, `80`.
  private static func range(_ text: String) -> ClosedRange<Int>? {
    let ends = text.split(separator: ":", omittingEmptySubsequences: false)
    guard let first = ends.first, let last = ends.last else { return nil }
    let low = first.isEmpty ? 0 : Int(first)
    let high = last.isEmpty ? 65535 : Int(last)
    guard let low, let high, low <= high else { return nil }
    return low...high
  }

  static func isLoopback(_ address: String) -> Bool {
    address.hasPrefix("127.") || address == "::1/128" || address == "::1"
  }
}
