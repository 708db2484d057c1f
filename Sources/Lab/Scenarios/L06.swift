// Nobody listens; and a Service that has nobody who could.

import Forensics
import Telemetry

extension Scenario {
  /// The first attempt is the last.
  static let once: ProxyOptions = {
    var options = ProxyOptions()
    options.retries = 0
    return options
  }()

  static let l06 = Scenario(
    "L06", "refused by the origin's kernel, then by the node", on: .behindService, options: once,
    expecting: Expectation(.originRefused, .connect, .reset)
      .judged(.sockets, atMost: 79)
      .judged(.packets, atLeast: 95)
      .having("errno", "ECONNREFUSED")
      .having("rst.shape", "refusal", from: .packets),
    Expectation(.serviceWithoutEndpoints, .connect, .reset)
      // A firewall that answers so looks the same.
      .judged(.packets, atLeast: 70, atMost: 79)
      .having("errno", "ECONNREFUSED")
  ) { stage in
    try stage.fault("nobody listens at the origin, and a client asks") {
      let client = try stage.get("/l06")
      stage.check("the client is told so", try client.readHead().hasPrefix("HTTP/1.1 502"))
    }
    try stage.fault("the Service loses its last endpoint: the node refuses for it") {
      try stage.node.shell(
        """
        iptables -t nat -F KUBE-SVC-REGISTRY
        iptables -A FORWARD -d \(Topology.serviceAddress) -p tcp -j REJECT --reject-with icmp-port-unreachable
        """)
      let client = try stage.get("/l06")
      stage.check("the client is told so", try client.readHead().hasPrefix("HTTP/1.1 502"))
    }
  }
}
