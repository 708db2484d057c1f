// The numbers behind the metrics: one block of atomics per worker, written by it alone.
//
// A worker adds with a relaxed load and a relaxed store (about a nanosecond, no locked
// instruction), because nobody else writes its cells; whoever prints adds the blocks up.
// What other threads count goes to the registry's shared block, with real atomic adds.
//
//   cells:  | requests 5×9 | responses 5 | duration 9 × (bounds + Inf + sum) | … |
//             ▲ offsets[metric] + a · (values of B) + b

import Synchronization

/// Where each metric's cells lie; the same for all blocks of a process.
@safe
@usableFromInline
final class MetricLayout: Sendable {
  let definitions: [MetricDefinition]
  let cellCount: Int
  /// First cell of each metric, by `Metric.rawValue`.
  @usableFromInline nonisolated(unsafe) let offsets: UnsafeMutablePointer<Int>
  /// First bound of each histogram in `bounds`, by `Metric.rawValue`.
  @usableFromInline nonisolated(unsafe) let boundOffsets: UnsafeMutablePointer<Int>
  /// Number of bounds of each metric.
  @usableFromInline nonisolated(unsafe) let boundCounts: UnsafeMutablePointer<Int>
  @usableFromInline nonisolated(unsafe) let bounds: UnsafeMutablePointer<UInt64>

  init() {
    definitions = Metric.allCases.map(\.definition)
    unsafe offsets = UnsafeMutablePointer.allocate(capacity: definitions.count)
    unsafe boundOffsets = UnsafeMutablePointer.allocate(capacity: definitions.count)
    unsafe boundCounts = UnsafeMutablePointer.allocate(capacity: definitions.count)
    let boundTotal = definitions.reduce(0) { $0 + $1.bounds.count }
    unsafe bounds = UnsafeMutablePointer.allocate(capacity: max(1, boundTotal))
    var cell = 0
    var bound = 0
    for (index, definition) in definitions.enumerated() {
      unsafe (offsets + index).initialize(to: cell)
      unsafe (boundOffsets + index).initialize(to: bound)
      unsafe (boundCounts + index).initialize(to: definition.bounds.count)
      for value in definition.bounds {
        unsafe (bounds + bound).initialize(to: value)
        bound += 1
      }
      cell += definition.seriesCount * definition.cellsPerSeries
    }
    cellCount = cell
  }

  deinit {
    unsafe offsets.deallocate()
    unsafe boundOffsets.deallocate()
    unsafe boundCounts.deallocate()
    unsafe bounds.deallocate()
  }
}

/// One block of cells.
///
/// `add`, `subtract` and `observe` are for the one thread that owns the block; any thread may
/// read. On the registry's shared block use `addShared` and `set`, which any thread may call.
@safe
public final class MetricCells: Sendable {
  @usableFromInline let layout: MetricLayout
  @usableFromInline nonisolated(unsafe) let cells: UnsafeMutablePointer<Atomic<UInt64>>

  /// Blocks of two workers must not share a cache line: 64 bytes of slack at either end keep
  /// the first and the last cell away from the allocator's neighbours.
  private static let slack = 8

  init(layout: MetricLayout) {
    self.layout = layout
    unsafe cells =
      UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: layout.cellCount + 2 * Self.slack)
      + Self.slack
    for index in 0..<layout.cellCount { unsafe (cells + index).initialize(to: Atomic(0)) }
  }

  deinit { unsafe (cells - Self.slack).deallocate() }

  // MARK: The owner counts

  /// Adds to a counter or gauge. Owner only.
  @inlinable public func add(_ scalar: Scalar, _ amount: UInt64 = 1) {
    bump(offset(scalar.metric), amount)
  }

  /// Adds to one series of a counter or gauge. Owner only.
  @inlinable public func add<A>(_ scalar: Scalar1<A>, _ a: A, _ amount: UInt64 = 1) {
    bump(offset(scalar.metric) &+ Int(a.rawValue), amount)
  }

  /// Adds to one series of a counter or gauge. Owner only.
  @inlinable public func add<A, B>(_ scalar: Scalar2<A, B>, _ a: A, _ b: B, _ amount: UInt64 = 1) {
    bump(offset(scalar.metric) &+ Int(a.rawValue) &* B.valueCount &+ Int(b.rawValue), amount)
  }

  /// Subtracts from a gauge. Owner only. One block's share may go below zero (what one worker
  /// opened another may close); only the sum is shown.
  @inlinable public func subtract(_ scalar: Scalar, _ amount: UInt64 = 1) {
    bump(offset(scalar.metric), 0 &- amount)
  }

  /// Subtracts from one series of a gauge. Owner only.
  @inlinable public func subtract<A>(_ scalar: Scalar1<A>, _ a: A, _ amount: UInt64 = 1) {
    bump(offset(scalar.metric) &+ Int(a.rawValue), 0 &- amount)
  }

  /// Records a time in nanoseconds. Owner only.
  @inlinable public func observe(_ histogram: Histogram, nanoseconds: UInt64) {
    observe(histogram.metric, series: 0, nanoseconds)
  }

  /// Records a time in nanoseconds. Owner only.
  @inlinable public func observe<A>(_ histogram: Histogram1<A>, _ a: A, nanoseconds: UInt64) {
    observe(histogram.metric, series: Int(a.rawValue), nanoseconds)
  }

  // MARK: Anyone counts

  /// Adds to a counter or gauge from any thread.
  @inlinable public func addShared(_ scalar: Scalar, _ amount: UInt64 = 1) {
    unsafe cells[offset(scalar.metric)].wrappingAdd(amount, ordering: .relaxed)
  }

  /// Adds to one series of a counter or gauge from any thread.
  @inlinable public func addShared<A>(_ scalar: Scalar1<A>, _ a: A, _ amount: UInt64 = 1) {
    unsafe cells[offset(scalar.metric) &+ Int(a.rawValue)].wrappingAdd(amount, ordering: .relaxed)
  }

  /// Sets a gauge, or a counter that is kept elsewhere, from any thread. Meant for values that are
  /// looked up when somebody asks for the metrics.
  @inlinable public func set(_ scalar: Scalar, to value: UInt64) {
    unsafe cells[offset(scalar.metric)].store(value, ordering: .relaxed)
  }

  /// Sets one series from any thread.
  @inlinable public func set<A>(_ scalar: Scalar1<A>, _ a: A, to value: UInt64) {
    unsafe cells[offset(scalar.metric) &+ Int(a.rawValue)].store(value, ordering: .relaxed)
  }

  // MARK: Cells

  @inlinable func offset(_ metric: Metric) -> Int { unsafe layout.offsets[metric.rawValue] }

  /// Single writer: no other thread can change the cell between the load and the store.
  @inlinable func bump(_ index: Int, _ amount: UInt64) {
    let value = unsafe cells[index].load(ordering: .relaxed)
    unsafe cells[index].store(value &+ amount, ordering: .relaxed)
  }

  @inlinable func observe(_ metric: Metric, series: Int, _ nanoseconds: UInt64) {
    let count = unsafe layout.boundCounts[metric.rawValue]
    let bounds = unsafe layout.bounds + layout.boundOffsets[metric.rawValue]
    let first = offset(metric) &+ series &* (count &+ 2)
    var bucket = 0
    while unsafe bucket < count && nanoseconds > bounds[bucket] { bucket &+= 1 }
    bump(first &+ bucket, 1)
    bump(first &+ count &+ 1, nanoseconds)
  }

  /// The value of a cell, as far as this thread has seen it.
  func value(at index: Int) -> UInt64 { unsafe cells[index].load(ordering: .relaxed) }
}
