// What is one client's own stays with it, and what goes wrong for it goes wrong for nobody else: collapsed requests, hints,
// confirmations, HEAD, failures.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct OwnAnswerTests {
  private let stale = ["Cache-Control: max-age=0", "ETag: \"v\"", "Connection: close"]

  private func store(
    _ origin: WireOrigin, _ proxy: TestProxy, _ fields: [String], _ content: String = "content"
  ) throws {
    let client = try proxy.connect().get(origin.url("/"))
    try origin.serve(200, fields, content)
    try client.expectResponse(200, content: content)
    try proxy.expectStored()
  }

  /// Clients whose requests for `/` the proxy has read.
  private func crowd(_ count: Int, _ origin: WireOrigin, _ proxy: TestProxy) throws -> [WireClient]
  {
    let request = "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n"
    let before = proxy.registry.value(.downstreamReceived)
    let clients = try (0..<count).map { _ in try proxy.connect().send(request) }
    try proxy.expect("all requests to be read") {
      $0.value(.downstreamReceived) >= before + Int64(count * request.utf8.count)
    }
    return clients
  }

  @Test(
    "HEAD of somebody in particular says nothing about what all are given",
    arguments: [
      "Cookie: alice", "X-API-Key: 1", "Authorization: Basic YTpi", "Origin: http://evil.test",
      "X-Forwarded-Host: evil.test", "X_Forwarded_Host: evil.test",
    ])
  func head(field: String) throws {
    try wire { origin, proxy in
      try store(origin, proxy, ["Cache-Control: max-age=600", "ETag: \"v\"", "Connection: close"])
      let client = try proxy.connect().request(
        "HEAD", origin.url("/"), ["Cache-Control: no-cache", field])
      let upstream = try origin.accept()
      try upstream.expectRequest("HEAD / HTTP/1.1")
      try upstream.send(
        head: 200,
        ["Cache-Control: max-age=600", "ETag: \"v\"", "X-User: alice", "Connection: close"])
      try client.expectHead(200, ["X-User": "alice"], isHead: true)
      let other = try proxy.connect().get(origin.url("/")).expectResponse(200, content: "content")
      #expect(other["X-User"] == nil)
      try origin.expectNothingElse()
    }
  }

  @Test("hints are for whoever asked: what comes before a head nobody has said to be for all")
  func hints() throws {
    try wire { origin, proxy in
      let clients = try crowd(2, origin, proxy)
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 103, ["Link: </1>", "Set-Cookie: session=1"])
      try upstream.respond(200, ["Cache-Control: max-age=600"], "content")
      let heads = try clients.map { try $0.expectAnyHead([103, 200]) }
      #expect(heads.count { $0.status == 103 } == 1)
      #expect(heads.count { $0["Set-Cookie"] != nil } == 1)
      for (client, head) in zip(clients, heads) {
        if head.status == 103 {
          try client.expectResponse(200, content: "content")
        } else {
          try client.expectContent("content")
        }
      }
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a confirmation that is for one client is given to one, and leaves nothing behind",
    arguments: ["private, max-age=600", "no-store"])
  func confirmation(control: String) throws {
    try wire { origin, proxy in
      try store(origin, proxy, stale)
      let clients = try crowd(3, origin, proxy)
      for round in 1...3 {
        let upstream = try origin.accept()
        let request = try upstream.expectRequest()
        // Each had it at hand when it came.
        #expect(request["If-None-Match"] == "\"v\"")
        try upstream.send(
          head: 304, ["Cache-Control: \(control)", "X-Session: \(round)", "Connection: close"])
      }
      let answers = try clients.map { try $0.expectResponse(200, content: "content") }
      #expect(Set(answers.map { $0["X-Session"] }) == ["1", "2", "3"])
      #expect(answers.allSatisfy { $0["Cache-Status"]?.contains("; stored") == false })
      let later = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, ["Connection: close"], "new")
      try later.expectResponse(200, content: "new")
    }
  }

  @Test("who waited for a fetch that broke off has a fetch of its own")
  func nextLeader() throws {
    try wire(configure: { configuration, _ in configuration.upstream.retries = 0 }) {
      origin, proxy in
      let clients = try crowd(4, origin, proxy)
      let first = try origin.accept()
      try first.expectRequest()
      first.abort()
      let second = try origin.accept()
      try second.expectRequest()
      try second.respond(200, ["Cache-Control: max-age=600"], "content")
      let statuses = try clients.map { try $0.expectAnyResponse().head.status }
      #expect(statuses.sorted() == [200, 200, 200, 502])
      try origin.expectNothingElse()
    }
  }

  @Test("what one client may not have is refused to that client, and fetched for the next one")
  func refusedToOne() throws {
    let gate = Monitor(false)
    try wire(
      configure: { configuration, origin in
        // A mirror may ask where clients may not.
        configuration.destinations.privateNetworks = []
        configuration.mirrors = Mirrors([
          Mirror(name: "own", url: try OriginURL(reading: origin.url("/")))
        ])
      },
      lookup: { _ in
        gate.wait { $0 ? .success([.loopbackV4]) : nil }
      }
    ) { origin, proxy in
      let request = "GET \(origin.url("/file")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n"
      let refused = try proxy.connect().send(request)
      try proxy.expect("the first to lead") {
        $0.value(.downstreamReceived) >= Int64(request.utf8.count)
      }
      let other = "GET /own/file HTTP/1.1\r\nHost: proxy.test\r\n\r\n"
      let mirror = try proxy.connect().send(other)
      try proxy.expect("the other to follow") {
        $0.value(.downstreamReceived) >= Int64(request.utf8.count + other.utf8.count)
      }
      gate.withLock { $0 = true }
      gate.wakeAll()
      try origin.serve(200, ["Connection: close"], "content")
      try refused.expectResponse(403)
      try mirror.expectResponse(200, content: "content")
    }
  }

  @Test("an answer for one client keeps what it was given when it has the content already")
  func conditional() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "If-None-Match: \"v\"")
      try origin.serve(
        200,
        [
          "Cache-Control: private", "ETag: \"v\"", "Set-Cookie: id=1",
          "Access-Control-Allow-Origin: *", "Content-Language: de",
        ], "content")
      let answer = try client.expectResponse(304, ["Set-Cookie": "id=1"])
      #expect(answer["Access-Control-Allow-Origin"] == "*")
      #expect(answer["Content-Language"] == nil)
    }
  }

  @Test("If-Match against a stored answer that nobody has confirmed is no ground for 412")
  func unconfirmed() throws {
    try wire { origin, proxy in
      try store(origin, proxy, ["Cache-Control: max-age=0", "ETag: \"old\"", "Connection: close"])
      origin.stopListening()
      let client = try proxy.connect().get(origin.url("/"), "If-Match: \"new\"")
      try client.expectResponse(502)
      try client.get(origin.url("/"), "If-Match: \"old\"").expectResponse(200, content: "content")
    }
  }

  @Test(
    "what is served stale is renewed whoever had it, and not with what is that client's own",
    arguments: [("HEAD", "Accept: */*"), ("GET", "Cookie: a=1"), ("GET", "X_Api_Key: 1")])
  func renewal(method: String, field: String) throws {
    try wire { origin, proxy in
      try store(
        origin, proxy,
        [
          "Cache-Control: max-age=0, stale-while-revalidate=600", "ETag: \"v\"",
          "Connection: close",
        ])
      let client = try proxy.connect().request(method, origin.url("/"), [field])
      try client.expectAnyResponse(isHead: method == "HEAD")
      let upstream = try origin.accept()
      let request = try upstream.expectRequest("GET / HTTP/1.1")
      #expect(request["If-None-Match"] == "\"v\"")
      #expect(request["Cookie"] == nil && request["X_Api_Key"] == nil)
      try upstream.send(head: 304, ["Cache-Control: max-age=600", "Connection: close"])
      try proxy.expectQuiet()
      let later = try proxy.connect().get(origin.url("/")).expectResponse(200, content: "content")
      #expect(later["Cache-Status"]?.contains("; hit") == true)
    }
  }

  @Test("a page that is stored does not answer for the protocol that is asked for in its place")
  func upgrade() throws {
    try wire { origin, proxy in
      try store(origin, proxy, ["Cache-Control: max-age=600", "Connection: close"])
      let client = try proxy.connect().request(
        "GET", origin.url("/"), ["Connection: Upgrade", "Upgrade: websocket"])
      let upstream = try origin.accept()
      try upstream.expectHead()
      try upstream.send("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
      #expect(try client.expectUntil("\r\n\r\n").hasPrefix("HTTP/1.1 101 "))
    }
  }
}
