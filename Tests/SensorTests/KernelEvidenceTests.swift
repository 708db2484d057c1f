// What the kernel's own word adds to records: a whole proxy in a network of its own, without a look at packets.

import Configuration
import Forensics
import KernelSensors
import Platform
import Support
import Telemetry
import TestNetwork
import Testing

@testable import Proxy

/// A proxy that knows its origins by the address of a Service only, which a node in between translates.
private struct Service {
  let proxyHost: Host
  let node: Host
  let origin: Host
  let other: Host
  static let url = "http://10.96.0.10/"

  init() throws {
    proxyHost = try Host()
    node = try Host()
    origin = try Host()
    other = try Host()
    try Host.join(proxyHost, node, network: 72)
    try Host.join(node, origin, network: 73)
    try Host.join(node, other, network: 74)
    try shell(
      """
      ip -n \(proxyHost.name) route add default via 10.72.0.2
      ip -n \(origin.name) route add default via 10.73.0.1
      ip -n \(other.name) route add default via 10.74.0.1
      """)
    try node.command("echo 1 > /proc/sys/net/ipv4/ip_forward")
    try lead(to: "10.73.0.2:8080")
  }

  func lead(to address: String) throws {
    try node.command(
      """
      iptables -t nat -F PREROUTING
      iptables -t nat -A PREROUTING -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination \(address)
      """)
  }

  func proxy(_ configure: (inout Configuration) -> Void = { _ in }) throws -> TestProxy {
    var configuration = TestProxy.configuration()
    configuration.resets.kernel = .auto
    configuration.resets.namespace = node.path
    configuration.upstream.retries = 0
    configuration.destinations.privateNetworks += [
      IPNetwork(IPAddress(v4: 0x0A00_0000), prefixLength: 8)
    ].compactMap(\.self)
    configure(&configuration)
    let settings = configuration
    return try proxyHost.run { try TestProxy(Script(), settings) }
  }
}

/// Why tracepoints cannot be watched here; nil where they can.
private let noTracepoints: Comment? = {
  do {
    let tracer = try ResetTracer.start()
    defer { tracer.stop() }
    return tracer.tellsReasons ? nil : "this kernel gives no reasons for resets"
  } catch {
    return "\(error)"
  }
}()

@Suite(
  "Evidence of the kernel", .timeLimit(.minutes(2)), .serialized,
  .enabled(if: Host.obstacle == nil, Host.obstacle))
struct KernelEvidenceTests {
  private static let head =
    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nCache-Control: no-store\r\n\r\n"

  /// The first record there is, judged for good.
  private func record(_ proxy: TestProxy) throws -> EndingRecord {
    try proxy.expect("a record") { _ in !proxy.server.recentEndings().isEmpty }
    proxy.server.finishEndings()
    return try #require(proxy.server.recentEndings().last)
  }

  private func text(_ record: EndingRecord) -> String {
    String(decoding: record.line, as: UTF8.self)
  }

  /// Through the Service: a request has been answered in part.
  private func begin(
    _ service: Service, _ proxy: TestProxy, at listener: Int32
  ) throws -> (client: WireClient, server: Int32) {
    let client = try service.proxyHost.run { try proxy.connect().get(Service.url) }
    let server = try accept(listener)
    try receive(server)
    try send(server, Self.head + "0123456789")
    try client.expectHead(200)
    #expect(try client.expectContent(10).count == 10)
    return (client, server)
  }

  /// An origin in the proxy's own network that breaks off in the middle.
  private func aborted(_ sensing: KernelSensing) throws -> EndingRecord {
    try Host().run {
      let outcome = Monitor<EndingRecord?>(nil)
      try wire(configure: { configuration, _ in configuration.resets.kernel = sensing }) {
        origin, proxy in
        let client = try proxy.connect().get(origin.url("/"))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(Self.head + "0123456789")
        try client.expectHead(200)
        #expect(try client.expectContent(10).count == 10)
        upstream.abort()
        let record = try self.record(proxy)
        outcome.withLock { $0 = record }
      }
      return try #require(outcome.withLock { $0 })
    }
  }

  @Test("counters are in each record, and are a tier of their own")
  func counters() throws {
    let record = try aborted(.counters)
    #expect(record.verdict.tier == .counters)
    #expect(record.verdict.cause == .originAborted)
    #expect((record.evidence.counters?["EstabResets"] ?? 0) >= 1)
    #expect((record.evidence.counters?["OutRsts"] ?? 0) >= 1)
    #expect(text(record).contains("\"EstabResets\":"))
    #expect(record.evidence.kernel == nil)
  }

  @Test("what is off is not asked, and said to be")
  func off() throws {
    let record = try aborted(.off)
    #expect(record.verdict.tier == .sockets)
    #expect(record.evidence.counters == nil && record.evidence.kernel == nil)
  }

  @Test("each sensor says what it does, or what it would need")
  func states() throws {
    let service = try Service()
    let proxy = try service.proxy()
    let states = proxy.server.sensors
    #expect(states.map(\.name) == ["packets", "counters", "conntrack", "tracepoints"])
    #expect(states.first { $0.name == "counters" }?.isActive == true)
    let conntrack = try #require(states.first { $0.name == "conntrack" })
    #expect(conntrack.isActive && conntrack.text.contains(service.node.path))
    let missing = try service.proxy { $0.resets.namespace = "/run/netns/nobody" }
    let state = try #require(missing.server.sensors.first { $0.name == "conntrack" })
    #expect(!state.isActive && state.text.contains("/run/netns/nobody"))
  }

  @Test(
    "the reason of an origin's kernel that is this machine's",
    .enabled(if: noTracepoints == nil, noTracepoints))
  func reason() throws {
    let record = try aborted(.auto)
    #expect(record.verdict.cause == .originAborted)
    #expect(record.verdict.confidence == 95)
    #expect(record.verdict.tier == .kernel)
    #expect(record.evidence.kernel?.isResetBelieved == true)
    #expect(record.evidence.kernel?.sentByPeer?.reason == "TCP_STATE")
    #expect(
      text(record).contains("\"kernel.reset\":\"sent by the peer\",\"kernel.reason\":\"TCP_STATE\"")
    )
    #expect(record.verdict.reasons.contains { $0.contains("TCP_STATE") })
  }

  @Test("behind a Service the real origin is named, and how its entry ended")
  func real() throws {
    let service = try Service()
    let listener = try service.origin.listen("10.73.0.2:8080")
    let proxy = try service.proxy()
    let (_, server) = try begin(service, proxy, at: listener)
    abort(server)
    let record = try record(proxy)
    #expect(record.verdict.cause == .originAborted)
    #expect(record.evidence.kernel?.hadEntry == true)
    #expect(record.evidence.kernel?.entry?.state == "close")
    #expect(record.evidence.kernel?.switchedFrom == nil)
    let line = text(record)
    #expect(
      line.contains(
        "\"origin.real\":{\"address\":\"10.73.0.2\",\"port\":8080,\"source\":\"conntrack\"}"))
    #expect(
      line.contains("\"conntrack\":{\"had_entry\":true,\"has_entry\":true,\"state\":\"close\""))
    #expect(line.contains("\"be_liberal\":false,\"loose\":true"))
    FileDescriptor.close(raw: listener)
  }

  @Test("an entry that was lost and made anew to another origin")
  func switched() throws {
    let service = try Service()
    let listener = try service.origin.listen("10.73.0.2:8080")
    let proxy = try service.proxy { $0.upstream.idleTimeout = .seconds(60) }
    let client = try service.proxyHost.run { try proxy.connect().get(Service.url) }
    let server = try accept(listener)
    try receive(server)
    try send(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok")
    try client.expectHead(200)
    #expect(try client.expectContent(2).count == 2)
    try service.lead(to: "10.74.0.2:8080")
    try service.node.command("conntrack -D -p tcp")
    // On the kept connection; the other origin knows nothing of it, and listens for no other.
    try client.get(Service.url)
    try client.expectHead(502)
    let record = try record(proxy)
    #expect(record.verdict.cause == .backendSwitched)
    #expect(record.verdict.confidence >= 95)
    #expect(record.evidence.kernel?.switchedFrom == SocketAddress("10.73.0.2:8080"))
    #expect(text(record).contains("\"switched_from\":\"10.73.0.2:8080\""))
    for fd in [server, listener] { FileDescriptor.close(raw: fd) }
  }

  @Test("an entry that was lost where a node masquerades")
  func lost() throws {
    let service = try Service()
    try service.node.command(
      "iptables -t nat -A POSTROUTING -o v73a -p tcp -j MASQUERADE --random-fully")
    let listener = try service.origin.listen("10.73.0.2:8080")
    let proxy = try service.proxy()
    let client = try service.proxyHost.run { try proxy.connect().get(Service.url) }
    let server = try accept(listener)
    try receive(server)
    try send(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok")
    try client.expectHead(200)
    #expect(try client.expectContent(2).count == 2)
    try service.node.command("conntrack -D -p tcp")
    try client.get(Service.url)
    // It asks again on a new connection, which nobody answers here.
    let record = try record(proxy)
    #expect(record.verdict.cause == .natIdleExpired)
    #expect((75...85).contains(record.verdict.confidence))
    #expect(record.evidence.kernel?.isEntryLost == true)
    #expect(record.evidence.kernel?.translatedSource?.ip == IPAddress(v4: 0x0A49_0001))
    for fd in [server, listener] { FileDescriptor.close(raw: fd) }
  }

  @Test(
    "a stall whose cause only the kernel saw: it reset the origin behind the Service",
    .enabled(if: noTracepoints == nil, noTracepoints))
  func stray() throws {
    let service = try Service()
    let listener = try service.origin.listen("10.73.0.2:8080")
    let proxy = try service.proxy { $0.upstream.readTimeout = .milliseconds(300) }
    let (client, server) = try begin(service, proxy, at: listener)
    // From now on the node passes on what the origin says on this connection as it is.
    let port = try Socket.peerAddress(server).port
    try service.node.command(
      "iptables -t raw -A PREROUTING -s 10.73.0.2 -p tcp --dport \(port) -j CT --notrack")
    try send(server, "lost")
    let record = try record(proxy)
    #expect(record.evidence.ending == Ending(.upstream, .content, .timeout))
    #expect(record.verdict.cause == .undnatHere)
    #expect(record.verdict.confidence == 99)
    #expect(record.evidence.kernel?.stray == SocketAddress("10.73.0.2:8080"))
    #expect((record.evidence.counters?.socketlessResets ?? 0) >= 1, "\(text(record))")
    #expect(text(record).contains("\"source\":\"stray\""))
    _ = client
    for fd in [server, listener] { FileDescriptor.close(raw: fd) }
  }
}
