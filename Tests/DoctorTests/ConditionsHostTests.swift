// Conditions and tables as the tools print them back after loading, and what doctor makes of them, in namespaces.

import Foundation
import Lab
import Testing

@testable import Doctor

@Suite(
  "Doctor: what the tools print back, in namespaces", .timeLimit(.minutes(5)),
  .enabled(if: Requirements.obstacle == nil, Program.obstacle))
struct ConditionsHostTests {
  private func examine(_ rules: String) throws -> (report: [String: Any], output: String) {
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("doctor", of: run)
    try host.shell("\(Program.forwarding)\n\(rules)")
    let ran = try Program.run("doctor --json", on: host)
    return (ran.objects.first ?? [:], ran.output)
  }

  @Test(
    "chains that nft has made in tables of iptables count as well",
    arguments: [
      // iptables-nft-save tells of the table without them, or of none of it.
      (
        """
        iptables-nft -t nat -N DOCKER
        iptables-nft -t nat -A OUTPUT -p udp -j DOCKER
        nft add chain ip nat prerouting '{ type nat hook prerouting priority -100; }'
        nft add rule ip nat prerouting ip daddr 10.96.0.10 tcp dport 80 dnat to 10.8.3.9:8080
        """, "exposed"
      ),
      (
        """
        iptables-nft -t nat -A OUTPUT -p udp -j ACCEPT
        nft add chain ip nat prerouting '{ type nat hook prerouting priority -100; }'
        """, "not-exposed"
      ),
      (
        """
        \(RulesHostTests.dnat)
        iptables-nft -A FORWARD -m conntrack --ctstate INVALID -j DROP
        nft add chain ip filter early '{ type filter hook forward priority -10; }'
        nft add rule ip filter early meta l4proto tcp ct state invalid reject with tcp reset
        """, "exposed"
      ),
      (
        """
        \(RulesHostTests.dnat)
        iptables-nft -A FORWARD -p udp -j ACCEPT
        nft add chain ip filter early '{ type filter hook forward priority -10; }'
        nft add rule ip filter early ct state invalid drop
        """, "protected"
      ),
      // A rule among those of iptables.
      (
        """
        \(RulesHostTests.dnat)
        iptables-nft -A FORWARD -p udp -j ACCEPT
        nft add rule ip filter FORWARD ct state invalid drop
        """, "protected"
      ),
    ])
  func beside(rules: String, verdict: String) throws {
    let examined = try examine(rules)
    #expect(examined.report["verdict"] as? String == verdict, "\(examined.output)")
  }

  @Test("a table that is asleep counts for nothing, whoever's it is")
  func dormant() throws {
    for (rules, verdict) in [
      ("\(RulesHostTests.dnat)\nnft add table ip nat '{ flags dormant; }'", "not-exposed"),
      (
        """
        \(RulesHostTests.dnat)
        nft add table inet d '{ flags dormant; }'
        nft add chain inet d f '{ type filter hook forward priority 0; }'
        nft add rule inet d f ct state invalid drop
        """, "exposed"
      ),
      (
        """
        \(RulesHostTests.dnat)
        iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP
        nft add table ip filter '{ flags dormant; }'
        """, "exposed"
      ),
    ] {
      let examined = try examine(rules)
      #expect(examined.report["verdict"] as? String == verdict, "\(rules)\n\(examined.output)")
    }
  }

  @Test("named sets and maps, and conditions as the tools print them back")
  func printedBack() throws {
    func table(_ rules: String) -> String {
      """
      \(RulesHostTests.dnat)
      nft -f - <<'END'
      table inet t {
        set ok { type ct_state; elements = { established, related }; }
        set bad { type ct_state; elements = { invalid }; }
        set p { type inet_proto; elements = { tcp, udp }; }
        map m { type ct_state : verdict; elements = { invalid : drop, established : accept }; }
        chain forward {
          type filter hook forward priority 0
          \(rules)
        }
      }
      END
      """
    }
    for (rules, verdict) in [
      (table("ct state vmap @m"), "protected"),
      (table("ct state @bad drop"), "protected"),
      (table("ct state ! established,related,new,untracked drop"), "protected"),
      (table("ct state . iifname vmap { invalid . \"b0\" : drop }"), "unknown"),
      (table("ct state @ok accept\nct state invalid drop"), "protected"),
      (table("ct state ! established,related,new accept\nct state invalid drop"), "exposed"),
      (table("meta l4proto @p accept\nct state invalid drop"), "exposed"),
      (table("ct state invalid ct count over 1000 drop"), "unknown"),
      (
        """
        \(RulesHostTests.dnat)
        iptables -A FORWARD -p tcp ! --syn -m conntrack --ctstate INVALID --ctdir REPLY -j DROP
        """, "protected"
      ),
      (
        """
        iptables -t nat -A PREROUTING -p tcp -m conntrack --ctstate NEW -m tcp --syn --dport 80 -j DNAT --to-destination 10.8.3.9
        iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables -P FORWARD DROP
        """, "protected"
      ),
      ("iptables -t nat -A POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE", "exposed"),
    ] {
      let examined = try examine(rules)
      #expect(examined.report["verdict"] as? String == verdict, "\(rules)\n\(examined.output)")
    }
  }

  @Test("where nothing is forwarded DNAT exposes nobody, and that is said")
  func notForwarding() throws {
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("doctor", of: run)
    try host.shell("echo 0 > /proc/sys/net/ipv4/ip_forward\n\(RulesHostTests.dnat)")
    let ran = try Program.run("doctor", on: host)
    #expect(ran.code == 0, "\(ran.output)")
    #expect(ran.output.contains("nothing is forwarded"), "\(ran.output)")
    // One interface that forwards is enough.
    try host.shell("echo 1 > /proc/sys/net/ipv4/conf/lo/forwarding")
    #expect(try Program.run("doctor", on: host).code == 3)
  }

  @Test(
    "a connection that is translated without a rule leaves the verdict open",
    .enabled(if: Requirements.has("conntrack"), "conntrack is not installed"))
  func translatedUnseen() throws {
    func entry(_ answeredBy: String) -> String {
      // Only where a rule asks for the state is there a table.
      """
      iptables -A INPUT -m conntrack --ctstate NEW -j ACCEPT
      conntrack -I -t 600 -u SEEN_REPLY -s 10.0.0.5 -d 10.96.0.10 -r \(answeredBy) -q 10.0.0.5 -p tcp --sport 40000 --dport 80 --reply-port-src 80 --reply-port-dst 40000 --state ESTABLISHED
      """
    }
    let mirrored = try examine(entry("10.96.0.10"))
    #expect(mirrored.report["verdict"] as? String == "not-exposed", "\(mirrored.output)")
    let translated = try examine(entry("10.8.3.9"))
    #expect(translated.report["verdict"] as? String == "unknown", "\(translated.output)")
    let reason = translated.report["reason"] as? String ?? ""
    #expect(reason.contains("no rule translates IPv4 here"), "\(reason)")
    #expect(reason.contains("10.8.3.9:80"), "\(reason)")
  }
}
