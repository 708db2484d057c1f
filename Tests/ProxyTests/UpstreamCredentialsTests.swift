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
    entry.hosts = try hosts.map { try CredentialPlace(reading: $0) }
    entry.secret = HiddenText("token")
    change(&entry)
    return entry
  }

  @Test(
    "an entry is for its hosts, over https, and for the ways in that it is for",
    arguments: [
      ("https://a.test/", UpstreamCredentials.Naming.mirror, true),
      ("https://A.test./", .mirror, true), ("https://a.test:8443/", .mirror, true),
      ("https://a.test/", .origin, true), ("https://b.a.test/", .mirror, false),
      ("http://a.test/", .mirror, false), ("https://x.sub.test/", .mirror, true),
      ("https://sub.test/", .mirror, false), ("https://xsub.test/", .mirror, false),
      ("https://[2001:db8::1]/", .mirror, true), ("https://[2001:DB8:0::1]/", .mirror, true),
      ("https://[2001:db8::2]/", .mirror, false), ("https://10.0.0.1/", .mirror, true),
      ("https://a.test/", .forward, false), ("https://a.test/", .prefix, false),
      ("https://a.test/", .files(of: 0), false),
    ])
  func applies(target: String, naming: UpstreamCredentials.Naming, applies: Bool) throws {
    let credentials = UpstreamCredentials([
      try entry(["a.test", "*.sub.test", "2001:db8::1", "10.0.0.1"])
    ])
    let target = try #require(TargetURI(target))
    #expect((credentials.credential(for: target, naming) != nil) == applies)
  }

  @Test(
    "an entry with a path holds below it, however the path is written, and nowhere else",
    arguments: [
      ("https://a.test/team/x", true), ("https://a.test/team/", true),
      ("https://a.test/te%61m/x", true), ("https://a.test/team", false),
      ("https://a.test/teams/x", false), ("https://a.test/", false),
      ("https://a.test/Team/x", false), ("https://a.test/x?/team/", false),
      ("https://a.test//team/x", false), ("https://a.test/team/../x", false),
      ("https://a.test/team/%2e%2E/x", false), ("https://a.test/team/..%2fx", false),
      ("https://a.test/team/..", false), ("https://a.test/team/.;/x", false),
      ("https://a.test/team/..\\x", false), ("https://a.test/team/x?../..", true),
      ("https://a.test/team%2Fx", false), ("https://b.test/team/x", false),
    ])
  func below(target: String, isBelow: Bool) throws {
    let credentials = UpstreamCredentials([try entry(["a.test/team/"])])
    // Some of these are no URI, and then nobody can ask for them.
    guard let target = TargetURI(target) else { return }
    #expect((credentials.credential(for: target, .mirror) != nil) == isBelow)
  }

  @Test(
    "where a client names the host, the entry says so, and the port is the entry's or the scheme's",
    arguments: [
      ("https://a.test/", true), ("https://a.test:443/", true), ("https://a.test:8443/", false),
      ("https://b.test/", false), ("https://b.test:8443/", true), ("http://a.test/", false),
    ])
  func named(target: String, applies: Bool) throws {
    let credentials = UpstreamCredentials([
      try entry(["a.test", "b.test:8443"]) {
        $0.isForFiles = true
        $0.isForPrefix = true
        $0.isForForward = true
      }
    ])
    let target = try #require(TargetURI(target))
    for naming in [UpstreamCredentials.Naming.prefix, .forward, .files(of: 0)] {
      #expect((credentials.credential(for: target, naming) != nil) == applies)
    }
    #expect(credentials.credential(for: target, .files(of: 1)) == nil, "another mirror's")
    #expect(credentials.credential(for: target, .files(of: nil)) == nil, "a mirror without")
  }

  @Test("an entry that withholds itself makes no room for another one with the same ways in")
  func withheld() throws {
    let credentials = UpstreamCredentials([
      try entry(["a.test"]) { $0.isForPrefix = true },
      try entry(["a.test:8443"]) { $0.isForPrefix = true },
    ])
    let target = try #require(TargetURI("https://a.test:8443/"))
    #expect(credentials.credential(for: target, .prefix) == nil)
    #expect(credentials.credential(for: target, .mirror)?.name.contains("[0]") == true)
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
    let mirror = try #require(credentials.credential(for: target, .mirror))
    #expect(String(decoding: mirror.value, as: UTF8.self) == "Basic dTpwOsOk")
    #expect(mirror.isShared)
    let forward = try #require(credentials.credential(for: target, .forward))
    #expect(String(decoding: forward.value, as: UTF8.self) == "Bearer token")
    #expect(!forward.isShared)
    #expect(mirror.keySuffix != forward.keySuffix)
    #expect(mirror.name == "upstream.credentials[1] (a.test)")
    #expect(UpstreamCredentials.keys(of: [1]).count == 9)
    for shown in [mirror, forward] {
      #expect(UpstreamCredentials.keys(of: [1]).contains([1] + shown.keySuffix))
    }
  }

  @Test("redirects within the host keep it as long as they stay in a path of the entry")
  func scope() throws {
    let credentials = UpstreamCredentials([try entry(["a.test/team/", "a.test/files/"])])
    let inside = try #require(TargetURI("https://a.test/team/x"))
    let scope = try #require(credentials.credential(for: inside, .mirror)).scope
    for (target, isInside) in [
      ("https://a.test/team/y", true), ("https://a.test/files/y", true),
      ("https://a.test/other", false), ("https://a.test/team/../other", false),
    ] {
      let target = try #require(TargetURI(target))
      #expect(scope.contains(target) == isInside)
    }
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
    #expect(shortKey("/a.test:443/x") == "https://a.test/x", "which nobody may show it for")
    #expect(shortKey("/m/+files/https/a.test/x") == "https://a.test/x")
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

  @Test("the short way leaves what an entry is for to the long one, and goes on with the rest")
  func shortWay() throws {
    let credential = UpstreamCredentials([
      try entry(["a.test/team/", "*.sub.test"]) {
        $0.isForFiles = true
        $0.isForPrefix = true
        $0.isForForward = true
      }
    ])
    let router = Router(
      Mirrors([
        Mirror(name: "m", url: try OriginURL(reading: "https://a.test/team/simple/")),
        Mirror(name: "whole", url: try OriginURL(reading: "https://a.test/")),
        Mirror(name: "other", url: try OriginURL(reading: "https://b.test/")),
      ]), credentials: credential)
    let mark = "#credentials-files-prefix-forward"
    for (target, key) in [
      ("/m/x", "https://a.test/team/simple/x" + mark), ("/whole/x", "https://a.test/x"),
      ("/whole/team/x", "https://a.test/team/x" + mark), ("/other/x", "https://b.test/x"),
      ("/m/+files/https/a.test/team/x", "https://a.test/team/x" + mark),
      ("/m/+files/https/a.test/x", "https://a.test/x"),
      ("/m/+files/https/a.test/team/../x", ""),
      ("/m/+files/http/a.test/team/x", "http://a.test/team/x"),
      ("/m/+files/https/c.test/x", "https://c.test/x"),
      ("/other/+files/https/a.test/team/x", "https://a.test/team/x"),
      ("/a.test:443/team/x", ""), ("/a.test:443/x", "https://a.test/x"),
      ("/x.sub.test:443/x", ""), ("/c.test:443/x", "https://c.test/x"),
      ("https://a.test/team/x", ""), ("https://a.test/x", "https://a.test/x"),
      ("http://a.test/team/x", "http://a.test/team/x"),
    ] {
      let (made, route) = withHead("GET \(target) HTTP/1.1\r\nHost: a.test\r\n\r\n") {
        head, bytes in
        let made = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: TargetKey.roomNeeded) {
          let count = router.writeKey(head, in: bytes, role: .proxy, into: $0)
          return String(decoding: $0[..<count], as: UTF8.self)
        }
        return (made, try? router.route(head, in: bytes, role: .proxy))
      }
      #expect(made == key, "\(target)")
      guard !made.isEmpty, let route else { continue }
      let long = route.target.key + (route.credential?.keySuffix ?? [])
      #expect(String(decoding: long, as: UTF8.self) == made, "\(target)")
    }
  }
}
