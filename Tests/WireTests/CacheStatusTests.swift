// What each answer says of how it came about (RFC 9211): one situation, one exact field value.

import Configuration
import HTTP
import Support
import Testing

@Suite struct CacheStatusTests {
  /// How the origin answers the request that the situation is about.
  enum Answer: Sendable {
    case status(Int, [String])
    /// It breaks the connection without a word.
    case abort
  }

  struct Situation: Sendable, CustomTestStringConvertible {
    var name: String
    /// Fields of an answer that is in the store already; nil when there is none.
    var stored: [String]?
    var method = "GET"
    var path = "/"
    var request: [String] = []
    /// Nil when the origin is not asked.
    var answer: Answer?
    var status = 200
    /// Freshness lifetime of what is sent: `@` in the expectation stands for what is left of it.
    var lifetime = 0
    var expected: String

    var testDescription: String { name }
  }

  static let stale = ["Cache-Control: max-age=0", "ETag: \"v\""]
  static let fresh = ["Cache-Control: max-age=600", "ETag: \"v\""]

  static let situations = [
    Situation(name: "fresh", stored: fresh, lifetime: 600, expected: "hit; ttl=@"),
    Situation(
      name: "fresh, for HEAD", stored: fresh, method: "HEAD", lifetime: 600, expected: "hit; ttl=@"),
    Situation(
      name: "fresh, and the client knows it", stored: fresh, request: ["If-None-Match: \"v\""],
      status: 304, lifetime: 600, expected: "hit; ttl=@"),
    Situation(
      name: "stale, and the client does not mind", stored: stale,
      request: ["Cache-Control: max-stale"], expected: "hit; ttl=@; detail=max-stale"),
    Situation(
      name: "stale, and renewed in the background",
      stored: ["Cache-Control: max-age=0, stale-while-revalidate=60", "ETag: \"v\""],
      answer: .status(304, []), expected: "hit; ttl=@; detail=stale-while-revalidate"),
    Situation(
      name: "nothing stored", answer: .status(200, fresh), lifetime: 600,
      expected: "fwd=uri-miss; fwd-status=200; stored; ttl=@"),
    Situation(
      name: "nothing stored, and the answer is not to be",
      answer: .status(200, ["Cache-Control: no-store"]),
      expected: "fwd=uri-miss; fwd-status=200; detail=response-no-store"),
    Situation(
      name: "nothing stored, for HEAD", method: "HEAD", answer: .status(200, fresh),
      expected: "fwd=uri-miss; fwd-status=200"),
    Situation(
      name: "another variant stored", stored: fresh + ["Vary: Accept"], request: ["Accept: a"],
      answer: .status(200, fresh + ["Vary: Accept"]), lifetime: 600,
      expected: "fwd=vary-miss; fwd-status=200; stored; ttl=@"),
    Situation(
      name: "stale and confirmed", stored: stale, answer: .status(304, fresh), lifetime: 600,
      expected: "fwd=stale; fwd-status=304; stored; ttl=@"),
    Situation(
      name: "stale and replaced", stored: stale, answer: .status(200, fresh), lifetime: 600,
      expected: "fwd=stale; fwd-status=200; stored; ttl=@"),
    Situation(
      name: "stale and gone", stored: stale, answer: .status(404, []), status: 404,
      expected: "fwd=stale; fwd-status=404; detail=no-lifetime"),
    Situation(
      name: "fresh, but the client insists", stored: fresh, request: ["Cache-Control: no-cache"],
      answer: .status(304, fresh), lifetime: 600,
      expected: "fwd=request; fwd-status=304; stored; ttl=@"),
    Situation(
      name: "fresh, but not for long enough", stored: fresh,
      request: ["Cache-Control: min-fresh=1000"], answer: .status(304, fresh), lifetime: 600,
      expected: "fwd=request; fwd-status=304; stored; ttl=@"),
    Situation(
      name: "stale, and the origin out of order",
      stored: ["Cache-Control: max-age=0, stale-if-error=60", "ETag: \"v\""],
      answer: .status(503, []),
      expected: "fwd=stale; fwd-status=503; ttl=@; detail=stale-if-error"),
    Situation(
      name: "stale, and the origin gone", stored: stale, answer: .abort,
      expected: "fwd=stale; ttl=@; detail=stale-if-error"),
    Situation(
      name: "stale, the origin out of order, and no leave to send it", stored: stale,
      answer: .status(503, []), status: 503,
      expected: "fwd=stale; fwd-status=503; detail=server-error"),
    Situation(
      name: "nothing stored, and the origin gone", answer: .abort, status: 502,
      expected: "fwd=uri-miss"),
    Situation(
      name: "a method that no cache answers", stored: fresh, method: "DELETE",
      answer: .status(200, []), expected: "fwd=method; fwd-status=200"),
    Situation(
      name: "the client wants nothing stored", request: ["Cache-Control: no-store"],
      answer: .status(200, fresh), expected: "fwd=request; fwd-status=200"),
    Situation(
      name: "a rule keeps the cache out of it", path: "/live/x", answer: .status(200, fresh),
      expected: "fwd=bypass; fwd-status=200; detail=pass"),
    Situation(
      name: "only what is stored, and nothing is", request: ["Cache-Control: only-if-cached"],
      status: 504, expected: "detail=only-if-cached"),
  ]

  @Test("the situation is told", arguments: situations)
  func told(situation: Situation) throws {
    try wire(configure: { configuration, origin in
      var rule = CacheRule(match: try URIPattern("/live/**"))
      rule.kind = .pass
      configuration.rules = [rule]
    }) { origin, proxy in
      let client = try proxy.connect()
      if let stored = situation.stored {
        try client.get(origin.url("/"))
        try origin.serve(200, stored + ["Connection: close"], "content")
        try client.expectResponse(200)
        try proxy.expectStored()
      }
      try client.request(situation.method, origin.url(situation.path), situation.request)
      switch situation.answer {
      case .status(let status, let fields)?:
        let upstream = try origin.accept()
        let request = try upstream.expectRequest()
        if request.head.startLine.hasPrefix("HEAD ") {
          try upstream.send(head: status, fields + ["Content-Length: 7"])
        } else {
          try upstream.respond(status, fields, status == 304 ? "" : "content")
        }
      case .abort?:
        let upstream = try origin.accept()
        try upstream.expectRequest()
        upstream.abort()
      case nil: break
      }
      let answer = try client.expectResponse(situation.status, isHead: situation.method == "HEAD")
      let age = answer["Age"].flatMap { Int($0) } ?? 0
      let expected = situation.expected.replacing("@", with: "\(situation.lifetime - age)")
      #expect(answer.head.all("Cache-Status") == ["Holdfast; " + expected])
    }
  }

  @Test("the member of a cache further up stays in front, whatever we do with the answer")
  func upper() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      for path in ["/kept", "/not"] {
        try client.get(origin.url(path))
        let control = path == "/kept" ? "max-age=600" : "no-store"
        try origin.serve(
          200, ["Cache-Control: \(control)", "Cache-Status: Upper; fwd=miss", "Connection: close"])
        let answer = try client.expectResponse(200)
        #expect(answer.head.all("Cache-Status").first == "Upper; fwd=miss")
        #expect(answer.head.all("Cache-Status").last?.hasPrefix("Holdfast; fwd=uri-miss") == true)
      }
    }
  }

  @Test("who reads along says so, with the status that the fetch got", arguments: [200, 304])
  func collapsed(status: Int) throws {
    try wire { origin, proxy in
      if status == 304 {
        let client = try proxy.connect().get(origin.url("/"))
        try origin.serve(200, Self.stale + ["Connection: close"], "content")
        try client.expectResponse(200)
        try proxy.expectStored()
      }
      let first = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let before = proxy.registry.value(.downstreamReceived)
      let second = try proxy.connect().get(origin.url("/"))
      try proxy.expect("the second request") { $0.value(.downstreamReceived) > before }
      try upstream.respond(status, Self.fresh, status == 304 ? "" : "content")
      let reason = status == 304 ? "stale" : "uri-miss"
      let expected = "Holdfast; fwd=\(reason); fwd-status=\(status); stored"
      #expect(roundedUp(try first.expectResponse(200)["Cache-Status"]) == expected + "; ttl=600")
      #expect(
        roundedUp(try second.expectResponse(200)["Cache-Status"])
          == expected + "; collapsed; ttl=600")
    }
  }
}
