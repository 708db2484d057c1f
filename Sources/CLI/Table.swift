// Aligned columns, and sizes and ages as people say them.

import Configuration

/// Rows under a header, each column as wide as its widest cell.
struct Table {
  enum Alignment { case left, right }

  var columns: [(title: String, alignment: Alignment)]
  var rows: [[String]] = []

  init(_ columns: [(String, Alignment)]) {
    self.columns = columns.map { (title: $0.0, alignment: $0.1) }
  }

  /// The table, two spaces between the columns and none at the ends of lines.
  func text(_ style: Style) -> String {
    let widths = columns.indices.map { column in
      rows.reduce(columns[column].title.count) { max($0, $1[column].count) }
    }
    let header = line(columns.map(\.title), widths)
    return ([style.dim(header)] + rows.map { line($0, widths) }).joined(separator: "\n")
  }

  private func line(_ cells: [String], _ widths: [Int]) -> String {
    var line = ""
    for (column, cell) in cells.enumerated() {
      let padding = String(repeating: " ", count: widths[column] - cell.count)
      if column > 0 { line += "  " }
      line += columns[column].alignment == .left ? cell + padding : padding + cell
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
