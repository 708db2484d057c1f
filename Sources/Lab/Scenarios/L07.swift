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
    let waiting = [
      try LabConnection.connect(from: try stage.node, to: address),
      try LabConnection.connect(from: try stage.node, to: address),
    ]
    let late = Fault.drop("-s \(stage.network.topology.originAddress) --tcp-flags SYN,ACK SYN,ACK")
    try stage.make(late)
    stage.step("two clients ask; the origin's SYN-ACKs come late")
    let clients = [try stage.get("/one"), try stage.get("/two")]
    try stage.wait(for: late, toMeet: 2)
    let overflows = try origin.counters()["ListenOverflows"] ?? 0
    try stage.fault("both are established at once, and there is room for one") {
      try stage.undo(late)
      try stage.wait(for: "ListenOverflows", of: origin, toPass: overflows)
    }
    let refused = try LabConnection.first(toHear: clients)
    let told = try refused.readHead()
    stage.check("one client is told: \(told.prefix(12))", told.hasPrefix("HTTP/1.1 50"))
    for connection in waiting { connection.close() }
    for _ in waiting { try listener.accept().close() }
    let accepted = try listener.accept()
    _ = try accepted.readRequest()
    try accepted.answerHead(100)
    try accepted.sendContent(0..<100)
    for client in clients where client !== refused {
      stage.check("the other one has its answer", try client.readHead().hasPrefix("HTTP/1.1 200"))
    }
  }
}
