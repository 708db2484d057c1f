// Whether a stored response answers a request now, and what a resource policy changes about it.

import HTTP
import Testing

@testable import Caching

@Suite("Reuse (RFC 9111 §4)")
struct ReuseTests {
  @Test("a fresh response is used, with its age; a stale one is validated")
  func freshAndStale() {
    #expect(reuse(.cacheControl("max-age=60"), after: 59) == .fresh(age: 59))
    #expect(reuse(.cacheControl("max-age=60"), after: 60) == .mustValidate(.stale))
    #expect(reuse(["ETag": "\"a\""], after: 0) == .mustValidate(.stale))
  }

  @Test("no-cache of the origin is validated however fresh")
  func responseNoCache() {
    let response = FieldSection.cacheControl("no-cache, max-age=60")
    #expect(reuse(response, after: 0) == .mustValidate(.responseNoCache))
    #expect(
      reuse(response, after: 0, request: .cacheControl("max-stale"))
        == .mustValidate(.responseNoCache))
    #expect(
      reuse(.cacheControl("no-cache=\"X-A\", max-age=60"), after: 0) == .fresh(age: 0))
  }

  @Test(
    "what the client demands",
    arguments: [
      ("no-cache", 0, .mustValidate(.requestNoCache)),
      ("no-cache, max-stale", 0, .mustValidate(.requestNoCache)),
      ("max-age=0", 0, .fresh(age: 0)),
      ("max-age=0", 1, .mustValidate(.requestMaxAge)),
      ("max-age=10", 10, .fresh(age: 10)),
      ("max-age=10", 11, .mustValidate(.requestMaxAge)),
      ("max-age=x", 1, .mustValidate(.requestMaxAge)),
      ("max-age=9999", 60, .mustValidate(.stale)),
      ("min-fresh=10", 50, .fresh(age: 50)),
      ("min-fresh=11", 50, .mustValidate(.requestMinFresh)),
      ("min-fresh=11", 70, .mustValidate(.stale)),
      ("max-stale=10", 59, .fresh(age: 59)),
      ("max-stale=10", 70, .stale(age: 70, .maxStale)),
      ("max-stale=10", 71, .mustValidate(.stale)),
      ("max-stale", 1_000_000, .stale(age: 1_000_000, .maxStale)),
      ("max-stale=100, max-age=65", 66, .mustValidate(.requestMaxAge)),
      ("max-stale=100, min-fresh=1", 66, .mustValidate(.stale)),
      ("only-if-cached", 10, .fresh(age: 10)),
      ("only-if-cached", 60, .notAllowed),
      ("only-if-cached, no-cache", 0, .notAllowed),
      ("only-if-cached, max-stale", 60, .stale(age: 60, .maxStale)),
      ("no-store", 10, .fresh(age: 10)),
      ("x, y=z", 10, .fresh(age: 10)),
    ] as [(String, Int64, Reuse)])
  func demands(cacheControl: String, after seconds: Int64, outcome: Reuse) {
    #expect(
      reuse(.cacheControl("max-age=60"), after: seconds, request: .cacheControl(cacheControl))
        == outcome)
  }

  @Test("what is immutable and fresh is not validated for a reload, only for no-cache (RFC 8246)")
  func immutable() {
    let response = FieldSection.cacheControl("max-age=60, immutable")
    #expect(reuse(response, after: 59, request: .cacheControl("max-age=0")) == .fresh(age: 59))
    #expect(
      reuse(response, after: 59, request: .cacheControl("max-age=0, min-fresh=5"))
        == .mustValidate(.requestMinFresh))
    #expect(
      reuse(response, after: 5, request: .cacheControl("no-cache"))
        == .mustValidate(.requestNoCache))
    #expect(
      reuse(response, after: 60, request: .cacheControl("max-age=0"))
        == .mustValidate(.requestMaxAge))
    #expect(reuse(response, after: 60) == .mustValidate(.stale))
  }

  @Test("Pragma: no-cache of old clients is a demand like no-cache")
  func pragma() {
    #expect(
      reuse(.cacheControl("max-age=60"), after: 0, request: ["Pragma": "no-cache"])
        == .mustValidate(.requestNoCache))
  }

  @Test(
    "no staleness where the origin forbids it",
    arguments: ["must-revalidate, max-age=60", "proxy-revalidate, max-age=60", "s-maxage=60"])
  func forbidden(cacheControl: String) {
    let response = FieldSection.cacheControl(
      cacheControl + ", stale-while-revalidate=100, stale-if-error=100")
    #expect(reuse(response, after: 59) == .fresh(age: 59))
    #expect(reuse(response, after: 60) == .mustValidate(.stale))
    #expect(
      reuse(response, after: 60, request: .cacheControl("max-stale")) == .mustValidate(.stale))
    let freshness = stored(response).freshness
    #expect(!Reuse.afterFailure(freshness, .none, now: arrival + 61, failure: .disconnected))
    #expect(
      !Reuse.afterFailure(freshness, .none, now: arrival + 61, failure: .answered(.badGateway)))
  }

  @Test("stale-while-revalidate allows an answer beside the validation (RFC 5861 §3)")
  func staleWhileRevalidate() {
    let response = FieldSection.cacheControl("max-age=60, stale-while-revalidate=30")
    #expect(reuse(response, after: 59) == .fresh(age: 59))
    #expect(reuse(response, after: 60) == .stale(age: 60, .whileRevalidate))
    #expect(reuse(response, after: 89) == .stale(age: 89, .whileRevalidate))
    #expect(reuse(response, after: 90) == .mustValidate(.stale))
    #expect(
      reuse(response, after: 70, request: .cacheControl("max-age=65"))
        == .mustValidate(.requestMaxAge))
  }

  @Test("a failing origin: stale-if-error of either side (RFC 5861 §4)")
  func staleIfError() {
    func allowed(_ status: Status, after seconds: Int64, request: FieldSection = [:]) -> Bool {
      Reuse.afterFailure(
        stored(.cacheControl("max-age=60, stale-if-error=30")).freshness,
        RequestDirectives(request), now: arrival + seconds, failure: .answered(status))
    }
    #expect(allowed(.internalError, after: 89))
    #expect(allowed(.gatewayTimeout, after: 89))
    #expect(!allowed(.badGateway, after: 90))
    #expect(!allowed(.notFound, after: 70))
    #expect(!allowed(.notImplemented, after: 70))
    #expect(allowed(.badGateway, after: 150, request: .cacheControl("stale-if-error=100")))
    #expect(!allowed(.badGateway, after: 70, request: .cacheControl("no-cache")))
  }

  @Test(
    "an origin out of reach: a bound that it has set itself holds, 0 included (RFC 5861 §4)",
    arguments: [(0, 0, true), (0, 1, false), (30, 30, true), (30, 31, false)])
  func bounded(bound: Int64, staleness: Int64, isAllowed: Bool) {
    let freshness = stored(.cacheControl("max-age=60, stale-if-error=\(bound)")).freshness
    let allowed = Reuse.afterFailure(
      freshness, RequestDirectives(), now: arrival + 60 + staleness, failure: .disconnected)
    #expect(allowed == isAllowed)
  }

  @Test("an origin out of reach: what nobody forbids, for a week")
  func disconnected() {
    let freshness = stored(.cacheControl("max-age=60")).freshness
    func allowed(after seconds: Int64, request: FieldSection = [:]) -> Bool {
      Reuse.afterFailure(
        freshness, RequestDirectives(request), now: arrival + seconds, failure: .disconnected)
    }
    #expect(allowed(after: 60))
    #expect(allowed(after: 60 + 7 * 86_400))
    #expect(!allowed(after: 61 + 7 * 86_400))
    #expect(!allowed(after: 60, request: .cacheControl("no-cache")))
    #expect(!allowed(after: 60, request: .cacheControl("max-age=5")))
    #expect(
      !Reuse.afterFailure(
        stored(["Cache-Control": "no-cache", "ETag": "\"a\""]).freshness, .none, now: arrival,
        failure: .disconnected))
  }

  @Test("every reason has a word of its own and a sentence", arguments: Reuse.Reason.allCases)
  func reasons(reason: Reuse.Reason) {
    #expect(Reuse.Reason.allCases.filter { "\($0.rule)" == "\(reason.rule)" }.count == 1)
    #expect("\(reason.rule)".utf8.allSatisfy { $0.isTokenCharacter })
    #expect(reason.sentence.hasSuffix("."))
    #expect([.stale, .request].contains(reason.forwardReason))
  }
}

@Suite("Resource policy")
struct ResourcePolicyTests {
  @Test("an immutable resource is fresh for ever, whatever both sides say")
  func immutable() {
    let policy = ResourcePolicy.immutable
    let response = FieldSection.cacheControl("no-cache, must-revalidate, max-age=0")
    #expect(reuse(response, after: 1_000_000_000, policy: policy) == .fresh(age: 1_000_000_000))
    #expect(
      reuse(response, after: 5, request: .cacheControl("no-cache, max-age=0"), policy: policy)
        == .fresh(age: 5))
    #expect(
      reuse(["Age": "99999999999"], after: 5, policy: policy)
        == .fresh(age: DeltaSeconds.maximum))
  }

  @Test("a failure to get an immutable resource is not immutable", arguments: [302, 404, 503])
  func failures(status: Int) {
    let freshness = stored(.cacheControl("max-age=60"), status: Status(UInt16(status))).freshness
    func outcome(after seconds: Int64, _ directives: RequestDirectives = .none) -> Reuse {
      Reuse.decide(freshness, directives, now: arrival + seconds, policy: .immutable)
    }
    #expect(outcome(after: 59) == .fresh(age: 59))
    #expect(outcome(after: 60) == .mustValidate(.stale))
    #expect(
      outcome(after: 1, RequestDirectives(.cacheControl("no-cache")))
        == .mustValidate(.requestNoCache))
    #expect(storability([:], status: Status(UInt16(status)), policy: .immutable) != "storable")
  }

  private func freshness(_ policy: ResourcePolicy, _ fields: FieldSection, _ status: Status = .ok)
    -> Freshness
  {
    policy.adjust(stored(fields, status: status).freshness)
  }

  @Test(
    "a lifetime given by a rule holds where the origin gives none",
    arguments: [
      (["ETag": "\"a\""], 30), ([:], 30), (["Last-Modified": date(-1_000_000)], 30),
      (["Cache-Control": "max-age=5"], 5), (["Cache-Control": "max-age=0"], 0),
      (["Expires": "0"], 0), (["Cache-Control": "s-maxage=500"], 500),
      (["CDN-Cache-Control": "max-age=7"], 7),
    ] as [(FieldSection, Int64)])
  func lifetime(fields: FieldSection, seconds: Int64) {
    var policy = ResourcePolicy.standard
    policy.lifetime = 30
    #expect(freshness(policy, fields).lifetime == seconds)
    #expect(storability(fields, policy: policy) == (seconds > 0 ? "storable" : "never-reusable"))
    policy.overridesOrigin = true
    #expect(freshness(policy, fields).lifetime == 30)
    #expect(storability(fields, policy: policy) == "storable")
  }

  @Test("a lifetime given by a rule does not lift no-cache unless it overrides, nor no-store ever")
  func lifetimeAndRestrictions() {
    var policy = ResourcePolicy.standard
    policy.lifetime = 30
    #expect(
      reuse(.cacheControl("no-cache"), after: 0, policy: policy) == .mustValidate(.responseNoCache))
    policy.overridesOrigin = true
    #expect(reuse(.cacheControl("no-cache"), after: 29, policy: policy) == .fresh(age: 29))
    #expect(reuse(.cacheControl("no-cache"), after: 30, policy: policy) == .mustValidate(.stale))
    #expect(
      reuse(
        .cacheControl("max-age=900"), after: 1, request: .cacheControl("no-cache"), policy: policy)
        == .mustValidate(.requestNoCache))
    #expect(storability(.cacheControl("no-store"), policy: policy) == "response-no-store")
    #expect(storability(.cacheControl("private"), policy: policy) == "private")
    #expect(
      reuse(
        .cacheControl("must-revalidate"), after: 30, request: .cacheControl("max-stale"),
        policy: policy) == .mustValidate(.stale))
  }

  @Test(
    "404 and 410 are believed as told, or by rule, and ten minutes at most",
    arguments: [
      ([:], 0, 0), ([:], 60, 60), ([:], 86_400, 600), (["Cache-Control": "max-age=5"], 60, 5),
      (["Cache-Control": "max-age=0"], 60, 0), (["Cache-Control": "max-age=86400"], 0, 600),
      (["Last-Modified": date(-1_000_000)], 0, 0), (["Last-Modified": date(-1_000_000)], 60, 60),
    ] as [(FieldSection, Int64, Int64)])
  func negative(fields: FieldSection, rule: Int64, seconds: Int64) {
    var policy = ResourcePolicy.standard
    policy.negativeLifetime = rule
    policy.lifetime = 3600
    policy.overridesOrigin = true
    for status in [Status.notFound, Status(410)] {
      #expect(freshness(policy, fields, status).lifetime == seconds)
    }
    #expect(
      (storability(fields, status: .notFound, policy: policy) == "storable") == (seconds > 0))
    // Other failures are none of its business.
    for status in [403, 500, 503] as [UInt16] {
      #expect(storability([:], status: Status(status), policy: policy) == "no-lifetime")
    }
  }

  @Test("a rule's stale times are a floor, and yield to must-revalidate")
  func staleByRule() {
    var policy = ResourcePolicy.standard
    policy.staleIfError = 100
    policy.staleWhileRevalidate = 10
    func failing(_ fields: FieldSection, after seconds: Int64) -> Bool {
      Reuse.afterFailure(
        stored(fields).freshness, .none, now: arrival + seconds,
        failure: .answered(.serviceUnavailable), policy: policy)
    }
    #expect(
      reuse(.cacheControl("max-age=60"), after: 69, policy: policy)
        == .stale(age: 69, .whileRevalidate))
    #expect(reuse(.cacheControl("max-age=60"), after: 70, policy: policy) == .mustValidate(.stale))
    #expect(failing(.cacheControl("max-age=60"), after: 159))
    #expect(!failing(.cacheControl("max-age=60"), after: 160))
    #expect(failing(.cacheControl("max-age=60, stale-if-error=500"), after: 559))
    #expect(!failing(.cacheControl("max-age=60, must-revalidate"), after: 61))
  }

  @Test("the standard policy changes nothing")
  func standard() {
    for value in [
      "max-age=60", "no-cache", "s-maxage=5", "stale-if-error=7", "max-age=99999999999",
    ] {
      let freshness = stored(.cacheControl(value)).freshness
      #expect(ResourcePolicy.standard.adjust(freshness) == freshness)
    }
  }
}
