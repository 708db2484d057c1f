// The origin does not want the content that comes, says so and breaks off.

import Forensics
import Telemetry

extension Scenario {
  static let l20 = Scenario(
    "L20", "the origin answers before it has read the content, and breaks off", on: .behindService,
    expecting: Expectation(.originRefusedContent, .content, .reset)
      .inPhase(.content, .request, .head)
      .judged(.sockets, atLeast: 80)
      .judged(.packets, atLeast: 95)
  ) { stage in
    let listener = try stage.originListens()
    stage.step("a client begins to send 100 kB")
    let upload = try stage.connectClient()
    try upload.send(
      "POST http://\(stage.originAuthority)/l20 HTTP/1.1\r\nHost: \(stage.originAuthority)\r\nContent-Length: 100000\r\n\r\n"
    )
    try upload.sendContent(0..<20_000)
    let taken = try listener.accept()
    try taken.waitForUnread(20_000)
    let resets = try stage.holdfast.counters()["EstabResets"] ?? 0
    // Who has the whole answer before the reset comes closes the connection, and never learns of it.
    try stage.unseen {
      try stage.fault("the origin has read nothing of it, answers 413 and closes") {
        try taken.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
        taken.close()
      }
      try stage.wait(for: "EstabResets", of: try stage.holdfast, toPass: resets)
    }
    stage.check("the client has the whole answer", try upload.readHead().hasPrefix("HTTP/1.1 413"))
    stage.check("with its content", try upload.read(8) == Array("too much".utf8))
  }
}
