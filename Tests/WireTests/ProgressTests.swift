// Peers that keep a connection busy without getting on: a byte now and then, so that no time-out for silence ever
// comes. Windows are short here and demands high, so that whatever a test sends is a trickle.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct ProgressTests {
  private let fresh = ["Cache-Control: max-age=600"]

  private func shortWindows(_ configuration: inout Configuration, _ origin: WireOrigin) {
    configuration.limits.progressWindow = .milliseconds(100)
    configuration.limits.minProgress = nil
    configuration.upstream.minProgress = nil
  }

  /// Sends a byte at a time until the other side is gone or the proxy has counted a time-out.
  private func trickle(
    _ peer: WirePeer, _ proxy: TestProxy, _ byte: String, until kind: TimeoutKind
  ) throws {
    let before = proxy.registry.value(.timeouts, kind)
    try proxy.expect("the trickle to be found out") {
      peer.trySending(Array(byte.utf8))
      return $0.value(.timeouts, kind) > before
    }
  }

  @Test("content of a request that only trickles is 408")
  func requestTrickles() throws {
    try wire(configure: { configuration, origin in
      shortWindows(&configuration, origin)
      configuration.limits.minProgress = .mib(1)
    }) { origin, proxy in
      let client = try proxy.connect().request(
        "POST", origin.url("/"), ["Content-Length: 100000000"])
      let upstream = try origin.accept()
      try upstream.expectHead()
      try trickle(client, proxy, "x", until: .requestTrickle)
      try client.expectError(
        408, "Less than 1048576 bytes of the request's content came within 100 ms",
        type: "http_request_error", closes: true)
      try upstream.expectIncomplete()
    }
  }

  @Test(
    "content of an answer that only trickles is cut, and nothing of it is stored",
    arguments: [true, false], [true, false])
  func answerTrickles(isChunked: Bool, isStorable: Bool) throws {
    try wire(configure: { configuration, origin in
      shortWindows(&configuration, origin)
      configuration.upstream.minProgress = .mib(1)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(
        head: 200,
        [isStorable ? fresh[0] : "Cache-Control: no-store"]
          + [isChunked ? "Transfer-Encoding: chunked" : "Content-Length: 100000000"])
      try client.expectHead(200)
      try trickle(upstream, proxy, isChunked ? "1\r\nx\r\n" : "x", until: .upstreamTrickle)
      try client.expectIncomplete()
      try upstream.expectGone()
      let again = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, fresh, "whole")
      try again.expectResponse(200, content: "whole")
    }
  }

  @Test("a head that comes byte by byte and never ends is 504")
  func headDribbles() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.readTimeout = .milliseconds(200)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send("HTTP/1.1 200 OK\r\nX: ")
      try proxy.expect("the time to be over") {
        // Slow enough not to reach the limit on heads first.
        upstream.trySending([0x61])
        return $0.value(.timeouts, .upstream) == 1
      }
      try client.expectError(
        504, "did not complete the head of its answer within 200 ms", type: "http_response_timeout")
    }
  }

  @Test("an event stream may be as slow as it likes")
  func eventStream() throws {
    try wire(configure: { configuration, origin in
      shortWindows(&configuration, origin)
      configuration.upstream.minProgress = .mib(1)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(
        head: 200, ["Content-Type: Text/Event-Stream", "Transfer-Encoding: chunked"])
      try client.expectHead(200)
      let end = Instant.precise() + .milliseconds(350)
      while Instant.precise() < end {
        try upstream.sendChunk(":\n\n")
        try client.expectContent(":\n\n")
      }
      try upstream.sendLastChunk()
      #expect(try client.expectRest() == [])
    }
  }

  @Test("a client that reads next to nothing is cut")
  func clientReadsTrickle() throws {
    try wire(configure: { configuration, origin in
      shortWindows(&configuration, origin)
      // More than loopback can carry, so that reading as fast as one can is a trickle.
      configuration.limits.minProgress = .gib(100)
    }) { origin, proxy in
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 128 << 10)
      try client.get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fresh + ["Content-Length: \(96 << 20)"])
      try upstream.send([UInt8](repeating: 0x61, count: 96 << 20))
      try proxy.expectStored()
      try client.expectHead(200)
      try proxy.expect("the client to be found out") {
        _ = try? client.expectContent(32 << 10)
        return $0.value(.timeouts, .writeTrickle) == 1
      }
      try client.expectIncomplete()
    }
  }

  @Test(
    "an origin that takes nothing of a request is 504; the client, who has to wait, is not blamed")
  func originDoesNotRead() throws {
    try wire(configure: { configuration, origin in
      shortWindows(&configuration, origin)
      configuration.limits.minProgress = .mib(1)
      configuration.limits.contentTimeout = .milliseconds(100)
      configuration.upstream.readTimeout = .milliseconds(500)
    }) { origin, proxy in
      let client = try proxy.connect().request(
        "POST", origin.url("/"), ["Content-Length: 100000000"])
      let upstream = try origin.accept()
      try upstream.shrinkReceiveBuffer(to: 4096)
      let sender = try Background {
        let piece = [UInt8](repeating: 0x61, count: 64 << 10)
        while (try? client.send(piece)) != nil {}
      }
      try client.expectError(
        504, "took nothing of the request for 500 ms", type: "connection_write_timeout",
        closes: true)
      try sender.join()
      #expect(proxy.registry.value(.timeouts, .upstream) == 1)
      #expect(proxy.registry.value(.timeouts, .requestContent) == 0)
      #expect(proxy.registry.value(.timeouts, .requestTrickle) == 0)
    }
  }

  /// Lets time pass in which the proxy is busy with somebody else.
  private func pass(_ time: Duration, _ proxy: TestProxy) throws {
    let other = try proxy.connect()
    let end = Instant.precise() + time
    while Instant.precise() < end { try other.get("/nowhere").expectAnyResponse() }
    other.close()
  }

  @Test("a client may think after 100 Continue; the origin is not blamed for it")
  func clientThinks() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.readTimeout = .milliseconds(100)
    }) { origin, proxy in
      let client = try proxy.connect().request(
        "POST", origin.url("/"), ["Content-Length: 4", "Expect: 100-continue"])
      let upstream = try origin.accept()
      try upstream.expectHead()
      try upstream.send("HTTP/1.1 100 Continue\r\n\r\n")
      try client.expectHead(100)
      try pass(.milliseconds(300), proxy)
      try client.send("done")
      try upstream.expectContent("done")
      try upstream.respond(200, [], "thanks")
      try client.expectResponse(200, content: "thanks")
    }
  }

  @Test("an upload whose client was slow to read an early answer has its whole time afterwards")
  func earlyAnswer() throws {
    try wire(configure: { configuration, _ in
      // It is looked at twice in that time.
      configuration.limits.writeTimeout = .seconds(1)
    }) { origin, proxy in
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 128 << 10)
      try client.request("POST", origin.url("/"), ["Content-Length: 8"])
      try client.send("half")
      let upstream = try origin.accept()
      try upstream.expectHead()
      try upstream.expectContent("half")
      let content = patterned(12 << 20)
      let sender = try Background {
        try upstream.send(head: 200, ["Content-Length: \(content.count)"])
        try upstream.send(Array(content.dropLast()))
      }
      // More than any buffer on the way takes, unread.
      var last = Int64(-1)
      var same = 0
      try proxy.expect("the client's socket to be full") {
        let now = $0.value(.downstreamSent)
        same = now == last && now > 1 << 20 ? same + 1 : 0
        last = now
        return same > 100
      }
      try client.expectHead(200)
      #expect(try client.expectContent(content.count - 1) == Array(content.dropLast()))
      try sender.join()
      try pass(.milliseconds(700), proxy)
      try client.send("done")
      try upstream.expectContent("done").send(Array(content.suffix(1)))
      #expect(try client.expectRest() == Array(content.suffix(1)))
      #expect(proxy.registry.value(.timeouts, .requestContent) == 0)
    }
  }

  @Test("a client that pauses within its content is blamed itself, and not the origin")
  func clientPauses() throws {
    try wire(configure: { configuration, _ in
      configuration.limits.contentTimeout = .milliseconds(400)
      configuration.upstream.readTimeout = .milliseconds(100)
    }) { origin, proxy in
      let client = try proxy.connect().request("POST", origin.url("/"), ["Content-Length: 10"])
      try client.send("half")
      let upstream = try origin.accept()
      try upstream.expectHead()
      try upstream.expectContent("half")
      try client.expectError(
        408, "stopped coming for 400 ms", type: "http_request_error", closes: true)
      #expect(proxy.registry.value(.timeouts, .upstream) == 0)
    }
  }
}
