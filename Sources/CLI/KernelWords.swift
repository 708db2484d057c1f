// What the kernel said of an ending, for `holdfast resets show`.

enum KernelWords {
  /// What its tracepoints told.
  static func lines(_ entry: ResetEntry) -> [String] {
    var lines: [String] = []
    if let reset = entry.kernelReset {
      let who =
        switch reset {
        case "sent": "it sent a reset to the peer"
        case "sent by the peer": "the peer's kernel, which is this machine's, sent the reset"
        default: "it believed the peer's reset"
        }
      lines.append(
        who + (entry.kernelReason.map { ": \($0)" } ?? "")
          + (entry.kernelState.map { ", in state \($0)" } ?? ""))
    }
    if let drops = entry.kernelDrops, !drops.isEmpty {
      lines.append("packets of this connection that it threw away: \(list(drops))")
    }
    return lines
  }

  /// What the table of translated connections said.
  static func lines(_ table: ResetEntry.Conntrack) -> [String] {
    var lines: [String] = []
    switch (table.hadEntry, table.hasEntry) {
    case (true?, _) where table.lost == true:
      lines.append("its entry was lost while it was established")
    case (true?, false?): lines.append("its entry is gone")
    case (_, true?):
      var line = "it has an entry" + (table.state.map { ", \($0)" } ?? "")
      if let status = table.status, !status.isEmpty {
        line += " (\(status.joined(separator: ", ")))"
      }
      lines.append(line + (table.timeout.map { ", for \($0) s more" } ?? ""))
    default: break
    }
    if let real = table.real { lines.append("it leads to \(real)") }
    if let old = table.switchedFrom { lines.append("it had led to \(old)") }
    if let ours = table.ourAddress { lines.append("our end looks like \(ours) there") }
    if let count = table.invalidPackets { lines.append("\(count) packets of it were invalid") }
    if let counters = table.counters, !counters.isEmpty {
      lines.append("counted there: \(list(counters))")
    }
    var settings: [String] = []
    if let liberal = table.liberal { settings.append("be_liberal \(liberal ? 1 : 0)") }
    if let loose = table.loose { settings.append("loose \(loose ? 1 : 0)") }
    if let timeout = table.establishedTimeout { settings.append("forgets after \(timeout) s") }
    if let count = table.count, let max = table.max {
      settings.append("\(count) of \(max) entries")
    }
    if !settings.isEmpty { lines.append("the table: " + settings.joined(separator: ", ")) }
    return lines
  }

  /// `OutRsts +2, EstabResets +1`.
  static func list(_ counts: [String: Int64]) -> String {
    counts.sorted { $0.key < $1.key }.map { "\($0.key) +\($0.value)" }
      .joined(separator: ", ")
  }
}
