// The command `holdfast`: its subcommands, its help, its exit codes.
//
// Exit codes: 0 fine, 1 it failed and said why, 2 it was called wrongly.

import ArgumentParser
import Configuration

@main
package struct Holdfast: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: Program.name,
    abstract:
      "A caching HTTP proxy and package mirror: what one build downloads, every later build gets from here.",
    discussion: """
      Runs without a configuration: start it, then point your clients at 127.0.0.1:3128.

      EXAMPLES:
        holdfast serve
            Cache for this machine on port 3128; metrics are on port 3129.

        http_proxy=http://127.0.0.1:3128 curl -O http://deb.example.org/pool/a.deb
            Fetch through the proxy. The second time no byte comes from upstream.

        holdfast serve --mirror debian=http://deb.example.org/debian/
            Serve http://127.0.0.1:3128/debian/ from there.

        holdfast check --config holdfast.yaml
            Say what is wrong with a configuration, or what it lets whom reach.

        holdfast store list deb.example.org
            Show what is stored of a host.

        holdfast resets --since 1h
            Say which connections broke, who broke them, and why.
      """,
    version: "\(Program.name) \(Program.version)",
    subcommands: [ReferenceCommand.self],
    groupedSubcommands: [
      CommandGroup(
        name: "Running",
        subcommands: [ServeCommand.self, CheckCommand.self, AuthCommand.self, CACommand.self]),
      CommandGroup(
        name: "Looking inside",
        subcommands: [
          StatusCommand.self, StoreCommand.self, ResetsCommand.self, ExplainCommand.self,
        ]),
    ]
  )

  package init() {}

  /// Runs the command line of this process, and ends it.
  package static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      exit(reporting: error)
    }
  }

  /// Says what happened, help and version included, and ends the process with its code.
  private static func exit(reporting error: any Error) -> Never {
    let code = CommandOutcome.exitCode(for: error)
    let message = CommandOutcome.message(for: error)
    if !message.isEmpty { code == 0 ? Console.print(message) : Console.complain(message) }
    Console.exit(code)
  }
}

/// What an error means to the shell and to the reader.
package enum CommandOutcome {
  package static func exitCode(for error: any Error) -> Int32 {
    let code = Holdfast.exitCode(for: error)
    if code == .validationFailure { return 2 }
    return code.rawValue
  }

  package static func message(for error: any Error) -> String {
    if let failure = error as? Failure { return failure.text }
    return HelpText.complaint(HelpText.arranged(Holdfast.fullMessage(for: error)))
  }
}

/// A command could not do what it was asked to; the text says why and what to do.
package struct Failure: Error {
  package let text: String

  package init(_ message: String) { text = "holdfast: \(message)" }

  /// The findings about a configuration speak for themselves.
  package init(_ diagnostics: Diagnostics) { text = diagnostics.description }
}
