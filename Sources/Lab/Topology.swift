// Which machines there are, which cables join them, and which addresses they have: values, from which `Network` makes the
// namespaces. Two lines are enough for all scenarios; the letters are those of docs/lab.md.
//
//   line A    client ── proxy ── node ── origin      the proxy is the client of a Service that the node translates
//   line B    client ── node ── proxy ── origin      the proxy is what the Service leads to

import Platform

/// The machines of the lab.
package enum Role: String, CaseIterable, Sendable {
  case client, proxy, node, origin
}

/// A machine's end of a cable.
package struct CableEnd: Sendable {
  package let host: Role
  package let v4: String
  package let v6: String
}

package struct Topology: Sendable {
  /// Left and right end of each, the latter the next hop for what lies beyond it.
  package var cables: [(CableEnd, CableEnd)]
  package var services: [Service] = []
  /// What the cable to the origin does to packets; a good one if nil.
  package var lastCable: RoughCable.Habits?
  /// The node gives what leaves it its own address.
  package var masquerades = false
  /// The proxy asks for the origin by its IPv6 address.
  package var asksOverV6 = false

  /// Addresses of the proxy (seen by clients) and of the origin.
  package let proxyAddress: String
  package let originAddress = "10.8.3.9"
  package let originAddress6 = "fd00:8:3::9"
  package static let servicePort: UInt16 = 80
  package static let serviceAddress = "10.96.0.10"
  package static let serviceAddress6 = "fd00:10:96::a"
  package static let originPort: UInt16 = 8080
  package static let proxyPort: UInt16 = 3128

  private static func cables(_ roles: [Role]) -> [(CableEnd, CableEnd)] {
    zip(roles, roles.dropFirst()).enumerated().map { index, pair in
      let network = index + 1
      let last = pair.1 == .origin ? 9 : 2
      return (
        CableEnd(host: pair.0, v4: "10.8.\(network).1", v6: "fd00:8:\(network)::1"),
        CableEnd(host: pair.1, v4: "10.8.\(network).\(last)", v6: "fd00:8:\(network)::\(last)")
      )
    }
  }

  /// Line A, with nothing in between that translates.
  package static let direct = Topology(
    cables: cables([.client, .proxy, .node, .origin]), proxyAddress: "10.8.1.2")

  /// Line A: the origin behind a Service of the node.
  package static let behindService = {
    var topology = direct
    topology.services = [
      Service(
        name: "REGISTRY", address: serviceAddress, address6: serviceAddress6, port: servicePort,
        backends: [
          .init(
            address: topology.originAddress, address6: topology.originAddress6, port: originPort)
        ])
    ]
    return topology
  }()

  /// Line B: the proxy behind a Service of the node.
  package static let proxyBehindService = {
    var topology = Topology(
      cables: cables([.client, .node, .proxy, .origin]), proxyAddress: "10.8.2.2")
    topology.services = [
      Service(
        name: "PROXY", address: serviceAddress, address6: serviceAddress6, port: servicePort,
        backends: [.init(address: "10.8.2.2", address6: "fd00:8:2::2", port: proxyPort)])
    ]
    return topology
  }()

  /// The order from left to right.
  var roles: [Role] { cables.map(\.0.host) + [cables[cables.count - 1].1.host] }
}

/// The machines of a topology, up and joined.
package struct Network: Sendable {
  package let topology: Topology
  package let hosts: [Role: Host]
  private let rough: RoughCable?

  package var roughCable: RoughCable {
    get throws {
      guard let rough else { throw LabError("every cable of this line is a good one") }
      return rough
    }
  }

  package subscript(_ role: Role) -> Host {
    get throws {
      guard let host = hosts[role] else { throw LabError("this line has no \(role)") }
      return host
    }
  }

  package init(_ topology: Topology, of run: LabRun) throws {
    self.topology = topology
    var hosts: [Role: Host] = [:]
    for role in topology.roles { hosts[role] = try Host(role.rawValue, of: run) }
    self.hosts = hosts
    var lines: [String] = []
    var rough: RoughCable?
    func name(_ role: Role) -> String { hosts[role]?.name ?? "" }
    for (number, (left, right)) in topology.cables.enumerated() {
      let (from, to) = ("to-\(right.host)", "to-\(left.host)")
      let (leftName, rightName) = (name(left.host), name(right.host))
      if number == topology.cables.count - 1, let habits = topology.lastCable,
        let left = hosts[left.host], let right = hosts[right.host]
      {
        rough = try RoughCable([(left, from), (right, to)], habits)
      } else {
        lines.append(
          "ip -n \(leftName) link add \(from) type veth peer name \(to) netns \(rightName)")
      }
      for (host, device, end) in [(leftName, from, left), (rightName, to, right)] {
        lines += [
          "ip -n \(host) addr add \(end.v4)/24 dev \(device)",
          "ip -n \(host) addr add \(end.v6)/64 dev \(device) nodad",
          "ip -n \(host) link set \(device) up",
        ]
      }
      // To the right leads the default route of everyone but the last; the left is known by its networks.
      lines += [
        "ip -n \(leftName) route replace default via \(right.v4)",
        "ip -n \(leftName) -6 route replace default via \(right.v6)",
      ]
      for further in 0..<number {
        lines += [
          "ip -n \(rightName) route add 10.8.\(further + 1).0/24 via \(left.v4)",
          "ip -n \(rightName) -6 route add fd00:8:\(further + 1)::/64 via \(left.v6)",
        ]
      }
    }
    // The last one knows no better than its only neighbour.
    if let last = topology.cables.last {
      lines += [
        "ip -n \(name(last.1.host)) route replace default via \(last.0.v4)",
        "ip -n \(name(last.1.host)) -6 route replace default via \(last.0.v6)",
      ]
    }
    self.rough = rough
    try Shell.run(lines.joined(separator: "\n"))
    let node = try self[.node]
    // A proxy does not forward; but on its way from the client it is the neighbour, so it does not have to.
    try node.shell(
      """
      echo 1 > /proc/sys/net/ipv4/ip_forward
      echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
      \(topology.services.map(\.rules).joined(separator: "\n"))
      \(topology.masquerades ? "iptables -t nat -A POSTROUTING -p tcp -j MASQUERADE --random-fully" : "")
      """)
  }
}
