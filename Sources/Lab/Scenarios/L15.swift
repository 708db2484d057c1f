// A firewall on the way begins to reject a connection that is established; the origin is not asked.

import Forensics
import Telemetry

extension Scenario {
  static let l15 = Scenario(
    "L15", "a firewall on the way rejects an established connection", on: .direct,
    expecting: Expectation(.pathRejected, .head, .reset)
      .judged(
        .sockets, .pathRejected, .originClosedIdle, .originAborted, .originLostState, atMost: 79
      )
      .judged(.packets, .pathRejected, atLeast: 90)
      .having("errno", "ECONNRESET")
      .having("connection.reused", "true")
      .having("resume.outcome", "repeated")
  ) { stage in
    let listener = try stage.originListens()
    let (client, kept) = try stage.keepsConnection(
      at: listener, "a client asks, and the connection to the origin is kept")
    let originAddress = stage.network.topology.originAddress
    try stage.fault("the node rejects that connection from now on; the client asks again") {
      try stage.make(.reject("-d \(originAddress) --sport \(kept.peer.port)", with: "tcp-reset"))
      _ = try stage.get("/second", on: client)
    }
    try stage.answers(client, at: listener, "Holdfast asks again on a new one")
    stage.step("the origin's socket is still there, and says something")
    try kept.send("HTTP/1.1 408 Request Timeout\r\n\r\n")
    stage.check("our kernel resets it", try stage.holdfast.counters()["OutRsts"] ?? 0 > 0)
  }
}
