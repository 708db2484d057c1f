// When the origin fails: who gets a stale answer instead, and that no failure takes the place of what is stored.

import Configuration
import HTTP
import Platform
import Support
import Telemetry
import Testing

@Suite struct StaleTests {
  static let lenient = ["Cache-Control: max-age=0, stale-if-error=600", "ETag: \"v\""]
  static let plain = ["Cache-Control: max-age=0", "ETag: \"v\""]
  static let strict = [
    "Cache-Control: max-age=0, must-revalidate, stale-if-error=600", "ETag: \"v\"",
  ]

  private func store(
    _ origin: WireOrigin, _ proxy: TestProxy, _ fields: [String], _ content: String = "good"
  ) throws {
    let client = try proxy.connect().get(origin.url("/"))
    try origin.serve(200, fields + ["Connection: close"], content)
    try client.expectResponse(200, content: content)
    try proxy.expectStored()
  }

  /// The ways in which an origin can fail before it has said anything worth having.
  enum Failure: String, CaseIterable, Sendable {
    case refuses, resets, closes, isSilent, talksNonsense, resetsInHead, resetsInContent
    case error500, error502, error503, error504

    func happen(_ origin: WireOrigin) throws {
      if self == .refuses {
        // Nobody is there any more: see the test.
        return
      }
      let upstream = try origin.accept()
      try upstream.expectRequest()
      switch self {
      case .refuses, .isSilent: break
      case .resets: upstream.abort()
      case .closes: upstream.close()
      case .talksNonsense: try upstream.send("WHAT?\r\n\r\n")
      case .resetsInHead:
        try upstream.send("HTTP/1.1 200 Fine\r\nCache-Con")
        upstream.close()
      case .resetsInContent:
        try upstream.send(
          head: 200, ["Cache-Control: max-age=600", "ETag: \"w\"", "Content-Length: 100"])
        try upstream.send("half of it")
        upstream.close()
      case .error500: try upstream.respond(500, ["Cache-Control: max-age=600"], "bad")
      case .error502: try upstream.respond(502, ["Cache-Control: max-age=600"], "bad")
      case .error503: try upstream.respond(503, ["Retry-After: 5"], "bad")
      case .error504: try upstream.respond(504, [], "bad")
      }
    }

    var isAnswer: Bool { rawValue.hasPrefix("error") }
  }

  private static func impatient(_ configuration: inout Configuration, _ origin: WireOrigin) {
    configuration.upstream.readTimeout = .milliseconds(100)
  }

  @Test(
    "with stale-if-error every failure brings the stale answer, to GET and HEAD",
    arguments: Failure.allCases)
  func granted(failure: Failure) throws {
    try wire(configure: Self.impatient) { origin, proxy in
      try store(origin, proxy, Self.lenient)
      let target = origin.url("/")
      if failure == .refuses { origin.stopListening() }
      for method in ["GET", "HEAD"] where method == "GET" || failure != .resetsInContent {
        let client = try proxy.connect().request(method, target)
        try failure.happen(origin)
        let answer = try client.expectResponse(
          200, ["ETag": "\"v\"", "Content-Length": "4"], content: method == "GET" ? "good" : "",
          isHead: method == "HEAD")
        #expect(answer["Cache-Status"]?.hasSuffix("; detail=stale-if-error") == true)
        try proxy.expectStored()
      }
      // And it is still there, to be confirmed as before.
      if failure != .refuses {
        let client = try proxy.connect().get(target)
        let request = try origin.serve(304, ["Cache-Control: max-age=600"])
        #expect(request["If-None-Match"] == "\"v\"")
        try client.expectResponse(200, content: "good")
      }
    }
  }

  @Test(
    "without a word about errors, an origin that cannot be heard is stood in for, one that says so is not",
    arguments: Failure.allCases)
  func unspoken(failure: Failure) throws {
    try wire(configure: Self.impatient) { origin, proxy in
      try store(origin, proxy, Self.plain)
      let target = origin.url("/")
      if failure == .refuses { origin.stopListening() }
      let client = try proxy.connect().get(target)
      try failure.happen(origin)
      if failure.isAnswer {
        try client.expectResponse(Int(failure.rawValue.suffix(3)) ?? 0, content: "bad")
      } else {
        try client.expectResponse(200, content: "good")
      }
    }
  }

  @Test("must-revalidate is obeyed whatever happens", arguments: Failure.allCases)
  func forbidden(failure: Failure) throws {
    guard failure != .resetsInContent else { return }
    try wire(configure: Self.impatient) { origin, proxy in
      try store(origin, proxy, Self.strict)
      let target = origin.url("/")
      if failure == .refuses { origin.stopListening() }
      let client = try proxy.connect().get(target)
      try failure.happen(origin)
      let answer = try client.expectAnyResponse()
      #expect((500...504).contains(answer.head.status))
    }
  }

  @Test("an error does not replace a good answer, even if its origin wants it kept")
  func errorIsNotKept() throws {
    try wire { origin, proxy in
      try store(origin, proxy, Self.plain)
      let client = try proxy.connect()
      for _ in 0..<2 {
        try client.get(origin.url("/"))
        let request = try origin.serve(
          503, ["Cache-Control: max-age=600", "Connection: close"], "bad")
        #expect(request["If-None-Match"] == "\"v\"")
        try client.expectResponse(503, content: "bad")
      }
      try client.get(origin.url("/"))
      try origin.serve(304, ["Cache-Control: max-age=600"])
      try client.expectResponse(200, content: "good")
    }
  }

  @Test("nor does one for another variant")
  func errorBesideVariants() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "Accept: a")
      try origin.serve(
        200, ["Cache-Control: max-age=600", "Vary: Accept", "Connection: close"], "good")
      try client.expectResponse(200, content: "good")
      try client.get(origin.url("/"), "Accept: b")
      try origin.serve(503, ["Cache-Control: max-age=600", "Connection: close"], "bad")
      try client.expectResponse(503, content: "bad")
      try client.get(origin.url("/"), "Accept: a").expectResponse(200, content: "good")
      try origin.expectNothingElse()
    }
  }

  @Test("what cannot be read for a moment is still what is stored: no error takes its place")
  func unreadable() throws {
    try wire { origin, proxy in
      try store(origin, proxy, ["Cache-Control: max-age=600"])
      try proxy.restart()
      let plan = FaultPlan(
        in: .directory(proxy.scratchDirectory), failing: [.read], number: 1, with: .tooManyOpenFiles
      )
      plan.install()
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(503, ["Cache-Control: max-age=600", "Connection: close"], "bad")
      try client.expectResponse(503, content: "bad")
      plan.remove()
      #expect(plan.fired == 1)
      try client.get(origin.url("/")).expectResponse(200, content: "good")
      try origin.expectNothingElse()
    }
  }

  @Test("with nothing stored an error is kept if its origin says so")
  func errorAlone() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(503, ["Cache-Control: max-age=600"], "bad")
      try client.expectResponse(503, content: "bad")
      try client.get(origin.url("/")).expectResponse(503, content: "bad")
      try origin.expectNothingElse()
    }
  }

  @Test(
    "an origin that says that the resource is gone is believed, and the old answer is not brought back",
    arguments: [[], ["Cache-Control: max-age=0"], ["Cache-Control: max-age=600"]])
  func gone(fields: [String]) throws {
    try wire { origin, proxy in
      try store(origin, proxy, Self.lenient)
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(404, fields + ["Connection: close"], "gone")
      try client.expectResponse(404, content: "gone")
      try proxy.expectStored()
      let target = origin.url("/")
      if fields == ["Cache-Control: max-age=600"] {
        try client.get(target).expectResponse(404, content: "gone")
      } else {
        origin.stopListening()
        try client.get(target).expectError(502, "No connection")
      }
    }
  }

  @Test(
    "all who wait for an answer get the stale one when the origin fails", arguments: [true, false])
  func followers(answers: Bool) throws {
    try wire { origin, proxy in
      try store(origin, proxy, Self.lenient)
      let leader = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let before = proxy.registry.value(.downstreamReceived)
      let others = try (0..<3).map { _ in try proxy.connect().get(origin.url("/")) }
      let each = "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n".utf8.count
      try proxy.expect("their requests") {
        $0.value(.downstreamReceived) >= before + Int64(3 * each)
      }
      if answers { try upstream.respond(503, [], "bad") } else { upstream.abort() }
      for client in [leader] + others {
        try client.expectResponse(200, content: "good")
      }
      try origin.expectNothingElse()
    }
  }

  @Test("who insists on a fresh answer gets the failure")
  func insisting() throws {
    try wire { origin, proxy in
      try store(origin, proxy, Self.lenient)
      let client = try proxy.connect().get(origin.url("/"), "Cache-Control: no-cache")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(503, ["Connection: close"], "bad")
      try client.expectResponse(503, content: "bad")
    }
  }

  @Test("a client may allow what the origin did not speak of")
  func clientAllows() throws {
    try wire { origin, proxy in
      try store(origin, proxy, Self.plain)
      let client = try proxy.connect().get(origin.url("/"), "Cache-Control: stale-if-error=60")
      try origin.serve(503, [], "bad")
      try client.expectResponse(200, content: "good")
    }
  }
}
