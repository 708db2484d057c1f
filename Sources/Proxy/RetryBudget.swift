// How often an origin may be asked again without a byte of an answer: a dead one must not be hammered by all whose
// requests it has failed. Who gets an answer gives back what the attempt has cost, so that an origin that breaks every
// download in the middle is healed every time.

import IO
import Platform
import Synchronization

final class RetryBudget: Sendable {
  /// Attempts that may fail in a row; one more each second.
  private static let capacity: Int64 = 20
  private static let limit = 4096

  private struct Origins {
    /// Millionths of an attempt, and when that was.
    var left: [Origin: (millionths: Int64, at: Instant)] = [:]
  }

  private let state = Mutex(Origins())

  func take(_ origin: Origin, now: Instant) -> Bool {
    state.withLock { state in
      if state.left.count >= Self.limit { state.left = [:] }
      let full = Self.capacity * 1_000_000
      var left = state.left[origin] ?? (full, now)
      let elapsed = max(0, (now - left.at).wholeNanoseconds / 1000)
      left = (min(full, left.millionths + min(elapsed, full)), now)
      guard left.millionths >= 1_000_000 else {
        state.left[origin] = left
        return false
      }
      left.millionths -= 1_000_000
      state.left[origin] = left
      return true
    }
  }

  func giveBack(_ origin: Origin) {
    state.withLock { state in
      guard let left = state.left[origin]?.millionths else { return }
      state.left[origin]?.millionths = min(Self.capacity * 1_000_000, left + 1_000_000)
    }
  }
}
