// Help as people read it: the sentence first, the examples last.
//
// ArgumentParser puts everything that is not an option above the usage. The examples belong
// where the eye ends up, so they are moved there.

import ArgumentParser
import Configuration

/// Rearranges help texts and error messages.
package enum HelpText {
  /// Without the label before the first sentence, and with the examples at the end.
  package static func arranged(_ help: String) -> String {
    guard help.hasPrefix("OVERVIEW: ") else { return help }
    var lines = help.dropFirst("OVERVIEW: ".count)
      .split(separator: "\n", omittingEmptySubsequences: false)
      .map { String($0).replacing(" SUBCOMMANDS:", with: ":") }
    guard let start = lines.firstIndex(of: "EXAMPLES:"),
      let end = lines[start...].firstIndex(where: { $0.hasPrefix("USAGE:") })
    else { return lines.joined(separator: "\n") }
    var examples = lines[start..<end]
    lines.removeSubrange(start..<end)
    while examples.last?.isEmpty == true { examples.removeLast() }
    while lines.last?.isEmpty == true { lines.removeLast() }
    return (lines + [""] + examples).joined(separator: "\n")
  }

  /// An error message under the program's name, with the command that was probably meant.
  package static func complaint(_ message: String) -> String {
    let label = "Error: "
    guard message.hasPrefix(label) else { return message }
    let text = message.dropFirst(label.count)
    let unexpected = "Unexpected argument '"
    if text.hasPrefix(unexpected), let usage = text.firstIndex(of: "\n") {
      let word = String(text.dropFirst(unexpected.count).prefix { $0 != "'" })
      if let near = Suggestion.nearest(to: word, among: commandWords(usage: text[usage...])) {
        return "\(Program.name): there is no '\(word)'; did you mean '\(near)'?\(text[usage...])"
      }
    }
    return "\(Program.name): \(text)"
  }

  /// The subcommands of the command whose usage this is.
  private static func commandWords(usage: Substring) -> [String] {
    let parents: [any ParsableCommand.Type] = [
      StoreCommand.self, AuthCommand.self, CACommand.self, ProbeCommand.self, LabCommand.self,
      ResetsCommand.self,
    ]
    let parent =
      parents.first { usage.contains("Usage: holdfast \($0.configuration.commandName ?? "") ") }
      ?? Holdfast.self
    return subcommands(of: parent).compactMap { $0.configuration.commandName }
  }

  private static func subcommands(
    of command: any ParsableCommand.Type
  ) -> [any ParsableCommand.Type] {
    command.configuration.subcommands
      + command.configuration.groupedSubcommands.flatMap(\.subcommands)
  }

  /// What is wrong with `help WORDS`, for which ArgumentParser shows the nearest page there is.
  static func unknownTopic(_ arguments: [String]) -> Failure? {
    guard arguments.first == "help" else { return nil }
    var command: any ParsableCommand.Type = Holdfast.self
    for word in arguments.dropFirst() where !word.hasPrefix("-") {
      let known = subcommands(of: command)
      if let next = known.first(where: { $0.configuration.commandName == word }) {
        command = next
        continue
      }
      // `help help` is one that it makes itself.
      if word == "help" { return nil }
      let near = Suggestion.nearest(
        to: word, among: known.compactMap { $0.configuration.commandName })
      return Failure(
        "there is no command '\(word)'"
          + (near.map { "; did you mean '\($0)'?" } ?? "; `holdfast --help` lists them"), code: 2)
    }
    return nil
  }

  /// The help of a command as a terminal of 80 columns shows it.
  package static func page(_ command: any ParsableCommand.Type) -> String {
    arranged(Holdfast.helpMessage(for: command, columns: 80))
  }
}
