// The origin's process is killed: before it has read what was sent to it, and after.

import Forensics
import Glibc
import Telemetry

extension Scenario {
  static let l04 = Scenario(
    "L04", "the origin's process is killed, with and without unread bytes", on: .behindService,
    expecting: Expectation(.originAborted, .head, .reset)
      .judged(.sockets, atMost: 79)
      .judged(.packets, atLeast: 90)
      .inPhase(.request, .head)
      .having("errno", "ECONNRESET")
      .having("rst.shape", "active", from: .packets),
    Expectation(.originFinishedEarly, .content, .finish)
      .judged(.sockets, atLeast: 95)
      .having("content.received", "50000")
      .having("resume.outcome", "resumed")
  ) { stage in
    let listener = try stage.originListens()
    stage.step("a client sends 20 kB to the origin")
    let upload = try stage.connectClient()
    try upload.send(
      "POST http://\(stage.originAuthority)/l04 HTTP/1.1\r\nHost: \(stage.originAuthority)\r\nContent-Length: 20000\r\n\r\n"
    )
    try upload.sendContent(0..<20_000)
    let taken = try listener.accept()
    try taken.waitForUnread(20_000)
    stage.step("its kernel has them, its program has read nothing")
    let program = try taken.handOver(on: try stage.origin)
    stage.fault("SIGKILL") {
      program.signal(SIGKILL)
      program.wait()
    }
    stage.check("the client is told", try upload.readHead().hasPrefix("HTTP/1.1 502"))

    let (client, first) = try stage.downloadBegins(
      "/l04", at: listener, "another client asks for 200 kB, and has 50 kB")
    let second = try first.handOver(on: try stage.origin)
    stage.fault("SIGKILL, with nothing unread") {
      second.signal(SIGKILL)
      second.wait()
    }
    let last = try listener.accept()
    let offset = try last.readRequest()
    try last.answerHead(200_000, from: offset)
    try last.sendContent(offset..<200_000)
    stage.check(
      "the client has all bytes, and they are right", try client.readContent(50_000..<200_000))
  }
}
