// Conditional requests, in the order of RFC 9110 §13.2.2, step by step.

import Testing

@testable import HTTP

private let modified: Int64 = 784_111_777
private let same = "Sun, 06 Nov 1994 08:49:37 GMT"
private let before = "Sun, 06 Nov 1994 08:49:36 GMT"
private let after = "Sun, 06 Nov 1994 08:49:38 GMT"
private let strong = Validators(
  entityTag: EntityTag("v1"), lastModified: modified, date: modified + 3600)
private let weak = Validators(
  entityTag: EntityTag("v1", isWeak: true), lastModified: modified, date: modified + 3600)
private let dated = Validators(lastModified: modified, date: modified + 3600)
private let bare = Validators(date: modified + 3600)

private func evaluate(
  _ fields: FieldSection, _ validators: Validators = strong, method: HTTP.Method = .get,
  status: Status = .ok
) -> Preconditions.Outcome {
  Preconditions.evaluate(
    fields, method: method, status: status, validators: validators, now: modified + 7200)
}

@Suite("Preconditions")
struct PreconditionsTests {
  @Test("a request without conditions proceeds")
  func none() {
    #expect(evaluate(["Accept": "*/*", "Range": "bytes=0-"]) == .proceed)
  }

  @Test("If-None-Match compares weakly, and a match means that the client has it")
  func ifNoneMatch() {
    #expect(evaluate(["If-None-Match": "\"v1\""]) == .notModified)
    #expect(evaluate(["If-None-Match": "W/\"v1\""]) == .notModified)
    #expect(evaluate(["If-None-Match": "\"v1\""], weak) == .notModified)
    #expect(evaluate(["If-None-Match": "\"v0\", \"v1\""]) == .notModified)
    #expect(evaluate(["If-None-Match": "*"], bare) == .notModified)
    #expect(evaluate(["If-None-Match": "\"v0\""]) == .proceed)
    #expect(evaluate(["If-None-Match": "\"v1\""], dated) == .proceed)
    #expect(evaluate(["If-None-Match": "v1"]) == .proceed)
  }

  @Test("If-None-Match is seen in every line it has")
  func ifNoneMatchLines() {
    #expect(
      evaluate(["If-None-Match": "\"v0\"", "if-none-match": "\"v1\""]) == .notModified)
  }

  @Test("for other methods a match of If-None-Match is a failure")
  func ifNoneMatchUnsafe() {
    #expect(evaluate(["If-None-Match": "*"], method: .put) == .failed)
    #expect(evaluate(["If-None-Match": "\"v1\""], method: .head) == .notModified)
  }

  @Test("If-Modified-Since compares with Last-Modified, without one with Date")
  func ifModifiedSince() {
    #expect(evaluate(["If-Modified-Since": same], dated) == .notModified)
    #expect(evaluate(["If-Modified-Since": after], dated) == .notModified)
    #expect(evaluate(["If-Modified-Since": before], dated) == .proceed)
    #expect(evaluate(["If-Modified-Since": same], bare) == .proceed)
    #expect(evaluate(["If-Modified-Since": "Sun, 06 Nov 1994 09:49:37 GMT"], bare) == .notModified)
  }

  @Test("If-None-Match makes If-Modified-Since void, match or not")
  func precedence() {
    #expect(evaluate(["If-None-Match": "\"v0\"", "If-Modified-Since": after]) == .proceed)
    #expect(evaluate(["If-None-Match": "\"v1\"", "If-Modified-Since": before]) == .notModified)
  }

  @Test("a broken or repeated date is no condition")
  func brokenDates() {
    #expect(evaluate(["If-Modified-Since": "yesterday"]) == .proceed)
    #expect(
      evaluate(["If-Modified-Since": after, "if-modified-since": after]) == .proceed)
    #expect(evaluate(["If-Unmodified-Since": "0"]) == .proceed)
    #expect(evaluate(["If-Modified-Since": after], method: .post) == .proceed)
  }

  @Test("If-Match compares strongly, and protects a client that resumes")
  func ifMatch() {
    #expect(evaluate(["If-Match": "\"v1\""]) == .proceed)
    #expect(evaluate(["If-Match": "\"v0\""]) == .failed)
    #expect(evaluate(["If-Match": "W/\"v1\""]) == .failed)
    #expect(evaluate(["If-Match": "\"v1\""], weak) == .failed)
    #expect(evaluate(["If-Match": "*"], bare) == .proceed)
    #expect(evaluate(["If-Match": "\"v1\""], bare) == .failed)
  }

  @Test("If-Unmodified-Since counts where there is no If-Match")
  func ifUnmodifiedSince() {
    #expect(evaluate(["If-Unmodified-Since": same]) == .proceed)
    #expect(evaluate(["If-Unmodified-Since": before]) == .failed)
    // Without a modification date the condition must be ignored (RFC 9110 §13.1.4).
    #expect(evaluate(["If-Unmodified-Since": before], bare) == .proceed)
    #expect(evaluate(["If-Match": "\"v1\"", "If-Unmodified-Since": before]) == .proceed)
  }

  @Test("the first half of the order is asked before the second")
  func order() {
    #expect(evaluate(["If-Match": "\"v0\"", "If-None-Match": "\"v1\""]) == .failed)
    #expect(evaluate(["If-Match": "\"v1\"", "If-None-Match": "\"v1\""]) == .notModified)
    #expect(
      evaluate(["If-Unmodified-Since": same, "If-Modified-Since": same]) == .notModified)
  }

  @Test("conditions are ignored where the answer would be no success")
  func otherStatuses() {
    #expect(evaluate(["If-None-Match": "*"], status: .notFound) == .proceed)
    #expect(evaluate(["If-Match": "\"v0\""], status: Status(301)) == .proceed)
  }

  @Test(
    "If-Range wants a strong match, else the client gets the whole",
    arguments: [
      ("\"v1\"", strong, true), ("\"v0\"", strong, false), ("W/\"v1\"", strong, false),
      ("W/\"v1\"", weak, false), ("\"v1\"", weak, false), (same, strong, true),
      (same, dated, true), (after, dated, false), (before, dated, false), (same, bare, false),
      ("v1", strong, false), ("*", strong, false), ("", strong, false),
      (same, Validators(lastModified: modified, date: modified + 1), false),
    ])
  func ifRange(value: String, validators: Validators, allowed: Bool) {
    let fields: FieldSection = ["Range": "bytes=5-", "If-Range": value]
    #expect(Preconditions.allowsRange(fields, validators: validators, now: modified) == allowed)
  }

  @Test("a Range without If-Range is honoured, one with two is not")
  func ifRangeCount() {
    #expect(Preconditions.allowsRange(["Range": "bytes=5-"], validators: bare, now: 0))
    let two: FieldSection = ["If-Range": "\"v1\"", "if-range": "\"v1\""]
    #expect(!Preconditions.allowsRange(two, validators: strong, now: 0))
  }

  @Test("a parsed head is judged as its copy is")
  func parsedHead() {
    let text =
      "GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"v0\"\r\nIf-Range: \"v0\"\r\n"
      + "if-none-match: W/\"v1\"\r\n\r\n"
    let bytes = Array(text.utf8)
    var head = ParsedHead()
    _ = MessageParser.parseRequest(bytes.span, into: &head)
    let outcome = Preconditions.evaluate(
      head, of: bytes.span, method: .get, validators: strong, now: modified)
    let range = Preconditions.allowsRange(head, of: bytes.span, validators: strong, now: modified)
    #expect(outcome == .notModified)
    #expect(!range)
  }
}
