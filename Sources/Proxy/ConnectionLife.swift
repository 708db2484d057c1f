// When the connection that a record is about was there: what was seen before belongs to an earlier one with the same
// ports, and what came after its ending is not its cause.

import Forensics
import Platform

/// Times are nanoseconds since 1970, as packets have them.
struct ConnectionLife {
  /// Before it, nothing counts.
  let beginning: Int64
  let ending: Int64
  /// When the record says that it was established, or the attempt, or the request, began.
  let began: Int64
  /// When it had begun for sure.
  let known: Int64

  /// The SYN is sent before a connection counts as established, and a loop that is busy is late to see it.
  private static let allowance: Int64 = 1_000_000_000
  /// Clocks are looked at once a turn.
  private static let tolerance: Int64 = 100_000_000

  init(_ record: EndingRecord) {
    ending = record.time &* 1000 &+ 999
    began = ending &- record.evidence.connection.age.wholeNanoseconds
    beginning = began &- Self.allowance
    // The ports of our own connections are used again once they have ended; those of a client's are chosen by the
    // client, who knows of the ending before we do.
    known = record.evidence.ending.side == .upstream ? ending : min(ending, began &+ Self.tolerance)
  }

  /// When something may have been seen that has led to the ending.
  func times(from first: Int64) -> ClosedRange<Int64> { min(first, ending)...ending }
}
