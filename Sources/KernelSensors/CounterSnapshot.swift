// Counters at one moment, and by how much they have grown from one to another.

import Platform

package struct CounterSnapshot: Sendable {
  package let time: Instant
  /// In the order of `KernelCounter.all`; nil for what this kernel does not have.
  let values: [UInt64?]

  /// Of the calling thread's network namespace.
  static func take() throws(KernelSensorError) -> CounterSnapshot {
    var values = [UInt64?](repeating: nil, count: KernelCounter.all.count)
    let time = Instant.precise()
    do {
      try read("snmp", into: &values)
      // Resets and what programs have aborted are in two files, and are taken from one another: no reset may lie between.
      let resets = KernelCounter.placesByName["OutRsts"]
      for _ in 0..<Self.attempts {
        let before = resets.flatMap { values[$0] }
        try read("netstat", into: &values)
        try read("snmp", into: &values)
        if resets.flatMap({ values[$0] }) == before { break }
      }
    } catch {
      throw .noCounters(error)
    }
    // Only where there is a connection table.
    if let bytes = try? KernelFile.read("/proc/thread-self/net/stat/nf_conntrack") {
      CounterParser.readConnectionTable(bytes, into: &values)
    }
    return CounterSnapshot(time: time, values: values)
  }

  private static let attempts = 3

  private static func read(_ name: String, into values: inout [UInt64?]) throws(Errno) {
    CounterParser.readGroups(try KernelFile.read("/proc/thread-self/net/" + name), into: &values)
  }

  package subscript(name: String) -> UInt64? {
    guard let place = KernelCounter.placesByName[name], place < values.count else { return nil }
    return values[place]
  }

  /// What has grown since an earlier snapshot. One that went backwards (the module was loaded anew) is left out.
  package func growth(since earlier: CounterSnapshot) -> [String: Int64] {
    var growth: [String: Int64] = [:]
    for (counter, (now, before)) in zip(KernelCounter.all, zip(values, earlier.values)) {
      guard let now, let before, now > before else { continue }
      growth[counter.name] = Int64(clamping: now - before)
    }
    return growth
  }
}

/// The snapshots of the last minutes, so that an ending has a "just before" to be compared with, and a stall the time
/// when it began.
struct CounterHistory {
  /// At one a second, somewhat more than two minutes.
  static let limit = 128
  private var snapshots: [CounterSnapshot] = []

  /// Younger than all before.
  mutating func add(_ snapshot: CounterSnapshot) {
    if snapshots.count >= Self.limit * 2 { snapshots.removeFirst(snapshots.count - Self.limit) }
    snapshots.append(snapshot)
  }

  /// The youngest that is not younger than `moment`; the oldest there is when all are.
  func baseline(_ moment: Instant) -> CounterSnapshot? {
    snapshots.last { $0.time <= moment } ?? snapshots.first
  }
}
