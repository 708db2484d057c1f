// What goes to the terminal: text, and colour where somebody looks.

import Foundation

/// The process's standard output and standard error.
package enum Console {
  /// Writes a line to standard output.
  package static func print(_ text: String) { write(text, to: .standardOutput) }

  /// Writes a line to standard error.
  package static func complain(_ text: String) { write(text, to: .standardError) }

  private static func write(_ text: String, to file: FileHandle) {
    let line = text.hasSuffix("\n") ? text : text + "\n"
    // A reader that has gone, as with `| head`, is no failure of ours.
    try? file.write(contentsOf: Data(line.utf8))
  }

  package static func exit(_ code: Int32) -> Never { Foundation.exit(code) }

  /// Colours for standard output: only on a terminal, and not if NO_COLOR is set (no-color.org).
  package static var style: Style {
    Style(
      isTerminal: isatty(STDOUT_FILENO) == 1, environment: ProcessInfo.processInfo.environment)
  }
}

/// How words are set off.
package struct Style: Sendable {
  package let hasColour: Bool

  package init(isTerminal: Bool, environment: [String: String]) {
    let refuses = environment["NO_COLOR"].map { !$0.isEmpty } ?? false
    hasColour = isTerminal && !refuses && environment["TERM"] != "dumb"
  }

  package static let plain = Style(isTerminal: false, environment: [:])

  func bold(_ text: String) -> String { wrap(text, "1") }
  func dim(_ text: String) -> String { wrap(text, "2") }
  func good(_ text: String) -> String { wrap(text, "32") }
  func warning(_ text: String) -> String { wrap(text, "33") }
  func bad(_ text: String) -> String { wrap(text, "31") }

  private func wrap(_ text: String, _ code: String) -> String {
    hasColour && !text.isEmpty ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
  }
}
