// Parent proxies: what they are asked, for http origins, https origins and tunnels, and what is said when they fail.

import Configuration
import Platform
import Support
import TLS
import Telemetry
import Testing

@Suite struct ParentTests {
  /// A proxy with a parent called `parent.test`.
  private func parented(
    user: String? = nil, configure: (inout Configuration) throws -> Void = { _ in },
    lookup: @escaping TestProxy.Lookup = { host in
      host == "parent.test" ? .success([.loopbackV4]) : .failure(.notFound)
    },
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      configure: { configuration, parent in
        var proxy = ParentProxy(host: "parent.test", port: parent.port)
        proxy.user = user
        proxy.password = user.map { _ in HiddenText("sesame") }
        configuration.upstream.parent = .proxy(proxy)
        // The parent is the operator's word.
        configuration.destinations.privateNetworks = []
        try configure(&configuration)
      }, lookup: lookup, body)
  }

  private let fresh = ["Cache-Control: max-age=600"]

  // MARK: http

  @Test(
    "an http origin is asked for in absolute form; its name is the parent's to look up, its connections good for all"
  )
  func plain() throws {
    try parented(user: "ci") { parent, proxy in
      let client = try proxy.connect().get(
        "http://a.test/x?y", "Proxy-Authorization: Basic bWluZTptaW5l")
      let upstream = try parent.accept()
      let request = try upstream.expectRequest("GET http://a.test/x?y HTTP/1.1")
      #expect(request["Host"] == "a.test")
      #expect(request.head.all("Proxy-Authorization") == ["Basic Y2k6c2VzYW1l"])
      #expect(request["Via"] != nil)
      try upstream.respond(200, fresh, "content")
      try client.expectResponse(200, content: "content")
      try client.get("http://b.test:8080/y")
      #expect(
        try upstream.expectRequest("GET http://b.test:8080/y HTTP/1.1")["Host"] == "b.test:8080")
      try upstream.respond(200, fresh, "other")
      try client.expectResponse(200, content: "other")
      try client.request("OPTIONS", "http://c.test")
      try upstream.expectRequest("OPTIONS http://c.test HTTP/1.1")
      try upstream.respond(204)
      try client.expectResponse(204)
      try client.get("http://a.test/x?y").expectResponse(200, content: "content")
      try client.send(
        "POST http://[2001:db8::1]/up HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
      let head = try upstream.expectRequest("POST http://[2001:db8::1]/up HTTP/1.1")
      #expect(head["Host"] == "[2001:db8::1]" && head.text == "hi")
      try upstream.respond(201)
      try client.expectResponse(201)
    }
  }

  @Test(
    "a parent that wants to know who asks: 502 that says what to do, and no challenge",
    arguments: [false, true])
  func unauthenticated(isSecure: Bool) throws {
    try parented { parent, proxy in
      let client = try proxy.connect().get("\(isSecure ? "https" : "http")://a.test/")
      try parent.serve(407, ["Proxy-Authenticate: Basic realm=\"x\"", "Connection: close"], "no")
      let answer = try client.expectError(
        502, "parent-password-file", type: "proxy_configuration_error")
      #expect(answer["Proxy-Authenticate"] == nil)
    }
  }

  @Test("what the parent says of an http origin is passed on as it is")
  func passedOn() throws {
    try parented { parent, proxy in
      let client = try proxy.connect().get("http://nowhere.test/")
      try parent.serve(502, ["Proxy-Status: squid; error=dns_error"], "no such host")
      try client.expectResponse(
        502, ["Proxy-Status": "squid; error=dns_error"], content: "no such host")
    }
  }

  // MARK: https

  @Test(
    "an https origin is reached by CONNECT, verified as ever, and its connection kept for it alone")
  func secure() throws {
    let authority = try TestAuthority()
    let identity = try TLSContext(serverShowing: authority.identity("a.test"))
    try parented(user: "ci", configure: { $0.upstream.ca = .file(authority.file) }) {
      parent, proxy in
      let client = try proxy.connect().get("https://a.test/x")
      let upstream = try parent.accept()
      let connect = try upstream.expectHead("CONNECT a.test:443 HTTP/1.1")
      #expect(connect["Host"] == "a.test:443" && connect["Via"] != nil)
      #expect(connect["Proxy-Authorization"] == "Basic Y2k6c2VzYW1l")
      try upstream.send("HTTP/1.1 103 Wait\r\n\r\nHTTP/1.1 200 Connection esta")
      try upstream.send("blished\r\nX: y\r\n\r\n")
      try upstream.serveTLS(identity)
      let request = try upstream.expectRequest("GET /x HTTP/1.1")
      #expect(request["Proxy-Authorization"] == nil)
      try upstream.respond(200, fresh, "content")
      try client.expectResponse(200, content: "content")
      try client.get("https://a.test/y")
      try upstream.expectRequest("GET /y HTTP/1.1")
      try upstream.respond(200, fresh, "more")
      try client.expectResponse(200, content: "more")
      try client.get("https://b.test/")
      let other = try parent.accept()
      try other.expectHead("CONNECT b.test:443 HTTP/1.1")
      try other.send("HTTP/1.1 200 Fine\r\n\r\n")
      #expect(throws: TLSFailure.self) { try other.serveTLS(identity) }
      try client.expectError(502, "certificate of b.test:443", type: "tls_certificate_error")
    }
    withExtendedLifetime(authority) {}
  }

  @Test(
    "a parent that opens no way is named, with what it said",
    arguments: [
      ("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "answered 403 when asked for a.test:443"),
      ("HTTP/1.1 502 Bad\r\n\r\n", "answered 502"),
      ("HTTP/1.1 302 X\r\nLocation: /\r\n\r\n", "answered 302"),
      ("HTTP/1.1 101 X\r\n\r\n", "answered 101"),
      ("noise\r\n\r\n", "did not answer in proper HTTP"),
      (
        "HTTP/1.1 200 X\r\nX: " + String(repeating: "a", count: 70_000),
        "did not answer in proper HTTP"
      ),
      ("HTTP/1.1 200 Fine\r\n\r\nsurplus", "sent something before it was asked"),
      ("", "closed the connection without an answer"),
      ("HTTP/1.1 200 Fi", "closed the connection without an answer"),
    ])
  func refused(answer: String, sentence: String) throws {
    try parented { parent, proxy in
      for isTunnel in [false, true] where !isTunnel || !answer.hasSuffix("surplus") {
        let client = try proxy.connect()
        if isTunnel {
          try client.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n")
        } else {
          try client.get("https://a.test/")
        }
        let upstream = try parent.accept()
        try upstream.expectHead("CONNECT a.test:443 HTTP/1.1")
        upstream.trySending(Array(answer.utf8)).finish()
        let refusal = try client.expectAnyResponse()
        #expect(refusal.status == 502)
        #expect(
          refusal.text.contains("arent proxy parent.test:\(parent.port)")
            && refusal.text.contains(sentence), "\(refusal.text)")
        client.close()
      }
    }
  }

  @Test("a silent parent: 504 after `upstream.connect-timeout`", arguments: [false, true])
  func silent(isTunnel: Bool) throws {
    try parented(configure: { $0.upstream.connectTimeout = .milliseconds(150) }) { parent, proxy in
      let client = try proxy.connect()
      if isTunnel {
        try client.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n\r\n")
      } else {
        try client.get("https://a.test/")
      }
      let upstream = try parent.accept()
      try upstream.expectHead()
      try client.expectError(
        504, "opened no way to a.test:443", type: "connection_timeout",
        closes: isTunnel)
      try upstream.expectGone()
    }
  }

  @Test("a parent that is down is named", arguments: ["http://a.test/", "https://a.test/"])
  func down(url: String) throws {
    try parented { parent, proxy in
      parent.stopListening()
      let client = try proxy.connect().get(url)
      try client.expectError(
        502, "onnection to the parent proxy parent.test", type: "connection_refused")
    }
  }

  @Test("a client that leaves meanwhile ends the tunnel that is asked for")
  func leaves() throws {
    try parented { parent, proxy in
      let client = try proxy.connect()
      try client.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n\r\n")
      let upstream = try parent.accept()
      try upstream.expectHead()
      client.abort()
      try upstream.expectGone()
    }
  }

  // MARK: Tunnels

  @Test("tunnels go through the parent, with what comes behind its head")
  func tunnel() throws {
    try parented(user: "ci") { parent, proxy in
      let client = try proxy.connect()
      try client.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n\r\nhello")
      let upstream = try parent.accept()
      let head = try upstream.expectHead("CONNECT a.test:443 HTTP/1.1")
      #expect(head["Proxy-Authorization"] == "Basic Y2k6c2VzYW1l")
      try upstream.send("HTTP/1.1 200 Fine\r\nX-Parent: yes\r\n\r\ngreeting")
      let answer = try client.expectConnectHead()
      #expect(answer.status == 200 && answer["X-Parent"] == nil)
      try client.expectBytes("greeting")
      try upstream.expectBytes("hello")
      client.finish()
      try upstream.expectEnd()
      upstream.finish()
      try client.expectEnd()
    }
  }

  @Test("hosts, ports and literal addresses are judged here, whatever the parent would do")
  func judged() throws {
    try parented(configure: { configuration in
      configuration.destinations.deny = [.exact("denied.test")]
      configuration.destinations.connectPorts = [PortRange(443...443)]
    }) { parent, proxy in
      for (authority, sentence) in [
        ("denied.test:443", "denied.test"), ("10.0.0.1:443", "10.0.0.1"), ("a.test:22", "port 22"),
        ("localhost:443", "this machine"), ("169.254.169.254:443", "169.254.169.254"),
      ] {
        let client = try proxy.connect()
        try client.send("CONNECT \(authority) HTTP/1.1\r\nHost: a\r\n\r\n")
        let answer = try client.expectAnyResponse()
        #expect(answer.status == 403 && answer.text.contains(sentence), "\(answer.text)")
        client.close()
      }
      for url in ["http://10.0.0.1/", "https://10.0.0.1/", "http://denied.test/"] {
        #expect(try proxy.connect().get(url).expectAnyResponse().status == 403)
      }
      try parent.expectNothingElse()
    }
  }

  // MARK: The way

  @Test(
    "hosts that are excepted are asked directly, and a connection of one way is not used the other way"
  )
  func excepted() throws {
    try wire(configure: { configuration, origin in
      configuration.upstream.parent = .proxy(
        ParentProxy(host: "parent.test", port: origin.port))
    }) { parent, proxy in
      let origin = try WireOrigin(parent.script, host: "origin.test")
      defer { origin.close() }
      let client = try proxy.connect().get(origin.url("/1"))
      let through = try parent.accept()
      try through.expectRequest("GET \(origin.url("/1")) HTTP/1.1")
      try through.respond(200, [], "through")
      try client.expectResponse(200, content: "through")
      try proxy.reloadAndWait { $0.upstream.noParent = [.exact("origin.test")] }
      try client.get(origin.url("/2"))
      let direct = try origin.accept()
      #expect(try direct.expectRequest("GET /2 HTTP/1.1")["Host"] == origin.authority)
      try direct.respond(200, [], "direct")
      try client.expectResponse(200, content: "direct")
      try proxy.reloadAndWait { $0.upstream.noParent = [] }
      try client.get(origin.url("/3"))
      let again = try parent.accept()
      try again.expectRequest("GET \(origin.url("/3")) HTTP/1.1")
      try again.respond(200, [], "through")
      try client.expectResponse(200, content: "through")
    }
  }

  @Test("a parent that is this proxy itself is found out, by its address and by Via")
  func own() throws {
    try parented { parent, proxy in
      let own = proxy.address.port
      try proxy.reloadAndWait {
        $0.upstream.parent = .proxy(ParentProxy(host: "parent.test", port: own))
      }
      for url in ["http://a.test/", "https://a.test/"] {
        let client = try proxy.connect().get(url)
        try client.expectError(502, "this proxy itself listens", type: "proxy_loop_detected")
      }
      try proxy.reloadAndWait {
        $0.upstream.parent = .proxy(ParentProxy(host: "parent.test", port: parent.port))
      }
      let client = try proxy.connect().get("https://a.test/")
      let upstream = try parent.accept()
      let via = try upstream.expectHead()["Via"] ?? ""
      let round = try proxy.connect()
      try round.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\nVia: \(via)\r\n\r\n")
      try round.expectError(502, "has passed this proxy before", closes: true)
      upstream.close()
      try client.expectError(502, "")
    }
  }

  @Test("mirrors go through it too, with their redirects")
  func mirrored() throws {
    try parented(configure: { configuration in
      configuration.mirrors.set(Mirror(name: "m", url: try OriginURL(reading: "http://a.test/")))
    }) { parent, proxy in
      let client = try proxy.connect().get("/m/x")
      let upstream = try parent.accept()
      try upstream.expectRequest("GET http://a.test/x HTTP/1.1")
      try upstream.respond(302, ["Location: http://b.test/y"])
      try upstream.expectRequest("GET http://b.test/y HTTP/1.1")
      try upstream.respond(200, fresh, "content")
      try client.expectResponse(200, content: "content")
    }
  }
}
