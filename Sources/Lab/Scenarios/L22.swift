// The origin's program stops listening while a connection waits to be accepted. On the wire that is what a program looks
// like that is killed before it has read: both may be said.

import Forensics
import Telemetry

extension Scenario {
  static let l22 = Scenario(
    "L22", "the origin stops listening with a connection in its queue", on: .behindService,
    options: once,
    expecting: Expectation(.originListenerClosed, .head, .reset, or: .originAborted)
      .judged(.sockets, .originListenerClosed, .originAborted, .originAcceptOverflow, atMost: 79)
      .judged(.packets, .originListenerClosed, .originAborted, atLeast: 70)
      .inPhase(.request, .head, .connect)
      .having("errno", "ECONNRESET")
      .having("content.received", "0")
      .having("rst.shape", "active", from: .packets)
  ) { stage in
    let listener = try stage.originListens()
    stage.step("a client asks; the connection waits in the origin's queue")
    let client = try stage.get("/l22")
    let origin = try stage.origin
    try stage.wait(for: "CurrEstab", of: origin, toPass: 0)
    stage.fault("the origin's program closes what it listens on") { listener.close() }
    stage.check("the client is told", try client.readHead().hasPrefix("HTTP/1.1 50"))
  }
}
