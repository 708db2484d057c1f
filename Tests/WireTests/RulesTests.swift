// What rules of the configuration change for a client.

import Configuration
import HTTP
import Platform
import Support
import Testing

@Suite struct RulesTests {
  private static func rule(_ pattern: String, _ change: (inout CacheRule) -> Void) throws
    -> CacheRule
  {
    var rule = CacheRule(match: try URIPattern(pattern))
    change(&rule)
    return rule
  }

  private func ruled(
    _ rules: [CacheRule], _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(configure: { configuration, _ in configuration.rules = rules }, body)
  }

  /// Fetches a path once, with an answer like this.
  private func fetch(
    _ path: String, _ origin: WireOrigin, _ proxy: TestProxy, _ fields: [String],
    _ content: String = "content", status: Int = 200
  ) throws {
    let client = try proxy.connect().get(origin.url(path))
    try origin.serve(status, fields + ["Connection: close"], content)
    try client.expectResponse(status, content: content)
    try proxy.expectStored()
  }

  @Test("an answer without a lifetime is not used again, unless a rule gives it one")
  func fresh() throws {
    try ruled([try Self.rule("/simple/**") { $0.fresh = .seconds(60) }]) { origin, proxy in
      try fetch("/simple/a", origin, proxy, [])
      let hit = try proxy.connect().get(origin.url("/simple/a")).expectResponse(
        200, content: "content")
      let age = Int(hit["Age"] ?? "") ?? 0
      #expect(hit["Cache-Status"] == "Holdfast; hit; ttl=\(60 - age)")
      try fetch("/other", origin, proxy, [])
      try fetch("/other", origin, proxy, [])
      // What the origin says holds.
      try fetch("/simple/b", origin, proxy, ["Cache-Control: max-age=0", "ETag: \"v\""])
      let client = try proxy.connect().get(origin.url("/simple/b"))
      #expect(try origin.serve(304)["If-None-Match"] == "\"v\"")
      try client.expectResponse(200, content: "content")
    }
  }

  @Test("a rule that overrides holds against the origin, but never against no-store")
  func override() throws {
    let rule = try Self.rule("/**") {
      $0.fresh = .seconds(60)
      $0.override = true
    }
    try ruled([rule]) { origin, proxy in
      for (path, control) in [("/a", "no-cache"), ("/b", "max-age=0"), ("/c", "max-age=86400")] {
        try fetch(path, origin, proxy, ["Cache-Control: \(control)"])
        let hit = try proxy.connect().get(origin.url(path)).expectResponse(200, content: "content")
        let age = Int(hit["Age"] ?? "") ?? 0
        #expect(hit["Cache-Status"] == "Holdfast; hit; ttl=\(60 - age)")
      }
      for _ in 0..<2 { try fetch("/d", origin, proxy, ["Cache-Control: no-store"]) }
      try origin.expectNothingElse()
    }
  }

  @Test("an immutable resource is kept for ever and not asked for again, a failure to get it is")
  func immutable() throws {
    try ruled([try Self.rule("/**/*.whl") { $0.kind = .immutable }]) { origin, proxy in
      try fetch("/x/a.whl", origin, proxy, ["Cache-Control: no-cache"])
      try proxy.connect().get(origin.url("/x/a.whl"), "Cache-Control: no-cache")
        .expectResponse(200, content: "content")
      for _ in 0..<2 { try fetch("/x/b.whl", origin, proxy, [], status: 404) }
      try origin.expectNothingElse()
    }
  }

  @Test("a rule can take a package file for one that changes")
  func mutable() throws {
    try ruled([try Self.rule("/nightly/**") { $0.kind = .mutable }]) { origin, proxy in
      try fetch("/stable/a_1_all.deb", origin, proxy, [])
      try proxy.connect().get(origin.url("/stable/a_1_all.deb")).expectResponse(200)
      for _ in 0..<2 { try fetch("/nightly/a_1_all.deb", origin, proxy, []) }
      try origin.expectNothingElse()
    }
  }

  @Test("what is passed by is neither stored nor answered from the store")
  func pass() throws {
    try ruled([]) { origin, proxy in
      try fetch("/live/x", origin, proxy, ["Cache-Control: max-age=600"], "old")
      try proxy.connect().get(origin.url("/live/x")).expectResponse(200, content: "old")
      let rules = [try Self.rule("/live/**") { $0.kind = .pass }]
      try proxy.reloadAndWait { $0.rules = rules }
      for round in 0..<2 {
        try fetch("/live/x", origin, proxy, ["Cache-Control: max-age=600"], "new \(round)")
      }
      // The store still has what it had; nobody was told to forget it.
      try proxy.reloadAndWait { $0.rules = [] }
      try proxy.connect().get(origin.url("/live/x")).expectResponse(200, content: "old")
      try origin.expectNothingElse()
    }
  }

  @Test("a changed rule holds for what is stored already")
  func reload() throws {
    try ruled([]) { origin, proxy in
      try fetch("/a", origin, proxy, ["Cache-Control: max-age=600", "ETag: \"v\""])
      try proxy.connect().get(origin.url("/a")).expectResponse(200)
      let rules = [
        try Self.rule("/a") {
          $0.fresh = .zero
          $0.override = true
        }
      ]
      try proxy.reloadAndWait { $0.rules = rules }
      let client = try proxy.connect().get(origin.url("/a"))
      try origin.serve(304)
      try client.expectResponse(200, content: "content")
    }
  }

  @Test(
    "404 and 410 are remembered as told or by rule, and no other failure",
    arguments: [404, 410, 403, 500])
  func negative(status: Int) throws {
    let rules = [try Self.rule("/ruled/**") { $0.negative = .seconds(60) }]
    try ruled(rules) { origin, proxy in
      let isMissing = status == 404 || status == 410
      try fetch("/ruled/a", origin, proxy, [], "no", status: status)
      if isMissing {
        let hit = try proxy.connect().get(origin.url("/ruled/a")).expectResponse(
          status, content: "no")
        let age = Int(hit["Age"] ?? "") ?? 0
        #expect(hit["Cache-Status"] == "Holdfast; hit; ttl=\(60 - age)")
      } else {
        try fetch("/ruled/a", origin, proxy, [], "no", status: status)
      }
      for _ in 0..<2 { try fetch("/other", origin, proxy, [], "no", status: status) }
      // For a day, says the origin; ten minutes are enough.
      try fetch("/told", origin, proxy, ["Cache-Control: max-age=86400"], "no", status: status)
      let told = try proxy.connect().get(origin.url("/told")).expectResponse(status)
      let age = Int(told["Age"] ?? "") ?? 0
      #expect(
        told["Cache-Status"] == "Holdfast; hit; ttl=\((isMissing ? 600 : 86_400) - age)")
      try origin.expectNothingElse()
    }
  }

  @Test("a rule lets a stale answer stand in, and lets it be renewed in the background")
  func stale() throws {
    let rules = [
      try Self.rule("/error/**") { $0.staleIfError = .seconds(600) },
      try Self.rule("/while/**") { $0.staleWhileRevalidate = .seconds(600) },
    ]
    try ruled(rules) { origin, proxy in
      let stale = ["Cache-Control: max-age=0", "ETag: \"v\""]
      try fetch("/error/a", origin, proxy, stale, "good")
      let client = try proxy.connect().get(origin.url("/error/a"))
      try origin.serve(503, ["Connection: close"], "bad")
      try client.expectResponse(200, content: "good")
      try fetch("/while/a", origin, proxy, stale, "old")
      try client.get(origin.url("/while/a")).expectResponse(200, content: "old")
      try origin.serve(200, ["Cache-Control: max-age=600", "Connection: close"], "new")
      try proxy.expectStored()
      try client.get(origin.url("/while/a")).expectResponse(200, content: "new")
      try fetch("/other", origin, proxy, stale, "good")
      try client.get(origin.url("/other"))
      try origin.serve(503, [], "bad")
      try client.expectResponse(503, content: "bad")
    }
  }

  @Test("rules speak of the target, whichever way the request came in")
  func waysIn() throws {
    try wire(configure: { configuration, origin in
      configuration.rules = [
        try Self.rule("\(origin.authority)/pool/**") { $0.fresh = .seconds(60) }
      ]
      configuration.mirrors = Mirrors([
        Mirror(name: "pool", url: try OriginURL(reading: origin.url("/pool/")))
      ])
    }) { origin, proxy in
      let client = try proxy.connect().get("/pool/a")
      try origin.serve(200, [], "content")
      try client.expectResponse(200)
      for target in ["/pool/a", origin.url("/pool/a"), "/\(origin.authority)/pool/a"] {
        try client.get(target).expectResponse(200, content: "content")
      }
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a targeted field of the operator's choice counts before Cache-Control, also after a restart")
  func targeted() throws {
    try wire(configure: { configuration, _ in
      let names = ["Mirror-Cache-Control", "CDN-Cache-Control"]
      configuration.cache.targetedFields = try names.map { try FieldNameSetting(reading: $0) }
    }) { origin, proxy in
      let fields = [
        "Mirror-Cache-Control: max-age=600", "CDN-Cache-Control: max-age=0",
        "Cache-Control: no-store",
      ]
      try fetch("/a", origin, proxy, fields)
      let hit = try proxy.connect().get(origin.url("/a")).expectResponse(200)
      for field in fields {
        // It is all passed on: caches further down have targets of their own.
        let name = String(field.prefix { $0 != ":" })
        #expect("\(name): \(hit[name] ?? "nothing")" == field)
      }
      try proxy.restart()
      try proxy.connect().get(origin.url("/a")).expectResponse(200, content: "content")
      try fetch(
        "/b", origin, proxy,
        ["Mirror-Cache-Control: max-age=600,", "CDN-Cache-Control: max-age=600"])
      try proxy.connect().get(origin.url("/b")).expectResponse(200)
      try origin.expectNothingElse()
    }
  }
}
