// Small packets pass and large ones vanish, without a word about it.

import Forensics
import Telemetry

extension Scenario {
  static let l27 = Scenario(
    "L27", "only large packets vanish on the way", on: .direct,
    // To a socket a hole is a hole.
    expecting: Expectation(.pmtuBlackhole, .request, .timeout, or: .blackhole)
      .inPhase(.request, .head)
      .judged(.sockets, .pmtuBlackhole, .blackhole)
      .having("errno", "ETIMEDOUT")
  ) { stage in
    try stage.holdfast.set("net.ipv4.tcp_retries2", to: "3")
    let listener = try stage.originListens()
    let (client, kept) = try stage.keepsConnection(
      at: listener, "a small exchange succeeds, and its connection is kept")
    let address = stage.network.topology.originAddress
    try stage.fault("the node drops what is larger than 1000 bytes; a client sends 100 kB") {
      try stage.make(.drop("-d \(address) -m length --length 1001:65535"))
      try client.send(
        "PUT http://\(stage.originAuthority)/l27 HTTP/1.1\r\nHost: \(stage.originAuthority)\r\nContent-Length: 100000\r\n\r\n"
      )
      try client.sendContent(0..<100_000)
    }
    stage.check("the client is told", try client.readHead().hasPrefix("HTTP/1.1 50"))
  }
}
