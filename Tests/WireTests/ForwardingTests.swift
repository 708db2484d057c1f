// What the proxy changes in messages on their way through, and what it must leave alone.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct ForwardingTests {
  @Test(
    "fields about the client's connection stay behind, on the way to the store and past it",
    arguments: ["GET", "POST"])
  func requestFields(method: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.request(
        method, origin.url("/"),
        [
          "Connection: keep-alive, X-Mine", "X-Mine: secret", "Keep-Alive: timeout=5",
          "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic c2VjcmV0", "TE: deflate",
          "Upgrade: websocket", "X-Kept: yes", "Accept: text/plain", "Via: 1.0 before",
        ])
      let request = try origin.serve(200, [], "")
      for name in [
        "Connection", "X-Mine", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE",
        "Upgrade",
      ] {
        #expect(request[name] == nil, "\(name)")
      }
      #expect(request["X-Kept"] == "yes")
      #expect(request["Accept"] == "text/plain")
      #expect(request["Host"] == origin.authority)
      #expect(request.head.all("Host").count == 1)
      let via = try #require(request["Via"])
      #expect(via.hasPrefix("1.0 before, 1.1 holdfast-"))
      try client.expectResponse(200)
    }
  }

  @Test("what comes in one piece and is not stored goes on in one, however often it is asked for")
  func onePiece() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      var upstream: WireOriginConnection?
      for round in 0..<3 {
        try client.get(origin.url("/"))
        let kept = try upstream ?? origin.accept()
        upstream = kept
        try kept.expectRequest()
        try kept.respond(200, ["Cache-Control: no-store"], "content")
        // Written at once it is one segment, and one read of the client's takes all of it.
        let answer = try String(decoding: client.expectAnyBytes(), as: UTF8.self)
        #expect(answer.hasSuffix("\r\n\r\ncontent"), "round \(round): \(answer)")
      }
    }
  }

  @Test(
    "fields about the origin's connection stay behind, from a miss, a hit and a relay",
    arguments: ["max-age=600", "no-store"])
  func responseFields(directive: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      for round in 0..<2 {
        try client.get(origin.url("/"))
        if round == 0 || directive == "no-store" {
          try origin.serve(
            200,
            [
              "Cache-Control: \(directive)", "Connection: close, X-Theirs", "X-Theirs: secret",
              "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Upgrade: h2c",
              "X-Kept: yes", "Via: 1.1 other",
            ], "content")
        }
        let answer = try client.expectResponse(200, ["X-Kept": "yes"], content: "content")
        for name in ["Connection", "X-Theirs", "Keep-Alive", "Proxy-Authenticate", "Upgrade"] {
          #expect(answer[name] == nil, "\(name) in round \(round)")
        }
        #expect(answer["Via"]?.hasPrefix("1.1 other, 1.1 holdfast-") == true)
      }
    }
  }

  @Test("an answer without a date gets one", arguments: ["max-age=600", "no-store"])
  func dated(directive: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, ["Cache-Control: \(directive)"], "content")
      #expect(try client.expectResponse(200)["Date"]?.hasSuffix(" GMT") == true)
      let date = "Mon, 02 Mar 2026 10:11:12 GMT"
      try client.get(origin.url("/dated"))
      origin.closeConnections()
      try origin.serve(200, ["Cache-Control: \(directive)", "Date: \(date)"], "content")
      try client.expectResponse(200, ["Date": date])
    }
  }

  @Test("an answer of HTTP/1.0 is passed on as HTTP/1.1, and Via says what it was")
  func oldOrigin() throws {
    try wire { origin, proxy in
      for directive in ["max-age=600", "no-store"] {
        let client = try proxy.connect().get(origin.url("/\(directive)"))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(
          "HTTP/1.0 200 OK\r\nCache-Control: \(directive)\r\n\r\nuntil the end")
        upstream.close()
        let answer = try client.expectResponse(200, content: "until the end")
        #expect(answer["Via"]?.hasPrefix("1.0 holdfast-") == true)
        #expect(answer["Connection"] == nil)
        try client.get("/nowhere").expectError(404, "No mirror")
      }
    }
  }

  @Test("HTTP/1.0 origins that say keep-alive are kept, others are not")
  func oldOriginKeepsAlive() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na")
      try client.expectResponse(200, content: "a")
      try client.get(origin.url("/2"))
      try upstream.expectRequest("GET /2 HTTP/1.1")
      try upstream.send("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nb")
      try client.expectResponse(200, content: "b")
      try upstream.expectGone()
    }
  }

  @Test("interim answers are relayed, and the final answer is stored all the same")
  func earlyHints() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 103, ["Link: </style.css>; rel=preload"])
      try client.expectHead(103, ["Link": "</style.css>; rel=preload"])
      try upstream.send(head: 102)
      try client.expectHead(102)
      try upstream.respond(200, ["Cache-Control: max-age=600"], "final")
      try client.expectResponse(200, content: "final")
      try client.get(origin.url("/"))
      // A hit has no hints.
      try client.expectResponse(200, content: "final")
      try origin.expectNothingElse()
    }
  }

  @Test("HTTP/1.0 clients get no interim answers")
  func noHintsForOldClients() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send("GET \(origin.url("/")) HTTP/1.0\r\nHost: a\r\n\r\n")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 103)
      try upstream.respond(200, [], "final")
      try client.expectResponse(200, content: "final")
    }
  }

  @Test("who waits for 100 (Continue) gets the origin's word before sending content")
  func expectContinue() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "PUT \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 7\r\n"
          + "Expect: 100-continue\r\n\r\n")
      let upstream = try origin.accept()
      #expect(try upstream.expectHead("PUT / HTTP/1.1")["Expect"] == "100-continue")
      try upstream.send(head: 100)
      try client.expectHead(100)
      try client.send("content")
      try upstream.expectContent("content")
      try upstream.respond(201, [], "made")
      try client.expectResponse(201, content: "made")
      try client.get("/nowhere").expectError(404, "No mirror")
    }
  }

  @Test("who waits for 100 (Continue) may get a final answer instead, and the connection ends")
  func expectRefused() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "PUT \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 7\r\n"
          + "Expect: 100-continue\r\n\r\n")
      let upstream = try origin.accept()
      try upstream.expectHead()
      try upstream.respond(401, [], "who are you")
      // RFC 9112 §9.3: without its content the request has no end, so nothing can follow.
      try client.expectResponse(401, ["Connection": "close"], content: "who are you")
      try client.expectEnd()
      try upstream.expectGone()
    }
  }

  @Test("an early refusal reaches a client that is still sending")
  func earlyRefusal() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "POST \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n"
          + "Content-Length: 1000000\r\n\r\nbegun")
      let upstream = try origin.accept()
      try upstream.expectHead()
      try upstream.expectContent("begun")
      try upstream.respond(413, ["Connection: close"], "too much")
      upstream.close()
      try client.expectResponse(413, ["Connection": "close"], content: "too much")
      // What the client still sends is thrown away until it has seen the end.
      client.trySending([UInt8](repeating: 0x61, count: 200_000))
      try client.expectEnd()
    }
  }

  @Test("chunked content and its trailers go both ways, chunk by chunk")
  func chunkedBothWays() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "POST \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n"
          + "Transfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Sum\r\n\r\n")
      let upstream = try origin.accept()
      let head = try upstream.expectHead("POST / HTTP/1.1")
      #expect(head["Transfer-Encoding"] == "chunked")
      #expect(head["Trailer"] == "X-Sum")
      #expect(head["TE"] == "trailers" && head["Connection"] == "TE")
      try client.sendChunk("one ")
      try upstream.expectContent("one ")
      try client.sendChunk("two").sendLastChunk(trailers: ["X-Sum: 7"])
      #expect(try upstream.expectRest() == Array("two".utf8))
      #expect(upstream.trailers == ["X-Sum: 7"])

      try upstream.send(head: 200, ["Transfer-Encoding: chunked", "Trailer: X-Check"])
      try client.expectHead(200, ["Transfer-Encoding": "chunked", "Trailer": "X-Check"])
      try upstream.sendChunk("three ")
      try client.expectContent("three ")
      try upstream.sendChunk("four").sendLastChunk(trailers: ["X-Check: 8"])
      #expect(try client.expectRest() == Array("four".utf8))
      #expect(client.trailers == ["X-Check: 8"])
    }
  }

  @Test(
    "trailers of an answer stay behind when nobody asked for them",
    arguments: ["TE: gzip", "TE: ", "X: trailers"])
  func unwantedTrailers(field: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request("POST", origin.url("/"), [field])
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["TE"] == nil)
      try upstream.send(head: 200, ["Transfer-Encoding: chunked", "Trailer: X-Check"])
      try upstream.sendChunk("content").sendLastChunk(trailers: ["X-Check: 8"])
      let answer = try client.expectResponse(200, content: "content")
      #expect(answer["Trailer"] == nil)
      #expect(answer.trailers.isEmpty)
    }
  }

  @Test("an expectation that cannot be met by waiting stays behind")
  func pointlessExpectation() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request("POST", origin.url("/"), ["Expect: 100-continue"])
      #expect(try origin.serve(200, ["Connection: close"])["Expect"] == nil)
      try client.expectResponse(200)
      let old = try proxy.connect()
      try old.send(
        "POST \(origin.url("/")) HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
      #expect(try origin.serve(200, ["Connection: close"])["Expect"] == nil)
      try old.expectResponse(200)
    }
  }

  @Test("an offer to change the version of HTTP ends here", arguments: ["GET", "POST"])
  func upgrade(method: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request(
        method, origin.url("/"),
        [
          "Upgrade: h2c, TLS/1.3, HTTP/2.0", "HTTP2-Settings: AAMAAABk",
          "Connection: Upgrade, HTTP2-Settings",
        ])
      let request = try origin.serve(200, ["Upgrade: h2c", "Connection: Upgrade"], "plain")
      for name in ["Upgrade", "HTTP2-Settings", "Connection"] { #expect(request[name] == nil) }
      let answer = try client.expectResponse(200, content: "plain")
      #expect(answer["Upgrade"] == nil && answer["Connection"] == nil)
    }
  }

  @Test(
    "a large upload arrives byte for byte, whatever the pace of the origin",
    arguments: [true, false])
  func largeUpload(chunked: Bool) throws {
    try wire { origin, proxy in
      let content = patterned(5_000_000)
      let client = try proxy.connect()
      let length = chunked ? "Transfer-Encoding: chunked" : "Content-Length: \(content.count)"
      let sender = try Background {
        try client.send(
          "PUT \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\(length)\r\n\r\n")
        if chunked {
          var rest = content[...]
          while !rest.isEmpty {
            try client.sendChunk(Array(rest.prefix(77_777)))
            rest = rest.dropFirst(77_777)
          }
          try client.sendLastChunk()
        } else {
          try client.send(content)
        }
      }
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest().content == content)
      try sender.join()
      try upstream.respond(201)
      try client.expectResponse(201)
    }
  }

  @Test("a client that leaves in the middle of an upload leaves the origin without a whole request")
  func abandonedUpload() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "PUT \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n"
          + "Transfer-Encoding: chunked\r\n\r\n")
      try client.sendChunk("half")
      let upstream = try origin.accept()
      try upstream.expectHead()
      try upstream.expectContent("half")
      client.close()
      try upstream.expectIncomplete()
    }
  }

  @Test("a relayed answer waits for a client that reads slowly, and is complete in the end")
  func backPressure() throws {
    try wire { origin, proxy in
      let content = patterned(8 << 20)
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 16 << 10)
      try client.get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let sender = try Background {
        try upstream.send(
          head: 200, ["Cache-Control: no-store", "Content-Length: \(content.count)"])
        try upstream.send(content)
      }
      try client.expectHead(200)
      try proxy.expect("the origin to be held back") { $0.value(.upstreamReceived) > 300_000 }
      #expect(proxy.registry.value(.upstreamReceived) < 7 << 20)
      #expect(try client.expectRest() == content)
      try sender.join()
    }
  }

  @Test(
    "unknown methods and their answers pass", arguments: ["PROPFIND", "OPTIONS", "DELETE", "X-Own"])
  func otherMethods(method: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request(method, origin.url("/a"))
      let request = try origin.serve(207, ["Cache-Control: max-age=600"], "answer")
      #expect(request.head.startLine == "\(method) /a HTTP/1.1")
      let answer = try client.expectResponse(207, content: "answer")
      #expect(answer["Cache-Status"]?.contains("fwd=method") == true)
    }
  }

  @Test("content goes with GET, and such an answer is not for others")
  func getWithContent() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      for _ in 0..<2 {
        try client.send(
          "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 5\r\n\r\nquery"
        )
        let request = try origin.serve(
          200, ["Cache-Control: max-age=600", "Connection: close"], "a")
        #expect(request.text == "query")
        try client.expectResponse(200, content: "a")
      }
    }
  }

  @Test("204 and 304 have no content and the connection goes on", arguments: [204, 304])
  func noContent(status: Int) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request("POST", origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(status, ["ETag: \"a\""])
      let answer = try client.expectResponse(status, ["ETag": "\"a\""])
      #expect(answer["Content-Length"] == nil)
      #expect(answer["Transfer-Encoding"] == nil)
      try client.request("POST", origin.url("/"))
      try upstream.expectRequest()
      try upstream.respond(200, [], "on")
      try client.expectResponse(200, content: "on")
    }
  }
}
