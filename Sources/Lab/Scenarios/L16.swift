// Somebody on the way forges resets in the origin's name: two that miss, and one that hits.

import Forensics
import Telemetry

extension Scenario {
  static let l16 = Scenario(
    "L16", "somebody on the way forges a reset", on: .direct,
    expecting: Expectation(.resetInjected, .content, .reset)
      .judged(.sockets, .originAborted, .resetInjected, atMost: 79)
      .judged(.packets, .resetInjected, atLeast: 90)
      .having("errno", "ECONNRESET")
      .having("content.received", "60000")
      .having("resume.outcome", "resumed")
  ) { stage in
    let listener = try stage.originListens()
    let (client, first) = try stage.downloadBegins(
      "/l16", at: listener, "a client asks for 200 kB, and has 50 kB")
    func forge(_ offset: Int64) throws {
      let state = try ConnectionState(first)
      var reset = Segment(
        from: first.local, to: first.peer,
        sequence: UInt32(truncatingIfNeeded: Int64(state.sends) + offset), acknowledgement: 0,
        flags: Segment.reset)
      reset.hopLimit = 120
      reset.identification = 54321
      try reset.send(from: try stage.node)
    }
    let challenges = try stage.holdfast.counters()["TCPChallengeACK"] ?? 0
    stage.step("the node forges a reset 100 bytes ahead, and one 100 bytes behind")
    try forge(100)
    try forge(-100)
    stage.check(
      "the first is challenged", try stage.holdfast.counters()["TCPChallengeACK"] ?? 0 > challenges)
    try first.sendContent(50_000..<60_000)
    stage.check("the connection lives", try client.readContent(50_000..<60_000))
    try first.waitUntilConfirmed()
    try stage.fault("it forges one that is exact") { try forge(0) }
    let second = try listener.accept()
    let offset = try second.readRequest()
    stage.step(
      "Holdfast asks for the rest, from byte \(offset); the origin's first socket sends on")
    _ = first.sendUntilCut(Content.bytes(60_000..<70_000))
    try second.answerHead(200_000, from: offset)
    try second.sendContent(offset..<200_000)
    stage.check(
      "the client has all bytes, and they are right", try client.readContent(60_000..<200_000))
  }
}
