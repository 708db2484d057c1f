// Nobody answers a SYN.

import Forensics
import Telemetry

extension Scenario {
  static let l23 = Scenario(
    "L23", "the attempt to connect meets silence", on: .behindService,
    options: {
      var options = once
      options.connectTimeout = "1500ms"
      return options
    }(),
    expecting: Expectation(.connectTimeout, .connect, .timeout)
      .judged(.sockets, atLeast: 90)
      .judged(.packets, atLeast: 95)
  ) { stage in
    try stage.fault("the node drops every SYN; a client asks") {
      try stage.make(.drop("--tcp-flags SYN,ACK SYN"))
      let client = try stage.get("/l23")
      stage.check("the client is told", try client.readHead().hasPrefix("HTTP/1.1 504"))
    }
  }
}
