// What is not counted as it happens but looked up when somebody asks for the metrics.

import Platform
import Storage
import Telemetry

enum Gauges {
  static func refresh(_ cells: MetricCells, store: Store, fills: FillTable) {
    let statistics = store.statistics
    cells.set(.storeBytes, to: UInt64(clamping: statistics.usedBytes))
    cells.set(.storeCapacity, to: UInt64(clamping: statistics.limitBytes))
    cells.set(.storeEntries, to: UInt64(clamping: statistics.entries))
    cells.set(.storeMemory, to: UInt64(clamping: statistics.hotBytes))
    cells.set(.storeEvictions, to: UInt64(clamping: statistics.evicted))
    cells.set(.residentMemory, to: UInt64(clamping: ProcessLimits.residentMemory()))
  }
}
