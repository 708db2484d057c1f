// https origins: what is verified, what is stored, and what is said when TLS fails, in each way it can.

import Configuration
import Platform
import Support
import TLS
import Telemetry
import Testing

@Suite struct SecureOriginTests {
  private let authority: TestAuthority

  init() throws { authority = try TestAuthority() }

  /// A proxy that trusts the test's authority, and an origin that shows a certificate.
  private func secure(
    showing identity: TLSIdentity? = nil,
    configure: (inout Configuration, WireOrigin) throws -> Void = { _, _ in },
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      tls: TLSContext(serverShowing: identity ?? authority.identity("origin.test")),
      configure: { configuration, origin in
        configuration.upstream.ca = .file(authority.file)
        try configure(&configuration, origin)
      }, body)
  }

  // MARK: What works

  @Test("an https origin is one as any other, whichever way in is taken: one key, one store")
  func stored() throws {
    try secure { origin, proxy in
      let client = try proxy.connect().get(origin.url("/x"))
      let request = try origin.serve(200, ["Cache-Control: max-age=60"], "secret")
      #expect(request["Host"] == origin.authority)
      try client.expectResponse(200, content: "secret")
      try client.get(origin.url("/x"))
      let hit = try client.expectResponse(200, content: "secret")
      #expect(hit["Cache-Status"]?.contains("hit") == true)
      try client.get("/HTTPS///\(origin.authority)/x")
      let prefix = try client.expectResponse(200, content: "secret")
      #expect(prefix["Cache-Status"]?.contains("hit") == true)
      try origin.expectNothingElse()
    }
  }

  @Test("the same path in clear is another resource")
  func otherScheme() throws {
    try secure { origin, proxy in
      let client = try proxy.connect().get(origin.url("/x"))
      try origin.serve(200, ["Cache-Control: max-age=60"], "secret")
      try client.expectResponse(200, content: "secret")
      try client.get("http://\(origin.authority)/x")
      try origin.acceptBare().close()
      try client.expectError(502, origin.authority)
    }
  }

  @Test("a kept connection serves the next request, and a ticket the next connection")
  func reused() throws {
    try secure { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let first = try origin.accept()
      try first.expectRequest()
      try first.respond(200, [], "one")
      try client.expectResponse(200, content: "one")
      try client.get(origin.url("/2"))
      try first.expectRequest()
      try first.respond(200, ["Connection: close"], "two")
      try client.expectResponse(200, content: "two")
      try client.get(origin.url("/3"))
      let bare = try origin.acceptBare()
      let session = try bare.serveTLS(try #require(origin.tls))
      #expect(session.agreement?.isResumed == true)
      try bare.expectRequest()
      try bare.respond(200, [], "three")
      try client.expectResponse(200, content: "three")
    }
  }

  @Test("large content comes through whole, both ways")
  func large() throws {
    try secure { origin, proxy in
      let content = patterned(3_000_000, seed: 5)
      let client = try proxy.connect()
      let upload = patterned(700_000, seed: 6)
      let sending = try Background {
        try client.send(
          Array(
            "POST \(origin.url("/up")) HTTP/1.1\r\nHost: a\r\nContent-Length: \(upload.count)\r\n\r\n"
              .utf8) + upload)
      }
      let upstream = try origin.accept()
      let request = try upstream.expectRequest()
      try sending.join()
      #expect(request.content == upload)
      try upstream.respond(200, [], "taken")
      try client.expectResponse(200, content: "taken")
      try client.get(origin.url("/down"))
      try upstream.expectRequest()
      let answering = try Background {
        try upstream.send(
          Array(
            "HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\nContent-Length: \(content.count)\r\n\r\n"
              .utf8) + content)
      }
      #expect(try client.expectAnyResponse().content == content)
      try answering.join()
    }
  }

  @Test("host and certificate are compared as RFC 9110 §4.3.4 wants, addresses included")
  func addresses() throws {
    try secure(showing: authority.identity("127.0.0.1")) { origin, proxy in
      let client = try proxy.connect().get("https://127.0.0.1:\(origin.port)/")
      try origin.serve(200, [], "here")
      try client.expectResponse(200, content: "here")
    }
  }

  // MARK: Certificates

  enum BadCertificate: String, CaseIterable {
    case expired, notYetValid, otherHost, unknownAuthority, selfSigned
  }

  private func identity(_ kind: BadCertificate) throws -> (TLSIdentity, String) {
    let day: Int64 = 86_400
    switch kind {
    case .expired:
      return (try authority.identity("origin.test", now: TestAuthority.now - 90 * day), "expired")
    case .notYetValid:
      return (try authority.identity("origin.test", now: TestAuthority.now + day), "not yet valid")
    case .otherHost:
      return (try authority.identity("other.test"), "hostname mismatch")
    case .unknownAuthority:
      return (try TestAuthority().identity("origin.test"), "unable to get local issuer")
    case .selfSigned:
      let made = try CertificateAuthority.make(
        name: "origin.test", permitted: [], validFor: 3, now: TestAuthority.now)
      return (
        TLSIdentity(certificate: made.certificate, chain: [], key: made.key), "self-signed"
      )
    }
  }

  @Test(
    "a certificate that is not right is 502, says what is wrong with whose, and nothing is asked",
    arguments: BadCertificate.allCases)
  func badCertificate(kind: BadCertificate) throws {
    let (identity, reason) = try identity(kind)
    try secure(showing: identity) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      #expect(throws: TLSFailure.self) { try origin.accept() }
      let answer = try client.expectError(502, reason, type: "tls_certificate_error")
      #expect(answer.text.contains("subject \(identity.certificate.summary.subject)"))
      #expect(answer.text.contains("issuer \(identity.certificate.summary.issuer)"))
      #expect(proxy.registry.value(.upstreamConnectFailures, .tls) == 1)
      let record = try #require(proxy.server.recentEndings().first)
      #expect(record.verdict.cause == .tlsRefused)
      #expect(record.verdict.reasons.contains { $0.contains(reason) })
      #expect("\(record.evidence.ending)" == "upstream tls abort")
    }
  }

  @Test("a host may be named for which certificates are not looked at, and no other")
  func unverified() throws {
    let (identity, _) = try identity(.unknownAuthority)
    try secure(
      showing: identity,
      configure: { configuration, _ in
        configuration.upstream.unverifiedHosts = [try HostPattern(reading: "origin.test")]
      }
    ) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, [], "whoever")
      try client.expectResponse(200, content: "whoever")
      try client.get("https://also.test:\(origin.port)/")
      #expect(throws: TLSFailure.self) { try origin.accept() }
      try client.expectError(502, "refused", type: "tls_certificate_error")
    }
  }

  @Test(
    "whom to trust can be changed while the proxy runs, and kept connections go with the old trust")
  func reload() throws {
    try secure { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let kept = try origin.accept()
      try kept.expectRequest()
      try kept.respond(200, [], "trusted")
      try client.expectResponse(200, content: "trusted")
      let other = try TestAuthority()
      defer { withExtendedLifetime(other) {} }
      try proxy.reloadAndWait { $0.upstream.ca = .file(other.file) }
      try kept.expectGone()
      try client.get(origin.url("/2"))
      #expect(throws: TLSFailure.self) { try origin.accept() }
      try client.expectError(502, "unable to get local issuer", type: "tls_certificate_error")
    }
  }

  @Test("without a readable file of authorities no https origin is asked, and http goes on")
  func unreadableTrust() throws {
    try secure(configure: { configuration, _ in configuration.upstream.ca = .file("/nowhere.pem") })
    {
      origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try client.expectError(500, "/nowhere.pem", type: "proxy_configuration_error")
      origin.tls = nil
      try client.get(origin.url("/"))
      // The connection that was made for nothing.
      try origin.acceptBare().expectEnd()
      try origin.serve(200, [], "in clear")
      try client.expectResponse(200, content: "in clear")
    }
  }

  // MARK: Handshakes that fail

  /// What a server says in clear where its part of a handshake should be.
  static let refusals: [(name: String, bytes: [UInt8], type: String, sentence: String)] = [
    ("alert", [21, 3, 3, 0, 2, 2, 40], "tls_alert_received", "handshake_failure"),
    ("old protocol", [21, 3, 1, 0, 2, 2, 70], "tls_alert_received", "protocol_version"),
    ("unknown name", [21, 3, 3, 0, 2, 2, 112], "tls_alert_received", "unrecognized_name"),
    (
      "plain HTTP", Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8), "tls_protocol_error",
      "does not speak TLS"
    ),
    (
      "record of 64 KiB", [22, 3, 3, 0xFF, 0xFF] + Array(repeating: 2, count: 70_000),
      "tls_protocol_error", "record"
    ),
    ("noise", [22, 3, 3, 0, 5, 2, 0, 0, 1, 9], "tls_protocol_error", "TLS with"),
  ]

  @Test("each refusal of a handshake has its type and its sentence", arguments: 0..<refusals.count)
  func refusal(index: Int) throws {
    let refusal = Self.refusals[index]
    try secure { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.acceptBare()
      _ = try upstream.expectBytesOrEnd()
      upstream.trySending(refusal.bytes)
      try client.expectError(502, refusal.sentence, type: refusal.type)
      upstream.close()
    }
  }

  @Test("an end and a reset in the middle of a handshake are told apart", arguments: [true, false])
  func brokenHandshake(isReset: Bool) throws {
    try secure { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.acceptBare()
      _ = try upstream.expectBytesOrEnd()
      if isReset { upstream.abort() } else { upstream.finish() }
      try client.expectError(
        502, isReset ? "ECONNRESET" : "closed the connection in the middle of the TLS handshake",
        type: "connection_terminated")
    }
  }

  @Test("a handshake that does not end is given up in time")
  func slowHandshake() throws {
    try secure(configure: { configuration, _ in
      configuration.upstream.connectTimeout = .milliseconds(100)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.acceptBare()
      try client.expectError(504, "did not complete the TLS handshake", type: "connection_timeout")
      upstream.close()
    }
  }

  // MARK: Endings

  @Test(
    "an answer that ends with the connection is whole only if the origin says so (close_notify)")
  func truncated() throws {
    try secure { origin, proxy in
      let head = "HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\nConnection: close\r\n\r\n"
      let client = try proxy.connect().get(origin.url("/cut"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head + "half of")
      try client.expectHead(200)
      try client.expectContent("half of")
      upstream.finish(isSilent: true)
      try client.expectIncomplete()
      // Nothing of it is kept.
      let next = try proxy.connect().get(origin.url("/cut"))
      let again = try origin.accept()
      try again.expectRequest()
      try again.send(head + "all of it")
      again.finish()
      try next.expectResponse(200, content: "all of it")
      try next.get(origin.url("/cut"))
      try next.expectResponse(200, content: "all of it")
    }
  }

  @Test("content with a length that breaks off over TLS is a cut for the client as well")
  func cutInContent() throws {
    try secure { origin, proxy in
      let client = try proxy.connect().get(origin.url("/long"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(
        Array(
          "HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\nContent-Length: 200000\r\n\r\n".utf8)
          + patterned(100_000, seed: 1))
      try client.expectHead(200)
      try client.expectContent(100_000)
      upstream.finish(isSilent: true)
      try client.expectIncomplete()
    }
  }

  @Test("an alert in the middle of an answer ends it")
  func alertInContent() throws {
    try secure { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      // In clear where a record is expected: no answer can be made of that.
      upstream.forgetTLS()
      try upstream.send([21, 3, 3, 0, 2, 2, 80])
      try client.expectError(502, "broke before an answer came", type: "tls_protocol_error")
    }
  }
}
