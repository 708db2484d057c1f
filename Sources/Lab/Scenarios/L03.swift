// The origin's program breaks a download off.

import Forensics
import Telemetry

extension Scenario {
  static let l03 = Scenario(
    "L03", "the origin aborts in the middle of content", on: .behindService,
    expecting: Expectation(.originAborted, .content, .reset)
      .judged(.sockets, atMost: 79)
      .judged(.packets, atLeast: 90)
      .having("errno", "ECONNRESET")
      .having("content.received", "50000")
      .having("content.expected", "200000")
      .having("tcp_info.state", "7")
      .having("resume.outcome", "resumed")
      .having("resume.offset", "50000")
      .having("rst.shape", "active", from: .packets)
  ) { stage in
    let listener = try stage.originListens()
    stage.step("a client asks for 200 kB")
    let client = try stage.get("/l03")
    let first = try listener.accept()
    _ = try first.readRequest()
    stage.step("the origin sends 50 kB of them")
    try first.answerHead(200_000)
    try first.sendContent(0..<50_000)
    try client.readHead()
    stage.check("50 kB arrive", try client.readContent(0..<50_000))
    stage.fault("its program aborts: linger 0, close") { first.abort() }
    let second = try listener.accept()
    let offset = try second.readRequest()
    stage.step("Holdfast asks for the rest, from byte \(offset)")
    stage.check("it asks from byte 50000", offset == 50_000)
    try second.answerHead(200_000, from: offset)
    try second.sendContent(offset..<200_000)
    stage.check(
      "the client has all bytes, and they are right", try client.readContent(50_000..<200_000))
  }
}
