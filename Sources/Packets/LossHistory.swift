// When the ring was full: what was lost long before a connection began, or after it ended, says nothing about it.

/// How many packets were lost at which times, as far as there is room to remember.
struct LossHistory: Sendable {
  private struct Step: Sendable {
    /// When it was noticed, which is some milliseconds after it happened at most.
    var time: Int64
    var count: UInt64
  }

  static let capacity = 256
  /// What is noticed within so many nanoseconds is one step.
  static let resolution: Int64 = 100_000_000

  /// Oldest first.
  private var steps: [Step] = []

  /// - Parameter time: nanoseconds since 1970.
  mutating func add(_ count: UInt64, at time: Int64) {
    guard count > 0 else { return }
    if let last = steps.last, (0..<Self.resolution).contains(time &- last.time) {
      steps[steps.count - 1].count &+= count
      return
    }
    steps.append(Step(time: time, count: count))
    if steps.count > Self.capacity { steps.removeFirst() }
  }

  /// How many were lost then.
  func lost(in times: ClosedRange<Int64>) -> UInt64 {
    // A step may have gone on for as long as it is wide.
    steps.reduce(0) { sum, step in
      step.time <= times.upperBound && step.time &+ Self.resolution > times.lowerBound
        ? sum &+ step.count : sum
    }
  }
}
