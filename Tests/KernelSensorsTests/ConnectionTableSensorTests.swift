// The connection table of a node that translates a Service's address, asked from outside of it.

import Platform
import TestNetwork
import Testing

@testable import KernelSensors

@Suite(
  "Asking the connection table", .timeLimit(.minutes(2)), .serialized,
  .enabled(if: Host.obstacle == nil, Host.obstacle))
struct ConnectionTableSensorTests {
  /// A connection through the Service, a byte of an answer on it.
  struct Connected {
    let network: ServiceNetwork
    let sensor: ConnectionTableSensor
    let client: Int32
    let server: Int32
    let listener: Int32
    let local: SocketAddress
    let peer: SocketAddress

    init(_ text: String = ServiceNetwork.service, logGroup: UInt16? = nil) throws {
      network = try ServiceNetwork()
      sensor = try ConnectionTableSensor.start(
        .init(namespacePath: network.node.path, logGroup: logGroup))
      peer = try #require(SocketAddress(text))
      listener = try network.origin.listen(
        peer.ip.family == .v4 ? "10.82.0.2:8080" : "[fd00:82::2]:8080")
      client = try network.proxy.connect(text)
      server = try accept(listener)
      local = try Socket.localAddress(client)
      sensor.watch(local: local, peer: peer)
      try send(client, "ask")
      try receive(server)
      try send(server, "answer")
      try receive(client)
    }

    func report() throws -> ConnectionTableSensor.Report {
      let outcome = Answer<ConnectionTableSensor.Report?>()
      sensor.report(local: local, peer: peer) { outcome.set($0) }
      return try #require(outcome.wait())
    }

    func end() {
      sensor.stop()
      close(client, server, listener)
    }
  }

  @Test(
    "where a Service's flow really leads, and how it is",
    arguments: [
      (ServiceNetwork.service, "10.82.0.2:8080"), (ServiceNetwork.serviceV6, "[fd00:82::2]:8080"),
    ])
  func real(service: String, origin: String) throws {
    let connected = try Connected(service)
    let report = try connected.report()
    let tuple = ConntrackTuple(source: connected.local, destination: connected.peer)
    let first = try #require(report.first)
    #expect(first.realPeer(of: tuple) == SocketAddress(origin))
    #expect(first.status.contains([.seenReply, .confirmed, .destinationNAT]))
    let now = try #require(report.now)
    #expect(report.hasEntry == true)
    #expect(now.state == .established)
    #expect(now.status.contains(.assured))
    #expect((now.timeout ?? 0) > 0)
    #expect(now.id == first.id && now.id != nil)
    #expect(report.lost == nil && report.successor == nil)
    #expect(report.settings.isLiberal == false)
    #expect(report.settings.isLoose == true)
    #expect((report.settings.establishedTimeout ?? 0) > 0)
    #expect((report.settings.count ?? 0) >= 1 && (report.settings.maximum ?? 0) > 0)
    // The other side of it is told the same of its own flow.
    let outcome = Answer<ConnectionTableSensor.Report?>()
    connected.sensor.report(
      local: try Socket.localAddress(connected.server), peer: connected.local
    ) { outcome.set($0) }
    let seen = ConntrackTuple(
      source: try Socket.localAddress(connected.server), destination: connected.local)
    #expect(outcome.wait()?.now?.realPeer(of: seen) == connected.local)
    #expect(outcome.wait()?.now?.translatedSource(of: seen) == connected.peer)
    #expect(connected.sensor.statistics.watched == 1)
    #expect(connected.sensor.hearsEvents)
    connected.end()
  }

  @Test("where a node masquerades, the address that the origin sees")
  func masquerade() throws {
    let network = try ServiceNetwork()
    try network.node.command("iptables -t nat -A POSTROUTING -o v82a -j MASQUERADE")
    let sensor = try ConnectionTableSensor.start(.init(namespacePath: network.node.path))
    let listener = try network.origin.listen("10.82.0.2:8080")
    let client = try network.proxy.connect(ServiceNetwork.service)
    let server = try accept(listener)
    let (local, peer) = (
      try Socket.localAddress(client), try #require(SocketAddress(ServiceNetwork.service))
    )
    let outcome = Answer<ConnectionTableSensor.Report?>()
    sensor.report(local: local, peer: peer) { outcome.set($0) }
    let entry = try #require(outcome.wait()?.now)
    let tuple = ConntrackTuple(source: local, destination: peer)
    #expect(entry.translatedSource(of: tuple)?.ip == IPAddress(v4: 0x0A52_0001))
    #expect(entry.status.contains([.sourceNAT, .destinationNAT]))
    sensor.stop()
    close(client, server, listener)
  }

  @Test("a reset that passes closes the entry, and leaves it for a while")
  func reset() throws {
    let connected = try Connected()
    Socket.abort(raw: connected.server)
    #expect(try receive(connected.client) == .failed(.connectionReset))
    let report = try connected.report()
    #expect(report.now?.state == .close)
    #expect(report.successor == nil && report.lost == nil)
    connected.sensor.stop()
    close(connected.client, connected.listener)
  }

  @Test("an entry that was lost, and one to another origin in its place that is gone again")
  func switched() throws {
    let connected = try Connected()
    try connected.network.lead(to: 83)
    try connected.network.node.command("conntrack -D -p tcp")
    try send(connected.client, "more")
    #expect(try receive(connected.client) == .failed(.connectionReset))
    let report = try connected.report()
    let tuple = ConntrackTuple(source: connected.local, destination: connected.peer)
    #expect(report.hasEntry == false)
    #expect(report.first?.realPeer(of: tuple) == SocketAddress("10.82.0.2:8080"))
    #expect(report.lost?.id == report.first?.id && report.lost != nil)
    #expect(report.successor?.realPeer(of: tuple) == SocketAddress("10.83.0.2:8080"))
    connected.end()
  }

  @Test("of 23 packets that a rule calls invalid 23 are counted, with their flow")
  func calibration() throws {
    let connected = try Connected(logGroup: 4242)
    // What is marked so stands for what the table calls invalid: the packets of a connection, 23 of them.
    try connected.network.node.command(
      """
      iptables -t mangle -A PREROUTING -p tcp -s 10.81.0.1 -m length --length 100: -j NFLOG --nflog-group 4242
      iptables -t mangle -A PREROUTING -p tcp -s 10.82.0.2 -j NFLOG --nflog-group 4243
      """)
    let text = String(repeating: "x", count: 100)
    for _ in 0..<23 {
      try send(connected.client, text)
      try receive(connected.server)
      try send(connected.server, "y")
      try receive(connected.client)
    }
    let report = try connected.report()
    #expect(report.invalidPackets == 23)
    #expect(connected.sensor.statistics.invalidPackets == 23)
    #expect(connected.sensor.statistics.overruns == 0)
    connected.end()
  }

  @Test("what conntrack calls invalid is counted in the table and handed over")
  func invalid() throws {
    let connected = try Connected(logGroup: 4242)
    let counters = try CounterSensor.start(namespacePath: connected.network.node.path)
    let start = Instant.precise()
    try connected.network.node.command(
      """
      iptables -t mangle -A PREROUTING -p tcp -m conntrack --ctstate INVALID -j NFLOG --nflog-group 4242
      sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0
      conntrack -D -p tcp
      """)
    // Without its entry, and none may be made in the middle of a connection.
    try send(connected.server, "untranslated")
    let growth = Answer<CounterSensor.Growth?>()
    counters.growth(since: start) { growth.set($0) }
    #expect((growth.wait()?.counters["conntrack.invalid"] ?? 0) >= 1)
    #expect((try connected.report().invalidPackets ?? 0) >= 1)
    counters.stop()
    connected.end()
  }

  @Test("two cannot listen to one group")
  func busy() throws {
    let host = try Host()
    let first = try ConnectionTableSensor.start(.init(namespacePath: host.path, logGroup: 7))
    #expect(throws: KernelSensorError.logGroup(7, .notPermitted)) {
      try ConnectionTableSensor.start(.init(namespacePath: host.path, logGroup: 7))
    }
    first.stop()
  }

  @Test("a thousand questions at once are all answered")
  func crowd() throws {
    let host = try Host()
    let sensor = try ConnectionTableSensor.start(.init(namespacePath: host.path))
    let nobody = SocketAddress(.loopbackV4, port: 1)
    let answered = Monitor(0)
    for _ in 0..<1000 {
      sensor.watch(local: nobody, peer: nobody)
      sensor.report(local: nobody, peer: nobody) { report in
        answered.withLock { $0 += report?.hasEntry == false ? 1 : 0 }
        answered.wakeAll()
      }
    }
    answered.wait { $0 == 1000 ? () : nil }
    #expect(sensor.statistics.failures == 0)
    sensor.stop()
    let late = Answer<Bool>()
    sensor.report(local: nobody, peer: nobody) { late.set($0 == nil) }
    #expect(late.wait())
  }
}
