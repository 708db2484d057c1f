// How many bytes may move when: a token bucket, kept not as a number of tokens but as the moment at which all
// that was promised so far will have gone at the rate (the virtual scheduling form of the algorithm, ITU-T
// I.371). So nothing has to be filled up by a timer, and whoever wants to send is told at once when it may.
//
//      now - slack            now                     due
//   ─────────┼─────────────────┼───────────────────────┼──────▶
//            └ left unused, up to here                 └ the next to ask may go from here on
//
// Those who share a bucket ask for equal portions and are served in the order they asked, which makes it fair:
// each waits for one portion of every other.

import Platform

struct TokenBucket: Sendable {
  /// What was not used can be caught up with, as far as this much time goes back: enough for timers that are
  /// a little late, too little to be seen as a burst.
  static let slack = Duration.milliseconds(100)

  /// Bytes per second.
  private(set) var rate: Int64
  private var due: Instant

  init(rate: Int64, now: Instant) {
    self.rate = max(1, rate)
    due = Self.earliest(now)
  }

  /// Promises so many bytes.
  /// - Returns: when they may go, which is `now` or later.
  mutating func reserve(_ count: Int, now: Instant) -> Instant {
    let start = max(due, Self.earliest(now))
    due = start + time(for: count)
    return max(start, now)
  }

  /// Takes a promise back that was not needed.
  mutating func giveBack(_ count: Int) { due = due + (.zero - time(for: count)) }

  /// Goes on at another rate. What is promised keeps its size, not its time.
  mutating func change(rate new: Int64, now: Instant) {
    let new = max(1, new)
    if due > now {
      let left = (due - now).wholeNanoseconds
      let scaled = Double(left) * Double(rate) / Double(new)
      due = now + .nanoseconds(Int64(min(scaled, 3.6e12)))
    }
    rate = new
  }

  private static func earliest(_ now: Instant) -> Instant { now + (.zero - slack) }

  private func time(for count: Int) -> Duration {
    let (product, overflow) = Int64(clamping: count).multipliedReportingOverflow(by: 1_000_000_000)
    return .nanoseconds((overflow ? .max : product) / rate)
  }

  /// How much to ask for at a time: 20 ms worth, within bounds that keep both the number of timers and the
  /// wait of the others small.
  static func portion(of rate: Int64) -> Int { Int(min(max(rate / 50, 2 << 10), 128 << 10)) }
}
