// A router says that there is no way any more, in the middle of a connection.

import Forensics
import Telemetry

extension Scenario {
  static let l18 = Scenario(
    "L18", "a router says that the origin cannot be reached", on: .direct,
    expecting: Expectation(.unreachable, .head, .icmp)
      .by(.icmp, .timeout, at: .sockets)
      .judged(.sockets, atLeast: 80)
      .judged(.packets, atLeast: 95)
      .having("resume.outcome", "repeated")
  ) { stage in
    try stage.holdfast.set("net.ipv4.tcp_retries2", to: "3")
    let listener = try stage.originListens()
    let (client, kept) = try stage.keepsConnection(
      at: listener, "a client asks, and the connection to the origin is kept")
    let originAddress = stage.network.topology.originAddress
    try stage.fault("the node says \"host unreachable\" to what goes to the origin on it") {
      try stage.make(
        .reject("-d \(originAddress) --sport \(kept.peer.port)", with: "icmp-host-unreachable"))
      _ = try stage.get("/second", on: client)
    }
    try stage.answers(
      client, at: listener, "our kernel has given up; Holdfast asks again on a new connection")
  }
}
