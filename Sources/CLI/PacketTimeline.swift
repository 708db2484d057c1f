// The packets around an ending, drawn as a sequence: this machine on the left, the peer on the right.
//
//        before   Holdfast                        origin
//     -12.341 ms     │ ◀──── PSH+ACK seq 1449 len 1448 │
//      -0.020 ms     │ RST ─────────────────────────▶  │  our kernel knows nobody there

import Configuration
import Forensics

enum PacketTimeline {
  private static let width = 46

  static func text(_ steps: [ResetEntry.Step], side: String, style: Style) -> String {
    let peer = side == "upstream" ? "origin" : "client"
    let times = steps.map { time($0.us) }
    let longest = max(times.map(\.count).max() ?? 0, 4)
    let gap = String(repeating: " ", count: width - "Holdfast".count - peer.count)
    var lines = [
      style.dim(String(repeating: " ", count: longest) + "  Holdfast\(gap)\(peer)")
    ]
    for (step, time) in zip(steps, times) {
      let padding = String(repeating: " ", count: longest - time.count)
      let arrow = arrow(step)
      let note = step.note.map { "  " + ResetReport.printable($0) } ?? ""
      let isReset = step.what.hasPrefix("RST")
      lines.append(
        style.dim(padding + time) + "  │" + (isReset ? style.bad(arrow) : arrow) + "│"
          + style.dim(note))
    }
    return lines.joined(separator: "\n")
  }

  /// The packet on its way, between the two lines.
  private static func arrow(_ step: ResetEntry.Step) -> String {
    var words = ResetReport.printable(step.what)
    if let sequence = step.seq { words += " seq \(sequence)" }
    if let acknowledgement = step.ack { words += " ack \(acknowledgement)" }
    if let length = step.len { words += " len \(length)" }
    let room = width - 2 - 4
    if words.count > room { words = String(words.prefix(room - 1)) + "…" }
    let line = String(repeating: "─", count: width - 2 - 4 - words.count + 1)
    return step.direction == "out" ? " \(words) \(line)▶" : "◀\(line) \(words) "
  }

  /// Milliseconds before or after the ending.
  private static func time(_ microseconds: Int64) -> String {
    let sign = microseconds < 0 ? "-" : "+"
    let magnitude = microseconds.magnitude
    let rest = String(magnitude % 1000)
    return "\(sign)\(magnitude / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest) ms"
  }
}
