// Which requests select a stored response.

import HTTP
import Testing

@testable import Caching

private func matches(_ vary: String, _ original: FieldSection, _ request: FieldSection) -> Bool {
  let response: FieldSection = ["Vary": vary]
  return Variance(response: response, request: original).matches(request)
}

@Suite("Variance (RFC 9111 §4.1)")
struct VarianceTests {
  @Test("without Vary every request matches")
  func none() {
    let variance = Variance(response: [:], request: ["Accept": "a"])
    #expect(variance.matches(["Accept": "b"]))
    #expect(variance == .none)
    #expect(Variance(response: ["Vary": ""], request: [:]).matches([:]))
  }

  @Test(
    "Vary: * and what cannot be read match nothing, not even the same request",
    arguments: ["*", "Accept, *", "a b", "Accept, \"x\"", "(x)"])
  func nothing(vary: String) {
    #expect(!matches(vary, ["Accept": "a"], ["Accept": "a"]))
  }

  @Test(
    "the named fields must be as they were",
    arguments: [
      ("X-A", ["X-A": "1"], ["X-A": "1"], true),
      ("x-a", ["X-A": "1"], ["X-a": "1"], true),
      ("X-A", ["X-A": "1"], ["X-A": "2"], false),
      ("X-A", ["X-A": "1"], [:], false),
      ("X-A", [:], ["X-A": "1"], false),
      ("X-A", [:], [:], true),
      ("X-A", ["X-A": ""], [:], false),
      ("X-A", [:], ["X-A": ""], false),
      ("X-A", ["X-A": "1"], ["X-A": "1", "X-B": "2"], true),
      ("X-A, X-B", ["X-A": "1", "X-B": "2"], ["X-B": "2", "X-A": "1"], true),
      ("X-A, X-B", ["X-A": "1", "X-B": "2"], ["X-A": "1"], false),
      ("X-A", ["X-A": "a b"], ["X-A": "a  b"], false),
      ("X-A", ["X-A": "A"], ["X-A": "a"], false),
      ("User-Agent", ["User-Agent": "pip/1 (a, b)"], ["User-Agent": "pip/1 (a,b)"], false),
      ("User-Agent", ["User-Agent": "pip/1"], ["User-Agent": "pip/2"], false),
    ] as [(String, FieldSection, FieldSection, Bool)])
  func values(vary: String, original: FieldSection, request: FieldSection, match: Bool) {
    #expect(matches(vary, original, request) == match)
  }

  @Test("lines of one field are one value")
  func lines() {
    #expect(matches("X-A", ["X-A": "1", "x-a": "2"], ["X-A": "1, 2"]))
    #expect(matches("Accept", ["Accept": "a,b"], ["Accept": "a", "accept": "b"]))
    #expect(!matches("X-A", ["X-A": "1", "x-a": "2"], ["X-A": "2", "x-a": "1"]))
    #expect(!matches("X-A", ["X-A": "1"], ["X-A": "1", "x-a": "1"]))
  }

  @Test(
    "white space that has no meaning in content negotiation does not matter",
    arguments: [
      ("Accept", "text/html, */*;q=0.1", "text/html,*/* ;\tq=0.1", true),
      ("Accept", "text/html;x=\"a, b\"", "text/html;x=\"a,b\"", false),
      ("Accept", "text/html", "text/plain", false),
      ("Accept", "a, b", "b, a", false),
      ("Accept-Language", "de, en;q=0.5", "de,en;q=0.5", true),
      ("Accept-Encoding", "gzip, deflate, br", "gzip,deflate,br", true),
      ("Accept-Encoding", "gzip, deflate", "deflate, gzip", true),
      ("Accept-Encoding", "GZIP", "gzip", true),
      ("Accept-Encoding", "x-gzip", "gzip", true),
      ("Accept-Encoding", "gzip;q=1.0", "gzip", true),
      ("Accept-Encoding", "gzip; q=1", "gzip", true),
      ("Accept-Encoding", "gzip;q=0", "gzip", false),
      ("Accept-Encoding", "gzip;q=0.5", "gzip", false),
      ("Accept-Encoding", "gzip;q=10", "gzip", false),
      ("Accept-Encoding", "identity", "", false),
      ("Accept-Encoding", "gzip", "br", false),
      ("Accept-Encoding", "x-gzipped", "gzipped", false),
    ])
  func normalForms(name: String, original: String, request: String, match: Bool) {
    var first = FieldSection()
    first.append(named: name, original)
    var second = FieldSection()
    second.append(named: name, request)
    #expect(matches(name, first, second) == match)
    #expect(matches(name, second, first) == match)
    #expect(matches(name, first, first))
  }

  @Test("the order and repetition of names in Vary have no meaning")
  func names() {
    let request: FieldSection = ["A": "1", "B": "2"]
    let one = Variance(response: ["Vary": "A, B"], request: request)
    let other = Variance(response: ["Vary": "b", "vary": "a,B,,A"], request: request)
    #expect(one == other)
    #expect(one.selectors.count == 2)
  }

  @Test("a parsed head matches as its copy does")
  func parsedHead() {
    let text =
      "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nAccept: a , b\r\nx-a: 2\r\n\r\n"
    let bytes = Array(text.utf8)
    var head = ParsedHead()
    _ = MessageParser.parseRequest(bytes.span, into: &head)
    let original: FieldSection = ["X-A": "1, 2", "Accept": "a,b"]
    let variance = Variance(response: ["Vary": "Accept, X-A, X-C"], request: original)
    let matchesHead = variance.matches(head, of: bytes.span)
    #expect(matchesHead)
    let copied = FieldSection(copying: head, of: bytes.span)
    #expect(variance.matches(copied))
  }

  @Test("hundreds of names match nothing rather than cost without end")
  func manyNames() {
    let names = (0..<100).map { "x-\($0)" }.joined(separator: ", ")
    #expect(Variance(response: ["Vary": names], request: [:]).matchesNothing)
  }

  @Test(
    "the newest that matches is chosen, but one that forgot its Vary stands back while another is fresh"
  )
  func selection() {
    struct Stored: Equatable { var name: String, vary: String?, language: String, isFresh = true }
    func choice(_ newestFirst: [Stored], for language: String) -> String? {
      Variance.select(
        newestFirst,
        { stored in
          guard let vary = stored.vary else { return .none }
          let response: FieldSection = ["Vary": "\(vary)"]
          return Variance(response: response, request: ["Accept-Language": "\(stored.language)"])
        }, for: ["Accept-Language": "\(language)"], isFresh: \.isFresh)?.name
    }
    let german = Stored(name: "german", vary: "Accept-Language", language: "de")
    let newer = Stored(name: "newer", vary: "accept-language", language: "de")
    let english = Stored(name: "english", vary: "Accept-Language", language: "en")
    let anyone = Stored(name: "anyone", vary: nil, language: "en")
    let staleGerman = Stored(
      name: "stale", vary: "Accept-Language", language: "de", isFresh: false)
    #expect(choice([english, newer, german], for: "de") == "newer")
    #expect(choice([anyone, german], for: "de") == "german")
    #expect(choice([german, anyone], for: "de") == "german")
    #expect(choice([anyone, german], for: "fr") == "anyone")
    #expect(choice([anyone, staleGerman], for: "de") == "anyone")
    #expect(choice([english, german], for: "fr") == nil)
    #expect(choice([], for: "fr") == nil)
  }
}
