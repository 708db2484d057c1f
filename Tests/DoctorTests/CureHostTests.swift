// What `holdfast doctor --apply` sets up and `--undo` takes back, in real namespaces: also twice, also broken off, also by hand.

import Foundation
import Glibc
import Lab
import Testing

@testable import Doctor

@Suite(
  "Doctor: cures in namespaces", .timeLimit(.minutes(5)),
  .enabled(if: Requirements.obstacle == nil, Program.obstacle))
struct CureHostTests {
  private static let setting = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"
  private static let makes = ["iptables", "iptables-legacy"]

  /// A machine with a Service for its own programs, which each cure helps, and where its records lie.
  private func withMachine(_ make: String = "iptables", _ body: (Machine, String) throws -> Void)
    throws
  {
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("doctor", of: run)
    try host.shell(
      "\(make) -t nat -A OUTPUT -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination 10.8.3.9:8080"
    )
    try body(host, "--records '\(run.directory)'")
  }

  /// Every rule and setting that a cure could touch.
  private func state(_ host: Machine) throws -> String {
    try host.shell(
      """
      nft list ruleset 2>/dev/null
      for make in iptables-nft iptables-legacy; do $make-save 2>/dev/null | grep -v '^#' || true; done
      cat \(Self.setting)
      """
    )
  }

  @Test(
    "what is set up twice and taken back twice leaves everything as it was",
    arguments: CureKind.allCases, makes)
  func reversible(cure: CureKind, make: String) throws {
    try withMachine(make) { host, records in
      let before = try state(host)
      let applied = try Program.run("doctor --apply --cure \(cure.rawValue) \(records)", on: host)
      #expect(applied.code == 0, "\(applied.output)")
      #expect(applied.output.contains("PROTECTED"))
      let between = try state(host)
      #expect(between != before)
      let again = try Program.run(
        "doctor --apply --cure \(cure.rawValue) \(records) --json", on: host)
      #expect(again.code == 0, "\(again.output)")
      let done = again.objects.first?["done"] as? [String] ?? []
      #expect(done.first?.contains("already") == true, "\(done)")
      #expect(try state(host) == between)
      let undone = try Program.run("doctor --undo \(records)", on: host)
      // Exposed, as before.
      #expect(undone.code == 3, "\(undone.output)")
      #expect(try state(host) == before)
      let twice = try Program.run("doctor --undo \(records)", on: host)
      #expect(twice.output.contains("nothing to take back"), "\(twice.output)")
      #expect(try state(host) == before)
    }
  }

  @Test("all three at once are taken back at once, and one of them alone where it is named")
  func together() throws {
    try withMachine { host, records in
      let before = try state(host)
      for cure in CureKind.allCases {
        _ = try Program.run("doctor --apply --cure \(cure.rawValue) \(records)", on: host)
      }
      let all = try state(host)
      _ = try Program.run("doctor --undo --cure shield \(records)", on: host)
      #expect(try state(host) != all)
      #expect(try host.shell("nft list tables").contains("holdfast-drop-invalid"))
      #expect(try !host.shell("nft list tables").contains("holdfast-shield"))
      _ = try Program.run("doctor --undo \(records)", on: host)
      #expect(try state(host) == before)
    }
  }

  @Test("somebody else's setting is nobody's to take back")
  func othersSetting() throws {
    try withMachine { host, records in
      // Set before: there is nothing to do, and nothing to undo.
      try host.shell("echo 1 > \(Self.setting)")
      let applied = try Program.run("doctor --apply --cure be-liberal \(records)", on: host)
      #expect(applied.output.contains("is 1 already"), "\(applied.output)")
      let undone = try Program.run("doctor --undo \(records)", on: host)
      #expect(undone.output.contains("nothing to take back"), "\(undone.output)")
      #expect(try host.shell("cat \(Self.setting)").trimmed == "1")
      // Set back by somebody, after it was ours.
      try host.shell("echo 0 > \(Self.setting)")
      _ = try Program.run("doctor --apply --cure be-liberal \(records)", on: host)
      try host.shell("echo 0 > \(Self.setting)")
      let late = try Program.run("doctor --undo \(records)", on: host)
      #expect(late.output.contains("nothing to take back"), "\(late.output)")
      #expect(try host.shell("cat \(Self.setting)").trimmed == "0")
    }
  }

  @Test("one that was broken off between its record and its setting is taken up or taken back")
  func brokenOff() throws {
    try withMachine { host, records in
      _ = try Program.run("doctor --apply --cure be-liberal \(records)", on: host)
      // The record is written first; this is what lies there if it ends then.
      try host.shell("echo 0 > \(Self.setting)")
      let again = try Program.run("doctor --apply --cure be-liberal \(records)", on: host)
      #expect(again.code == 0, "\(again.output)")
      #expect(try host.shell("cat \(Self.setting)").trimmed == "1")
      let undone = try Program.run("doctor --undo \(records)", on: host)
      #expect(undone.output.contains("back to 0"), "\(undone.output)")
      #expect(try host.shell("cat \(Self.setting)").trimmed == "0")
      // A torn record says nothing, and stands in nobody's way.
      let directory = records.split(separator: "'").last.map(String.init) ?? ""
      _ = try Program.run("doctor --apply --cure be-liberal \(records)", on: host)
      try host.shell("for file in \(directory)/be-liberal-*; do echo '{' > $file; done")
      let torn = try Program.run("doctor --undo \(records)", on: host)
      #expect(torn.output.contains("nothing to take back"), "\(torn.output)")
      #expect(try host.shell("cat \(Self.setting)").trimmed == "1")
    }
  }

  @Test("a record belongs to its namespace, and to none that comes after it")
  func otherNamespace() throws {
    let run = try LabRun()
    defer { run.remove() }
    let records = "--records '\(run.directory)'"
    do {
      let host = try Machine("first", of: run)
      try host.shell("iptables -A INPUT -m conntrack --ctstate NEW -j ACCEPT")
      _ = try Program.run("doctor --apply --cure be-liberal \(records)", on: host)
      #expect(try host.shell("cat \(Self.setting)").trimmed == "1")
    }
    // The kernel gives the number of a namespace that is gone to the next one.
    for number in 0..<4 {
      let host = try Machine("next\(number)", of: run)
      try host.shell(
        "iptables -A INPUT -m conntrack --ctstate NEW -j ACCEPT; echo 1 > \(Self.setting)")
      let undone = try Program.run("doctor --undo \(records)", on: host)
      #expect(undone.output.contains("nothing to take back"), "\(undone.output)")
      #expect(try host.shell("cat \(Self.setting)").trimmed == "1")
    }
  }

  @Test(
    "what --fix prints does it when typed, and what it prints to undo it undoes it",
    arguments: makes)
  func typed(make: String) throws {
    try withMachine(make) { host, records in
      let before = try state(host)
      for cure in CureKind.allCases {
        let fix = try Program.run("doctor --fix --cure \(cure.rawValue) --json", on: host)
        #expect(try state(host) == before)
        let remedy = try #require((fix.objects.first?["remedies"] as? [[String: Any]])?.first)
        let commands = try #require(remedy["commands"] as? [String])
        let undo = try #require(remedy["undo"] as? [String])
        try host.shell(commands.joined(separator: "\n"))
        let cured = try Program.run("doctor --json", on: host)
        #expect(cured.code == 0, "\(cure): \(cured.output)")
        try host.shell(undo.joined(separator: "\n"))
        #expect(try state(host) == before)
      }
    }
  }

  @Test(
    "what is held is set up again when somebody takes it away, and taken back at the end",
    arguments: [
      (CureKind.beLiberal, "echo 0 > \(setting)"),
      (.dropInvalid, "nft delete table inet holdfast-drop-invalid"),
    ])
  func held(cure: CureKind, taken: String) throws {
    try withMachine { host, records in
      let before = try state(host)
      // Beside the records.
      let log = "\(records.split(separator: "'")[1])/held.log"
      let output = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
      defer { close(output) }
      func wait(for words: String) throws {
        for _ in 0..<1000 {
          if try String(contentsOfFile: log, encoding: .utf8).contains(words) { return }
          usleep(20_000)
        }
        Issue.record("it never said '\(words)'")
      }
      let words = "doctor --apply --hold --look-every 20ms --cure \(cure.rawValue)"
      let keeper = try host.spawn(
        ["sh", "-c", "exec '\(try Program.path())' \(words) \(records)"], output: output)
      try wait(for: "kept until")
      let between = try state(host)
      #expect(between != before)
      try host.shell(taken)
      try wait(for: "taken away by somebody else: ")
      #expect(try state(host) == between)
      keeper.signal(SIGTERM)
      #expect(keeper.wait() == 0)
      #expect(try state(host) == before)
    }
  }

  @Test("who may not set anything up is told what it takes, and nothing is changed")
  func unprivileged() throws {
    try withMachine { host, records in
      let before = try state(host)
      for cure in CureKind.allCases {
        let ran = try Program.run(
          "doctor --apply --cure \(cure.rawValue) --records /run/holdfast-doctor", on: host,
          as: Program.nobody)
        #expect(ran.code == 1, "\(ran.output)")
        #expect(ran.output.contains("CAP_NET_ADMIN"), "\(cure): \(ran.output)")
      }
      #expect(try state(host) == before)
    }
  }

  @Test("wrong usage is 2, and says what is right")
  func usage() throws {
    try withMachine { host, _ in
      for words in [
        "--apply --undo", "--apply --fix", "--cure shield", "--fix --cure magic", "--apply --hold",
        "--hold --cure shield", "--proc-sys /host",
      ] {
        let ran = try Program.run("doctor \(words)", on: host)
        #expect(ran.code == 2, "\(words): \(ran.output)")
      }
    }
  }
}
