// What `holdfast resets` prints for people.

import Configuration
import Forensics
import Foundation

enum ResetReport {
  static func list(_ entries: [ResetEntry], style: Style) -> String {
    if entries.isEmpty { return "no ending is on record: every connection ended as it should" }
    var table = Table([
      ("TIME", .left), ("SIDE", .left), ("PHASE", .left), ("MEANS", .left), ("CAUSE", .left),
      ("SURE", .right), ("HEALED", .left), ("WITH", .left), ("ID", .left),
    ])
    for entry in entries { table.rows.append(row(entry)) }
    let healed = entries.count { $0.resume.map { $0.outcome != "failed" } ?? false }
    let total =
      counted(entries.count, "ending") + (healed > 0 ? ", \(healed) healed" : "")
      + "; `holdfast resets show ID` tells its story"
    return "\(table.text(style))\n\(style.bold(total))"
  }

  /// One line, for `--follow`.
  static func line(_ entry: ResetEntry) -> String { row(entry).joined(separator: "  ") }

  private static func row(_ entry: ResetEntry) -> [String] {
    [
      clock(entry.time), entry.side, entry.phase, entry.means, entry.verdict.code,
      percent(entry.verdict.confidence) + " \(entry.verdict.tier)", entry.resume?.outcome ?? "-",
      printable(entry.other), entry.id,
    ]
  }

  // MARK: One

  static func show(_ entry: ResetEntry, style: Style) -> String {
    var text = style.bold(headline(entry)) + "\n\n"
    for sentence in story(entry) { text += "  \(sentence)\n" }
    text += "\n"
    var facts = Facts()
    facts.add(
      "verdict",
      "\(entry.verdict.code), \(percent(entry.verdict.confidence)) sure (judged with \(tier(entry.verdict.tier)))"
        + (entry.stage == "final" ? "" : "; more may come")
    )
    if let cause = entry.cause { facts.add("that is", cause.meaning) }
    if !entry.verdict.reasons.isEmpty { facts.add("for it", lines: entry.verdict.reasons) }
    if !entry.verdict.doubts.isEmpty { facts.add("against it", lines: entry.verdict.doubts) }
    if !entry.verdict.also.isEmpty {
      facts.add("or perhaps", entry.verdict.also.joined(separator: ", "))
    }
    facts.add("to do", entry.remedy)
    if let incident = entry.incident { facts.add("incident", "one of several: \(incident)") }
    facts.add("request", request(entry))
    if let local = entry.localAddress, let peer = entry.peerAddress {
      facts.add(
        "connection", "\(local):\(entry.localPort ?? 0) to \(peer):\(entry.peerPort ?? 0)")
    }
    if let information = entry.information {
      facts.add("the kernel", lines: kernel(information))
    }
    facts.add("record", entry.id)
    return text + facts.text(style)
  }

  private static func headline(_ entry: ResetEntry) -> String {
    "\(date(entry.time))  \(entry.side) \(entry.phase) \(entry.means): \(entry.verdict.code)"
  }

  private static func request(_ entry: ResetEntry) -> String {
    let words = [entry.method, entry.url.map { printable($0) }].compactMap(\.self)
    return (words.isEmpty ? "none under way" : words.joined(separator: " "))
      + (entry.status.map { ", answered \($0)" } ?? "")
  }

  /// What happened, in sentences.
  private static func story(_ entry: ResetEntry) -> [String] {
    var story: [String] = []
    let who =
      entry.side == "upstream"
      ? "the origin \(printable(entry.other))" : "the client \(printable(entry.other))"
    if let connection = entry.connection {
      var sentence = "The connection with \(who) was \(seconds(connection.age ?? 0)) old"
      if connection.reused == true {
        sentence +=
          ", on its request number \(connection.requests ?? 0), after \(seconds(connection.idle ?? 0)) of idling"
      }
      story.append(sentence + ".")
    }
    story.append(ending(entry, who))
    if let content = entry.content, entry.phase == "content" || entry.phase == "tunnel" {
      if entry.side == "upstream", let received = content.received {
        story.append(
          content.expected.map {
            "\(received) of \($0) bytes had come (\($0 > 0 ? received * 100 / $0 : 0)%)."
          } ?? "\(received) bytes had come, of how many nobody had said.")
      } else if let delivered = content.delivered {
        story.append("\(delivered) bytes had been given to it.")
      }
    }
    if let resume = entry.resume { story.append(resumed(resume)) }
    return story
  }

  private static func ending(_ entry: ResetEntry, _ who: String) -> String {
    let place: String =
      switch entry.phase {
      case "connect": "while it was being made"
      case "tls": "in the handshake of TLS"
      case "idle": "while it was idle"
      case "request": "while the request was on its way"
      case "head": "before anything of an answer had come"
      case "content": "in the middle of the content"
      default: "in the middle of a tunnel"
      }
    let what: String =
      switch entry.means {
      case "finish": "\(who) said FIN"
      case "reset": "it was reset"
      case "abort": "Holdfast broke it off"
      case "timeout": "nothing came any more"
      case "icmp": "a router said that there is no way"
      case "killed": "somebody on this machine destroyed the socket"
      case "alert": "\(who) sent a TLS alert"
      case "malformed": "what came was no proper message"
      default: "this machine could not go on"
      }
    let errno = entry.errno.map { " (\($0)\(entry.syscall.map { " from \($0)" } ?? ""))" } ?? ""
    return what.prefix(1).uppercased() + what.dropFirst() + " \(place)\(errno)."
  }

  private static func resumed(_ resume: ResetEntry.Resumption) -> String {
    switch resume.outcome {
    case "resumed":
      "The download went on from byte \(resume.offset) after \(seconds(resume.after)), and nobody noticed."
    case "compared":
      "The download was fetched again, found the same up to byte \(resume.offset), and went on after \(seconds(resume.after))."
    case "repeated":
      "The request was sent once more, and was answered after \(seconds(resume.after)); nobody noticed."
    default:
      "It could not be healed\(resume.note.map { ": \($0)" } ?? "")."
    }
  }

  private static func kernel(_ information: [String: Int64]) -> [String] {
    func value(_ name: String) -> Int64 { information[name] ?? 0 }
    return [
      "round trip \(milliseconds(value("rtt"))), \(value("total_retrans")) retransmits in all, \(value("retransmits")) in a row",
      "\(value("unacked")) segments not confirmed, \(value("bytes_received")) bytes received, \(value("bytes_acked")) confirmed",
      "last data \(value("last_data_recv")) ms before, last confirmation \(value("last_ack_recv")) ms before",
    ]
  }

  // MARK: Many

  static func summary(_ entries: [ResetEntry], style: Style) -> String {
    if entries.isEmpty { return "no ending is on record: every connection ended as it should" }
    var text = style.bold(counted(entries.count, "ending"))
    if let first = entries.first, let last = entries.last {
      text += " from \(date(first.time)) to \(date(last.time))"
    }
    text += "\n\n" + bars("by cause", entries.map(\.verdict.code), style)
    let upstream = entries.filter { $0.side == "upstream" }
    if !upstream.isEmpty {
      text += "\n\n" + bars("by origin", upstream.map { printable($0.other) }, style)
    }
    let clients = entries.compactMap { $0.side == "downstream" ? $0.client : nil }
    if !clients.isEmpty { text += "\n\n" + bars("by client", clients, style) }
    text +=
      "\n\n"
      + bars("by hour", entries.map { String($0.time.prefix(13)) + "h" }, style, isOrdered: true)
    return text
  }

  private static let barWidth = 40
  private static let mostBars = 12

  private static func bars(
    _ title: String, _ values: [String], _ style: Style, isOrdered: Bool = false
  ) -> String {
    let counts = Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +)
    var sorted = counts.sorted {
      isOrdered ? $0.key < $1.key : ($1.value, $0.key) < ($0.value, $1.key)
    }
    let left = sorted.dropFirst(mostBars)
    let rest = isOrdered ? sorted.dropLast(mostBars) : left
    sorted = Array(isOrdered ? sorted.suffix(mostBars) : sorted.prefix(mostBars))
    let most = sorted.map(\.value).max() ?? 1
    let width = sorted.map(\.key.count).max() ?? 0
    var lines = [style.dim(title)]
    for (name, count) in sorted {
      let padding = String(repeating: " ", count: width - name.count)
      let bar = String(repeating: "█", count: max(1, count * barWidth / most))
      lines.append("  \(name)\(padding)  \(bar) \(count)")
    }
    if !rest.isEmpty { lines.append(style.dim("  and \(rest.count) more")) }
    return lines.joined(separator: "\n")
  }

  // MARK: Words

  static func percent(_ confidence: Double) -> String { "\(Int((confidence * 100).rounded()))%" }

  private static func tier(_ letter: String) -> String {
    switch letter {
    case "S": "sockets only"
    case "C": "sockets and counters"
    case "P": "sockets, counters and packets"
    default: "sockets, counters, packets and the kernel's reasons"
    }
  }

  private static func seconds(_ value: Double) -> String {
    value < 1 ? "\(Int((value * 1000).rounded())) ms" : "\(Double(Int(value * 10)) / 10) s"
  }

  private static func milliseconds(_ microseconds: Int64) -> String {
    "\(microseconds / 1000).\(microseconds % 1000 / 100) ms"
  }

  /// `2026-03-02 10:11:12`, of RFC 3339.
  private static func date(_ time: String) -> String {
    time.prefix(19).replacingOccurrences(of: "T", with: " ")
  }

  private static func clock(_ time: String) -> String { String(date(time).dropFirst(5)) }

  /// What strangers chose must not move the cursor.
  private static func printable(_ text: String) -> String {
    String(text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : Character($0) })
  }
}
