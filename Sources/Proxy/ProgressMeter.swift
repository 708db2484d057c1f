// Whether a peer makes progress, or only keeps a connection busy. Silence has a deadline of its own; this is
// for peers that send or take a byte now and then so that no deadline ever comes.
//
//   window   | 4 KiB … | 900 bytes ✗        a window in which too little moved ends the wait
//
// Time counts only while this side is willing: a peer that is not being read, or for which nothing waits, has no
// window. It is looked at when bytes move, so it needs no timer: a peer that is late is either silent, which the
// deadline sees, or says something, which is when this looks. A peer may thus need up to two windows to be found.

import Platform

/// The least that has to move (`limits.min-progress`, `upstream.min-progress`, `limits.progress-window`).
struct ProgressRule: Sendable {
  let window: Duration
  /// Bytes in each window; 0 for no demand.
  let minimum: UInt64

  private let nanoseconds: Int64

  init(window: Duration, minimum: UInt64) {
    self.window = window
    self.minimum = minimum
    nanoseconds = max(1, window.wholeNanoseconds)
  }

  fileprivate func isOver(_ start: Int64, _ now: Instant) -> Bool {
    now.nanoseconds &- start >= nanoseconds
  }
}

/// How much moved in the window under way.
struct ProgressMeter {
  /// When the window began; `Int64.min` while nothing is measured.
  private var start = Int64.min
  private var count: UInt64 = 0

  /// From now on this side is willing. Doing so again changes nothing.
  mutating func begin(_ now: Instant) {
    guard start == .min else { return }
    start = now.nanoseconds
    count = 0
  }

  /// This side is not willing for now; the next `begin` opens a new window.
  mutating func stop() { start = .min }

  /// Bytes have moved.
  /// - Returns: whether that is enough progress; a meter that was not begun is content with anything.
  mutating func moved(_ bytes: Int, _ now: Instant, _ rule: ProgressRule) -> Bool {
    guard start != .min else { return true }
    count &+= UInt64(truncatingIfNeeded: max(0, bytes))
    guard rule.isOver(start, now) else { return true }
    // What came just now may have ended a long silence: it is held against the window it ends.
    let isEnough = count >= rule.minimum
    start = now.nanoseconds
    count = 0
    return isEnough
  }
}
