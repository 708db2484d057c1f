// Time: monotonic instants for deadlines and ages, wall time for people and for HTTP dates.
//
// The coarse clocks are read without entering the kernel and cost a few nanoseconds; they step with the timer
// interrupt (1 to 10 ms), which is fine for time-outs. The precise ones are for measurements.

import CLinux

/// A moment of the monotonic clock, which never steps and does not run while the machine sleeps.
public struct Instant: Hashable, Comparable, Sendable {
  /// Nanoseconds since some moment before the program began.
  public var nanoseconds: Int64

  public init(nanoseconds: Int64) {
    self.nanoseconds = nanoseconds
  }

  /// Now, as of the last timer interrupt.
  public static func now() -> Instant {
    Instant(nanoseconds: Kernel.monotonicCoarse())
  }

  /// Now, to the nanosecond.
  public static func precise() -> Instant {
    Instant(nanoseconds: Kernel.monotonic())
  }

  public static let distantFuture = Instant(nanoseconds: .max)

  public static func < (left: Instant, right: Instant) -> Bool {
    left.nanoseconds < right.nanoseconds
  }

  /// The moment that much later; one too far away to be written is `distantFuture`.
  public static func + (instant: Instant, duration: Duration) -> Instant {
    let (sum, overflow) = instant.nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
    return overflow ? .distantFuture : Instant(nanoseconds: sum)
  }

  public static func - (later: Instant, earlier: Instant) -> Duration {
    .nanoseconds(later.nanoseconds &- earlier.nanoseconds)
  }
}

/// A moment of the wall clock, which an administrator or NTP may move.
public struct WallTime: Hashable, Comparable, Sendable {
  /// Seconds since 1970-01-01 00:00 UTC.
  public var seconds: Int64
  /// Nanoseconds within the second.
  public var nanoseconds: Int32

  public init(seconds: Int64, nanoseconds: Int32 = 0) {
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }

  /// Now, to the nanosecond.
  public static func now() -> WallTime {
    WallTime(sinceEpoch: Kernel.wall())
  }

  /// Now, as of the last timer interrupt.
  public static func coarse() -> WallTime {
    WallTime(sinceEpoch: Kernel.wallCoarse())
  }

  private init(sinceEpoch nanoseconds: Int64) {
    let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    self.init(seconds: seconds, nanoseconds: Int32(truncatingIfNeeded: rest))
  }

  public static func < (left: WallTime, right: WallTime) -> Bool {
    (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
  }
}

extension Duration {
  /// The whole nanoseconds in this duration; at most what 64 bits hold, some 292 years.
  public var wholeNanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, carry) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
    if overflow || carry { return seconds < 0 ? .min : .max }
    return sum
  }
}
