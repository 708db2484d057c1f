// All blocks of a process, and their sum.
//
// The registry is made once, gives each worker its block, and is what the admin side asks.
// Sums are taken without stopping anyone, so two series may be some nanoseconds apart; each
// single one is exact.

import Synchronization

/// Every metric of the process.
public final class MetricRegistry: Sendable {
  let layout: MetricLayout
  private let blocks: Mutex<[MetricCells]>

  /// The block for threads that are not workers and for values looked up on demand:
  /// use only `addShared` and `set` on it.
  public let shared: MetricCells

  public init() {
    layout = MetricLayout()
    shared = MetricCells(layout: layout)
    blocks = Mutex([shared])
  }

  /// A block for one thread to count in. It is part of every sum for as long as the registry lives.
  public func makeCells() -> MetricCells {
    let cells = MetricCells(layout: layout)
    blocks.withLock { $0.append(cells) }
    return cells
  }

  /// The sum over all blocks of every cell.
  func snapshot() -> [UInt64] {
    var sums = [UInt64](repeating: 0, count: layout.cellCount)
    for block in blocks.withLock({ $0 }) {
      for index in sums.indices { sums[index] &+= block.value(at: index) }
    }
    return sums
  }

  /// The sum over all blocks.
  public func value(_ scalar: Scalar) -> Int64 { sum(scalar.metric, 0) }

  /// The sum over all blocks of one series.
  public func value<A>(_ scalar: Scalar1<A>, _ a: A) -> Int64 {
    sum(scalar.metric, Int(a.rawValue))
  }

  /// The sum over all blocks of one series.
  public func value<A, B>(_ scalar: Scalar2<A, B>, _ a: A, _ b: B) -> Int64 {
    sum(scalar.metric, Int(a.rawValue) * B.valueCount + Int(b.rawValue))
  }

  private func sum(_ metric: Metric, _ series: Int) -> Int64 {
    var sum: UInt64 = 0
    for block in blocks.withLock({ $0 }) {
      sum &+= block.value(at: block.offset(metric) + series)
    }
    return Int64(bitPattern: sum)
  }
}
