// The client's connection: kept alive, pipelined, HTTP/1.0, HEAD, half-closed.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct ConnectionTests {
  private let fresh = ["Cache-Control: max-age=600"]

  @Test("twenty requests in one segment are answered in their order, hits and misses mixed")
  func pipelining() throws {
    try wire { origin, proxy in
      let warm = try proxy.connect()
      for number in stride(from: 0, to: 20, by: 2) {
        try warm.get(origin.url("/\(number)"))
      }
      let upstream = try origin.accept()
      for number in stride(from: 0, to: 20, by: 2) {
        try upstream.expectRequest("GET /\(number) HTTP/1.1")
        try upstream.respond(200, fresh, "hit \(number)")
        try warm.expectResponse(200, content: "hit \(number)")
      }

      let client = try proxy.connect()
      try client.send(
        (0..<20).map {
          "GET \(origin.url("/\($0)")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n"
        }.joined())
      for number in 0..<20 {
        if number % 2 == 1 {
          try upstream.expectRequest("GET /\(number) HTTP/1.1")
          try upstream.respond(200, ["Cache-Control: no-store"], "miss \(number)")
        }
        let word = number % 2 == 0 ? "hit" : "miss"
        try client.expectResponse(200, content: "\(word) \(number)")
      }
      try origin.expectNothingElse()
    }
  }

  @Test("a slow first answer holds back the hits behind it, and loses none")
  func slowFirst() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/hit"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, fresh, "hit")
      try client.expectResponse(200)

      try client.get(origin.url("/slow")).get(origin.url("/hit")).get(origin.url("/hit"))
      try upstream.expectRequest("GET /slow HTTP/1.1")
      #expect(!client.hasUnread)
      try upstream.send(head: 200, ["Cache-Control: no-store", "Content-Length: 4"])
      try client.expectHead(200)
      try upstream.send("slow")
      try client.expectContent("slow")
      try client.expectResponse(200, content: "hit")
      try client.expectResponse(200, content: "hit")
    }
  }

  @Test("requests of every kind may stand behind one another in one segment")
  func mixedPipeline() throws {
    try wire { origin, proxy in
      let host = "Host: \(origin.authority)\r\n"
      let client = try proxy.connect()
      let requests = [
        "GET \(origin.url("/a")) HTTP/1.1\r\n\(host)\r\n",
        "POST \(origin.url("/b")) HTTP/1.1\r\n\(host)Content-Length: 3\r\n\r\nabc",
        "GET /nowhere HTTP/1.1\r\n\(host)\r\n",
        "POST \(origin.url("/c")) HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n",
        "2\r\nde\r\n0\r\n\r\n",
        "HEAD \(origin.url("/a")) HTTP/1.1\r\n\(host)\r\n",
        "GET \(origin.url("/a")) HTTP/1.1\r\n\(host)Connection: close\r\n\r\n",
        "GET \(origin.url("/never")) HTTP/1.1\r\n\(host)\r\n",
      ]
      try client.send(requests.joined())
      let upstream = try origin.accept()
      try upstream.expectRequest("GET /a HTTP/1.1")
      try upstream.respond(200, fresh, "one")
      try client.expectResponse(200, content: "one")
      #expect(try upstream.expectRequest("POST /b HTTP/1.1").text == "abc")
      try upstream.respond(201, [], "two")
      try client.expectResponse(201, content: "two")
      try client.expectError(404, "No mirror")
      #expect(try upstream.expectRequest("POST /c HTTP/1.1").text == "de")
      try upstream.respond(201, [], "three")
      try client.expectResponse(201, content: "three")
      try client.expectResponse(200, ["Content-Length": "3"], isHead: true)
      try client.expectResponse(200, ["Connection": "close"], content: "one")
      try client.expectEnd()
      try origin.expectNothingElse()
    }
  }

  @Test("a client that pipelines and leaves costs nothing but its own answers")
  func pipelineAndLeave() throws {
    try wire { origin, proxy in
      let warm = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, fresh, String(repeating: "x", count: 16_000))
      try warm.expectResponse(200)
      let request = "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n"
      let burst = Array(String(repeating: request, count: 700).utf8)
      for _ in 0..<60 {
        let client = try proxy.connect()
        client.trySending(burst)
        client.abort()
      }
      try warm.get(origin.url("/")).expectResponse(200)
    }
  }

  @Test("a client that takes no answers is asked for no more requests, and gets all answers later")
  func pipelineUnread() throws {
    try wire { origin, proxy in
      let content = String(repeating: "x", count: 10_000)
      let warm = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, fresh, content)
      try warm.expectResponse(200)
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 64 << 10)
      let request = "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n"
      let sender = try Background {
        for _ in 0..<1000 { try client.send(request) }
      }
      // Reads only when the sender is done or has filled all buffers; either way nothing may be lost.
      for _ in 0..<1000 { try client.expectResponse(200, content: content) }
      try sender.join()
      #expect(!client.hasUnread)
    }
  }

  @Test("HTTP/1.0 gets its answer and the end of the connection")
  func oldClient() throws {
    try wire { origin, proxy in
      for round in 0..<2 {
        let client = try proxy.connect()
        try client.send("GET \(origin.url("/")) HTTP/1.0\r\nHost: \(origin.authority)\r\n\r\n")
        if round == 0 { try origin.serve(200, fresh, "old") }
        try client.expectResponse(
          200, ["Connection": "close", "Content-Length": "3"], content: "old")
        try client.expectEnd()
      }
    }
  }

  @Test("HTTP/1.0 without Host is served by its absolute target")
  func oldClientWithoutHost() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send("GET \(origin.url("/")) HTTP/1.0\r\n\r\n")
      #expect(try origin.serve(200, fresh, "old")["Host"] == origin.authority)
      try client.expectResponse(200, content: "old")
    }
  }

  @Test(
    "HTTP/1.0 may ask to keep the connection",
    arguments: ["Connection: keep-alive", "Proxy-Connection: Keep-Alive"])
  func oldClientKeepsAlive(field: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      let request =
        "GET \(origin.url("/")) HTTP/1.0\r\nHost: \(origin.authority)\r\n\(field)\r\n\r\n"
      try client.send(request)
      try origin.serve(200, fresh, "old")
      try client.expectResponse(200, ["Connection": "keep-alive"], content: "old")
      try client.send(request)
      try client.expectResponse(200, ["Connection": "keep-alive"], content: "old")
      // Also an error of the proxy's own.
      try client.send("GET /nowhere HTTP/1.0\r\nHost: a\r\n\(field)\r\n\r\n")
      try client.expectResponse(404, ["Connection": "keep-alive"])
    }
  }

  @Test("content whose length nobody knows ends with the connection for HTTP/1.0")
  func oldClientUnknownLength() throws {
    try wire { origin, proxy in
      for directive in ["max-age=600", "no-store"] {
        let client = try proxy.connect()
        try client.send(
          "GET \(origin.url("/\(directive)")) HTTP/1.0\r\nHost: \(origin.authority)\r\n"
            + "Connection: keep-alive\r\n\r\n")
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(
          head: 200,
          ["Cache-Control: \(directive)", "Transfer-Encoding: chunked", "Connection: close"])
        try upstream.sendChunk("first ")
        let head = try client.expectHead(200, ["Connection": "close"])
        #expect(head["Content-Length"] == nil)
        #expect(head["Transfer-Encoding"] == nil)
        try client.expectContent("first ")
        try upstream.sendChunk("second").sendLastChunk()
        #expect(try client.expectRest() == Array("second".utf8))
      }
    }
  }

  @Test("HEAD of something not stored is forwarded as HEAD, and of something stored is a hit")
  func head() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.request("HEAD", origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest("HEAD / HTTP/1.1")
      try upstream.send(head: 200, fresh + ["Content-Length: 7"])
      try client.expectResponse(200, ["Content-Length": "7"], isHead: true)

      try client.get(origin.url("/"))
      try upstream.expectRequest("GET / HTTP/1.1")
      try upstream.respond(200, fresh, "content")
      try client.expectResponse(200, content: "content")

      try client.request("HEAD", origin.url("/"))
      let answer = try client.expectResponse(200, ["Content-Length": "7"], isHead: true)
      #expect(answer["Cache-Status"]?.hasPrefix("Holdfast; hit") == true)
      try client.get(origin.url("/")).expectResponse(200, content: "content")
      try origin.expectNothingElse()
    }
  }

  @Test("HEAD of a large stored file sends no content", arguments: [0, 100, 100_000])
  func headOfFile(size: Int) throws {
    try wire { origin, proxy in
      let content = String(repeating: "x", count: size)
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, fresh, content)
      try client.expectResponse(200, content: content)
      try proxy.expectStored()
      try client.request("HEAD", origin.url("/"))
      try client.request("HEAD", origin.url("/"), ["Cache-Control: max-stale"])
      try client.get(origin.url("/"))
      try client.expectResponse(200, ["Content-Length": "\(size)"], isHead: true)
      try client.expectResponse(200, ["Content-Length": "\(size)"], isHead: true)
      try client.expectResponse(200, content: content)
    }
  }

  @Test("a client that has finished its direction still gets its answers")
  func halfClosed() throws {
    try wire { origin, proxy in
      for directive in ["no-store", "max-age=600"] {
        let client = try proxy.connect()
        try client.get(origin.url("/\(directive)")).get(origin.url("/\(directive)/2")).finish()
        let upstream = try origin.accept()
        for _ in 0..<2 {
          try upstream.expectRequest()
          try upstream.respond(200, ["Cache-Control: \(directive)"], "answer")
        }
        try client.expectResponse(200, content: "answer")
        try client.expectResponse(200, content: "answer")
        try client.expectEnd()
        origin.closeConnections()
        try proxy.expectNoOrigins()
      }
    }
  }

  @Test("empty lines before a request are skipped")
  func emptyLines() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send("\r\n\r\n").get(origin.url("/"))
      try origin.serve(200, fresh, "a")
      try client.expectResponse(200, content: "a")
      try client.send("\r\n").get(origin.url("/")).expectResponse(200, content: "a")
    }
  }

  @Test("a client that leaves while its relayed answer comes ends the request at the origin")
  func leavesRelay() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, ["Cache-Control: no-store", "Content-Length: 100"]).send("begun")
      try client.expectHead(200)
      try client.expectContent("begun")
      client.abort()
      try upstream.expectGone()
    }
  }

  @Test("a client that takes nothing for too long is cut")
  func stalledClient() throws {
    try wire(configure: { configuration, _ in
      configuration.limits.writeTimeout = .milliseconds(200)
    }) { origin, proxy in
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 4096)
      try client.get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let content = patterned(16 << 20)
      try upstream.send(head: 200, fresh + ["Content-Length: \(content.count)"])
      try upstream.send(content)
      try proxy.expect("the stalled client to go") { $0.value(.timeouts, .write) == 1 }
      try client.expectHead(200)
      try client.expectIncomplete()
      // The fill went on without it.
      try proxy.expect("the fill to end") { $0.value(.fills, .finished) == 1 }
      proxy.reload { $0.limits.writeTimeout = .seconds(60) }
      let other = try proxy.connect().get(origin.url("/"))
      #expect(try other.expectResponse(200).content == content)
    }
  }
}
