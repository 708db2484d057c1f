// Trailer fields (RFC 9110 §6.5): what may be said after the content, in which direction, and what is stored of it.

import Support
import Testing

@Suite struct TrailerTests {
  /// By the time they come, what they are about has been decided (RFC 9110 §6.5.1).
  static let forbidden = [
    "Content-Length: 3", "Transfer-Encoding: chunked", "Host: evil.test",
    "Authorization: Basic eDp5",
    "Cookie: id=1", "Cache-Control: no-store", "Content-Encoding: gzip",
    "Content-Range: bytes 0-1/2",
    "Expect: 100-continue", "Range: bytes=0-1", "Via: 1.1 other", "Connection: close",
    "X-Forwarded-For: 192.0.2.1", "Trailer: X-Sum", "Set-Cookie: id=1", "Vary: *", "Age: 7",
  ]

  @Test("of an upload's trailers those go on that mean no harm", arguments: forbidden)
  func upload(field: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "PUT \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n"
          + "Transfer-Encoding: chunked\r\nTrailer: X-Sum, Repr-Digest\r\n\r\n")
      try client.sendChunk("content").sendLastChunk(
        trailers: ["X-Sum: 7", field, "Repr-Digest: sha-256=:AA==:"])
      let upstream = try origin.accept()
      let request = try upstream.expectRequest()
      #expect(request.text == "content")
      #expect(request["Trailer"] == "X-Sum, Repr-Digest")
      #expect(upstream.trailers == ["X-Sum: 7", "Repr-Digest: sha-256=:AA==:"])
      try upstream.respond(204)
      try client.expectResponse(204)
      // The connections are in order: the next request is a request.
      try client.get(origin.url("/next"))
      try upstream.expectRequest()
      try upstream.respond(200, ["Cache-Control: no-store"], "next")
      try client.expectResponse(200, content: "next")
    }
  }

  @Test("of an answer's trailers too, for those who want any", arguments: forbidden)
  func answer(field: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(
        origin.url("/"), "TE: trailers", "Cache-Control: no-store")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["TE"] == "trailers")
      try upstream.send(head: 200, ["Transfer-Encoding: chunked", "Trailer: X-Sum"])
      try upstream.sendChunk("content").sendLastChunk(trailers: [field, "X-Sum: 7"])
      let answer = try client.expectResponse(200, content: "content")
      #expect(answer["Trailer"] == "X-Sum")
      #expect(answer.trailers == ["X-Sum: 7"])
      try client.get(origin.url("/next"), "Cache-Control: no-store")
      try upstream.expectRequest()
      try upstream.respond(200, [], "next")
      try client.expectResponse(200, content: "next")
    }
  }

  @Test("what is stored has none, for those who read along neither", arguments: [10, 100_000])
  func stored(size: Int) throws {
    try wire { origin, proxy in
      let content = String(repeating: "c", count: size)
      let client = try proxy.connect().get(origin.url("/"), "TE: trailers")
      let upstream = try origin.accept()
      // An answer for all is not asked for with what one client can make use of.
      #expect(try upstream.expectRequest()["TE"] == nil)
      try upstream.send(
        head: 200, ["Cache-Control: max-age=600", "Transfer-Encoding: chunked", "Trailer: X-Sum"])
      try upstream.sendChunk(content).sendLastChunk(
        trailers: ["X-Sum: 7", "Cache-Control: no-store", "Content-Type: text/evil"])
      for _ in 0..<2 {
        let answer = try client.expectResponse(200, content: content)
        #expect(answer["Trailer"] == nil && answer["X-Sum"] == nil && answer["Content-Type"] == nil)
        #expect(answer.trailers.isEmpty)
        try proxy.expectStored()
        try client.get(origin.url("/"), "TE: trailers")
      }
      try client.expectResponse(200, content: content)
      try origin.expectNothingElse()
    }
  }
}
