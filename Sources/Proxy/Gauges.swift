// What is not counted as it happens but looked up when somebody asks for the metrics.

import Platform
import Storage
import Telemetry

enum Gauges {
  static func refresh(_ cells: MetricCells, store: Store, startedAt: WallTime) {
    let statistics = store.statistics
    cells.set(.storeBytes, to: UInt64(clamping: statistics.usedBytes))
    cells.set(.storeCapacity, to: UInt64(clamping: statistics.limitBytes))
    cells.set(.storeEntries, to: UInt64(clamping: statistics.entries))
    cells.set(.storeMemory, to: UInt64(clamping: statistics.hotBytes))
    cells.set(.storeIncomplete, to: UInt64(clamping: statistics.incompletes))
    cells.set(.storeEvictions, to: UInt64(clamping: statistics.evicted))
    for trouble in StoreTrouble.allCases {
      cells.set(
        .storeTroubles, kind(of: trouble), to: UInt64(clamping: statistics.troubles[trouble] ?? 0))
    }
    cells.set(.residentMemory, to: UInt64(clamping: ProcessLimits.residentMemory()))
    cells.set(.openDescriptors, to: UInt64(clamping: ProcessLimits.openDescriptors()))
    cells.set(.maximumDescriptors, to: ProcessLimits.maximumDescriptors())
    cells.set(.processorTime, to: UInt64(clamping: ProcessLimits.processorTime().wholeNanoseconds))
    cells.set(.startTime, to: nanoseconds(startedAt))
  }

  private static func kind(of trouble: StoreTrouble) -> StoreTroubleKind {
    switch trouble {
    case .capReached: .capReached
    case .keepFreeReached: .keepFreeReached
    case .diskFull: .diskFull
    case .diskReadOnly: .diskReadOnly
    case .missing: .missing
    case .diskFailed: .diskFailed
    case .logBehind: .logBehind
    case .damaged: .damaged
    }
  }

  private static func nanoseconds(_ time: WallTime) -> UInt64 {
    let (product, overflow) = UInt64(clamping: time.seconds).multipliedReportingOverflow(
      by: 1_000_000_000)
    return overflow ? .max : product &+ UInt64(clamping: time.nanoseconds)
  }
}
