// A client loses interest while its answer comes.

import Forensics
import Telemetry

extension Scenario {
  static let l08 = Scenario(
    "L08", "the client closes with bytes unread", on: .direct,
    expecting: Expectation(.clientLeft, .content, .reset, side: .downstream)
      .judged(.sockets, atMost: 79)
      .judged(.packets, atLeast: 95)
      .having("errno", "ECONNRESET")
      .having("rst.shape", "active", from: .packets)
  ) { stage in
    let listener = try stage.originListens()
    stage.step("a client asks for 200 kB, and does not read what it gets")
    let client = try stage.get("/l08")
    let origin = try listener.accept()
    _ = try origin.readRequest()
    try origin.answerHead(200_000)
    try origin.sendContent(0..<50_000)
    try client.waitForUnread(10_000)
    stage.fault("it closes") { client.close() }
    try stage.waitForFinal(1)
    stage.step("the origin sends the rest, to Holdfast alone")
    try origin.sendContent(50_000..<200_000)
    stage.step("another client asks for the same")
    let other = try stage.get("/l08")
    try other.readHead()
    stage.check(
      "it has all of it, and the origin was not asked", try other.readContent(0..<200_000))
  }
}
