// CONNECT: bytes both ways, each direction with an end of its own.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct TunnelTests {
  private func tunnel(_ origin: WireOrigin, _ proxy: TestProxy) throws -> (
    WireClient, WireOriginConnection
  ) {
    let client = try proxy.connect()
    try client.request("CONNECT", origin.authority)
    let upstream = try origin.accept()
    try client.expectHead(200, isHead: true)
    return (client, upstream)
  }

  @Test("bytes pass both ways, whatever they are")
  func passing() throws {
    try wire { origin, proxy in
      let (client, upstream) = try tunnel(origin, proxy)
      let bytes = patterned(1 << 20)
      let sender = try Background { try client.send(bytes) }
      try upstream.expectBytes(bytes)
      try sender.join()
      let answerer = try Background { try upstream.send(bytes) }
      try client.expectBytes(bytes)
      try answerer.join()
      client.close()
      try upstream.expectEnd()
      upstream.close()
      #expect(proxy.registry.value(.tunnels) == 1)
      #expect(proxy.registry.value(.tunnelBytes, .toUpstream) == 1 << 20)
      #expect(proxy.registry.value(.tunnelBytes, .toDownstream) == 1 << 20)
    }
  }

  @Test(
    "bytes sent behind the request, before the tunnel is open, arrive first",
    arguments: ["origin.test", "127.0.0.1"])
  func early(host: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "CONNECT \(host):\(origin.port) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\nearly")
      let upstream = try origin.accept()
      try upstream.expectBytes("early")
      try client.expectHead(200, isHead: true)
      try client.send(" and late")
      try upstream.expectBytes(" and late")
      client.abort()
      try upstream.expectReset()
    }
  }

  @Test("the client may finish its direction and go on reading")
  func clientFinishes() throws {
    try wire { origin, proxy in
      let (client, upstream) = try tunnel(origin, proxy)
      try client.send("question").finish()
      try upstream.expectBytes("question").expectEnd()
      try upstream.send("a long ").send("answer")
      try client.expectBytes("a long answer")
      upstream.finish()
      try client.expectEnd()
    }
  }

  @Test("the host may finish its direction and go on reading")
  func hostFinishes() throws {
    try wire { origin, proxy in
      let (client, upstream) = try tunnel(origin, proxy)
      try upstream.send("greeting").finish()
      try client.expectBytes("greeting").expectEnd()
      try client.send("still ").send("talking")
      try upstream.expectBytes("still talking")
      client.finish()
      try upstream.expectEnd()
    }
  }

  @Test("a reset on either side is a reset on the other", arguments: [true, false])
  func reset(byClient: Bool) throws {
    try wire { origin, proxy in
      let (client, upstream) = try tunnel(origin, proxy)
      try client.send("a")
      try upstream.expectBytes("a")
      if byClient {
        client.abort()
        try upstream.expectReset()
      } else {
        upstream.abort()
        try client.expectReset()
      }
    }
  }

  /// Both sides' tunnels have ended in order, and nothing is on record.
  private func expectOrder(_ proxy: TestProxy) throws {
    try proxy.expect("the tunnel to be gone") { $0.value(.tunnelsOpen) == 0 }
    #expect(proxy.server.recentEndings().map(\.evidence.ending) == [])
    #expect(proxy.registry.value(.healthyEndings, .downstream, .tunnel) == 1)
    #expect(proxy.registry.value(.healthyEndings, .upstream, .tunnel) == 1)
  }

  @Test("a host that has closed for good resets the client's farewell, and that is in order")
  func farewell() throws {
    try wire { origin, proxy in
      let (client, upstream) = try tunnel(origin, proxy)
      try upstream.send("the answer")
      upstream.close()
      try client.expectBytes("the answer").expectEnd()
      try client.send("goodbye")
      try expectOrder(proxy)
    }
  }

  @Test("a host that resets when the client has said FIN has done so in order")
  func resetBehindFinish() throws {
    try wire { origin, proxy in
      let (client, upstream) = try tunnel(origin, proxy)
      try client.send("question")
      try upstream.expectBytes("question").send("the answer")
      try client.expectBytes("the answer").send("goodbye").finish()
      try upstream.expectBytes("goodbye").expectEnd()
      // As it does who closes without having read all.
      upstream.abort()
      try client.expectReset()
      try expectOrder(proxy)
    }
  }

  @Test("a client that has read all, and the host's FIN, and resets is in order")
  func resetBehindHostsFinish() throws {
    try wire { origin, proxy in
      // Whether our own FIN has been confirmed by then is a matter of chance.
      for _ in 0..<20 {
        let (client, upstream) = try tunnel(origin, proxy)
        try upstream.send("the answer")
        upstream.finish()
        try client.expectBytes("the answer").expectEnd()
        client.abort()
        upstream.close()
      }
      try proxy.expect("the tunnels to be gone") { $0.value(.tunnelsOpen) == 0 }
      #expect(proxy.server.recentEndings().map(\.evidence.ending) == [])
    }
  }

  @Test("a host that resets while nobody has said FIN is on record")
  func resetInTheMiddle() throws {
    try wire { origin, proxy in
      let (client, upstream) = try tunnel(origin, proxy)
      try client.send("question")
      try upstream.expectBytes("question").send("half an ans")
      try client.expectBytes("half an ans")
      upstream.abort()
      try client.expectReset()
      try proxy.expect("a record") { _ in !proxy.server.recentEndings().isEmpty }
      #expect(
        proxy.server.recentEndings().map { "\($0.evidence.ending)" } == ["upstream tunnel reset"])
      // Who it was with the kernel does not say any more.
      let socket = try #require(proxy.server.recentEndings().first?.evidence.socket)
      #expect(socket.peer == .loopback(port: origin.port))
      #expect(socket.local != nil)
      #expect(proxy.registry.value(.healthyEndings, .upstream, .tunnel) == 0)
    }
  }

  @Test("a side that does not read holds back the other, and nothing is lost")
  func backPressure() throws {
    try wire { origin, proxy in
      let (client, upstream) = try tunnel(origin, proxy)
      let bytes = patterned(16 << 20)
      let sender = try Background {
        try upstream.send(bytes)
        upstream.finish()
      }
      try proxy.expect("some bytes") { $0.value(.tunnelBytes, .toDownstream) > 300_000 }
      try client.expectBytes(bytes).expectEnd()
      try sender.join()
      client.finish()
      try upstream.expectEnd()
    }
  }

  @Test("a side that has finished is held back like any other, and keeps no worker awake")
  func backPressureAfterFinish() throws {
    try wire { origin, proxy in
      let (client, upstream) = try tunnel(origin, proxy)
      try upstream.shrinkReceiveBuffer(to: 128 << 10)
      upstream.finish()
      try client.expectEnd()
      // A piece at a time, until the proxy reads no further; then one more, and the end, which lie before it.
      let bytes = patterned(32 << 20)
      var sent = 0
      while sent - Int(proxy.registry.value(.tunnelBytes, .toUpstream)) < 32 << 10 {
        try client.send(Array(bytes[sent..<(sent + (32 << 10))]))
        sent += 32 << 10
        var looks = 0
        try proxy.expect("the piece to be read, or left") {
          looks += 1
          return $0.value(.tunnelBytes, .toUpstream) == sent || looks == 300
        }
      }
      let passed = proxy.registry.value(.tunnelBytes, .toUpstream)
      client.finish()
      let before = proxy.server.turns()
      for _ in 0..<50 { _ = proxy.server.turns() }
      #expect(proxy.server.turns() - before < 100)
      #expect(proxy.registry.value(.tunnelBytes, .toUpstream) == passed)
      try upstream.expectBytes(Array(bytes[..<sent])).expectEnd()
    }
  }

  @Test("a tunnel to a port that is not allowed is refused and says which setting allows it")
  func deniedPort() throws {
    try wire(configure: { configuration, _ in
      configuration.destinations.connectPorts = [PortRange(443...443)]
    }) { origin, proxy in
      let client = try proxy.connect().request("CONNECT", origin.authority)
      try client.expectError(
        403, "`destinations.connect-ports`", type: "http_request_denied", closes: true)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a tunnel to an address that is not public is refused",
    arguments: ["origin.test", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"])
  func deniedAddress(host: String) throws {
    try wire(configure: { configuration, _ in configuration.destinations.privateNetworks = [] }) {
      origin, proxy in
      let client = try proxy.connect().request("CONNECT", "\(host):\(origin.port)")
      try client.expectError(403, "not a public address", closes: true)
      try origin.expectNothingElse()
    }
  }

  @Test("a tunnel to where nobody listens is 502")
  func refused() throws {
    try wire { origin, proxy in
      let authority = origin.authority
      origin.stopListening()
      let client = try proxy.connect().request("CONNECT", authority)
      try client.expectError(502, "No connection to \(authority)", closes: true)
    }
  }

  @Test("a tunnel to a name that does not exist is 502")
  func unknownHost() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request("CONNECT", "nowhere.example:443")
      try client.expectError(502, "the name does not exist", closes: true)
    }
  }

  @Test(
    "CONNECT with a target that is no host and port is 400",
    arguments: ["origin.test", "http://origin.test/", "/path"])
  func malformed(target: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send("CONNECT \(target) HTTP/1.1\r\nHost: a\r\n\r\n")
      try client.expectError(400, "", closes: true)
    }
  }

  @Test("a listener for one origin opens no tunnels, and says what it does instead")
  func reverse() throws {
    try wire(configure: WaysInTests.configure) { origin, proxy in
      let client = try proxy.connect(listener: 1).request("CONNECT", origin.authority)
      let answer = try client.expectError(405, "opens no tunnels", closes: true)
      // RFC 9110 §15.5.6
      #expect(answer["Allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    }
  }

  @Test("a tunnel through which nothing passes is let go after its time")
  func idle() throws {
    try wire(configure: { configuration, _ in
      configuration.limits.tunnelTimeout = .milliseconds(100)
    }) { origin, proxy in
      let (client, upstream) = try tunnel(origin, proxy)
      try client.expectGone()
      try upstream.expectGone()
    }
  }

  @Test("a client that leaves before the tunnel is open leaves nothing behind")
  func leavesEarly() throws {
    let gate = Monitor(false)
    try wire(lookup: { _ in
      _ = gate.wait { $0 ? true : nil }
      return .success([.loopbackV4])
    }) { origin, proxy in
      defer {
        gate.withLock { $0 = true }
        gate.wakeAll()
      }
      let client = try proxy.connect().request("CONNECT", origin.authority)
      try proxy.expect("the request") { $0.value(.downstreamReceived) > 0 }
      client.abort()
      try proxy.expect("the client to be gone") { $0.value(.connectionsOpen, .downstream) == 0 }
    }
  }
}
