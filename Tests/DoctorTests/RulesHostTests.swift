// Rulesets as others write them, loaded by the real tools into a namespace, and what doctor makes of them.

import Foundation
import Lab
import Testing

@testable import Doctor

@Suite(
  "Doctor: rulesets of others, in namespaces", .timeLimit(.minutes(5)),
  .enabled(if: Requirements.obstacle == nil, Program.obstacle))
struct RulesHostTests {
  private func examine(_ rules: String) throws -> (code: Int, report: [String: Any], output: String)
  {
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("doctor", of: run)
    try host.shell("\(Program.forwarding)\n\(rules)")
    let ran = try Program.run("doctor --json", on: host)
    return (ran.code, ran.objects.first ?? [:], ran.output)
  }

  /// `IPv4 forwarded`.
  private func paths(_ report: [String: Any], closed: Bool) -> Set<String> {
    let paths = report["invalid"] as? [[String: Any]] ?? []
    return Set(
      paths.filter { $0["closed"] as? Bool == closed }.map {
        "\($0["family"] ?? "") \($0["path"] ?? "")"
      })
  }

  private static let makes = ["iptables-nft", "iptables-legacy"]

  /// Loads what iptables-save would print.
  private func restoring(_ rules: String, by make: String) -> String {
    let lines = rules.split(separator: "\n").filter { !$0.hasPrefix("#") }.joined(separator: "\n")
    return "\(make)-restore <<'END'\n\(lines)\nEND"
  }

  @Test("kube-proxy's iptables mode, by either make", arguments: makes)
  func kubeProxy(make: String) throws {
    let bare = try examine(restoring(Rulesets.kubeProxy(), by: make))
    #expect(bare.code == 3, "\(bare.output)")
    #expect(
      paths(bare.report, closed: false) == ["IPv4 forwarded", "IPv4 masqueraded", "IPv4 own"])
    #expect(bare.report["rules_from"] as? [String] == [make])
    // What kube-proxy drops by itself closes one way of three.
    let own = try examine(restoring(Rulesets.kubeProxy(drop: Rulesets.kubeDrop), by: make))
    #expect(own.code == 3, "\(own.output)")
    #expect(paths(own.report, closed: true) == ["IPv4 forwarded"])
    #expect(paths(own.report, closed: false) == ["IPv4 masqueraded", "IPv4 own"])
    let both = try examine(
      restoring(
        Rulesets.kubeProxy(drop: Rulesets.kubeDrop, input: Rulesets.inputDrop), by: make))
    #expect(both.code == 0, "\(both.output)")
    let liberal = try examine(
      restoring(Rulesets.kubeProxy(), by: make)
        + "\necho 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal")
    #expect(liberal.code == 0, "\(liberal.output)")
  }

  @Test("DNAT in one make, the drop in the other: both count", arguments: makes)
  func mixed(make: String) throws {
    let other = Self.makes.first { $0 != make } ?? ""
    let examined = try examine(
      """
      \(make) -t nat -A PREROUTING -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination 10.8.3.9:8080
      \(other) -A FORWARD -m conntrack --ctstate INVALID -j DROP
      """)
    #expect(examined.code == 0, "\(examined.output)")
    #expect(Set(examined.report["rules_from"] as? [String] ?? []) == Set(Self.makes))
  }

  /// Both tables of kube-proxy's nftables mode, with all chains, sets and maps that it makes, one Service with an
  /// endpoint, and one without.
  private static func kubeProxyNft(_ drop: String = "") -> String {
    var text = "nft -f - <<'END'\n"
    for (family, kind, service, empty, endpoint, pods, cluster) in [
      ("ip", "ipv4_addr", "10.96.0.10", "10.96.0.11", "10.8.3.9", "10.8.0.0/16", "10.96.0.0/16"),
      (
        "ip6", "ipv6_addr", "fd00:10:96::a", "fd00:10:96::b", "fd00:8:3::9", "fd00:8::/32",
        "fd00:10:96::/112"
      ),
    ] {
      let name = "ABCDEFGH-default/registry/tcp/http"
      let backend = family == "ip" ? "\(endpoint):8080" : "[\(endpoint)]:8080"
      text += """
        table \(family) kube-proxy {
          comment "rules for kube-proxy"
          set cluster-ips { type \(kind); elements = { \(service), \(empty) } }
          set nodeport-ips { type \(kind); }
          set affinity-\(name) { type \(kind); flags dynamic, timeout; timeout 3h; }
          map firewall-ips { type \(kind) . inet_proto . inet_service : verdict; }
          map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
          map no-endpoint-services {
            type \(kind) . inet_proto . inet_service : verdict
            elements = { \(empty) . tcp . 80 comment "default/empty:http" : goto reject-chain }
          }
          map service-ips {
            type \(kind) . inet_proto . inet_service : verdict
            elements = { \(service) . tcp . 80 : goto service-\(name) }
          }
          map service-nodeports {
            type inet_proto . inet_service : verdict
            elements = { tcp . 30080 : goto external-\(name) }
          }
          chain filter-prerouting-pre-dnat { type filter hook prerouting priority -110; ct state new jump firewall-check; }
          chain filter-output-pre-dnat { type filter hook output priority -110; ct state new jump firewall-check; }
          chain filter-forward {
            type filter hook forward priority 0
            \(drop)
            ct state new jump service-endpoints-check
            ct state new jump cluster-ips-check
          }
          chain filter-input {
            type filter hook input priority 0
            \(drop)
            ct state new jump nodeport-endpoints-check
            ct state new jump service-endpoints-check
          }
          chain filter-output {
            type filter hook output priority 0
            ct state new jump service-endpoints-check
            ct state new jump cluster-ips-check
          }
          chain nat-prerouting { type nat hook prerouting priority -100; jump services; }
          chain nat-output { type nat hook output priority -100; jump services; }
          chain nat-postrouting { type nat hook postrouting priority 100; jump masquerading; }
          chain services {
            \(family) daddr . meta l4proto . th dport vmap @service-ips
            \(family) daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
          }
          chain firewall-check { \(family) daddr . meta l4proto . th dport vmap @firewall-ips; }
          chain service-endpoints-check { \(family) daddr . meta l4proto . th dport vmap @no-endpoint-services; }
          chain nodeport-endpoints-check { \(family) daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }
          chain cluster-ips-check {
            \(family) daddr @cluster-ips reject comment "a port that its Service has not"
            \(family) daddr \(cluster) drop comment "an address that no Service has"
          }
          chain reject-chain { reject; }
          chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
          chain masquerading {
            meta mark and 0x4000 == 0 return
            meta mark set meta mark xor 0x4000
            masquerade fully-random
          }
          chain service-\(name) {
            \(family) daddr \(service) tcp dport 80 \(family) saddr != \(pods) jump mark-for-masquerade
            \(family) saddr @affinity-\(name) goto endpoint-\(name)
            numgen random mod 1 vmap { 0 : goto endpoint-\(name) }
          }
          chain external-\(name) {
            \(family) saddr \(pods) goto service-\(name) comment "pods need no detour"
            fib saddr type local jump mark-for-masquerade
            fib saddr type local goto service-\(name)
          }
          chain endpoint-\(name) {
            \(family) saddr \(endpoint) jump mark-for-masquerade
            update @affinity-\(name) { \(family) saddr }
            meta l4proto tcp dnat to \(backend)
          }
        }

        """
    }
    return text + "END\n"
  }

  @Test(
    "kube-proxy's nftables mode: open on all ways as it comes, closed by a drop, or by the setting that it has for it"
  )
  func kubeProxyNftables() throws {
    let all = Set(
      Family.allCases.flatMap { family in
        ReplyPath.allCases.map { "\(family.rawValue) \($0.rawValue)" }
      })
    let bare = try examine(Self.kubeProxyNft())
    #expect(bare.code == 3, "\(bare.output)")
    #expect(paths(bare.report, closed: false) == all)
    let translations = bare.report["translations"] as? [[String: Any]] ?? []
    #expect(
      translations.map { $0["destinations"] as? [String] } == [
        ["10.8.3.9:8080"], ["[fd00:8:3::9]:8080"],
      ])
    for cured in [
      Self.kubeProxyNft("ct state invalid drop"),
      Self.kubeProxyNft() + "echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal",
    ] {
      let examined = try examine(cured)
      #expect(examined.code == 0, "\(examined.output)")
      #expect(paths(examined.report, closed: true) == all)
    }
  }

  static let dnat =
    "iptables -t nat -A PREROUTING -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination 10.8.3.9:8080"

  @Test(
    "rules that nobody here can read make no verdict wrong",
    arguments: [
      // Something unreadable lets some through before the drop.
      ("iptables -A FORWARD -m u32 --u32 '0>>22&0x3C@0=1' -j ACCEPT", "unknown"),
      ("iptables -A FORWARD -m length --length 1:100 -j ACCEPT", "unknown"),
      ("iptables -A FORWARD -m mark --mark 7 -j ACCEPT", "unknown"),
      // What only counts and marks lets nothing through.
      ("iptables -A FORWARD -m length --length 1:100 -j MARK --set-mark 3", "protected"),
      (
        "iptables -A FORWARD -m comment --comment 'a \"quoted\" -j ACCEPT' -j MARK --set-mark 3",
        "protected"
      ),
      ("iptables -N OTHER; iptables -A OTHER -j RETURN; iptables -A FORWARD -j OTHER", "protected"),
      (
        "iptables -N OTHER; iptables -A OTHER -p udp -j ACCEPT; iptables -A FORWARD -j OTHER",
        "protected"
      ),
      ("iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "protected"),
      ("iptables -A FORWARD -j ACCEPT", "exposed"),
    ])
  func unreadable(rule: String, verdict: String) throws {
    let examined: (code: Int, report: [String: Any], output: String)
    do {
      examined = try examine(
        "\(Self.dnat)\n\(rule)\niptables -A FORWARD -m conntrack --ctstate INVALID -j DROP")
    } catch {
      // Kernels are built without some matches.
      print("not played: \(error)")
      return
    }
    #expect(examined.report["verdict"] as? String == verdict, "\(examined.output)")
  }

  @Test("a tool that is not there is named, and what it would have shown is not claimed")
  func missingTool() throws {
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("doctor", of: run)
    try host.shell("\(Program.forwarding)\n\(Self.dnat)")
    let hidden =
      "unshare -m sh -c 'mount --bind /dev/null $(readlink -f $(command -v nft)); exec \"$@\"' sh "
    let ran = try Program.run("doctor", on: host, as: hidden)
    // What is open without it stays open.
    #expect(ran.code == 3, "\(ran.output)")
    #expect(ran.output.contains("nft is not installed (apt-get install nftables)"), "\(ran.output)")
    try host.shell("iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP")
    let closed = try Program.run("doctor", on: host, as: hidden)
    #expect(closed.code == 1, "\(closed.output)")
    #expect(closed.output.contains("UNKNOWN"), "\(closed.output)")
  }

  @Test("a node with ten thousand Services is judged while one waits")
  func many() throws {
    var rules = [
      "*filter", ":FORWARD ACCEPT [0:0]", ":INPUT ACCEPT [0:0]",
      Rulesets.kubeDrop.replacing("KUBE-FORWARD", with: "FORWARD"), Rulesets.inputDrop, "COMMIT",
      "*nat", ":PREROUTING ACCEPT [0:0]", ":KUBE-SERVICES - [0:0]",
    ]
    let count = 10_000
    for number in 0..<count {
      rules += [":KUBE-SVC-\(number) - [0:0]", ":KUBE-SEP-\(number) - [0:0]"]
    }
    rules.append("-A PREROUTING -j KUBE-SERVICES")
    for number in 0..<count {
      let (high, low) = number.quotientAndRemainder(dividingBy: 250)
      rules += [
        "-A KUBE-SERVICES -d 10.96.\(high).\(low + 1)/32 -p tcp -m comment --comment \"default/service-\(number) cluster IP\" -m tcp --dport 80 -j KUBE-SVC-\(number)",
        "-A KUBE-SVC-\(number) -m comment --comment \"default/service-\(number)\" -j KUBE-SEP-\(number)",
        "-A KUBE-SEP-\(number) -p tcp -m tcp -j DNAT --to-destination 10.8.\(high).\(low + 1):8080",
      ]
    }
    rules.append("COMMIT")
    var facts = HostFacts()
    facts.rules[.v4] = IptablesParser.parse(rules.joined(separator: "\n"), source: "iptables-nft")
    let diagnosis = Diagnosis(facts)
    #expect(diagnosis.verdict == .protected)
    #expect(diagnosis.translations[.v4]?.destinations.count == count)
  }

  @Test("IPVS: what it translates is not looked into, what is masqueraded beside it is")
  func virtualServices() {
    var facts = HostFacts()
    facts.virtualServices = 3
    let alone = Diagnosis(facts)
    #expect(alone.verdict == .unknown)
    #expect(alone.headline.contains("IPVS"))
    // kube-proxy masquerades what needs it, by iptables.
    let masquerade = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j MASQUERADE\nCOMMIT"
    facts.rules[.v4] = IptablesParser.parse(masquerade, source: "iptables-nft")
    #expect(Diagnosis(facts).verdict == .exposed)
    facts.conntrack = ConntrackFacts()
    facts.conntrack?.isLiberal = true
    #expect(Diagnosis(facts).verdict == .protected)
  }

  @Test(
    "IPVS in a namespace: its Services are seen",
    .enabled(
      if: Requirements.has("ipvsadm") && FileManager.default.fileExists(atPath: "/proc/net/ip_vs"),
      "the kernel has no IPVS, or ipvsadm is not installed"))
  func virtualServicesForReal() throws {
    let examined = try examine(
      "ipvsadm -A -t 10.96.0.10:80 -s rr; ipvsadm -a -t 10.96.0.10:80 -r 10.8.3.9:8080 -m")
    #expect(examined.code == 1, "\(examined.output)")
    #expect(examined.report["ipvs_services"] as? Int == 1)
  }
}
