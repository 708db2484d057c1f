// Help as people read it: the sentence first, the examples last.
//
// ArgumentParser puts everything that is not an option above the usage. The examples belong
// where the eye ends up, so they are moved there.

import ArgumentParser

/// Rearranges help texts.
package enum HelpText {
  /// Without the label before the first sentence, and with the examples at the end.
  package static func arranged(_ help: String) -> String {
    guard help.hasPrefix("OVERVIEW: ") else { return help }
    var lines = help.dropFirst("OVERVIEW: ".count)
      .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard let start = lines.firstIndex(of: "EXAMPLES:"),
      let end = lines[start...].firstIndex(where: { $0.hasPrefix("USAGE:") })
    else { return lines.joined(separator: "\n") }
    var examples = lines[start..<end]
    lines.removeSubrange(start..<end)
    while examples.last?.isEmpty == true { examples.removeLast() }
    while lines.last?.isEmpty == true { lines.removeLast() }
    return (lines + [""] + examples).joined(separator: "\n")
  }

  /// The help of a command as a terminal of 96 columns shows it.
  package static func page(_ command: any ParsableCommand.Type) -> String {
    arranged(Holdfast.helpMessage(for: command, columns: 96))
  }
}
