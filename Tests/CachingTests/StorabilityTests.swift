// What is stored and what is not, one rule of RFC 9111 §3 after the other.

import HTTP
import Testing

@testable import Caching

@Suite("Storability (RFC 9111 §3)")
struct StorabilityTests {
  @Test(
    "an answer to GET with a lifetime or a validator is stored",
    arguments: [
      ["Cache-Control": "max-age=60"], ["Cache-Control": "s-maxage=60"], ["Expires": date(60)],
      ["ETag": "\"a\""], ["Last-Modified": date(-10)],
      ["Cache-Control": "public", "ETag": "\"a\""],
      ["Cache-Control": "no-cache", "ETag": "\"a\""],
      ["Cache-Control": "max-age=0", "ETag": "W/\"a\""],
      ["CDN-Cache-Control": "max-age=60", "Cache-Control": "no-store"],
      ["Cache-Control": "max-age=60, unknown, x=\"no-store\""],
      ["Cache-Control": "max-age=60, private=\"X-User\"", "X-User": "me"],
    ] as [FieldSection])
  func stored(fields: FieldSection) {
    #expect(storability(fields) == "storable")
  }

  @Test(
    "an answer that can never be used is not",
    arguments: [
      [:], ["Cache-Control": "public"], ["Cache-Control": "max-age=0"], ["Expires": "0"],
      ["Cache-Control": "no-cache, max-age=60"], ["ETag": "unquoted"],
      ["Cache-Control": "max-age=60", "Age": "60"],
      ["Cache-Control": "max-age=0, stale-if-error=60, must-revalidate"],
      ["Cache-Control": "max-age=60", "Date": date(-120)],
    ] as [FieldSection])
  func neverReusable(fields: FieldSection) {
    #expect(storability(fields) == "never-reusable")
  }

  @Test("stale on arrival but allowed to be: that is a use")
  func grace() {
    #expect(storability(.cacheControl("max-age=0, stale-if-error=60")) == "storable")
    #expect(storability(.cacheControl("max-age=0, stale-while-revalidate=60")) == "storable")
  }

  @Test("only GET is stored", arguments: HTTP.Method.allCases)
  func methods(method: HTTP.Method) {
    #expect(
      storability(.cacheControl("max-age=60"), method: method)
        == (method == .get ? "storable" : "method"))
  }

  @Test("no-store, from either side, in any company")
  func noStore() {
    #expect(storability(.cacheControl("no-store, max-age=60")) == "response-no-store")
    #expect(storability(.cacheControl("max-age=60, public, No-Store")) == "response-no-store")
    #expect(
      storability(.cacheControl("max-age=60"), for: .cacheControl("no-store"))
        == "request-no-store")
    #expect(storability(["Cache-Control": "max-age=60", "Pragma": "no-cache"]) == "storable")
  }

  @Test("a private answer is for one client, whatever else is said")
  func privateAnswers() {
    #expect(storability(.cacheControl("private, max-age=60")) == "private")
    #expect(storability(.cacheControl("max-age=60, public, private")) == "private")
    #expect(storability(.cacheControl("max-age=60, private=\"Vary\"")) == "private")
  }

  @Test(
    "a request with credentials: the origin has to say that others may have the answer (§3.5)",
    arguments: [
      ("max-age=60", "authorization"), ("max-age=60, immutable", "authorization"),
      ("max-age=60, proxy-revalidate", "authorization"), ("s-maxage=60", "storable"),
      ("max-age=60, public", "storable"), ("max-age=60, must-revalidate", "storable"),
      ("max-age=60, public, private", "private"),
    ])
  func authorization(cacheControl: String, outcome: String) {
    #expect(
      storability(.cacheControl(cacheControl), for: ["Authorization": "Basic eDp5"]) == outcome)
  }

  @Test(
    "parts, renewals and answers about the request itself are not stored",
    arguments: [
      (100, "interim"), (103, "interim"), (206, "partial"), (304, "not-modified"),
      (412, "request-bound"), (416, "request-bound"), (407, "request-bound"),
      (429, "request-bound"), (431, "request-bound"), (400, "request-bound"),
      (414, "request-bound"), (401, "request-bound"), (101, "interim"),
      (199, "interim"), (511, "request-bound"),
    ])
  func statuses(status: Int, outcome: String) {
    #expect(
      storability(["Cache-Control": "max-age=60", "ETag": "\"a\""], status: Status(UInt16(status)))
        == outcome)
  }

  @Test(
    "statuses open to heuristics need only a validator, others a lifetime or public",
    arguments: [200, 203, 204, 300, 301, 308])
  func heuristicStatuses(status: Int) {
    #expect(storability(["Last-Modified": date(-10)], status: Status(UInt16(status))) == "storable")
  }

  @Test(
    "statuses that need a lifetime, unknown ones by their class and all errors among them",
    arguments: [
      201, 202, 226, 299, 302, 303, 307, 399, 402, 403, 404, 405, 409, 410, 422, 451, 499,
      500, 501, 502, 503, 504, 599, 600, 999,
    ])
  func otherStatuses(status: Int) {
    let status = Status(UInt16(status))
    #expect(storability(["ETag": "\"a\""], status: status) == "no-lifetime")
    #expect(storability(["Last-Modified": date(-1000)], status: status) == "no-lifetime")
    #expect(storability(["Cache-Control": "max-age=60"], status: status) == "storable")
    #expect(
      storability(["Cache-Control": "public", "ETag": "\"a\""], status: status) == "storable")
  }

  @Test("must-understand lifts no-store for a status we know, and forbids the others (§5.2.2.3)")
  func mustUnderstand() {
    let fields = FieldSection.cacheControl("must-understand, no-store, max-age=60")
    #expect(storability(fields) == "storable")
    #expect(storability(fields, status: Status(299)) == "not-understood")
    #expect(
      storability(.cacheControl("must-understand, max-age=60"), status: Status(599))
        == "not-understood")
  }

  @Test("Vary: * matches nobody, so there is nothing to keep")
  func varyEverything() {
    #expect(storability(["Cache-Control": "max-age=60", "Vary": "*"]) == "vary-everything")
    #expect(
      storability(["Cache-Control": "max-age=60", "Vary": "Accept", "vary": "a, *"])
        == "vary-everything")
    #expect(storability(["Cache-Control": "max-age=60", "Vary": "a b"]) == "vary-everything")
  }

  @Test("an answer selected by credentials is not kept, nor are they")
  func varyCredentials() {
    let fields: FieldSection = [
      "Cache-Control": "max-age=60, public", "Vary": "Cookie, Authorization",
    ]
    #expect(storability(fields) == "storable")
    #expect(storability(fields, for: ["Cookie": "a=b"]) == "vary-credentials")
    #expect(storability(fields, for: ["Authorization": "Basic eDp5"]) == "vary-credentials")
  }

  @Test(
    "a field that looks like a credential counts as one, on the name alone",
    arguments: [
      ("X-Api-Key", true), ("X-Auth-Token", true), ("Private-Token", true), ("JOB-TOKEN", true),
      ("X-JFrog-Art-Api", true), ("X-Amz-Security-Token", true), ("X-Client-Secret", true),
      ("Proxy-Authorization", true), ("X-Session-Id", true), ("X-Password", true),
      ("X-Goog-Iap-Jwt-Assertion", true), ("Accept", false), ("Accept-Encoding", false),
      ("Accept-Language", false), ("User-Agent", false), ("Origin", false),
      ("X-Api-Version", false),
      ("X-Requested-With", false), ("Sec-Fetch-Mode", false), ("Range", false),
    ])
  func credentialFields(name: String, isCredential: Bool) {
    let fields: FieldSection = ["Cache-Control": "max-age=60, public", "Vary": "\(name)"]
    var request = FieldSection()
    request.append(named: name, "s3cret")
    #expect(
      storability(fields, for: request) == (isCredential ? "vary-credentials" : "storable"))
    // Nothing to keep secret from somebody who sent nothing.
    #expect(storability(fields) == "storable")
  }

  @Test("an answer with a cookie is kept, without it, where it speaks to shared caches")
  func cookies() {
    func outcome(_ cacheControl: String) -> String {
      storability(["Cache-Control": cacheControl, "Set-Cookie": "session=1"])
    }
    #expect(outcome("max-age=60") == "set-cookie")
    #expect(outcome("max-age=60, public") == "storable")
    #expect(outcome("s-maxage=60") == "storable")
    #expect(outcome("max-age=60, no-cache=\"Set-Cookie\"") == "storable")
    #expect(storability(["CDN-Cache-Control": "max-age=60", "Set-Cookie": "a=b"]) == "storable")
    #expect(
      storability(["Cache-Control": "max-age=60", "Set-Cookie": "a=b"], policy: .immutable)
        == "storable")
  }

  @Test("what a mirror knows to be immutable needs no lifetime of its own")
  func immutable() {
    #expect(storability([:], policy: .immutable) == "storable")
    #expect(storability(.cacheControl("no-cache"), policy: .immutable) == "storable")
    #expect(storability(.cacheControl("no-store"), policy: .immutable) == "response-no-store")
    #expect(storability(.cacheControl("private"), policy: .immutable) == "private")
  }

  @Test("every reason has a word of its own and a sentence", arguments: Storability.Reason.allCases)
  func reasons(reason: Storability.Reason) {
    let same = Storability.Reason.allCases.filter { "\($0.rule)" == "\(reason.rule)" }
    #expect(same.count == 1)
    #expect("\(reason.rule)".utf8.allSatisfy { $0.isTokenCharacter })
    #expect(reason.sentence.hasSuffix("."))
  }
}
