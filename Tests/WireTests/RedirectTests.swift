// Redirects that end at the proxy, for clients of mirrors: what is followed, what is refused, and what is stored where.

import Configuration
import Platform
import Support
import TLS
import Telemetry
import Testing

@Suite struct RedirectTests {
  /// A proxy with the mirror `m` of the origin's `/base/`, and another origin.
  private func mirrored(
    configure: (inout Configuration, WireOrigin) throws -> Void = { _, _ in },
    _ body: (WireOrigin, WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      configure: { configuration, origin in
        configuration.mirrors.set(
          Mirror(name: "m", url: try OriginURL(reading: origin.url("/base/"))))
        try configure(&configuration, origin)
      }
    ) { origin, proxy in
      let other = try WireOrigin(origin.script, host: "other.test")
      defer { other.close() }
      try body(origin, other, proxy)
    }
  }

  private func redirect(_ status: Int = 302, to location: String) -> String {
    "HTTP/1.1 \(status) Elsewhere\r\nLocation: \(location)\r\nContent-Length: 5\r\n\r\nthere"
  }

  /// The origin answers the next request with this.
  /// - Returns: the connection, for what comes after.
  @discardableResult
  private func redirecting(
    _ origin: WireOrigin, _ line: String? = nil, with answer: String
  ) throws -> WireOriginConnection {
    let connection = try origin.accept()
    if let line { try connection.expectRequest(line) } else { try connection.expectRequest() }
    return try connection.send(answer)
  }

  @Test(
    "a redirect is followed, and the answer stored under the URL that was asked for",
    arguments: [301, 302, 303, 307, 308])
  func followed(status: Int) throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().get("/m/file")
      try redirecting(
        origin, "GET /base/file HTTP/1.1",
        with: redirect(status, to: other.url("/signed?key=secret#part")))
      let there = try other.accept()
      let request = try there.expectRequest("GET /signed?key=secret HTTP/1.1")
      #expect(request["Host"] == other.authority)
      try there.respond(
        200, ["Cache-Control: max-age=600", "Content-Location: /signed?key=secret", "ETag: \"1\""],
        "content")
      let answer = try client.expectResponse(200, content: "content")
      #expect(answer["Content-Location"] == nil && answer["Location"] == nil)
      try client.get("/m/file")
      let hit = try client.expectResponse(200, content: "content")
      #expect(hit["Cache-Status"]?.contains("hit") == true)
      try origin.expectNothingElse()
      #expect(proxy.registry.value(.upstreamRedirects, .succeeded) == 1)
    }
  }

  @Test(
    "within one origin the kept connection serves the next hop, and the way in by its host does as well"
  )
  func relative() throws {
    try mirrored { origin, _, proxy in
      let client = try proxy.connect().get("/\(origin.authority)/base/name")
      let upstream = try redirecting(
        origin, "GET /base/name HTTP/1.1", with: redirect(301, to: "../other/name/"))
      try upstream.expectRequest("GET /other/name/ HTTP/1.1")
      try upstream.respond(200, ["Cache-Control: max-age=600"], "listing")
      try client.expectResponse(200, content: "listing")
      try client.get("/m/name").expectResponse(200, content: "listing")
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a forward proxy's client gets the redirect itself, and never what a mirror's client got from elsewhere"
  )
  func forward() throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().get("/m/x")
      try redirecting(origin, with: redirect(to: other.url("/y")))
      try other.serve(200, ["Cache-Control: max-age=600"], "from elsewhere")
      try client.expectResponse(200, content: "from elsewhere")
      try proxy.expectStored()

      try client.get(origin.url("/base/x"))
      let direct = try origin.accept()
      try direct.expectRequest()
      try direct.send(
        "HTTP/1.1 301 Elsewhere\r\nLocation: \(other.url("/y"))\r\nCache-Control: max-age=600\r\nContent-Length: 0\r\n\r\n"
      )
      let passed = try client.expectResponse(301)
      #expect(passed["Location"] == other.url("/y"))
      try proxy.expectStored()
      try client.get(origin.url("/base/x")).expectResponse(301)
      // And the stored redirect is no answer for the mirror's clients.
      try client.get("/m/x").expectResponse(200, content: "from elsewhere")
      try proxy.restart()
      let later = try proxy.connect()
      try later.get("/m/x").expectResponse(200, content: "from elsewhere")
      try later.get(origin.url("/base/x")).expectResponse(301)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a client follows a redirect to the same place with a slash itself, or relative links lead astray",
    arguments: ["wheels/", "/base/wheels/", "ORIGIN/base/wheels/", "wheels/?a=1"],
    ["/m/wheels", "/HOST/base/wheels", "/m/+files/http/HOST/base/wheels"])
  func ownStep(location: String, path: String) throws {
    try mirrored { origin, _, proxy in
      let hasQuery = location.hasSuffix("a=1")
      let query = hasQuery ? "?a=1" : ""
      let target = path.replacing("HOST", with: origin.authority) + query
      let client = try proxy.connect().get(target)
      let place = location.replacing("ORIGIN/", with: origin.url("/"))
      try origin.serve(301, ["Location: \(place)", "Cache-Control: max-age=600"], "there")
      try client.expectResponse(301, ["Location": "./wheels/\(query)"], content: "there")
      try proxy.expectStored()
      // Stored, it is the same for whoever comes another way.
      for way in [target, origin.url("/base/wheels\(query)")] {
        let hit = try client.get(way).expectResponse(301, ["Location": "./wheels/\(query)"])
        #expect(hit["Cache-Status"]?.contains("hit") == true)
      }
      try client.request("HEAD", target).expectResponse(
        301, ["Location": "./wheels/\(query)"], isHead: true)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a redirect that changes more than a slash is followed here",
    arguments: ["wheels/?sig=1", "/base/Wheels/", "/base/other/", "/wheels/"])
  func noStepOfItsOwn(location: String) throws {
    try mirrored { origin, _, proxy in
      let client = try proxy.connect().get("/m/wheels")
      let upstream = try redirecting(origin, with: redirect(301, to: location))
      try upstream.expectRequest()
      try upstream.respond(200, ["Cache-Control: max-age=600"], "listing")
      try client.expectResponse(200, content: "listing")
    }
  }

  @Test("what one stored for the forward proxy's clients leads no mirror's client past it")
  func stepOfForward() throws {
    try mirrored { origin, _, proxy in
      let client = try proxy.connect().get(origin.url("/base/wheels"))
      let fields = [
        "Location: \(origin.url("/base/wheels/"))", "Cache-Control: max-age=600",
        "Connection: close",
      ]
      try origin.serve(301, fields)
      try client.expectResponse(301, ["Location": origin.url("/base/wheels/")])
      try proxy.expectStored()
      try client.get("/m/wheels")
      try origin.serve(301, fields)
      try client.expectResponse(301, ["Location": "./wheels/"])
    }
  }

  @Test("a stored redirect does not lead a mirror's client away")
  func storedRedirect() throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().get(origin.url("/base/x"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(
        "HTTP/1.1 308 Elsewhere\r\nLocation: \(other.url("/y"))\r\nCache-Control: max-age=600\r\nContent-Length: 0\r\n\r\n"
      )
      try client.expectResponse(308)
      try proxy.expectStored()
      try client.get("/m/x")
      try redirecting(origin, with: redirect(308, to: other.url("/y")))
      try other.serve(200, ["Cache-Control: max-age=600"], "content")
      try client.expectResponse(200, content: "content")
    }
  }

  @Test(
    "a mirror's client does not read along with a forward proxy's redirect, nor the other way round"
  )
  func sideBySide() throws {
    try mirrored { origin, other, proxy in
      let mirror = try proxy.connect().get("/m/x")
      let first = try origin.accept()
      try first.expectRequest()
      let forward = try proxy.connect().get(origin.url("/base/x"))
      try first.send(redirect(to: other.url("/y")))
      let there = try other.accept()
      try there.expectRequest()
      try there.send(head: 200, ["Cache-Control: max-age=600", "Content-Length: 6"])
      try there.send("abc")
      try redirecting(origin, "GET /base/x HTTP/1.1", with: redirect(to: other.url("/y")))
      #expect(try forward.expectResponse(302)["Location"] == other.url("/y"))
      try there.send("def")
      try mirror.expectResponse(200, content: "abcdef")
    }
  }

  @Test(
    "a validation goes the same way anew; a target that knows the validator confirms, another one replaces"
  )
  func validated() throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().get("/m/x")
      let upstream = try redirecting(origin, with: redirect(to: other.url("/1")))
      let there = try other.accept()
      try there.expectRequest()
      try there.respond(200, ["Cache-Control: max-age=0", "ETag: \"a\""], "first")
      try client.expectResponse(200, content: "first")

      try client.get("/m/x")
      let conditional = try upstream.expectRequest()
      #expect(conditional["If-None-Match"] == "\"a\"")
      try upstream.send(redirect(to: other.url("/2")))
      let again = try there.expectRequest("GET /2 HTTP/1.1")
      #expect(again["If-None-Match"] == "\"a\"")
      try there.respond(304, ["Cache-Control: max-age=0", "ETag: \"a\""])
      let confirmed = try client.expectResponse(200, content: "first")
      #expect(confirmed["Cache-Status"]?.contains("fwd-status=304") == true)

      try client.get("/m/x")
      try upstream.expectRequest()
      try upstream.send(redirect(to: other.url("/3")))
      try there.expectRequest("GET /3 HTTP/1.1")
      try there.respond(200, ["Cache-Control: max-age=600", "ETag: \"b\""], "second")
      try client.expectResponse(200, content: "second")
      try client.get("/m/x").expectResponse(200, content: "second")
    }
  }

  @Test("a 304 of the origin itself does not renew what came from another one")
  func foreignConfirmation() throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().get("/m/x")
      let upstream = try redirecting(origin, with: redirect(to: other.url("/1")))
      try other.serve(200, ["Cache-Control: max-age=0", "ETag: \"a\""], "elsewhere")
      try client.expectResponse(200, content: "elsewhere")
      try client.get("/m/x")
      try upstream.expectRequest()
      try upstream.respond(304, ["ETag: \"a\""])
      let again = try origin.accept()
      #expect(try again.expectRequest()["If-None-Match"] == nil)
      try again.respond(200, ["Cache-Control: max-age=600", "ETag: \"a\""], "here")
      try client.expectResponse(200, content: "here")
      try client.get("/m/x").expectResponse(200, content: "here")
    }
  }

  @Test("what broke off is gone on with through the redirect")
  func completed() throws {
    try mirrored { origin, other, proxy in
      let content = patterned(300_000, seed: 3)
      let fields = [
        "Cache-Control: max-age=600", "ETag: \"a\"", "Content-Length: \(content.count)",
      ]
      let client = try proxy.connect().get("/m/x")
      let upstream = try redirecting(origin, with: redirect(to: other.url("/1")))
      let there = try other.accept()
      try there.expectRequest()
      try there.send(head: 200, fields)
      try there.send(Array(content[..<200_000]))
      try client.expectHead(200)
      try client.expectContent(200_000)
      there.abort()
      try client.expectIncomplete()
      try proxy.expectStored()
      proxy.settleDisk()

      let second = try proxy.connect().get("/m/x")
      let asked = try upstream.expectRequest()
      #expect(asked["Range"]?.hasPrefix("bytes=") == true && asked["If-Range"] == "\"a\"")
      try upstream.send(redirect(to: other.url("/2")))
      let rest = try other.accept()
      let range = try rest.expectRequest("GET /2 HTTP/1.1")
      let start = try #require(range["Range"].flatMap { Int($0.dropFirst(6).dropLast()) })
      try rest.send(
        head: 206,
        [
          "ETag: \"a\"", "Cache-Control: max-age=600",
          "Content-Range: bytes \(start)-\(content.count - 1)/\(content.count)",
          "Content-Length: \(content.count - start)",
        ])
      try rest.send(Array(content[start...]))
      #expect(try second.expectAnyResponse().content == content)
    }
  }

  @Test(
    "requests that go to the origin as they are follow too, and leave their credentials behind at another one"
  )
  func relayed() throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().get(
        "/m/x", "Authorization: Basic dXNlcjpwYXNz", "Cookie: a=b", "Accept: text/html")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["Authorization"] == "Basic dXNlcjpwYXNz")
      try upstream.send(redirect(to: "/base/y"))
      #expect(try upstream.expectRequest()["Authorization"] == "Basic dXNlcjpwYXNz")
      try upstream.send(redirect(to: other.url("/z")))
      let there = try other.accept()
      let request = try there.expectRequest()
      #expect(request["Authorization"] == nil && request["Cookie"] == nil)
      #expect(request["Accept"] == "text/html")
      try there.respond(200, ["Set-Cookie: c=d"], "mine")
      let answer = try client.expectResponse(200, content: "mine")
      #expect(answer["Set-Cookie"] == nil)
    }
  }

  @Test("HEAD stays HEAD, and POST gets its redirect")
  func otherMethods() throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().request("HEAD", "/m/x")
      let upstream = try origin.accept()
      try upstream.expectRequest("HEAD /base/x HTTP/1.1")
      try upstream.send("HTTP/1.1 303 Elsewhere\r\nLocation: \(other.url("/y"))\r\n\r\n")
      let there = try other.accept()
      try there.expectRequest("HEAD /y HTTP/1.1")
      try there.send(head: 200, ["Content-Length: 77"])
      try client.expectResponse(200, ["Content-Length": "77"], isHead: true)
      try client.send("POST /m/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
      try upstream.expectRequest()
      try upstream.send(redirect(303, to: other.url("/y")))
      #expect(try client.expectResponse(303)["Location"] == other.url("/y"))
    }
  }

  @Test("a listener that stands for one origin passes redirects on")
  func reverse() throws {
    try wire(configure: { configuration, origin in
      configuration.listeners[0].origin = try OriginURL(reading: origin.url("/"))
    }) { origin, proxy in
      let client = try proxy.connect().get("/x")
      try origin.serve(302, ["Location: /y"], "there")
      #expect(try client.expectResponse(302)["Location"] == "/y")
    }
  }

  // MARK: What is refused

  @Test(
    "redirects that cannot be followed are 502, with a sentence and without the target",
    arguments: [
      ("ftp://other.test/secret", "without one Location"), ("/base/x", "in a circle"),
      ("http://denied.test/secret", "denied.test may not be reached"),
      ("http://10.1.2.3/secret", "10.1.2.3"), ("http://169.254.169.254/secret", "169.254.169.254"),
      ("http://inside.test/secret", "inside.test is at 192.168.0.7"),
    ])
  func refused(location: String, sentence: String) throws {
    try wire(
      configure: { configuration, origin in
        configuration.mirrors.set(
          Mirror(name: "m", url: try OriginURL(reading: origin.url("/base/"))))
        configuration.destinations.deny = [.exact("denied.test")]
      },
      lookup: { host in
        host == "inside.test"
          ? IPAddress("192.168.0.7").map { .success([$0]) } ?? .failure(.notFound)
          : TestProxy.testNames(host)
      }
    ) { origin, proxy in
      let client = try proxy.connect().get("/m/x")
      try redirecting(origin, with: redirect(to: location))
      let answer = try client.expectError(502, sentence)
      #expect(!answer.text.contains("secret"))
      #expect(answer["Proxy-Status"]?.contains("secret") == false)
    }
  }

  @Test("a chain that does not end is given up after ten hops")
  func endless() throws {
    try mirrored { origin, _, proxy in
      let client = try proxy.connect().get("/m/0")
      let upstream = try origin.accept()
      for hop in 1...11 {
        try upstream.expectRequest("GET /base/\(hop - 1) HTTP/1.1")
        try upstream.send(redirect(to: "\(hop)"))
      }
      try client.expectError(502, "more than 10 of them", type: "http_protocol_error")
      #expect(proxy.registry.value(.upstreamRedirects, .failed) == 1)
    }
  }

  @Test("a mirror of an https origin does not follow into the clear")
  func inClear() throws {
    let authority = try TestAuthority()
    try wire(
      tls: TLSContext(serverShowing: authority.identity("origin.test")),
      configure: { configuration, origin in
        configuration.upstream.ca = .file(authority.file)
        configuration.mirrors.set(Mirror(name: "m", url: try OriginURL(reading: origin.url("/"))))
      }
    ) { origin, proxy in
      let client = try proxy.connect().get("/m/x")
      try redirecting(origin, with: redirect(to: "http://origin.test/x"))
      try client.expectError(502, "from https to http://origin.test", type: "http_request_denied")
    }
    withExtendedLifetime(authority) {}
  }

  @Test("a redirect to this proxy itself is found out")
  func own() throws {
    try mirrored { origin, _, proxy in
      let client = try proxy.connect().get("/m/x")
      try redirecting(origin, with: redirect(to: "http://127.0.0.1:\(proxy.address.port)/m/y"))
      try client.expectError(502, "this proxy itself listens")
    }
  }

  @Test("a place at an origin is given back before the next hop takes one")
  func places() throws {
    try mirrored(configure: { configuration, _ in
      configuration.upstream.maxConnections = 1
      configuration.upstream.maxTotal = 1
    }) { origin, other, proxy in
      let client = try proxy.connect().get("/m/x")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      // The rest of the redirect never comes.
      try upstream.send(
        "HTTP/1.1 302 Elsewhere\r\nLocation: \(other.url("/y"))\r\nContent-Length: 5\r\n\r\n")
      try other.serve(200, [], "content")
      try client.expectResponse(200, content: "content")
    }
  }

  @Test("a client that leaves in the middle of a chain ends a relayed request, wherever that is")
  func leaves() throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().get("/m/x", "Cookie: a=b")
      try redirecting(origin, with: redirect(to: other.url("/y")))
      let there = try other.accept()
      try there.expectRequest()
      client.abort()
      try there.expectGone()
    }
  }
}
