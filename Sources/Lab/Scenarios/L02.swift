// The origin closes a kept connection in the very moment in which it is used again.

import Forensics
import Telemetry

extension Scenario {
  static let l02 = Scenario(
    "L02", "the origin closes an idle connection while a request is on its way", on: .direct,
    expecting: Expectation(.originClosedIdle, .head, .finish)
      .judged(.sockets, atLeast: 80)
      .judged(.packets, atLeast: 95)
      .having("connection.reused", "true")
      .having("resume.outcome", "repeated")
  ) { stage in
    let listener = try stage.originListens()
    let client = try stage.connectClient()
    func exchange(_ path: String, on connection: LabConnection? = nil) throws -> LabConnection {
      _ = try stage.get(path, on: client)
      let connection = try connection ?? listener.accept()
      _ = try connection.readRequest()
      try connection.answerHead(100)
      try connection.sendContent(0..<100)
      try client.readHead()
      stage.check("the client has its answer", try client.readContent(0..<100))
      return connection
    }
    stage.step("a connection is kept, the origin finishes, and Holdfast has time to look")
    let first = try exchange("/first")
    first.finish()
    stage.check("Holdfast lets go of it", try first.ending().reset == nil)
    stage.step("the next request finds another connection, and nothing is recorded")
    let second = try exchange("/second")
    let holdUp = Fault.drop(
      "-d \(stage.network.topology.originAddress) --sport \(second.peer.port) --tcp-flags PSH PSH")
    try stage.make(holdUp)
    stage.step("a third request is on its way, but held up")
    _ = try stage.get("/third", on: client)
    try stage.wait(for: holdUp, toMeet: 1)
    let resets = try stage.holdfast.counters()["EstabResets"] ?? 0
    try stage.fault("the origin closes; then the request arrives") {
      try stage.unseen {
        second.close()
        try stage.undo(holdUp)
        try stage.wait(for: "EstabResets", of: try stage.holdfast, toPass: resets)
      }
    }
    try stage.answers(client, at: listener, "Holdfast asks again on a new connection")
  }
}
