// Origins that cannot be reached or do not answer properly, as long as no byte of an answer is out: 502 or
// 504, a sentence that names the origin, and a client connection that goes on.

import Configuration
import IO
import Platform
import Support
import Synchronization
import Telemetry
import Testing

@Suite struct UpstreamFailureTests {
  /// Asks for something else on the same connection, to show that it goes on.
  private func expectAlive(_ client: WireClient) throws {
    try client.get("/nowhere").expectError(404, "No mirror")
  }

  @Test("an origin that refuses connections is 502")
  func refused() throws {
    try wire { origin, proxy in
      let target = origin.url("/")
      origin.stopListening()
      let client = try proxy.connect().get(target)
      try client.expectError(
        502, "No connection to \(origin.authority)", type: "connection_refused")
      #expect(proxy.registry.value(.upstreamConnectFailures, .refused) == 1)
      try expectAlive(client)
    }
  }

  @Test("a host without an address is 502")
  func unknownHost() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get("http://nowhere.example/")
      try client.expectError(502, "the name does not exist", type: "dns_error")
      try expectAlive(client)
    }
  }

  @Test("a lookup that takes too long is 504")
  func slowLookup() throws {
    let gate = Monitor(false)
    try wire(
      configure: { configuration, _ in
        configuration.upstream.connectTimeout = .milliseconds(100)
      },
      lookup: { _ in
        _ = gate.wait { $0 ? true : nil }
        return .failure(.notFound)
      }
    ) { origin, proxy in
      defer {
        gate.withLock { $0 = true }
        gate.wakeAll()
      }
      let client = try proxy.connect().get(origin.url("/"))
      try client.expectError(504, "took too long", type: "dns_timeout")
      try expectAlive(client)
    }
  }

  @Test("an origin that does not take the connection in time is 504")
  func connectTimeout() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.connectTimeout = .milliseconds(200)
    }) { origin, proxy in
      // A full queue makes the kernel ignore further attempts.
      let socket = try Socket.listen(on: .loopback(port: 0), backlog: 0)
      let address = try Socket.localAddress(socket.rawValue)
      let first = try Socket.connect(to: address)
      let second = try Socket.connect(to: address)
      let client = try proxy.connect().get("http://origin.test:\(address.port)/")
      try client.expectError(504, "No connection", type: "connection_timeout")
      try expectAlive(client)
      try first.close()
      try second.close()
      try socket.close()
    }
  }

  enum Break: CaseIterable { case finish, reset, finishInHead, resetInHead }

  @Test(
    "an origin that ends the connection before its head is complete is 502",
    arguments: Break.allCases)
  func endsBeforeHead(how: Break) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      if how == .finishInHead || how == .resetInHead {
        try proxy.send([Array("HTTP/1.1 200 OK\r\nContent-".utf8)], from: upstream)
      }
      if how == .finish || how == .finishInHead { upstream.close() } else { upstream.abort() }
      try client.expectError(502, origin.authority, type: "connection_terminated")
      try expectAlive(client)
      // A first request is not repeated: whoever asked may do so.
      try origin.expectNothingElse()
    }
  }

  struct Answer: Sendable, CustomTestStringConvertible {
    var what: String
    var sentence: String
    var type = "http_protocol_error"
    var bytes: String
    var testDescription: String { what }
  }

  static let improper: [Answer] = [
    Answer(what: "garbage", sentence: "its version", bytes: "220 smtp.example ready\r\n\r\n"),
    Answer(
      what: "a bare LF", sentence: "LF alone", bytes: "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    Answer(
      what: "both lengths", sentence: "both Content-Length",
      bytes:
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Answer(
      what: "two lengths", sentence: "more than one Content-Length",
      bytes: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    Answer(
      what: "a negative length", sentence: "plain decimal",
      bytes: "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    Answer(
      what: "an unknown transfer coding", sentence: "not chunked",
      type: "http_response_transfer_coding",
      bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    Answer(
      what: "chunks in HTTP/1.0", sentence: "HTTP/1.0 does not know",
      bytes: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Answer(
      what: "content with 204", sentence: "never has any",
      bytes: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    Answer(
      what: "101 without being asked", sentence: "switched protocols",
      bytes: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    Answer(
      what: "interim answers without end", sentence: "more than 64 interim",
      bytes: String(repeating: "HTTP/1.1 103 Early Hints\r\n\r\n", count: 65)),
    Answer(
      what: "a malformed chunk right behind the head", sentence: "hexadecimal",
      type: "http_response_transfer_coding",
      bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"a\"\r\n\r\nxyz\r\n"),
    Answer(
      what: "a head larger than the limit", sentence: "larger than the limit",
      type: "http_response_header_section_size",
      bytes: "HTTP/1.1 200 OK\r\nX: \(String(repeating: "a", count: 70_000))\r\n\r\n"),
  ]

  @Test(
    "an answer that is not proper HTTP is 502, and the connection to the origin ends",
    arguments: improper)
  func improperAnswer(_ answer: Answer) throws {
    try wire { origin, proxy in
      // HTTP/1.0, so that interim answers do not come before the error.
      let client = try proxy.connect()
      try client.send(
        "GET \(origin.url("/")) HTTP/1.0\r\nHost: \(origin.authority)\r\n\r\n")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      upstream.trySending(Array(answer.bytes.utf8))
      try client.expectError(502, answer.sentence, type: answer.type, closes: true)
      try upstream.expectGone()
      // Nothing of it was stored.
      let again = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, [], "better")
      try again.expectResponse(200, content: "better")
    }
  }

  @Test("an origin that says nothing in time is 504, and the request is given up")
  func silent() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.readTimeout = .milliseconds(100)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try client.expectError(
        504, "did not answer within 100 ms", type: "HTTP_response_timeout".lowercased())
      try upstream.expectGone()
      #expect(proxy.registry.value(.timeouts, .upstream) == 1)
      try expectAlive(client)
    }
  }

  @Test("with nothing stored, a client that wants stored answers only gets 504")
  func onlyIfCached() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "Cache-Control: only-if-cached")
      try client.expectError(504, "Nothing stored", type: "proxy_internal_response")
      try origin.expectNothingElse()
      try expectAlive(client)
    }
  }

  @Test(
    "all who wait hear of it when three fetches in a row have failed, and the next one may succeed")
  func collapsedFailure() throws {
    // On several loops, those who hear of it late may meet in a fetch of their own.
    try wire { origin, proxy in
      let request = "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n"
      let clients = try (0..<6).map { _ in try proxy.connect().send(request) }
      try proxy.expect("all requests") {
        $0.value(.downstreamReceived) == Int64(6 * request.utf8.count)
      }
      for _ in 0..<3 {
        let upstream = try origin.accept()
        try upstream.expectRequest()
        upstream.abort()
      }
      for client in clients { try client.expectError(502, origin.authority) }
      try origin.expectNothingElse()
      try clients[0].get(origin.url("/"))
      try origin.serve(200, [], "now")
      try clients[0].expectResponse(200, content: "now")
    }
  }

  @Test(
    "a part, or a renewal, that nobody asked for is not passed on", arguments: [206, 304, 416],
    [[], ["Range: bytes=0-3"], ["If-None-Match: \"v\""]])
  func unasked(status: Int, fields: [String]) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request("GET", origin.url("/"), fields)
      try origin.serve(
        status, ["Content-Range: bytes 0-3/10", "ETag: \"v\"", "Connection: close"],
        status == 304 ? "" : "part")
      try client.expectError(502, "without conditions and ranges", type: "http_protocol_error")
      try expectAlive(client)
    }
  }
}
