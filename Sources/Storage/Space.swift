// How much disk space the store has taken, against its hard cap.
//
// Everything is reserved before it is written: growing bodies as they grow, a segment with its full size when it
// is begun. A segment's worth is kept back for the log, so that reclaiming, which copies what is worth
// keeping, never finds itself without room. Files count in whole blocks of 4 KiB, as disks do.

import Synchronization

package final class Space: Sendable {
  package let limit: Int64
  /// Kept free for the log.
  package let logReserve: Int64
  private let taken = Atomic<Int64>(0)

  package init(limit: Int64, logReserve: Int64) {
    self.limit = limit
    self.logReserve = logReserve
  }

  /// What one body could take at most if nothing else were stored: beside it there are always the reserve and
  /// the segment that is being written.
  package var largestBody: Int64 { limit - 2 * logReserve }

  package var used: Int64 { taken.load(ordering: .relaxed) }

  /// What a file of `length` bytes takes. The length may be anything that somebody has announced.
  package static func onDisk(_ length: Int64) -> Int64 {
    (min(max(0, length), .max - 4095) + 4095) & ~4095
  }

  /// Up to here bodies may fill the store.
  private var limitForBodies: Int64 { limit - logReserve }

  /// Takes `bytes` for a body; false when that would go over the cap.
  package func reserve(_ bytes: Int64) -> Bool {
    take(bytes, below: limitForBodies)
  }

  /// Takes `bytes` for the log, which may use its reserve.
  package func reserveForLog(_ bytes: Int64) -> Bool {
    take(bytes, below: limit)
  }

  /// Counts what was found on disk, whatever the cap says.
  package func count(_ bytes: Int64) {
    taken.wrappingAdd(bytes, ordering: .relaxed)
  }

  package func release(_ bytes: Int64) {
    taken.wrappingSubtract(bytes, ordering: .relaxed)
  }

  /// How much has to go before a body can take `bytes`; zero or less when it can.
  package func shortage(for bytes: Int64) -> Int64 {
    used + bytes - limitForBodies
  }

  private func take(_ bytes: Int64, below bound: Int64) -> Bool {
    var current = taken.load(ordering: .relaxed)
    while true {
      guard bytes <= bound, current <= bound - bytes else { return false }
      let (exchanged, original) = taken.weakCompareExchange(
        expected: current, desired: current + bytes, ordering: .relaxed)
      if exchanged { return true }
      current = original
    }
  }
}
