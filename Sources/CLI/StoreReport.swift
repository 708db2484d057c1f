// What the store commands print for people.

import Configuration
import Foundation
import HTTP

/// Seconds since 1970.
func secondsNow() -> Int64 { Int64(Date().timeIntervalSince1970) }

enum StoreReport {
  /// A table with a line of totals.
  static func list(
    _ rows: [StoreRow], order: StoreListCommand.Order, now: Int64, style: Style
  ) -> String {
    if rows.isEmpty { return "nothing is stored there" }
    let sorted = rows.sorted { left, right in
      switch order {
      case .size where left.bytes != right.bytes: left.bytes > right.bytes
      case .age where left.stored != right.stored: left.stored < right.stored
      default: left.url < right.url
      }
    }
    var table = Table([
      ("SIZE", .right), ("STATUS", .left), ("STORED", .left), ("VARIES", .left), ("URL", .left),
    ])
    for row in sorted {
      table.rows.append([
        ByteCount(row.bytes).rounded, row.incomplete == true ? "begun" : "\(row.status)",
        "\(age(seconds: now - row.stored)) ago",
        row.varies ? "yes" : "no", printable(row.url),
      ])
    }
    let bytes = rows.reduce(Int64(0)) { $0 + $1.bytes }
    let total = "\(counted(rows.count, "response")), \(ByteCount(bytes).rounded)"
    return "\(table.text(style))\n\(style.bold(total))"
  }

  static func show(_ detail: StoreDetail, now: Int64, style: Style) -> String {
    var facts = Facts()
    facts.add("status", "\(detail.status)")
    facts.add("content", "\(ByteCount(detail.bytes).rounded) (\(detail.bytes) bytes)")
    if detail.incomplete == true {
      facts.add(
        "incomplete",
        "its fetch broke off\(detail.expected.map { ", of \($0) bytes" } ?? ""); the next one asks for the rest"
      )
    }
    facts.add(
      "body",
      detail.incomplete == true
        ? "in partial/"
        : detail.sha256.map { "blobs/\($0.prefix(2))/\($0)" } ?? "in the log, with its record")
    facts.add("stored", "\(date(detail.stored)) (\(age(seconds: now - detail.stored)) ago)")
    facts.add(
      "fresh",
      detail.freshUntil > now
        ? "until \(date(detail.freshUntil)) (for \(age(seconds: detail.freshUntil - now)))"
        : "no, since \(date(detail.freshUntil)): validated before its next use")
    if !detail.selectedBy.isEmpty {
      facts.add(
        "selected by", lines: detail.selectedBy.map { "\($0.name): \($0.value ?? "(not sent)")" })
    }
    facts.add("fields", lines: detail.fields.map { "\($0.name): \(printable($0.value ?? ""))" })
    return "\(style.bold(printable(detail.url)))\n\(facts.text(style))"
  }

  static func verify(_ result: StoreVerification, style: Style) -> String {
    var lines = result.damage.map { "\(style.bad("damaged"))    \($0)" }
    lines += result.leftovers.map { "\(style.dim("left over"))  \($0)" }
    let begun = result.incomplete.map { $0 > 0 ? ", \($0) incomplete" : "" } ?? ""
    let what =
      "\(counted(result.records, "record")), \(counted(result.bodies, "body file")), \(ByteCount(result.bytes).rounded)\(begun)"
    let verdict =
      result.damage.isEmpty
      ? style.good("all whole")
      : style.bad(counted(result.damage.count, "problem")) + (result.repaired ? ", repaired" : "")
    lines.append("\(what): \(verdict)")
    return lines.joined(separator: "\n")
  }

  /// `2026-03-02 10:11:12 UTC`
  static func date(_ seconds: Int64) -> String {
    let date = Date(timeIntervalSince1970: TimeInterval(seconds))
    return date.formatted(
      Date.VerbatimFormatStyle(
        format:
          "\(year: .defaultDigits)-\(month: .twoDigits)-\(day: .twoDigits) \(hour: .twoDigits(clock: .twentyFourHour, hourCycle: .zeroBased)):\(minute: .twoDigits):\(second: .twoDigits) UTC",
        locale: Locale(identifier: "en_US_POSIX"), timeZone: .gmt,
        calendar: Calendar(identifier: .gregorian)))
  }

  /// Field values come from strangers: control characters must not reach the terminal.
  static func printable(_ text: String) -> String { Printable.text(text, mark: "\u{FFFD}") }
}
