// A client has read all there was, and leaves.

import Forensics
import Telemetry

extension Scenario {
  static let l09 = Scenario(
    "L09", "the client finishes in the middle of its answer", on: .direct,
    expecting: Expectation(.clientLeft, .content, .finish, side: .downstream)
      .judged(.sockets, atLeast: 60)
      .judged(.packets, atLeast: 95)
      .by(.finish, .reset, at: .sockets)
  ) { stage in
    let listener = try stage.originListens()
    let (client, origin) = try stage.downloadBegins(
      "/l09", at: listener, "a client asks for 200 kB, and reads the 50 kB that come")
    stage.fault("it closes") { client.close() }
    stage.step("Holdfast keeps sending, as the origin does")
    try origin.sendContent(50_000..<150_000)
    try stage.waitForFinal(1)
    try origin.sendContent(150_000..<200_000)
    let other = try stage.get("/l09")
    try other.readHead()
    stage.check("another client has all of it", try other.readContent(0..<200_000))
  }
}
