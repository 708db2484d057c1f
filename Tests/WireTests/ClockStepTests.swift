// The wall clock is moved while the proxy runs, by NTP or by hand: ages and lifetimes go by it as well as they can,
// nothing that waits does.

#if DEBUG
  import Configuration
  import Support
  import Testing

  @Suite struct ClockStepTests {
    private static let fields = [
      "Cache-Control: max-age=600", "ETag: \"v\"", "Connection: close",
    ]

    @Test("set forward: what is stored is older at once, and is validated")
    func forward() throws {
      try wire { origin, proxy in
        let client = try proxy.connect().get(origin.url("/"))
        try origin.serve(200, Self.fields, "content")
        try client.expectResponse(200, content: "content")
        try proxy.expectStored()
        try proxy.stepClock(days: 2)
        try client.get(origin.url("/"))
        let request = try origin.serve(304, Self.fields)
        #expect(request["If-None-Match"] == "\"v\"")
        let answer = try client.expectResponse(200, content: "content")
        #expect(answer["Age"] == nil || answer["Age"] == "0")
        // Renewed by the new clock.
        let hit = try client.get(origin.url("/")).expectResponse(200, content: "content")
        #expect(hit["Cache-Status"]?.hasPrefix("Holdfast; hit") == true)
        try origin.expectNothingElse()
      }
    }

    @Test("set back: nothing is younger than it was on arrival, nor fresh for longer than it was")
    func back() throws {
      try wire { origin, proxy in
        let client = try proxy.connect().get(origin.url("/"))
        try origin.serve(200, Self.fields + ["Age: 100"], "content")
        try client.expectResponse(200, content: "content")
        try proxy.expectStored()
        try proxy.stepClock(days: -2)
        let hit = try client.get(origin.url("/")).expectResponse(200, content: "content")
        let age = hit["Age"].flatMap { Int($0) } ?? -1
        #expect((100...130).contains(age), "\(age)")
        let left = hit["Cache-Status"]?.firstMatch(of: /ttl=(-?\d+)/).flatMap { Int($0.output.1) }
        #expect((left ?? .max) <= 500)
        // What is fetched now carries a date two days ahead of the clock: that makes it no older either.
        let other = try proxy.connect().get(origin.url("/b"))
        try origin.serve(200, Self.fields, "b")
        try other.expectResponse(200, content: "b")
        try proxy.expectStored()
        let second = try other.get(origin.url("/b")).expectResponse(200, content: "b")
        #expect(second["Age"].flatMap { Int($0) }.map { (0...30).contains($0) } == true)
        try origin.expectNothingElse()
      }
    }

    @Test("set forward and back again: what was fresh is fresh")
    func thereAndBack() throws {
      try wire { origin, proxy in
        let client = try proxy.connect().get(origin.url("/"))
        try origin.serve(200, Self.fields, "content")
        try client.expectResponse(200, content: "content")
        try proxy.expectStored()
        try proxy.stepClock(days: 30)
        try proxy.stepClock(days: -30)
        let hit = try client.get(origin.url("/")).expectResponse(200, content: "content")
        #expect(hit["Cache-Status"]?.hasPrefix("Holdfast; hit") == true)
        try origin.expectNothingElse()
      }
    }

    @Test("no deadline fires because of it, and none fails to", arguments: [400, -400])
    func deadlines(days: Int) throws {
      try wire(configure: { configuration, _ in
        configuration.limits.headerTimeout = .milliseconds(300)
      }) { origin, proxy in
        let waiting = try proxy.connect().get(origin.url("/"))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        let idle = try proxy.connect()
        _ = try idle.get("/../").expectAnyResponse()
        try proxy.stepClock(days: days)
        // A head that is never finished is answered all the same.
        let slow = try proxy.connect()
        try slow.send("GET / HT")
        try slow.expectResponse(408)
        try upstream.respond(200, Self.fields, "content")
        try waiting.expectResponse(200, content: "content")
        // Nor has the idle connection been idle for longer.
        _ = try idle.get("/../").expectAnyResponse()
      }
    }
  }
#endif
