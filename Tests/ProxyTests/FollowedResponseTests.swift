// What is noted of answers that redirects led to: written down and read again, compared, and never taken for more than it
// says.

import Caching
import Configuration
import HTTP
import Testing

@testable import Proxy

@Suite struct FollowedResponseTests {
  private static let asked = "https://a.test/simple/x"

  private func chain(_ locations: String...) throws -> RedirectChain {
    var chain = RedirectChain(
      try #require(TargetURI(Self.asked)), isConfigured: true, fields: FieldSection())
    for location in locations {
      try chain.follow(Status(302), ["Location": location], by: Destinations(), now: 0)
    }
    return chain
  }

  private func response(
    _ selectors: [(String, String?)] = [], type: String = "text/html"
  ) -> StoredResponse {
    StoredResponse(
      status: .ok, fields: ["Content-Type": type], requestTime: 0, responseTime: 0,
      variance: Variance(
        selectors: selectors.map {
          Variance.Selector(name: Array($0.utf8), value: $1.map { Array($0.utf8) })
        }))
  }

  @Test(
    "a document has a note of its place without its query, everything else of its host only",
    arguments: [
      ("https://b.test/y/z?sig=1", "text/html", ":followed", "https://b.test/y/z"),
      ("https://b.test:8443/y/z?sig=1", "application/json", ":followed", "https://b.test:8443/y/z"),
      ("https://b.test/y/z?sig=1", "application/zip", ":followed", "https://b.test"),
      ("/y/?q", "text/html; charset=utf-8", ":moved", "https://a.test/y/"),
      ("/y/?q", "application/zip", nil, nil), ("/simple/x?q", "text/html", nil, nil),
      (
        "https://b.test/" + String(repeating: "y", count: 2050), "text/html", ":followed",
        "https://b.test"
      ),
    ] as [(String, String, String?, String?)])
  func noted(location: String, type: String, name: String?, value: String?) throws {
    let noted = response(type: type).followed(along: try chain(location), policy: .standard)
    let selector = noted.variance.selectors.first
    #expect(selector.map { String(decoding: $0.name, as: UTF8.self) } == name)
    #expect(selector?.value.map { String(decoding: $0, as: UTF8.self) } == value)
    #expect(noted.variance.ofRequests.selectors.isEmpty)
    // Asked again without redirects, it is forgotten.
    #expect(noted.followed(along: nil, policy: .standard).variance.selectors.isEmpty)
  }

  @Test("what it varies on stays, and matches requests as before")
  func varies() throws {
    let noted = response([("accept", "x")]).followed(
      along: try chain("https://b.test/y/"), policy: .standard)
    #expect(noted.variance.selectors.count == 2)
    #expect(noted.variance.matches(["Accept": "x"]))
    #expect(!noted.variance.matches(["Accept": "y"]))
  }

  @Test(
    "relative links are relative to where it was, and to nothing where that is not known",
    arguments: [
      ([], asked), ([(":moved", "https://a.test/y/")], "https://a.test/y/"),
      ([(":followed", "https://b.test/y/")], "https://b.test/y/"),
      ([(":followed", "https://b.test/")], "https://b.test/"),
      ([(":followed", "https://b.test")], nil), ([(":followed", nil)], nil),
      ([(":followed", "")], nil), ([(":followed", "b.test/y")], nil),
      ([(":followed", "ftp://b.test/y")], nil), ([(":followed", "https://b.test/y?z")], nil),
      ([(":followed", "https://b.test/\u{1}")], nil), ([(":moved", nil)], nil),
      ([(":later", "https://b.test/")], nil),
    ] as [([(String, String?)], String?)])
  func base(selectors: [(String, String?)], base: String?) throws {
    let asked = try #require(TargetURI(Self.asked))
    #expect(response(selectors).base(asked: asked)?.description == base)
  }

  @Test(
    "one origin speaks of what it sent itself, and of nothing whose origin is not known",
    arguments: [
      ([], nil, true), ([], "/y", true), ([], "https://b.test/", false),
      ([(":followed", "https://b.test/x")], "https://b.test/y", true),
      ([(":followed", "https://b.test")], "https://b.test/y", true),
      ([(":followed", "https://b.test")], "http://b.test/y", false),
      ([(":followed", "https://b.test")], "https://b.test:444/y", false),
      ([(":followed", "https://b.test")], "https://c.test/y", false),
      ([(":followed", "https://b.test")], nil, false),
      ([(":followed", nil)], "https://b.test/y", false), ([(":followed", nil)], nil, false),
      ([(":moved", "https://a.test/y")], nil, true), ([(":moved", nil)], "/z", true),
      ([(":moved", "https://a.test/y")], "https://b.test/y", false),
      ([(":later", "x")], nil, false),
    ] as [([(String, String?)], String?, Bool)])
  func sameOrigin(selectors: [(String, String?)], location: String?, isSame: Bool) throws {
    var chain: RedirectChain?
    if let location {
      var followed = RedirectChain(
        try #require(TargetURI("http://a.test/simple/x")), isConfigured: true,
        fields: FieldSection())
      try followed.follow(Status(302), ["Location": location], by: Destinations(), now: 0)
      chain = followed
    }
    let asked = try #require(TargetURI("http://a.test/simple/x"))
    #expect(response(selectors).isOfSameOrigin(as: chain, asked: asked) == isSame)
  }
}
