// A router refuses the attempt to connect: there is no way, and then: it is forbidden.

import Forensics
import Telemetry

extension Scenario {
  static let l24 = Scenario(
    "L24", "a router says no to the attempt to connect", on: .direct, options: once,
    expecting: Expectation(.unreachable, .connect, .icmp)
      .judged(.sockets, atLeast: 80)
      .judged(.packets, atLeast: 95),
    // To a socket both are the same errno.
    Expectation(.pathRejected, .connect, .icmp, or: .unreachable)
      .judged(.sockets, .pathRejected, .unreachable)
      .judged(.packets, .pathRejected, atLeast: 90)
  ) { stage in
    let origin = stage.network.topology.originAddress
    let noWay = Fault.reject("-d \(origin)", with: "icmp-host-unreachable")
    try stage.fault("the node says \"host unreachable\"; a client asks") {
      try stage.make(noWay)
      let client = try stage.get("/l24")
      stage.check("the client is told", try client.readHead().hasPrefix("HTTP/1.1 50"))
    }
    try stage.undo(noWay)
    try stage.fault("it says \"administratively prohibited\"; a client asks") {
      try stage.make(.reject("-d \(origin)", with: "icmp-admin-prohibited"))
      let client = try stage.get("/l24")
      stage.check("the client is told", try client.readHead().hasPrefix("HTTP/1.1 50"))
    }
  }
}
