// Every way in (forward proxy, reverse proxy, mirror, prefix) makes the same target URI, and so shares one
// stored answer.

import Configuration
import Support
import Testing

@Suite struct WaysInTests {
  /// A way to ask for the path `/pool/a.deb` of the origin.
  enum Way: CaseIterable {
    case forward, originForm, mirror, prefix, forwardWithOtherHost

    /// Listener 0 is the proxy; listener 1 stands for the origin.
    var listener: Int { self == .originForm ? 1 : 0 }

    func request(_ origin: WireOrigin) -> String {
      switch self {
      case .forward:
        "GET \(origin.url("/pool/a.deb")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n"
      case .forwardWithOtherHost:
        // RFC 9112 §3.2.2: the target wins over Host.
        "GET http://ORIGIN.test:\(origin.port)/%70ool/a.deb HTTP/1.1\r\nHost: other.test\r\n\r\n"
      case .originForm: "GET /pool/a.deb HTTP/1.1\r\nHost: anything.test\r\n\r\n"
      case .mirror: "GET /debian/a.deb HTTP/1.1\r\nHost: proxy.test\r\n\r\n"
      case .prefix: "GET /\(origin.authority)/pool/a.deb HTTP/1.1\r\nHost: proxy.test\r\n\r\n"
      }
    }
  }

  static func configure(_ configuration: inout Configuration, _ origin: WireOrigin) throws {
    configuration.listeners.append(
      ListenerSettings(
        address: .loopback(port: 0), origin: try OriginURL(reading: origin.url("/"))))
    configuration.mirrors = Mirrors([
      Mirror(name: "debian", url: try OriginURL(reading: origin.url("/pool/")))
    ])
  }

  @Test(
    "what one way in has fetched is a hit for every other way", arguments: Way.allCases,
    Way.allCases)
  func sharedKey(first: Way, second: Way) throws {
    try wire(configure: Self.configure) { origin, proxy in
      let one = try proxy.connect(listener: first.listener)
      try one.send(first.request(origin))
      let request = try origin.serve(200, ["Cache-Control: max-age=60"], "package")
      // The key is normalised, but the origin gets the path as it was written (RFC 9110 §7.7).
      let path = first == .forwardWithOtherHost ? "/%70ool/a.deb" : "/pool/a.deb"
      #expect(request.head.startLine == "GET \(path) HTTP/1.1")
      #expect(request["Host"] == origin.authority)
      try one.expectResponse(200, content: "package")

      let other = try proxy.connect(listener: second.listener)
      try other.send(second.request(origin))
      let answer = try other.expectResponse(200, content: "package")
      #expect(answer["Cache-Status"]?.hasPrefix("Holdfast; hit; ttl=") == true)
      try origin.expectNothingElse()
    }
  }

  @Test("a listener for one origin is no forward proxy")
  func reverseIsNoForward() throws {
    try wire(configure: Self.configure) { origin, proxy in
      try proxy.connect(listener: 1).get(origin.url("/")).expectError(403, "one origin only")
      try origin.expectNothingElse()
    }
  }

  @Test("a path below no mirror and no host is 404 and names the mirrors")
  func unknownMirror() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect()
      try client.get("/nothing/here").expectError(404, "/debian/")
      // The connection goes on.
      try client.get("/debian/a.deb")
      try origin.serve(200, [], "package")
      try client.expectResponse(200, content: "package")
    }
  }

  @Test(
    "a path cannot climb out of a mirror",
    arguments: [
      "/debian/../secret", "/debian/%2e%2e/secret", "/debian/.%2E/secret", "/debian/%2e%2e/x?%",
      "/debian/a%2f..%2F..%2fx", "/debian/..%5cx", "/debian/..;a/x",
    ])
  func climbing(path: String) throws {
    try wire(configure: Self.configure) { origin, proxy in
      try proxy.connect().get(path).expectError(400, "out of the mirror")
      try origin.expectNothingElse()
    }
  }

  @Test("a mirror without a path after its name serves the root of what it mirrors")
  func mirrorRoot() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect()
      try client.get("/debian?list=1")
      #expect(try origin.serve(200, [], "root").target == "/pool/?list=1")
      try client.expectResponse(200, content: "root")
    }
  }

  @Test("a host in front of the path sees no credentials of a client, which has them for all hosts")
  func prefixWithoutCredentials() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      let fields = ["Authorization: Basic YTpi", "Cookie: a=b", "X-Auth-Token: t"]
      try client.request("GET", "/\(origin.authority)/x", fields)
      let request = try origin.serve(
        200, ["Cache-Control: max-age=60", "Connection: close"], "for all")
      for field in ["Authorization", "Cookie", "X-Auth-Token"] {
        #expect(request[field] == nil, "\(field)")
      }
      try client.expectResponse(200, content: "for all")
      try proxy.expectStored()
      try client.get(origin.url("/x")).expectResponse(200, content: "for all")
      // Who speaks to the host itself shows it what is meant for it.
      try client.request("GET", origin.url("/y"), fields)
      #expect(try origin.serve(200)["Authorization"] == "Basic YTpi")
      try client.expectResponse(200)
    }
  }

  @Test(
    "no host behind a mirror or a path sets a cookie, which would come back for all of them",
    arguments: [Way.forward, .mirror, .prefix, .originForm],
    ["max-age=60", "public, max-age=60", "no-store"])
  func cookies(way: Way, caching: String) throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect(listener: way.listener)
      try client.send(way.request(origin))
      try origin.serve(
        200, ["Cache-Control: \(caching)", "Set-Cookie: a=b", "Connection: close"], "package")
      let answer = try client.expectResponse(200, content: "package")
      let isOneOfMany = way == .mirror || way == .prefix
      #expect(answer["Set-Cookie"] == (isOneOfMany ? nil : "a=b"))
    }
  }

  @Test("an IPv6 literal reaches an origin on IPv6")
  func literalIPv6() throws {
    let script = Script()
    let origin = try WireOrigin(script, host: "[::1]", ip: .loopbackV6)
    let proxy = try TestProxy(script)
    for target in [origin.url("/a"), "/\(origin.authority)/b"] {
      let client = try proxy.connect().get(target)
      let request = try origin.serve(200, [], "six")
      #expect(request["Host"] == origin.authority)
      try client.expectResponse(200, content: "six")
      origin.closeConnections()
    }
    try proxy.expectQuiet()
  }
}
