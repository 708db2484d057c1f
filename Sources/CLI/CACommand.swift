// `holdfast ca …`: the authority that signs for hosts whose connections are decrypted.

import ArgumentParser
import Configuration
import Foundation
import TLS

struct CACommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ca",
    abstract: "Keep the authority that decrypted connections are signed by.",
    discussion: """
      Clients that trust it let this proxy read what they fetch from the hosts in intercept.hosts, so that \
      it can be stored; all other tunnels are passed on unread. It lies in the directory that intercept.ca \
      in the configuration names; --ca says another.

      EXAMPLES:
        holdfast ca init --config /etc/holdfast/holdfast.yaml
        holdfast ca init --host files.example.org --host '*.example.com'
        holdfast ca show
        holdfast ca export | sudo tee /usr/local/share/ca-certificates/holdfast.crt
      """,
    subcommands: [CAInitCommand.self, CAShowCommand.self, CAExportCommand.self])
}

/// Which authority is meant.
struct AuthorityOptions: ParsableArguments {
  @Option(
    name: [.customShort("c"), .long],
    help: ArgumentHelp("Take directory and hosts from this configuration.", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("The directory of the authority.", valueName: "dir"))
  var ca: String?

  /// What the configuration says of interception, with the directory that is meant.
  func settings() throws -> InterceptSettings {
    var settings: InterceptSettings
    do throws(Diagnostics) {
      settings = try ConfigurationLoader.load(file: config, readsSecrets: false)
        .configuration.intercept
    } catch {
      throw Failure(error)
    }
    if let ca { settings.ca = URL(fileURLWithPath: ca).standardizedFileURL.path }
    return settings
  }
}

struct CAInitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Make an authority.",
    discussion: """
      It can sign only for the hosts that are named, here or in the configuration, and for those below \
      them: whoever steals its key can read nothing else. Its key is readable by its owner alone.

      EXAMPLES:
        holdfast ca init --config /etc/holdfast/holdfast.yaml
        holdfast ca init --ca /srv/holdfast/ca --host files.example.org
        holdfast ca init --renew --days 365
      """)

  @OptionGroup var options: AuthorityOptions

  @Option(
    name: .customLong("host"),
    help: ArgumentHelp(
      "A host to sign for, with all below it; may be given several times.", valueName: "name"))
  var hosts: [String] = []

  @Flag(help: "Let it sign for every host there is.")
  var anyHost = false

  @Option(help: ArgumentHelp("How long it is good for.", valueName: "number"))
  var days = 1825

  @Option(
    help: ArgumentHelp("The name by which people find it in a trust store.", valueName: "text"))
  var name: String?

  @Flag(help: "Replace the one that is there; clients have to trust the new one then.")
  var renew = false

  func validate() throws {
    guard (1...36_500).contains(days) else {
      throw ValidationError("An authority is good for 1 to 36500 days.")
    }
    if anyHost, !hosts.isEmpty {
      throw ValidationError("--any-host and --host contradict each other.")
    }
  }

  func run() throws {
    let settings = try options.settings()
    let permitted = try permitted(settings)
    let directory = AuthorityDirectory(settings.ca)
    let authority = try directory.make(
      name: name ?? "Holdfast on \(ProcessInfo.processInfo.hostName)", permitted: permitted,
      days: days, replaces: renew, now: secondsNow())
    Console.print("made an authority in \(directory.path)\n\n")
    Console.print(AuthorityReport.facts(authority, directory, now: secondsNow(), Console.style))
    Console.print(
      "\nThe key is readable by the user who ran this command alone: `holdfast serve` has to run as the same one."
    )
    Console.print("Next, have your clients trust it: `holdfast ca show` says how.")
  }

  private func permitted(_ settings: InterceptSettings) throws -> [String] {
    if anyHost { return [] }
    var patterns = settings.hosts
    if !hosts.isEmpty {
      patterns = []
      for host in hosts {
        do throws(Misreading) {
          patterns.append(try HostPattern(reading: host))
        } catch {
          throw Failure("--host \(host) \(error.message)")
        }
      }
    }
    if patterns.contains(.any) {
      throw Failure(
        "intercept.hosts has *: an authority that may sign for every host opens everything its clients do, to whoever has its key; name the hosts, or say --any-host"
      )
    }
    guard !patterns.isEmpty else {
      throw Failure(
        "which hosts is it to sign for? Name them with --host, or in intercept.hosts of a configuration given with --config"
      )
    }
    // A name permits all below it.
    var names: [String] = []
    for pattern in patterns {
      let name = pattern.text.hasPrefix("*.") ? String(pattern.text.dropFirst(2)) : pattern.text
      if !names.contains(name) { names.append(name) }
    }
    return names
  }
}

struct CAShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Show the authority, and how clients come to trust it.",
    discussion: """
      EXAMPLES:
        holdfast ca show
        holdfast ca show --ca /srv/holdfast/ca --json
      """)

  @OptionGroup var options: AuthorityOptions

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let directory = AuthorityDirectory(try options.settings().ca)
    let certificate = try directory.certificate()
    if json {
      Console.print(AuthorityReport.json(certificate, directory))
      return
    }
    Console.print(AuthorityReport.facts(certificate, directory, now: secondsNow(), Console.style))
    Console.print("\n\(AuthorityReport.instructions(directory, Console.style))")
  }
}

struct CAExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Print the certificate that clients have to trust.",
    discussion: """
      The certificate alone; the key never leaves its directory.

      EXAMPLES:
        holdfast ca export | sudo tee /usr/local/share/ca-certificates/holdfast.crt
        holdfast ca export --der | base64
      """)

  @OptionGroup var options: AuthorityOptions

  @Flag(help: "In the binary form that Java's and Windows' tools read, instead of PEM.")
  var der = false

  func run() throws {
    if der, isatty(STDOUT_FILENO) == 1 {
      throw Failure(
        "this is binary and not for a terminal; write it to a file: --der > holdfast.der")
    }
    let certificate = try AuthorityDirectory(try options.settings().ca).certificate()
    Console.write(der ? certificate.der : certificate.pem)
  }
}
