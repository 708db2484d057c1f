// Bandwidth limits. That something is slow enough cannot fail because the machine is busy: each test compares
// what came with what could have come at most in the time that has really passed.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct RateTests {
  private let fresh = ["Cache-Control: max-age=600"]
  /// A limit of 512 KiB/s and answers of 256 KiB: half a second each.
  private static let rate = Rate.perSecond(.kib(512))
  private static let size = 256 << 10

  /// The least time that so many bytes take: less the slack of a bucket and a portion for each connection.
  private func least(_ count: Int, connections: Int = 1) -> Duration {
    let free = 512 * 1024 / 10 + connections * 2 * 10486
    return .milliseconds(Int64(max(0, count - free)) * 1000 / (512 * 1024) - 20)
  }

  private func limited(
    _ configure: @escaping (inout Configuration) -> Void,
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(configure: { configuration, _ in configure(&configuration) }, body)
  }

  /// Has a body of the usual size stored, without waiting for a limit of the client's.
  private func store(_ origin: WireOrigin, _ proxy: TestProxy) throws -> [UInt8] {
    let body = patterned(Self.size)
    let client = try proxy.connect().get(origin.url("/"))
    let upstream = try origin.accept()
    try upstream.expectRequest()
    let server = try Background {
      try upstream.send(
        head: 200,
        ["Cache-Control: max-age=600", "Content-Length: \(body.count)", "Connection: close"])
      try upstream.send(body)
    }
    #expect(try client.expectResponse(200).content == body)
    try server.join()
    client.close()
    try proxy.expectStored()
    return body
  }

  @Test("a connection gets no more than its rate: hits, misses, and what comes in chunks")
  func connection() throws {
    try limited {
      $0.rate.connection = Self.rate
    } _: { origin, proxy in
      var start = Instant.precise()
      let body = try store(origin, proxy)
      #expect(Instant.precise() - start >= least(body.count))
      start = Instant.precise()
      let client = try proxy.connect().get(origin.url("/"))
      #expect(try client.expectResponse(200).content == body)
      #expect(Instant.precise() - start >= least(body.count))
      // Not stored, of a length that is known only at the end.
      start = Instant.precise()
      try client.get(origin.url("/chunked"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let server = try Background {
        try upstream.send(head: 200, ["Cache-Control: no-store", "Transfer-Encoding: chunked"])
        try upstream.sendChunk(patterned(Self.size)).sendLastChunk()
      }
      #expect(try client.expectResponse(200).content == body)
      try server.join()
      #expect(Instant.precise() - start >= least(body.count))
      #expect(proxy.registry.value(.rateWaits, .downstream) > 0)
    }
  }

  @Test("many small answers from memory are held to the rate as well, pipelined or not")
  func small() throws {
    try limited {
      $0.rate.connection = .perSecond(.kib(64))
    } _: { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, fresh, String(repeating: "a", count: 4096))
      try client.expectResponse(200)
      try proxy.expectStored()
      let start = Instant.precise()
      for _ in 0..<10 { try client.get(origin.url("/")) }
      for _ in 0..<10 { try client.expectResponse(200) }
      // 40 KiB, of which 6.4 KiB and two portions of 2 KiB are free.
      #expect(Instant.precise() - start >= .milliseconds(30 * 1000 / 64 - 50))
    }
  }

  @Test("the connections of one client share its rate, over all workers", arguments: [false, true])
  func shared(isTotal: Bool) throws {
    try limited { configuration in
      configuration.threads = .fixed(2)
      if isTotal {
        configuration.rate.total = Self.rate
      } else {
        configuration.rate.client = Self.rate
      }
    } _: { origin, proxy in
      let body = try store(origin, proxy)
      let start = Instant.precise()
      let clients = try (0..<3).map { _ in try proxy.connect().get(origin.url("/")) }
      let readers = try clients.map { client in
        try Background { try client.expectResponse(200).content == body }
      }
      for reader in readers { #expect(try reader.join()) }
      #expect(Instant.precise() - start >= least(3 * body.count, connections: 3))
    }
  }

  @Test("origins are read at the upstream rate, and clients get all of it")
  func upstream() throws {
    try limited {
      $0.upstream.rate = Self.rate
    } _: { origin, proxy in
      let start = Instant.precise()
      let body = try store(origin, proxy)
      #expect(Instant.precise() - start >= least(body.count))
      #expect(proxy.registry.value(.rateWaits, .upstream) > 0)
      // A hit asks no origin.
      let client = try proxy.connect().get(origin.url("/"))
      #expect(try client.expectResponse(200).content == body)
    }
  }

  @Test("tunnels are held to the rate towards the client, and upstream", arguments: [false, true])
  func tunnel(isUpstream: Bool) throws {
    try limited { configuration in
      if isUpstream {
        configuration.upstream.rate = Self.rate
      } else {
        configuration.rate.connection = Self.rate
      }
    } _: { origin, proxy in
      let client = try proxy.connect()
      try client.send("CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      let far = try origin.accept()
      try client.expectBytes("HTTP/1.1 200 Connection established\r\n\r\n")
      let body = patterned(Self.size)
      let start = Instant.precise()
      let server = try Background { try far.send(body) }
      try client.expectBytes(body)
      #expect(Instant.precise() - start >= least(body.count))
      try server.join()
      try client.send("the other way")
      try far.expectBytes("the other way")
      client.close()
      try far.expectEnd()
    }
  }

  @Test("a reload lifts a limit from connections in the middle of an answer, and puts one on")
  func reload() throws {
    try limited { configuration in
      // At this rate the answer would take minutes, longer than any step of a test may wait.
      configuration.rate.connection = .perSecond(.kib(1))
      configuration.upstream.rate = .perSecond(.kib(1))
    } _: { origin, proxy in
      let body = patterned(Self.size)
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let server = try Background {
        try upstream.send(
          head: 200, ["Cache-Control: max-age=600", "Content-Length: \(body.count)"])
        try upstream.send(body)
      }
      let tunnel = try proxy.connect()
      try tunnel.send("CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      let far = try origin.accept()
      try tunnel.expectBytes("HTTP/1.1 200 Connection established\r\n\r\n")
      try far.send([UInt8](repeating: 7, count: 64 << 10))
      try proxy.expect("both sides to wait") {
        $0.value(.rateWaits, .upstream) > 0 && $0.value(.rateWaits, .downstream) > 0
      }
      proxy.reload { configuration in
        configuration.rate = RateSettings()
        configuration.upstream.rate = nil
      }
      #expect(try client.expectResponse(200).content == body)
      try server.join()
      try tunnel.expectBytes([UInt8](repeating: 7, count: 64 << 10))
      tunnel.close()
      try far.expectEnd()
      try proxy.expectStored()
      // And on again, for the connection that is open.
      let waits = proxy.registry.value(.rateWaits, .downstream)
      proxy.reload { $0.rate.connection = Self.rate }
      try proxy.script.wait("the proxy", for: "the new rate", .here(#fileID, #line)) {
        (try? client.get(origin.url("/")).expectResponse(200).content) == body
          && proxy.registry.value(.rateWaits, .downstream) > waits
      }
    }
  }

  @Test("a tunnel asked for behind answers that have not gone out yet begins when they have")
  func tunnelBehindAnswers() throws {
    try limited { configuration in
      configuration.rate.connection = .perSecond(.kib(64))
    } _: { origin, proxy in
      let content = String(repeating: "a", count: 4096)
      let warm = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, fresh, content)
      try warm.expectResponse(200)
      try proxy.expectStored()
      let client = try proxy.connect()
      let request = "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n"
      try client.send(
        String(repeating: request, count: 10)
          + "CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\nearly")
      for _ in 0..<10 { try client.expectResponse(200, content: content) }
      let far = try origin.accept()
      try client.expectBytes("HTTP/1.1 200 Connection established\r\n\r\n")
      try far.expectBytes("early")
      client.close()
      try far.expectEnd()
    }
  }

  @Test("connections and tunnels that have nothing to send take no share of a rate")
  func idleShares() throws {
    try limited { configuration in
      // A portion is 20 ms of it, and 100 ms are free.
      configuration.rate.total = .perSecond(.mib(4))
    } _: { origin, proxy in
      for _ in 0..<40 { try proxy.connect().get("/nowhere").expectAnyResponse() }
      for _ in 0..<40 {
        let client = try proxy.connect()
        try client.send(
          "CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
        let far = try origin.accept()
        try client.expectBytes("HTTP/1.1 200 Connection established\r\n\r\n")
        try far.send("a")
        try client.expectBytes("a")
      }
      #expect(proxy.registry.value(.rateWaits, .downstream) == 0)
      origin.closeConnections()
    }
  }

  @Test("an upload keeps its deadline while what its client is told waits for the rate")
  func uploadDeadline() throws {
    try limited { configuration in
      configuration.rate.connection = .perSecond(.kib(16))
      configuration.limits.contentTimeout = .milliseconds(200)
    } _: { origin, proxy in
      let client = try proxy.connect().request(
        "POST", origin.url("/"), ["Content-Length: 1000000", "Expect: 100-continue"])
      let upstream = try origin.accept()
      try upstream.expectHead()
      let link = "Link: </\(String(repeating: "a", count: 5000))>; rel=preload\r\n"
      try upstream.send("HTTP/1.1 103 Early Hints\r\n\(link)\r\nHTTP/1.1 100 Continue\r\n\r\n")
      try proxy.expect("the hint to wait") { $0.value(.rateWaits, .downstream) > 0 }
      try client.send("x")
      try client.expectHead(103)
      try client.expectHead(100)
      try client.expectError(
        408, "stopped coming for 200 ms", type: "http_request_error", closes: true)
    }
  }

  @Test("a half-closed tunnel that waits for its rate leaves its worker asleep")
  func halfClosedTunnel() throws {
    try limited { configuration in
      configuration.rate.connection = .perSecond(.kib(64))
    } _: { origin, proxy in
      let client = try proxy.connect()
      try client.send("CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      let far = try origin.accept()
      try client.expectBytes("HTTP/1.1 200 Connection established\r\n\r\n")
      try client.send("question").finish()
      try far.expectBytes("question").expectEnd()
      let body = patterned(48 << 10)
      let before = proxy.server.turns()
      try far.send(body).finish()
      try client.expectBytes(body).expectEnd()
      // At least 2 KiB at a time.
      #expect(proxy.server.turns() - before < 500)
    }
  }

  @Test("a client that waits for its rate is not taken for one that stands still")
  func patience() throws {
    try limited { configuration in
      configuration.rate.connection = .perSecond(.kib(128))
      configuration.upstream.rate = .perSecond(.kib(128))
      configuration.limits.writeTimeout = .milliseconds(100)
      configuration.limits.idleTimeout = .milliseconds(100)
      configuration.upstream.readTimeout = .milliseconds(100)
    } _: { origin, proxy in
      let body = patterned(64 << 10)
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let server = try Background {
        try upstream.send(head: 200, ["Content-Length: \(body.count)"])
        try upstream.send(body)
      }
      #expect(try client.expectResponse(200).content == body)
      try server.join()
      #expect(proxy.registry.value(.timeouts, .write) == 0)
      #expect(proxy.registry.value(.timeouts, .upstream) == 0)
    }
  }
}
