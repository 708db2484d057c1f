// https origins that speak TLS in ways of their own: what is refused, with which words, and what is lived with. For
// clients in clear, and for those inside of a decrypted tunnel.

import COpenSSL
import Configuration
import Platform
import Support
import TLS
import TLSPeer
import Telemetry
import Testing

@Suite struct SecureOriginFaultTests {
  private let authority: TestAuthority

  init() throws { authority = try TestAuthority() }

  private func proxy(
    configure: (inout Configuration, WireOrigin) throws -> Void = { _, _ in },
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      tls: authority.server("origin.test"),
      configure: { configuration, origin in
        configuration.upstream.ca = .file(authority.file)
        configuration.intercept.hosts = [try HostPattern(reading: "origin.test")]
        configuration.intercept.authority = authority.authority
        try configure(&configuration, origin)
      }, body)
  }

  /// A client that asks for a path, in clear or inside of a tunnel.
  private func ask(
    _ path: String, of origin: WireOrigin, _ proxy: TestProxy, inTunnel: Bool = false
  ) throws -> WireClient {
    let client = try proxy.connect()
    guard inTunnel else { return try client.get(origin.url(path)) }
    try client.request("CONNECT", origin.authority)
    #expect(try client.expectConnectHead().status == 200)
    try client.beginTLS(TLSContext(clientTrusting: .file(authority.file)), host: "origin.test")
    return try client.send("GET \(path) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
  }

  /// The next connection to the origin, on which nothing has been said yet.
  private func peer(_ origin: WireOrigin, _ options: TLSPeer.Options = .init()) throws -> TLSPeer {
    let identity = try authority.identity("origin.test")
    return try .server(
      origin.acceptBare().surrender(), certificates: identity.certificate.pem,
      key: identity.key.pem, options)
  }

  /// An origin that has read a request.
  private func asked(_ origin: WireOrigin, _ options: TLSPeer.Options = .init()) throws -> TLSPeer {
    let peer = try peer(origin, options)
    try peer.handshake()
    _ = try peer.read(until: "\r\n\r\n")
    return peer
  }

  @Test("an early refusal over TLS reaches a client whose upload the origin does not read")
  func earlyRefusal() throws {
    try proxy { origin, proxy in
      let client = try proxy.connect()
      let length = 16 << 20
      try client.send(
        "POST \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n"
          + "Content-Length: \(length)\r\n\r\n")
      let sending = try Background {
        client.trySending([UInt8](repeating: 0x61, count: length))
      }
      let upstream = try origin.accept()
      try upstream.shrinkReceiveBuffer(to: 16 << 10)
      try upstream.expectHead()
      try upstream.expectContent(100_000)
      // It refuses and is gone at once, over unread bytes: what we go on writing fails.
      try upstream.respond(413, ["Connection: close"], "too much")
      upstream.close()
      try client.expectResponse(413, ["Connection": "close"], content: "too much")
      try sending.join()
    }
  }

  // MARK: Handshakes

  @Test(
    "an origin that speaks nothing newer than TLS 1.1 is refused, in words",
    arguments: [TLS1_VERSION, TLS1_1_VERSION], [false, true])
  func oldProtocol(version: Int32, inTunnel: Bool) throws {
    try proxy { origin, proxy in
      let client = try ask("/", of: origin, proxy, inTunnel: inTunnel)
      let old = try peer(origin, .version(version))
      #expect(throws: TLSPeerError.self) { try old.handshake() }
      try client.expectError(502, "protocol", type: "tls_alert_received")
    }
  }

  @Test("an origin that insists on an old protocol gets our alert")
  func insistent() throws {
    try proxy { origin, proxy in
      let client = try ask("/", of: origin, proxy)
      let upstream = try origin.acceptBare()
      _ = try upstream.expectBytesOrEnd()
      // A ServerHello with TLS 1.0.
      let hello: [UInt8] =
        [2, 0, 0, 38, 3, 1] + [UInt8](repeating: 9, count: 32) + [0, 0xC0, 9, 0]
      try upstream.send([22, 3, 1, 0, UInt8(hello.count)] + hello)
      try client.expectError(502, "unsupported protocol", type: "tls_protocol_error")
      upstream.close()
    }
  }

  @Test(
    "an origin with no cipher that keeps secrets is refused; one of yesterday is not",
    arguments: [
      ("AES128-SHA", false), ("AES256-GCM-SHA384", false), ("ECDHE-ECDSA-NULL-SHA", false),
      ("AECDH-AES256-SHA", false), ("ECDHE-ECDSA-AES256-SHA", true),
      ("ECDHE-ECDSA-AES128-GCM-SHA256", true), ("ECDHE-ECDSA-CHACHA20-POLY1305", true),
    ])
  func ciphers(cipher: String, isGood: Bool) throws {
    try proxy { origin, proxy in
      let client = try ask("/", of: origin, proxy)
      var options = TLSPeer.Options.version(TLS1_2_VERSION)
      options.ciphers = cipher + ":@SECLEVEL=0"
      if isGood {
        let upstream = try asked(origin, options)
        try upstream.write("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok")
        try client.expectResponse(200, content: "ok")
        upstream.close()
      } else {
        let weak = try peer(origin, options)
        #expect(throws: TLSPeerError.self) { try weak.handshake() }
        try client.expectError(502, "handshake_failure", type: "tls_alert_received")
      }
    }
  }

  @Test("an origin that does not speak HTTP/1.1 says so, and so do we")
  func protocols() throws {
    try proxy { origin, proxy in
      let client = try ask("/", of: origin, proxy)
      var options = TLSPeer.Options()
      options.refusesProtocols = true
      let other = try peer(origin, options)
      #expect(throws: TLSPeerError.self) { try other.handshake() }
      try client.expectError(502, "no_application_protocol", type: "tls_alert_received")
    }
  }

  @Test(
    "an origin that asks for a certificate gets none: fine if it may be, else an error that says so",
    arguments: [TLS1_2_VERSION, TLS1_3_VERSION], [false, true])
  func clientCertificate(version: Int32, isNeeded: Bool) throws {
    try proxy { origin, proxy in
      let client = try ask("/", of: origin, proxy)
      var options = TLSPeer.Options.version(version)
      options.asksForCertificate = true
      options.needsCertificate = isNeeded
      guard isNeeded else {
        let upstream = try asked(origin, options)
        try upstream.write("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok")
        try client.expectResponse(200, content: "ok")
        return
      }
      let strict = try peer(origin, options)
      #expect(throws: TLSPeerError.self) { try strict.handshake() }
      strict.close()
      try client.expectError(
        502, version == TLS1_2_VERSION ? "handshake_failure" : "certificate_required",
        type: "tls_alert_received")
    }
  }

  @Test(
    "a handshake in single bytes is one all the same", arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
  func singleBytes(version: Int32) throws {
    try proxy { origin, proxy in
      let client = try ask("/", of: origin, proxy)
      let slow = try peer(origin, .version(version))
      slow.pieceSize = 1
      try slow.handshake()
      _ = try slow.read(until: "\r\n\r\n")
      try slow.write("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok")
      try client.expectResponse(200, content: "ok")
    }
  }

  @Test("content that comes while the handshake is under way waits for it, behind the head")
  func uploadDuringHandshake() throws {
    try proxy { origin, proxy in
      let content = patterned(100_000, seed: 3)
      let client = try proxy.connect()
      let head =
        "POST \(origin.url("/up")) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 100000\r\n\r\n"
      try client.send(Array(head.utf8) + content[..<1000])
      let upstream = try origin.acceptBare()
      try client.send(Array(content[1000...]))
      // Answered by the same worker: it has had its turn with what came before.
      try proxy.connect().get("/nowhere").expectResponse(404)
      try upstream.serveTLS(try #require(origin.tls))
      #expect(try upstream.expectRequest().content == content)
      try upstream.respond(200, [], "taken")
      try client.expectResponse(200, content: "taken")
    }
  }

  // MARK: While it is open

  @Test(
    "an origin that wants a new handshake in the middle does not get it", arguments: [false, true])
  func renegotiation(inTunnel: Bool) throws {
    try proxy { origin, proxy in
      let client = try ask("/", of: origin, proxy, inTunnel: inTunnel)
      let upstream = try asked(origin, .version(TLS1_2_VERSION))
      SSL_renegotiate(upstream.ssl)
      SSL_do_handshake(upstream.ssl)
      try upstream.flush()
      // What it makes of our refusal is its own affair.
      do {
        _ = try upstream.read()
      } catch let error as TLSPeerError {
        #expect("\(error)".contains("no renegotiation"))
      }
      upstream.close()
      try client.expectResponse(502)
      let next = try ask("/next", of: origin, proxy, inTunnel: inTunnel)
      try origin.serve(200, [], "served")
      try next.expectResponse(200, content: "served")
    }
  }

  @Test("an origin may change keys in the middle of content, and have ours changed")
  func keyUpdate() throws {
    try proxy { origin, proxy in
      let content = patterned(200_000)
      let client = try ask("/", of: origin, proxy)
      let upstream = try asked(origin, .version(TLS1_3_VERSION))
      try upstream.write(
        "HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\nContent-Length: \(content.count)\r\n\r\n"
      )
      for start in stride(from: 0, to: content.count, by: 10_000) {
        SSL_key_update(upstream.ssl, SSL_KEY_UPDATE_REQUESTED)
        try upstream.handshake()
        try upstream.write(Array(content[start..<min(content.count, start + 10_000)]))
      }
      #expect(try client.expectResponse(200).content == content)
      // Kept, and good for another one under the new keys.
      try client.get(origin.url("/again"))
      _ = try upstream.read(until: "\r\n\r\n")
      try upstream.write("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok")
      try client.expectResponse(200, content: "ok")
    }
  }

  @Test("an idle origin that sends nothing but key updates is kept, and then let go in time")
  func idleKeyUpdates() throws {
    try proxy(configure: { configuration, _ in
      configuration.upstream.idleTimeout = .milliseconds(300)
    }) { origin, proxy in
      let client = try ask("/", of: origin, proxy)
      let upstream = try asked(origin, .version(TLS1_3_VERSION))
      try upstream.write("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok")
      try client.expectResponse(200, content: "ok")
      for _ in 0..<200 {
        SSL_key_update(upstream.ssl, SSL_KEY_UPDATE_NOT_REQUESTED)
        try upstream.handshake()
      }
      #expect(throws: TLSPeerError.closed) { try upstream.read() }
    }
  }

  @Test(
    "a record larger than any may be, in the middle of content, is a cut", arguments: [false, true])
  func largeRecord(inTunnel: Bool) throws {
    try proxy { origin, proxy in
      let client = try ask("/", of: origin, proxy, inTunnel: inTunnel)
      let upstream = try asked(origin)
      try upstream.write(
        "HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\nContent-Length: 40000\r\n\r\nhalf")
      try client.expectHead(200)
      try client.expectContent("half")
      try upstream.writeRaw([23, 3, 3, 0x41, 0x01] + [UInt8](repeating: 7, count: 0x4101))
      try client.expectIncomplete()
      try expectNothingStored(origin, proxy)
    }
  }

  private func expectNothingStored(_ origin: WireOrigin, _ proxy: TestProxy) throws {
    try proxy.expectStored()
    let next = try proxy.connect().get(origin.url("/"))
    try origin.serve(200, [], "anew")
    try next.expectResponse(200, content: "anew")
  }

  /// How content may be framed, and how it may break off.
  enum Cut: CaseIterable { case end, reset, alert }

  static let framings = [
    (head: "Content-Length: 100\r\n\r\n", begin: "0123456789", seen: "0123456789"),
    (head: "Transfer-Encoding: chunked\r\n\r\n", begin: "a\r\n0123456789\r\n", seen: "0123456789"),
    (head: "Connection: close\r\n\r\n", begin: "0123456789", seen: "0123456789"),
  ]

  @Test(
    "content that breaks off is a cut in every framing, and nothing of it is stored as whole",
    arguments: 0..<framings.count, Cut.allCases)
  func cut(index: Int, how: Cut) throws {
    let framing = Self.framings[index]
    for inTunnel in [false, true] {
      try proxy { origin, proxy in
        let client = try ask("/", of: origin, proxy, inTunnel: inTunnel)
        let upstream = try asked(origin)
        try upstream.write(
          "HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\n\(framing.head)\(framing.begin)")
        try client.expectHead(200)
        try client.expectContent(framing.seen)
        switch how {
        case .end: upstream.finishSocket()
        case .reset: upstream.reset()
        case .alert: try upstream.writeRaw([21, 3, 3, 0, 2, 2, 80])
        }
        try client.expectIncomplete()
        upstream.close()
        try expectNothingStored(origin, proxy)
      }
    }
  }

  @Test("an origin that says that nothing follows (close_notify) need not close to be believed")
  func halfClose() throws {
    try proxy { origin, proxy in
      let client = try ask("/", of: origin, proxy)
      let upstream = try asked(origin)
      try upstream.write("HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\n\r\nall of it")
      upstream.finish()
      try client.expectResponse(200, content: "all of it")
      try proxy.expectStored()
      try proxy.connect().get(origin.url("/")).expectResponse(200, content: "all of it")
    }
  }

  @Test("a connection that was judged by another trust is neither kept nor a source of tickets")
  func trustChanged() throws {
    try proxy { origin, proxy in
      let client = try ask("/1", of: origin, proxy)
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let other = try TestAuthority()
      defer { withExtendedLifetime(other) {} }
      try proxy.reloadAndWait { $0.upstream.ca = .file(other.file) }
      try upstream.respond(200, [], "begun under the old trust")
      try client.expectResponse(200, content: "begun under the old trust")
      try upstream.expectEnd()
      try client.get(origin.url("/2"))
      #expect(throws: TLSFailure.self) { try origin.accept() }
      try client.expectError(502, "unable to get local issuer", type: "tls_certificate_error")
    }
  }
}
