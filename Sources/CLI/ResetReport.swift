// What `holdfast resets` prints for people.

import Configuration
import Forensics
import Foundation

enum ResetReport {
  /// - Parameters:
  ///   - total: how many there are with those that were not asked for.
  ///   - width: of the terminal, if it is one.
  static func list(
    _ entries: [ResetEntry], of total: Int, style: Style, width: Int? = nil
  ) -> String {
    if entries.isEmpty { return none(of: total) }
    var table = Table([
      ("TIME (UTC)", .left), ("SIDE", .left), ("PHASE", .left), ("MEANS", .left), ("CAUSE", .left),
      ("SURE", .right), ("HEALED", .left), ("WITH", .left), ("ID", .left),
    ])
    for entry in entries { table.rows.append(row(entry)) }
    let healed = entries.count { $0.isHealed }
    let sum =
      "\(counted(entries.count, "ending")), \(healed) healed; `holdfast resets show ID` tells its story"
    let legend =
      entries.allSatisfy(\.isFinal)
      ? "" : "\n" + style.dim("…  is not final yet: more may be known within a minute")
    table.bad = ["failed"]
    return
      "\(table.text(style, width: width, shrinking: "WITH"))\n\(style.bold(sum))\(legend)"
  }

  private static func none(of total: Int) -> String {
    total == 0 ? "no ending is on record" : "none of \(counted(total, "ending")) on record matches"
  }

  /// One line, for `--follow`.
  static func line(_ entry: ResetEntry) -> String { row(entry).joined(separator: "  ") }

  private static func row(_ entry: ResetEntry) -> [String] {
    [
      clock(entry.time), entry.side, entry.phase, entry.means, entry.verdict.code,
      percent(entry.verdict.confidence) + (entry.isFinal ? "" : "…") + " \(entry.verdict.tier)",
      entry.resume?.outcome ?? "-",
      entry.other, entry.id,
    ].map(printable)
  }

  // MARK: One

  static func show(_ entry: ResetEntry, style: Style) -> String {
    var text = style.bold(printable(headline(entry))) + "\n\n"
    for sentence in story(entry) { text += "  \(printable(sentence))\n" }
    text += "\n"
    var facts = Facts()
    facts.add(
      "verdict",
      "\(entry.verdict.code), \(percent(entry.verdict.confidence)) sure (judged with \(tier(entry)))"
        + (entry.isFinal ? "" : "; more may come")
    )
    if let cause = entry.cause { facts.add("that is", cause.meaning) }
    let (reasons, doubts) = (entry.verdict.reasons, entry.verdict.doubts)
    if !reasons.isEmpty { facts.add("for it", lines: reasons) }
    if !doubts.isEmpty { facts.add("against it", lines: doubts) }
    if !entry.verdict.also.isEmpty {
      facts.add("or perhaps", entry.verdict.also.joined(separator: ", "))
    }
    facts.add("to do", entry.remedy)
    if let incident = entry.incident { facts.add("incident", "one of several: \(incident)") }
    facts.add("request", request(entry))
    if let local = entry.localAddress, let peer = entry.peerAddress {
      facts.add(
        "connection", "\(end(local, entry.localPort)) to \(end(peer, entry.peerPort))")
    }
    if let origin = entry.realOrigin {
      facts.add(
        "really with", "\(origin.address):\(origin.port) (\(words(origin.source)))")
    }
    if let reset = entry.reset { facts.add("the reset", lines: looks(reset)) }
    if let information = entry.information {
      facts.add("the kernel", lines: kernel(information))
    }
    let told = KernelWords.lines(entry)
    if !told.isEmpty { facts.add("it says", lines: told) }
    if let table = entry.conntrack { facts.add("in conntrack", lines: KernelWords.lines(table)) }
    if let counters = entry.counters, !counters.isEmpty {
      facts.add("counted", KernelWords.list(counters))
    }
    if let capture = entry.capture { facts.add("capture", capture) }
    if let community = entry.community { facts.add("Community ID", community) }
    facts.add("record", entry.id)
    // They quote what kernels and peers have said, and the file may be anybody's.
    text += facts.map(printable).text(style)
    if let steps = entry.packets, !steps.isEmpty {
      text += "\n\n" + PacketTimeline.text(steps, side: entry.side, style: style)
    }
    return text
  }

  private static func words(_ source: String) -> String {
    source == "stray" ? "where our kernel's reset went" : "from the connection table"
  }

  private static func looks(_ reset: ResetEntry.Reset) -> [String] {
    let who = reset.direction == "out" ? "sent by this machine" : "received"
    var lines = [
      "\(who), \(reset.shape)" + (reset.to.map { ", to \($0)" } ?? "")
    ]
    if let ttl = reset.ttl {
      let before = reset.before.map { $0 == ttl ? ", as before" : ", \($0) before" } ?? ""
      lines.append("TTL \(ttl)\(before)")
    }
    if let trigger = reset.trigger {
      let after = reset.afterTrigger.map { ", \(milliseconds($0)) after it" } ?? ""
      lines.append("answers \(trigger)\(after)")
    }
    return lines + (reset.odd ?? [])
  }

  private static func headline(_ entry: ResetEntry) -> String {
    "\(date(entry.time))  \(entry.side) \(entry.phase) \(entry.means): \(entry.verdict.code)"
  }

  private static func request(_ entry: ResetEntry) -> String {
    let words = [entry.method, entry.url].compactMap(\.self)
    return (words.isEmpty ? "none under way" : words.joined(separator: " "))
      + (entry.status.map { ", answered \($0)" } ?? "")
  }

  /// What happened, in sentences.
  private static func story(_ entry: ResetEntry) -> [String] {
    var story: [String] = []
    let who =
      entry.side == "upstream"
      ? "the origin \(entry.other)" : "the client \(entry.other)"
    if let connection = entry.connection {
      let age = seconds(connection.age ?? 0)
      var sentence =
        entry.phase == "connect"
        ? "The attempt to connect with \(who) took \(age)"
        : "The connection with \(who) was \(age) old"
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
            "\(received) of \($0) bytes had come (\(percentage(received, of: $0))%)."
          } ?? "\(received) bytes had come, of how many nobody had said.")
      } else if let delivered = content.delivered {
        story.append(given(delivered, content, entry))
      }
    }
    if let resume = entry.resume { story.append(resumed(resume)) }
    return story
  }

  /// How far a client had got.
  private static func given(
    _ delivered: Int64, _ content: ResetEntry.Content, _ entry: ResetEntry
  ) -> String {
    guard entry.phase == "content" else {
      return "\(delivered) bytes had been passed on to it."
    }
    let all = content.expected.map { " of \($0)" } ?? ""
    let confirmed = content.confirmed.map { ", and its kernel had confirmed \($0)" } ?? ""
    return
      "\(delivered)\(all) bytes of the answer, its head included, had been given to its socket\(confirmed)."
  }

  private static func percentage(_ part: Int64, of whole: Int64) -> Int {
    whole > 0 ? Int(min(100, max(0, Double(part) * 100 / Double(whole)))) : 0
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
    let repeated =
      "\(value("total_retrans")) retransmits in all, \(value("retransmits")) in a row"
    let confirmed =
      "\(value("unacked")) segments not confirmed, \(value("bytes_received")) bytes received, \(value("bytes_acked")) confirmed"
    // Nothing has ever been heard where there is none of these.
    guard let lastData = information["last_data_recv"],
      let lastConfirmation = information["last_ack_recv"]
    else { return [repeated, confirmed] }
    return [
      "round trip \(milliseconds(value("rtt"))), \(repeated)", confirmed,
      "last data \(lastData) ms before, last confirmation \(lastConfirmation) ms before",
    ]
  }

  // MARK: Many

  static func summary(_ entries: [ResetEntry], of total: Int, style: Style) -> String {
    if entries.isEmpty { return none(of: total) }
    var text = style.bold(counted(entries.count, "ending"))
    if let first = entries.first, let last = entries.last {
      text += printable(" from \(date(first.time)) to \(date(last.time)) UTC")
    }
    text += "\n\n" + bars("by cause", entries.map(\.verdict.code), style)
    let upstream = entries.filter { $0.side == "upstream" }
    if !upstream.isEmpty {
      text += "\n\n" + bars("by origin", upstream.map(\.other), style)
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
    let counts = Dictionary(values.map { (printable($0), 1) }, uniquingKeysWith: +)
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

  /// Address and port, an IPv6 address in brackets.
  private static func end(_ address: String, _ port: Int?) -> String {
    (address.contains(":") ? "[\(address)]" : address) + ":\(port ?? 0)"
  }

  static func percent(_ confidence: Double) -> String {
    "\(Int(bounded(confidence * 100, 100).rounded()))%"
  }

  private static func tier(_ entry: ResetEntry) -> String {
    switch entry.verdict.tier {
    case "S": "sockets only"
    case "C": "sockets and counters"
    case "P": "sockets, counters and packets"
    default:
      entry.packets == nil
        ? "sockets and the kernel's word" : "sockets, packets and the kernel's word"
    }
  }

  private static func seconds(_ value: Double) -> String {
    let value = bounded(value, 1e12)
    return value < 1 ? "\(Int((value * 1000).rounded())) ms" : "\(Double(Int(value * 10)) / 10) s"
  }

  /// Files may say any number, and not every one has a place among whole ones.
  private static func bounded(_ value: Double, _ most: Double) -> Double {
    value > 0 ? min(value, most) : 0
  }

  private static func milliseconds(_ microseconds: Int64) -> String {
    let (sign, magnitude) = (microseconds < 0 ? "-" : "", microseconds.magnitude)
    return "\(sign)\(magnitude / 1000).\(magnitude % 1000 / 100) ms"
  }

  /// `2026-03-02 10:11:12`, of RFC 3339.
  private static func date(_ time: String) -> String {
    time.prefix(19).replacingOccurrences(of: "T", with: " ")
  }

  private static func clock(_ time: String) -> String { String(date(time).dropFirst(5)) }

  /// What strangers chose must not move the cursor.
  static func printable(_ text: String) -> String { Printable.text(text, mark: "?") }
}
