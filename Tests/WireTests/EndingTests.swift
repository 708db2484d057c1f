// Every way in which a connection can break between scripted peers leaves one record, with what was observed and what
// it is judged to be; and what is in order leaves none.

import Configuration
import Forensics
import Platform
import Support
import Telemetry
import Testing

@Suite("Records of endings") struct EndingTests {
  /// The one record there is, judged for good.
  private func record(_ proxy: TestProxy, _ expected: Ending) throws -> EndingRecord {
    try proxy.expect("a record") { _ in !proxy.server.recentEndings().isEmpty }
    proxy.server.finishEndings()
    let records = proxy.server.recentEndings()
    let record = try #require(records.first)
    #expect(records.count == 1, "\(records.map(\.verdict))")
    #expect(record.evidence.ending == expected)
    #expect(record.stage == .final)
    return record
  }

  enum Break: CaseIterable, Sendable { case reset, finish, stall, noise }
  enum Place: CaseIterable, Sendable { case beforeHead, inContent }

  @Test("an origin that breaks off", arguments: Break.allCases, Place.allCases)
  func origin(how: Break, place: Place) throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.readTimeout = .milliseconds(200)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/a?b"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      if place == .inContent {
        try upstream.send(head: 200, ["Transfer-Encoding: chunked", "Cache-Control: no-store"])
        try upstream.sendChunk("0123456789")
        try client.expectHead(200)
        #expect(try client.expectContent(10) == Array("0123456789".utf8))
      }
      switch how {
      case .reset: upstream.abort()
      case .finish: upstream.finish()
      case .stall: break
      case .noise: try upstream.send(place == .inContent ? "no chunk\r\n" : "no answer\r\n\r\n")
      }
      let means: Means =
        switch how {
        case .reset: .reset
        case .finish: .finish
        case .stall: .timeout
        case .noise: .malformed
        }
      let phase: Phase = place == .inContent ? .content : .head
      let record = try record(proxy, Ending(.upstream, phase, means))
      let cause: Cause =
        switch how {
        case .reset: .originAborted
        case .finish: .originFinishedEarly
        case .stall: .originStalled
        case .noise: .originMalformed
        }
      #expect(record.verdict.cause == cause)
      #expect(record.transaction.url == origin.url("/a?b"))
      #expect(record.transaction.method == "GET")
      #expect(record.evidence.socket.peer?.port == origin.port)
      #expect(record.evidence.socket.local != nil)
      #expect(record.evidence.socket.info != nil)
      #expect(record.evidence.content.received == (place == .inContent ? 10 : 0))
      if how == .reset { #expect(record.evidence.socket.errno == .connectionReset) }
      if place == .beforeHead {
        // Who looks at the failed build finds the record.
        let answer = try client.expectHead(how == .stall ? 504 : 502)
        #expect(answer["Proxy-Status"]?.contains(record.id.text) == true)
      }
    }
  }

  @Test("an origin where nobody listens")
  func refused() throws {
    try wire { origin, proxy in
      let target = origin.url("/")
      origin.stopListening()
      let client = try proxy.connect().get(target)
      let answer = try client.expectHead(502)
      let record = try record(proxy, Ending(.upstream, .connect, .reset))
      #expect(record.verdict.cause == .originRefused)
      #expect(record.evidence.socket.errno == .connectionRefused)
      #expect(answer["Proxy-Status"]?.contains(record.id.text) == true)
    }
  }

  @Test(
    "a kept connection that its origin closes as the request comes: sent once more, and said so")
  func repeated() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/1"))
      let first = try origin.accept()
      try first.expectRequest()
      try first.respond(200, ["Cache-Control: no-store"], "one")
      try client.expectResponse(200, content: "one")
      // The request is taken, and the connection ended in its place.
      try client.get(origin.url("/2"))
      try first.expectRequest()
      first.finish()
      let second = try origin.accept()
      try second.expectRequest()
      try second.respond(200, ["Cache-Control: no-store"], "two")
      try client.expectResponse(200, content: "two")
      let record = try record(proxy, Ending(.upstream, .head, .finish))
      // Its kernel has confirmed the request, as it does not for a program that has closed the connection.
      #expect(record.verdict.cause == .originFinishedEarly)
      #expect(record.verdict.confidence < 80)
      #expect(record.verdict.also == [.originClosedIdle])
      #expect(record.resumption?.outcome == .repeated)
      #expect(record.evidence.connection.isReused)
    }
  }

  @Test("a client that leaves in the middle", arguments: [true, false])
  func client(byReset: Bool) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, ["Content-Length: 100", "Cache-Control: no-store"])
      try upstream.send("0123456789")
      try client.expectHead(200, isHead: true)
      try client.expectBytes("0123456789")
      if byReset {
        client.abort()
      } else {
        // A FIN may be half a close: only what is sent afterwards shows that nobody is there.
        client.close()
        try upstream.send("0123456789")
      }
      try upstream.expectGone()
      let record = try record(
        proxy, Ending(.downstream, .content, byReset ? .reset : .finish))
      #expect(record.verdict.cause == .clientLeft)
      #expect(record.transaction.url == origin.url("/"))
      #expect(record.evidence.content.delivered.map { $0 > 10 } == true)
    }
  }

  @Test("of a client that leaves in the middle it is told how far it had got, and of how much")
  func progress() throws {
    try wire { origin, proxy in
      let content = String(repeating: "a", count: 8 << 20)
      let first = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let sender = try Background {
        _ = try upstream.respond(200, ["Cache-Control: max-age=60"], content)
      }
      try first.expectResponse(200, content: content)
      try sender.join()
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 64 << 10)
      try client.get(origin.url("/")).expectHead(200, isHead: true)
      client.abort()
      let facts = try record(proxy, Ending(.downstream, .content, .reset)).evidence.content
      let delivered = try #require(facts.delivered)
      let confirmed = try #require(facts.confirmed)
      let expected = try #require(facts.expected)
      #expect(confirmed > 0)
      #expect(confirmed <= delivered)
      #expect(delivered < expected)
      // With its head.
      #expect(expected > 8 << 20)
      #expect(expected < (8 << 20) + 2000)
    }
  }

  @Test(
    "a handshake in a tunnel that either side ends with an alert", arguments: Side.allCases,
    [true, false])
  func tunnelAlert(side: Side, isEncrypted: Bool) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request("CONNECT", origin.authority)
      let upstream = try origin.accept()
      try client.expectHead(200, isHead: true)
      let hello: [UInt8] = [22, 3, 1, 0, 4, 1, 0, 0, 0]
      try client.send(hello)
      try upstream.expectBytes(hello)
      let alert: [UInt8] =
        isEncrypted
        ? [20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 19] + [UInt8](repeating: 5, count: 19)
        : [21, 3, 3, 0, 2, 2, 48]
      if side == .downstream {
        try client.send(alert)
        try upstream.expectBytes(alert)
        client.finish()
        upstream.finish()
      } else {
        try upstream.send(alert)
        try client.expectBytes(alert)
        upstream.finish()
        client.finish()
      }
      let record = try record(proxy, Ending(side, .tls, .alert))
      #expect(record.verdict.cause == .tlsAlert)
      #expect(
        record.verdict.reasons.contains { $0.contains(isEncrypted ? "encrypted" : "unknown_ca") })
    }
  }

  @Test("the far side of a tunnel that resets")
  func tunnel() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request("CONNECT", origin.authority)
      let upstream = try origin.accept()
      try client.expectHead(200, isHead: true)
      try upstream.send("some")
      try client.expectBytes("some")
      upstream.abort()
      try client.expectReset()
      let record = try record(proxy, Ending(.upstream, .tunnel, .reset))
      #expect(record.transaction.server == origin.authority)
      #expect(record.verdict.cause == .originAborted)
    }
  }

  @Test("what is in order leaves no record")
  func healthy() throws {
    try wire { origin, proxy in
      // Kept, half-closed, closed by either side, HEAD, nothing to be had, pipelined, HTTP/1.0, a tunnel.
      for _ in 0..<3 {
        let client = try proxy.connect()
        try client.get(origin.url("/kept"))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.respond(200, ["Cache-Control: no-store"], "content")
        try client.expectResponse(200, content: "content")
        try client.request("HEAD", origin.url("/head"))
        try upstream.expectRequest()
        try upstream.send(head: 200, ["Content-Length: 5"])
        try client.expectHead(200, isHead: true)
        try client.get(origin.url("/close"))
        try upstream.expectRequest()
        try upstream.respond(204, ["Connection: close"], "")
        upstream.finish()
        try client.expectHead(204)
        client.close()
        upstream.close()
      }
      let half = try proxy.connect().get(origin.url("/half"))
      half.finish()
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, ["Connection: close"]).send("until the end")
      upstream.finish()
      try half.expectResponse(200, content: "until the end")
      let tunnel = try proxy.connect().request("CONNECT", origin.authority)
      let far = try origin.accept()
      try tunnel.expectHead(200, isHead: true)
      tunnel.finish()
      try far.expectEnd()
      far.finish()
      try tunnel.expectEnd()
      // A client that resets an idle connection has had all it asked for.
      let idle = try proxy.connect().get("/../")
      _ = try idle.expectAnyResponse()
      idle.abort()
      try proxy.expect("all to be gone") {
        $0.value(.connectionsOpen, .downstream) == 0 && $0.value(.tunnelsOpen) == 0
      }
      #expect(proxy.server.recentEndings().map(\.evidence.ending) == [])
    }
  }
}
