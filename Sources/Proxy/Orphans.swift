// Fills whose clients have all left: which of them go on for the sake of the store, and for how long.
//
//   read by somebody ─ the last one leaves ─▶ orphan ─▶ finished, and stored
//          ▲                                    │ ├───▶ given up: too much is to come, or it takes too long
//          └──────── somebody comes ────────────┘ └───▶ given up at once: there are enough of them
//
// A client that gave up often comes back and finds the answer stored. But nobody may hold connections to origins, or
// fill the disk, by asking and leaving.

import Configuration
import Synchronization

/// The rule of `upstream.finish-…`.
struct OrphanRule: Sendable {
  let settings: OrphanSettings

  /// Whether a fill goes on for nobody.
  /// - Parameters:
  ///   - received: bytes of content that are here.
  ///   - expected: of how many; nil while nobody knows, and before the head.
  ///   - since: bytes of content that came since the last client left.
  ///   - waited: how long ago that was.
  ///   - isRenewal: it renews something stored that is being used, and nobody ever waited for it: its length is that
  ///     of what was worth storing before.
  func goesOn(
    received: Int64, expected: Int64?, since: Int64, waited: Duration, isRenewal: Bool = false
  ) -> Bool {
    guard waited < settings.finishWithin else { return false }
    if isRenewal { return true }
    guard let expected else { return since <= settings.finishBelow.bytes }
    if expected &- received <= settings.finishBelow.bytes { return true }
    // Divided first, so that no length overflows.
    return settings.finishAbove < 100 && received >= expected / 100 &* Int64(settings.finishAbove)
  }
}

/// How many fills go on for nobody, over all workers.
final class Orphans: Sendable {
  private let running = Atomic<Int>(0)

  var count: Int { running.load(ordering: .relaxed) }

  /// One more, unless there are `limit` already.
  func enter(limit: Int) -> Bool {
    let (before, _) = running.add(1, ordering: .relaxed)
    if before < limit { return true }
    running.subtract(1, ordering: .relaxed)
    return false
  }

  func leave() { running.subtract(1, ordering: .relaxed) }
}
