// `holdfast auth …`: the file of users, so that nobody needs another program to make it.

import ArgumentParser
import Configuration
import Foundation
import Platform

struct AuthCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "auth",
    abstract: "Keep the file of users who may use the proxy by name and password.",
    discussion: """
      The file is what auth.file in the configuration names; --file says another. A running instance reads \
      it again on SIGHUP. Passwords are asked for without being shown, or read from standard input if that \
      is no terminal.

      EXAMPLES:
        holdfast auth add alice --config /etc/holdfast/holdfast.yaml
        pass show ci/proxy | holdfast auth add ci --file users
        holdfast auth remove alice --file users
        holdfast auth hash
      """,
    subcommands: [AuthAddCommand.self, AuthRemoveCommand.self, AuthHashCommand.self])
}

/// Which file is meant.
struct PasswordFileOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The file of users.", valueName: "file"))
  var file: String?

  @Option(
    name: [.customShort("c"), .long],
    help: ArgumentHelp("Take the file that this configuration names.", valueName: "file"))
  var config: String?

  func validate() throws {
    if (file == nil) == (config == nil) {
      throw ValidationError("Say which file is meant, with --file or --config.")
    }
  }

  func open() throws -> PasswordFile {
    if let file { return try PasswordFile(path: file) }
    let configuration: Configuration
    do throws(Diagnostics) {
      configuration = try ConfigurationLoader.load(file: config, readsSecrets: false)
        .configuration
    } catch {
      throw Failure(error)
    }
    guard let file = configuration.auth.file else {
      throw Failure("\(config ?? "") has no auth.file; add it, or use --file")
    }
    return try PasswordFile(path: file)
  }
}

struct AuthAddCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add",
    abstract: "Add a user, or give one another password.",
    discussion: """
      The file is made if it is missing, readable by its owner alone.

      EXAMPLES:
        holdfast auth add alice --file /etc/holdfast/users
        pass show ci/proxy | holdfast auth add ci --config /etc/holdfast/holdfast.yaml
      """)

  @Argument(help: ArgumentHelp("The user's name.", valueName: "name"))
  var name: String

  @OptionGroup var options: PasswordFileOptions

  func validate() throws {
    do throws(Misreading) {
      try PasswordTable.check(name: name)
    } catch {
      throw ValidationError("'\(name)' \(error.message).")
    }
  }

  func run() throws {
    var file = try options.open()
    let hash = try PasswordPrompt.hash(for: name)
    let isNew = file.set(name, hash)
    try file.write()
    Console.print("\(isNew ? "added" : "changed") \(name) in \(file.path)")
  }
}

struct AuthRemoveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove",
    abstract: "Remove a user.",
    discussion: """
      EXAMPLES:
        holdfast auth remove alice --file /etc/holdfast/users
      """)

  @Argument(help: ArgumentHelp("The user's name.", valueName: "name"))
  var name: String

  @OptionGroup var options: PasswordFileOptions

  func run() throws {
    var file = try options.open()
    guard FileManager.default.fileExists(atPath: file.path) else {
      throw Failure("there is no file \(file.path); `holdfast auth add` makes one")
    }
    guard file.remove(name) else { throw Failure("\(file.path) has no user \(name)") }
    try file.write()
    Console.print("removed \(name) from \(file.path)")
  }
}

struct AuthHashCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hash",
    abstract: "Print the hash of a password, for a file that something else writes.",
    discussion: """
      EXAMPLES:
        printf 'alice:%s\\n' "$(pass show alice | holdfast auth hash)" >> users
      """)

  func run() throws { Console.print(try PasswordPrompt.hash(for: nil).text) }
}
