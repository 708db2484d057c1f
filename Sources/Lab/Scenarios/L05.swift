// The origin says that it is done when it is not.

import Forensics
import Telemetry

extension Scenario {
  static let l05 = Scenario(
    "L05", "the origin finishes before its content is complete", on: .behindService,
    expecting: Expectation(.originFinishedEarly, .content, .finish)
      .judged(.sockets, atLeast: 95)
      .having("content.received", "50000")
      .having("content.expected", "200000")
      .having("resume.outcome", "resumed")
  ) { stage in
    let listener = try stage.originListens()
    let (client, first) = try stage.downloadBegins(
      "/l05", at: listener, "a client asks for 200 kB")
    stage.fault("after 50 kB the origin closes, in order") { first.close() }
    try stage.downloadGoesOn(client, at: listener, "Holdfast asks for the rest")
  }
}
