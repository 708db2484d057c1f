// Target URIs, their keys, and the hosts and ports in them.

import HTTP
import Testing

/// The key of a request, made in the caller's buffer.
private func key(
  _ line: String, host: String? = "example.org", scheme: Scheme = .http, origin: String = ""
) -> Result<String, Refusal>? {
  let version = host == nil ? "1.0" : "1.1"
  let field = host.map { "Host: \($0)\r\n" } ?? ""
  var result: Result<String, Refusal>?
  withRequest("\(line) HTTP/\(version)\r\n\(field)\r\n") { head, bytes in
    let room = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: TargetKey.roomNeeded)
    defer { room.deallocate() }
    let prefix = Array(origin.utf8)
    switch TargetKey.write(head, in: bytes, scheme: scheme, origin: prefix.span, into: room) {
    case .key(let count, let pathStart):
      #expect(room[pathStart] == 0x2F)
      result = .success(text(room[..<count]))
    case .notKeyed: result = nil
    case .refused(let refusal): result = .failure(refusal)
    }
  }
  return result
}

@Suite struct TargetKeyTests {
  @Test(
    "one target has one key, however it is written",
    arguments: [
      ("/", "http://example.org/"),
      ("/a/b?c=d", "http://example.org/a/b?c=d"),
      ("?q", "-"),
      ("http://example.org", "http://example.org/"),
      ("http://example.org?q", "http://example.org/?q"),
      ("HTTP://EXAMPLE.org:80/A", "http://example.org/A"),
      ("http://example.org:/a", "http://example.org/a"),
      ("http://example.org:08080/a", "http://example.org:8080/a"),
      ("http://example.org:443/a", "http://example.org:443/a"),
      ("https://example.org:443/a", "https://example.org/a"),
      ("https://example.org:80/a", "https://example.org:80/a"),
      ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"),
      ("http://10.0.0.1:3000/", "http://10.0.0.1:3000/"),
      ("http://example.org./a", "http://example.org/a"),
      ("http://Example.ORG.:80/a", "http://example.org/a"),
      ("/%7euser/%41%2d%2E%5f", "http://example.org/~user/A-._"),
      ("/v1.0/%21cap/libstdc%2b%2b6", "http://example.org/v1.0/!cap/libstdc++6"),
      ("/@scope%2fname", "http://example.org/@scope%2Fname"),
      ("/a%20b%c3%a9", "http://example.org/a%20b%C3%A9"),
      ("/%40x:y%3a", "http://example.org/%40x:y%3A"),
      ("/a%3fb", "http://example.org/a%3Fb"),
      ("/a?x=%26%3d%2b%7e", "http://example.org/a?x=%26%3D%2B~"),
      ("/a?b?%26", "http://example.org/a?b?%26"),
      ("/100%", "http://example.org/100%"),
      ("/%E%39", "http://example.org/%E%39"),
      ("/%zz/%7e", "http://example.org/%zz/%7e"),
      ("/%25zz/%7e", "http://example.org/%25zz/~"),
      ("/a/../b/./c", "http://example.org/a/../b/./c"),
      ("/a/%2e%2e/b", "http://example.org/a/../b"),
      ("//double//slash", "http://example.org//double//slash"),
      ("/a?", "http://example.org/a?"),
      ("http://HTTPS///example.org/debian/", "https://example.org/debian/"),
      ("http://https///Example.org:8443", "https://example.org:8443/"),
    ])
  func keys(target: String, expected: String) {
    let made = key("GET \(target)")
    if expected == "-" {
      #expect(made == .failure(Refusal(.malformedTarget, .request)))
    } else {
      #expect(made == .success(expected))
    }
  }

  @Test("the target wins over Host, and an origin given by the listener over both")
  func precedence() {
    #expect(key("GET http://a.example/x", host: "b.example") == .success("http://a.example/x"))
    #expect(
      key("GET /x", host: "b.example", origin: "http://10.0.0.1:8000")
        == .success("http://10.0.0.1:8000/x"))
    #expect(key("GET /x", host: "B.example:443", scheme: .https) == .success("https://b.example/x"))
    #expect(key("GET /x", host: "", origin: "http://up") == .success("http://up/x"))
    #expect(key("GET /x", host: nil, origin: "http://up") == .success("http://up/x"))
  }

  @Test(
    "a target that cannot be right is refused",
    arguments: [
      ("GET /a#b", "a", Refusal.Reason.fragment),
      ("GET http://a/#b", "a", .fragment),
      ("GET http://user@a/", "a", .userInformation),
      ("GET http://user:pass@a/", "a", .userInformation),
      ("GET http:///x", "a", .missingAuthority),
      ("GET http://:80/x", "a", .malformedHost),
      ("GET /x", "", .missingAuthority),
      ("GET /x", "a b", .malformedHost),
      ("GET /x", "a/b", .malformedHost),
      ("GET /x", "a,b", .malformedHost),
      ("GET /x", "user@a", .userInformation),
      ("GET http://a/x", "b c", .malformedHost),
      ("GET http://a%2eb/", "a", .malformedHost),
      ("GET http://a..b/", "a", .malformedHost),
      ("GET http://.a/", "a", .malformedHost),
      ("GET http://a\\b/", "a", .malformedHost),
      ("GET http://127.1/", "a", .malformedHost),
      ("GET http://0x7f000001/", "a", .malformedHost),
      ("GET http://2130706433/", "a", .malformedHost),
      ("GET http://127.0.0.01/", "a", .malformedHost),
      ("GET http://1.2.3.256/", "a", .malformedHost),
      ("GET http://a.1/", "a", .malformedHost),
      ("GET http://127.1./", "a", .malformedHost),
      ("GET http://[::1/", "a", .malformedHost),
      ("GET http://[::1]x/", "a", .malformedHost),
      ("GET http://[fe80::1%25eth0]/", "a", .malformedHost),
      ("GET http://[1:2:3:4:5:6:7:8:9]/", "a", .malformedHost),
      ("GET http://[::1::]/", "a", .malformedHost),
      ("GET http://a:0/", "a", .malformedPort),
      ("GET http://a:65536/", "a", .malformedPort),
      ("GET http://a:999999/", "a", .malformedPort),
      ("GET http://a:8o/", "a", .malformedPort),
      ("GET http://a:+8/", "a", .malformedPort),
      ("GET ftp://a/", "a", .unsupportedScheme),
      ("GET file:///etc/passwd", "a", .unsupportedScheme),
      ("GET a:80", "a", .targetFormNotAllowed),
      ("GET *", "a", .targetFormNotAllowed),
      ("GET nonsense", "a", .malformedTarget),
      ("GET http:/a", "a", .malformedTarget),
      ("GET http://HTTPS///user@a/", "a", .userInformation),
      ("GET http://HTTPS////a", "a", .missingAuthority),
    ])
  func refused(line: String, host: String, reason: Refusal.Reason) {
    #expect(key(line, host: host) == .failure(Refusal(reason, .request)))
  }

  @Test("CONNECT and OPTIONS * have no key")
  func notKeyed() {
    #expect(key("CONNECT example.org:443") == nil)
    #expect(key("OPTIONS *") == nil)
  }

  @Test("a mirror's prefix goes before the path with one slash between")
  func prefixes() {
    let room = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 100)
    defer { room.deallocate() }
    func made(_ prefix: String, _ path: String) -> String? {
      let prefixBytes = bytes(prefix)
      let pathBytes = bytes(path)
      let outcome = TargetKey.write(
        prefix: prefixBytes.span, path: pathBytes.span, 0..<pathBytes.count, into: room)
      guard case .key(let count, let pathStart) = outcome else { return nil }
      #expect(room[pathStart] == 0x2F)
      let owned = TargetURI(prefix)?.appending(pathBytes)
      #expect(owned?.description == text(room[..<count]))
      return text(room[..<count])
    }
    #expect(made("http://up/base/", "/x%7e") == "http://up/base/x~")
    #expect(made("http://up/base/", "x") == "http://up/base/x")
    #expect(made("http://up/base/", "") == "http://up/base/")
    #expect(made("http://up/base/", "?q") == "http://up/base/?q")
    #expect(made("http://up", "/x") == nil || made("http://up/", "/x") == "http://up/x")
  }

  @Test("a key that does not fit its buffer is refused, not cut")
  func room() {
    withRequest("GET /abcdef HTTP/1.1\r\nHost: a\r\n\r\n") { head, bytes in
      let whole = "http://a/abcdef".utf8.count
      let none: [UInt8] = []
      for count in 0...whole {
        let room = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: count)
        defer { room.deallocate() }
        let outcome = TargetKey.write(head, in: bytes, origin: none.span, into: room)
        let expected: TargetKey.Outcome =
          count == whole
          ? .key(count: whole, pathStart: 8) : .refused(Refusal(.targetTooLong, .request))
        #expect(outcome == expected)
      }
    }
  }
}

@Suite struct TargetURITests {
  @Test("the wire keeps what was sent, the key is normalised")
  func wire() throws {
    let target = try #require(TargetURI("http://Example.ORG:80/%7ea%2fb?x=%7E"))
    #expect(target.scheme == .http)
    #expect(target.host == "example.org")
    #expect(target.port == 80)
    #expect(text(target.pathAndQuery) == "/%7ea%2fb?x=%7E")
    #expect(target.description == "http://example.org/~a%2Fb?x=~")
    #expect(target.hostField == "example.org")
    #expect(text(target.keyPrefix) == "http://example.org")
    #expect(target == TargetURI("http://example.org/~a%2Fb?x=~"))
    #expect(TargetURI("https://[::1]:8443")?.hostField == "[::1]:8443")
    #expect(TargetURI("https://[::1]:8443")?.authority.bareHost == "::1")
  }

  @Test("a mirror puts what is asked for below its own path")
  func appending() {
    let mirror = TargetURI("http://up.example/simple/?ignored")
    #expect(mirror?.appending("/pkg/?a".utf8).description == "http://up.example/simple/pkg/?a")
    #expect(mirror?.appending("pkg".utf8).description == "http://up.example/simple/pkg")
  }

  @Test(
    "dot segments are seen, encoded or not",
    arguments: [
      ("http://a/b/../c", true), ("http://a/%2e%2E/c", true), ("http://a/.", true),
      ("http://a/..b/c..", false), ("http://a/b?x=/../", false), ("http://a/...", false),
      ("http://a/%2e%2e/c?%", true), ("http://a/b%2f..%2Fc", true), ("http://a/..%5cc", true),
      ("http://a/b\\..", true), ("http://a/..;x/c", true), ("http://a/b;..;/c", false),
      ("http://a/@scope%2fname", false), ("http://a/.well-known/x", false),
      ("http://a/a.%2fb", false),
    ])
  func dots(target: String, expected: Bool) {
    #expect(TargetURI(target)?.hasDotSegments == expected)
  }

  @Test(
    "text that is no absolute http URI makes none",
    arguments: ["", "/x", "example.org", "http://", "ftp://a/", "http://a b/", "http://a/\n", "*"])
  func invalid(target: String) {
    #expect(TargetURI(target) == nil)
  }
}

@Suite struct AuthorityTests {
  @Test(
    "CONNECT names a host and a port",
    arguments: [
      ("Example.org:443", "example.org:443"), ("[::1]:8443", "[::1]:8443"),
      ("10.0.0.1:22", "10.0.0.1:22"),
    ])
  func connect(target: String, expected: String) throws {
    let isComplete = try withRequest("CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n\r\n") {
      head, bytes in
      let authority = try Authority.ofConnect(head, in: bytes)
      #expect(authority.description == expected)
    }
    #expect(isComplete)
  }

  @Test(
    "without a port, or with more than an authority, it is refused",
    arguments: ["example.org", "example.org:", "http://a:80", "a:80/x", "a@b:80", ":80", "/"])
  func refused(target: String) {
    #expect(Authority(target) == nil)
  }

  @Test(
    "CONNECT is refused for what its target, or its Host, has wrong",
    arguments: [
      ("example.org", "a", Refusal.Reason.malformedPort), ("/x", "a", .malformedHost),
      ("a:80", "b c", .malformedHost), ("u@a:80", "a", .userInformation),
    ])
  func refusedConnect(target: String, host: String, reason: Refusal.Reason) {
    withRequest("CONNECT \(target) HTTP/1.1\r\nHost: \(host)\r\n\r\n") { head, bytes in
      do throws(Refusal) {
        let authority = try Authority.ofConnect(head, in: bytes)
        Issue.record("accepted \(authority)")
      } catch {
        #expect(error == Refusal(reason, .request))
      }
    }
  }

  @Test(
    "IPv6 addresses",
    arguments: [
      ("::", true), ("::1", true), ("1::", true), ("1:2:3:4:5:6:7:8", true), ("1::8", true),
      ("::ffff:10.0.0.1", true), ("1:2:3:4:5:6:10.0.0.1", true), ("2001:DB8::a:b", true),
      ("", false), (":", false), (":1", false), ("1:", false), (":::", false), ("1::2::3", false),
      ("1:2:3:4:5:6:7", false), ("1:2:3:4:5:6:7:8:9", false), ("12345::", false), ("g::", false),
      ("1:2:3:4:5:6:7:10.0.0.1", false), ("::10.0.0", false), ("::10.0.0.1:1", false),
      ("1:2:3:4::5:6:7:8", false), ("1.2.3.4", false), ("v1.x", false),
    ])
  func addresses(address: String, isValid: Bool) {
    #expect((Authority("[\(address)]:80") != nil) == isValid)
  }

  @Test("the apt-cacher-ng form is seen behind a path's slash too")
  func tunnelled() {
    let path = bytes("/HTTPS///example.org/debian/x")
    let found = RequestTarget.tunnelledHTTPS(in: path.span, 1..<path.count)
    guard case .absolute(.https, let authority, let rest)? = found else {
      Issue.record("not seen")
      return
    }
    #expect(text(path[authority]) == "example.org")
    #expect(text(path[rest]) == "/debian/x")
    #expect(RequestTarget.tunnelledHTTPS(in: path.span, 0..<path.count) == nil)
  }
}
