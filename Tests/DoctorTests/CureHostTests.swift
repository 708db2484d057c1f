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
      // A setting does not say who else wants it.
      #expect(undone.output.contains("kube-proxy"), "\(undone.output)")
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

  @Test(
    "tables that were typed are nobody's to take back, and are told from ours",
    arguments: [CureKind.dropInvalid, .shield])
  func othersTable(cure: CureKind) throws {
    try withMachine { host, records in
      let fix = try Program.run("doctor --fix --cure \(cure.rawValue) --json", on: host)
      let remedy = try #require((fix.objects.first?["remedies"] as? [[String: Any]])?.first)
      try host.shell(try #require(remedy["commands"] as? [String]).joined(separator: "\n"))
      let typed = try state(host)
      let applied = try Program.run("doctor --apply --cure \(cure.rawValue) \(records)", on: host)
      #expect(applied.code == 0, "\(applied.output)")
      #expect(applied.output.contains("is there already; nothing was changed"))
      let undone = try Program.run("doctor --undo \(records)", on: host)
      #expect(undone.output.contains("nothing to take back"), "\(undone.output)")
      #expect(try state(host) == typed)
      // One of that name that does nothing is not called a cure, and not touched either.
      try host.shell("nft flush table inet holdfast-\(cure.rawValue)")
      let empty = try state(host)
      let refused = try Program.run("doctor --apply --cure \(cure.rawValue) \(records)", on: host)
      #expect(refused.code == 1, "\(refused.output)")
      #expect(refused.output.contains("--apply has not made"), "\(refused.output)")
      #expect(try state(host) == empty)
    }
  }

  @Test("who may not look is not told that there is nothing, and nothing is changed")
  func unseen() throws {
    try withMachine { host, records in
      for cure in CureKind.allCases {
        _ = try Program.run("doctor --apply --cure \(cure.rawValue) \(records)", on: host)
        let between = try state(host)
        let undone = try Program.run(
          "doctor --undo --cure \(cure.rawValue) \(records)", on: host, as: Program.nobody)
        #expect(undone.code == 1, "\(undone.output)")
        #expect(
          undone.output.contains("cannot see whe") || undone.output.contains("cannot see what"))
        #expect(undone.output.contains("it takes root"), "\(undone.output)")
        #expect(!undone.output.contains("nothing to take back"), "\(undone.output)")
        #expect(try state(host) == between)
      }
      // What can be taken back is, also where a tool is missing for the rest.
      let some = try Program.run(
        "doctor --undo \(records)", on: host,
        as:
          "unshare -m sh -c 'mount --bind /dev/null $(readlink -f /usr/sbin/nft); exec \"$@\"' sh ")
      #expect(some.code == 1, "\(some.output)")
      #expect(some.output.contains("back to 0"), "\(some.output)")
      #expect(some.output.contains("nft is not installed"), "\(some.output)")
      #expect(try host.shell("nft list tables").contains("holdfast-shield"))
    }
  }

  @Test("where nothing is translated nothing is set up unless it is named")
  func idle() throws {
    let run = try LabRun()
    defer { run.remove() }
    let host = try Machine("doctor", of: run)
    let before = try state(host)
    let applied = try Program.run("doctor --apply --records '\(run.directory)'", on: host)
    #expect(applied.code == 0, "\(applied.output)")
    #expect(applied.output.contains("nothing to set up"), "\(applied.output)")
    #expect(try state(host) == before)
    _ = try Program.run(
      "doctor --apply --cure shield --records '\(run.directory)'", on: host)
    #expect(try state(host) != before)
  }

  // MARK: Keepers

  /// `doctor --apply --hold`, and what it says.
  private final class Keeper {
    let process: Child
    private let log: String

    init(_ cure: CureKind, on host: Machine, _ records: String) throws {
      log =
        "\(records.split(separator: "'")[1])/\(cure.rawValue)-\(Int.random(in: 0..<Int.max)).log"
      let output = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
      defer { close(output) }
      let words = "doctor --apply --hold --look-every 20ms --cure \(cure.rawValue)"
      process = try host.spawn(
        ["sh", "-c", "exec '\(try Program.path())' \(words) \(records)"], output: output)
    }

    var said: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

    func wait(for words: String) throws {
      try patiently("waited for it to say '\(words)'") { said.contains(words) }
    }

    /// - Returns: its exit code.
    func end() -> Int32 {
      process.signal(SIGTERM)
      return process.wait()
    }
  }

  private static let table = "inet holdfast-drop-invalid"

  @Test(
    "a table that was emptied, changed or put to sleep is made anew, by who holds it and by a fresh --apply",
    arguments: [
      "nft flush chain \(table) forward", "nft flush table \(table)",
      "nft add table \(table) '{ flags dormant; }'", "nft insert rule \(table) input accept",
      "nft 'flush chain \(table) input; delete chain \(table) input'",
      "nft chain \(table) forward '{ policy drop; }'",
    ])
  func mended(fault: String) throws {
    try withMachine { host, records in
      let before = try state(host)
      let keeper = try Keeper(.dropInvalid, on: host, records)
      try keeper.wait(for: "kept until")
      let between = try state(host)
      try host.shell(fault)
      try keeper.wait(for: "it was changed by somebody else: made the table")
      #expect(try state(host) == between)
      #expect(keeper.end() == 0)
      #expect(try state(host) == before)
      _ = try Program.run("doctor --apply --cure drop-invalid \(records)", on: host)
      try host.shell(fault)
      let again = try Program.run("doctor --apply --cure drop-invalid \(records)", on: host)
      #expect(again.code == 0, "\(again.output)")
      #expect(again.output.contains("anew"), "\(again.output)")
      #expect(try state(host) == between)
    }
  }

  @Test(
    "a successor takes over without a gap, and the last one takes back what the first had found",
    arguments: [CureKind.beLiberal, .dropInvalid])
  func succeeded(cure: CureKind) throws {
    try withMachine { host, records in
      let before = try state(host)
      let first = try Keeper(cure, on: host, records)
      try first.wait(for: "kept until")
      let cured = try state(host)
      let second = try Keeper(cure, on: host, records)
      try second.wait(for: "kept until")
      #expect(first.end() == 0)
      #expect(first.said.contains("left in place"), "\(first.said)")
      // It was never away: the successor never had anything to do.
      #expect(try state(host) == cured)
      usleep(100_000)
      #expect(!second.said.contains("by somebody else"), "\(second.said)")
      #expect(try state(host) == cured)
      #expect(second.end() == 0)
      #expect(try state(host) == before)
      #expect(!second.said.contains("nothing to take back"), "\(second.said)")
    }
  }

  @Test(
    "what a killed keeper has left its successor takes over, and one of another cure takes back",
    arguments: [
      (CureKind.beLiberal, CureKind.dropInvalid), (.dropInvalid, .beLiberal),
      (.beLiberal, .beLiberal),
    ])
  func abandoned(cures: (first: CureKind, second: CureKind)) throws {
    try withMachine { host, records in
      let before = try state(host)
      let first = try Keeper(cures.first, on: host, records)
      try first.wait(for: "kept until")
      first.process.signal(SIGKILL)
      first.process.wait()
      let second = try Keeper(cures.second, on: host, records)
      if cures.first != cures.second { try second.wait(for: "left by a --hold that was killed") }
      try second.wait(for: "kept until")
      #expect(second.end() == 0)
      #expect(try state(host) == before)
      #expect(!second.said.contains("nothing to take back"), "\(second.said)")
    }
  }

  @Test("a cure that a living keeper holds, or that a person has applied, is no other keeper's")
  func sideBySide() throws {
    try withMachine { host, records in
      _ = try Program.run("doctor --apply --cure shield \(records)", on: host)
      let applied = try state(host)
      let first = try Keeper(.beLiberal, on: host, records)
      try first.wait(for: "kept until")
      let second = try Keeper(.dropInvalid, on: host, records)
      try second.wait(for: "kept until")
      let both = try state(host)
      usleep(100_000)
      #expect(try state(host) == both)
      // A person is told why it does not stay away.
      let undone = try Program.run("doctor --undo --cure drop-invalid \(records)", on: host)
      #expect(undone.output.contains("runs here, and will set up drop-invalid again"))
      try second.wait(for: "taken away by somebody else")
      #expect(first.end() == 0 && second.end() == 0)
      #expect(try state(host) == applied)
    }
  }

  @Test("Ctrl-C does not end one that was started with it ignored, as a script's background job is")
  func deaf() throws {
    try withMachine { host, records in
      let before = try state(host)
      let log = "\(records.split(separator: "'")[1])/deaf.log"
      let output = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
      defer { close(output) }
      let words = "doctor --apply --hold --look-every 20ms --cure drop-invalid \(records)"
      let keeper = try host.spawn(
        ["sh", "-c", "trap '' INT; exec '\(try Program.path())' \(words)"], output: output)
      func says(_ words: String) throws -> Bool {
        try String(contentsOfFile: log, encoding: .utf8).contains(words)
      }
      try patiently("waited for it to begin") { try says("kept until") }
      keeper.signal(SIGINT)
      // It still looks after it.
      try host.shell("nft delete table inet holdfast-drop-invalid")
      try patiently("waited for it to mend") { try says("taken away by somebody else") }
      keeper.signal(SIGTERM)
      #expect(keeper.wait() == 0)
      #expect(try state(host) == before)
    }
  }

  @Test("where there is no connection tracking yet it is waited for")
  func early() throws {
    try withMachine { host, records in
      let directory = String(records.split(separator: "'")[1])
      let place = "\(directory)/sys/net/netfilter"
      let keeper = try Keeper(.beLiberal, on: host, "\(records) --proc-sys '\(directory)/sys'")
      try keeper.wait(for: "there is no connection tracking here")
      try keeper.wait(for: "kept until")
      try host.shell(
        "mkdir -p '\(place)'; echo 0 > '\(place)/new'; mv '\(place)/new' '\(place)/nf_conntrack_tcp_be_liberal'"
      )
      try keeper.wait(for: "from 0 to 1")
      #expect(!keeper.said.contains("somebody else"), "\(keeper.said)")
      #expect(keeper.end() == 0)
      #expect(try host.shell("cat '\(place)/nf_conntrack_tcp_be_liberal'").trimmed == "0")
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
