// More connections than the origin's kernel has room for.

import Forensics
import Telemetry

extension Scenario {
  static let l07 = Scenario(
    "L07", "the origin's queue of connections overflows", on: .direct,
    options: once,
    expecting: Expectation(.originAcceptOverflow, .head, .reset, or: .originLostState)
      .judged(.sockets, .originAcceptOverflow, atMost: 79)
      .judged(.packets, .originAcceptOverflow, atLeast: 60)
      .inPhase(.request, .head, .connect)
      .having("errno", "ECONNRESET")
      .having("content.received", "0")
  ) { stage in
    let origin = try stage.origin
    try origin.set("net.ipv4.tcp_abort_on_overflow", to: "1")
    try origin.set("net.ipv4.tcp_syncookies", to: "0")
    let listener = try stage.originListens(backlog: 2)
    stage.step("two connections wait, in a queue for two")
    let address = try Stage.address(stage.network.topology.originAddress, Topology.originPort)
    let node = try stage.node
    var waiting = [
      try LabConnection.connect(from: node, to: address),
      try LabConnection.connect(from: node, to: address),
    ]
    let late = Fault.drop("-s \(stage.network.topology.originAddress) --tcp-flags SYN,ACK SYN,ACK")
    try stage.make(late)
    stage.step("a client asks; the origin has room, but its SYN-ACK comes late")
    let refused = try stage.get("/one")
    try stage.wait(for: late, toMeet: 1)
    // One place more than the backlog says: the kernel counts those who wait already (listen(2)). It is taken by one
    // whose handshake is complete, for two that end at once can both find it free.
    stage.step("another connection takes the last place")
    waiting.append(try LabConnection.connect(from: node, to: address))
    try listener.waitForQueue(of: waiting.count)
    let overflows = try origin.counters()["ListenOverflows"] ?? 0
    try stage.fault("the SYN-ACK gets through, and there is no room any more") {
      try stage.undo(late)
      try stage.wait(for: "ListenOverflows", of: origin, toPass: overflows)
    }
    let told = try refused.readHead()
    stage.check("the client is told: \(told.prefix(12))", told.hasPrefix("HTTP/1.1 50"))
    for connection in waiting { connection.close() }
    for _ in waiting { try listener.accept().close() }
    let other = try stage.get("/two")
    try stage.answers(other, at: listener, "with room again, the next client is answered")
  }
}
