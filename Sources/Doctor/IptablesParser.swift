// Reads what iptables-save and ip6tables-save print, of either make: tables, chains and lines. What a line says is read by
// `IptablesRule`.

package enum IptablesParser {
  /// - Parameters:
  ///   - source: who printed it: `iptables-nft`.
  ///   - text: the whole output.
  ///   - dormant: tables that no packet is shown to.
  package static func parse(
    _ text: String, source: String, dormant: Set<String> = []
  ) -> Ruleset {
    var rules = Ruleset()
    var table = ""
    var name = ""
    for line in text.split(whereSeparator: \.isNewline) {
      if dormant.contains(name), line.first != "*" { continue }
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
          IptablesRule.read(Array(words.dropFirst(2)), line),
          to: ChainID(table: table, name: words[1]))
      default: continue
      }
    }
    return rules
  }

  /// The chains that are in it, by table. There may be more of which the tool does not tell, because nft made them.
  package static func chains(_ text: String) -> [String: Set<String>] {
    var chains: [String: Set<String>] = [:]
    var table = ""
    for line in text.split(whereSeparator: \.isNewline) {
      if line.first == "*" {
        table = String(line.dropFirst())
        chains[table, default: []] = []
      } else if line.first == ":", let name = line.dropFirst().split(separator: " ").first {
        chains[table, default: []].insert(String(name))
      }
    }
    return chains
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
}
