// What each origin's connections have told about idling, for as many origins as there are likely to be.

import Telemetry

package struct IdleTable: Sendable {
  private static let limit = 4096
  private var origins: [String: IdleSurvival] = [:]

  package init() {}

  package mutating func survived(_ idle: Duration, at server: String) {
    change(server) { $0.survived(idle) }
  }

  /// Adds an ending that tells something about idling.
  /// - Returns: what is known of the origin, this one included.
  package mutating func learn(from evidence: Evidence, at server: String) -> IdleSurvival {
    let connection = evidence.connection
    if connection.isReused, evidence.content.answerBytes == 0, evidence.own == nil,
      !evidence.isRequestConfirmed
    {
      let sawFinish =
        evidence.ending.means == .finish || evidence.socket.errorBehindEnd != nil
        || evidence.packets?.peerFinished == true
      if sawFinish {
        change(server) { $0.finished(after: connection.idle) }
      } else if evidence.ending.means == .reset {
        change(server) { $0.wasForgotten(after: connection.idle) }
      }
    }
    return origins[server] ?? IdleSurvival()
  }

  private mutating func change(_ server: String, _ change: (inout IdleSurvival) -> Void) {
    // Whoever makes up origins forgets them all: they are learned again.
    if origins.count >= Self.limit, origins[server] == nil { origins = [:] }
    change(&origins[server, default: IdleSurvival()])
  }
}
