// `holdfast doctor` in real network namespaces, set up by the real tools.

import Foundation
import Lab
import Testing

@testable import Doctor

@Suite(
  "Doctor: in namespaces", .timeLimit(.minutes(5)),
  .enabled(if: Requirements.obstacle == nil, Program.obstacle))
struct DoctorHostTests {
  /// A machine of its own, and what doctor says there.
  private func examine(_ rules: String, _ words: String = "") throws -> (Ran, [String: Any]) {
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("doctor", of: run)
    try host.shell("\(Program.forwarding)\n\(rules)")
    let ran = try Program.run("doctor --json \(words)", on: host)
    return (ran, try #require(ran.objects.first, "\(ran.output)"))
  }

  private func paths(_ report: [String: Any], closed: Bool) -> Set<String> {
    let paths = report["invalid"] as? [[String: Any]] ?? []
    return Set(
      paths.filter { $0["closed"] as? Bool == closed }.map {
        "\($0["family"] ?? "") \($0["path"] ?? "")"
      })
  }

  private static let dnat =
    "iptables -t nat -A PREROUTING -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination 10.8.3.9:8080"
  private static let dnat6 =
    "ip6tables -t nat -A PREROUTING -d fd00:10:96::a -p tcp --dport 80 -j DNAT --to-destination [fd00:8:3::9]:8080"
  private static let drop = "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP"
  private static let dropOwn = "iptables -A INPUT -m conntrack --ctstate INVALID -j DROP"

  @Test("nothing is translated: not exposed")
  func nothing() throws {
    let (ran, report) = try examine("true")
    #expect(ran.code == 0)
    #expect(report["verdict"] as? String == "not-exposed")
  }

  @Test("DNAT without a cure: exposed, by either make of iptables, and in the family that has it")
  func unprotected() throws {
    for rules in [Self.dnat, Self.dnat.replacing("iptables ", with: "iptables-legacy ")] {
      let (ran, report) = try examine(rules)
      #expect(ran.code == 3)
      #expect(report["verdict"] as? String == "exposed")
      #expect(paths(report, closed: false) == ["IPv4 forwarded"])
    }
    let (ran, report) = try examine([Self.dnat, Self.dnat6, Self.drop].joined(separator: "\n"))
    #expect(ran.code == 3)
    #expect(paths(report, closed: false) == ["IPv6 forwarded"])
    #expect(paths(report, closed: true) == ["IPv4 forwarded"])
  }

  @Test("INVALID dropped in FORWARD only, with masquerading: exposed in INPUT")
  func masqueraded() throws {
    let (ran, report) = try examine(
      """
      \(Self.dnat)
      iptables -t nat -A POSTROUTING -j MASQUERADE
      \(Self.drop)
      """)
    #expect(ran.code == 3)
    #expect(paths(report, closed: true) == ["IPv4 forwarded"])
    #expect(paths(report, closed: false) == ["IPv4 masqueraded"])
    #expect((report["reason"] as? String)?.contains("its own address") == true)
  }

  @Test("protected by either cure")
  func protected() throws {
    let masquerade = "iptables -t nat -A POSTROUTING -j MASQUERADE"
    for cure in [
      "\(Self.drop)\n\(Self.dropOwn)",
      "echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal",
    ] {
      let (ran, report) = try examine([Self.dnat, masquerade, cure].joined(separator: "\n"))
      #expect(ran.code == 0, "\(ran.output)")
      #expect(report["verdict"] as? String == "protected")
      #expect(paths(report, closed: true) == ["IPv4 forwarded", "IPv4 masqueraded"])
    }
  }

  @Test("a table of connections that is nearly full: exposed, and the numbers are told")
  func full() throws {
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("doctor", of: run)
    let limit = try host.shell("cat /proc/sys/net/netfilter/nf_conntrack_max").trimmed
    let maximum = try #require(Int(limit))
    // The limit is the whole machine's, so the table is filled and the limit left alone.
    guard maximum <= 600_000 else {
      print("not played: a table of \(maximum) connections takes too long to fill")
      return
    }
    let wanted = maximum * 92 / 100
    try host.shell(
      """
      iptables -A INPUT -m conntrack --ctstate NEW -j ACCEPT
      awk 'BEGIN { for (i = 0; i < \(wanted); i++) { a = "10.0." int(i / 60000) ".1"; p = i % 60000 + 1
        print "-I -t 600 -u SEEN_REPLY -s " a " -d 10.1.1.1 -r 10.1.1.1 -q " a " -p tcp --sport " p " --dport 80 --reply-port-src 80 --reply-port-dst " p " --state ESTABLISHED" } }' > '\(run.directory)/entries'
      conntrack -R '\(run.directory)/entries' >/dev/null
      """)
    let ran = try Program.run("doctor --json", on: host)
    #expect(ran.code == 3, "\(ran.output)")
    let report = try #require(ran.objects.first)
    #expect((report["reason"] as? String)?.contains("of \(maximum)") == true)
    let findings = report["findings"] as? [[String: Any]] ?? []
    #expect(findings.contains { $0["code"] as? String == "conntrack-full" })
  }

  @Test("who may not look says so, with code 1, and says what would help")
  func unprivileged() throws {
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("doctor", of: run)
    try host.shell("\(Program.forwarding)\n\(Self.dnat)")
    let ran = try Program.run("doctor", on: host, as: Program.nobody)
    #expect(ran.code == 1)
    #expect(ran.output.contains("UNKNOWN"))
    #expect(ran.output.contains("CAP_NET_ADMIN"))
  }
}
