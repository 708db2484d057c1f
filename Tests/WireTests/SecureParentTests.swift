// Parent proxies that are asked over TLS: for http origins, https origins (TLS in TLS) and tunnels.

import Configuration
import Platform
import Support
import TLS
import Telemetry
import Testing

@Suite struct SecureParentTests {
  private let authority: TestAuthority

  init() throws { authority = try TestAuthority() }

  /// A proxy with a parent called `parent.test`.
  /// - Parameter shown: whose certificate the parent has.
  private func parented(
    showing shown: String = "parent.test", user: String? = nil,
    configure: (inout Configuration) throws -> Void = { _ in },
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      tls: authority.server(shown),
      configure: { configuration, parent in
        var proxy = ParentProxy(host: "parent.test", port: parent.port, isSecure: true)
        proxy.user = user
        proxy.password = user.map { _ in HiddenText("sesame") }
        configuration.upstream.parent = .proxy(proxy)
        configuration.upstream.ca = .file(authority.file)
        configuration.destinations.privateNetworks = []
        try configure(&configuration)
      },
      lookup: { host in
        host == "parent.test" ? .success([.loopbackV4]) : .failure(.notFound)
      }, body)
  }

  private let fresh = ["Cache-Control: max-age=600"]
  private static let connect = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"

  @Test("http origins are asked for in absolute form, and a connection of theirs is good for all")
  func plain() throws {
    try parented(user: "ci") { parent, proxy in
      let client = try proxy.connect().get("http://a.test/x")
      let upstream = try parent.accept()
      let request = try upstream.expectRequest("GET http://a.test/x HTTP/1.1")
      #expect(request["Proxy-Authorization"] == "Basic Y2k6c2VzYW1l")
      try upstream.respond(200, fresh, "content")
      try client.expectResponse(200, content: "content")
      try client.get("http://b.test/y")
      try upstream.expectRequest("GET http://b.test/y HTTP/1.1")
      try upstream.respond(407, ["Proxy-Authenticate: Basic realm=x", "Connection: close"])
      let refusal = try client.expectError(
        502, "parent-password-file", type: "proxy_configuration_error")
      #expect(refusal["Proxy-Authenticate"] == nil)
      try client.get("http://a.test/x").expectResponse(200, content: "content")
    }
  }

  @Test("https origins are spoken to inside of it, verified as ever, and tunnels do not mix")
  func secure() throws {
    let content = patterned(700_000)
    try parented(user: "ci") { parent, proxy in
      let client = try proxy.connect().get("https://a.test/x")
      let upstream = try parent.accept()
      let connect = try upstream.expectHead("CONNECT a.test:443 HTTP/1.1")
      #expect(connect["Proxy-Authorization"] == "Basic Y2k6c2VzYW1l")
      try upstream.send("HTTP/1.1 200 Connection esta")
      try upstream.send("blished\r\n\r\n")
      try upstream.serveTLS(authority.server("a.test"))
      #expect(try upstream.expectRequest("GET /x HTTP/1.1")["Proxy-Authorization"] == nil)
      let sending = try Background {
        try upstream.send(head: 200, ["Cache-Control: no-store", "Content-Length: 700000"])
        try upstream.send(content)
      }
      #expect(try client.expectResponse(200).content == content)
      try sending.join()
      // Kept, and good for this origin alone.
      try client.get("https://a.test/y")
      try upstream.expectRequest("GET /y HTTP/1.1")
      try upstream.respond(200, [], "more")
      try client.expectResponse(200, content: "more")
      try client.get("http://a.test/z")
      let other = try parent.accept()
      try other.expectRequest("GET http://a.test/z HTTP/1.1")
      try other.respond(200, [], "in clear")
      try client.expectResponse(200, content: "in clear")
      try client.get("https://b.test/")
      let wrong = try parent.accept()
      try wrong.expectHead("CONNECT b.test:443 HTTP/1.1")
      try wrong.send("HTTP/1.1 200 Fine\r\n\r\n")
      #expect(throws: TLSFailure.self) { try wrong.serveTLS(authority.server("a.test")) }
      try client.expectError(502, "certificate of b.test:443", type: "tls_certificate_error")
    }
  }

  @Test("the second handshake with the parent is shorter, whatever its connection is for")
  func resumed() throws {
    try parented { parent, proxy in
      for (index, target) in ["http://a.test/1", "https://a.test/2", "http://a.test/3"].enumerated()
      {
        let client = try proxy.connect().get(target)
        let upstream = try parent.acceptBare()
        let session = try upstream.serveTLS(#require(parent.tls))
        #expect(session.agreement?.isResumed == (index > 0))
        if target.hasPrefix("https") {
          try upstream.expectHead("CONNECT a.test:443 HTTP/1.1")
          try upstream.send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
          try client.expectError(502, "answered 403 when asked for a.test:443")
          // The ticket was used up.
          break
        }
        try upstream.expectRequest()
        try upstream.respond(200, ["Connection: close"])
        try client.expectResponse(200)
      }
    }
  }

  @Test(
    "tunnels go through it, either way, with what comes behind its head, and each end for itself")
  func tunnel() throws {
    try parented(user: "ci") { parent, proxy in
      let up = patterned(900_000, seed: 2)
      let down = patterned(800_000, seed: 3)
      let client = try proxy.connect()
      try client.send(Self.connect + "hello")
      let upstream = try parent.accept()
      let head = try upstream.expectHead("CONNECT a.test:443 HTTP/1.1")
      #expect(head["Proxy-Authorization"] == "Basic Y2k6c2VzYW1l")
      try upstream.send("HTTP/1.1 200 Fine\r\n\r\ngreeting")
      #expect(try client.expectConnectHead().status == 200)
      try client.expectBytes("greeting")
      try upstream.expectBytes("hello")
      let sending = try Background { try client.send(up) }
      try upstream.expectBytes(up)
      try sending.join()
      client.finish()
      try upstream.expectEnd()
      let answering = try Background { try upstream.send(down) }
      try client.expectBytes(down)
      try answering.join()
      upstream.finish()
      try client.expectEnd()
    }
  }

  /// What a client asks for, and how.
  static let requests = [
    "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", connect,
  ]

  @Test(
    "a parent with another certificate than its own is told nothing, and named", arguments: requests
  )
  func certificate(request: String) throws {
    try parented(showing: "other.test", user: "ci") { parent, proxy in
      let client = try proxy.connect().send(request)
      #expect(throws: TLSFailure.self) { try parent.accept() }
      try client.expectError(
        502, "certificate of the parent proxy parent.test:\(parent.port) is refused",
        type: "tls_certificate_error", closes: request == Self.connect)
      #expect(proxy.registry.value(.upstreamConnectFailures, .tls) == 1)
    }
  }

  @Test("a parent that does not speak TLS there is told from one that does", arguments: requests)
  func clear(request: String) throws {
    try parented { parent, proxy in
      let client = try proxy.connect().send(request)
      let upstream = try parent.acceptBare()
      _ = try upstream.expectAnyBytes()
      try upstream.send("HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n")
      try client.expectError(
        502, "he parent proxy parent.test:\(parent.port) does not speak TLS on this port",
        type: "tls_protocol_error", closes: request == Self.connect)
    }
  }

  @Test(
    "a parent that is silent in the handshake: 504 after `upstream.connect-timeout`",
    arguments: requests)
  func silent(request: String) throws {
    try parented(configure: { $0.upstream.connectTimeout = .milliseconds(150) }) { parent, proxy in
      let client = try proxy.connect().send(request)
      let upstream = try parent.acceptBare()
      _ = try upstream.expectAnyBytes()
      try client.expectError(
        504, "he parent proxy parent.test:\(parent.port)", type: "connection_timeout",
        closes: request == Self.connect)
      try upstream.expectGone()
    }
  }

  @Test(
    "a parent that ends without a word (close_notify) is one that did not answer",
    arguments: requests)
  func cut(request: String) throws {
    try parented { parent, proxy in
      let client = try proxy.connect().send(request)
      let upstream = try parent.accept()
      try upstream.expectHead()
      try upstream.send("HTTP/1.1 200 Fi")
      upstream.finish(isSilent: true)
      try client.expectError(502, "without saying so", closes: request == Self.connect)
    }
  }

  @Test("a client that leaves meanwhile ends the way that is asked for")
  func leaves() throws {
    try parented { parent, proxy in
      for hasShakenHands in [false, true] {
        let client = try proxy.connect().send(Self.connect)
        let upstream = hasShakenHands ? try parent.accept() : try parent.acceptBare()
        _ = try upstream.expectAnyBytes()
        client.abort()
        try upstream.expectGone()
      }
    }
  }
}
