// `holdfast lab reproduce`: the fault as load, with each cure, with and without a proxy in between.

import ArgumentParser
import Foundation
import Lab
import Platform

struct LabReproduceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reproduce",
    abstract: "Download under injected segments: what each cure is worth, and each proxy.",
    discussion: """
      Clients download through a Service, directly, through Holdfast, and through nginx where it is \
      installed, while segments are sent that the node's connection tracking cannot place. Without a \
      cure each of them kills a connection.

      EXAMPLES:
        holdfast lab reproduce
        holdfast lab reproduce --seconds 60 --rate 5 --svg reproduction.svg
      """)

  @Option(help: ArgumentHelp("How long each setting is played.", valueName: "count"))
  var seconds = 20

  @Option(help: ArgumentHelp("Clients at a time.", valueName: "count"))
  var clients = 10

  @Option(help: ArgumentHelp("Segments injected in a second.", valueName: "count"))
  var rate = 2.0

  @Option(
    help: ArgumentHelp(
      "Only with this cure; may be given again.", valueName: "none|drop-invalid|be-liberal|shield"))
  var fix: [String] = []

  @Option(
    help: ArgumentHelp("Only this way; may be given again.", valueName: "direct|holdfast|nginx"))
  var way: [String] = []

  @Option(help: ArgumentHelp("Write a picture of it.", valueName: "file"))
  var svg: String?

  @Flag(help: "One JSON object per setting, a line each.")
  var json = false

  func validate() throws {
    guard (1...3600).contains(seconds) else { throw ValidationError("--seconds is 1 to 3600") }
    guard (1...200).contains(clients) else { throw ValidationError("--clients is 1 to 200") }
    guard (0.1...100).contains(rate) else { throw ValidationError("--rate is 0.1 to 100") }
    for name in fix where Fix(rawValue: name) == nil {
      throw ValidationError("--fix is \(Fix.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    for name in way where Way(rawValue: name) == nil {
      throw ValidationError("--way is \(Way.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    // Better now than after twenty minutes.
    if let svg {
      let directory = URL(fileURLWithPath: svg).deletingLastPathComponent().path
      guard FileManager.default.isWritableFile(atPath: directory) else {
        throw ValidationError("--svg: \(directory) is no directory that can be written to")
      }
      var isDirectory: ObjCBool = false
      if FileManager.default.fileExists(atPath: svg, isDirectory: &isDirectory),
        isDirectory.boolValue || !FileManager.default.isWritableFile(atPath: svg)
      {
        throw ValidationError(
          "--svg: \(svg) is \(isDirectory.boolValue ? "a directory" : "a file that cannot be written to"): name a file, such as reproduction.svg"
        )
      }
    }
  }

  func run() throws {
    try LabCommand.prepare()
    let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    var options = ReproductionOptions()
    (options.seconds, options.clients, options.rate) = (seconds, clients, rate)
    let reproduction = Reproduction(program: program, options: options)
    let fixes = fix.isEmpty ? Fix.allCases : fix.compactMap(Fix.init)
    var ways = way.isEmpty ? Way.allCases : way.compactMap(Way.init)
    if way.isEmpty, !Requirements.has("nginx") { ways.removeAll { $0 == .nginx } }
    let isLive = !json && isatty(STDERR_FILENO) == 1
    var results: [ReproductionResult] = []
    for way in ways {
      for fix in fixes {
        let result: ReproductionResult
        do {
          result = try reproduction.play(way, fix) { result in
            guard isLive else { return }
            try? FileHandle.standardError.write(
              contentsOf: Data("\r\u{1B}[K\(Self.line(result))".utf8))
          }
        } catch {
          throw Failure("\(way.rawValue), \(fix.rawValue): \(error)")
        }
        if isLive { try? FileHandle.standardError.write(contentsOf: Data("\r\u{1B}[K".utf8)) }
        results.append(result)
        Console.complain(Self.line(result))
        if json { LabCommand.say(Self.json(result)) }
      }
    }
    if !json { LabCommand.say(Self.table(results, Console.style)) }
    if let svg {
      do throws(Errno) {
        try File.replace(svg, with: ReproductionChart.svg(results))
      } catch {
        throw Failure("--svg: cannot write \(svg): \(error)")
      }
    }
    let wrong = results.reduce(0) { $0 + $1.wrong }
    if wrong > 0 { throw Failure("\(wrong) downloads had wrong bytes") }
  }

  /// How it goes, or went.
  private static func line(_ result: ReproductionResult) -> String {
    "\(result.way.rawValue), \(result.fix.rawValue): \(result.injected) injected, \(result.complete) complete, \(result.failed) failed, \(result.originResets) of the origin's connections reset, "
      + String(format: "%.0f MB/s", result.megabytesPerSecond)
  }

  static func table(_ results: [ReproductionResult], _ style: Style) -> String {
    var table = Table([
      ("WAY", .left), ("CURE", .left), ("INJECTED", .right), ("COMPLETE", .right),
      ("FAILED", .right), ("ORIGIN RESETS", .right), ("CLIENT RESETS", .right),
      ("INVALID", .right), ("MB/S", .right), ("LONGEST", .right), ("HEALED", .right),
    ])
    for result in results {
      table.rows.append([
        result.way.rawValue, result.fix.rawValue, "\(result.injected)", "\(result.complete)",
        "\(result.failed)", "\(result.originResets)", "\(result.clientResets)",
        "\(result.invalid)", String(format: "%.0f", result.megabytesPerSecond),
        String(format: "%.1f s", result.longest), result.healed.map { "\($0)" } ?? "",
      ])
    }
    return table.text(style)
  }

  private static func json(_ result: ReproductionResult) -> String {
    var object: [String: Any] = [
      "way": result.way.rawValue, "fix": result.fix.rawValue, "injected": result.injected,
      "complete": result.complete, "failed": result.failed, "wrong": result.wrong,
      "origin_resets": result.originResets, "client_resets": result.clientResets,
      "invalid": result.invalid, "megabytes_per_second": result.megabytesPerSecond,
      "longest_seconds": result.longest,
    ]
    if let healed = result.healed { object["healed"] = healed }
    let data = try? JSONSerialization.data(withJSONObject: object, options: [.sortedKeys])
    return data.map { String(decoding: $0, as: UTF8.self) } ?? "{}"
  }
}
