// Things that went wrong once, found by asking how to break them: the next request that is forgotten, the
// client that is gone while it is answered, credentials that take from others, the download that SIGTERM cuts.

import Configuration
import Platform
import Support
import Testing

@Suite struct ReviewedTests {
  /// Ways a first answer may come about before a second request, sent with the first, is answered.
  enum First: CaseIterable {
    case stored, relayed, unshared, failed

    var request: String {
      self == .relayed ? "DELETE" : "GET"
    }

    var fields: [String] {
      self == .unshared ? ["Cache-Control: no-store"] : ["Cache-Control: max-age=60"]
    }
  }

  @Test("a pipelined request is answered however the one before it was", arguments: First.allCases)
  func pipelined(first: First) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      let head = " HTTP/1.1\r\nHost: x\r\n\r\n"
      try client.send("\(first.request) \(origin.url("/a"))\(head)GET \(origin.url("/b"))\(head)")
      // The client has said all it will say: no end of it before both answers.
      client.finish()
      if first == .failed {
        let upstream = try origin.accept()
        try upstream.expectRequest()
        upstream.abort()
        try client.expectResponse(502)
        try origin.serve(200, [], "b")
      } else {
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.respond(200, first.fields, "a")
        try client.expectResponse(200, content: "a")
        #expect(try upstream.expectRequest().target == "/b")
        try upstream.respond(200, [], "b")
      }
      try client.expectResponse(200, content: "b")
      try client.expectEnd()
    }
  }

  @Test("clients that leave in the middle of many pipelined hits harm nobody else")
  func gone() throws {
    try wire { origin, proxy in
      let content = String(repeating: "x", count: 16_000)
      let target = origin.url("/hot")
      let client = try proxy.connect().get(target)
      try origin.serve(200, ["Cache-Control: max-age=600"], content)
      try client.expectResponse(200, content: content)
      let request = "GET \(target) HTTP/1.1\r\nHost: x\r\n\r\n"
      for _ in 0..<20 {
        let leaving = try proxy.connect()
        try leaving.send(String(repeating: request, count: 400))
        leaving.close()
      }
      try client.get(target).expectResponse(200, content: content)
    }
  }

  @Test("a 304 to a request with credentials leaves what is stored to the others")
  func credentials() throws {
    try wire { origin, proxy in
      let target = origin.url("/")
      let client = try proxy.connect().get(target)
      let upstream = try origin.accept()
      try upstream.expectRequest()
      // Stale when it arrives.
      try upstream.respond(200, ["ETag: \"a\"", "Cache-Control: max-age=1", "Age: 2"], "stored")
      try client.expectResponse(200, content: "stored")

      try client.get(target, "Authorization: Basic eDp5")
      #expect(try upstream.expectRequest()["If-None-Match"] == "\"a\"")
      try upstream.respond(304, ["ETag: \"a\""], "")
      try client.expectResponse(200, content: "stored")

      try client.get(target)
      #expect(try upstream.expectRequest()["If-None-Match"] == "\"a\"")
      try upstream.respond(304, ["ETag: \"a\""], "")
      try client.expectResponse(200, content: "stored")
    }
  }

  @Test("a body larger than the store may be is relayed whole")
  func largerThanTheStore() throws {
    try wire(configure: { configuration, _ in configuration.store.size = .mib(64) }) {
      origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100000000\r\n\r\nbegin")
      let answer = try client.expectHead(200)
      #expect(answer["Cache-Status"]?.contains("stored") == false)
      #expect(answer["Cache-Status"]?.contains("detail=too-large") == true)
      upstream.abort()
    }
  }
}
