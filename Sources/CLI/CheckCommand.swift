// `holdfast check`: is the configuration right, and what does it open to whom?

import ArgumentParser
import Configuration
import Foundation
import Platform

struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Check a configuration, and say what it lets whom reach.",
    usage: "holdfast check [<options>]",
    discussion: """
      Takes the same options as serve and starts nothing. Every mistake is shown with its line and what \
      would be right; the exit code is 1 if there is one.

      EXAMPLES:
        holdfast check --config /etc/holdfast/holdfast.yaml
        holdfast check --listen 0.0.0.0:3128 --client 10.0.0.0/8
        holdfast check --config holdfast.yaml --json
      """)

  @OptionGroup var options: ServeOptions

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    do throws(Diagnostics) {
      var loaded = try options.load(readsPipes: true)
      loaded.warnings.all += PlaceCheck.warnings(loaded.configuration)
      Console.print(
        json
          ? CheckReport.json(loaded.configuration, loaded.warnings)
          : CheckReport.text(loaded, file: options.common.config, style: Console.style))
    } catch {
      guard json else { throw Failure(error) }
      Console.print(CheckReport.json(nil, error))
      throw ExitCode(Failure.code(error))
    }
  }
}

/// A checked configuration in words.
enum CheckReport {
  static func text(_ loaded: ConfigurationLoader.Loaded, file: String?, style: Style) -> String {
    let configuration = loaded.configuration
    var facts = Facts()
    facts.add("clients connect to", lines: configuration.listeners.map { Reachability.use(of: $0) })
    facts.add("clients may come from", lines: Reachability.clients(configuration))
    facts.add("clients have to show", lines: Reachability.credentials(configuration))
    facts.add("clients are served at", lines: Reachability.rates(configuration))
    facts.add(
      "admin and metrics", Reachability.admin(configuration.admin))
    facts.add("hosts they may ask for", lines: Reachability.hosts(configuration.destinations))
    facts.add("private networks", lines: Reachability.privateNetworks(configuration.destinations))
    facts.add(
      "tunnels to ports", list(configuration.destinations.connectPorts.map(\.text), empty: "none"))
    facts.add("decrypted tunnels", lines: Reachability.interception(configuration))
    if let base = Reachability.baseURL(configuration) {
      let mirrors = configuration.mirrors.all.map { Reachability.mirror($0, base: base) }
      facts.add("mirrors", lines: mirrors.isEmpty ? ["none"] : mirrors)
    }
    facts.add("origins are asked", lines: Reachability.parent(configuration.upstream))
    if !configuration.upstream.credentials.isEmpty {
      facts.add(
        "credentials for origins", lines: configuration.upstream.credentials.map(\.summary))
    }
    if !configuration.rules.isEmpty {
      facts.add("rules", lines: configuration.rules.map(\.summary))
    }
    if configuration.offline { facts.add("network", Banner.offline) }
    facts.add(
      "store", "\(configuration.store.path)",
      "\(configuration.store.size.rounded) on disk, \(configuration.store.memory.rounded) in memory"
    )
    let isAutomatic = configuration.threads == .automatic
    facts.add("threads", "\(configuration.threads.resolved)\(isAutomatic ? " (one per core)" : "")")
    facts.add(
      "access log", "\(configuration.log.format.rawValue), to \(configuration.log.access.text)")

    let subject = file ?? "the built-in configuration"
    let warnings = loaded.warnings.all
    let verdict =
      warnings.isEmpty
      ? "\(subject): \(style.good("no mistakes"))"
      : "\(subject): \(style.warning("can be used, with \(counted(warnings.count, "warning"))"))"
    let findings = warnings.isEmpty ? "" : "\n\n\(loaded.warnings.description)"
    return "\(verdict)\n\n\(facts.text(style))\(findings)"
  }

  private struct Finding: Encodable {
    var severity: String
    var key: String
    var message: String
    var line: Int?
    var column: Int?
    var option: String?

    init(_ diagnostic: Diagnostic) {
      severity = diagnostic.severity.rawValue
      key = diagnostic.key
      message = diagnostic.message
      switch diagnostic.place {
      case .file(let line, let column): (self.line, self.column) = (line, column)
      case .option(let option): self.option = option
      case .whole: break
      }
    }
  }

  private struct Report: Encodable {
    var usable: Bool
    var file: String?
    var findings: [Finding]
    /// Every key with its value as it stands in YAML.
    var configuration: [String: String]?
  }

  /// The findings, and every key with its value if the configuration can be used.
  static func json(_ configuration: Configuration?, _ diagnostics: Diagnostics) -> String {
    let values = configuration.map { configuration in
      Dictionary(
        uniqueKeysWithValues: Reference.settings.map { ($0.key, $0.yaml(configuration)) })
    }
    return JSONLine.text(
      Report(
        usable: configuration != nil, file: diagnostics.file,
        findings: diagnostics.all.map(Finding.init), configuration: values))
  }

  private static func list(_ words: [String], empty: String) -> String {
    words.isEmpty ? empty : words.joined(separator: ", ")
  }
}

/// JSON on one line with its keys in order.
enum JSONLine {
  static func text(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }
}
