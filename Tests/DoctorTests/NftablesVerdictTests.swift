// What is made of rules as `nft -j list ruleset` prints them, version 1.0.6, each in a small ruleset that translates.

import Foundation
import Testing

@testable import Doctor

@Suite("Doctor: rules of nftables") struct NftablesVerdictTests {
  private static let dnat = #"{"dnat": {"addr": "10.8.3.9", "port": 8080}}"#
  private static let drop = #"{"match": \#(state("in", #""invalid""#))}, {"drop": null}"#

  /// A comparison of the state.
  private static func state(_ operation: String, _ right: String) -> String {
    #"{"op": "\#(operation)", "left": {"ct": {"key": "state"}}, "right": \#(right)}"#
  }

  /// A comparison, and a statement that follows.
  private static func match(
    _ operation: String, _ left: String, _ right: String, _ next: String? = nil
  ) -> String {
    let match = #"{"match": {"op": "\#(operation)", "left": \#(left), "right": \#(right)}}"#
    return next.map { "\(match), \($0)" } ?? match
  }

  private static let ctState = #"{"ct": {"key": "state"}}"#
  private static let l4proto = #"{"meta": {"key": "l4proto"}}"#
  private static let flags = #"{"payload": {"protocol": "tcp", "field": "flags"}}"#

  /// Two tables, one of family inet that has every base chain, and rules in them: chain, and statements.
  private static func json(
    _ rules: [(chain: String, statements: String)], sets: [String] = [], more: [String] = []
  ) -> String {
    var objects = [#"{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}"#] + more
    objects.append(#"{"table": {"family": "inet", "name": "t", "handle": 1}}"#)
    objects += sets
    for (name, kind, hook, priority) in [
      ("prerouting", "nat", "prerouting", -100), ("postrouting", "nat", "postrouting", 100),
      ("forward", "filter", "forward", 0), ("input", "filter", "input", 0),
      ("raw", "filter", "prerouting", -300), ("late", "filter", "prerouting", -150),
    ] {
      objects.append(
        #"{"chain": {"family": "inet", "table": "t", "name": "\#(name)", "handle": 2, "type": "\#(kind)", "hook": "\#(hook)", "prio": \#(priority), "policy": "accept"}}"#
      )
    }
    objects.append(#"{"chain": {"family": "inet", "table": "t", "name": "user", "handle": 9}}"#)
    for (chain, statements) in rules {
      objects.append(
        #"{"rule": {"family": "inet", "table": "t", "chain": "\#(chain)", "handle": 40, "expr": [\#(statements)]}}"#
      )
    }
    return #"{"nftables": [\#(objects.joined(separator: ",\n"))]}"#
  }

  private func judge(_ json: String, liberal: Bool = false) throws -> Diagnosis {
    var facts = HostFacts()
    facts.rules[.v4] = try NftablesDocument(Data(json.utf8)).rules(.v4)
    facts.conntrack = ConntrackFacts()
    facts.conntrack?.isLiberal = liberal
    return Diagnosis(facts)
  }

  private func expect(
    _ diagnosis: Diagnosis, _ verdict: Verdict, location: SourceLocation = #_sourceLocation
  ) {
    #expect(
      diagnosis.verdict == verdict, "\(diagnosis.paths) \(diagnosis.findings.map(\.reason))",
      sourceLocation: location)
  }

  private static let firsts: [(String, Verdict)] = [
    (match("in", ctState, #""new""#, dnat), Verdict.exposed),
    (
      match("==", #"{"ct": {"key": "ip daddr", "dir": "original"}}"#, #""10.96.0.10""#) + ","
        + dnat, .exposed
    ),
    (match("==", flags, #""syn""#, dnat), .exposed),
    (match("==", l4proto, #""tcp""#, dnat), .exposed),
    (match("==", l4proto, #"{"set": ["tcp", "udp"]}"#, dnat), .exposed),
    (match("==", l4proto, #""udp""#, dnat), .notExposed),
    (
      match("==", #"{"payload": {"protocol": "udp", "field": "dport"}}"#, "53", dnat),
      .notExposed
    ),
    // Of an address of the other family.
    (#"{"dnat": {"family": "ip6", "addr": "fd00::1", "port": 80}}"#, .notExposed),
    (
      #"{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": {"set": [["udp", {"jump": {"target": "user"}}]]}}}"#,
      .notExposed
    ),
    (
      #"{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": {"set": [["tcp", {"jump": {"target": "user"}}]]}}}"#,
      .exposed
    ),
    (
      #"{"xt": {"type": "match", "name": "conntrack"}}, {"xt": {"type": "target", "name": "NETMAP"}}"#,
      .exposed
    ),
  ]

  @Test(
    "chains for translation see the first segment, whatever a rule there asks for",
    arguments: firsts)
  func firstSegments(rule: String, verdict: Verdict) throws {
    expect(try judge(Self.json([("prerouting", rule), ("user", Self.dnat)])), verdict)
  }

  private static let sets = [
    #"{"set": {"family": "inet", "name": "ok", "table": "t", "type": "ct_state", "handle": 3, "elem": ["established", "related"]}}"#,
    #"{"set": {"family": "inet", "name": "bad", "table": "t", "type": "ct_state", "handle": 3, "elem": ["invalid", {"elem": {"val": "untracked", "comment": "x"}}]}}"#,
    #"{"set": {"family": "inet", "name": "brief", "table": "t", "type": "ct_state", "handle": 5, "flags": ["timeout"], "elem": [{"elem": {"val": "invalid", "timeout": 3600, "expires": 3599}}, "new"]}}"#,
    #"{"set": {"family": "inet", "name": "p", "table": "t", "type": "inet_proto", "handle": 6, "elem": ["tcp", "udp"]}}"#,
    #"{"set": {"family": "inet", "name": "u", "table": "t", "type": "inet_proto", "handle": 6, "elem": ["udp", "icmp"]}}"#,
    #"{"map": {"family": "inet", "name": "m", "table": "t", "type": "ct_state", "handle": 8, "map": "verdict", "elem": [["invalid", {"drop": null}], ["established", {"accept": null}]]}}"#,
    #"{"map": {"family": "inet", "name": "others", "table": "t", "type": "ct_state", "handle": 9, "map": "verdict", "elem": [[{"elem": {"val": "established", "comment": "x"}}, {"accept": null}]]}}"#,
  ]

  private static let accepting: [(String, Verdict)] = [
    (match("==", ctState, #""@ok""#), Verdict.protected),
    (match("==", ctState, #""@bad""#), .exposed),
    (match("!=", ctState, #""@bad""#), .protected),
    (match("!=", ctState, #""@ok""#), .exposed),
    (match("==", ctState, #""@brief""#), .unknown),
    (match("==", ctState, #""@elsewhere""#), .unknown),
    (match("!", ctState, #"["established", "related", "new"]"#), .exposed),
    (match("!", ctState, #"["invalid", "new"]"#), .protected),
    // One value, which no segment has that is in one state.
    (match("!=", ctState, #"{"|": ["invalid", "related"]}"#), .exposed),
    (match("!=", ctState, #""invalid""#), .protected),
    (match("==", l4proto, #""@p""#), .exposed),
    (match("==", l4proto, #""@u""#), .protected),
    (match("==", l4proto, #"{"range": [0, 10]}"#), .exposed),
    (match(">", l4proto, #""st""#), .unknown),
    (match("==", flags, #"{"set": ["syn", {"|": ["psh", "ack"]}]}"#), .unknown),
    (match("in", flags, #""ack""#), .exposed),
    (match("!", flags, #""syn""#), .exposed),
    (match("in", flags, #"["syn", "rst"]"#), .protected),
    (match("!=", #"{"&": [\#(flags), ["fin", "syn", "rst", "ack"]]}"#, #""syn""#), .exposed),
    (
      match("==", #"{"&": [\#(flags), {"|": [{"|": ["fin", "syn"]}, "rst"]}]}"#, #""syn""#),
      .protected
    ),
    // A connection that is not there has no status, and also not another.
    (match("!", #"{"ct": {"key": "status"}}"#, #""dnat""#), .protected),
    (match("!=", #"{"&": [{"ct": {"key": "mark"}}, 255]}"#, "0"), .protected),
    (
      match(
        "==", #"{"concat": [\#(ctState), \#(l4proto)]}"#,
        #"{"set": [{"concat": ["established", "tcp"]}, {"concat": ["invalid", "udp"]}]}"#),
      .protected
    ),
    (
      match(
        "==", #"{"concat": [\#(ctState), \#(l4proto)]}"#,
        #"{"set": [{"concat": ["invalid", "tcp"]}]}"#), .exposed
    ),
  ]

  @Test(
    "what lets through before the drop",
    arguments: accepting)
  func accepts(condition: String, verdict: Verdict) throws {
    let rules = [
      ("prerouting", Self.dnat), ("forward", "\(condition), {\"accept\": null}"),
      ("forward", Self.drop),
    ]
    expect(try judge(Self.json(rules, sets: Self.sets)), verdict)
  }

  private static let dropping: [(String, Verdict)] = [
    (#"{"vmap": {"key": \#(ctState), "data": "@m"}}"#, Verdict.protected),
    (#"{"vmap": {"key": \#(ctState), "data": "@others"}}"#, .exposed),
    (
      #"{"vmap": {"key": \#(ctState), "data": {"set": [["established", {"accept": null}], ["*", {"drop": null}]]}}}"#,
      .protected
    ),
    (
      #"{"vmap": {"key": \#(ctState), "data": {"set": [["*", {"drop": null}], ["invalid", {"accept": null}]]}}}"#,
      .exposed
    ),
    (
      #"{"vmap": {"key": {"concat": [\#(ctState), {"meta": {"key": "iifname"}}]}, "data": {"set": [[{"concat": ["invalid", "b0"]}, {"drop": null}]]}}}"#,
      .unknown
    ),
    (
      #"{"vmap": {"key": {"concat": [\#(ctState), {"meta": {"key": "iifname"}}]}, "data": {"set": [[{"concat": ["new", "b0"]}, {"drop": null}]]}}}"#,
      .exposed
    ),
    // What the map has nothing for goes on to the rest of the rule, and what it accepts does not.
    (
      #"{"vmap": {"key": {"payload": {"protocol": "ip", "field": "daddr"}}, "data": {"set": [["10.0.0.1", {"accept": null}]]}}}, {"drop": null}"#,
      .unknown
    ),
    (match("==", ctState, #""@bad""#, #"{"drop": null}"#), .protected),
    (match("==", ctState, #""@brief""#, #"{"drop": null}"#), .unknown),
    (
      match("!", ctState, #"["established", "related", "new", "untracked"]"#, #"{"drop": null}"#),
      .protected
    ),
    (match("!=", ctState, #""@ok""#, #"{"drop": null}"#), .protected),
    (
      match(
        "in", ctState, #""invalid""#,
        #"{"log": {"prefix": "x"}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}"#),
      .protected
    ),
    // Limits of every kind.
    (#"{"ct count": {"val": 1000, "inv": true}}, {"drop": null}"#, .exposed),
    (
      match(
        "in", ctState, #""invalid""#, #"{"ct count": {"val": 1000, "inv": true}}, {"drop": null}"#),
      .unknown
    ),
    (
      match(
        "in", ctState, #""invalid""#,
        #"{"set": {"op": "update", "elem": {"payload": {"protocol": "ip", "field": "saddr"}}, "set": "@dyn", "stmt": [{"limit": {"rate": 5, "burst": 5, "per": "second"}}]}}, {"drop": null}"#
      ),
      .unknown
    ),
    (
      match(
        "in", ctState, #""invalid""#,
        #"{"meter": {"key": {"payload": {"protocol": "ip", "field": "saddr"}}, "stmt": {"limit": {"rate": 5, "burst": 5, "per": "second"}}, "size": 65535, "name": "m3"}}, {"drop": null}"#
      ),
      .unknown
    ),
    (match("in", ctState, #""invalid""#, #"{"something new": {}}, {"drop": null}"#), .unknown),
    (
      match("in", ctState, #""invalid""#, #"{"xt": {"type": "target", "name": "REJECT"}}"#),
      .unknown
    ),
    (match("in", ctState, #""invalid""#, #"{"reject": {"type": "tcp reset"}}"#), .exposed),
    (match("in", ctState, #""invalid""#, #"{"queue": {"num": 0}}"#), .unknown),
  ]

  @Test(
    "what drops all of them, some, or none",
    arguments: dropping)
  func drops(statements: String, verdict: Verdict) throws {
    let rules = [("prerouting", Self.dnat), ("forward", statements)]
    expect(try judge(Self.json(rules, sets: Self.sets)), verdict)
  }

  @Test("a set that rules put elements into has none that can be counted on")
  func written() throws {
    let rules = [
      ("prerouting", Self.dnat),
      ("input", #"{"set": {"op": "add", "elem": \#(Self.ctState), "set": "@ok"}}"#),
      ("forward", Self.match("==", Self.ctState, #""@ok""#, #"{"accept": null}"#)),
      ("forward", Self.drop),
    ]
    expect(try judge(Self.json(rules, sets: Self.sets)), .unknown)
  }

  @Test(
    "a table that is asleep neither translates nor drops",
    arguments: [#"["dormant"]"#, #"["owner", "dormant"]"#, #""Lester Gooch #5""#])
  func dormant(flags: String) throws {
    func table(_ flags: String?, _ chain: String, _ statements: String) -> [String] {
      let flags = flags.map { #", "flags": \#($0)"# } ?? ""
      return [
        #"{"table": {"family": "ip", "name": "z", "handle": 7\#(flags)}}"#,
        #"{"chain": {"family": "ip", "table": "z", "name": "c", "handle": 1, \#(chain), "policy": "accept"}}"#,
        #"{"rule": {"family": "ip", "table": "z", "chain": "c", "handle": 2, "expr": [\#(statements)]}}"#,
      ]
    }
    func diagnose(_ rules: [(chain: String, statements: String)], _ more: [String]) throws
      -> Diagnosis
    {
      var document = try NftablesDocument(Data(Self.json(rules, more: more).utf8))
      document.asleep = Set(document.unclearTables)
      var facts = HostFacts()
      facts.rules[.v4] = document.rules(.v4)
      return Diagnosis(facts)
    }
    let drops = #""type": "filter", "hook": "forward", "prio": 0"#
    let translates = #""type": "nat", "hook": "prerouting", "prio": -100"#
    let rules = [("prerouting", Self.dnat)]
    expect(try diagnose(rules, table(nil, drops, Self.drop)), .protected)
    expect(try diagnose(rules, table(#"["owner"]"#, drops, Self.drop)), .protected)
    expect(try diagnose(rules, table(flags, drops, Self.drop)), .exposed)
    expect(try diagnose([], table(nil, translates, Self.dnat)), .exposed)
    expect(try diagnose([], table(flags, translates, Self.dnat)), .notExposed)
  }

  @Test("tables of iptables may be asleep as well, and nft says of each whether it is")
  func dormantIptables() throws {
    let document = try NftablesDocument(
      Data(
        #"{"nftables": [{"table": {"family": "ip", "name": "nat", "flags": ["dormant"]}}, {"table": {"family": "inet", "name": "a", "flags": "x"}}]}"#
          .utf8))
    #expect(document.dormantTables(.v4) == ["nat"])
    #expect(document.dormantTables(.v6).isEmpty)
    #expect(document.unclearTables == ["inet a"])
    let text = IptablesVerdictTests.rules(
      nat: IptablesVerdictTests.dnat, filter: IptablesVerdictTests.dropForwarded)
    var facts = HostFacts()
    facts.rules[.v4] = IptablesParser.parse(text, source: "iptables-nft", dormant: ["filter"])
    expect(Diagnosis(facts), .exposed)
    facts.rules[.v4] = IptablesParser.parse(text, source: "iptables-nft", dormant: ["nat"])
    expect(Diagnosis(facts), .notExposed)
    let listed = "# Warning: do not touch!\ntable ip nat {\n\tflags dormant\n\n\tchain c {\n\t}\n}"
    #expect(NftablesDocument.isDormant(listed))
    for other in ["flags owner", "chain c {\n\t\tflags dormant", "comment \"flags dormant\""] {
      #expect(!NftablesDocument.isDormant(listed.replacing("flags dormant", with: other)))
    }
  }

  @Test("chains that iptables does not tell of are read from nft, in the tables of both")
  func beside() throws {
    let text =
      "*nat\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n-A OUTPUT -p udp -j DOCKER\n-A DOCKER -j DNAT --to-destination 10.8.3.9\nCOMMIT"
    func chain(_ table: String, _ name: String, _ base: String) -> String {
      #"{"chain": {"family": "ip", "table": "\#(table)", "name": "\#(name)", "handle": 1\#(base)}}"#
    }
    func rule(_ table: String, _ chain: String, _ statements: String) -> String {
      #"{"rule": {"family": "ip", "table": "\#(table)", "chain": "\#(chain)", "handle": 2, "expr": [\#(statements)]}}"#
    }
    let listed = [
      chain("nat", "DOCKER", ""),
      chain(
        "nat", "OUTPUT", #", "type": "nat", "hook": "output", "prio": -100, "policy": "accept""#),
      // What nft makes of it is not as much.
      rule("nat", "OUTPUT", #"{"xt": {"type": "target", "name": "DNAT"}}"#),
    ]
    let prerouting = chain(
      "nat", "prerouting",
      #", "type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept""#)
    func diagnose(_ objects: [String]) throws -> Diagnosis {
      var rules = IptablesParser.parse(text, source: "iptables-nft")
      let known = NftablesDocument.Known(IptablesParser.chains(text), source: "iptables-nft")
      let document = try NftablesDocument(Data(Self.json([], more: objects).utf8))
      rules.merge(document.rules(.v4, known: known))
      var facts = HostFacts()
      facts.rules[.v4] = rules
      return Diagnosis(facts)
    }
    expect(try diagnose(listed), .notExposed)
    expect(try diagnose(listed + [prerouting]), .notExposed)
    let own = try diagnose(listed + [prerouting, rule("nat", "prerouting", Self.dnat)])
    expect(own, .exposed)
    #expect(own.translations[.v4]?.tables == ["nft ip nat"])
    // Into a chain that iptables has told of.
    let shared = try diagnose(
      listed + [prerouting, rule("nat", "prerouting", #"{"jump": {"target": "DOCKER"}}"#)])
    expect(shared, .exposed)
    #expect(shared.translations[.v4]?.destinations == ["10.8.3.9"])
  }

  @Test(
    "segments that lose their state after connection tracking has looked are not met by what asks for it"
  )
  func lateUntracked() throws {
    func diagnose(_ chain: String, _ statements: String) throws -> Diagnosis {
      try judge(
        Self.json([("prerouting", Self.dnat), ("forward", Self.drop), (chain, statements)]),
        liberal: true)
    }
    let some = #"{"limit": {"rate": 5, "burst": 5, "per": "second"}}, {"notrack": null}"#
    expect(try diagnose("raw", #"{"notrack": null}"#), .protected)
    expect(try diagnose("raw", some), .unknown)
    expect(try diagnose("late", #"{"notrack": null}"#), .unknown)
    let address = Self.match(
      "==", #"{"payload": {"protocol": "ip", "field": "daddr"}}"#, #""169.254.20.10""#)
    expect(try diagnose("raw", "\(address), {\"notrack\": null}"), .protected)
  }
}
