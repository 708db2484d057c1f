// `holdfast doctor`: is this host one on which replies may pass untranslated, and what would help?

import ArgumentParser
import Configuration
import Doctor
import Foundation
import Platform

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Say whether this host resets connections of its Services, and why.",
    discussion: """
      Looks at the network namespace it is started in: what is translated (iptables of both makes, nftables, \
      IPVS), what becomes of segments that connection tracking calls INVALID, the table of connections, and which sensors \
      Holdfast could use. Changes nothing unless --apply or --undo says so. Reading the rules takes CAP_NET_ADMIN.

      Exit code 0: protected, or nothing to protect; 3: exposed; 1: it cannot be told, and what is missing \
      is said; 2: wrong usage.

      EXAMPLES:
        sudo holdfast doctor
        sudo holdfast doctor --fix
        sudo holdfast doctor --apply --cure drop-invalid
        sudo holdfast doctor --undo
        sudo holdfast doctor --apply --cure be-liberal --hold
      """)

  @Flag(help: "Print what would help, as commands, and how to take it back.")
  var fix = false

  @Flag(help: "Set up a cure, until the next boot or --undo.")
  var apply = false

  @Flag(help: "Take back what --apply has set up here, and nothing else.")
  var undo = false

  @Option(
    help: ArgumentHelp(
      "Which cure; the first that fits unless given. be-liberal translates all the same, drop-invalid drops, shield keeps back our own resets (in a pod).",
      valueName: "be-liberal|drop-invalid|shield"))
  var cure: String?

  @Flag(
    help:
      "With --apply and --cure: stay, set it up again should it go away, and take it back at the end (SIGTERM, Ctrl-C)."
  )
  var hold = false

  @Option(
    help: ArgumentHelp(
      "Where settings are written, if /proc/sys is read-only, as in a container: a mount of the node's.",
      valueName: "dir"))
  var procSys: String?

  @Flag(help: "Print one JSON object.")
  var json = false

  @Option(help: .hidden)
  var records: String?

  @Option(help: .hidden)
  var lookEvery: String?

  func validate() throws {
    if [fix, apply, undo].count(where: { $0 }) > 1 {
      throw ValidationError("--fix, --apply and --undo exclude each other")
    }
    if let cure, CureKind(rawValue: cure) == nil {
      throw ValidationError(
        "--cure is \(CureKind.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    if cure != nil, !(fix || apply || undo) {
      throw ValidationError("--cure goes with --fix, --apply or --undo")
    }
    if hold, !apply || cure == nil {
      throw ValidationError("--hold goes with --apply and --cure, which says what to keep set up")
    }
    if procSys != nil, !(apply || undo) {
      throw ValidationError("--proc-sys goes with --apply or --undo")
    }
  }

  func run() throws {
    if hold, let kind = cure.flatMap(CureKind.init) { return try keep(kind) }
    var done: [String] = []
    do throws(CureError) {
      if apply { done = try setUp() }
    } catch {
      throw Failure("\(error)")
    }
    if undo { done = try takeBack() }
    let diagnosis = Diagnosis(HostInspector.inspect())
    let remedies = remedies(diagnosis)
    if json {
      Console.print(DoctorReport.json(diagnosis, remedies: fix ? remedies : [], done: done))
    } else {
      let style = Console.style
      for line in done { Console.print(style.bold(line)) }
      if !done.isEmpty { Console.print("") }
      Console.print(DoctorReport.text(diagnosis, remedies: fix ? remedies : nil, style))
    }
    if diagnosis.verdict.exitCode != 0 { throw ExitCode(diagnosis.verdict.exitCode) }
  }

  /// Ends with 0 when what was set up is taken back.
  private func keep(_ kind: CureKind) throws {
    do {
      let cure = Cure(kind, directory: records, settings: procSys)
      var keeper = try CureKeeper(cure)
      if let interval = lookEvery.flatMap({ try? Duration(reading: $0) }) {
        keeper.interval = interval
      }
      guard keeper.begin(tell: { Console.print($0) }) else { return }
      let facts = HostInspector.inspect()
      Console.print(try keeper.setUp(facts))
      Console.print(
        DoctorReport.text(Diagnosis(HostInspector.inspect()), remedies: nil, Console.style))
      Console.print("kept until SIGTERM or SIGINT, and taken back then")
      try keeper.keep(facts) { Console.print($0) }
    } catch let error as CureError {
      throw Failure("\(error)")
    }
  }

  private func remedies(_ diagnosis: Diagnosis) -> [Remedy] {
    guard let kind = cure.flatMap(CureKind.init) else { return diagnosis.remedies }
    return [.of(kind, facts: diagnosis.facts)]
  }

  private func setUp() throws(CureError) -> [String] {
    let diagnosis = Diagnosis(HostInspector.inspect())
    // What helps a pod is for who knows that this is one: the shield keeps back resets.
    let isIdle = cure == nil && diagnosis.verdict == .notExposed
    guard let remedy = remedies(diagnosis).first, !isIdle else {
      return ["nothing to set up: \(diagnosis.headline)"]
    }
    let words = try Cure(remedy.cure, directory: records, settings: procSys).apply(diagnosis.facts)
    return [words, "to take it back: holdfast doctor --undo"]
  }

  /// All that can be, also where one cannot.
  private func takeBack() throws -> [String] {
    var done: [String] = []
    var failures: [String] = []
    for kind in cure.flatMap(CureKind.init).map({ [$0] }) ?? CureKind.allCases {
      let cure = Cure(kind, directory: records, settings: procSys)
      do throws(CureError) {
        if let words = try cure.undo() {
          done.append(words)
          if CureHold.isHeld(cure.holdPath) {
            done.append(
              "a `doctor --hold` runs here, and will set up \(kind.rawValue) again: end that")
          }
        }
        CureHold.abandoned(cure.holdPath)?.remove()
      } catch {
        failures.append("\(error)")
      }
    }
    if !failures.isEmpty {
      if !json { for line in done { Console.print(line) } }
      throw Failure(failures.joined(separator: "\n"))
    }
    return done.isEmpty ? ["nothing to take back: no --apply has set up anything here"] : done
  }
}
