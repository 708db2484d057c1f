// `holdfast resets …`: who broke which connection, by what means, and why.

import ArgumentParser
import Configuration
import Forensics
import Foundation

struct ResetsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resets",
    abstract: "Say which connections broke, who broke them, and why.",
    discussion: """
      Reads the file of `resets.path` and those that were moved aside; where there is none, asks the \
      instance that is running. Times are UTC.

      EXAMPLES:
        holdfast resets
        holdfast resets --since 1h --side upstream
        holdfast resets --code origin-aborted --json
        holdfast resets --follow
        holdfast resets show 01KJ2M5V6C0000000000000000
        holdfast resets summary --since 24h
      """,
    subcommands: [ResetsListCommand.self, ResetsShowCommand.self, ResetsSummaryCommand.self],
    defaultSubcommand: ResetsListCommand.self)
}

/// Where the records are.
struct ResetOptions: ParsableArguments {
  @Option(
    name: [.customShort("c"), .long],
    help: ArgumentHelp("Read this configuration.", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("Read this file of records.", valueName: "file"))
  var file: String?

  @Option(
    help: ArgumentHelp(
      "Ask the instance with this admin listener, and read no file.", valueName: "address:port"))
  var admin: String?

  @Option(
    help: ArgumentHelp(
      "File with the token that the admin listener asks for; otherwise the configuration's.",
      valueName: "file"))
  var tokenFile: String?

  func source() throws -> ResetSource {
    var overrides: [Override] = []
    if let admin { overrides.append(Override(option: "--admin", key: "admin", values: [admin])) }
    if let tokenFile {
      overrides.append(
        Override(option: "--token-file", key: "admin.token-file", values: [tokenFile]))
    }
    do throws(Diagnostics) {
      let loaded = try ConfigurationLoader.load(file: config, overrides: overrides)
      return ResetSource(loaded.configuration, file: file, asksInstance: admin != nil)
    } catch {
      throw Failure(error)
    }
  }
}

/// Which of them.
struct ResetFilter: ParsableArguments {
  @Option(
    help: ArgumentHelp("Only those of the last 30m, 1h, 7d…", valueName: "duration"))
  var since: String?

  @Option(help: ArgumentHelp("Only those of this cause; may be given again.", valueName: "code"))
  var code: [String] = []

  @Option(help: ArgumentHelp("Only those of this side.", valueName: "upstream|downstream"))
  var side: String?

  @Option(
    help: ArgumentHelp("Only those whose URL, origin or client contains this.", valueName: "text"))
  var match: String?

  func validate() throws {
    for code in code where Cause(rawValue: code) == nil {
      throw ValidationError("\(ExplainCommand.unknown(code))")
    }
    if let side, side != "upstream", side != "downstream" {
      throw ValidationError("--side is upstream or downstream")
    }
    if let since, Self.seconds(since) == nil {
      throw ValidationError("--since \(since): write 90s, 30m, 1h or 7d")
    }
  }

  /// The filter as it is from now on: who waits for records wants those since then, however long that is.
  func selection(now: Int64 = secondsNow()) -> (ResetEntry) -> Bool {
    let start = since.flatMap(Self.seconds).map { now - $0 }
    return { entry in
      if let start, entry.seconds < start { return false }
      return takes(entry)
    }
  }

  /// All but the time.
  private func takes(_ entry: ResetEntry) -> Bool {
    if !code.isEmpty, !code.contains(entry.verdict.code) { return false }
    if let side, entry.side != side { return false }
    guard let match else { return true }
    return [entry.url, entry.server, entry.client, entry.peerAddress, entry.id]
      .contains { $0?.contains(match) ?? false }
  }

  static func seconds(_ text: String) -> Int64? {
    guard let unit = text.last, let number = Int64(text.dropLast()), number >= 0, number < 1 << 32
    else { return nil }
    switch unit {
    case "s": return number
    case "m": return number * 60
    case "h": return number * 3600
    case "d": return number * 86_400
    default: return nil
    }
  }
}

struct ResetsListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List them, oldest first.",
    discussion: """
      EXAMPLES:
        holdfast resets list --since 1h
        holdfast resets list --follow
      """)

  @OptionGroup var filter: ResetFilter
  @OptionGroup var options: ResetOptions

  @Flag(help: "Print the records as they are, one JSON object per line.")
  var json = false

  @Flag(help: "Wait for more, and print them as they come.")
  var follow = false

  func run() throws {
    let source = try options.source()
    let isWanted = filter.selection()
    // Those that come while the old ones are read are not to be missed.
    let follower = follow ? source.follower() : nil
    if !follow || !json {
      let all = try read(source, follow)
      let entries = all.filter { isWanted($0.entry) }
      if json {
        for entry in entries { Console.print(String(decoding: entry.line, as: UTF8.self)) }
      } else if follow, entries.isEmpty {
        Console.complain("\(Program.name): waiting for the first; Ctrl-C ends this")
      } else {
        Console.print(
          ResetReport.list(
            entries.map(\.entry), of: all.count, style: Console.style, width: Console.width))
      }
    }
    guard follow else { return }
    guard let follower else {
      throw Failure("only a file can be followed: set `resets.path`")
    }
    while follower.read({ line in
      guard let entry = ResetEntry(line: line), isWanted(entry) else { return true }
      if json { return Console.print(String(decoding: line, as: UTF8.self)) }
      return entry.stage == "final" ? Console.print(ResetReport.line(entry)) : true
    }) {
      Thread.sleep(forTimeInterval: 0.5)
    }
  }

  /// Who waits for the first record may do so before there is a file.
  private func read(
    _ source: ResetSource, _ follow: Bool
  ) throws -> [(entry: ResetEntry, line: [UInt8])] {
    if follow, !source.hasFile { return [] }
    return try source.read()
  }
}

struct ResetsShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Tell the story of one of them.",
    discussion: """
      The name is in the answer that the client got (Proxy-Status, and the page), in the access log, and in \
      the list. Its last letters will do.

      EXAMPLES:
        holdfast resets show 01KJ2M5V6C0000000000000000
      """)

  @Argument(help: ArgumentHelp("The record's name, or the end of it.", valueName: "id"))
  var id: String

  @OptionGroup var options: ResetOptions

  @Flag(help: "Print the record as it is.")
  var json = false

  func validate() throws {
    if id.isEmpty { throw ValidationError("Give the record's name, or the end of it.") }
  }

  func run() throws {
    let wanted = id.uppercased()
    let found = try options.source().read().filter { $0.entry.id.hasSuffix(wanted) }
    guard let only = found.first else {
      throw Failure("there is no record \(id); `holdfast resets` lists what there is")
    }
    guard found.count == 1 else {
      throw Failure("\(found.count) records end with \(id); write more of the name")
    }
    Console.print(
      json
        ? String(decoding: only.line, as: UTF8.self)
        : ResetReport.show(only.entry, style: Console.style))
  }
}

struct ResetsSummaryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "summary",
    abstract: "Count them by cause, origin, client and hour.",
    discussion: """
      EXAMPLES:
        holdfast resets summary --since 24h
        holdfast resets summary --json
      """)

  @OptionGroup var filter: ResetFilter
  @OptionGroup var options: ResetOptions

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let isWanted = filter.selection()
    let all = try options.source().read().map(\.entry)
    let entries = all.filter(isWanted)
    Console.print(
      json
        ? JSONLine.text(ResetSummary(entries))
        : ResetReport.summary(entries, of: all.count, style: Console.style))
  }
}
