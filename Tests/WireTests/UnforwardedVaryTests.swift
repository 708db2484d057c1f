// Answers that vary on a field which a fetch for all goes without (Origin, Referer, X-Forwarded-*): who sends the
// field gets an answer that was asked for with it, and none is kept under a value that the origin never saw.

import Configuration
import Support
import Testing

@Suite struct UnforwardedVaryTests {
  private static let fresh = ["Cache-Control: max-age=600"]

  /// An origin with CORS as it should be: the answer depends on Origin, and says so.
  private func answer(
    _ connection: WireOriginConnection, _ fields: [String] = fresh + ["Vary: Origin"]
  ) throws -> String? {
    let from = try connection.expectRequest()["Origin"]
    let allow = from.map { ["Access-Control-Allow-Origin: \($0)"] } ?? []
    try connection.respond(200, fields + allow, "for \(from ?? "all")")
    return from
  }

  @Test("who sends Origin is answered with it, is a hit the next time, and shares with nobody else")
  func origin() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "Origin: https://a.test")
      let first = try origin.accept()
      #expect(try answer(first) == nil)
      // What is sent without it is not what was asked for: the origin is asked once more.
      let second = try origin.accept()
      #expect(try answer(second) == "https://a.test")
      let own = try client.expectResponse(200, content: "for https://a.test")
      #expect(own["Access-Control-Allow-Origin"] == "https://a.test")
      try proxy.expectStored()
      for _ in 0..<2 {
        try client.get(origin.url("/"), "Origin: https://a.test")
        let hit = try client.expectResponse(200, content: "for https://a.test")
        #expect(hit["Cache-Status"]?.hasPrefix("Holdfast; hit") == true)
        #expect(hit["Access-Control-Allow-Origin"] == "https://a.test")
      }
      // Known by now: one request for each new value, and one for those who send none.
      for value in ["https://b.test", nil] {
        try client.request("GET", origin.url("/"), value.map { ["Origin: \($0)"] } ?? [])
        #expect(try answer(second) == value)
        try client.expectResponse(200, content: "for \(value ?? "all")")
        try proxy.expectStored()
        try client.request("GET", origin.url("/"), value.map { ["Origin: \($0)"] } ?? [])
        try client.expectResponse(200, content: "for \(value ?? "all")")
      }
      try origin.expectNothingElse()
    }
  }

  @Test("an answer that is for one client alone was asked for with all it sent as well")
  func unshared() throws {
    try wire { origin, proxy in
      let fields = ["Cache-Control: private", "Vary: Origin"]
      let client = try proxy.connect().get(origin.url("/"), "Origin: https://a.test")
      #expect(try answer(try origin.accept(), fields) == nil)
      let upstream = try origin.accept()
      #expect(try answer(upstream, fields) == "https://a.test")
      try client.expectResponse(200, content: "for https://a.test")
      // From then on the request goes as it is, at once.
      for _ in 0..<3 {
        try client.get(origin.url("/"), "Origin: https://a.test")
        #expect(try answer(upstream, fields) == "https://a.test")
        try client.expectResponse(200, content: "for https://a.test")
      }
      try origin.expectNothingElse()
    }
  }

  @Test("an answer that was asked for with the field and does not name it is kept for nobody")
  func notNamed() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "X-Forwarded-Host: evil.test")
      let first = try origin.accept()
      #expect(try first.expectRequest()["X-Forwarded-Host"] == nil)
      try first.respond(200, Self.fresh + ["Vary: X-Forwarded-Host"], "good")
      let second = try origin.accept()
      #expect(try second.expectRequest()["X-Forwarded-Host"] == "evil.test")
      try second.respond(200, Self.fresh, "evil")
      let own = try client.expectResponse(200, content: "evil")
      #expect(own["Cache-Status"]?.contains("detail=vary-unforwarded") == true)
      let victim = try proxy.connect().get(origin.url("/"))
      #expect(try second.expectRequest()["X-Forwarded-Host"] == nil)
      try second.respond(200, Self.fresh, "good")
      try victim.expectResponse(200, content: "good")
      try origin.expectNothingElse()
    }
  }

  @Test("an origin that names one more field each time is asked three times at most")
  func moreEachTime() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(
        origin.url("/"), "Origin: a", "Referer: b", "X-Forwarded-For: c", "X-Real-IP: d")
      for vary in ["Origin", "Origin, Referer", "Origin, Referer, X-Real-IP"] {
        let connection = try origin.accept()
        try connection.expectRequest()
        try connection.respond(200, Self.fresh + ["Vary: \(vary)"], vary)
      }
      try client.expectResponse(200, content: "Origin, Referer, X-Real-IP")
      try origin.expectNothingElse()
    }
  }

  @Test("a stored variant is validated with the field that selects it")
  func validated() throws {
    try wire { origin, proxy in
      let fields = ["Cache-Control: max-age=0", "ETag: \"v\"", "Vary: Origin"]
      let client = try proxy.connect().get(origin.url("/"), "Origin: https://a.test")
      _ = try answer(try origin.accept(), fields)
      let upstream = try origin.accept()
      _ = try answer(upstream, fields)
      try client.expectResponse(200, content: "for https://a.test")
      try proxy.expectStored()
      try client.get(origin.url("/"), "Origin: https://a.test")
      let request = try upstream.expectRequest()
      #expect(request["If-None-Match"] == "\"v\"")
      #expect(request["Origin"] == "https://a.test")
      try upstream.respond(304, fields)
      try client.expectResponse(200, content: "for https://a.test")
      try origin.expectNothingElse()
    }
  }

  @Test("who waits for the same fetch without the field asks for itself")
  func collapsed() throws {
    try wire { origin, proxy in
      let one = try proxy.connect().get(origin.url("/"), "Origin: https://a.test")
      let first = try origin.accept()
      try first.expectRequest()
      let two = try proxy.connect().get(origin.url("/"))
      let three = try proxy.connect().get(origin.url("/"), "Origin: https://a.test")
      try proxy.expect("both to wait") { $0.value(.connectionsOpen, .downstream) == 3 }
      try first.respond(200, Self.fresh + ["Vary: Origin"], "for all")
      let second = try origin.accept()
      _ = try answer(second)
      try one.expectResponse(200, content: "for https://a.test")
      try three.expectResponse(200, content: "for https://a.test")
      #expect(try answer(second) == nil)
      try two.expectResponse(200, content: "for all")
      try origin.expectNothingElse()
    }
  }

  @Test("what was kept before a field was let through is not taken for an answer to it")
  func reload() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      _ = try answer(upstream)
      try client.expectResponse(200, content: "for all")
      try proxy.expectStored()
      try proxy.reloadAndWait {
        $0.upstream.forwardFields = (try? RequestFieldName(reading: "origin")).map { [$0] } ?? []
      }
      try client.get(origin.url("/"), "Origin: https://a.test")
      #expect(try answer(upstream) == "https://a.test")
      try client.expectResponse(200, content: "for https://a.test")
      try origin.expectNothingElse()
    }
  }
}
