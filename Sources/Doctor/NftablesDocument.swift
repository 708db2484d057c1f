// Reads what `nft -j list ruleset` prints (libnftables-json(5)), for one family of addresses at a time: a table of family
// inet is part of both. Chains that iptables-nft manages are in it too, with most of their rules unreadable; who has read
// those better says which they are.

import Foundation

package struct NftablesDocument {
  package struct Malformed: Error {}

  /// What another tool has told of the tables of families ip and ip6.
  package struct Known {
    /// Chains by table.
    package var chains: [String: Set<String>] = [:]
    /// Who told of them; their tables are kept under `iptables-nft nat`.
    package var source = ""

    package init() {}

    package init(_ chains: [String: Set<String>], source: String) {
      self.chains = chains
      self.source = source
    }
  }

  private let objects: [[String: Any]]

  package init(_ json: Data) throws(Malformed) {
    guard let document = try? JSONSerialization.jsonObject(with: json) as? [String: Any],
      let objects = document["nftables"] as? [[String: Any]]
    else { throw Malformed() }
    self.objects = objects
  }

  package func rules(_ family: Family, known: Known = Known()) -> Ruleset {
    var reader = Reader(family: family, known: known, dormant: dormant)
    let written = Set(objects.compactMap { $0["rule"] as? [String: Any] }.flatMap(Self.sets))
    for object in objects {
      for case let set as [String: Any] in [object["set"], object["map"]] {
        reader.readSet(set, written)
      }
      if let chain = object["chain"] as? [String: Any] { reader.readChain(chain) }
    }
    for case let rule as [String: Any] in objects.compactMap({ $0["rule"] }) {
      reader.readRule(rule)
    }
    return reader.rules
  }

  /// The names of tables of this family that are asleep, so that no packet is shown to them.
  package func dormantTables(_ family: Family) -> Set<String> {
    let prefix = family == .v4 ? "ip " : "ip6 "
    return Set(dormant.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) })
  }

  /// Each as `ip filter`.
  private var dormant: Set<String> {
    Set(
      flagged.compactMap { table in
        table.flags?.contains("dormant") ?? asleep.contains(table.name) ? table.name : nil
      })
  }

  /// Tables with a flag of which the document does not say what it is: of a single one nftables 1.0.6 prints some string or
  /// other. Each as `ip filter`.
  package var unclearTables: [String] { flagged.filter { $0.flags == nil }.map(\.name) }

  /// Those of the unclear tables that are asleep.
  package var asleep: Set<String> = []

  private var flagged: [(name: String, flags: Set<String>?)] {
    objects.compactMap { object in
      guard let table = object["table"] as? [String: Any], let flags = table["flags"],
        let family = table["family"] as? String, let name = table["name"] as? String
      else { return nil }
      return ("\(family) \(name)", flags is [Any] ? NftablesValue.words(flags) : nil)
    }
  }

  /// Whether what `nft list table` prints is of a table that is asleep.
  package static func isDormant(_ text: String) -> Bool {
    // The flags stand before everything else.
    let lines = text.split(whereSeparator: \.isNewline).map { $0.drop(while: \.isWhitespace) }
    let head = lines.drop { !$0.hasPrefix("table ") }.dropFirst().prefix {
      $0.hasPrefix("comment ") || $0.hasPrefix("flags ")
    }
    return head.contains { $0.hasPrefix("flags ") && $0.contains("dormant") }
  }

  /// The sets that a rule puts elements into, each as `nft ip filter name`.
  private static func sets(_ rule: [String: Any]) -> [String] {
    guard let family = rule["family"] as? String, let table = rule["table"] as? String,
      let statements = rule["expr"] as? [[String: Any]]
    else { return [] }
    return statements.flatMap { statement in
      ["set", "map"].compactMap { kind in
        ((statement[kind] as? [String: Any])?[kind] as? String).map {
          "nft \(family) \(table) \($0.dropFirst())"
        }
      }
    }
  }
}

private struct Reader {
  let family: Family
  let known: NftablesDocument.Known
  let dormant: Set<String>
  var rules = Ruleset()
  private var sets = NftablesSets()

  init(family: Family, known: NftablesDocument.Known, dormant: Set<String>) {
    self.family = family
    self.known = known
    self.dormant = dormant
  }

  /// The table of an object, if this family goes through it.
  private func table(_ object: [String: Any]) -> String? {
    guard let kind = object["family"] as? String, let name = object["table"] as? String,
      !dormant.contains("\(kind) \(name)")
    else { return nil }
    switch kind {
    case "inet": break
    case "ip" where family == .v4: break
    case "ip6" where family == .v6: break
    default: return nil
    }
    return "nft \(kind) \(name)"
  }

  /// Whether another tool has told of it.
  private func isKnown(_ chain: String, _ object: [String: Any]) -> Bool {
    guard object["family"] as? String != "inet", let table = object["table"] as? String else {
      return false
    }
    return known.chains[table]?.contains(chain) == true
  }

  mutating func readSet(_ object: [String: Any], _ written: Set<String>) {
    guard let table = table(object), let name = object["name"] as? String else { return }
    sets.add(object, in: table, isWritten: written.contains("\(table) \(name)"))
  }

  mutating func readChain(_ object: [String: Any]) {
    guard let table = table(object), let name = object["name"] as? String, !isKnown(name, object)
    else { return }
    var chain = Chain(id: ChainID(table: table, name: name))
    chain.hook = (object["hook"] as? String).flatMap(Hook.init)
    chain.kind = (object["type"] as? String).flatMap(Chain.Kind.init) ?? .filter
    chain.priority = object["prio"] as? Int ?? 0
    chain.policyDrops = object["policy"] as? String == "drop"
    if let name = object["table"] as? String, object["family"] as? String != "inet",
      known.chains[name] != nil
    {
      chain.otherTable = "\(known.source) \(name)"
    }
    rules.add(chain)
  }

  /// Statements that neither decide nor keep others from being reached.
  private static let harmless: Set<String> = [
    "counter", "log", "mangle", "ct helper", "ct timeout", "ct expectation", "secmark", "last",
    "dup",
  ]

  mutating func readRule(_ object: [String: Any]) {
    guard let table = table(object), let chain = object["chain"] as? String,
      !isKnown(chain, object), let statements = object["expr"] as? [[String: Any]]
    else { return }
    let id = ChainID(table: table, name: chain)
    let handle = object["handle"] as? Int ?? 0
    var conditions = NftablesConditions(family: family, table: table, sets: sets)
    for statement in statements {
      for (name, value) in statement {
        let object = value as? [String: Any] ?? [:]
        switch name {
        case "match": conditions.add(object)
        case "vmap": readChoice(object, conditions, id, handle)
        case "xt": readExtension(object, &conditions, id, handle)
        case _ where Self.harmless.contains(name): continue
        default:
          guard let action = action(name, object) else {
            // What may keep the rest from being reached, as limits do and counts of connections.
            conditions.limit()
            continue
          }
          if let other = object["family"] as? String, other != (family == .v4 ? "ip" : "ip6") {
            conditions.exclude()
          }
          append(action, conditions, id, handle)
        }
      }
    }
  }

  private mutating func append(
    _ action: RuleAction, _ conditions: NftablesConditions, _ id: ChainID, _ handle: Int
  ) {
    var rule = Rule(text: "")
    rule.matches = conditions.matches
    rule.sourcePorts = conditions.sourcePorts
    rule.destinationPorts = conditions.destinationPorts
    rule.asksForInvalid = conditions.asksForInvalid
    rule.asksForReset = conditions.asksForReset
    rule.isSteady = conditions.isSteady
    rule.action = action
    rule.text = text(rule, handle: handle)
    rules.append(rule, to: id)
  }

  private func text(_ rule: Rule, handle: Int) -> String {
    let does =
      switch rule.action {
      case .accept: "accept"
      case .drop: "drop"
      case .reject(let withReset): withReset == true ? "reject with tcp reset" : "reject"
      case .jump(let chain): "jump \(chain)"
      case .goto(let chain): "goto \(chain)"
      case .untrack: "notrack"
      case .queue: "queue"
      default: "rule"
      }
    let isWhole = rule.matches.stray == .always && rule.destinationPorts.isEmpty
    return rule.asksForInvalid && rule.matches.stray != .never
      ? "ct state invalid \(isWhole ? "" : "… ")\(does) (handle \(handle))"
      : "\(does) (handle \(handle))"
  }

  /// A map of verdicts is a rule for each of its elements. What has none goes on, also to the rest of the rule.
  private mutating func readChoice(
    _ map: [String: Any], _ conditions: NftablesConditions, _ id: ChainID, _ handle: Int
  ) {
    var conditions = conditions
    var elements = (map["data"] as? [String: Any])?["set"] as? [Any] ?? []
    if let name = map["data"] as? String, let contents = sets.contents(name, in: id.table) {
      elements = contents.elements
      if contents.isFleeting { conditions.limit() }
    }
    let pairs = elements.compactMap { $0 as? [Any] }.filter { $0.count == 2 }
    func isRest(_ pair: [Any]) -> Bool { NftablesValue.bare(pair[0]) as? String == "*" }
    for pair in pairs.filter({ !isRest($0) }) + pairs.filter(isRest) {
      guard let verdict = pair[1] as? [String: Any], let (name, value) = verdict.first,
        let action = action(name, value as? [String: Any] ?? [:])
      else { continue }
      var one = conditions
      one.add(key: map["key"], element: pair[0])
      append(action, one, id, handle)
    }
  }

  /// What xtables does, of which nft knows no more than the name.
  private mutating func readExtension(
    _ object: [String: Any], _ conditions: inout NftablesConditions, _ id: ChainID, _ handle: Int
  ) {
    let name = object["name"] as? String ?? ""
    guard object["type"] as? String == "target" else {
      // What it asks for is not told; it may be just that.
      if name != "comment" {
        conditions.limit(mayAskForInvalid: name == "conntrack" || name == "state")
      }
      return
    }
    let action: RuleAction? =
      switch name {
      case "DNAT": .destinationNAT("")
      case "SNAT", "MASQUERADE": .sourceNAT(choosesPorts: true)
      case "NETMAP": .mapping("")
      case "REDIRECT": .redirect
      case "REJECT": .reject(withReset: nil)
      case "NOTRACK", "CT": .untrack
      case "NFQUEUE": .queue
      case "TPROXY": .accept
      default: nil
      }
    // Whether it leaves packets untracked is among its options.
    if name == "CT" { conditions.limit() }
    if let action { append(action, conditions, id, handle) }
  }

  /// Nil for what decides nothing.
  private func action(_ name: String, _ object: [String: Any]) -> RuleAction? {
    let target = object["target"] as? String ?? ""
    switch name {
    case "accept": return .accept
    case "drop": return .drop
    case "reject": return .reject(withReset: object["type"] as? String == "tcp reset")
    case "jump": return .jump(target)
    case "goto": return .goto(target)
    case "return": return .leave
    case "queue": return .queue
    case "dnat": return .destinationNAT(address(object))
    case "snat", "masquerade": return .sourceNAT(choosesPorts: object["port"] != nil)
    case "redirect": return .redirect
    case "notrack": return .untrack
    default: return nil
    }
  }

  private func address(_ object: [String: Any]) -> String {
    guard let address = object["addr"] else { return "" }
    guard let text = address as? String else { return "addresses of a map" }
    guard let port = object["port"] as? Int else { return text }
    return family == .v4 ? "\(text):\(port)" : "[\(text)]:\(port)"
  }
}
