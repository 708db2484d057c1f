// Clients that speak TLS in ways of their own, to a TLS listener and inside of a decrypted tunnel: what is refused, what
// is lived with, and that everybody else is served meanwhile.

import COpenSSL
import Configuration
import Platform
import Support
import TLS
import TLSPeer
import Telemetry
import Testing

@Suite struct SecureClientFaultTests {
  /// Where TLS is spoken.
  enum Way: CaseIterable { case listener, tunnel }

  private let authority: TestAuthority

  init() throws { authority = try TestAuthority() }

  /// A proxy with two listeners: the first in clear, the second over TLS; tunnels to the origin, which is an https
  /// one, are decrypted.
  private func proxy(
    configure: (inout Configuration, WireOrigin) throws -> Void = { _, _ in },
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      tls: authority.server("origin.test"),
      configure: { configuration, origin in
        var secure = ListenerSettings(address: .loopback(port: 0))
        secure.certificateFile = "/test/server.pem"
        secure.keyFile = "/test/server.key"
        secure.identity = try authority.identity("proxy.test")
        configuration.listeners.append(secure)
        configuration.upstream.ca = .file(authority.file)
        configuration.intercept.hosts = [try HostPattern(reading: "origin.test")]
        configuration.intercept.authority = authority.authority
        try configure(&configuration, origin)
      }, body)
  }

  /// A socket on which TLS is to be begun.
  private func reach(_ way: Way, _ proxy: TestProxy, _ origin: WireOrigin) throws -> Int32 {
    switch way {
    case .listener: return try proxy.connect(listener: 1).surrender()
    case .tunnel:
      let client = try proxy.connect()
      try client.request("CONNECT", origin.authority)
      #expect(try client.expectConnectHead().status == 200)
      return client.surrender()
    }
  }

  private func peer(
    _ way: Way, _ proxy: TestProxy, _ origin: WireOrigin, _ options: TLSPeer.Options = .init(),
    session: OpaquePointer? = nil
  ) throws -> TLSPeer {
    try .client(
      reach(way, proxy, origin), host: way == .listener ? "proxy.test" : "origin.test", options,
      session: session)
  }

  /// A request for a path of the origin, as it is written there.
  private func request(_ way: Way, _ path: String, of origin: WireOrigin, _ fields: String = "")
    -> String
  {
    "GET \(way == .listener ? origin.url(path) : path) HTTP/1.1\r\nHost: \(origin.authority)\r\n\(fields)\r\n"
  }

  /// Asks for something and gets it.
  private func expectService(
    _ peer: TLSPeer, _ way: Way, _ origin: WireOrigin, _ path: String = "/x"
  ) throws {
    try peer.write(request(way, path, of: origin))
    try origin.serve(200, ["Connection: close"], "served")
    let message = try peer.readMessage()
    #expect(message.head.hasPrefix("HTTP/1.1 200"))
    #expect(message.content == Array("served".utf8))
  }

  private func failure(_ body: () throws -> Void) -> String {
    do { try body() } catch { return "\(error)" }
    return "no failure"
  }

  // MARK: Versions and ciphers

  @Test(
    "what is older than TLS 1.2 is refused with an alert that says so", arguments: Way.allCases,
    [TLS1_VERSION, TLS1_1_VERSION])
  func oldProtocol(way: Way, version: Int32) throws {
    try proxy { origin, proxy in
      let old = try peer(way, proxy, origin, .version(version))
      #expect(failure(old.handshake).contains("alert protocol version"))
      try proxy.expect("a failed handshake") { $0.value(.downstreamHandshakes, .failed) == 1 }
    }
  }

  static let weak = [
    "AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-ECDSA-NULL-SHA", "NULL-SHA256", "AECDH-AES256-SHA", "ADH-AES256-GCM-SHA384",
    "DHE-RSA-AES256-GCM-SHA384", "PSK-AES256-GCM-SHA384", "ECDHE-ECDSA-CAMELLIA256-SHA384",
    "ECDHE-ECDSA-AES256-CCM8",
  ]

  @Test(
    "a cipher without forward secrecy, authentication or authenticated encryption is refused",
    arguments: weak)
  func weakCipher(cipher: String) throws {
    try proxy { origin, proxy in
      var options = TLSPeer.Options.version(TLS1_2_VERSION)
      options.ciphers = cipher + ":@SECLEVEL=0"
      let weak = try peer(.listener, proxy, origin, options)
      let reason = failure(weak.handshake)
      // Some are not even in OpenSSL any more.
      #expect(reason.contains("handshake failure") || reason.contains("no ciphers available"))
    }
  }

  @Test(
    "TLS 1.2 and 1.3 serve, each with what it has to offer", arguments: Way.allCases,
    [TLS1_2_VERSION, TLS1_3_VERSION])
  func versions(way: Way, version: Int32) throws {
    try proxy { origin, proxy in
      let client = try peer(way, proxy, origin, .version(version))
      try client.handshake()
      try expectService(client, way, origin)
    }
  }

  // MARK: Handshakes

  @Test("a ClientHello in single bytes is one all the same", arguments: Way.allCases)
  func singleBytes(way: Way) throws {
    try proxy { origin, proxy in
      let client = try peer(way, proxy, origin)
      client.pieceSize = 1
      try client.handshake()
      client.pieceSize = .max
      try expectService(client, way, origin)
    }
  }

  @Test(
    "a client that ends, resets or alerts in the middle of a handshake leaves nothing behind",
    arguments: Way.allCases, ["end", "reset", "alert"])
  func broken(way: Way, how: String) throws {
    try proxy { origin, proxy in
      let client = try peer(way, proxy, origin)
      // The ClientHello is out; the rest never comes.
      SSL_do_handshake(client.ssl)
      try client.flush()
      switch how {
      case "end": client.finishSocket()
      case "reset": client.reset()
      default: try client.writeRaw([21, 3, 3, 0, 2, 2, 80])
      }
      try proxy.expect("a failed handshake") { $0.value(.downstreamHandshakes, .failed) == 1 }
      client.close()
      try proxy.expectQuiet()
    }
  }

  @Test("who speaks another protocol only is told so; HTTP/1.1 is taken out of several")
  func protocols() throws {
    try proxy { origin, proxy in
      for way in Way.allCases {
        var options = TLSPeer.Options()
        options.protocols = ["h2"]
        let other = try peer(way, proxy, origin, options)
        #expect(failure(other.handshake).contains("no application protocol"))
        options.protocols = ["h2", "http/1.1"]
        let both = try peer(way, proxy, origin, options)
        try both.handshake()
        try expectService(both, way, origin)
        options.protocols = []
        let none = try peer(way, proxy, origin, options)
        try none.handshake()
        try expectService(none, way, origin)
      }
    }
  }

  @Test("a client need not name whom it wants (SNI)", arguments: Way.allCases)
  func noName(way: Way) throws {
    try proxy { origin, proxy in
      let client = try TLSPeer.client(reach(way, proxy, origin), host: nil)
      try client.handshake()
      try expectService(client, way, origin)
    }
  }

  @Test("early data is not taken, and what was in it is asked of nobody", arguments: Way.allCases)
  func earlyData(way: Way) throws {
    try proxy { origin, proxy in
      let first = try peer(way, proxy, origin)
      try first.handshake()
      try expectService(first, way, origin)
      let session = try #require(SSL_get1_session(first.ssl))
      defer { SSL_SESSION_free(session) }
      // As if we had been offered it.
      SSL_SESSION_set_max_early_data(session, 16 << 10)
      first.close()
      let second = try peer(way, proxy, origin, session: session)
      let early = Array(request(way, "/early", of: origin).utf8)
      var written = 0
      _ = try second.run { SSL_write_early_data(second.ssl, early, early.count, &written) }
      #expect(written == early.count)
      try second.handshake()
      #expect(SSL_get_early_data_status(second.ssl) == SSL_EARLY_DATA_REJECTED)
      try second.write(request(way, "/late", of: origin))
      let served = try origin.serve(200, ["Connection: close"], "late")
      #expect(served.head.startLine == "GET /late HTTP/1.1")
      #expect(try second.readMessage().content == Array("late".utf8))
      try origin.expectNoFurtherConnection()
    }
  }

  @Test(
    "a session serves again, in TLS 1.2 as in 1.3", arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
  func resumption(version: Int32) throws {
    try proxy { origin, proxy in
      let first = try peer(.listener, proxy, origin, .version(version))
      try first.handshake()
      try expectService(first, .listener, origin)
      let session = try #require(SSL_get1_session(first.ssl))
      defer { SSL_SESSION_free(session) }
      let second = try peer(.listener, proxy, origin, .version(version), session: session)
      try second.handshake()
      #expect(SSL_session_reused(second.ssl) == 1)
      try expectService(second, .listener, origin)
    }
  }

  // MARK: While it is open

  @Test(
    "a new handshake in the middle is refused, and everybody else goes on", arguments: Way.allCases)
  func renegotiation(way: Way) throws {
    try proxy { origin, proxy in
      let client = try peer(way, proxy, origin, .version(TLS1_2_VERSION))
      try client.handshake()
      try expectService(client, way, origin)
      SSL_renegotiate(client.ssl)
      #expect(failure(client.handshake).contains("no renegotiation"))
      client.close()
      let next = try peer(way, proxy, origin)
      try next.handshake()
      try expectService(next, way, origin, "/y")
    }
  }

  @Test("keys may be changed at any time, asked for from either side", arguments: Way.allCases)
  func keyUpdate(way: Way) throws {
    try proxy { origin, proxy in
      let client = try peer(way, proxy, origin, .version(TLS1_3_VERSION))
      try client.handshake()
      for kind in [SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED] {
        SSL_key_update(client.ssl, kind)
        try client.handshake()
        try expectService(client, way, origin, "/\(kind)")
      }
      let content = patterned(600_000)
      try client.write(request(way, "/big", of: origin))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let sender = try Background {
        try upstream.send(head: 200, ["Content-Length: \(content.count)"])
        try upstream.send(content)
      }
      var received: [UInt8] = []
      while !received.suffix(64).elementsEqual(content.suffix(64)) {
        SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED)
        try client.handshake()
        received += try client.read()
      }
      try sender.join()
      #expect(received.suffix(content.count).elementsEqual(content))
    }
  }

  @Test("key updates without end keep nobody else waiting", arguments: Way.allCases)
  func keyUpdateFlood(way: Way) throws {
    try proxy { origin, proxy in
      let flooding = try peer(way, proxy, origin, .version(TLS1_3_VERSION))
      try flooding.handshake()
      let isOver = Monitor(false)
      let socket = Flood(flooding)
      let flood = try Background {
        while !isOver.withLock({ $0 }) { try socket.update() }
      }
      let other = try peer(.listener, proxy, origin)
      try other.handshake()
      for number in 0..<30 { try expectService(other, .listener, origin, "/\(number)") }
      isOver.withLock { $0 = true }
      try flood.join()
      // It has been read all the same, and is served like anybody.
      try expectService(flooding, way, origin, "/last")
    }
  }

  /// One thread at a time has it.
  private final class Flood: @unchecked Sendable {
    private let peer: TLSPeer

    init(_ peer: TLSPeer) { self.peer = peer }

    func update() throws {
      SSL_key_update(peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED)
      try peer.handshake()
    }
  }

  @Test(
    "a client that asks for key updates and takes none of the answers is idle, and others are served",
    arguments: Way.allCases)
  func deafKeyUpdates(way: Way) throws {
    try proxy(configure: { configuration, _ in
      configuration.limits.idleTimeout = .milliseconds(500)
    }) { origin, proxy in
      let descriptor = try reach(way, proxy, origin)
      try Socket.setReceiveBuffer(descriptor, bytes: 4096)
      let deaf = try TLSPeer.client(
        descriptor, host: way == .listener ? "proxy.test" : "origin.test", .version(TLS1_3_VERSION),
        seconds: 1)
      try deaf.handshake()
      // Until nothing more is taken: then it is stuck on our answers.
      var isStuck = false
      for _ in 0..<4000 where !isStuck {
        for _ in 0..<50 {
          SSL_key_update(deaf.ssl, SSL_KEY_UPDATE_REQUESTED)
          SSL_do_handshake(deaf.ssl)
        }
        do { try deaf.flush() } catch { isStuck = true }
      }
      // Not that it is stuck, but that it is idle, ends it; others are served meanwhile.
      let other = try peer(.listener, proxy, origin)
      try other.handshake()
      try expectService(other, .listener, origin)
      other.close()
      try proxy.expectQuiet()
    }
  }

  @Test("records of 16 KiB are read, larger ones are refused", arguments: Way.allCases)
  func records(way: Way) throws {
    try proxy { origin, proxy in
      let content = patterned(100_000, seed: 3)
      let client = try peer(way, proxy, origin)
      try client.handshake()
      let target = way == .listener ? origin.url("/up") : "/up"
      try client.write(
        Array(
          "POST \(target) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: \(content.count)\r\n\r\n"
            .utf8) + content)
      #expect(try origin.serve(200, ["Connection: close"], "taken").content == content)
      #expect(try client.readMessage().content == Array("taken".utf8))
      try client.writeRaw([23, 3, 3, 0x41, 0x01] + [UInt8](repeating: 7, count: 0x4101))
      let reason = failure { _ = try client.read() }
      #expect(reason.contains("record overflow"), "\(reason)")
    }
  }

  @Test("a client that has said all it wants (close_notify) still gets its answer")
  func halfClose() throws {
    try proxy { origin, proxy in
      for way in Way.allCases {
        let client = try peer(way, proxy, origin)
        try client.handshake()
        try client.write(request(way, "/last", of: origin))
        client.finish()
        try origin.serve(200, ["Connection: close"], "served")
        #expect(try client.readMessage().content == Array("served".utf8))
        #expect(throws: TLSPeerError.closed) { try client.read() }
      }
    }
  }

  @Test(
    "an upload whose connection ends without close_notify is cut at the origin too",
    arguments: Way.allCases, ["Content-Length: 100", "Transfer-Encoding: chunked"])
  func cutUpload(way: Way, framing: String) throws {
    try proxy { origin, proxy in
      let client = try peer(way, proxy, origin)
      try client.handshake()
      let target = way == .listener ? origin.url("/up") : "/up"
      try client.write(
        "POST \(target) HTTP/1.1\r\nHost: \(origin.authority)\r\n\(framing)\r\n\r\n5\r\nhello\r\n")
      let upstream = try origin.accept()
      try upstream.expectHead()
      client.finishSocket()
      try upstream.expectIncomplete()
      try proxy.expectQuiet()
    }
  }

  // MARK: The wrong port

  @Test(
    "plain HTTP on a TLS port is told so, whatever its method",
    arguments: [
      "GET", "HEAD", "POST", "PUT", "CONNECT", "OPTIONS", "DELETE", "PATCH", "PROPFIND", "PRI",
    ])
  func plainHTTP(method: String) throws {
    try proxy { origin, proxy in
      let client = try proxy.connect(listener: 1)
      try client.send("\(method) http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n")
      try client.expectError(400, "https://", closes: true)
      #expect(proxy.registry.value(.downstreamHandshakes, .plainHTTP) == 1)
    }
  }

  @Test("TLS on a port for plain HTTP gets a clear 400")
  func secureHTTP() throws {
    try proxy { origin, proxy in
      let client = try proxy.connect()
      // A ClientHello as it begins.
      try client.send([22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3] + patterned(500))
      try client.expectError(400, "TLS", closes: true)
    }
  }
}
