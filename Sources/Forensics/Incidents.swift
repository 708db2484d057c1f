// What belongs together: three endings of one cause at one place within a second are one incident, and everything like
// them that follows belongs to it until a second passes without.

import Platform
import Telemetry

package struct Incidents: Sendable {
  /// Endings that make an incident.
  package static let least = 3
  /// In microseconds.
  private static let window: Int64 = 1_000_000
  private static let limit = 1024

  private struct Place: Hashable {
    let cause: Cause
    /// The real origin where it is known, else who was asked, else whom it befell.
    let name: String
  }

  private struct Group {
    var first: RecordID
    var last: Int64
    var count: Int
  }

  private var groups: [Place: Group] = [:]

  package init() {}

  /// - Returns: the incident's name (that of its first ending), once it is one.
  package mutating func add(_ record: EndingRecord) -> RecordID? {
    let evidence = record.evidence
    let real = evidence.packets?.provenStray ?? evidence.kernel?.realPeer
    let place = Place(
      cause: record.verdict.cause,
      name: real.map { "\($0)" }
        ?? (evidence.ending.side == .upstream ? record.transaction.server : "clients"))
    if groups.count >= Self.limit {
      groups = groups.filter { record.time - $0.value.last <= Self.window }
      if groups.count >= Self.limit { groups = [:] }
    }
    guard var group = groups[place], record.time >= group.last,
      record.time - group.last <= Self.window
    else {
      groups[place] = Group(first: record.id, last: record.time, count: 1)
      return nil
    }
    group.count += 1
    group.last = record.time
    groups[place] = group
    return group.count >= Self.least ? group.first : nil
  }
}
