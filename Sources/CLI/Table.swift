// Aligned columns, and sizes and ages as people say them.

import Configuration

/// Rows under a header, each column as wide as its widest cell.
struct Table {
  enum Alignment { case left, right }

  var columns: [(title: String, alignment: Alignment)]
  var rows: [[String]] = []
  /// Cells that say something bad.
  var bad: Set<String> = []

  init(_ columns: [(String, Alignment)]) {
    self.columns = columns.map { (title: $0.0, alignment: $0.1) }
  }

  /// The table, two spaces between the columns and none at the ends of lines.
  /// - Parameters:
  ///   - width: of the terminal, if it is one.
  ///   - title: the column whose cells are shortened where the table is wider than that.
  func text(_ style: Style, width: Int? = nil, shrinking title: String? = nil) -> String {
    var widths = columns.indices.map { column in
      rows.reduce(columns[column].title.count) { max($0, $1[column].count) }
    }
    if let width, let column = columns.firstIndex(where: { $0.title == title }) {
      let excess = widths.reduce(2 * (widths.count - 1), +) - width
      // A column of dots tells nobody anything.
      if excess > 0 { widths[column] = max(min(widths[column], 8), widths[column] - excess) }
    }
    let header = line(columns.map(\.title), widths, .plain)
    return ([style.dim(header)] + rows.map { line($0, widths, style) }).joined(separator: "\n")
  }

  private func line(_ cells: [String], _ widths: [Int], _ style: Style) -> String {
    var line = ""
    for (column, whole) in cells.enumerated() {
      let cell = whole.count > widths[column] ? whole.prefix(widths[column] - 1) + "…" : whole
      let padding = String(repeating: " ", count: widths[column] - cell.count)
      let shown = bad.contains(whole) ? style.bad(cell) : cell
      if column > 0 { line += "  " }
      line += columns[column].alignment == .left ? shown + padding : padding + shown
    }
    while line.last == " " { line.removeLast() }
    return line
  }
}

/// Names in one column, what belongs to them in the next; a name may have several lines.
struct Facts {
  private var rows: [(name: String, lines: [String])] = []

  mutating func add(_ name: String, _ lines: String...) { rows.append((name, lines)) }
  mutating func add(_ name: String, lines: [String]) { rows.append((name, lines)) }

  /// What is said of each name, changed so.
  func map(_ change: (String) -> String) -> Facts {
    var facts = self
    facts.rows = rows.map { ($0.name, $0.lines.map(change)) }
    return facts
  }

  func text(_ style: Style) -> String {
    let width = rows.reduce(0) { max($0, $1.name.count) }
    var text: [String] = []
    for row in rows {
      for (index, line) in row.lines.enumerated() {
        let name = index == 0 ? row.name : ""
        let padding = String(repeating: " ", count: width - name.count + 2)
        text.append("  \(style.dim(name))\(padding)\(line)")
      }
    }
    return text.joined(separator: "\n")
  }
}

/// How long something took or has been, in its largest unit: `3s`, `5m`, `2h`, `4d`.
func age(seconds: Int64) -> String {
  switch seconds {
  case ..<0: "0s"
  case ..<60: "\(seconds)s"
  case ..<3600: "\(seconds / 60)m"
  case ..<86_400: "\(seconds / 3600)h"
  default: "\(seconds / 86_400)d"
  }
}

/// `1 response`, `2 responses`.
func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
