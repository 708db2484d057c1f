// Reads what `nft -j list ruleset` prints (libnftables-json(5)), for one family of addresses at a time: a table of family
// inet is part of both. Tables that iptables-nft manages are in it too, with most of their rules unreadable; who has read
// those better leaves them out.

import Foundation

package enum NftablesParser {
  package struct Malformed: Error {}

  /// - Parameters:
  ///   - skipping: names of tables of families ip and ip6 that are known from elsewhere.
  package static func parse(_ json: Data, _ family: Family, skipping: Set<String> = [])
    throws(Malformed)
    -> Ruleset
  {
    guard let document = try? JSONSerialization.jsonObject(with: json) as? [String: Any],
      let objects = document["nftables"] as? [[String: Any]]
    else { throw Malformed() }
    var reader = Reader(family: family, skipped: skipping)
    for case let map as [String: Any] in objects.compactMap({ $0["map"] }) { reader.readMap(map) }
    for object in objects {
      if let chain = object["chain"] as? [String: Any] { reader.readChain(chain) }
    }
    for object in objects {
      if let rule = object["rule"] as? [String: Any] { reader.readRule(rule) }
    }
    return reader.rules
  }
}

private struct Reader {
  let family: Family
  let skipped: Set<String>
  var rules = Ruleset()
  /// What the elements of named maps lead to, by table and name.
  private var maps: [String: [RuleAction]] = [:]

  init(family: Family, skipped: Set<String>) {
    self.family = family
    self.skipped = skipped
  }

  /// The table of an object, if this family goes through it.
  private func table(_ object: [String: Any]) -> String? {
    guard let kind = object["family"] as? String, let name = object["table"] as? String else {
      return nil
    }
    switch kind {
    case "inet": break
    case "ip" where family == .v4: if skipped.contains(name) { return nil }
    case "ip6" where family == .v6: if skipped.contains(name) { return nil }
    default: return nil
    }
    return "nft \(kind) \(name)"
  }

  mutating func readMap(_ object: [String: Any]) {
    guard let table = table(object), let name = object["name"] as? String,
      let elements = object["elem"] as? [Any]
    else { return }
    maps["\(table) \(name)"] = elements.compactMap { element in
      guard let pair = element as? [Any], pair.count == 2, let verdict = pair[1] as? [String: Any]
      else { return nil }
      return self.verdict(verdict, table)
    }
  }

  mutating func readChain(_ object: [String: Any]) {
    guard let table = table(object), let name = object["name"] as? String else { return }
    var chain = Chain(id: ChainID(table: table, name: name))
    chain.hook = (object["hook"] as? String).flatMap(Hook.init)
    chain.kind = (object["type"] as? String).flatMap(Chain.Kind.init) ?? .filter
    chain.priority = object["prio"] as? Int ?? 0
    chain.policyDrops = object["policy"] as? String == "drop"
    rules.add(chain)
  }

  mutating func readRule(_ object: [String: Any]) {
    guard let table = table(object), let chain = object["chain"] as? String,
      let statements = object["expr"] as? [[String: Any]]
    else { return }
    var rule = Rule(text: "")
    var conditions = Conditions(family: family)
    for statement in statements {
      for (name, value) in statement {
        switch name {
        case "match": conditions.add(value as? [String: Any] ?? [:])
        case "vmap":
          let chosen = choice(value as? [String: Any] ?? [:], table)
          rule.action = chosen.action
          if chosen.isAboutState { conditions.asksForInvalid = true }
        case "limit", "quota", "connlimit": conditions.limit()
        case "xt":
          let target = value as? [String: Any] ?? [:]
          if target["type"] as? String == "target" {
            rule.action = extended(target["name"] as? String ?? "")
          } else {
            conditions.limit()
            // What it asks for is not told; it may be just that.
            let name = target["name"] as? String
            if name == "conntrack" || name == "state" { conditions.asksForInvalid = true }
          }
        default:
          if let action = verdict([name: value], table) { rule.action = action }
        }
      }
    }
    rule.match = conditions.match
    rule.asksForInvalid = conditions.asksForInvalid && conditions.match != .never
    if conditions.isLoneReset, !conditions.hasOthers, rule.action == .drop {
      rule.shieldedPorts = conditions.ports
    }
    rule.text = text(rule, handle: object["handle"] as? Int ?? 0)
    rules.append(rule, to: ChainID(table: table, name: chain))
  }

  private func text(_ rule: Rule, handle: Int) -> String {
    let does =
      switch rule.action {
      case .accept: "accept"
      case .drop: "drop"
      case .reject(let withReset): withReset ? "reject with tcp reset" : "reject"
      case .jump(let chain): "jump \(chain)"
      case .goto(let chain): "goto \(chain)"
      default: "rule"
      }
    return rule.asksForInvalid
      ? "ct state invalid \(rule.match == .always ? "" : "… ")\(does) (handle \(handle))"
      : "\(does) (handle \(handle))"
  }

  /// Nil for what decides nothing.
  private func verdict(_ statement: [String: Any], _ table: String) -> RuleAction? {
    guard let (name, value) = statement.first else { return nil }
    let object = value as? [String: Any]
    let target = object?["target"] as? String ?? ""
    switch name {
    case "accept": return .accept
    case "drop": return .drop
    case "reject": return .reject(withReset: object?["type"] as? String == "tcp reset")
    case "jump": return .jump(target)
    case "goto": return .goto(target)
    case "return": return .leave
    case "queue": return .choose([.accept, .drop])
    case "dnat": return .destinationNAT(address(object))
    case "snat": return .sourceNAT(address(object))
    case "masquerade": return .sourceNAT("masquerade")
    case "redirect": return .redirect
    case "notrack": return .untrack
    default: return nil
    }
  }

  private func address(_ object: [String: Any]?) -> String {
    guard let address = object?["addr"] else { return "" }
    guard let text = address as? String else { return "addresses of a map" }
    guard let port = object?["port"] as? Int else { return text }
    return family == .v4 ? "\(text):\(port)" : "[\(text)]:\(port)"
  }

  private func choice(_ map: [String: Any], _ table: String) -> (
    action: RuleAction, isAboutState: Bool
  ) {
    if let name = map["data"] as? String, name.hasPrefix("@") {
      return (.choose(maps["\(table) \(name.dropFirst())"] ?? []), false)
    }
    let pairs = ((map["data"] as? [String: Any])?["set"] as? [Any] ?? []).compactMap {
      $0 as? [Any]
    }
    let isState = Conditions.isState(map["key"])
    if isState {
      // Of the states a segment has exactly one.
      let mine = pairs.first { $0.count == 2 && Conditions.names($0[0]).contains("invalid") }
      let action = (mine?[1] as? [String: Any]).flatMap { verdict($0, table) }
      return (action ?? .proceed, action != nil)
    }
    return (
      .choose(
        pairs.compactMap { pair in
          pair.count == 2 ? (pair[1] as? [String: Any]).flatMap { verdict($0, table) } : nil
        }), false
    )
  }

  /// Targets of xtables, of which nft knows the name only.
  private func extended(_ name: String) -> RuleAction {
    switch name {
    case "DNAT": .destinationNAT("")
    case "SNAT": .sourceNAT("")
    case "MASQUERADE": .sourceNAT("masquerade")
    case "REDIRECT": .redirect
    case "REJECT": .reject(withReset: false)
    default: .proceed
    }
  }
}

/// The matches of a rule, taken together.
private struct Conditions {
  let family: Family
  var match = RuleMatch.always
  var asksForInvalid = false
  var isLoneReset = false
  /// Conditions other than those that a shield has.
  var hasOthers = false
  var ports = 0...65535

  init(family: Family) { self.family = family }

  mutating func limit() {
    hasOthers = true
    take(.sometimes)
  }

  private mutating func take(_ other: RuleMatch) {
    if other == .never || match == .always { match = other }
  }

  /// Takes what is known to be so, or not to be so.
  private mutating func take(isSo: Bool, _ isNegated: Bool) {
    take(isSo != isNegated ? .always : .never)
  }

  static func isState(_ expression: Any?) -> Bool {
    ((expression as? [String: Any])?["ct"] as? [String: Any])?["key"] as? String == "state"
  }

  /// Every word in an expression: `"a"`, `["a", "b"]`, `{"set": […]}`.
  static func names(_ expression: Any?) -> Set<String> {
    switch expression {
    case let name as String: [name]
    case let number as Int: [String(number)]
    case let list as [Any]: list.reduce(into: []) { $0.formUnion(names($1)) }
    case let object as [String: Any]:
      names(object["set"]).union(names((object["prefix"] as? [String: Any])?["addr"]))
    default: []
    }
  }

  mutating func add(_ match: [String: Any]) {
    let isNegated = match["op"] as? String == "!="
    let (left, right) = (match["left"] as? [String: Any] ?? [:], match["right"])
    let words = Self.names(right)
    if let masked = left["&"] as? [Any], masked.count == 2 {
      addMasked(masked, words, isNegated)
    } else if let tracked = left["ct"] as? [String: Any] {
      hasOthers = true
      guard tracked["key"] as? String == "state" else {
        // Such a segment belongs to no connection, about which there could be something to ask.
        take(.never)
        return
      }
      addState(fits: words.contains("invalid") != isNegated)
    } else if let meta = left["meta"] as? [String: Any] {
      addMeta(meta["key"] as? String ?? "", words, isNegated)
    } else if let payload = left["payload"] as? [String: Any] {
      addPayload(
        payload["protocol"] as? String ?? "", payload["field"] as? String ?? "", right, words,
        isNegated)
    } else {
      limit()
    }
  }

  private mutating func addState(fits: Bool) {
    if fits { asksForInvalid = true } else { take(.never) }
  }

  private mutating func addMasked(_ masked: [Any], _ words: Set<String>, _ isNegated: Bool) {
    let mask = Self.names(masked[1])
    if Self.isState(masked[0]) {
      hasOthers = true
      guard mask.contains("invalid") else { return take(.never) }
      // `& invalid == invalid`, or `& (invalid | new) != 0`.
      addState(fits: words.contains("invalid") != isNegated || isNegated && words.contains("0"))
    } else if let payload = (masked[0] as? [String: Any])?["payload"] as? [String: Any],
      payload["protocol"] as? String == "tcp", payload["field"] as? String == "flags",
      mask == ["rst", "ack"], words == ["rst"], !isNegated
    {
      isLoneReset = true
      take(.never)
    } else {
      limit()
    }
  }

  private mutating func addMeta(_ key: String, _ words: Set<String>, _ isNegated: Bool) {
    switch key {
    case "l4proto": take(isSo: !words.isDisjoint(with: ["tcp", "6"]), isNegated)
    case "nfproto", "protocol":
      take(
        isSo: words.contains(
          family == .v4 ? (key == "nfproto" ? "ipv4" : "ip") : (key == "nfproto" ? "ipv6" : "ip6")),
        isNegated)
    case "iif", "oif", "iifname", "oifname":
      hasOthers = true
      if words == ["lo"] { take(isSo: false, isNegated) } else { take(.sometimes) }
    default: limit()
    }
  }

  private mutating func addPayload(
    _ header: String, _ field: String, _ right: Any?, _ words: Set<String>, _ isNegated: Bool
  ) {
    switch header {
    case "ip" where family == .v6, "ip6" where family == .v4: take(.never)
    case "ip", "ip6":
      if field == "protocol" || field == "nexthdr" {
        take(isSo: !words.isDisjoint(with: ["tcp", "6"]), isNegated)
        return
      }
      hasOthers = true
      let isLocal = words.count == 1 && words.allSatisfy(IptablesParser.isLoopback)
      if isLocal { take(isSo: false, isNegated) } else { take(.sometimes) }
    case "tcp", "th":
      if field == "sport", !isNegated, let range = Self.range(right) {
        ports = range
      } else {
        hasOthers = true
      }
      take(.sometimes)
    case "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "arp", "igmp": take(.never)
    default: limit()
    }
  }

  private static func range(_ right: Any?) -> ClosedRange<Int>? {
    if let port = right as? Int { return port...port }
    guard let ends = (right as? [String: Any])?["range"] as? [Int], ends.count == 2,
      ends[0] <= ends[1]
    else { return nil }
    return ends[0]...ends[1]
  }
}
