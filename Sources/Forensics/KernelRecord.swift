// What the kernel said, as a record has it: `conntrack` for the table of connections, `kernel.*` for the tracepoints.

import Platform
import Telemetry

extension EndingRecord {
  func add(_ kernel: KernelEvidence, to record: inout JSONObject) {
    let table = conntrack(kernel)
    if !table.isEmpty { record.add("conntrack", table) }
    if let reset = kernel.sentByPeer ?? kernel.sent {
      record.add("kernel.reset", kernel.sentByPeer == nil ? "sent" : "sent by the peer")
      if let reason = reset.reason { record.add("kernel.reason", reason) }
      if let state = reset.state { record.add("kernel.state", state) }
    } else if kernel.isResetBelieved {
      record.add("kernel.reset", "received")
    }
    if kernel.retransmissions > 0 {
      record.add("kernel.retransmissions", Int64(kernel.retransmissions))
    }
    if !kernel.drops.isEmpty { record.add("kernel.drops", counts(kernel.drops)) }
    if !kernel.machineDrops.isEmpty {
      record.add("kernel.machine_drops", counts(kernel.machineDrops))
    }
  }

  private func counts(_ counts: [String: Int]) -> JSONObject {
    var values = JSONObject()
    for (name, count) in counts.sorted(by: { $0.key < $1.key }) { values.add(name, Int64(count)) }
    return values
  }

  private func conntrack(_ kernel: KernelEvidence) -> JSONObject {
    var table = JSONObject()
    guard kernel.hadEntry != nil || kernel.hasEntry == true || kernel.settings?.isFull == true
    else {
      // Nothing is known of this flow, as in a namespace that follows no connections.
      return table
    }
    if let had = kernel.hadEntry { table.add("had_entry", had) }
    if let has = kernel.hasEntry { table.add("has_entry", has) }
    if kernel.isEntryLost { table.add("lost", true) }
    if let entry = kernel.entry {
      if let state = entry.state { table.add("state", state) }
      if !entry.status.isEmpty { table.add("status", entry.status) }
      if let timeout = entry.timeout { table.add("timeout", timeout) }
      if let mark = entry.mark, mark != 0 { table.add("mark", mark) }
      if let zone = entry.zone, zone != 0 { table.add("zone", zone) }
    }
    if let real = kernel.realPeer { table.add("real", "\(real)") }
    if let old = kernel.switchedFrom { table.add("switched_from", "\(old)") }
    if let source = kernel.translatedSource { table.add("our_address", "\(source)") }
    if let count = kernel.invalidPackets { table.add("invalid_packets", Int64(count)) }
    if let settings = kernel.settings { add(settings, to: &table) }
    if !kernel.counters.isEmpty {
      var values = JSONObject()
      for (name, growth) in kernel.counters.sorted(by: { $0.key < $1.key }) {
        values.add(name, growth)
      }
      table.add("counters", values)
    }
    return table
  }

  private func add(_ settings: KernelEvidence.Settings, to table: inout JSONObject) {
    if let liberal = settings.isLiberal { table.add("be_liberal", liberal) }
    if let loose = settings.isLoose { table.add("loose", loose) }
    if let ignores = settings.ignoresInvalidResets { table.add("ignore_invalid_rst", ignores) }
    if let timeout = settings.establishedTimeout {
      table.add("timeout_established", timeout.components.seconds)
    }
    if let count = settings.count { table.add("count", count) }
    if let maximum = settings.maximum { table.add("max", maximum) }
  }
}
