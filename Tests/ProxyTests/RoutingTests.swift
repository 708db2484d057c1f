// From targets to target URIs, on the short way and on the long one.

import Configuration
import HTTP
import Testing

@testable import Proxy

@Suite struct RoutingTests {
  static func router() throws -> Router {
    Router(
      Mirrors([
        Mirror(name: "debian", url: try OriginURL(reading: "http://deb.test/debian/")),
        Mirror(name: "bare", url: try OriginURL(reading: "http://bare.test:8080")),
      ]))
  }

  private func route(_ target: String, host: String = "proxy.test", role: ListenerRole = .proxy)
    -> Result<Route, ProxyError>
  {
    withHead("GET \(target) HTTP/1.1\r\nHost: \(host)\r\n\r\n") { head, bytes in
      do throws(ProxyError) {
        guard let router = try? Self.router() else { return .failure(.loop) }
        return .success(try router.route(head, in: bytes, role: role))
      } catch {
        return .failure(error)
      }
    }
  }

  /// What the short way makes of the same request; nil when it leaves it to the long one.
  private func shortKey(_ target: String, host: String = "proxy.test", role: ListenerRole = .proxy)
    throws -> String?
  {
    let router = try Self.router()
    return withHead("GET \(target) HTTP/1.1\r\nHost: \(host)\r\n\r\n") { head, bytes in
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: TargetKey.roomNeeded + 4096) {
        let count = router.writeKey(head, in: bytes, role: role, into: $0)
        return count == 0 ? nil : String(decoding: $0[..<count], as: UTF8.self)
      }
    }
  }

  static let targets: [(String, String, String)] = [
    ("http://a.test/x?y", "http://a.test/x?y", "forward"),
    ("http://A.test:80/%7Ex", "http://a.test/~x", "forward"),
    ("http://a.test", "http://a.test/", "forward"),
    ("http://a.test:8080/", "http://a.test:8080/", "forward"),
    ("HTTP://a.test/", "http://a.test/", "forward"),
    ("https://a.test/", "https://a.test/", "forward"),
    ("http://[::1]:81/", "http://[::1]:81/", "forward"),
    ("http://HTTPS///a.test/x", "https://a.test/x", "prefix"),
    ("/HTTPS///a.test/x", "https://a.test/x", "prefix"),
    ("/debian/pool/a", "http://deb.test/debian/pool/a", "mirror"),
    ("/debian/", "http://deb.test/debian/", "mirror"),
    ("/debian", "http://deb.test/debian/", "mirror"),
    ("/debian?q", "http://deb.test/debian/?q", "mirror"),
    ("/bare/a", "http://bare.test:8080/a", "mirror"),
    ("/a.test/x", "http://a.test/x", "prefix"),
    ("/a.test", "http://a.test/", "prefix"),
    ("/a.test?q=1/2", "http://a.test/?q=1/2", "prefix"),
    ("/a.test:8080/x", "http://a.test:8080/x", "prefix"),
    ("/a:443/x", "https://a/x", "prefix"),
    ("/a.test:443/x", "https://a.test/x", "prefix"),
    ("/[::1]:80/x", "http://[::1]/x", "prefix"),
    ("/debian/a/..b", "http://deb.test/debian/a/..b", "mirror"),
  ]

  @Test("each way in leads to one target URI", arguments: targets)
  func routes(target: String, key: String, way: String) throws {
    let route = try route(target).get()
    #expect(String(decoding: route.target.key, as: UTF8.self) == key)
    if !target.hasPrefix("http://HTTPS") { #expect(route.way.rawValue == way) }
    #expect(route.isConfigured == (way == "mirror"))
  }

  @Test("the short way makes the key of the long way, or none", arguments: targets)
  func sameKey(target: String, key: String, way: String) throws {
    if let short = try shortKey(target) { #expect(short == key) }
  }

  @Test(
    "the usual requests have a short way",
    arguments: [
      "http://a.test/x", "/debian/pool/a_1.0.deb", "/a.test/x", "http://a.test:8080/?q",
    ])
  func short(target: String) throws { #expect(try shortKey(target) != nil) }

  @Test(
    "what leads nowhere is refused",
    arguments: [
      ("/", 404), ("/nothing/x", 404), ("/./x", 404), ("/../x", 404), ("/..", 404), ("/:/x", 404),
      ("/Debian/x", 404), ("/debian/../x", 400), ("/debian/./x", 400), ("/debian/a/%2E%2e/x", 400),
      ("/debian/..", 400), ("ftp://a.test/", 400), ("http://u@a.test/", 400), ("/a.test:x/", 400),
      ("/a.test:0/", 400), ("//a.test/", 404),
    ])
  func refusals(target: String, status: UInt16) throws {
    guard case .failure(let error) = route(target) else {
      Issue.record("\(target) leads somewhere")
      return
    }
    #expect(error.status.rawValue == status)
    #expect(try shortKey(target) == nil)
  }

  @Test("a listener for one origin puts every path below it, and nothing else")
  func reverse() throws {
    let base = try #require(TargetURI("http://o.test:8000/base/"))
    let role = ListenerRole.origin(base)
    for (target, key) in [
      ("/x?y", "http://o.test:8000/base/x?y"), ("/", "http://o.test:8000/base/"),
      ("/debian/a", "http://o.test:8000/base/debian/a"),
      ("/a.test/x", "http://o.test:8000/base/a.test/x"),
    ] {
      let route = try route(target, role: role).get()
      #expect(String(decoding: route.target.key, as: UTF8.self) == key)
      #expect(route.way == .origin && route.isConfigured)
      if let short = try shortKey(target, role: role) { #expect(short == key) }
    }
    #expect(throws: ProxyError.self) { try route("http://o.test:8000/base/x", role: role).get() }
    #expect(throws: ProxyError.self) { try route("/../x", role: role).get() }
    #expect(try shortKey("/../x", role: role) == nil)
    #expect(try shortKey("/a/%2e%2e/x", role: role) == nil)
  }
}
