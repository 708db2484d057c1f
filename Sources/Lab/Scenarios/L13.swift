// The node forgets a connection in the middle of a download, and the origin is the next to speak.

import Forensics
import Telemetry

extension Scenario {
  static let l13 = Scenario(
    "L13", "the node forgets the connection, and the origin speaks next", on: .behindService,
    options: impatient,
    expecting: strayed.having("content.received", "50000")
  ) { stage in
    let listener = try stage.originListens()
    let (client, first) = try stage.downloadBegins(
      "/l13", at: listener, "a client asks for 200 kB, and has 50 kB")
    try first.waitUntilConfirmed()
    let next = Content.bytes(50_000..<60_000)
    try stage.fault("the node's entry is deleted; the origin sends on") {
      try stage.make(.forget(Topology.serviceAddress))
      _ = first.sendUntilCut(next)
    }
    stage.check("our kernel resets the origin", try first.ending().reset == .connectionReset)
    try stage.downloadGoesOn(client, at: listener, "Holdfast asks for the rest")
  }
}
