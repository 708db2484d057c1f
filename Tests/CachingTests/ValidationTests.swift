// Conditional requests of the cache, and what 304 and HEAD answers do to a stored response.

import HTTP
import Testing

@testable import Caching

private func freshen(
  _ response: FieldSection, with fields: FieldSection, request: FieldSection = [:]
) -> Validation.Freshening {
  Validation.freshen(
    stored(response), with: fields, request: request, requestTime: arrival + 100,
    responseTime: arrival + 100)
}

private func updated(_ outcome: Validation.Freshening) throws -> StoredResponse {
  guard case .updated(let response) = outcome else {
    throw Unexpected(outcome: "\(outcome)")
  }
  return response
}

private struct Unexpected: Error { var outcome: String }

@Suite("Validation (RFC 9111 §4.3)")
struct ValidationTests {
  @Test("the stored validators become conditions, in place of the client's")
  func conditions() {
    var request: FieldSection = [
      "Host": "a", "If-None-Match": "\"old\"", "Range": "bytes=0-1", "If-Range": "\"old\"",
      "If-Match": "*", "If-Unmodified-Since": date(0),
    ]
    let response = stored(["ETag": "W/\"a\"", "Last-Modified": date(-100)])
    #expect(Validation.addConditions(for: response, to: &request))
    #expect(
      request == ["Host": "a", "If-None-Match": "W/\"a\"", "If-Modified-Since": date(-100)])
  }

  @Test("without validators the request is a plain one")
  func noConditions() {
    var request: FieldSection = ["Host": "a", "If-None-Match": "\"old\""]
    #expect(!Validation.addConditions(for: stored(["ETag": "unquoted"]), to: &request))
    #expect(request == ["Host": "a"])
  }

  @Test(
    "a 304 speaks of the response whose validators it has, or of the one asked about",
    arguments: [
      (["ETag": "\"a\""], ["ETag": "\"a\""], true),
      (["ETag": "\"a\""], ["ETag": "\"b\""], false),
      (["ETag": "\"a\""], ["ETag": "W/\"a\""], true),
      (["ETag": "W/\"a\""], ["ETag": "W/\"a\""], true),
      (["ETag": "\"a\""], [:], true),
      (["ETag": "\"a\""], ["ETag": "a"], false),
      (["ETag": "\"a\""], ["ETag": "\"a\"", "etag": "\"b\""], false),
      (["Last-Modified": date(-9)], ["Last-Modified": date(-9)], true),
      (["Last-Modified": date(-9)], ["Last-Modified": date(-8)], false),
      (["Last-Modified": date(-9)], ["Last-Modified": "x"], false),
      (["Last-Modified": date(-9)], ["ETag": "\"a\""], false),
      (
        ["ETag": "\"a\"", "Last-Modified": date(-9)],
        ["ETag": "\"b\"", "Last-Modified": date(-9)], false
      ),
      (["ETag": "\"a\"", "Last-Modified": date(-9)], ["Last-Modified": date(-9)], true),
    ] as [(FieldSection, FieldSection, Bool)])
  func selects(response: FieldSection, notModified: FieldSection, selected: Bool) {
    #expect(
      Validation.selects(stored(response), notModified, receivedAt: arrival) == selected)
  }

  @Test("a 304 makes the response young and fresh again")
  func freshened() throws {
    let old: FieldSection = [
      "Date": date(-1000), "Age": "900", "Cache-Control": "max-age=60", "ETag": "\"a\"",
    ]
    let new = try updated(freshen(old, with: ["Cache-Control": "max-age=120", "Date": date(99)]))
    #expect(new.freshness.lifetime == 120)
    #expect(new.freshness.currentAge(at: arrival + 100) == 1)
    #expect(new.fields.all(.date).count == 1)
    #expect(new.fields.text(.cacheControl) == "max-age=120")
  }

  @Test("a 304 that says nothing still renews: Date is now")
  func bareFreshening() throws {
    let new = try updated(
      freshen(["Date": date(-1000), "Cache-Control": "max-age=60", "ETag": "\"a\""], with: [:]))
    #expect(new.fields.text(.date) == date(100))
    #expect(new.freshness.isFresh(at: arrival + 150))
    #expect(new.fields.text(.etag) == "\"a\"")
  }

  @Test("an Age on the 304 counts")
  func agedFreshening() throws {
    let new = try updated(
      freshen(["Cache-Control": "max-age=60", "ETag": "\"a\""], with: ["Age": "50"]))
    #expect(new.freshness.currentAge(at: arrival + 105) == 55)
    #expect(new.fields.text(.age) == nil)
  }

  @Test("all fields of the 304 replace the stored ones of their name, all lines of them")
  func replaced() throws {
    let new = try updated(
      freshen(
        ["ETag": "\"a\"", "X-A": "1", "x-a": "2", "X-B": "3", "Expires": date(5)],
        with: ["X-a": "4", "X-C": "5", "x-c": "6", "Expires": date(500)]))
    #expect(new.fields.all(named: "x-a").map { Array($0) } == [Array("4".utf8)])
    #expect(new.fields.text(named: "X-B") == "3")
    #expect(new.fields.all(named: "X-C").count == 2)
    #expect(new.freshness.lifetime == 400)
  }

  @Test("what describes the stored bytes is not replaced (§3.2)")
  func kept() throws {
    let old: FieldSection = [
      "Content-Length": "10", "Content-Encoding": "gzip", "Content-Type": "text/html",
      "ETag": "\"a\"", "Repr-Digest": "sha-256=:AAAA:",
    ]
    let new = try updated(
      freshen(
        old,
        with: [
          "Content-Length": "0", "Content-Encoding": "br", "Content-Type": "text/plain",
          "Content-Range": "bytes 0-1/2", "ETag": "W/\"a\"", "Repr-Digest": "sha-256=:BBBB:",
          "Set-Cookie": "a=b",
        ]))
    #expect(new.contentLength == 10)
    #expect(new.fields.text(.contentEncoding) == "gzip")
    #expect(new.fields.text(.contentType) == "text/html")
    #expect(new.fields.text(.contentRange) == nil)
    #expect(new.fields.text(.etag) == "\"a\"")
    #expect(new.fields.text(.reprDigest) == "sha-256=:AAAA:")
    #expect(new.fields.text(.setCookie) == nil)
  }

  @Test("a 304 for another version changes nothing")
  func unrelated() {
    if case .unrelated = freshen(["ETag": "\"a\""], with: ["ETag": "\"b\""]) { return }
    Issue.record("it was used")
  }

  @Test("an origin that forbids storing now is obeyed")
  func unstorable() {
    for (value, reason) in [
      ("no-store", Storability.Reason.responseNoStore), ("private", .privateResponse),
    ] {
      guard
        case .unstorable(let response, reason) = freshen(
          ["ETag": "\"a\"", "Cache-Control": "max-age=60"], with: .cacheControl(value))
      else {
        Issue.record("\(value) was ignored")
        continue
      }
      #expect(response.fields.text(.etag) == "\"a\"")
      #expect(!reason.isAboutRequest)
    }
  }

  @Test("credentials of the client that validates do not spoil what others share")
  func authorizedValidation() {
    guard
      case .unstorable(_, .authorization) = freshen(
        ["ETag": "\"a\"", "Cache-Control": "max-age=60"], with: [:],
        request: ["Authorization": "Basic eDp5"])
    else {
      Issue.record("no answer for one client")
      return
    }
    #expect(Storability.Reason.authorization.isAboutRequest)
  }

  @Test("a new Vary takes its values from the request that validated")
  func newVary() throws {
    let old: FieldSection = ["ETag": "\"a\"", "Cache-Control": "max-age=60"]
    let new = try updated(
      freshen(old, with: ["Vary": "Accept"], request: ["Accept": "text/html"]))
    #expect(new.variance.matches(["Accept": "text/html"]))
    #expect(!new.variance.matches(["Accept": "text/plain"]))
    if case .unstorable(_, .varyEverything) = freshen(old, with: ["Vary": "*"]) { return }
    Issue.record("Vary: * was kept")
  }

  @Test(
    "an answer to HEAD confirms, supersedes, or says nothing (§4.3.5)",
    arguments: [
      (["ETag": "\"a\"", "Content-Length": "10"], 200, "confirmed"),
      (["ETag": "\"a\""], 200, "confirmed"),
      (["ETag": "W/\"a\""], 200, "confirmed"),
      (["Last-Modified": date(-9)], 200, "nothing"),
      (["Last-Modified": date(-9), "Content-Length": "10"], 200, "nothing"),
      (["Last-Modified": date(-8)], 200, "superseded"),
      (["ETag": "\"a\"", "Last-Modified": date(-9)], 200, "confirmed"),
      (["ETag": "\"b\"", "Content-Length": "10"], 200, "superseded"),
      (["ETag": "\"a\"", "Last-Modified": date(-8)], 200, "superseded"),
      (["ETag": "\"a\"", "Content-Length": "11"], 200, "superseded"),
      (["Content-Length": "11"], 200, "superseded"),
      (["ETag": "\"a\"", "Cache-Control": "no-store"], 200, "superseded"),
      (["Content-Length": "10"], 200, "nothing"),
      ([:], 200, "nothing"),
      (["ETag": "\"a\"", "Content-Length": "10"], 404, "nothing"),
      (["ETag": "\"a\""], 304, "nothing"),
      (["ETag": "\"b\""], 503, "nothing"),
    ] as [(FieldSection, Int, String)])
  func head(fields: FieldSection, status: Int, outcome: String) {
    let old = stored([
      "ETag": "\"a\"", "Last-Modified": date(-9), "Content-Length": "10",
      "Cache-Control": "max-age=60",
    ])
    switch Validation.hear(
      ofHead: Status(UInt16(status)), fields, about: old, request: [:],
      requestTime: arrival + 100, responseTime: arrival + 100)
    {
    case .confirmed(let response):
      #expect(outcome == "confirmed")
      #expect(response.contentLength == 10)
      #expect(response.freshness.isFresh(at: arrival + 120))
    case .superseded: #expect(outcome == "superseded")
    case .nothing: #expect(outcome == "nothing")
    }
  }

  @Test("a 200 to HEAD supersedes a stored 404")
  func headAfterMissing() {
    let old = stored(["Cache-Control": "max-age=60", "ETag": "\"a\""], status: .notFound)
    let news = Validation.hear(
      ofHead: .ok, ["ETag": "\"a\""], about: old, request: [:], requestTime: arrival,
      responseTime: arrival)
    guard case .superseded = news else {
      Issue.record("\(news)")
      return
    }
  }

  @Test("what is superseded is stale from that moment, and stays what it was otherwise")
  func expired() {
    let old = stored(["Cache-Control": "max-age=600", "ETag": "\"a\"", "Age": "50"])
    for seconds in [0, 10, 549] as [Int64] {
      let new = old.expired(at: arrival + seconds)
      #expect(!new.freshness.isFresh(at: arrival + seconds))
      #expect(new.freshness.currentAge(at: arrival + seconds) == 600)
      #expect(new.fields == old.fields)
      #expect(new.validators == old.validators)
    }
    #expect(old.expired(at: arrival + 700).freshness == old.freshness)
  }
}
