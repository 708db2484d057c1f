// What becomes of a connection after an error (RFC 9112 §9): where the end of a request is certain the next one
// is answered, pipelined or not; where it is not, nothing behind it is believed.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct AfterErrorTests {
  /// A request that is refused although its end is certain.
  static let certain: [(String, Int)] = [
    ("GET ftp://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a.test/#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://ORIGIN/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("GET http://ORIGIN/ HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417),
    ("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ("TRACE http://ORIGIN/ HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n", 400),
    ("POST ftp://a.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 400),
    ("GET http://unknown.invalid/ HTTP/1.1\r\nHost: a\r\n\r\n", 502),
    ("GET http://ORIGIN/ HTTP/1.1\r\nHost: a\r\nCache-Control: only-if-cached\r\n\r\n", 504),
  ]

  @Test(
    "requests pipelined behind a refused one are answered, as its end is certain",
    arguments: certain)
  func staysOpen(request: String, status: Int) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      let refused = request.replacing("ORIGIN", with: origin.authority)
      try client.send(
        refused + refused + "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      try client.expectError(status, "")
      try client.expectError(status, "")
      try origin.serve(200, [], "on")
      try client.expectResponse(200, content: "on")
    }
  }

  @Test(
    "who asked for the end, or speaks HTTP/1.0, gets it after an error as well",
    arguments: ["HTTP/1.1\r\nHost: a\r\nConnection: close", "HTTP/1.0"])
  func closesAsAsked(rest: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send("GET ftp://a.test/ \(rest)\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
      try client.expectError(400, "http and https", closes: true)
    }
  }

  @Test(
    "a refused request with content is the last one: its content is not a request",
    arguments: [
      "Content-Length: 38\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n26\r\n",
      "Content-Length: 38\r\nExpect: 100-continue\r\n\r\n",
    ])
  func contentOfRefused(rest: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      client.trySending(
        Array(
          "POST ftp://a.test/ HTTP/1.1\r\nHost: a\r\n\(rest)GET \(origin.url("/evil")) HTTP/1.1\r\nHost: a\r\n\r\n"
            .utf8))
      try client.expectError(400, "http and https", closes: true)
      try origin.expectNothingElse()
    }
  }

  @Test("an origin that fails costs a client with finished content nothing but this answer")
  func originFails() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "POST \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 5\r\n\r\nhello"
          + "GET \(origin.url("/next")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      upstream.close()
      try client.expectError(502, "without an answer", type: "connection_terminated")
      try origin.serve(200, [], "on")
      try client.expectResponse(200, content: "on")
    }
  }

  @Test("a client that has finished its direction still hears what was wrong")
  func halfClosed() throws {
    try wire { origin, proxy in
      for bytes in [
        "GET ftp://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
        "nonsense\r\n\r\n",
      ] {
        let client = try proxy.connect()
        try client.send(bytes)
        client.finish()
        #expect(try client.expectAnyResponse().status >= 400)
        try client.expectEnd()
      }
    }
  }

  @Test("half a head and then the end is no request, and gets no answer")
  func cutHead() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send("GET \(origin.url("/")) HTTP/1.1\r\nHost: ")
      client.finish()
      try client.expectEnd()
      try origin.expectNothingElse()
    }
  }

  @Test("an error in a stored answer's place is not stored")
  func errorsAreNotStored() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      upstream.close()
      try client.expectError(502, "")
      try client.get(origin.url("/"))
      try origin.serve(200, ["Cache-Control: max-age=600"], "good")
      try client.expectResponse(200, content: "good")
    }
  }
}
