// What the store commands print for people.

import Configuration
import Foundation
import HTTP

/// Seconds since 1970.
func currentSeconds() -> Int64 { Int64(Date().timeIntervalSince1970) }

enum StoreReport {
  /// A table with a line of totals.
  static func list(
    _ rows: [StoredSummary], order: StoreListCommand.Order, now: Int64, style: Style
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
      ("SIZE", .right), ("STATUS", .left), ("STORED", .left), ("FRESH", .left), ("TYPE", .left),
      ("URL", .left),
    ])
    for row in sorted {
      table.rows.append([
        ByteCount(row.bytes).rounded, "\(row.status)", "\(age(seconds: now - row.stored)) ago",
        freshness(row, now: now), row.type ?? "-", row.url,
      ])
    }
    let bytes = rows.reduce(Int64(0)) { $0 + $1.bytes }
    let total = "\(counted(rows.count, "response")), \(ByteCount(bytes).rounded)"
    return "\(table.text(style))\n\(style.bold(total))"
  }

  /// `for 2h`, or `no` for what has to be validated first.
  private static func freshness(_ row: StoredSummary, now: Int64) -> String {
    row.freshUntil > now ? "for \(age(seconds: row.freshUntil - now))" : "no"
  }

  static func show(_ detail: StoredDetail, now: Int64, style: Style) -> String {
    let summary = detail.summary
    var facts = Facts()
    facts.add("status", "\(summary.status)")
    facts.add("content", "\(ByteCount(summary.bytes).rounded) (\(summary.bytes) bytes)")
    facts.add(
      "body", summary.sha256.map { "blobs/\($0.prefix(2))/\($0)" } ?? "in the log, with its record")
    facts.add("stored", "\(date(summary.stored)) (\(age(seconds: now - summary.stored)) ago)")
    facts.add(
      "fresh",
      summary.freshUntil > now
        ? "until \(date(summary.freshUntil)) (for \(age(seconds: summary.freshUntil - now)))"
        : "no, since \(date(summary.freshUntil)): validated before its next use")
    if !detail.varies.isEmpty {
      facts.add(
        "selected by", lines: detail.varies.map { "\($0.name): \($0.value ?? "(not sent)")" })
    }
    facts.add("fields", lines: detail.fields.map { "\($0.name): \(printable($0.value ?? ""))" })
    return "\(style.bold(summary.url))\n\(facts.text(style))"
  }

  static func verify(_ result: StoreVerification, style: Style) -> String {
    var lines = result.damage.map { "\(style.bad("damaged"))  \($0.file): \($0.problem)" }
    let what =
      "\(counted(result.responses, "response")), \(counted(result.bodies, "file")) of content, \(ByteCount(result.bytes).rounded)"
    lines.append(
      result.damage.isEmpty
        ? "\(what): \(style.good("all whole"))"
        : "\(what): \(style.bad(counted(result.damage.count, "problem")))")
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
  static func printable(_ text: String) -> String {
    String(
      text.unicodeScalars.map { scalar in
        scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
          ? Character("\u{FFFD}") : Character(scalar)
      })
  }
}
