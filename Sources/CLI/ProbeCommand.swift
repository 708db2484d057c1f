// `holdfast probe …`: finds out by trying whether a connection through a Service survives segments that connection tracking
// does not like.

import ArgumentParser
import Configuration
import Foundation
import Platform
import Probe

struct ProbeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "probe",
    abstract: "Try whether connections through a Service are reset by stray segments.",
    discussion: """
      The server is put behind the Service, the client in front of it. On connections of their own the \
      server writes segments that connection tracking may call INVALID, and both say what became of them. Safe \
      beside other traffic: a handful of packets, on no connection but the probe's. Only the server needs CAP_NET_RAW.

      EXAMPLES:
        holdfast probe server --listen 0.0.0.0:3130
        holdfast probe client registry.example.org:80
      """,
    subcommands: [ProbeServerCommand.self, ProbeClientCommand.self])
}

struct ProbeServerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "server", abstract: "Answer probes; run it where the Service leads.",
    discussion: """
      Needs CAP_NET_RAW, to write segments by hand and to see what they draw. Ends by itself after --for, \
      or after 10,000 connections; at most 32 at a time. Exit code 1: it could not begin, and says why.

      EXAMPLES:
        holdfast probe server
        holdfast probe server --listen 0.0.0.0:8080 --for 10m
      """)

  @Option(
    help: ArgumentHelp(
      "Where to listen, IP:PORT; may be given again.", valueName: "address"))
  var listen = ["0.0.0.0:3130", "[::]:3130"]

  @Option(name: .customLong("for"), help: ArgumentHelp("How long.", valueName: "duration"))
  var time = "1h"

  @Flag(help: "Say nothing of each test.")
  var quiet = false

  func validate() throws {
    for address in listen where SocketAddress(address) == nil {
      throw ValidationError(
        "--listen is an address and a port, such as 0.0.0.0:3130, not \(address)")
    }
    guard let time = try? Duration(reading: time), time > .zero else {
      throw ValidationError("--for is a time such as 10m or 1h")
    }
  }

  func run() throws {
    let isQuiet = quiet
    do throws(ProbeError) {
      let server = try ProbeServer(on: listen.compactMap { SocketAddress($0) }) {
        if !isQuiet { Console.print($0) }
      }
      for address in server.addresses { Console.print("listening on \(address)") }
      server.run(for: (try? Duration(reading: time)) ?? .seconds(3600))
    } catch {
      throw Failure("\(error)")
    }
  }
}

struct ProbeClientCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "client", abstract: "Probe through a Service, and judge.",
    discussion: """
      Takes some seconds. With CAP_NET_RAW it also counts segments that came untranslated. Exit code 0: \
      every connection lived; 3: exposed; 1: it could not be tried, and why is said; 2: wrong usage.

      EXAMPLES:
        holdfast probe client registry.example.org:80
        holdfast probe client 10.96.0.10:80 --kind above-window --json
      """)

  @Argument(
    help: ArgumentHelp(
      "The Service, HOST:PORT; of a name an address of each family.", valueName: "service"))
  var service: String

  @Option(
    help: ArgumentHelp("Which segments; all unless given; may be given again.", valueName: "kind"))
  var kind: [String] = []

  @Flag(help: "Print one JSON object per address, a line each.")
  var json = false

  func validate() throws {
    guard ProbeClient.isMeant(service) else {
      throw ValidationError(
        "a Service is HOST:PORT, such as registry.example.org:80, 10.96.0.10:80 or [fd00::a]:80, not \(service)"
      )
    }
    for kind in kind where ProbeKind(rawValue: kind) == nil {
      throw ValidationError(
        "--kind is \(ProbeKind.allCases.map(\.rawValue).joined(separator: ", "))")
    }
  }

  func run() throws {
    let targets: [SocketAddress]
    do {
      targets = try ProbeClient.resolve(service)
    } catch {
      throw Failure("\(error)")
    }
    var verdicts: [ProbeVerdict] = []
    for target in targets {
      var client = ProbeClient(target)
      if !kind.isEmpty {
        client.kinds =
          [.control] + ProbeKind.allCases.filter { $0 != .control && kind.contains($0.rawValue) }
      }
      let report = client.run()
      verdicts.append(report.verdict)
      Console.print(json ? ProbePage.json(report) : ProbePage.text(report, Console.style))
    }
    if verdicts.contains(.exposed) { throw ExitCode(3) }
    if verdicts.contains(.unknown) { throw ExitCode.failure }
  }
}

/// What a probe found, for people and for scripts.
enum ProbePage {
  static func text(_ report: ProbeReport, _ style: Style) -> String {
    var parts = ["\(verdict(report.verdict, style)): \(headline(report))"]
    // What stands in the way of one mostly stands in the way of all.
    let failures = Set(report.results.map(\.failure))
    if failures.count == 1, case let failure?? = failures.first {
      return parts[0] + "\n\n  \(failure)"
    }
    var facts = Facts()
    if let server = report.server {
      facts.add(
        "leads to",
        report.hidesServer
          ? "\(server), translated on the way" : "\(server), which is the server's own address"
      )
    }
    if let seenAs = report.seenAs {
      facts.add(
        "seen there as", report.hidesClient ? "\(seenAs), translated on the way" : "\(seenAs)")
    }
    for result in report.results {
      facts.add(
        result.kind.rawValue, "\(mark(result.verdict, style)) \(result.words)",
        style.dim(result.kind.words))
    }
    parts.append(facts.text(style))
    if report.verdict == .exposed {
      parts.append("to do: `holdfast doctor --fix` on the node that translates")
    }
    return parts.joined(separator: "\n\n")
  }

  static func headline(_ report: ProbeReport) -> String {
    let deadly = report.results.filter { $0.verdict == .exposed }.map(\.kind.rawValue)
    switch report.verdict {
    case .exposed: return "\(report.target) loses connections to \(deadly.joined(separator: ", "))"
    case .strayed:
      return
        "connections to \(report.target) live; some segments still pass untranslated, and harm none"
    case .safe where report.isTranslated: return "nothing passes untranslated from \(report.target)"
    case .safe: return "nothing is translated between here and \(report.target)"
    case .unknown: return "\(report.target) could not be tried in full"
    }
  }

  private static func verdict(_ verdict: ProbeVerdict, _ style: Style) -> String {
    switch verdict {
    case .exposed: style.bold(style.bad("EXPOSED"))
    case .safe, .strayed: style.bold(style.good("NOT EXPOSED"))
    case .unknown: style.bold(style.warning("UNKNOWN"))
    }
  }

  private static func mark(_ verdict: ProbeVerdict, _ style: Style) -> String {
    switch verdict {
    case .exposed: style.bad("exposed")
    case .strayed: style.warning("strays ")
    case .safe: style.good("safe   ")
    case .unknown: style.warning("unknown")
    }
  }

  static func json(_ report: ProbeReport) -> String {
    let object: [String: Any] = [
      "target": report.target.description, "verdict": report.verdict.rawValue,
      "reason": headline(report), "server": report.server?.description ?? NSNull(),
      "seen_as": report.seenAs?.description ?? NSNull(), "translated": report.isTranslated,
      "destination_translated": report.hidesServer, "source_translated": report.hidesClient,
      "kinds": report.results.map { result in
        [
          "kind": result.kind.rawValue, "verdict": result.verdict.rawValue, "words": result.words,
          "client": result.client?.rawValue ?? NSNull(), "strays": result.strays ?? NSNull(),
          "server": result.server.map {
            [
              "exact_resets": $0.exactResets, "other_resets": $0.otherResets,
              "answers": $0.answers, "socket_dead": $0.socketIsDead, "clock": $0.clock.rawValue,
            ] as [String: Any]
          } ?? NSNull(),
        ] as [String: Any]
      },
    ]
    let data = try? JSONSerialization.data(
      withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
    return data.map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }
}
