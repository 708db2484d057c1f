// `holdfast serve`: read the configuration, say where to find the proxy, run it.

import ArgumentParser
import Configuration
import Proxy

struct ServeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Run the proxy.",
    usage: "holdfast serve [<options>]",
    discussion: """
      Needs no options: it serves this machine on 127.0.0.1:3128, keeps its store in the cache directory \
      of the user and its metrics on 127.0.0.1:3129. SIGHUP reads the configuration again, SIGTERM lets \
      the requests under way finish, a second SIGTERM stops at once.

      EXAMPLES:
        holdfast serve
        holdfast serve --listen 0.0.0.0:3128 --client 10.0.0.0/8
        holdfast serve --mirror debian=http://deb.example.org/debian/
        holdfast serve --config /etc/holdfast/holdfast.yaml
      """)

  @OptionGroup var options: ServeOptions

  func run() throws {
    let loaded = try load()
    if !loaded.warnings.all.isEmpty { Console.complain(loaded.warnings.description) }
    try Launch.run(
      loaded.configuration, started: { Console.complain(Banner.text($0, sensors: $1)) },
      reload: { () throws(Diagnostics) in try options.load() })
  }

  private func load() throws -> ConfigurationLoader.Loaded {
    do {
      return try options.load()
    } catch {
      throw Failure(error)
    }
  }
}

/// What is said once the proxy accepts connections.
enum Banner {
  static let offline = "left alone (offline: true); what is not stored is answered with 504"

  static func text(_ configuration: Configuration, sensors: [SensorState] = []) -> String {
    var facts = Facts()
    facts.add("proxy", lines: configuration.listeners.map { Reachability.use(of: $0) })
    if let base = Reachability.baseURL(configuration) {
      let mirrors = configuration.mirrors.all.map { "\(base)/\($0.name)/ from \($0.url.text)" }
      if !mirrors.isEmpty { facts.add("mirrors", lines: mirrors) }
    }
    if let admin = configuration.admin?.address { facts.add("metrics", "http://\(admin)/metrics") }
    if configuration.offline { facts.add("network", offline) }
    facts.add("store", "\(configuration.store.path), up to \(configuration.store.size.rounded)")
    facts.add("endings", lines: endings(configuration.resets, sensors))
    return "\(Program.name) \(Program.version)\n\(facts.text(.plain))"
  }

  /// What is recorded of connections that break, what can be seen of them, and what it would take to see more.
  private static func endings(_ settings: ResetSettings, _ sensors: [SensorState]) -> [String] {
    let place: String =
      switch settings.path {
      case .none: "recorded in memory only"
      case .stdout, .stderr: "recorded to \(settings.path.text)"
      case .file(let path): "recorded in \(path)"
      }
    var lines = [place, "sockets: their errors and TCP_INFO, always"]
    for sensor in sensors {
      lines.append("\(sensor.name): \(sensor.isActive ? "" : "no: ")\(sensor.text)")
    }
    if let captures = settings.captures,
      sensors.contains(where: { $0.name == "packets" && $0.isActive })
    {
      lines.append("captures in \(captures), at most \(settings.captureFiles)")
    }
    return lines
  }
}
