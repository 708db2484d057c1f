// The origin's machine is gone while its answer is awaited: nothing is under way that could be sent again, so somebody has
// to ask.

import Forensics
import Telemetry

extension Scenario {
  static let l17b = Scenario(
    "L17b", "the origin vanishes while its answer is awaited", on: .direct,
    options: {
      var options = ProxyOptions()
      // Holdfast has its kernel ask (keepalive) after half of that.
      options.deadAfter = "3s"
      return options
    }(),
    expecting: Expectation(.peerSilent, .content, .timeout)
      .judged(.sockets, atLeast: 80)
      .judged(.packets, atLeast: 90)
      .having("errno", "ETIMEDOUT")
      .having("content.received", "50000")
      .having("resume.outcome", "resumed")
  ) { stage in
    let listener = try stage.originListens()
    let (client, first) = try stage.downloadBegins(
      "/l17b", at: listener, "a client asks for 200 kB, and has 50 kB")
    try first.waitUntilConfirmed()
    let originAddress = stage.network.topology.originAddress
    let silence = Fault.drop("-d \(originAddress) --sport \(first.peer.port)")
    try stage.fault("the node drops what goes to the origin on it; the origin says nothing") {
      try stage.make(silence)
    }
    try stage.wait(for: silence, toMeet: 1)
    stage.step("our kernel asks the origin's, and has no answer")
    try stage.downloadGoesOn(client, at: listener, "Holdfast asks for the rest")
  }
}
