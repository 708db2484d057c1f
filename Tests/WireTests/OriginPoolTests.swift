// Kept connections to origins: used again, dropped when they are dead or said something nobody asked for.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct OriginPoolTests {
  private let passing = ["Cache-Control: no-store"]

  /// Requests `path` and has it answered on `connection`.
  private func exchange(
    _ client: WireClient, _ origin: WireOrigin, _ path: String, on connection: WireOriginConnection
  ) throws {
    try client.get(origin.url(path))
    try connection.expectRequest("GET \(path) HTTP/1.1")
    try connection.respond(200, passing, path)
    try client.expectResponse(200, content: path)
  }

  @Test("a connection is used for one request after the other, of different clients")
  func reuse() throws {
    try wire { origin, proxy in
      let one = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, passing, "1")
      try one.expectResponse(200)
      try exchange(try proxy.connect(), origin, "/2", on: upstream)
      try exchange(one, origin, "/3", on: upstream)
      #expect(proxy.registry.value(.upstreamConnects) == 1)
      #expect(proxy.registry.value(.upstreamReuses) == 2)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a connection is used again whatever kind of answer came over it",
    arguments: ["max-age=600", "no-store"], [0, 5_000, 20_000, 60_000])
  func reuseAfterOnePiece(directive: String, size: Int) throws {
    try wire { origin, proxy in
      let content = String(repeating: "x", count: size)
      let client = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      for number in 1...3 {
        try upstream.expectRequest("GET /\(number) HTTP/1.1")
        try upstream.respond(200, ["Cache-Control: \(directive)"], content)
        try client.expectResponse(200, content: content)
        try proxy.expect("the exchange to be over") { _ in true }
        try client.get(origin.url("/\(number + 1)"))
      }
      try upstream.expectRequest("GET /4 HTTP/1.1")
      try upstream.respond(200, passing, "")
      try client.expectResponse(200)
      #expect(proxy.registry.value(.upstreamConnects) == 1)
    }
  }

  @Test(
    "an idle connection that the origin ends is noticed before it is used",
    arguments: [true, false])
  func deadIdle(reset: Bool) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, passing, "1")
      try client.expectResponse(200)
      if reset { upstream.abort() } else { upstream.close() }
      try proxy.expect("the dead connection to be dropped") {
        $0.value(.connectionsOpen, .upstream) == 0
      }
      try client.get(origin.url("/2"))
      try origin.serve(200, passing, "2")
      try client.expectResponse(200, content: "2")
      #expect(proxy.registry.value(.upstreamRetries) == 0)
    }
  }

  @Test(
    "a connection that ends as the request reaches it costs one repetition, on a new one",
    arguments: [true, false])
  func race(reset: Bool) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, passing, "1")
      try client.expectResponse(200)
      try client.get(origin.url("/2"))
      try upstream.expectRequest("GET /2 HTTP/1.1")
      if reset { upstream.abort() } else { upstream.close() }
      try origin.serve(200, passing, "2")
      try client.expectResponse(200, content: "2")
      #expect(proxy.registry.value(.upstreamRetries) == 1)
      try origin.expectNothingElse()
    }
  }

  @Test("a repetition does not go over another kept connection, which may be just as dead")
  func repetitionIsFresh() throws {
    try wire { origin, proxy in
      // Three at once make three connections.
      let clients = try (1...3).map { try proxy.connect().get(origin.url("/\($0)")) }
      let kept = try (1...3).map { _ in try origin.accept() }
      for connection in kept {
        try connection.expectRequest()
        try connection.respond(200, passing, "a")
      }
      for client in clients { try client.expectResponse(200) }
      try proxy.expect("three to be kept") { $0.value(.connectionsOpen, .upstream) == 3 }
      try clients[0].get(origin.url("/x"))
      // One of the three gets it.
      var asked: WireOriginConnection?
      try proxy.script.wait("the origin", for: "a request", .here(#fileID, #line)) {
        asked = kept.first { $0.hasUnread }
        return asked != nil
      }
      try asked?.expectRequest("GET /x HTTP/1.1")
      asked?.close()
      try origin.serve(200, passing, "fresh")
      try clients[0].expectResponse(200, content: "fresh")
    }
  }

  @Test("a request that may not be repeated is not", arguments: ["POST", "PATCH"])
  func notRepeated(method: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, passing, "1")
      try client.expectResponse(200)
      try client.request(method, origin.url("/2"))
      try upstream.expectRequest("\(method) /2 HTTP/1.1")
      upstream.close()
      try client.expectError(502, "without an answer", type: "connection_terminated")
      try origin.expectNothingElse()
    }
  }

  @Test("content that was begun is not sent a second time")
  func contentNotRepeated() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, passing, "1")
      try client.expectResponse(200)
      try client.send(
        "PUT \(origin.url("/2")) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 5\r\n\r\nhello"
      )
      #expect(try upstream.expectRequest("PUT /2 HTTP/1.1").text == "hello")
      upstream.close()
      try client.expectError(502, "without an answer")
      try origin.expectNothingElse()
    }
  }

  @Test("once a byte of the answer came, nothing is repeated")
  func answerBegun() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, passing, "1")
      try client.expectResponse(200)
      try client.get(origin.url("/2"))
      try upstream.expectRequest()
      try proxy.send([Array("HTTP/1.1 2".utf8)], from: upstream)
      upstream.close()
      try client.expectError(502, origin.authority)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "bytes after the end of an answer, in one piece with it, spoil it and end the connection",
    arguments: [true, false])
  func surplus(isWholeAnswer: Bool) throws {
    let bytes =
      isWholeAnswer
      ? "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 6\r\n\r\npoison" : "x"
    try wire { origin, proxy in
      for directive in ["no-store", "max-age=600"] {
        let client = try proxy.connect().get(origin.url("/\(directive)"))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(
          "HTTP/1.1 200 OK\r\nCache-Control: \(directive)\r\nContent-Length: 4\r\n\r\ngood\(bytes)")
        try client.expectError(502, "more than the one answer", type: "http_protocol_error")
        try upstream.expectGone()
        try client.get(origin.url("/\(directive)/2"))
        try origin.serve(200, passing + ["Connection: close"], "also good")
        try client.expectResponse(200, content: "also good")
      }
    }
  }

  @Test("a second answer that nobody asked for ends the idle connection")
  func unasked() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, passing, "good")
      try client.expectResponse(200, content: "good")
      try upstream.respond(200, ["Cache-Control: max-age=600"], "poison")
      try upstream.expectGone()
      try client.get(origin.url("/2"))
      try origin.serve(200, passing, "also good")
      try client.expectResponse(200, content: "also good")
    }
  }

  @Test(
    "content behind the answer to HEAD or behind 304 is not taken for the next answer",
    arguments: ["HEAD", "GET"])
  func contentWhereNoneMayBe(method: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request(
        method, origin.url("/1"), ["Cache-Control: no-store"])
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let status = method == "HEAD" ? "200 OK" : "304 Not Modified"
      try upstream.send(
        "HTTP/1.1 \(status)\r\nCache-Control: no-store\r\nContent-Length: 6\r\n\r\npoison")
      try client.expectError(502, "more than the one answer", isHead: method == "HEAD")
      try upstream.expectGone()
      try client.get(origin.url("/2"))
      try origin.serve(200, passing, "good")
      try client.expectResponse(200, content: "good")
    }
  }

  @Test("an idle connection is let go after its time")
  func idleTimeout() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.idleTimeout = .milliseconds(100)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, passing, "1")
      try client.expectResponse(200)
      try upstream.expectEnd()
    }
  }

  @Test("no more idle connections are kept than the configuration allows")
  func maxIdle() throws {
    try wire(configure: { configuration, _ in configuration.upstream.maxIdle = 1 }) {
      origin, proxy in
      let clients = try (1...3).map { try proxy.connect().get(origin.url("/\($0)")) }
      let upstreams = try (1...3).map { _ in try origin.accept() }
      for connection in upstreams {
        try connection.expectRequest()
        try connection.respond(200, passing, "a")
      }
      for client in clients { try client.expectResponse(200) }
      try proxy.expect("one to be kept") { $0.value(.connectionsOpen, .upstream) == 1 }
    }
  }

  @Test("a large answer that pauses for the store is complete, and its connection is used again")
  func paused() throws {
    try wire { origin, proxy in
      let content = patterned(20 << 20)
      let client = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let sender = try Background {
        try upstream.send(
          head: 200, ["Cache-Control: max-age=600", "Content-Length: \(content.count)"])
        try upstream.send(content)
      }
      #expect(try client.expectResponse(200).content == content)
      try sender.join()
      try exchange(client, origin, "/2", on: upstream)
    }
  }

  @Test(
    "a connection that has been shown credentials for itself is lent to nobody else",
    arguments: ["NTLM abc", "negotiate abc"])
  func connectionAuthentication(credentials: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.get(origin.url("/a"), "Authorization: \(credentials)")
      let first = try origin.accept()
      #expect(try first.expectRequest()["Authorization"] == credentials)
      try first.respond(200, ["Cache-Control: no-store"], "for one")
      try client.expectResponse(200, content: "for one")
      try first.expectEnd()
      first.close()
      let other = try proxy.connect()
      try other.get(origin.url("/a"))
      // Another connection.
      try origin.serve(200, ["Cache-Control: no-store"], "for another")
      try other.expectResponse(200, content: "for another")
    }
  }
}
