// Looks through the connection table of the calling thread's namespace for a connection that somebody translates, by
// whatever means: its replies come from elsewhere than it leads to. Bounded, because a table may have millions of entries.
// Takes CAP_NET_ADMIN.

import Platform

package enum ConntrackSurvey {
  private static let mostEntries = 20_000
  /// Milliseconds, for one answer.
  private static let patience = 500
  private static let seconds = 2

  /// - Returns: one of TCP that is translated; nil if there is none among those that were seen, or nobody may look.
  package static func translated(_ family: IPAddress.Family) -> ConntrackEntry? {
    guard var socket = try? NetlinkSocket(waiting: patience) else { return nil }
    let sequence = socket.nextSequence()
    guard (try? socket.send(ConntrackMessage.list(family, sequence: sequence))) != nil else {
      return nil
    }
    let end = Instant.now() + .seconds(seconds)
    var seen = 0
    while seen < mostEntries, Instant.now() < end {
      guard case .messages(let bytes) = socket.receive(waits: true) else { return nil }
      for message in NetlinkMessages(bytes[...]) where message.sequence == sequence {
        if message.type == NetlinkMessage.doneType || message.acknowledged != nil { return nil }
        seen += 1
        if let entry = ConntrackMessage.entry(message), entry.reply != entry.original.reversed {
          return entry
        }
      }
    }
    return nil
  }
}
