// `holdfast lab …`: the set-up that exposes resets, on one machine, broken on purpose.

import ArgumentParser
import Configuration
import Forensics
import Foundation
import Lab
import Platform
import Synchronization

struct LabCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lab",
    abstract:
      "Break connections on purpose, and compare what Holdfast says of it with what happened.",
    discussion: """
      Makes machines out of network namespaces: a client, a proxy, a node that translates a Service's \
      address as a cluster does, an origin. Runs as root, and for others in a user namespace where the \
      machine allows that; touches nothing but what it has made, and takes that down again. docs/lab.md tells what each scenario shows.

      EXAMPLES:
        holdfast lab list
        holdfast lab run L10
        holdfast lab run L10 L11 --fix be-liberal
        holdfast lab run --all --tier P --json
      """,
    subcommands: [LabListCommand.self, LabRunCommand.self, LabReproduceCommand.self])

  /// What every command that makes machines begins with: it may become another process, inside a user namespace.
  static func prepare() throws {
    let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    // Processes that are started directly are looked for where the lines of shell look.
    setenv("PATH", Shell.path.joined(separator: ":"), 1)
    if let missing = Requirements.missing { throw Failure(missing) }
    if UserNamespace.isNeeded {
      do {
        try UserNamespace.enter([program] + CommandLine.arguments.dropFirst())
      } catch {
        // Root of a container may do without one.
        guard geteuid() == 0, Requirements.obstacle == nil else { throw Failure("\(error)") }
      }
    }
    takeDownOnInterrupt()
    if let obstacle = Requirements.obstacle { throw Failure(obstacle) }
  }

  /// Says something; where nobody listens any more, nothing more is played.
  static func say(_ text: String) {
    if Console.print(text) { return }
    LabRun.abandon()
    Console.exit(1)
  }

  /// Who presses Ctrl-C wants the machines gone as well.
  private static func takeDownOnInterrupt() {
    // A reader that has gone is met where something is said.
    signal(SIGPIPE, SIG_IGN)
    var signals = sigset_t()
    sigemptyset(&signals)
    // What somebody has had ignored (`nohup`, a background job of a script) stays so: once blocked it would arrive.
    for signal in [SIGINT, SIGTERM, SIGHUP] where !Signals.isIgnored(signal) {
      sigaddset(&signals, signal)
    }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    let awaited = signals
    let thread = Thread {
      var awaited = awaited
      var signal: Int32 = 0
      guard sigwait(&awaited, &signal) == 0 else { return }
      LabRun.abandon()
      Console.complain("holdfast: interrupted; what the lab had made is taken down")
      Console.exit(128 + signal)
    }
    thread.start()
  }
}

struct LabListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the scenarios, and what each should be judged to be.",
    discussion: """
      EXAMPLES:
        holdfast lab list
      """)

  @Flag(help: "Print one JSON object per scenario.")
  var json = false

  private struct Row: Encodable {
    var name: String
    var title: String
    var verdicts: [String]
  }

  func run() throws {
    if json {
      for scenario in Scenario.all {
        Console.print(
          JSONLine.text(
            Row(
              name: scenario.name, title: scenario.title, verdicts: LabReport.verdicts(scenario))))
      }
      return
    }
    var table = Table([("NAME", .left), ("WHAT HAPPENS", .left), ("VERDICT", .left)])
    for scenario in Scenario.all {
      table.rows.append([
        scenario.name, scenario.title, LabReport.verdicts(scenario).joined(separator: ", "),
      ])
    }
    Console.print(table.text(Console.style))
  }
}

struct LabRunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Play scenarios, and compare.",
    discussion: """
      Each step is told as it happens; then what was expected stands beside what was found. Exit code \
      0: all was as expected; 1: it was not; 2: wrong usage.

      EXAMPLES:
        holdfast lab run L10
        holdfast lab run L03 L05 --tier S --tier P
        holdfast lab run --all --json
      """)

  @Argument(help: ArgumentHelp("Scenarios, as `lab list` names them.", valueName: "name"))
  var names: [String] = []

  @Flag(help: "All of them.")
  var all = false

  @Option(
    help: ArgumentHelp(
      "What the proxy may use: S its sockets, C the kernel's counters too, P packets too, K the kernel's own words too; may be given again. All in turn unless given.",
      valueName: "S|C|P|K"))
  var tier: [String] = []

  @Option(
    help: ArgumentHelp(
      "What is done against untranslated packets: nothing, dropping them, translating them all the same, or keeping back our own resets.",
      valueName: "none|drop-invalid|be-liberal|shield"))
  var fix = "none"

  @Option(help: ArgumentHelp("Scenarios at a time; 4 for several.", valueName: "count"))
  var jobs: Int?

  @Flag(help: "Leave files of the run where they are, and say where.")
  var keep = false

  @Flag(help: "One JSON object per scenario, a line each.")
  var json = false

  func validate() throws {
    if all != names.isEmpty { throw ValidationError("name scenarios, or say --all") }
    for name in names where Scenario.named(name) == nil {
      throw ValidationError("there is no scenario \(name); `holdfast lab list` has them")
    }
    for letter in tier where LabReport.tier(letter) == nil {
      throw ValidationError("--tier is S, C, P or K")
    }
    guard Fix(rawValue: fix) != nil else {
      throw ValidationError("--fix is \(Fix.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    if let jobs, !(1...64).contains(jobs) { throw ValidationError("--jobs is 1 to 64") }
  }

  /// Those that can be played, and why the others cannot.
  private static func sort(_ scenarios: [Scenario], _ fix: Fix) -> (
    [Scenario], [(Scenario, String)]
  ) {
    var playable: [Scenario] = []
    var leftOut: [(Scenario, String)] = []
    for scenario in scenarios {
      if !scenario.fixes.contains(fix) {
        let others = Scenario.all.filter { $0.fixes.contains(fix) }.map(\.name)
        leftOut.append(
          (scenario, "with \(fix.rawValue) only \(others.joined(separator: ", ")) tell anything"))
      } else if let obstacle = scenario.needs() {
        leftOut.append((scenario, obstacle))
      } else {
        playable.append(scenario)
      }
    }
    return (playable, leftOut)
  }

  func run() throws {
    try LabCommand.prepare()
    let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    guard let fix = Fix(rawValue: fix) else { throw Failure("no such fix") }
    let chosen = all ? Scenario.all : names.compactMap { Scenario.named($0) }
    let (playable, leftOut) = Self.sort(chosen, fix)
    let style = Console.style
    if playable.isEmpty, let (_, reason) = leftOut.first {
      throw Failure("nothing to play: \(reason)")
    }
    for (scenario, reason) in leftOut {
      let words = "\(scenario.name) is left out: \(reason)"
      if json { Console.complain(words) } else { LabCommand.say(words) }
    }
    let tiers = tier.isEmpty ? Tier.allCases : tier.compactMap(LabReport.tier)
    let plays = playable.flatMap { scenario in tiers.map { (scenario, $0) } }
    let atOnce = jobs ?? (plays.count > 3 ? 4 : 1)
    let runner = LabRunner(program: program, keeps: keep)
    let isJSON = json
    let results = Mutex<[ScenarioResult]>([])
    let begun = Mutex(-1)
    try runner.playAll(
      plays, fix: fix, atOnce: atOnce,
      told: { index, at, words in
        guard atOnce == 1, !isJSON else { return }
        begun.withLock { begun in
          if begun != index {
            LabCommand.say(LabReport.heading(plays[index].0, plays[index].1, fix, style))
          }
          begun = index
        }
        LabCommand.say(LabReport.step(at, words, style))
      },
      done: { _, result in
        results.withLock { results in
          results.append(result)
          if isJSON {
            LabCommand.say(LabReport.json(result))
          } else {
            LabCommand.say(LabReport.text(result, withSteps: atOnce > 1, style))
          }
        }
      })
    let wrong = results.withLock { $0.filter { !$0.isAsExpected } }
    guard wrong.isEmpty else {
      let names = wrong.map { "\($0.name) at \($0.tier.letter)" }.sorted()
      throw Failure("not as expected: \(names.joined(separator: ", "))")
    }
    if !json { LabCommand.say("\(style.good("all as expected")): \(plays.count) played") }
  }
}
