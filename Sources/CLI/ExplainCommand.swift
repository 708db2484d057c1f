// `holdfast explain CODE`: what a verdict means, how sure one can be of it, and what to do.

import ArgumentParser
import Configuration
import Forensics

struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain",
    abstract: "Say what the cause of an ending means, and what to do.",
    discussion: """
      Without a code it lists all there are.

      EXAMPLES:
        holdfast explain undnat-here
        holdfast explain
        holdfast explain --json
      """)

  @Argument(help: ArgumentHelp("The code, as in a record.", valueName: "code"))
  var code: String?

  @Flag(help: "Print one JSON object per cause.")
  var json = false

  func run() throws {
    if json {
      for cause in try code.map({ [try Self.cause($0)] }) ?? Cause.allCases {
        Console.print(Self.json(cause))
      }
      return
    }
    guard let code else {
      var table = Table([("CODE", .left), ("MEANS", .left)])
      for cause in Cause.allCases { table.rows.append([cause.rawValue, cause.meaning]) }
      Console.print(table.text(Console.style))
      return
    }
    Console.print(Self.text(try Self.cause(code), Console.style))
  }

  private static func cause(_ code: String) throws -> Cause {
    guard let cause = Cause(rawValue: code) else { throw Failure(unknown(code), code: 2) }
    return cause
  }

  private struct Explanation: Encodable {
    var code: String
    var means: String
    var remedy: String
    /// Per cent, by what was looked at.
    var sure: [String: Int]
  }

  static func json(_ cause: Cause) -> String {
    JSONLine.text(
      Explanation(
        code: cause.rawValue, means: cause.meaning, remedy: cause.remedy,
        sure: Dictionary(
          uniqueKeysWithValues: Tier.allCases.map { ($0.letter, cause.confidence(with: $0)) })))
  }

  static func text(_ cause: Cause, _ style: Style) -> String {
    var facts = Facts()
    facts.add("that is", cause.meaning)
    facts.add("to do", cause.remedy)
    facts.add(
      "how sure",
      Tier.allCases.map { "\($0.letter) \(cause.confidence(with: $0))%" }.joined(separator: "   ")
        + "   (S sockets, C counters, P packets, K the kernel's reasons)")
    return "\(style.bold(cause.rawValue))\n\(facts.text(style))"
  }

  static func unknown(_ code: String) -> String {
    let near = Suggestion.nearest(to: code, among: Cause.allCases.map(\.rawValue))
    return "there is no cause `\(code)`"
      + (near.map { "; did you mean \($0)?" } ?? "; `holdfast explain` lists them")
  }
}
