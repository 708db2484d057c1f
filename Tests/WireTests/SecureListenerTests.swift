// Listeners that speak TLS: everything that works in clear, and what only TLS can get wrong.

import Configuration
import Platform
import Support
import TLS
import Telemetry
import Testing

@Suite struct SecureListenerTests {
  private let authority: TestAuthority

  init() throws { authority = try TestAuthority() }

  private func trust() throws -> TLSContext {
    try TLSContext(clientTrusting: .file(authority.file))
  }

  /// A proxy whose one listener speaks TLS.
  private func secure(
    configure: @escaping (inout Configuration, WireOrigin) throws -> Void = { _, _ in },
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      configure: { configuration, origin in
        configuration.listeners[0].certificateFile = "/test/server.pem"
        configuration.listeners[0].keyFile = "/test/server.key"
        configuration.listeners[0].identity = try authority.identity("proxy.test")
        try configure(&configuration, origin)
      }, body)
  }

  private func connect(_ proxy: TestProxy) throws -> WireClient {
    let client = try proxy.connect()
    try client.beginTLS(trust(), host: "proxy.test")
    return client
  }

  @Test("misses, hits, ranges and errors are answered as in clear")
  func answers() throws {
    try secure { origin, proxy in
      let client = try connect(proxy).get(origin.url("/x"))
      try origin.serve(200, ["Cache-Control: max-age=60"], "0123456789")
      try client.expectResponse(200, content: "0123456789")
      try client.get(origin.url("/x"))
      #expect(
        try client.expectResponse(200, content: "0123456789")["Cache-Status"]?.contains("hit")
          == true)
      try client.get(origin.url("/x"), "Range: bytes=2-4").expectResponse(206, content: "234")
      try client.get("/nowhere").expectError(404, "no mirror")
      #expect(proxy.registry.value(.downstreamHandshakes, .succeeded) == 1)
    }
  }

  @Test("a drain ends connections whose handshake is under way, as it does idle ones")
  func drained() throws {
    try secure { _, proxy in
      let idle = try connect(proxy)
      let silent = try proxy.connect()
      let begun = try proxy.connect()
      try begun.send([0x16, 0x03, 0x01])
      try proxy.expect("three connections") { $0.value(.connectionsOpen, .downstream) == 3 }
      proxy.server.drain()
      try idle.expectEnd()
      try silent.expectGone()
      try begun.expectGone()
      try proxy.script.wait("the proxy", for: "being drained", .here(#fileID, #line)) {
        proxy.server.isDrained
      }
    }
  }

  @Test("a large file comes from the store whole, however slowly the client reads")
  func large() throws {
    let content = patterned(600_000, seed: 3)
    try secure { origin, proxy in
      let first = try connect(proxy).get(origin.url("/big"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let sending = try Background {
        try upstream.send(
          Array(
            "HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\nContent-Length: \(content.count)\r\n\r\n"
              .utf8) + content)
      }
      #expect(try first.expectAnyResponse().content == content)
      try sending.join()
      try proxy.expectStored()
      let slow = try proxy.connect()
      try slow.shrinkReceiveBuffer(to: 32 << 10)
      try slow.beginTLS(trust(), host: "proxy.test")
      try slow.get(origin.url("/big"))
      #expect(try slow.expectAnyResponse().content == content)
      try slow.get(origin.url("/big"), "Range: bytes=100000-599999")
      #expect(try slow.expectAnyResponse().content == Array(content[100_000...]))
    }
  }

  @Test("with a rate, what TLS has begun to send is gone on with")
  func rated() throws {
    let content = patterned(200_000, seed: 4)
    try secure(configure: { configuration, _ in
      configuration.rate.connection = try Rate(reading: "4MiB/s")
    }) { origin, proxy in
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 32 << 10)
      try client.beginTLS(trust(), host: "proxy.test")
      try client.get(origin.url("/big"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(
        Array(
          "HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\nContent-Length: \(content.count)\r\n\r\n"
            .utf8) + content)
      #expect(try client.expectAnyResponse().content == content)
    }
  }

  @Test("uploads come through, also in one piece with their head")
  func upload() throws {
    try secure { origin, proxy in
      let content = patterned(500_000, seed: 9)
      let client = try connect(proxy)
      let sending = try Background {
        try client.send(
          Array(
            "POST \(origin.url("/up")) HTTP/1.1\r\nHost: a\r\nContent-Length: \(content.count)\r\n\r\n"
              .utf8) + content)
      }
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest().content == content)
      try sending.join()
      try upstream.respond(200, [], "taken")
      try client.expectResponse(200, content: "taken")
    }
  }

  @Test("many requests in one record are answered in their order")
  func pipelined() throws {
    try secure { origin, proxy in
      let client = try connect(proxy).get(origin.url("/x"))
      try origin.serve(200, ["Cache-Control: max-age=60"], "x")
      try client.expectResponse(200, content: "x")
      let request = "GET \(origin.url("/x")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n"
      try client.send(String(repeating: request, count: 200))
      for _ in 0..<200 { try client.expectResponse(200, content: "x") }
    }
  }

  @Test("CONNECT through TLS is a tunnel whose ends are passed on")
  func tunnel() throws {
    try secure { origin, proxy in
      let client = try connect(proxy)
      try client.send("CONNECT \(origin.authority) HTTP/1.1\r\nHost: a\r\n\r\nearly")
      let far = try origin.accept()
      #expect(try client.expectConnectHead().status == 200)
      try far.expectBytes("early")
      let content = patterned(400_000, seed: 2)
      let sending = try Background { try far.send(content) }
      try client.expectBytes(content)
      try sending.join()
      try client.send("late")
      try far.expectBytes("late")
      client.finish()
      try far.expectEnd()
      far.finish()
      try client.expectEnd()
    }
  }

  @Test("plain HTTP gets 400 in clear, with what to do")
  func plainHTTP() throws {
    try secure { origin, proxy in
      try proxy.connect().get("/").expectError(400, "https://", closes: true)
      #expect(proxy.registry.value(.downstreamHandshakes, .plainHTTP) == 1)
    }
  }

  @Test("a client that does not trust the certificate is counted, and nothing else")
  func untrusted() throws {
    try secure { origin, proxy in
      let other = try TestAuthority()
      let client = try proxy.connect()
      #expect(throws: TLSFailure.self) {
        try client.beginTLS(TLSContext(clientTrusting: .file(other.file)), host: "proxy.test")
      }
      client.close()
      try proxy.expect("the failure to be counted") {
        $0.value(.downstreamHandshakes, .rejected) == 1
      }
    }
  }

  @Test("a handshake that is not gone on with ends in time")
  func slowHandshake() throws {
    try secure(configure: { configuration, _ in
      configuration.limits.headerTimeout = .milliseconds(100)
    }) { origin, proxy in
      let client = try proxy.connect().send([22, 3, 1])
      try client.expectGone()
      #expect(proxy.registry.value(.downstreamHandshakes, .timedOut) == 1)
    }
  }

  @Test("an answer that cannot be completed ends without close_notify")
  func cut() throws {
    try secure { origin, proxy in
      let client = try connect(proxy).get(origin.url("/cut"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, ["Cache-Control: max-age=60", "Content-Length: 100000"])
        .send(patterned(60_000))
      try client.expectHead(200)
      try client.expectContent(60_000)
      upstream.abort()
      try client.expectIncomplete()
      try client.expectReset()
    }
  }

  @Test("an answer that ends with the connection ends with close_notify")
  func closes() throws {
    try secure { origin, proxy in
      let client = try connect(proxy).get(origin.url("/x"), "Connection: close")
      try origin.serve(200, [], "all")
      try client.expectResponse(200, content: "all")
      try client.expectEnd()
    }
  }

  @Test("a new certificate is shown from the next connection on, and open ones go on")
  func renewed() throws {
    try secure { origin, proxy in
      let before = try connect(proxy)
      let later = try TestAuthority()
      defer { withExtendedLifetime(later) {} }
      let identity = try later.identity("proxy.test")
      proxy.reload { $0.listeners[0].identity = identity }
      try proxy.expect("the new certificate to be shown") { _ in
        guard let client = try? proxy.connect() else { return false }
        let context = try? TLSContext(clientTrusting: .file(later.file))
        return context.map { (try? client.beginTLS($0, host: "proxy.test")) != nil } ?? false
      }
      try before.get(origin.url("/x"))
      try origin.serve(200, [], "still")
      try before.expectResponse(200, content: "still")
    }
  }
}
