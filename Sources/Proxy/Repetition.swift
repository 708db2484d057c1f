// A request that is made once more because the connection it was on had ended: what its record says of it in the end.

import Forensics
import Platform

struct Repetition {
  let id: RecordID
  private let since: Instant

  init(of id: RecordID, since: Instant) {
    self.id = id
    self.since = since
  }

  func end(
    _ outcome: EndingRecord.Resumption.Outcome, at now: Instant, _ desk: EndingDesk
  ) {
    desk.resumed(id, .init(offset: 0, outcome: outcome, after: now - since))
  }
}
