// What is not counted as it happens but looked up when somebody asks for the metrics.

import Platform
import Storage
import Telemetry

enum Gauges {
  static func refresh(_ cells: MetricCells, store: Store, fills: FillTable) {
    let statistics = store.statistics
    cells.set(.storeBytes, to: UInt64(clamping: statistics.bytes))
    cells.set(.residentMemory, to: UInt64(clamping: ProcessLimits.residentMemory()))
  }
}
