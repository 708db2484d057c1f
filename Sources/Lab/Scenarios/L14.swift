// A node that masquerades forgets idle connections after two seconds; nobody is told.

import Forensics
import Telemetry

extension Scenario {
  static let l14 = Scenario(
    "L14", "what translates on the way forgets idle connections",
    on: {
      var topology = Topology.direct
      topology.masquerades = true
      return topology
    }(),
    expecting: died.judged(
      .packets, .natIdleExpired, .originLostState, .originClosedIdle, atMost: 79
    ).judged(.kernel, .natIdleExpired, atLeast: 95),
    died.judged(.kernel, .natIdleExpired, atLeast: 95),
    died.judged(.packets, .natIdleExpired, atLeast: 70)
      .judged(.kernel, .natIdleExpired, atLeast: 95)
  ) { stage in
    try stage.node.set("net.netfilter.nf_conntrack_tcp_timeout_established", to: "2")
    let listener = try stage.originListens()
    stage.step("six connections to the origin are made, used and kept")
    var clients: [LabConnection] = []
    var kept: [LabConnection] = []
    for number in 0..<6 {
      clients.append(try stage.get("/\(number)"))
      let connection = try listener.accept()
      _ = try connection.readRequest()
      kept.append(connection)
    }
    for (client, connection) in zip(clients, kept) {
      try connection.answerHead(100)
      try connection.sendContent(0..<100)
      try client.readHead()
      _ = try client.readContent(0..<100)
    }
    for wait in 1...3 {
      stage.pass(.milliseconds(500))
      stage.step("after \(wait) half seconds one of them is used, and lives")
      _ = try stage.get("/again\(wait)", on: clients[0])
      let used = try LabConnection.first(toHear: kept)
      _ = try used.readRequest()
      try used.answerHead(100, fields: "Connection: close\r\n")
      try used.sendContent(0..<100)
      try clients[0].readHead()
      stage.check("it answers", try clients[0].readContent(0..<100))
      used.close()
      kept.removeAll { $0 === used }
    }
    stage.fault("after two seconds the node has forgotten the other three") {
      stage.pass(.milliseconds(1500))
    }
    for number in 1...3 {
      stage.step("number \(number) of them is used")
      _ = try stage.get("/late\(number)", on: clients[number])
      let fresh = try listener.accept()
      _ = try fresh.readRequest()
      try fresh.answerHead(100, fields: "Connection: close\r\n")
      try fresh.sendContent(0..<100)
      try clients[number].readHead()
      stage.check(
        "the client has its answer all the same", try clients[number].readContent(0..<100))
    }
  }

  // The first one could be many things. When those that were idle for less are known to live, it is clear;
  // the node's own table knows it of the first.
  private static let died = Expectation(.natIdleExpired, .head, .reset)
    .judged(.sockets, .natIdleExpired, .originLostState, .originClosedIdle, atMost: 79)
    .judged(.packets, .natIdleExpired, .originLostState, .originClosedIdle)
    .having("connection.reused", "true")
    .having("content.received", "0")
    .having("resume.outcome", "repeated")
    .having("rst.shape", "passive", from: .packets)
}
