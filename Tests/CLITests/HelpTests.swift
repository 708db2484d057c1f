// Help, errors and exit codes, as the shell and the reader get them.

import ArgumentParser
import Foundation
import Testing

@testable import CLI

/// What the program says and returns when it is called so.
func outcome(_ arguments: String...) -> (code: Int32, message: String) {
  do {
    _ = try Holdfast.parseAsRoot(arguments)
    return (0, "")
  } catch {
    return (CommandOutcome.exitCode(for: error), CommandOutcome.message(for: error))
  }
}

@Suite("Help and exit codes")
struct HelpTests {
  @Test(
    "help opens with a sentence and ends with examples", arguments: CLIPage.commands.map(\.name))
  func shape(name: String) throws {
    let command = try #require(CLIPage.commands.first { $0.name == name })
    let lines = HelpText.page(command.type).split(separator: "\n").map(String.init)
    #expect(!(lines.first ?? "").contains("OVERVIEW"))
    let examples = try #require(lines.firstIndex(of: "EXAMPLES:"))
    let options = try #require(lines.firstIndex(of: "OPTIONS:"))
    #expect(examples > options)
    #expect(lines[(examples + 1)...].allSatisfy { $0.hasPrefix("  ") })
    #expect(lines[(examples + 1)...].contains { $0.contains(name) })
  }

  @Test("examples fit on a line of 80", arguments: CLIPage.commands.map(\.name))
  func width(name: String) throws {
    let command = try #require(CLIPage.commands.first { $0.name == name })
    for line in HelpText.page(command.type).split(separator: "\n") where !line.hasPrefix("USAGE") {
      #expect(line.count <= 80, "\(line)")
    }
  }

  @Test("every command in an example can be parsed", arguments: CLIPage.commands.map(\.name))
  func examples(name: String) throws {
    let command = try #require(CLIPage.commands.first { $0.name == name })
    let help = HelpText.page(command.type)
    let examples = help.components(separatedBy: "EXAMPLES:").last ?? ""
    for line in examples.split(separator: "\n") {
      var words = line.split(separator: " ").map { $0.trimmingCharacters(in: ["'"]) }
      guard words.first == "holdfast" else { continue }
      words.removeFirst()
      // What the shell does with its output is not ours.
      if let end = words.firstIndex(where: { $0 == "|" || $0 == ">" }) {
        words.removeSubrange(end...)
      }
      #expect(throws: Never.self) { try Holdfast.parseAsRoot(words) }
    }
  }

  @Test(
    "a wrong call returns 2 and says what was meant",
    arguments: [
      (["srve"], "holdfast: there is no 'srve'; did you mean 'serve'?"),
      (["store", "lst"], "holdfast: there is no 'lst'; did you mean 'list'?"),
      (["serve", "--listne", "x"], "Did you mean '--listen'?"),
      (["store", "purge"], "Give a URL, or --all"),
      (["store", "purge", "a", "--all"], "Give a URL, or --all"),
      (["store", "purge", "deb.example.org"], "add --prefix"),
      (["store", "purge", "*"], "say so with --all"),
      (["store", "list", "--sort", "colour"], "colour"),
      (["store", "show"], "Missing expected argument '<url>'"),
    ])
  func wrongCalls(arguments: [String], message: String) {
    do {
      _ = try Holdfast.parseAsRoot(arguments)
      Issue.record("was accepted")
    } catch {
      #expect(CommandOutcome.exitCode(for: error) == 2)
      #expect(CommandOutcome.message(for: error).contains(message))
    }
  }

  @Test(
    "what is wrong with the command line returns 2, and is told without the name of a key",
    arguments: [
      (["check", "--listen", "99999"], "holdfast: --listen: "),
      (["check", "--threads", "0"], "holdfast: --threads: \"0\" is not a number of threads"),
      (["check", "--store-size", "1"], "holdfast: --store-size: "),
      (["check", "--client", "banana"], "holdfast: --client: \"banana\" is not a network"),
      (["check", "--mirror", "debian"], "holdfast: --mirror: \"debian\" is not a mirror"),
      (
        ["check", "--mirror", "a=http://a.example.org/", "--mirror", "a=http://b.example.org/"],
        "holdfast: --mirror: a is given twice"
      ),
      (["status", "--admin", "banana"], "holdfast: --admin: \"banana\" is not an address"),
      (["store", "show", "banana"], "holdfast: banana is not a whole URL"),
      (["store", "purge", "--prefix", "banana://x"], "'banana' is no scheme"),
      (["explain", "nope"], "holdfast: there is no cause `nope`"),
      (["resets", "--code", "bogus"], "there is no cause `bogus`"),
      (["resets", "show", ""], "Give the record's name"),
    ])
  func wrongOptions(arguments: [String], message: String) {
    do {
      var command = try Holdfast.parseAsRoot(arguments)
      try command.run()
      Issue.record("was accepted")
    } catch {
      let text = CommandOutcome.message(for: error)
      #expect(CommandOutcome.exitCode(for: error) == 2, "\(text)")
      #expect(text.contains(message), "\(text)")
    }
  }

  @Test("what is wrong with a file returns 1")
  func wrongFile() {
    let failure = #expect(throws: Failure.self) {
      var command = try Holdfast.parseAsRoot(["check", "--config", "/no/such/file.yaml"])
      try command.run()
    }
    #expect(failure?.code == 1)
  }

  @Test("help for what there is none of is a wrong call")
  func unknownTopics() {
    for known in [["help"], ["help", "store", "list"], ["help", "help"], ["--help"], ["serve"]] {
      #expect(HelpText.unknownTopic(known) == nil)
    }
    #expect(HelpText.unknownTopic(["help", "nope"])?.code == 2)
    #expect(
      HelpText.unknownTopic(["help", "srve"])?.text.contains("did you mean 'serve'?") == true)
    #expect(HelpText.unknownTopic(["help", "store", "lst"])?.text.contains("'list'") == true)
  }

  @Test("every command but the ones that only group others has a page")
  func pages() {
    func names(_ type: any ParsableCommand.Type, _ path: String) -> [String] {
      let configuration = type.configuration
      return [path]
        + (configuration.subcommands + configuration.groupedSubcommands.flatMap(\.subcommands))
        .flatMap { names($0, "\(path) \($0.configuration.commandName ?? "")") }
    }
    #expect(Set(names(Holdfast.self, "holdfast")) == Set(CLIPage.commands.map(\.name)))
  }

  @Test("help and version return 0")
  func help() {
    for arguments in [["--help"], ["serve", "--help"], ["--version"], ["help", "store", "list"]] {
      do {
        // `help` is a command that shows its page when it runs.
        var command = try Holdfast.parseAsRoot(arguments)
        try command.run()
        Issue.record("\(arguments) did not end in a message")
      } catch {
        #expect(CommandOutcome.exitCode(for: error) == 0)
        #expect(!CommandOutcome.message(for: error).isEmpty)
      }
    }
  }

  @Test("a failure returns 1 and says why under the program's name")
  func failure() {
    let failure = Failure("the disk is gone")
    #expect(CommandOutcome.exitCode(for: failure) == 1)
    #expect(CommandOutcome.message(for: failure) == "holdfast: the disk is gone")
  }

  @Test("docs/cli.md is what the commands print; `make docs` prints it anew")
  func pageIsCurrent() throws {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let page = try String(contentsOf: root.appendingPathComponent("docs/cli.md"), encoding: .utf8)
    #expect(page == CLIPage.markdown())
  }
}
