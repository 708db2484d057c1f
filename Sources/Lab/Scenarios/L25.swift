// The path is in order, and the origin's program says nothing any more.

import Forensics
import Telemetry

extension Scenario {
  static let l25 = Scenario(
    "L25", "the origin's program stalls in the middle of content", on: .behindService,
    options: {
      var options = ProxyOptions()
      // Long enough for its kernel to be asked whether the path still works, and to answer.
      options.readTimeout = "4s"
      return options
    }(),
    expecting: Expectation(.originStalled, .content, .timeout)
      .judged(.sockets, atLeast: 70)
      .judged(.packets, atLeast: 80)
      .having("content.received", "50000")
      .having("resume.outcome", "resumed")
  ) { stage in
    let listener = try stage.originListens()
    let (client, first) = try stage.downloadBegins(
      "/l25", at: listener, "a client asks for 200 kB")
    stage.fault("the origin says nothing any more") {}
    try stage.downloadGoesOn(
      client, at: listener, "Holdfast has waited long enough, and asks for the rest")
  }
}
