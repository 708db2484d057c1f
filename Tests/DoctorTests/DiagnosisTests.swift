// What is read out of rules, and how it is judged, without a kernel.

import Foundation
import Testing

@testable import Doctor

@Suite("Doctor: rules and verdicts") struct DiagnosisTests {
  private func facts(_ v4: String = "", _ v6: String = "", liberal: Bool = false) -> HostFacts {
    var facts = HostFacts()
    facts.rules = [
      .v4: IptablesParser.parse(v4, source: "iptables-nft"),
      .v6: IptablesParser.parse(v6, source: "ip6tables-nft"),
    ]
    facts.conntrack = ConntrackFacts()
    facts.conntrack?.isLiberal = liberal
    return facts
  }

  private func state(_ diagnosis: Diagnosis, _ path: ReplyPath, _ family: Family = .v4)
    -> PathState?
  {
    diagnosis.paths.first { $0.path == path && $0.family == family }?.state
  }

  @Test(
    "each ruleset of iptables has its verdict",
    arguments: [
      ("", Verdict.notExposed),
      (Rulesets.kubeProxy(), .exposed),
      // The replies to masqueraded connections come in by INPUT.
      (Rulesets.kubeProxy(drop: Rulesets.kubeDrop), .exposed),
      (Rulesets.kubeProxy(drop: Rulesets.kubeDrop, input: Rulesets.inputDrop), .protected),
      (Rulesets.kubeProxy(drop: Rulesets.kubeCountedDrop, input: Rulesets.inputDrop), .protected),
      (Rulesets.docker, .exposed),
      (Rulesets.strictRouter, .protected),
      (Rulesets.shield, .protected),
      (
        Rulesets.kubeProxy(
          filter: "-A FORWARD -i cali+ -j ACCEPT", input: Rulesets.inputDrop
        )
        .replacing(
          "-A FORWARD -m comment",
          with: "-A FORWARD -m conntrack --ctstate INVALID -j DROP\n-A FORWARD -m comment"),
        .unknown
      ),
      (
        Rulesets.kubeProxy(
          drop: "-A KUBE-FORWARD -i eth0 -m conntrack --ctstate INVALID -j DROP",
          input: Rulesets.inputDrop), .unknown
      ),
      // Rejecting does what dropping should prevent.
      (
        Rulesets.kubeProxy(
          drop:
            "-A KUBE-FORWARD -p tcp -m conntrack --ctstate INVALID -j REJECT --reject-with tcp-reset",
          input: Rulesets.inputDrop), .exposed
      ),
      // Drops that are about something else help nobody.
      (
        Rulesets.kubeProxy(
          drop: "-A KUBE-FORWARD -s 198.51.100.0/24 -j DROP",
          input: Rulesets.inputDrop), .exposed
      ),
    ])
  func verdicts(rules: String, verdict: Verdict) {
    let diagnosis = Diagnosis(facts(rules))
    #expect(diagnosis.verdict == verdict, "\(diagnosis.paths) \(diagnosis.findings.map(\.reason))")
    #expect(!diagnosis.headline.isEmpty)
    #expect(
      Diagnosis(facts(rules, liberal: true)).verdict
        == (verdict == .notExposed ? .notExposed : .protected))
  }

  @Test("a drop in FORWARD alone leaves what comes to the node itself open, and that is said")
  func inputIsOpen() throws {
    let diagnosis = Diagnosis(facts(Rulesets.kubeProxy(drop: Rulesets.kubeDrop)))
    guard case .dropped(let place) = state(diagnosis, .forwarded) else {
      Issue.record("forwarded: \(String(describing: state(diagnosis, .forwarded)))")
      return
    }
    #expect(place.chain == "KUBE-FORWARD")
    #expect(state(diagnosis, .masqueraded) == .open)
    #expect(state(diagnosis, .own) == .open)
    #expect(diagnosis.headline.contains("its own address"))
    #expect(diagnosis.remedies.map(\.cure) == [.beLiberal, .dropInvalid])
  }

  @Test("IPv6 is judged by its own rules")
  func families() {
    let guarded = Rulesets.kubeProxy(drop: Rulesets.kubeDrop, input: Rulesets.inputDrop)
    let diagnosis = Diagnosis(facts(guarded, Rulesets.kubeProxy()))
    #expect(diagnosis.verdict == .exposed)
    #expect(diagnosis.headline.contains("IPv6"))
    #expect(!diagnosis.headline.contains("IPv4"))
  }

  private static let invalid =
    #"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "invalid"}}"#

  @Test(
    "rules of nftables: kube-proxy's come without a drop, and each way of writing one is understood",
    arguments: [
      ("", PathState?.some(.open)),
      (#"\#(invalid), {"drop": null}"#, nil),
      (
        #"{"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": {"set": ["invalid", "untracked"]}}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}"#,
        nil
      ),
      (
        #"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["invalid", "new"]}}, {"drop": null}"#,
        nil
      ),
      (
        #"{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["invalid", {"drop": null}], ["established", {"accept": null}]]}}}"#,
        nil
      ),
      (
        #"{"match": {"op": "!=", "left": {"ct": {"key": "state"}}, "right": {"set": ["established", "related"]}}}, {"drop": null}"#,
        nil
      ),
      (
        #"{"match": {"op": "==", "left": {"&": [{"ct": {"key": "state"}}, "invalid"]}, "right": "invalid"}}, {"drop": null}"#,
        nil
      ),
      // Not for this family, not TCP, not this state.
      (
        #"{"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": "ipv6"}}, \#(invalid), {"drop": null}"#,
        .open
      ),
      (
        #"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "udp"}}, \#(invalid), {"drop": null}"#,
        .open
      ),
      (
        #"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "established"}}, {"drop": null}"#,
        .open
      ),
    ])
  func nftables(statements: String, expected: PathState?) throws {
    let more =
      statements.isEmpty
      ? ""
      : Rulesets.nftRule("filter-forward", statements)
        + Rulesets.nftRule("filter-input", statements)
    var facts = HostFacts()
    let json = Data(Rulesets.kubeProxyNft(more).utf8)
    facts.rules = [
      .v4: try NftablesDocument(json).rules(.v4), .v6: try NftablesDocument(json).rules(.v6),
    ]
    let diagnosis = Diagnosis(facts)
    let translation = try #require(diagnosis.translations[.v4])
    #expect(translation.destinations == ["10.8.3.9:8080"])
    #expect(translation.forOthers && translation.forOwn && translation.masquerades)
    #expect(diagnosis.translations[.v6]?.isNone == true)
    let found = try #require(state(diagnosis, .forwarded))
    if let expected {
      #expect(found == expected)
      #expect(diagnosis.verdict == .exposed)
    } else {
      #expect(found.isClosed, "\(found)")
      #expect(diagnosis.verdict == .protected)
    }
  }

  @Test("where only nft is there, rules of iptables are half read, and nothing is claimed of them")
  func halfRead() throws {
    let json =
      #"{"nftables": [{"chain": {"family": "ip", "table": "nat", "name": "PREROUTING", "handle": 2, "type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"}}, {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 2, "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}}, {"rule": {"family": "ip", "table": "nat", "chain": "PREROUTING", "handle": 4, "expr": [{"counter": {"packets": 0, "bytes": 0}}, {"xt": {"type": "target", "name": "DNAT"}}]}}, {"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 4, "expr": [{"xt": {"type": "match", "name": "conntrack"}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}}]}"#
    var facts = HostFacts()
    facts.rules[.v4] = try NftablesDocument(Data(json.utf8)).rules(.v4)
    #expect(Diagnosis(facts).verdict == .unknown)
  }

  @Test("the shield is known in both languages, and only if it covers the ports that are used")
  func shield() throws {
    func rule(_ sport: String) -> String {
      #"{"nftables": [{"chain": {"family": "inet", "table": "a", "name": "o", "handle": 1, "type": "filter", "hook": "output", "prio": 0, "policy": "accept"}}, {"rule": {"family": "inet", "table": "a", "chain": "o", "handle": 2, "expr": [\#(sport){"match": {"op": "==", "left": {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["rst", "ack"]]}, "right": "rst"}}, {"log": {"group": 5}}, {"drop": null}]}}]}"#
    }
    for (sport, ports) in [
      ("", 0...65535),
      (
        #"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "sport"}}, "right": {"range": [32768, 60999]}}},"#,
        32768...60999
      ),
    ] {
      let rules = try NftablesDocument(Data(rule(sport).utf8)).rules(.v6)
      #expect(Translation(rules, localPorts: ports).shield?.ports == ports)
      #expect((Translation(rules, localPorts: 1024...65535).shield == nil) == !sport.isEmpty)
    }
    var few = facts(Rulesets.shield)
    few.localPorts = 1024...60999
    #expect(Diagnosis(few).verdict == .exposed)
    var pod = facts(Rulesets.shield.replacing("-A OUTPUT -d", with: "-A NOWHERE -d"))
    pod.localPorts = 32768...60999
    #expect(Diagnosis(pod).verdict == .notExposed)
    #expect(Diagnosis(pod).headline.contains("shield"))
  }

  @Test(
    "rules that nobody has seen leave the verdict open, unless the setting protects whatever they are"
  )
  func hidden() {
    var unseen = facts(Rulesets.kubeProxy(drop: Rulesets.kubeDrop, input: Rulesets.inputDrop))
    unseen.obstacles = [Obstacle("nft: no", remedy: "root", hidesRules: true)]
    #expect(Diagnosis(unseen).verdict == .unknown)
    unseen.conntrack?.isLiberal = true
    #expect(Diagnosis(unseen).verdict == .protected)
    // What is seen to be open is open.
    unseen.rules[.v4] = IptablesParser.parse(Rulesets.kubeProxy(), source: "iptables-nft")
    unseen.conntrack?.isLiberal = false
    #expect(Diagnosis(unseen).verdict == .exposed)
  }

  @Test("a table of connections that is nearly full is a fault, one that has been full a warning")
  func full() {
    var facts = facts()
    facts.conntrack?.count = 250_000
    facts.conntrack?.maximum = 262_144
    #expect(Diagnosis(facts).verdict == .exposed)
    #expect(Diagnosis(facts).headline.contains("250000 of 262144"))
    facts.conntrack?.count = 1000
    facts.conntrack?.counters = ["early_drop": 3]
    #expect(Diagnosis(facts).verdict == .notExposed)
    #expect(
      Diagnosis(facts).findings.contains {
        $0.code == "conntrack-dropped" && $0.severity == .warning
      })
  }

  @Test("idle connections that are forgotten early are told with what to set")
  func idle() {
    var facts = facts(Rulesets.kubeProxy(), liberal: true)
    facts.conntrack?.establishedTimeout = 40
    let finding = Diagnosis(facts).findings.first { $0.code == "idle-timeout" }
    #expect(finding?.remedy?.contains("upstream.idle-timeout below 30s") == true)
  }

  @Test("the kernel's files are read by name, whatever their columns")
  func files() {
    let text = """
      entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error
      00000007  00000000 00000000 00000000 0000000a 00000000 00000000 00000000 00000000 00000001 00000000 00000002 00000000
      00000007  00000000 00000000 00000000 00000010 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
      """
    let counters = ConntrackFacts.counters(text)
    #expect(counters["invalid"] == 26)
    #expect(counters["insert_failed"] == 1)
    #expect(counters["early_drop"] == 2)
    #expect(counters["entries"] == nil)
    let ipvs = """
      IP Virtual Server version 1.2.1 (size=4096)
      Prot LocalAddress:Port Scheduler Flags
        -> RemoteAddress:Port Forward Weight ActiveConn InActConn
      TCP  0A60000A:0050 rr
        -> 0A080309:1F90      Masq    1      0          0
      TCP  [fd00:0010:0096:0000:0000:0000:0000:000a]:0050 rr
      """
    #expect(HostFacts.virtualServices(ipvs) == 2)
    #expect(HostFacts.ports("32768\t60999\n") == 32768...60999)
    let capabilities = Capabilities(status: "Name:\tx\nCapEff:\t0000000000003000\n")
    #expect(capabilities.has(Capabilities.netRaw) && capabilities.has(Capabilities.netAdmin))
    #expect(!capabilities.has(Capabilities.sysAdmin))
  }

  @Test(
    "kernels of 6.1 and later leave early segments alone",
    arguments: [
      ("6.18.44-fc", true), ("6.1.0", true), ("6.0.19", false), ("5.15.0-91-generic", false),
      ("10.0", true), ("", false),
    ])
  func kernels(text: String, ignores: Bool) {
    #expect(KernelVersion(text).ignoresEarlySegments == ignores)
  }

  @Test("text that no tool has printed is survived")
  func nonsense() {
    for text in [
      "-A", "*\n:\n-A X -j", "*nat\n-A PREROUTING ! ! -p -j DNAT", "\"",
      "-A X -m comment --comment \"a\\\" b\" -j DROP",
    ] {
      _ = Diagnosis(facts(text))
    }
    for json in ["{", "[]"] {
      #expect(throws: NftablesDocument.Malformed.self) { try NftablesDocument(Data(json.utf8)) }
    }
    // Chains that lead to one another.
    let loop =
      "*filter\n:FORWARD ACCEPT [0:0]\n:A - [0:0]\n-A FORWARD -j A\n-A A -j A\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DNAT --to-destination 1.2.3.4\nCOMMIT"
    #expect(Diagnosis(facts(loop)).verdict == .exposed)
  }
}
