// `holdfast store …`: what is kept, whether it is whole, and how to be rid of it.

import ArgumentParser
import Configuration

struct StoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store",
    abstract: "Look into the store, check it, or drop things from it.",
    discussion: """
      Works on the directory of the store; if an instance is running on it, through that instance's \
      admin listener. The store is the one that serve would use with the same --config and --store.

      EXAMPLES:
        holdfast store list
        holdfast store list deb.example.org --sort size
        holdfast store show http://deb.example.org/debian/dists/stable/Release
        holdfast store verify
        holdfast store purge 'http://deb.example.org/debian/dists/*'
      """,
    subcommands: [
      StoreListCommand.self, StoreShowCommand.self, StoreVerifyCommand.self, StorePurgeCommand.self,
    ])
}

struct StoreListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List what is stored.",
    discussion: """
      EXAMPLES:
        holdfast store list
        holdfast store list deb.example.org --sort size
        holdfast store list http://deb.example.org/debian/pool/ --json
      """)

  enum Order: String, CaseIterable, ExpressibleByArgument { case url, size, age }

  @Argument(
    help: ArgumentHelp(
      "A host, or the beginning of a URL; everything if left out.", valueName: "where"))
  var target: String?

  @OptionGroup var locator: StoreLocator

  @Option(
    help: ArgumentHelp(
      "Sort by 'url', 'size' (largest first) or 'age' (oldest first).", valueName: "order"))
  var sort: Order = .url

  @Flag(help: "Print one JSON object per line, unsorted, as they are found.")
  var json = false

  func validate() throws {
    if let target { try StoreSelector.checkScheme(target) }
  }

  func run() throws {
    let store = try locator.open(.read)
    let selector = target.map { StoreSelector($0, isPrefix: true) } ?? .all
    if json {
      try store.list(selector) { Console.print(JSONLine.text($0)) }
      return
    }
    var rows: [StoreRow] = []
    try store.list(selector) { rows.append($0) }
    Console.print(StoreReport.list(rows, order: sort, now: secondsNow(), style: Console.style))
  }
}

struct StoreShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Show everything that is kept of one response.",
    discussion: """
      EXAMPLES:
        holdfast store show http://deb.example.org/debian/dists/stable/Release
      """)

  @Argument(help: ArgumentHelp("The whole URL.", valueName: "url"))
  var url: String

  @OptionGroup var locator: StoreLocator

  @Flag(help: "Print one JSON object per variant.")
  var json = false

  func run() throws {
    let uri = try StoreTarget.normalised(url)
    let variants = try locator.open(.read).show(uri)
    if variants.isEmpty { throw Failure("nothing is stored for \(uri)") }
    for variant in variants {
      Console.print(
        json
          ? JSONLine.text(variant)
          : StoreReport.show(variant, now: secondsNow(), style: Console.style))
    }
  }
}

struct StoreVerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Read the whole store and compare it with its checksums.",
    discussion: """
      Changes nothing unless --repair is given. The exit code is 1 if something is damaged and was not \
      repaired.

      EXAMPLES:
        holdfast store verify
        holdfast store verify --store /srv/holdfast --json
        holdfast store verify --repair
      """)

  @Flag(help: "Let go of what is damaged, and keep the rest.")
  var repair = false

  @OptionGroup var locator: StoreLocator

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let result = try locator.open(repair ? .write : .read).verify(repair: repair)
    Console.print(json ? JSONLine.text(result) : StoreReport.verify(result, style: Console.style))
    if !result.damage.isEmpty, !result.repaired { throw ExitCode.failure }
  }
}

struct StorePurgeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "purge",
    abstract: "Drop stored responses by URL.",
    discussion: """
      A URL drops that one response, with all its variants. With a * at its end, or with --prefix, it \
      drops everything that begins so.

      EXAMPLES:
        holdfast store purge http://deb.example.org/debian/dists/stable/Release
        holdfast store purge 'http://deb.example.org/debian/dists/*'
        holdfast store purge --prefix deb.example.org
        holdfast store purge --all
      """)

  @Argument(help: ArgumentHelp("A whole URL, or the beginning of one.", valueName: "url"))
  var target: String?

  @Flag(help: "Drop everything that begins with the URL, or that is below the host.")
  var prefix = false

  @Flag(help: "Drop everything.")
  var all = false

  @OptionGroup var locator: StoreLocator

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    if (target != nil) == all { throw ValidationError("Give a URL, or --all for everything.") }
    if let target, !prefix, !target.hasSuffix("*"), !target.contains("://") {
      throw ValidationError(
        "'\(target)' is not a whole URL; add --prefix to drop everything below it.")
    }
    if let target { try StoreSelector.checkScheme(target) }
    if target == "*" { throw ValidationError("'*' is everything; say so with --all.") }
  }

  func run() throws {
    var selector = target.map { StoreSelector($0, isPrefix: prefix) } ?? .all
    if case .exact(let url) = selector { selector = .exact(try StoreTarget.normalised(url)) }
    let result = try locator.open(.write).purge(selector)
    Console.print(
      json
        ? JSONLine.text(result)
        : "purged \(counted(result.responses, "response")), \(ByteCount(result.bytes).rounded)")
  }
}
