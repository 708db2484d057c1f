// A Service's backend is replaced, the node forgets the connection, and what is sent next goes to the new backend, which
// knows nothing of it.

import Forensics
import Telemetry

extension Scenario {
  static let l26 = Scenario(
    "L26", "a connection is led to another backend", on: .behindService,
    expecting: Expectation(.backendSwitched, .head, .reset, or: .originLostState)
      .judged(.sockets, .backendSwitched, .originLostState, .originClosedIdle, atMost: 79)
      .judged(.kernel, .backendSwitched, atLeast: 95)
      .having("errno", "ECONNRESET")
      .having("connection.reused", "true")
      .having("resume.outcome", "repeated")
      .having("rst.shape", "passive", from: .packets)
  ) { stage in
    let listener = try stage.originListens()
    let other = try LabListener(
      try stage.origin,
      Stage.address(stage.network.topology.originAddress, Topology.originPort + 1))
    let (client, kept) = try stage.keepsConnection(
      at: listener, "a client asks, and the connection to the first backend is kept")
    try stage.fault("the Service gets another backend, and the node forgets its connections") {
      try stage.node.shell(
        """
        iptables -t nat -F KUBE-SEP-REGISTRY-0
        iptables -t nat -A KUBE-SEP-REGISTRY-0 -p tcp -j DNAT --to-destination \(stage.network.topology.originAddress):\(Topology.originPort + 1)
        """)
      try stage.make(.forget(Topology.serviceAddress))
      stage.step("the client asks again: Holdfast uses the kept connection")
      _ = try stage.get("/second", on: client)
    }
    try stage.answers(client, at: other, "Holdfast asks again on a new one")
  }
}
