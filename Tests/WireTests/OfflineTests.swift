// `offline: true`: what is stored is served whatever its age, and nothing leaves the machine.

import Configuration
import HTTP
import IO
import Platform
import Support
import Synchronization
import Telemetry
import Testing

@Suite struct OfflineTests {
  /// Counts the questions to the name server.
  private final class Names: Sendable {
    let asked = Atomic<Int>(0)
  }

  private func offline(_ body: (WireOrigin, TestProxy, Names) throws -> Void) throws {
    let names = Names()
    try wire(
      configure: { configuration, _ in configuration.offline = true },
      lookup: { host in
        names.asked.add(1, ordering: .relaxed)
        return TestProxy.testNames(host)
      }
    ) { origin, proxy in
      try body(origin, proxy, names)
      try origin.expectNothingElse()
      #expect(proxy.registry.value(.upstreamConnects) == 0)
      #expect(names.asked.load(ordering: .relaxed) == 0)
    }
  }

  @Test(
    "what is not stored is 504, whatever is asked",
    arguments: [
      ("GET", []), ("HEAD", []), ("GET", ["Cache-Control: no-store"]),
      ("GET", ["Cache-Control: no-cache"]), ("DELETE", []), ("OPTIONS", []),
      ("GET", ["Authorization: Basic YTpi"]),
    ])
  func nothing(method: String, fields: [String]) throws {
    try offline { origin, proxy, _ in
      let client = try proxy.connect().request(method, origin.url("/"), fields)
      let answer = try client.expectError(
        504, "offline: false", type: "destination_unavailable", isHead: method == "HEAD")
      #expect(answer["Cache-Status"] == "Holdfast; detail=offline")
      // The connection goes on.
      try client.get(origin.url("/other")).expectError(504, "offline: false")
    }
  }

  @Test("a request with content is 504 before its content is read, and a tunnel is not opened")
  func contentAndTunnels() throws {
    try offline { origin, proxy, _ in
      let client = try proxy.connect()
      try client.send(
        "PUT \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 5\r\n\r\n")
      try client.expectError(504, "offline: false", closes: true)
      let other = try proxy.connect()
      try other.send("CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      try other.expectError(504, "offline: false", closes: true)
    }
  }

  @Test(
    "what is stored is sent however stale, even where its origin wants to be asked",
    arguments: [
      "max-age=600", "max-age=0", "max-age=0, must-revalidate", "no-cache", "s-maxage=0",
      "no-cache, must-revalidate, stale-while-revalidate=600",
    ])
  func stale(control: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.get(origin.url("/"))
      try origin.serve(
        200, ["Cache-Control: \(control)", "ETag: \"v\"", "Connection: close"], "content")
      try client.expectResponse(200)
      try proxy.expectStored()
      try proxy.reloadAndWait { $0.offline = true }
      let fresh = control == "max-age=600"
      for request in [[], ["Cache-Control: no-cache"], ["Pragma: no-cache"]] {
        let again = try proxy.connect().request("GET", origin.url("/"), request)
        let answer = try again.expectResponse(200, content: "content")
        #expect(answer["Cache-Status"]?.hasPrefix("Holdfast; hit; ttl=") == true)
        #expect(answer["Cache-Status"]?.hasSuffix("; detail=offline") == !fresh)
        try again.request("HEAD", origin.url("/"), request)
        try again.expectResponse(200, isHead: true)
        try again.request("GET", origin.url("/"), request + ["If-None-Match: \"v\""])
        try again.expectResponse(304)
      }
      try origin.expectNothingElse()
      // And back again, on the same connection.
      try client.get(origin.url("/other")).expectError(504, "offline: false")
      try proxy.reloadAndWait { $0.offline = false }
      try client.get(origin.url("/other"))
      try origin.serve(200, [], "online")
      try client.expectResponse(200, content: "online")
    }
  }

  @Test("a variant that was not stored is not there, and a rule that passes by gives nothing")
  func otherVariant() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.get(origin.url("/"), "Accept: a")
      try origin.serve(
        200, ["Cache-Control: max-age=600", "Vary: Accept", "Connection: close"], "a")
      try client.expectResponse(200)
      try proxy.expectStored()
      var rule = CacheRule(match: try URIPattern("/live/**"))
      rule.kind = .pass
      try proxy.reloadAndWait {
        $0.offline = true
        $0.rules = [rule]
      }
      let again = try proxy.connect()
      try again.get(origin.url("/"), "Accept: b").expectError(504, "offline: false")
      try again.get(origin.url("/live/x")).expectError(504, "offline: false")
      try again.get(origin.url("/"), "Accept: a").expectResponse(200, content: "a")
      try origin.expectNothingElse()
    }
  }
}
