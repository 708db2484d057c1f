// The bug as a server behind the Service sees it: a segment of ours reaches the client untranslated, and the client's
// kernel resets us. The client's program knows nothing, and goes on.

import Forensics
import Telemetry

extension Scenario {
  static let l12 = Scenario(
    "L12", "a segment of ours reaches the client untranslated", on: .proxyBehindService,
    fixes: [.none, .dropInvalid, .beLiberal],
    expected: { fix in
      guard fix == .none else { return [] }
      return [
        Expectation(.undnatThere, .content, .reset, side: .downstream)
          .judged(.sockets, .undnatThere, .clientLeft, atMost: 79)
          .judged(.packets, .undnatThere, atLeast: 90)
          .having("errno", "ECONNRESET")
          .having("rst.shape", "passive", from: .packets)
          .having("peer_alive_after", "true", from: .packets)
      ]
    }
  ) { stage in
    let listener = try stage.originListens()
    let (client, origin) = try stage.downloadBegins(
      "/l12", at: listener, "a client asks for 200 kB through the Service, and has 50 kB")
    let state = try ConnectionState(client)
    let own = try Stage.address(stage.network.topology.proxyAddress, Topology.proxyPort)
    var segment = Segment(
      from: own, to: client.local, sequence: state.expects &+ 10_000_000,
      acknowledgement: state.sends, flags: Segment.pushAcknowledge)
    segment.timestamps = (state.clock, 0)
    segment.content = Array(repeating: 0x2A, count: 100)
    let sent = segment
    let resets = try stage.holdfast.counters()["EstabResets"] ?? 0
    try stage.fault("a segment far beyond the window leaves in our name") {
      try sent.send(from: try stage.holdfast)
    }
    if stage.fix == .none {
      try stage.wait(for: "EstabResets", of: try stage.holdfast, toPass: resets)
      stage.step(
        "the client's kernel has reset us; its program sends something, as if nothing were")
      try client.send("G")
      stage.check("and is reset in turn", try client.ending().reset == .connectionReset)
      try origin.sendContent(50_000..<200_000)
    } else {
      stage.step("with \(stage.fix.rawValue) nothing breaks, and the rest comes")
      try origin.sendContent(50_000..<200_000)
      stage.check(
        "the client has all bytes, and they are right", try client.readContent(50_000..<200_000))
    }
  }
}
