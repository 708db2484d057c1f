// What is wrong with a configuration, said so that it can be put right at once:
//
//   holdfast.yaml:4:9: error: store.size: "50 gigs" is not a size; write a number and a unit, like 50GiB
//       4 |   size: 50 gigs
//         |         ^
//   holdfast: --store-size: "50 gigs" is not a size; write a number and a unit, like 50GiB

/// Where in a configuration something stands.
package enum Place: Sendable, Hashable {
  /// Line and column from 1, columns counted in Unicode scalars.
  case file(line: Int, column: Int)
  /// An option of the command line, such as `--threads`.
  case option(String)
  /// Nowhere in particular.
  case whole
}

/// One thing that is wrong, or doubtful.
package struct Diagnostic: Sendable, Hashable {
  package enum Severity: String, Sendable {
    /// The configuration cannot be used.
    case error
    /// It can be used, but probably does not do what is wanted.
    case warning
  }

  package var severity: Severity
  package var place: Place
  /// The key it is about, such as `store.size`; empty for the file as a whole.
  package var key: String
  package var message: String

  package init(severity: Severity, place: Place, key: String, message: String) {
    self.severity = severity
    self.place = place
    self.key = key
    self.message = message
  }

  /// The place in a form that can be sorted: options first, then by line.
  var order: (Int, Int) {
    switch place {
    case .option: (-1, 0)
    case .file(let line, let column): (line, column)
    case .whole: (Int.max, 0)
    }
  }
}

/// All findings about one configuration, in the order of the file.
package struct Diagnostics: Error, Sendable, CustomStringConvertible {
  /// The name of the file as the user wrote it; nil when there is none.
  package var file: String?
  /// Its lines, for the excerpts.
  var lines: [Substring] = []
  package var all: [Diagnostic] = []

  package var errors: [Diagnostic] { all.filter { $0.severity == .error } }
  package var warnings: [Diagnostic] { all.filter { $0.severity == .warning } }

  mutating func sort() { all.sort { $0.order < $1.order } }

  /// Every finding with the line it is about, and nothing after the last one.
  package var description: String { all.map(text).joined(separator: "\n") }

  func text(_ diagnostic: Diagnostic) -> String {
    let key = diagnostic.key.isEmpty ? "" : "\(diagnostic.key): "
    let message = "\(diagnostic.severity.rawValue): \(key)\(diagnostic.message)"
    switch diagnostic.place {
    case .option(let option):
      // The option says it all; its key, and where it stands in a list, nobody has written.
      let word = diagnostic.severity == .warning ? "warning: " : ""
      return "\(Program.name): \(option): \(word)\(diagnostic.message)"
    case .whole: return (file.map { "\($0): " } ?? "") + message
    case .file(let line, let column):
      let head = "\(file ?? "configuration"):\(line):\(column): \(message)"
      guard lines.indices.contains(line - 1) else { return head }
      let number = String(line)
      let margin = String(repeating: " ", count: max(0, 5 - number.count))
      let blank = String(repeating: " ", count: 5)
      // Tabs stay tabs, so that the mark stands under its column in every terminal.
      let (excerpt, mark) = Self.excerpt(lines[line - 1], column: column)
      let indent = String(
        excerpt.unicodeScalars.prefix(max(0, mark - 1))
          .map { $0 == "\t" ? Character("\t") : Character(" ") })
      return "\(head)\n\(margin)\(number) | \(excerpt)\n\(blank) | \(indent)^"
    }
  }

  private static let widest = 120

  /// A line, or of a very long one what stands around a column; and where that column is in it.
  private static func excerpt(_ line: Substring, column: Int) -> (text: String, column: Int) {
    let scalars = line.unicodeScalars
    guard scalars.count > widest else { return (String(line), column) }
    let before = max(0, min(column - 1 - widest / 2, scalars.count - widest))
    var text = String(String.UnicodeScalarView(scalars.dropFirst(before).prefix(widest)))
    if before + widest < scalars.count { text += "…" }
    return before > 0 ? ("…" + text, column - before + 1) : (text, column)
  }
}
