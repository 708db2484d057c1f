// A Service is what it should be for its clients: one address, several backends, and a refusal where there is none.

import Forensics
import Platform
import Testing

@testable import Lab

@Suite(
  "Lab: Services", .timeLimit(.minutes(5)),
  .enabled(if: Requirements.obstacle == nil, Labels.obstacle))
struct ServiceTests {
  private func topology(_ kind: Service.Kind, backends count: Int, v6: Bool) -> Topology {
    var topology = Topology.behindService
    topology.services[0].kind = kind
    topology.services[0].backends = (0..<count).map {
      .init(
        address: topology.originAddress, address6: topology.originAddress6,
        port: Topology.originPort + UInt16($0))
    }
    topology.asksOverV6 = v6
    return topology
  }

  private func service(_ v6: Bool) throws -> SocketAddress {
    try Stage.address(v6 ? Topology.serviceAddress6 : Topology.serviceAddress, Topology.servicePort)
  }

  @Test(
    "each of three backends is chosen now and then, over IPv4 and IPv6",
    arguments: Service.Kind.allCases, [false, true])
  func backends(kind: Service.Kind, v6: Bool) throws {
    let run = try LabRun()
    defer { run.remove() }
    let network = try Network(topology(kind, backends: 3, v6: v6), of: run)
    let origin = try network[.origin]
    let address = v6 ? network.topology.originAddress6 : network.topology.originAddress
    let listeners = try (0..<3).map {
      try LabListener(origin, Stage.address(address, Topology.originPort + UInt16($0)))
    }
    // With chance it is never certain; that one of three is left out a hundred times is as good as impossible.
    var connections: [LabConnection] = []
    for _ in 0..<100 {
      connections.append(try .connect(from: try network[.proxy], to: try service(v6)))
    }
    for listener in listeners {
      let accepted = try listener.accept()
      #expect(accepted.local.ip.description == address)
    }
    withExtendedLifetime(connections) {}
  }

  @Test(
    "a Service without a backend refuses at once", arguments: Service.Kind.allCases, [false, true])
  func refusal(kind: Service.Kind, v6: Bool) throws {
    let run = try LabRun()
    defer { run.remove() }
    let network = try Network(topology(kind, backends: 0, v6: v6), of: run)
    let error = #expect(throws: LabError.self) {
      _ = try LabConnection.connect(from: try network[.proxy], to: try service(v6))
    }
    #expect(error?.description.contains("ECONNREFUSED") == true, "\(error?.description ?? "")")
  }
}
