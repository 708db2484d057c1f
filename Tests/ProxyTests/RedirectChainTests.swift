// Where redirects lead, and which are refused: as values, without a connection.

import Configuration
import HTTP
import Platform
import Testing

@testable import Proxy

@Suite struct RedirectChainTests {
  private func chain(
    _ target: String, isConfigured: Bool = true, fields: FieldSection = FieldSection()
  ) throws -> RedirectChain {
    RedirectChain(try #require(TargetURI(target)), isConfigured: isConfigured, fields: fields)
  }

  private func wire(_ target: TargetURI) -> String {
    "\(target.scheme.name)://\(target.authority) \(String(decoding: target.pathAndQuery, as: UTF8.self))"
  }

  @Test(
    "a Location is resolved as RFC 3986 §5 says",
    arguments: [
      ("http://b.test/x", "http://b.test:80 /x"),
      ("https://b.test:8443/x?q=1#part", "https://b.test:8443 /x?q=1"),
      ("//b.test/x", "https://b.test:443 /x"), ("/x/../y", "https://a.test:443 /y"),
      ("y", "https://a.test:443 /dir/y"), ("../y", "https://a.test:443 /y"),
      ("?page=2", "https://a.test:443 /dir/file?page=2"),
      ("#part", "https://a.test:443 /dir/file?q"),
      ("./a:b", "https://a.test:443 /dir/a:b"),
      ("/with space/ä", "https://a.test:443 /with%20space/%C3%A4"),
      ("HTTPS://B.test", "https://b.test:443 /"),
      ("https://[2001:DB8::1]/x", "https://[2001:db8::1]:443 /x"),
    ])
  func resolved(location: String, place: String) throws {
    let base = try #require(TargetURI("https://a.test/dir/file?q"))
    var answer = FieldSection()
    answer.append(.location, location)
    let target = try #require(RedirectChain.target(of: answer, from: base))
    #expect(wire(target) == place)
  }

  @Test(
    "a Location that is no http URL is none",
    arguments: [
      "ftp://b.test/", "javascript:alert(1)", "data:,x", "http:/x", "https://",
      "https://user@b.test/",
      "https://b.test:99999/", "https://b..test /", "https://0x7f.1/", "",
      "/" + String(repeating: "a", count: 20_000),
    ])
  func unusable(location: String) throws {
    let base = try #require(TargetURI("https://a.test/"))
    var answer = FieldSection()
    answer.append(.location, location)
    #expect(RedirectChain.target(of: answer, from: base) == nil)
  }

  @Test("none, and two of them, are as bad")
  func severalLocations() throws {
    let base = try #require(TargetURI("https://a.test/"))
    #expect(RedirectChain.target(of: FieldSection(), from: base) == nil)
    var answer = FieldSection()
    answer.append(.location, "/a")
    answer.append(.location, "/b")
    #expect(RedirectChain.target(of: answer, from: base) == nil)
  }

  private func follow(_ chain: inout RedirectChain, _ location: String) -> ProxyError? {
    var destinations = Destinations()
    destinations.deny = [.exact("denied.test")]
    do throws(ProxyError) {
      try chain.follow(Status(302), ["Location": location], by: destinations, now: 0)
      return nil
    } catch {
      return error
    }
  }

  @Test("the same place twice is a circle; the same path in another spelling is not")
  func circle() throws {
    var chain = try chain("https://a.test/x%2Bb")
    #expect(follow(&chain, "/x+b") == nil)
    #expect(follow(&chain, "/y") == nil)
    #expect(follow(&chain, "/x%2Bb")?.detail.contains("in a circle") == true)
  }

  @Test("back without the credentials is another request, once")
  func circleWithoutCredentials() throws {
    var chain = try chain("https://a.test/x", fields: ["Authorization": "Basic eA=="])
    #expect(follow(&chain, "https://b.test/") == nil)
    #expect(!chain.fields.contains(.authorization))
    #expect(follow(&chain, "https://a.test/x") == nil)
    #expect(!chain.fields.contains(.authorization), "what was left behind does not come back")
    #expect(follow(&chain, "https://b.test/")?.detail.contains("in a circle") == true)
  }

  @Test("ten hops are followed, and no more")
  func bounded() throws {
    var chain = try chain("https://a.test/0")
    for hop in 1...10 { #expect(follow(&chain, "/\(hop)") == nil) }
    let error = try #require(follow(&chain, "/11"))
    #expect(error.status.rawValue == 502 && error.detail.contains("more than 10"))
  }

  @Test("from https to http only where http was asked for")
  func inClear() throws {
    var secure = try chain("https://a.test/")
    let error = try #require(follow(&secure, "http://b.test/secret?token=1"))
    #expect(error.status.rawValue == 502 && error.detail.contains("http://b.test:80"))
    #expect(!error.detail.contains("token"))
    var plain = try chain("http://a.test/")
    #expect(follow(&plain, "https://b.test/") == nil)
    #expect(follow(&plain, "http://c.test/") == nil)
  }

  @Test(
    "other hosts are judged by `destinations`, whoever named the first one",
    arguments: [
      "https://denied.test/", "https://10.0.0.1/", "https://localhost/", "https://[::1]/",
    ])
  func judged(location: String) throws {
    var chain = try chain("https://a.test/")
    let error = try #require(follow(&chain, location))
    #expect(error.status.rawValue == 502)
    #expect(error.detail.hasPrefix("a.test:443 redirects to a place that is refused"))
  }

  @Test("the operator's word covers scheme, host and port of the mirror, and nothing else")
  func configured() throws {
    var chain = try chain("https://10.0.0.1/base/")
    #expect(follow(&chain, "/other") == nil)
    #expect(chain.origin.isConfigured)
    #expect(follow(&chain, "https://10.0.0.1:8443/") != nil)
    var out = try self.chain("https://a.test/")
    #expect(follow(&out, "https://b.test/") == nil)
    #expect(!out.origin.isConfigured)
    #expect(follow(&out, "https://a.test/back") == nil)
    #expect(out.origin.isConfigured)
    var prefix = try self.chain("https://a.test/", isConfigured: false)
    #expect(follow(&prefix, "/x") == nil)
    #expect(!prefix.origin.isConfigured)
  }

  @Test("what speaks of who asks stays behind at another origin, and goes along within one")
  func leftBehind() throws {
    let fields: FieldSection = [
      "Accept": "*/*", "Authorization": "Bearer x", "Cookie": "a=b", "Private-Token": "y",
      "Referer": "http://mirror/", "X-Forwarded-For": "10.0.0.9", "Range": "bytes=5-",
    ]
    var chain = try chain("https://a.test/", fields: fields)
    #expect(follow(&chain, "/same") == nil)
    #expect(chain.fields == fields)
    for (location, crosses) in [("https://a.test:8443/", true), ("https://b.test/", true)] {
      var chain = try self.chain("https://a.test/", fields: fields)
      #expect(follow(&chain, location) == nil)
      #expect(chain.hasCrossed == crosses)
      #expect(chain.fields == ["Accept": "*/*", "Range": "bytes=5-"])
    }
  }

  @Test("the answer varies on what the redirects vary on, and says nothing of where it came from")
  func tidied() throws {
    var chain = try chain("https://a.test/")
    try chain.follow(
      Status(307), ["Location": "https://b.test/", "Vary": "Accept"], by: Destinations(),
      now: 0)
    var answer: FieldSection = [
      "Content-Location": "/signed?x", "Location": "/signed", "Set-Cookie": "a=b", "ETag": "\"1\"",
      "Vary": "Accept-Encoding",
    ]
    chain.tidy(&answer)
    #expect(answer == ["ETag": "\"1\"", "Vary": "Accept-Encoding", "Vary": "Accept"])
  }
}
