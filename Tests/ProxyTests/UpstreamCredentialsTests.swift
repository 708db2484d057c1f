// Which requests take a credential along, and which key that makes of theirs.

import Configuration
import HTTP
import Testing

@testable import Proxy

@Suite struct UpstreamCredentialsTests {
  private func entry(
    _ hosts: [String], _ change: (inout UpstreamCredential) -> Void = { _ in }
  ) throws -> UpstreamCredential {
    var entry = UpstreamCredential()
    entry.hosts = try hosts.map { try HostPattern(reading: $0) }
    entry.secret = HiddenText("token")
    change(&entry)
    return entry
  }

  @Test(
    "an entry is for its hosts, over https, and for the ways in that it is for",
    arguments: [
      ("https://a.test/", Route.Way.mirror, true), ("https://A.test./", .mirror, true),
      ("https://a.test:8443/", .prefix, true), ("https://a.test/", .origin, true),
      ("https://b.a.test/", .mirror, false), ("http://a.test/", .mirror, false),
      ("https://x.sub.test/", .mirror, true), ("https://sub.test/", .mirror, false),
      ("https://a.test/", .forward, false), ("https://a.test/", .intercept, false),
      ("https://a.test/", .tunnel, false),
    ])
  func applies(target: String, way: Route.Way, applies: Bool) throws {
    let credentials = UpstreamCredentials([try entry(["a.test", "*.sub.test"])])
    let target = try #require(TargetURI(target))
    #expect((credentials.credential(for: target, way: way) != nil) == applies)
  }

  @Test("the first entry that is for a request decides; without its secret there is none")
  func first() throws {
    let credentials = UpstreamCredentials([
      try entry(["a.test"]) { $0.secret = nil },
      try entry(["a.test"]) {
        $0.user = try? PlainWord(reading: "u")
        $0.secret = HiddenText("p:ä")
      }, try entry(["a.test"]) { $0.isForForward = true },
    ])
    let target = try #require(TargetURI("https://a.test/x"))
    let mirror = try #require(credentials.credential(for: target, way: .mirror))
    #expect(String(decoding: mirror.value, as: UTF8.self) == "Basic dTpwOsOk")
    #expect(mirror.isShared)
    let forward = try #require(credentials.credential(for: target, way: .forward))
    #expect(String(decoding: forward.value, as: UTF8.self) == "Bearer token")
    #expect(!forward.isShared)
    #expect(mirror.keySuffix != forward.keySuffix)
    #expect(mirror.name == "upstream.credentials[1] (a.test)")
  }

  @Test("no target makes such a key, and the short way makes the same one as the long way")
  func keys() throws {
    let credential = UpstreamCredentials([try entry(["a.test"])])
    let router = Router(
      Mirrors([
        Mirror(name: "m", url: try OriginURL(reading: "https://a.test/base/")),
        Mirror(name: "open", url: try OriginURL(reading: "https://b.test/")),
      ]), credentials: credential)
    func shortKey(
      _ target: String, room: Int = TargetKey.roomNeeded, router: Router = router,
      role: ListenerRole = .proxy
    ) -> String {
      withHead("GET \(target) HTTP/1.1\r\nHost: a.test\r\n\r\n") { head, bytes in
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: room) {
          let count = router.writeKey(head, in: bytes, role: role, into: $0)
          return String(decoding: $0[..<count], as: UTF8.self)
        }
      }
    }
    #expect(shortKey("/m/x%7e?q") == "https://a.test/base/x~?q#credentials")
    #expect(shortKey("/open/x") == "https://b.test/x")
    #expect(shortKey("https://a.test/base/x") == "https://a.test/base/x")
    #expect(shortKey("/a.test:443/x") == "", "the long way decides")
    #expect(shortKey("/m/x", room: 25) == "", "there is no room for the rest")
    for target in [
      "https://a.test/base/x#credentials", "/m/x#credentials", "/m/x?q#credentials",
      "/open/x#credentials", "/m#credentials", "/b.test/x#credentials",
    ] {
      #expect(shortKey(target) == "")
      // What was fetched with credentials may be there when they are in the configuration no more.
      #expect(shortKey(target, router: Router(Mirrors([]))) == "")
      let inside = try #require(Authority("a.test:443"))
      for role in [
        ListenerRole.intercepted(InterceptedHost(inside)),
        .origin(try #require(TargetURI("https://a.test/base/"))),
      ] {
        #expect(shortKey(target, router: Router(Mirrors([])), role: role) == "")
      }
      let refused = withHead("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n") { head, bytes in
        (try? router.route(head, in: bytes, role: .proxy)) == nil
      }
      #expect(refused)
    }
    #expect(
      TargetURI("https://a.test/base/x%23credentials")?.description.hasSuffix("%23credentials")
        == true)
  }
}
