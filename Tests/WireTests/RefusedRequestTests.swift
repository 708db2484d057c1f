// Requests that the proxy answers by itself because of what they are: the status, a sentence that says what
// was wrong, and whether the connection can be trusted with another request.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct RefusedRequestTests {
  struct Malformed: Sendable, CustomTestStringConvertible {
    var what: String
    var status = 400
    var sentence: String
    var bytes: String
    var testDescription: String { what }
  }

  static let malformed: [Malformed] = [
    Malformed(what: "no HTTP at all", sentence: "method", bytes: "\u{1}\u{2}\u{3}\r\n\r\n"),
    Malformed(
      what: "a TLS greeting", sentence: "TLS handshake",
      bytes: "\u{16}\u{3}\u{1}\u{0}\u{5}hello\r\n\r\n"),
    Malformed(
      what: "no target", sentence: "request line", bytes: "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    Malformed(
      what: "two spaces", sentence: "one space", bytes: "GET  http://a.test/ HTTP/1.1\r\n\r\n"),
    Malformed(
      what: "a bare LF", sentence: "LF alone", bytes: "GET http://a.test/ HTTP/1.1\nHost: a\n\n"),
    Malformed(
      what: "a bare CR", sentence: "CR that is not",
      bytes: "GET http://a.test/ HTTP/1.1\r\nHost: a\rb\r\n\r\n"),
    Malformed(
      what: "a folded field", sentence: "folded",
      bytes: "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: 1\r\n 2\r\n\r\n"),
    Malformed(
      what: "a space before the colon", sentence: "space before",
      bytes: "GET http://a.test/ HTTP/1.1\r\nHost : a.test\r\n\r\n"),
    Malformed(
      what: "no colon", sentence: "no colon",
      bytes: "GET http://a.test/ HTTP/1.1\r\nHost\r\n\r\n"),
    Malformed(
      what: "no field name", sentence: "no name",
      bytes: "GET http://a.test/ HTTP/1.1\r\n: a\r\n\r\n"),
    Malformed(
      what: "a NUL in a field", sentence: "control",
      bytes: "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: \u{0}\r\n\r\n"),
    Malformed(what: "no Host", sentence: "no Host", bytes: "GET http://a.test/ HTTP/1.1\r\n\r\n"),
    Malformed(
      what: "two Hosts", sentence: "more than one Host",
      bytes: "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
    Malformed(
      what: "both lengths", sentence: "both Content-Length",
      bytes:
        "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    Malformed(
      what: "two lengths", sentence: "more than one Content-Length",
      bytes:
        "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"
    ),
    Malformed(
      what: "a signed length", sentence: "plain decimal",
      bytes: "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: +5\r\n\r\nhello"),
    Malformed(
      what: "a length beyond any file", sentence: "larger than any file",
      bytes:
        "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99999999999999999999\r\n\r\n"
    ),
    Malformed(
      what: "chunks in HTTP/1.0", sentence: "HTTP/1.0 does not know",
      bytes:
        "POST http://a.test/ HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    Malformed(
      what: "an unknown transfer coding", status: 501, sentence: "not chunked",
      bytes:
        "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    ),
    Malformed(
      what: "HTTP/2.0", status: 505, sentence: "neither 1.0 nor 1.1",
      bytes: "GET http://a.test/ HTTP/2.0\r\nHost: a.test\r\n\r\n"),
  ]

  @Test(
    "what is no proper request is refused, and nothing behind it is taken for one",
    arguments: malformed)
  func malformedRequest(_ request: Malformed) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        request.bytes + "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      try client.expectError(
        request.status, request.sentence, type: "http_request_error", closes: true)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a target that makes no URI is refused, and the connection goes on",
    arguments: [
      ("ftp://a.test/x", 400, "http and https"), ("http://user@a.test/", 400, "user name"),
      ("http://a.test/#x", 400, "fragment"), ("http://a.test:0/", 400, "port"),
      ("http://a.test:99999/", 400, "port"), ("http:///x", 400, "host"),
      ("nonsense", 400, "neither a path nor a URI"),
    ])
  func badTarget(target: String, status: Int, sentence: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send("GET \(target) HTTP/1.1\r\nHost: a.test\r\n\r\n")
      try client.expectError(status, sentence)
      try client.get(origin.url("/"))
      try origin.serve(200, [], "on")
      try client.expectResponse(200, content: "on")
    }
  }

  @Test("an answer that was pipelined before a malformed request is still given")
  func goodThenBad() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n\u{1}\r\n\r\n")
      try origin.serve(200, [], "good")
      try client.expectResponse(200, content: "good")
      try client.expectError(400, "method", closes: true)
    }
  }

  @Test("a head that does not come to its end in time is 408")
  func slowHead() throws {
    try wire(configure: { configuration, _ in
      configuration.limits.headerTimeout = .milliseconds(100)
    }) { origin, proxy in
      let client = try proxy.connect()
      try client.send("GET \(origin.url("/")) HTTP/1.1\r\nHo")
      try client.expectError(408, "within 100 ms", closes: true)
      #expect(proxy.registry.value(.timeouts, .requestHead) == 1)
    }
  }

  @Test("a client that sends nothing is let go without a word")
  func idle() throws {
    try wire(configure: { configuration, _ in
      configuration.limits.idleTimeout = .milliseconds(50)
    }) { origin, proxy in
      try proxy.connect().expectEnd()
      #expect(proxy.registry.value(.timeouts, .idle) == 1)
    }
  }

  @Test("a connection is let go when no further request comes")
  func idleAfterRequest() throws {
    try wire(configure: { configuration, _ in
      configuration.limits.idleTimeout = .milliseconds(100)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, [], "once")
      try client.expectResponse(200, content: "once")
      try client.expectEnd()
    }
  }

  @Test("content that stops coming is 408, and the origin sees the request cut")
  func slowContent() throws {
    try wire(configure: { configuration, _ in
      configuration.limits.contentTimeout = .milliseconds(100)
    }) { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "POST \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 10\r\n\r\nhalf"
      )
      let upstream = try origin.accept()
      try upstream.expectHead("POST / HTTP/1.1")
      try upstream.expectContent("half")
      try client.expectError(408, "stopped coming for 100 ms", closes: true)
      try upstream.expectIncomplete()
    }
  }

  @Test("content that is announced too large is 413 before the origin is asked")
  func announcedTooLarge() throws {
    try wire(configure: { configuration, _ in configuration.limits.content = ByteCount(10) }) {
      origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "POST \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 11\r\n\r\nhello world"
      )
      try client.expectError(413, "larger than 10 bytes", closes: true)
      try origin.expectNothingElse()
    }
  }

  @Test("chunks that turn out too large are 413, and the origin does not get a whole request")
  func chunksTooLarge() throws {
    try wire(configure: { configuration, _ in configuration.limits.content = ByteCount(10) }) {
      origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "POST \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nTransfer-Encoding: chunked\r\n\r\n"
      )
      try client.sendChunk("123456").sendChunk("123456")
      try client.expectError(413, "larger than 10 bytes", closes: true)
      let upstream = try origin.accept()
      try upstream.expectHead("POST / HTTP/1.1")
      try upstream.expectIncomplete()
    }
  }

  @Test("content of exactly the limit passes")
  func justRight() throws {
    try wire(configure: { configuration, _ in configuration.limits.content = ByteCount(5) }) {
      origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "POST \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nTransfer-Encoding: chunked\r\n\r\n"
      )
      try client.sendChunk("12345").sendLastChunk()
      #expect(try origin.serve(200, [], "ok").text == "12345")
      try client.expectResponse(200, content: "ok")
    }
  }

  @Test("a chunk that is none is 400, and the origin does not get a whole request")
  func malformedChunk() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "POST \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
      )
      try client.expectError(400, "hexadecimal", closes: true)
      let upstream = try origin.accept()
      try upstream.expectHead("POST / HTTP/1.1")
      try upstream.expectIncomplete()
    }
  }

  @Test("a request line longer than the limit is 414")
  func longTarget() throws {
    try wire(configure: { configuration, _ in configuration.limits.requestLine = .kib(1) }) {
      origin, proxy in
      let client = try proxy.connect()
      try client.get(origin.url("/" + String(repeating: "a", count: 1024)))
      try client.expectError(414, "longer than the limit", closes: true)
    }
  }

  @Test("a head larger than the limit is 431")
  func largeHead() throws {
    try wire(configure: { configuration, _ in configuration.limits.head = .kib(2) }) {
      origin, proxy in
      let client = try proxy.connect()
      try client.get(origin.url("/"), "X-Long: " + String(repeating: "a", count: 2048))
      try client.expectError(431, "larger than the limit", closes: true)
    }
  }

  @Test("more fields than the limit are 431")
  func manyFields() throws {
    try wire(configure: { configuration, _ in configuration.limits.fields = 5 }) {
      origin, proxy in
      let client = try proxy.connect()
      try client.get(origin.url("/"), "A: 1", "B: 2", "C: 3", "D: 4", "E: 5")
      try client.expectError(431, "more fields", closes: true)
    }
  }

  @Test("an expectation nobody knows is 417, and the connection goes on")
  func unknownExpectation() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "Expect: miracles")
      try client.expectError(417, "Expect")
      try client.get(origin.url("/"))
      try origin.serve(200, [], "on")
      try client.expectResponse(200, content: "on")
    }
  }

  @Test("a request that has passed here before is 502")
  func loop() throws {
    try wire { origin, proxy in
      // What the proxy calls itself is told in the Via of what it forwards.
      let client = try proxy.connect().get(origin.url("/"))
      let via = try #require(try origin.serve(200, [], "first")["Via"])
      try client.expectResponse(200)
      try client.get(origin.url("/loop"), "Via: 1.0 other, \(via)")
      try client.expectError(502, "has passed this proxy before", type: "proxy_loop_detected")
      try origin.expectNothingElse()
    }
  }

  @Test("a proxy that is asked to fetch from itself refuses the second time round")
  func realLoop() throws {
    // Not in the usual frame: the proxy goes on keeping a connection to itself.
    let proxy = try TestProxy(Script())
    let client = try proxy.connect()
    let address = proxy.address
    try client.send("GET http://\(address)/\(address)/x HTTP/1.1\r\nHost: \(address)\r\n\r\n")
    try client.expectResponse(502)
  }

  @Test("a client that is not among those allowed is 403 and hears why")
  func clientNotAllowed() throws {
    try wire(configure: { configuration, _ in
      configuration.clients = [try #require(IPNetwork("10.0.0.0/8"))]
    }) { origin, proxy in
      try proxy.connect().expectError(
        403, "127.0.0.1 is not among `clients`", type: "http_request_denied", closes: true)
      #expect(proxy.registry.value(.connectionsRefused, .client) == 1)
    }
  }

  @Test("a host the configuration denies is 403, and the connection goes on")
  func deniedHost() throws {
    try wire(configure: { configuration, _ in
      configuration.destinations.deny = [try HostPattern(reading: "*.denied.test")]
    }) { origin, proxy in
      let client = try proxy.connect()
      try client.get("http://www.Denied.test/").expectError(
        403, "may not be reached", type: "http_request_denied")
      try client.get(origin.url("/"))
      try origin.serve(200, [], "on")
      try client.expectResponse(200, content: "on")
    }
  }

  @Test(
    "a host at an address that is not public is 403, whatever its name",
    arguments: ["http://origin.test:PORT/", "http://127.0.0.1:PORT/", "/127.0.0.1:PORT/x"])
  func privateAddress(target: String) throws {
    try wire(configure: { configuration, _ in configuration.destinations.privateNetworks = [] }) {
      origin, proxy in
      let client = try proxy.connect()
      try client.get(target.replacing("PORT", with: "\(origin.port)"))
      try client.expectError(
        403, "not a public address", type: "destination_ip_prohibited")
      try origin.expectNothingElse()
    }
  }

  @Test("an origin that the configuration names may be at any address")
  func configuredPrivateAddress() throws {
    try wire(configure: { configuration, origin in
      try WaysInTests.configure(&configuration, origin)
      configuration.destinations.privateNetworks = []
    }) { origin, proxy in
      let client = try proxy.connect().get("/debian/a")
      try origin.serve(200, [], "mine")
      try client.expectResponse(200, content: "mine")
      // A connection made on the operator's word is not lent to a client's.
      try client.get(origin.url("/other")).expectError(403, "not a public address")
    }
  }

  @Test("beyond the limit of connections a client is told so with 503")
  func connectionLimit() throws {
    try wire(configure: { configuration, _ in configuration.limits.connections = 1 }) {
      origin, proxy in
      let first = try proxy.connect()
      try proxy.expect("the first client") { $0.value(.connectionsOpen, .downstream) == 1 }
      let answer = try proxy.connect().expectError(
        503, "1 connections already", type: "connection_limit_reached", closes: true)
      #expect(answer["Retry-After"] != nil)
      // Those who are in stay in, and who leaves makes room.
      try first.get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, [], "in")
      try first.expectResponse(200, content: "in")
      first.close()
      try proxy.expect("room") { $0.value(.connectionsOpen, .downstream) == 0 }
      let third = try proxy.connect().get(origin.url("/b"))
      try upstream.expectRequest()
      try upstream.respond(200, [], "room")
      try third.expectResponse(200, content: "room")
    }
  }

  @Test("who is turned away hears why, also with a request on its way already")
  func turnedAwayWithRequest() throws {
    try wire(configure: { configuration, _ in
      configuration.clients = [try #require(IPNetwork("10.0.0.0/8"))]
    }) { origin, proxy in
      for _ in 0..<20 {
        let client = try proxy.connect()
        client.trySending(Array("GET \(origin.url("/")) HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
        try client.expectResponse(403, ["Connection": "close"])
        try client.expectGone()
      }
      try origin.expectNothingElse()
    }
  }

  @Test("an error answer to HEAD has no content")
  func headError() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.request("HEAD", "/nowhere").expectError(404, "", isHead: true)
      try client.get("/nowhere").expectError(404, "No mirror")
    }
  }
}
