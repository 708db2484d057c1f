// The command `holdfast`: its subcommands, its help, its exit codes.
//
// Exit codes: 0 fine, 1 it failed and said why, 2 it was called wrongly, 3 (doctor, probe) this host is exposed.

import ArgumentParser
import Configuration
import Platform

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
    groupedSubcommands: [
      CommandGroup(
        name: "Running",
        subcommands: [ServeCommand.self, CheckCommand.self, AuthCommand.self, CACommand.self]),
      CommandGroup(
        name: "Looking inside",
        subcommands: [
          StatusCommand.self, StoreCommand.self, ResetsCommand.self, ExplainCommand.self,
        ]),
      CommandGroup(
        name: "Trying it out",
        subcommands: [
          DoctorCommand.self, ProbeCommand.self, LabCommand.self,
        ]),
      CommandGroup(name: "Documentation", subcommands: [ReferenceCommand.self]),
    ]
  )

  package init() {}

  /// Runs the command line of this process, and ends it.
  package static func main() {
    // Before a file is opened.
    StandardStreams.fill()
    Privileges.takeUp()
    do {
      if let failure = HelpText.unknownTopic(Array(CommandLine.arguments.dropFirst())) {
        throw failure
      }
      var command = try parseAsRoot()
      try command.run()
      Console.exit(0)
    } catch {
      exit(reporting: error)
    }
  }

  /// Says what happened, help and version included, and ends the process with its code.
  private static func exit(reporting error: any Error) -> Never {
    let code = CommandOutcome.exitCode(for: error)
    let message = CommandOutcome.message(for: error)
    if !message.isEmpty {
      if code == 0 { Console.print(message) } else { Console.complain(message) }
    }
    Console.exit(code)
  }
}

/// What an error means to the shell and to the reader.
package enum CommandOutcome {
  package static func exitCode(for error: any Error) -> Int32 {
    if let failure = error as? Failure { return failure.code }
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
  /// 2 where the command line is what has to be changed.
  package let code: Int32
  /// Without the program's name, to stand inside of another sentence.
  package let message: String

  package init(_ message: String, code: Int32 = 1) {
    self.message = message
    text = "\(Program.name): \(message)"
    self.code = code
  }

  /// The findings about a configuration speak for themselves.
  package init(_ diagnostics: Diagnostics) {
    message = diagnostics.description
    text = message
    code = Self.code(diagnostics)
  }

  /// What is wrong with the file is a failure; what is wrong with options alone is a wrong call.
  package static func code(_ diagnostics: Diagnostics) -> Int32 {
    diagnostics.errors.allSatisfy { if case .option = $0.place { true } else { false } } ? 2 : 1
  }
}
