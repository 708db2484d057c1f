// A real node that translates a Service's address, and stops doing so in the middle of a connection.

import Glibc
import Platform
import TestNetwork
import Testing

@testable import Packets

/// A client that knows an origin by the address of a Service only, and the node in between that translates it.
private struct Service {
  let client: Host
  let node: Host
  let origin: Host
  let address = SocketAddress(IPAddress(v4: 0x0A60_000A), port: 80)
  let real = SocketAddress(IPAddress(v4: 0x0A49_0002), port: 8080)

  init() throws {
    client = try Host()
    node = try Host()
    origin = try Host()
    try Host.join(client, node, network: 72)
    try Host.join(node, origin, network: 73)
    try shell(
      """
      ip -n \(client.name) route add default via 10.72.0.2
      ip -n \(origin.name) route add default via 10.73.0.1
      """)
    try node.command(
      """
      echo 1 > /proc/sys/net/ipv4/ip_forward
      iptables -t nat -A PREROUTING -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination 10.73.0.2:8080
      """)
  }
}

@Suite(
  "Strays on real networks", .timeLimit(.minutes(2)), .serialized,
  .enabled(if: Host.obstacle == nil, Host.obstacle))
struct StrayNetworkTests {
  @Test(
    "a reply that was not translated is found before the socket knows",
    arguments: PacketFilter.Mode.allCases)
  func untranslated(mode: PacketFilter.Mode) throws {
    let service = try Service()
    let strays = Strays()
    let index = FlowIndex(mode: mode)
    let detector = StrayDetector(index: index) { strays.add($0) }
    let recorder = try PacketRecorder.start(
      PacketRecorder.Options(
        filter: PacketFilter(mode: mode), namespacePath: service.client.path),
      index: index, detector: detector)
    let listener = try service.origin.listen("10.73.0.2:8080")
    let client = try service.client.connect(service.address)
    let server = try accept(listener)
    try waitUntilReady(client, .write)
    let local = try Socket.localAddress(client)
    detector.register(local: local, peer: service.address, token: 42)
    try send(client, "ask\n")
    try receive(server)
    try send(server, "a first part\n")
    try receive(client)

    // From now on the node passes on what the origin says as it is.
    try service.node.command("iptables -t raw -A PREROUTING -s 10.73.0.2 -j CT --notrack")
    try send(server, "a second part\n")
    #expect(recorder.wait { detector.strays > 0 })
    let stray = try #require(strays.all.first)
    #expect(stray.token == 42)
    #expect(stray.local == local)
    #expect(stray.peer == service.address)
    #expect(stray.origin == service.real)
    #expect(stray.certainty == (mode == .full ? .sequenceFits : .sequencePlausible))
    // The socket has no idea.
    #expect(Socket.pendingError(client) == nil)
    // And the origin's is dead.
    #expect(try receive(server) == .failed(.connectionReset))
    recorder.stop()
    let flow = try #require(index.packets(local: local, peer: service.real))
    let reset = try #require(flow.resets.first)
    let facts = try #require(ResetFacts(reset, mode: mode))
    #expect(facts.shape == .passive)
    #expect(flow.direction(of: reset) == .sent)
    if mode == .full { #expect(facts.trigger?.header.tcp?.contentLength == 14) }
    for fd in [client, server, listener] { FileDescriptor.close(raw: fd) }
  }

  @Test("healthy connections through the same node are no strays")
  func healthy() throws {
    let service = try Service()
    let index = FlowIndex(mode: .full)
    let strays = Strays()
    let detector = StrayDetector(index: index) { strays.add($0) }
    let recorder = try PacketRecorder.start(
      PacketRecorder.Options(
        filter: PacketFilter(mode: .full), namespacePath: service.client.path),
      index: index, detector: detector)
    let listener = try service.origin.listen("10.73.0.2:8080")
    for number in 0..<23 {
      let client = try service.client.connect(service.address)
      let server = try accept(listener)
      try waitUntilReady(client, .write)
      detector.register(
        local: try Socket.localAddress(client), peer: service.address, token: UInt64(number))
      try send(client, "ask\n")
      try receive(server)
      // Ends of every kind: a finish, an abort of theirs, one of ours.
      switch number % 3 {
      case 0:
        FileDescriptor.close(raw: server)
        FileDescriptor.close(raw: client)
      case 1:
        abort(server)
        try receive(client)
        FileDescriptor.close(raw: client)
      default:
        abort(client)
        try receive(server)
        FileDescriptor.close(raw: server)
      }
    }
    FileDescriptor.close(raw: listener)
    recorder.stop()
    #expect(strays.all.isEmpty)
    #expect(recorder.statistics.resetsReceived == 8)
    #expect(recorder.statistics.resetsSent == 7)
    #expect(recorder.statistics.dropped == 0)
  }
}
