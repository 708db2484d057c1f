// Many clients, one fetch: everybody reads along, from the start and at their own pace, and what cannot be
// shared is not.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct CollapsingTests {
  private let fresh = ["Cache-Control: max-age=600"]

  /// Two workers, so that clients meet on different loops.
  private static func twoWorkers(_ configuration: inout Configuration, _ origin: WireOrigin) {
    configuration.threads = .fixed(2)
  }

  /// Clients whose requests for `/` the proxy has read.
  private func crowd(
    _ count: Int, _ origin: WireOrigin, _ proxy: TestProxy, _ fields: String...
  ) throws -> [WireClient] {
    let request =
      "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n"
      + fields.map { $0 + "\r\n" }.joined() + "\r\n"
    let before = proxy.registry.value(.downstreamReceived)
    let clients = try (0..<count).map { _ in try proxy.connect().send(request) }
    try proxy.expect("all requests to be read") {
      $0.value(.downstreamReceived) >= before + Int64(count * request.utf8.count)
    }
    return clients
  }

  @Test(
    "whoever comes when an answer has begun that may not be reused unasked asks anew, and is followed",
    arguments: ["no-cache", "max-age=0", "max-age=5"])
  func begunAndStale(directives: String) throws {
    try wire { origin, proxy in
      let fields = [
        "Cache-Control: \(directives)", "Age: 10", "ETag: \"v\"", "Content-Length: 100000",
      ]
      let first = try proxy.connect().get(origin.url("/"))
      let old = try origin.accept()
      try old.expectRequest()
      try old.send(head: 200, fields).send(patterned(60_000, seed: 1))
      try first.expectHead(200)
      let late = try crowd(3, origin, proxy)
      let new = try origin.accept()
      try new.expectRequest()
      try new.send(head: 200, fields + ["Connection: close"]).send(patterned(100_000, seed: 2))
      for client in late {
        #expect(try client.expectAnyResponse().content == patterned(100_000, seed: 2))
      }
      try old.send(Array(patterned(100_000, seed: 1)[60_000...]))
      #expect(try first.expectRest() == patterned(100_000, seed: 1))
      try origin.expectNothingElse()
    }
  }

  enum Shape: CaseIterable {
    case smallInOnePiece, large, chunked, largeChunked, untilClose

    var size: Int { self == .large || self == .largeChunked ? 300_000 : 5_000 }
    var hasLength: Bool { self == .smallInOnePiece || self == .large }

    func head(_ connection: WireOriginConnection) throws {
      let fields = ["Cache-Control: max-age=600", "ETag: \"v\""]
      switch self {
      case .smallInOnePiece, .large:
        try connection.send(head: 200, fields + ["Content-Length: \(size)"])
      case .chunked, .largeChunked:
        try connection.send(head: 200, fields + ["Transfer-Encoding: chunked"])
      case .untilClose:
        try connection.send(head: 200, fields + ["Connection: close"])
      }
    }

    func content(_ bytes: [UInt8], _ connection: WireOriginConnection) throws {
      switch self {
      case .chunked, .largeChunked: try connection.sendChunk(bytes)
      default: try connection.send(bytes)
      }
    }

    func end(_ connection: WireOriginConnection) throws {
      switch self {
      case .chunked, .largeChunked: try connection.sendLastChunk()
      case .untilClose: connection.close()
      default: break
      }
    }
  }

  @Test("however many ask for something cold, the origin is asked once", arguments: Shape.allCases)
  func oneFetch(shape: Shape) throws {
    try wire(configure: Self.twoWorkers) { origin, proxy in
      let content = patterned(shape.size)
      let clients = try crowd(20, origin, proxy)
      let upstream = try origin.accept()
      try upstream.expectRequest("GET / HTTP/1.1")
      try shape.head(upstream)
      try shape.content(content, upstream)
      try shape.end(upstream)
      var collapsed = 0
      for client in clients {
        let answer = try client.expectResponse(200, ["ETag": "\"v\""])
        #expect(answer.content == content)
        if answer["Cache-Status"]?.contains("; collapsed") == true { collapsed += 1 }
      }
      #expect(collapsed == 19)
      try proxy.expectStored()
      try clients[0].get(origin.url("/"))
      let hit = try clients[0].expectResponse(200, ["Content-Length": "\(shape.size)"])
      #expect(hit.content == content)
      try origin.expectNothingElse()
      #expect(proxy.registry.value(.requests, .get, .collapsed) == 19)
    }
  }

  @Test("who comes late reads along from the start", arguments: Shape.allCases)
  func lateJoiner(shape: Shape) throws {
    try wire(configure: Self.twoWorkers) { origin, proxy in
      let content = patterned(shape.size)
      let half = shape.size / 2
      let first = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try shape.head(upstream)
      try shape.content(Array(content[..<half]), upstream)
      try first.expectHead(200)
      #expect(try first.expectContent(half) == Array(content[..<half]))

      let late = try proxy.connect().get(origin.url("/"))
      try late.expectHead(200)
      #expect(try late.expectContent(half) == Array(content[..<half]))
      try shape.content(Array(content[half...]), upstream)
      try shape.end(upstream)
      #expect(try late.expectRest() == Array(content[half...]))
      #expect(try first.expectRest() == Array(content[half...]))
      try origin.expectNothingElse()
    }
  }

  @Test(
    "the one who started the fetch may leave, the others and the store get all",
    arguments: Shape.allCases)
  func leaderLeaves(shape: Shape) throws {
    try wire(configure: Self.twoWorkers) { origin, proxy in
      let content = patterned(shape.size)
      let leader = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try shape.head(upstream)
      try shape.content(Array(content[..<1000]), upstream)
      try leader.expectHead(200)
      try leader.expectContent(1000)
      let other = try proxy.connect().get(origin.url("/"))
      try other.expectHead(200)
      leader.abort()
      try proxy.expect("the leader to be gone") { $0.value(.connectionsOpen, .downstream) == 1 }
      try shape.content(Array(content[1000...]), upstream)
      try shape.end(upstream)
      #expect(try other.expectRest() == content)
      try proxy.expect("the fill") { $0.value(.fills, .finished) == 1 }
      #expect(
        try proxy.connect().get(origin.url("/")).expectResponse(200).content == content)
      try origin.expectNothingElse()
    }
  }

  @Test("a fetch whose clients have all left before its head still fills the store")
  func allLeave() throws {
    try wire { origin, proxy in
      let clients = try crowd(3, origin, proxy)
      let upstream = try origin.accept()
      try upstream.expectRequest()
      for client in clients { client.abort() }
      try proxy.expect("all to be gone") { $0.value(.connectionsOpen, .downstream) == 0 }
      try upstream.respond(200, fresh, "kept")
      try proxy.expect("the fill") { $0.value(.fills, .finished) == 1 }
      try proxy.connect().get(origin.url("/")).expectResponse(200, content: "kept")
      try origin.expectNothingElse()
    }
  }

  @Test("the leader may leave before it turns out that the answer is for it alone")
  func leaderLeavesUnshared() throws {
    try wire(configure: Self.twoWorkers) { origin, proxy in
      let leader = try proxy.connect().get(origin.url("/"), "X-Who: leader")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let other = try crowd(1, origin, proxy, "X-Who: other")[0]
      leader.abort()
      try proxy.expect("the leader to be gone") { $0.value(.connectionsOpen, .downstream) == 1 }
      try upstream.respond(200, ["Cache-Control: private"], "for the leader")
      #expect(try origin.serve(200, [], "for the other")["X-Who"] == "other")
      try other.expectResponse(200, content: "for the other")
    }
  }

  @Test("a slow reader does not slow down a fast one")
  func slowReader() throws {
    try wire { origin, proxy in
      let content = patterned(8 << 20)
      let slow = try proxy.connect()
      try slow.shrinkReceiveBuffer(to: 16 << 10)
      try slow.get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fresh + ["Content-Length: \(content.count)"])
      let sender = try Background { try upstream.send(content) }
      let fast = try proxy.connect().get(origin.url("/"))
      #expect(try fast.expectResponse(200).content == content)
      try sender.join()
      #expect(try slow.expectResponse(200).content == content)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "an origin that cuts its answer leaves everybody with a visibly incomplete one, and nothing stored",
    arguments: Shape.allCases.filter { $0 != .untilClose })
  func cut(shape: Shape) throws {
    try wire(configure: Self.twoWorkers) { origin, proxy in
      let content = patterned(shape.size)
      let half = shape.size / 2
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try shape.head(upstream)
      try shape.content(Array(content[..<half]), upstream)
      try client.expectHead(200)
      try client.expectContent(half)
      let late = try proxy.connect().get(origin.url("/"))
      try late.expectHead(200)
      let old = try proxy.connect()
      try old.send("GET \(origin.url("/")) HTTP/1.0\r\nHost: a\r\n\r\n")
      try old.expectHead(200)
      upstream.abort()
      #expect(try client.expectIncomplete() == [])
      // A reset may overtake what was sent before it, but nothing wrong comes.
      for reader in [late, old] {
        #expect(content[..<half].starts(with: try reader.expectIncomplete()))
      }
      try proxy.expect("the failure") { $0.value(.fills, .failed) == 1 }
      let again = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, fresh, "whole")
      try again.expectResponse(200, content: "whole")
    }
  }

  @Test(
    "a cut that comes with the first bytes is an error, not half an answer",
    arguments: [100, 100_000])
  func cutAtOnce(size: Int) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: \(size)\r\n\r\nhalf")
      upstream.finish()
      // Whether the head was out by then depends on the moment; what must not be is a whole answer.
      let head = try client.expectAnyHead([200, 502])
      if head.status == 200 { try client.expectIncomplete() }
    }
  }

  @Test(
    "a body without any length that ends by a reset is never taken for whole",
    arguments: ["max-age=600", "no-store"])
  func resetUntilClose(directive: String) throws {
    try wire { origin, proxy in
      for version in ["1.1", "1.0"] {
        let client = try proxy.connect()
        try client.send("GET \(origin.url("/")) HTTP/\(version)\r\nHost: a\r\n\r\n")
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(head: 200, ["Cache-Control: \(directive)", "Connection: close"])
        try upstream.send("half")
        try client.expectHead(200)
        try client.expectContent("half")
        upstream.abort()
        try client.expectIncomplete()
      }
    }
  }

  @Test("a cut relay is visible to its client", arguments: [true, false])
  func cutRelay(chunked: Bool) throws {
    try wire { origin, proxy in
      for version in ["1.1", "1.0"] {
        let client = try proxy.connect()
        try client.send("GET \(origin.url("/")) HTTP/\(version)\r\nHost: a\r\n\r\n")
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(
          head: 200,
          [
            "Cache-Control: no-store",
            chunked ? "Transfer-Encoding: chunked" : "Content-Length: 10",
          ])
        if chunked { try upstream.sendChunk("half") } else { try upstream.send("half") }
        try client.expectHead(200)
        try client.expectContent("half")
        upstream.close()
        try client.expectIncomplete()
      }
    }
  }

  @Test("answers that are not for sharing: each client gets its own")
  func unshared() throws {
    try wire(configure: Self.twoWorkers) { origin, proxy in
      var clients: [String: WireClient] = [:]
      clients["0"] = try proxy.connect().get(origin.url("/"), "X-Who: 0")
      let first = try origin.accept()
      try first.expectRequest()
      for number in 1...4 {
        clients["\(number)"] = try crowd(1, origin, proxy, "X-Who: \(number)")[0]
      }
      try first.respond(200, ["Cache-Control: private", "Connection: close"], "for 0")
      var others: [(WireOriginConnection, String)] = []
      for _ in 1...4 {
        let connection = try origin.accept()
        others.append((connection, try #require(try connection.expectRequest()["X-Who"])))
      }
      for (connection, who) in others.reversed() {
        try connection.respond(200, ["Cache-Control: private", "Connection: close"], "for \(who)")
      }
      for (who, client) in clients { try client.expectResponse(200, content: "for \(who)") }
      // The key is known by now: nobody waits for anybody.
      try clients["0"]?.get(origin.url("/"), "X-Who: 0")
      let one = try origin.accept()
      try one.expectRequest()
      try clients["1"]?.get(origin.url("/"), "X-Who: 1")
      let two = try origin.accept()
      #expect(try two.expectRequest()["X-Who"] == "1")
      try two.respond(200, ["Cache-Control: private"], "1 again")
      try clients["1"]?.expectResponse(200, content: "1 again")
      try one.respond(200, ["Cache-Control: private"], "0 again")
      try clients["0"]?.expectResponse(200, content: "0 again")
      try origin.expectNothingElse()
    }
  }

  @Test("who waits for a variant that is not its own fetches its own")
  func varyMismatch() throws {
    try wire(configure: Self.twoWorkers) { origin, proxy in
      let english = try proxy.connect().get(origin.url("/"), "Accept-Language: en")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let german = try crowd(1, origin, proxy, "Accept-Language: de")[0]
      let alsoEnglish = try crowd(1, origin, proxy, "Accept-Language: en")[0]
      try upstream.respond(200, fresh + ["Vary: Accept-Language", "Connection: close"], "hello")
      try english.expectResponse(200, content: "hello")
      try alsoEnglish.expectResponse(200, content: "hello")
      let request = try origin.serve(
        200, fresh + ["Vary: Accept-Language", "Connection: close"], "hallo")
      #expect(request["Accept-Language"] == "de")
      try german.expectResponse(200, content: "hallo")
      try english.get(origin.url("/"), "Accept-Language: de").expectResponse(200, content: "hallo")
      try origin.expectNothingElse()
    }
  }

  @Test("requests with credentials are not collapsed")
  func authorised() throws {
    try wire { origin, proxy in
      let first = try proxy.connect().get(origin.url("/"), "Authorization: Basic YTpi")
      let one = try origin.accept()
      try one.expectRequest()
      let second = try proxy.connect().get(origin.url("/"), "Authorization: Basic Yzpk")
      let two = try origin.accept()
      #expect(try two.expectRequest()["Authorization"] == "Basic Yzpk")
      try two.respond(200, fresh, "for c")
      try second.expectResponse(200, content: "for c")
      try one.respond(200, fresh, "for a")
      try first.expectResponse(200, content: "for a")
    }
  }

  @Test("many who find the same thing stale have it confirmed once", arguments: [304, 200])
  func collapsedValidation(status: Int) throws {
    try wire(configure: Self.twoWorkers) { origin, proxy in
      let first = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(
        200, ["Cache-Control: max-age=0", "ETag: \"v\"", "Connection: close"], "content")
      try first.expectResponse(200, content: "content")
      let clients = try crowd(10, origin, proxy)
      let again = try origin.accept()
      #expect(try again.expectRequest()["If-None-Match"] == "\"v\"")
      try again.respond(status, fresh + ["ETag: \"v\""], status == 304 ? "" : "content")
      for client in clients { try client.expectResponse(200, content: "content") }
      try origin.expectNothingElse()
    }
  }

  @Test("an empty answer is collapsed and stored like any other")
  func empty() throws {
    try wire(configure: Self.twoWorkers) { origin, proxy in
      let clients = try crowd(5, origin, proxy)
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, fresh, "")
      for client in clients { try client.expectResponse(200, ["Content-Length": "0"], content: "") }
      try clients[0].get(origin.url("/")).expectResponse(200, content: "")
      try origin.expectNothingElse()
    }
  }
}
