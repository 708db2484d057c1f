// The origin closes a kept connection and nobody hears of it: its FIN is lost on the way.

import Forensics
import Telemetry

extension Scenario {
  static let l01 = Scenario(
    "L01", "the origin closes an idle connection, and the FIN is lost", on: .direct,
    expecting: Expectation(.originClosedIdle, .head, .reset, or: .originLostState)
      .judged(.sockets, .originClosedIdle, atMost: 79)
      .judged(.packets, .originClosedIdle, atLeast: 60, atMost: 79)
      .having("errno", "ECONNRESET")
      .having("connection.reused", "true")
      .having("content.received", "0")
      .having("tcp_info.state", "7")
      .having("resume.outcome", "repeated")
      .having("rst.shape", "passive", from: .packets)
  ) { stage in
    let listener = try stage.originListens()
    let (client, kept) = try stage.keepsConnection(
      at: listener, "a client asks, and the connection to the origin is kept")
    let originAddress = stage.network.topology.originAddress
    let lost = Fault.drop("-s \(originAddress) --tcp-flags FIN FIN")
    try stage.make(lost)
    stage.step("the origin closes it, but the node drops the FIN")
    kept.close()
    try stage.wait(for: lost, toMeet: 1)
    stage.fault("the client asks again: Holdfast uses the kept connection") {}
    _ = try stage.get("/second", on: client)
    try stage.answers(client, at: listener, "Holdfast asks again on a new one")
    try stage.waitForFinal(1)
    try stage.undo(lost)
  }
}
