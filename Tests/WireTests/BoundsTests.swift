// More of everything than there may be: connections of a client, requests at an origin, fetches that nobody waits for
// any more, answers that never end. Each gets a clear answer or an end, and nothing is left over.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct BoundsTests {
  private let fresh = ["Cache-Control: max-age=600"]

  // MARK: Connections of clients

  @Test("a client with too many connections gets 429 and may come back later")
  func connectionsPerClient() throws {
    try wire(configure: { configuration, _ in configuration.limits.connectionsPerClient = 2 }) {
      origin, proxy in
      let first = try proxy.connect()
      let second = try proxy.connect()
      try proxy.expect("both") { $0.value(.connectionsOpen, .downstream) == 2 }
      let third = try proxy.connect()
      let answer = try third.expectError(
        429, "127.0.0.1/32 has 2 connections already (`limits.connections-per-client`)",
        type: "connection_limit_reached", closes: true)
      #expect(answer["Retry-After"] == "5")
      #expect(proxy.registry.value(.connectionsRefused, .clientLimit) == 1)
      try first.get("/nowhere").expectError(404, "")
      second.close()
      try proxy.expect("one to be gone") { $0.value(.connectionsOpen, .downstream) == 1 }
      try proxy.connect().get("/nowhere").expectError(404, "")
    }
  }

  @Test("a tunnel counts as its client's connection until it ends")
  func tunnelsCount() throws {
    try wire(configure: { configuration, _ in configuration.limits.connectionsPerClient = 1 }) {
      origin, proxy in
      let tunnel = try proxy.connect().request("CONNECT", origin.authority)
      let far = try origin.accept()
      try tunnel.expectHead(200, isHead: true)
      try proxy.connect().expectError(429, "", closes: true)
      far.close()
      tunnel.close()
      try proxy.expect("the tunnel to end") { $0.value(.tunnelsOpen) == 0 }
      try proxy.connect().get("/nowhere").expectError(404, "")
    }
  }

  @Test(
    "who is turned away reads why, although its request was never read", arguments: [10, 60_000])
  func turnedAwayWithRequest(size: Int) throws {
    try wire(configure: { configuration, _ in configuration.limits.connections = 1 }) {
      origin, proxy in
      let first = try proxy.connect()
      try proxy.expect("it") { $0.value(.connectionsOpen, .downstream) == 1 }
      let second = try proxy.connect()
      try second.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n")
      try second.send([UInt8](repeating: 0x61, count: size))
      try second.expectError(
        503, "There are 1 connections already (`limits.connections`)",
        type: "connection_limit_reached", closes: true)
      first.close()
    }
  }

  @Test("nobody who came before the drain is reset, accepted or not")
  func refusedWhileDraining() throws {
    try wire { origin, proxy in
      let clients = try (0..<50).map { _ in try proxy.connect() }
      proxy.server.drain()
      for client in clients {
        // Accepted and idle: a plain end. Still in the queue: told why.
        if try client.expectBytesOrEnd() {
          try client.expectError(503, "is shutting down", closes: true)
        }
      }
    }
  }

  // MARK: Requests at an origin

  @Test("requests beyond what an origin may have wait in line, and each gets its answer")
  func line() throws {
    try wire(configure: { configuration, _ in
      configuration.threads = .fixed(2)
      configuration.upstream.maxConnections = 2
      configuration.upstream.maxIdle = 0
    }) { origin, proxy in
      let clients = try (0..<6).map { try proxy.connect().get(origin.url("/\($0)")) }
      var upstream = [try origin.accept(), try origin.accept()]
      try proxy.script.wait("the proxy", for: "the line", .here(#fileID, #line)) {
        proxy.server.upstreamCounts == (2, 4)
      }
      try origin.expectNoFurtherConnection()
      for number in 0..<6 {
        let connection = upstream.removeFirst()
        let path = try connection.expectRequest().target
        try connection.respond(200, fresh, path)
        if number < 4 { upstream.append(try origin.accept()) }
      }
      for (number, client) in clients.enumerated() {
        try client.expectResponse(200, content: "/\(number)")
      }
    }
  }

  @Test("who stands in line for too long gets 503; so does who finds the line full")
  func lineTooLong() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.maxConnections = 1
      configuration.upstream.maxWaiting = 1
      configuration.upstream.queueTimeout = .milliseconds(200)
    }) { origin, proxy in
      let first = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let second = try proxy.connect().get(origin.url("/2"))
      try proxy.script.wait("the proxy", for: "the line", .here(#fileID, #line)) {
        proxy.server.upstreamCounts == (1, 1)
      }
      let third = try proxy.connect().get(origin.url("/3"))
      try third.expectError(
        503, "1 requests wait for \(origin.authority) already (`upstream.max-waiting`)",
        type: "connection_limit_reached")
      try second.expectError(
        503, "No connection for \(origin.authority) came free within 200 ms",
        type: "connection_limit_reached")
      #expect(proxy.registry.value(.timeouts, .queue) == 1)
      #expect(proxy.registry.value(.upstreamConnectFailures, .limit) == 2)
      try upstream.respond(200, fresh, "one")
      try first.expectResponse(200, content: "one")
      try second.get(origin.url("/2"))
      try upstream.expectRequest("GET /2 HTTP/1.1")
      try upstream.respond(200, fresh, "two")
      try second.expectResponse(200, content: "two")
    }
  }

  @Test("a client that leaves the line is passed over")
  func leavesLine() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.maxConnections = 1
      configuration.upstream.orphans.finishAtMost = 0
    }) { origin, proxy in
      let first = try proxy.connect().get(origin.url("/1"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let leaving = [
        try proxy.connect().get(origin.url("/2")),
        try proxy.connect().request("POST", origin.url("/3")),
      ]
      let staying = try proxy.connect().get(origin.url("/4"))
      try proxy.script.wait("the proxy", for: "the line", .here(#fileID, #line)) {
        proxy.server.upstreamCounts == (1, 3)
      }
      for client in leaving { client.abort() }
      try proxy.script.wait("the proxy", for: "two to be gone", .here(#fileID, #line)) {
        proxy.server.upstreamCounts == (1, 1)
      }
      try upstream.respond(200, fresh, "one")
      try first.expectResponse(200)
      try upstream.expectRequest("GET /4 HTTP/1.1")
      try upstream.respond(200, fresh, "four")
      try staying.expectResponse(200, content: "four")
    }
  }

  @Test("idle connections are bounded over all origins, and the oldest goes first")
  func idleTotal() throws {
    try wire(configure: { configuration, _ in configuration.upstream.maxIdleTotal = 2 }) {
      origin, proxy in
      let others = try (0..<3).map { try WireOrigin(origin.script, host: "o\($0).test") }
      let client = try proxy.connect()
      var connections: [WireOriginConnection] = []
      for other in others {
        try client.get(other.url("/"))
        let upstream = try other.accept()
        try upstream.expectRequest()
        try upstream.respond(200, fresh, "content")
        try client.expectResponse(200)
        connections.append(upstream)
      }
      try connections[0].expectGone()
      #expect(proxy.registry.value(.connectionsOpen, .upstream) == 2)
      try client.get(others[1].url("/new"))
      try connections[1].expectRequest("GET /new HTTP/1.1")
      try connections[1].respond(200, fresh, "again")
      try client.expectResponse(200, content: "again")
      for other in others { other.close() }
    }
  }

  // MARK: Fetches for nobody

  @Test("300 requests that were given up do not hold 300 connections to the origin")
  func abandoned() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.orphans.finishAtMost = 4
      configuration.upstream.maxConnections = 1000
    }) { origin, proxy in
      let clients = try (0..<300).map { try proxy.connect().get(origin.url("/\($0)")) }
      var upstream: [WireOriginConnection] = []
      for _ in 0..<300 {
        let connection = try origin.accept()
        try connection.expectRequest()
        upstream.append(connection)
      }
      for client in clients { client.abort() }
      try proxy.expect("all but four to be given up") {
        $0.value(.connectionsOpen, .upstream) == 4 && $0.value(.fills, .abandoned) == 296
      }
      #expect(proxy.server.orphanCount == 4)
      for connection in upstream { connection.trySending(Array("HTTP/1.1 204 Fine\r\n\r\n".utf8)) }
    }
  }

  @Test("a large fetch that nobody waits for is given up, and nothing of it is stored")
  func largeAbandoned() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.orphans.finishBelow = .kib(64)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fresh + ["Content-Length: 1000000"])
      try upstream.send([UInt8](repeating: 0x61, count: 100_000))
      try client.expectHead(200)
      try client.expectContent(100_000)
      client.abort()
      try upstream.expectGone()
      try proxy.expect("the fill") { $0.value(.fills, .abandoned) == 1 }
      let again = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, fresh, "new")
      try again.expectResponse(200, content: "new")
    }
  }

  @Test("once a whole was given up because only parts were wanted, parts are asked for as they are")
  func partsOfTheLarge() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.orphans.finishBelow = .kib(64)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "Range: bytes=0-9")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["Range"] == nil)
      let content = patterned(1_000_000)
      try upstream.send(head: 200, fresh + ["Content-Length: 1000000"])
      try upstream.send(Array(content[..<1000]))
      try client.expectHead(206)
      #expect(try client.expectRest() == Array(content[..<10]))
      try upstream.expectGone()
      try proxy.expect("the fill") { $0.value(.fills, .abandoned) == 1 }
      try client.get(origin.url("/"), "Range: bytes=990-999")
      let second = try origin.accept()
      #expect(try second.expectRequest()["Range"] == "bytes=990-999")
      try second.send(head: 206, ["Content-Range: bytes 990-999/1000000", "Content-Length: 10"])
      try second.send(Array(content[990..<1000]))
      try client.expectHead(206)
      #expect(try client.expectRest() == Array(content[990..<1000]))
      try client.get(origin.url("/"), "If-None-Match: \"v\"")
      #expect(try second.expectRequest()["If-None-Match"] == "\"v\"")
      try second.respond(304, ["ETag: \"v\""])
      try client.expectResponse(304, isHead: true)
      // Who wants all of it is fetched it, for all.
      let others = try (0..<2).map { _ in try proxy.connect().get(origin.url("/")) }
      try second.expectRequest()
      try second.send(head: 200, fresh + ["Content-Length: 1000000"])
      let sender = try Background { try second.send(content) }
      let other = try Background { try others[1].expectResponse(200).content }
      #expect(try others[0].expectResponse(200).content == content)
      #expect(try other.join() == content)
      try sender.join()
      try origin.expectNothingElse()
    }
  }

  @Test("what is stored and used though stale is renewed, however large it has become")
  func largeRenewal() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.orphans.finishBelow = .kib(1)
    }) { origin, proxy in
      let fields = ["Cache-Control: max-age=0, stale-while-revalidate=600"]
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, fields + ["ETag: \"1\""], "old")
      try client.expectResponse(200, content: "old")
      try proxy.expectStored()
      try client.get(origin.url("/")).expectResponse(200, content: "old")
      #expect(try upstream.expectRequest()["If-None-Match"] == "\"1\"")
      let content = patterned(1_000_000)
      try upstream.send(head: 200, fields + ["ETag: \"2\"", "Content-Length: 1000000"])
      try upstream.send(content)
      try proxy.expect("the renewal") { $0.value(.fills, .finished) == 2 }
      #expect(try client.get(origin.url("/")).expectResponse(200).content == content)
      #expect(try upstream.expectRequest()["If-None-Match"] == "\"2\"")
      try upstream.respond(304, fields + ["ETag: \"2\""])
      try proxy.expectStored()
    }
  }

  @Test("a fetch that is more than half done goes on for the store")
  func mostlyDone() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.orphans.finishBelow = .kib(1)
    }) { origin, proxy in
      let content = patterned(100_000)
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fresh + ["Content-Length: 100000"])
      try upstream.send(Array(content[..<60_000]))
      try client.expectHead(200)
      try client.expectContent(60_000)
      client.abort()
      try proxy.script.wait("the proxy", for: "the orphan", .here(#fileID, #line)) {
        proxy.server.orphanCount == 1
      }
      try upstream.send(Array(content[60_000...]))
      try proxy.expect("the fill") { $0.value(.fills, .finished) == 1 }
      #expect(try proxy.connect().get(origin.url("/")).expectResponse(200).content == content)
      #expect(proxy.server.orphanCount == 0)
    }
  }

  @Test("chunks without end that nobody reads are cut")
  func endlessUnread() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.orphans.finishBelow = .mib(1)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fresh + ["Transfer-Encoding: chunked"])
      try upstream.sendChunk("begun")
      try client.expectHead(200)
      try client.expectContent("begun")
      client.abort()
      let piece = [UInt8](repeating: 0x61, count: 64 << 10)
      var sent = 0
      while sent < 100 << 20, (try? upstream.sendChunk(piece)) != nil { sent += piece.count }
      #expect(sent < 100 << 20)
      try proxy.expect("the fill") { $0.value(.fills, .abandoned) == 1 }
    }
  }

  @Test("a fetch for nobody ends when its time is over, and who comes before takes it over")
  func orphanTime() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.orphans.finishWithin = .milliseconds(300)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      client.abort()
      try proxy.script.wait("the proxy", for: "the orphan", .here(#fileID, #line)) {
        proxy.server.orphanCount == 1
      }
      let heir = try proxy.connect().get(origin.url("/"))
      try proxy.script.wait("the proxy", for: "the adoption", .here(#fileID, #line)) {
        proxy.server.orphanCount == 0
      }
      try upstream.respond(200, fresh, "in time")
      try heir.expectResponse(200, content: "in time")

      let other = try proxy.connect().get(origin.url("/other"))
      try upstream.expectRequest()
      other.abort()
      try upstream.expectGone()
      try proxy.expect("the fill") { $0.value(.fills, .abandoned) == 1 }
    }
  }

  // MARK: Answers without end

  @Test("an answer larger than its share of the store is passed on whole and not kept")
  func tooLarge() throws {
    try wire(configure: { configuration, _ in
      configuration.store.size = .mib(64)
      configuration.store.maxShare = 5
    }) { origin, proxy in
      let client = try proxy.connect()
      for _ in 0..<2 {
        try client.get(origin.url("/"))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        let content = patterned(4 << 20)
        try upstream.send(
          head: 200, fresh + ["Content-Length: \(content.count)", "Connection: close"])
        let sender = try Background { try upstream.send(content) }
        let answer = try client.expectResponse(200)
        #expect(answer.content == content)
        #expect(answer["Cache-Status"]?.contains("detail=too-large") == true)
        try sender.join()
      }
    }
  }

  @Test("an answer that turns out to be too large goes on for those who read it, and is not kept")
  func growsTooLarge() throws {
    try wire(configure: { configuration, _ in
      configuration.store.size = .mib(64)
      configuration.store.maxShare = 5
    }) { origin, proxy in
      let small = try proxy.connect().get(origin.url("/small"))
      try origin.serve(200, fresh + ["Connection: close"], "kept")
      try small.expectResponse(200)
      let clients = try (0..<2).map { _ in try proxy.connect().get(origin.url("/")) }
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fresh + ["Transfer-Encoding: chunked"])
      let content = patterned(8 << 20)
      let sender = try Background {
        var rest = content[...]
        while !rest.isEmpty {
          try upstream.sendChunk(Array(rest.prefix(64 << 10)))
          rest = rest.dropFirst(64 << 10)
        }
        try upstream.sendLastChunk()
      }
      let other = try Background { try clients[1].expectResponse(200).content }
      #expect(try clients[0].expectResponse(200).content == content)
      #expect(try other.join() == content)
      try sender.join()
      try proxy.expectStored()
      #expect(proxy.server.store.statistics.usedBytes < 8 << 20)
      // It drove out nothing, and the next one asks the origin.
      try small.get(origin.url("/small")).expectResponse(200, content: "kept")
      try clients[0].get(origin.url("/"))
      try upstream.expectRequest()
      try upstream.respond(200, fresh, "short now")
      try clients[0].expectResponse(200, content: "short now")
    }
  }
}
