// What redirects say about keeping the answer they lead to.

import Caching
import HTTP
import Testing

@testable import Proxy

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
          "public, immutable, s-maxage=5000, max-age=4000, stale-if-error=60, stale-while-revalidate=70, no-cache=\"x-a, x-b\""
      ]
    ).response
    let directives = response.directives
    #expect(directives.maxAge == 600 && directives.sMaxAge == 600)
    #expect(directives.flags.contains(.isPublic) && directives.flags.contains(.immutable))
    #expect(directives.staleIfError == 60)
    #expect(directives.staleWhileRevalidate == nil, "the redirect grants none")
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
