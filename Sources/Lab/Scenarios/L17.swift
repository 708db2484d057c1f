// Packets vanish: while a request is being sent, and while an answer is awaited.

import Forensics
import Telemetry

extension Scenario {
  static let l17 = Scenario(
    "L17", "what is sent to the origin vanishes", on: .direct, options: ProxyOptions(),
    expecting: Expectation(.blackhole, .head, .timeout)
      .judged(.sockets, atLeast: 80)
      .judged(.packets, atLeast: 90)
      .having("errno", "ETIMEDOUT")
      .having("resume.outcome", "repeated")
  ) { stage in
    // The kernel gives up after some seconds instead of a quarter of an hour.
    try stage.holdfast.set("net.ipv4.tcp_retries2", to: "3")
    let listener = try stage.originListens()
    let (client, kept) = try stage.keepsConnection(
      at: listener, "a client asks, and the connection to the origin is kept")
    let originAddress = stage.network.topology.originAddress
    try stage.fault("the node drops what goes to the origin on it; the client asks again") {
      try stage.make(.drop("-d \(originAddress) --sport \(kept.peer.port)"))
      _ = try stage.get("/second", on: client)
    }
    try stage.answers(
      client, at: listener, "our kernel has given up; Holdfast asks again on a new one")
  }
}
