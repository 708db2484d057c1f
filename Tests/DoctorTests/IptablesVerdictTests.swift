// What is made of rules as iptables-save prints them: each in a small ruleset that translates, with the verdict that a probe
// through it would confirm, or `unknown` where that depends on more than the rules tell.

import Testing

@testable import Doctor

@Suite("Doctor: rules of iptables") struct IptablesVerdictTests {
  static let dnat =
    "-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.8.3.9:8080"
  static let masquerade = "-A POSTROUTING -o b0 -j MASQUERADE"
  static let dropForwarded = "-A FORWARD -m conntrack --ctstate INVALID -j DROP"
  static let dropInput = "-A INPUT -m conntrack --ctstate INVALID -j DROP"

  /// Rules of iptables by table; policies accept unless they are named.
  static func rules(
    nat: String = "", filter: String = "", mangle: String = "", raw: String = "",
    input: String = "ACCEPT", forward: String = "ACCEPT", chains: [String] = []
  ) -> String {
    let own = chains.map { ":\($0) - [0:0]\n" }.joined()
    return """
      *raw
      :PREROUTING ACCEPT [0:0]
      :OUTPUT ACCEPT [0:0]
      \(raw)
      COMMIT
      *mangle
      :PREROUTING ACCEPT [0:0]
      :INPUT ACCEPT [0:0]
      :FORWARD ACCEPT [0:0]
      \(mangle)
      COMMIT
      *nat
      :PREROUTING ACCEPT [0:0]
      :INPUT ACCEPT [0:0]
      :OUTPUT ACCEPT [0:0]
      :POSTROUTING ACCEPT [0:0]
      \(own)\(nat)
      COMMIT
      *filter
      :INPUT \(input) [0:0]
      :FORWARD \(forward) [0:0]
      :OUTPUT ACCEPT [0:0]
      \(own)\(filter)
      COMMIT
      """
  }

  static func facts(_ text: String, liberal: Bool = false) -> HostFacts {
    var facts = HostFacts()
    facts.rules[.v4] = IptablesParser.parse(text, source: "iptables-nft")
    facts.conntrack = ConntrackFacts()
    facts.conntrack?.isLiberal = liberal
    return facts
  }

  private func judge(_ text: String, liberal: Bool = false) -> Diagnosis {
    Diagnosis(Self.facts(text, liberal: liberal))
  }

  private func expect(
    _ diagnosis: Diagnosis, _ verdict: Verdict, location: SourceLocation = #_sourceLocation
  ) {
    #expect(
      diagnosis.verdict == verdict, "\(diagnosis.paths) \(diagnosis.findings.map(\.reason))",
      sourceLocation: location)
  }

  // MARK: Chains for translation

  @Test(
    "chains for translation see the first segment, whatever a rule there asks for",
    arguments: [
      "-A PREROUTING -d 10.96.0.10/32 -p tcp -m conntrack --ctstate NEW -m tcp --dport 80 -j DNAT --to-destination 10.8.3.9:8080",
      "-A PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN --dport 80 -j DNAT --to-destination 10.8.3.9",
      "-A PREROUTING -p tcp --syn --dport 80 -j DNAT --to-destination 10.8.3.9",
      "-A PREROUTING -p tcp -m conntrack --ctorigdst 10.96.0.10 -j DNAT --to-destination 10.8.3.9",
      "-A PREROUTING -d 10.96.0.0/24 -j NETMAP --to 10.8.3.0/24",
      "-A OUTPUT -d 127.0.0.1/32 -o lo -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.8.3.9",
      "-A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE",
      "-A POSTROUTING -o b0 -m conntrack --ctstate NEW -j MASQUERADE",
      "-A POSTROUTING -s 10.8.3.0/24 -j NETMAP --to 10.9.3.0/24",
    ])
  func firstSegments(rule: String) {
    expect(judge(Self.rules(nat: rule)), .exposed)
  }

  @Test("what is masqueraded by its state is exposed in INPUT, though FORWARD drops")
  func masqueradedByState() {
    for rule in [
      "-A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE",
      "-A POSTROUTING -o b0 -m conntrack --ctstate NEW -j MASQUERADE",
    ] {
      expect(
        judge(Self.rules(nat: "\(Self.dnat)\n\(rule)", filter: Self.dropForwarded)), .exposed)
      expect(
        judge(
          Self.rules(
            nat: "\(Self.dnat)\n\(rule)", filter: "\(Self.dropForwarded)\n\(Self.dropInput)")),
        .protected)
    }
  }

  @Test("what no TCP segment meets translates none, also where that is asked for on the way there")
  func otherProtocols() {
    for rule in [
      "-A PREROUTING -p udp -m udp --dport 53 -j DNAT --to-destination 10.8.3.9",
      "-A PREROUTING ! -p tcp -j DNAT --to-destination 10.8.3.9",
      "-A PREROUTING -d 10.96.0.10/32 -p udp -j DNS\n-A DNS -j DNAT --to-destination 10.8.3.9",
    ] {
      expect(judge(Self.rules(nat: rule, chains: ["DNS"])), .notExposed)
    }
    expect(
      judge(
        Self.rules(
          nat: "-A PREROUTING -p tcp -j DNS\n-A DNS -j DNAT --to-destination 10.8.3.9",
          chains: ["DNS"])), .exposed)
  }

  @Test("where nothing is forwarded DNAT exposes nobody, and that is said")
  func notForwarding() {
    var facts = Self.facts(Self.rules(nat: Self.dnat))
    facts.forwards = [.v4: false, .v6: true]
    let diagnosis = Diagnosis(facts)
    expect(diagnosis, .notExposed)
    #expect(diagnosis.headline.contains("nothing is forwarded"))
    #expect(diagnosis.findings.contains { $0.reason.contains("net.ipv4.ip_forward is 0") })
    // Its own programs need no forwarding.
    facts.rules[.v4] = IptablesParser.parse(
      Self.rules(nat: "-A OUTPUT -p tcp -j DNAT --to-destination 10.8.3.9"), source: "iptables-nft")
    expect(Diagnosis(facts), .exposed)
  }

  // MARK: Firewalls

  /// Lets in ssh and what it knows.
  static let lockedInput = """
    -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A INPUT -i lo -j ACCEPT
    -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
    """

  @Test(
    "an ordinary firewall drops what is INVALID without naming it",
    arguments: [
      // A rule that lets some in does not meet replies to masqueraded connections.
      (lockedInput, Verdict.protected),
      (lockedInput + "\n-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT", .protected),
      // Ports from 1024 on may be given to a masqueraded connection.
      (lockedInput + "\n-A INPUT -p tcp -m tcp --dport 10250 -j ACCEPT", .unknown),
      (lockedInput + "\n-A INPUT -s 192.0.2.0/24 -j ACCEPT", .unknown),
      (lockedInput + "\n-A INPUT -p tcp -m tcp ! --dport 8080 -j ACCEPT", .unknown),
      (lockedInput + "\n-A INPUT -p tcp -j ACCEPT", .exposed),
    ])
  func lockedMasquerade(filter: String, verdict: Verdict) {
    expect(judge(Self.rules(nat: Self.masquerade, filter: filter, input: "DROP")), verdict)
    // The same with its end written out.
    expect(judge(Self.rules(nat: Self.masquerade, filter: filter + "\n-A INPUT -j DROP")), verdict)
  }

  @Test(
    "where masqueraded connections are given lower ports, rules for such ports may meet replies")
  func chosenPorts() {
    for nat in [
      "-A POSTROUTING -p tcp -j MASQUERADE --to-ports 20-30",
      "-A POSTROUTING -p tcp -j SNAT --to-source 203.0.113.7:20-30",
    ] {
      expect(judge(Self.rules(nat: nat, filter: Self.lockedInput, input: "DROP")), .unknown)
    }
  }

  @Test(
    "a FORWARD chain that drops the rest",
    arguments: [
      ("-A FORWARD -i c0 -d 10.2.0.2/32 -p tcp -m tcp --dport 3130 -j ACCEPT", Verdict.unknown),
      ("-A FORWARD -i b0 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT", .protected),
      ("-A FORWARD -i b0 ! -o b0 -j ACCEPT", .unknown),
      ("-A FORWARD -j ACCEPT", .exposed),
    ])
  func lockedForward(rule: String, verdict: Verdict) {
    let filter = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\(rule)"
    let diagnosis = judge(
      Self.rules(
        nat: "\(Self.dnat)\n\(Self.masquerade)", filter: "\(Self.lockedInput)\n\(filter)",
        input: "DROP", forward: "DROP"))
    expect(diagnosis, verdict)
    if verdict == .unknown {
      #expect(diagnosis.findings.contains { $0.reason.contains(rule) })
      #expect(diagnosis.findings.contains { $0.reason.contains("policy drop") })
    }
  }

  @Test(
    "a reset under conditions is no drop",
    arguments: [
      (
        "-A INPUT -i b0 -p tcp -j REJECT --reject-with tcp-reset\n-A INPUT -j DROP", Verdict.unknown
      ),
      (
        "-A INPUT -i b0 -p tcp -j REJECT --reject-with icmp-port-unreachable\n-A INPUT -j DROP",
        .protected
      ),
      // It is the last word on what nobody let in.
      ("-A INPUT -p tcp -j REJECT --reject-with tcp-reset", .exposed),
      (
        "-A INPUT -i b0 -m conntrack --ctstate INVALID -j REJECT --reject-with tcp-reset\n-A INPUT -j DROP",
        .unknown
      ),
      (
        "-A INPUT -i b0 -j IN\n-A IN -p tcp -j REJECT --reject-with tcp-reset\n-A INPUT -j DROP",
        .unknown
      ),
      ("-A INPUT -i b0 -p tcp -j REJECT --reject-with tcp-reset", .exposed),
      (
        "-A INPUT -p tcp -m conntrack --ctstate INVALID -j REJECT --reject-with tcp-reset", .exposed
      ),
      // About something else, and behind the drop.
      (
        "-A INPUT -m conntrack --ctstate INVALID -j DROP\n-A INPUT -p tcp -m tcp --dport 113 -j REJECT --reject-with tcp-reset",
        .protected
      ),
      (
        "-A INPUT -p tcp -m tcp --dport 113 -j REJECT --reject-with tcp-reset\n-A INPUT -m conntrack --ctstate INVALID -j DROP",
        .protected
      ),
      (
        "-A INPUT -p tcp -m tcp --dport 2000 -j REJECT --reject-with tcp-reset\n-A INPUT -m conntrack --ctstate INVALID -j DROP",
        .unknown
      ),
    ])
  func resets(rules: String, verdict: Verdict) {
    let filter = """
      -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
      -A INPUT -i lo -j ACCEPT
      \(rules)
      """
    expect(judge(Self.rules(nat: Self.masquerade, filter: filter, chains: ["IN"])), verdict)
  }

  // MARK: Conditions

  @Test(
    "conditions that meet a stray, or may",
    arguments: [
      // The state decides alone where there is no connection (xt_conntrack).
      (
        "-m conntrack --ctstate INVALID,RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT",
        Verdict.exposed
      ),
      ("-m conntrack --ctdir REPLY --ctstate INVALID -j ACCEPT", .exposed),
      ("-m conntrack --ctdir REPLY -j ACCEPT", .protected),
      ("-m conntrack --ctstate INVALID -m conntrack --ctdir REPLY -j ACCEPT", .protected),
      ("-m conntrack ! --ctstate NEW ! --ctorigdst 10.0.0.1 -j ACCEPT", .exposed),
      ("-m conntrack ! --ctorigdst 10.0.0.1 -j ACCEPT", .protected),
      ("-m socket -j ACCEPT", .unknown),
      ("-p tcp -m rpfilter -j ACCEPT", .unknown),
      ("-p tcp -m time -j ACCEPT", .unknown),
      ("-p tcp -m string --string -p --algo bm -j ACCEPT", .unknown),
      ("-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT", .exposed),
      ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT", .protected),
      ("-p tcp -m tcp --tcp-flags ACK ACK -j ACCEPT", .exposed),
      ("-p tcp -m tcp --tcp-flags SYN,RST NONE -j ACCEPT", .exposed),
      ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE -j ACCEPT", .protected),
      ("-p tcp -m tcp --tcp-flags RST RST -j ACCEPT", .protected),
      ("-p tcp -m tcp --tcp-flags PSH PSH -j ACCEPT", .unknown),
    ])
  func accepts(condition: String, verdict: Verdict) {
    let filter = "-A FORWARD \(condition)\n\(Self.dropForwarded)"
    expect(judge(Self.rules(nat: Self.dnat, filter: filter)), verdict)
  }

  @Test(
    "conditions of a drop that meets every stray, or not",
    arguments: [
      ("-m conntrack --ctstate INVALID --ctdir REPLY -j DROP", Verdict.protected),
      (
        "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate INVALID -j DROP",
        .protected
      ),
      ("-p tcp ! --syn -m conntrack --ctstate INVALID -j DROP", .protected),
      ("-p tcp -m tcp --tcp-flags ACK ACK -m conntrack --ctstate INVALID -j DROP", .protected),
      ("-m conntrack --ctstate INVALID -m socket -j DROP", .unknown),
      ("-m conntrack --ctdir REPLY -j DROP", .exposed),
      ("-p tcp -m socket -j DROP", .exposed),
      ("-p tcp -m tcp --tcp-flags FIN FIN -m conntrack --ctstate INVALID -j DROP", .unknown),
    ])
  func drops(condition: String, verdict: Verdict) {
    expect(judge(Self.rules(nat: Self.dnat, filter: "-A FORWARD \(condition)")), verdict)
    // In mangle everything passes by as well.
    expect(judge(Self.rules(nat: Self.dnat, mangle: "-A PREROUTING \(condition)")), verdict)
  }

  @Test("a rule about sockets before the drop in mangle leaves it open")
  func sockets() {
    let mangle = """
      -A PREROUTING -p tcp -m socket -j ACCEPT
      -A PREROUTING -m conntrack --ctstate INVALID -j DROP
      """
    expect(judge(Self.rules(nat: Self.dnat, mangle: mangle)), .unknown)
  }

  @Test("a connection that somebody translates without a rule leaves the verdict open")
  func translatedUnseen() {
    for (rules, verdict) in [
      ("", Verdict.unknown), (Self.dnat, .exposed),
      ("-A PREROUTING -p udp -j DNAT --to-destination 10.8.3.9", .unknown),
    ] {
      var facts = Self.facts(Self.rules(nat: rules))
      facts.translated = [.v4: "10.0.0.5:40000 > 10.96.0.10:80, answered by 10.8.3.9:80"]
      expect(Diagnosis(facts), verdict)
      facts.conntrack?.isLiberal = true
      expect(Diagnosis(facts), .protected)
    }
  }

  @Test("a target that is not known may do anything, and its rule is named")
  func unknownTargets() {
    for nat in ["-A PREROUTING -p tcp -j NEWNAT", "-A POSTROUTING -o b0 -j NEWNAT --to 1.2.3.4"] {
      let diagnosis = judge(Self.rules(nat: nat))
      expect(diagnosis, .unknown)
      #expect(diagnosis.headline.contains(nat), "\(diagnosis.headline)")
      expect(judge(Self.rules(nat: nat), liberal: true), .protected)
    }
    expect(judge(Self.rules(nat: "-A PREROUTING -p udp -j NEWNAT")), .notExposed)
    expect(
      judge(Self.rules(nat: Self.dnat, filter: "-A FORWARD -j NEWS\n\(Self.dropForwarded)")),
      .unknown)
    expect(judge(Self.rules(nat: "-A POSTROUTING -j FULLCONENAT")), .exposed)
  }

  // MARK: The shield

  private static let own =
    "-A OUTPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.8.3.9:8080"
  private static let shield =
    "-p tcp -m tcp --sport 32768:60999 --tcp-flags RST,ACK RST -j DROP"

  @Test(
    "a shield counts as far as resets get to it",
    arguments: [
      ("-A OUTPUT \(shield)", Verdict.protected),
      ("-A OUTPUT -p tcp -m tcp --tcp-flags RST RST -j DROP", .protected),
      ("-A OUTPUT -o b0 -j ACCEPT\n-A OUTPUT \(shield)", .unknown),
      ("-A OUTPUT -j ACCEPT\n-A OUTPUT \(shield)", .exposed),
      ("-A OUTPUT -d 192.0.2.1/32 -j SH\n-A SH \(shield)", .unknown),
      ("-A OUTPUT -j SH\n-A SH \(shield)", .protected),
      ("-A OUTPUT -p udp -j SH\n-A SH \(shield)", .exposed),
      // What lets through other segments, or none from here.
      ("-A OUTPUT -o lo -j ACCEPT\n-A OUTPUT -p udp -j ACCEPT\n-A OUTPUT \(shield)", .protected),
      ("-A OUTPUT -p tcp --syn -j ACCEPT\n-A OUTPUT \(shield)", .protected),
      ("-A OUTPUT -p tcp -m tcp --sport 22 -j ACCEPT\n-A OUTPUT \(shield)", .protected),
      // For some ports.
      ("-A OUTPUT -p tcp -m tcp --sport 80 --tcp-flags RST,ACK RST -j DROP", .exposed),
      ("-A OUTPUT -p tcp -m tcp --sport 40000 -j ACCEPT\n-A OUTPUT \(shield)", .exposed),
      (
        """
        -A OUTPUT -p tcp -m tcp --sport 32768:39999 --tcp-flags RST,ACK RST -j DROP
        -A OUTPUT -p tcp -m tcp --sport 40000:60999 --tcp-flags RST,ACK RST -j DROP
        """, .protected
      ),
    ])
  func shields(rules: String, verdict: Verdict) {
    expect(judge(Self.rules(nat: Self.own, filter: rules, chains: ["SH"])), verdict)
  }

  @Test("the headline claims a shield only for the families and ports that have it")
  func shieldHeadline() {
    func headline(_ v4: String, _ v6: String) -> Diagnosis {
      var facts = Self.facts(Self.rules(filter: v4, chains: ["SH"]))
      facts.rules[.v6] = IptablesParser.parse(Self.rules(filter: v6), source: "ip6tables-nft")
      let diagnosis = Diagnosis(facts)
      expect(diagnosis, .notExposed)
      return diagnosis
    }
    let whole = "-A OUTPUT \(Self.shield)"
    let one = "-A OUTPUT -p tcp -m tcp --sport 80 --tcp-flags RST,ACK RST -j DROP"
    let both = headline(whole, whole)
    #expect(both.headline.contains("harmless (shield)"))
    #expect(both.remedies.isEmpty)
    for (v4, v6) in [
      (one, one), ("-A OUTPUT -d 192.0.2.1/32 -j SH\n-A SH \(Self.shield)", ""),
      ("-A OUTPUT -o b0 -j ACCEPT\n\(whole)", ""),
    ] {
      let none = headline(v4, v6)
      #expect(!none.headline.contains("harmless"), "\(none.headline)")
      #expect(none.remedies.map(\.cure) == [.shield])
    }
    let half = headline(whole, one)
    #expect(half.headline.contains("harmless over IPv4"), "\(half.headline)")
    #expect(half.remedies.map(\.cure) == [.shield])
  }

  // MARK: Left untracked

  @Test(
    "where some segments of a connection are left untracked, no cure helps, and nothing is claimed",
    arguments: [
      ("-A PREROUTING -p tcp -m statistic --mode random --probability 0.1 -j CT --notrack", false),
      ("-A PREROUTING -i b0 -j NOTRACK", false),
      (
        "-A PREROUTING -m statistic --mode random --probability 0.1 -j NT\n-A NT -p tcp -j NOTRACK",
        false
      ),
      // All of a connection or nothing, or nothing of any.
      (
        "-A PREROUTING -d 169.254.20.10/32 -p tcp -m tcp --dport 53 -m comment --comment \"local DNS\" -j CT --notrack",
        true
      ),
      ("-A PREROUTING -p udp -m statistic --mode random --probability 0.1 -j CT --notrack", true),
      ("-A OUTPUT -o lo -j NOTRACK", true),
    ])
  func untracked(rule: String, isSteady: Bool) {
    let filter = "\(Self.dropForwarded)\n\(Self.dropInput)"
    let text = Self.rules(nat: Self.dnat, filter: filter, raw: rule, chains: ["NT"])
    for liberal in [true, false] {
      let diagnosis = judge(text, liberal: liberal)
      expect(diagnosis, isSteady ? .protected : .unknown)
      if !isSteady {
        #expect(diagnosis.headline.contains("NOTRACK"), "\(diagnosis.headline)")
        #expect(diagnosis.headline.contains("iptables-nft raw"), "\(diagnosis.headline)")
      }
    }
    // What is open stays so.
    expect(judge(Self.rules(nat: Self.dnat, raw: rule, chains: ["NT"])), .exposed)
  }
}
