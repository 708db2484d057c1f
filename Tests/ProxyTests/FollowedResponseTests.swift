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

@Suite struct RedirectTermsTests {
  /// - Returns: the lifetime left and Cache-Control of an answer behind these redirects.
  private func limited(
    _ hops: [(Int, FieldSection)], _ fields: FieldSection, policy: ResourcePolicy = .standard
  ) -> (left: Int64, response: StoredResponse) {
    var terms = RedirectTerms()
    for (status, fields) in hops {
      terms.add(Status(UInt16(status)), fields, targets: .standard, now: 1_000_000)
    }
    let response = terms.limit(
      StoredResponse(
        status: .ok, fields: fields, requestTime: 1_000_000, responseTime: 1_000_000,
        variance: .none), policy: policy)
    return (policy.adjust(response.freshness).remaining(at: 1_000_000), response)
  }

  @Test(
    "the strictest of the redirects and the answer decides",
    arguments: [
      ([(301, [:])], ["Cache-Control": "max-age=900"], 900),
      ([(302, [:])], ["Cache-Control": "max-age=900"], 600),
      ([(302, [:])], ["Cache-Control": "max-age=90"], 90),
      ([(307, ["Cache-Control": "max-age=700"])], ["Cache-Control": "max-age=900"], 700),
      (
        [(307, ["Cache-Control": "max-age=700", "Age": "300"])], ["Cache-Control": "max-age=900"],
        400
      ),
      (
        [(301, ["Cache-Control": "max-age=700"]), (302, ["Cache-Control": "max-age=80"])],
        ["Cache-Control": "max-age=900"], 80
      ),
      (
        [(308, ["Cache-Control": "max-age=70"])], ["Cache-Control": "max-age=900", "Age": "100"], 70
      ),
      ([(308, ["Cache-Control": "max-age=700"])], ["Cache-Control": "s-maxage=900"], 700),
      ([(301, ["Expires": "0"])], ["Cache-Control": "max-age=900"], 0),
      ([(301, ["Cache-Control": "no-cache"])], ["Cache-Control": "max-age=900"], 0),
      ([(308, ["Cache-Control": "max-age=50"])], ["CDN-Cache-Control": "max-age=900"], 50),
      ([(302, [:])], [:], 0),
    ] as [([(Int, FieldSection)], FieldSection, Int64)])
  func strictest(hops: [(Int, FieldSection)], fields: FieldSection, left: Int64) {
    #expect(limited(hops, fields).left == left)
  }

  @Test("what else the answer says stays")
  func rest() {
    let response = limited(
      [(302, [:])],
      [
        "Cache-Control":
          "public, immutable, s-maxage=5000, max-age=4000, stale-if-error=60, no-cache=\"x-a, x-b\""
      ]
    ).response
    let directives = response.directives
    #expect(directives.maxAge == 600 && directives.sMaxAge == 600)
    #expect(directives.flags.contains(.isPublic) && directives.flags.contains(.immutable))
    #expect(directives.staleIfError == 60)
    #expect(directives.unsharedFields.count == 2)
    #expect(!directives.flags.contains(.noCache))
    let targeted = limited(
      [(302, [:])], ["CDN-Cache-Control": "max-age=5000, public", "Cache-Control": "no-store"]
    ).response
    #expect(targeted.fields.combinedValue(.cacheControl) == Array("no-store".utf8))
    #expect(targeted.directives.maxAge == 600 && targeted.directives.flags.contains(.isPublic))
  }

  @Test("a redirect that may not be served stale makes the answer one, and keeps its lifetime")
  func stale() {
    let (left, response) = limited(
      [(301, ["Cache-Control": "must-revalidate, max-age=9000"])],
      ["Cache-Control": "max-age=900"])
    #expect(left == 900)
    #expect(response.freshness.flags.contains(.staleForbidden))
  }

  @Test(
    "a lifetime of the operator's holds where everybody is silent, and what never changes does not")
  func policies() {
    var policy = ResourcePolicy()
    policy.lifetime = 5000
    let modified: FieldSection = [
      "Last-Modified": "Mon, 01 Jan 1968 00:00:00 GMT", "ETag": "\"a\"",
    ]
    #expect(limited([(302, [:])], modified, policy: policy).left == 5000)
    #expect(limited([(302, ["Cache-Control": "max-age=5"])], modified, policy: policy).left == 5)
    #expect(limited([(302, [:])], modified).left == 600, "a guess is bounded as well")
    #expect(limited([(302, [:])], [:], policy: .immutable).left > 1 << 30)
  }

  @Test(
    "no-store and private of a redirect are the answer's, targeted fields or not",
    arguments: [
      ("no-store", "no-store"), ("private", "private"), ("private, no-store", "no-store"),
      ("must-understand, no-store", "max-age=5"), ("private=\"x-a\"", "max-age=5"),
    ])
  func forbidden(hop: String, result: String) {
    var terms = RedirectTerms()
    terms.add(Status(302), ["Cache-Control": hop] as FieldSection, targets: .standard, now: 0)
    var fields: FieldSection = ["Cache-Control": "max-age=5", "CDN-Cache-Control": "max-age=9"]
    terms.tidy(&fields)
    #expect(fields.combinedValue(.cacheControl) == Array(result.utf8))
    #expect(fields.contains(.cdnCacheControl) == (result == "max-age=5"))
  }
}
