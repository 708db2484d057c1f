// Which target URIs a pattern stands for.

import SeededRandom
import Testing

@testable import HTTP

/// Whether a pattern matches a key, both as text.
private func matches(_ pattern: String, _ key: String) throws -> Bool {
  let bytes = Array(key.utf8)
  return try URIPattern(pattern).matches(bytes.span)
}

@Suite struct URIPatternTests {
  @Test(
    "a pattern matches whole keys",
    arguments: [
      ("a.example/x", "http://a.example/x", true), ("a.example/x", "https://a.example/x", true),
      ("a.example/x", "http://a.example/xy", false), ("a.example/x", "http://a.example/", false),
      ("a.example/x", "http://b.example/x", false),
      ("a.example/x", "http://a.example:8080/x", false),
      ("a.example:8080/x", "http://a.example:8080/x", true),
      ("a.example:*/x", "http://a.example:8080/x", true),
      ("A.Example/X", "http://a.example/X", true), ("A.Example/X", "http://a.example/x", false),
      ("http://a.example/x", "https://a.example/x", false),
      ("https://a.example/x", "https://a.example/x", true),
      ("http://a.example:80/x", "http://a.example/x", true),
      ("https://a.example:443/", "https://a.example/", true),
      ("https://a.example:80/", "https://a.example:80/", true),
      ("*.example/x", "http://a.b.example/x", true), ("*.example/x", "http://example/x", false),
      ("*/x", "http://a.example:81/x", true), ("/x", "http://a.example:81/x", true),
      ("/x", "http://a.example/y/x", false), ("/**/x", "http://a.example/y/x", true),
      ("/**/x", "http://a.example/x", true), ("/**x", "http://a.example/x", true),
      ("**", "https://anything/at/all?x", true), ("**.deb", "http://a/b/c.deb", true),
      ("/*", "http://a/", true), ("/*", "http://a/b", true), ("/*", "http://a/b/c", false),
      ("/*", "http://a/b?q", false), ("/**", "http://a/b/c?q/r", true),
      ("/*?*", "http://a/b?q", true), ("/*?*", "http://a/b?q/r", false),
      ("/*.whl", "http://a/b-1.whl", true), ("/*.whl", "http://a/b/c.whl", false),
      ("/**/*.whl", "http://a/b/c.whl", true), ("/**/*.whl", "http://a/b/c.whl?x", false),
      ("/**/*.whl**", "http://a/b/c.whl?x", true),
      ("/*-*/x", "http://a/b-c/x", true), ("/*-*/x", "http://a/b/c-/x", false),
      ("/**a/*b", "http://h/xa/ya/zb", true), ("/**a/*b", "http://h/xa/ya/z/b", false),
      ("/**/*.whl", "http://a/c.whl", true), ("/**/*.whl", "http://a/b/d/c.whl", true),
      ("/**/x", "http://a.example/ax", false), ("/**/x", "http://a.example//x", true),
      ("h/a/**/b", "http://h/a/b", true), ("h/a/**/b", "http://h/a/c/d/b", true),
      ("h/a/**/b", "http://h/ab", false), ("h/a/**/b", "http://h/a", false),
      ("h/a/**/**/b", "http://h/a/b", true), ("h/**/a/**/b", "http://h/a/b", true),
      ("h/**/*", "http://h/", true), ("h/a/**", "http://h/a", false),
      ("h/**/?x", "http://h/?x", true), ("h/a**/b", "http://h/ab", false),
      ("/****/x", "http://a/y/x", true), ("/a***b", "http://h/a/b", true),
      ("/%2fx%c3", "http://a/%2Fx%C3", true), ("/%", "http://a/%", true),
      ("[::1]:81/x", "http://[::1]:81/x", true), ("[::1]/x", "http://[::1]/x", true),
    ])
  func matching(pattern: String, key: String, outcome: Bool) throws {
    #expect(try matches(pattern, key) == outcome)
    let normal = try URIPattern(pattern).text
    #expect(try URIPattern(normal) == URIPattern(pattern))
    #expect(try matches(normal, key) == outcome)
  }

  @Test(
    "what cannot be meant is refused, with a way out",
    arguments: [
      ("", "empty"), ("a.example", "a.example/**"), ("https://a.example", "a.example/**"),
      ("*", "*/**"), ("a b/", "percent-encode"), ("a/ü", "percent-encode"), ("a/#f", "fragment"),
      ("ftp://a/", "http or https"), ("u@a/", "user name"), ("a:80/x", "http://"),
      ("a:443/x", "https://"), (String(repeating: "a", count: 254) + "/x", "**"),
      ("/\n", "percent-encode"),
    ])
  func refused(text: String, advice: String) {
    let problem = #expect(throws: URIPattern.Problem.self) { try URIPattern(text) }
    #expect(problem?.message.contains(advice) == true)
  }

  @Test("the longest pattern has room for all of its letters")
  func longest() throws {
    let path = String(repeating: "0123456789", count: 25)
    let pattern = "h/*" + path + "**"
    #expect(try matches(pattern, "http://h/x\(path)/y"))
    #expect(try !matches(pattern, "http://h/x\(path.dropLast())"))
  }

  @Test("agrees with a matcher that tries everything")
  func against() throws {
    // Splits at the wild cards and tries all lengths: plainly right, and hopeless for long texts.
    func tries(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
      guard let first = pattern.first else { return text.isEmpty }
      guard first == 0x2A else {
        return text.first == first && tries(pattern.dropFirst(), text.dropFirst())
      }
      let isAny = pattern.dropFirst().first == 0x2A
      let rest = pattern.drop { $0 == 0x2A }
      for length in 0...text.count {
        let skipped = text.prefix(length)
        if !isAny, skipped.contains(0x2F) || skipped.contains(0x3F) { return false }
        if tries(rest, text.dropFirst(length)) { return true }
      }
      return false
    }
    var random = SeededGenerator(seed: 57)
    let letters = Array("aab/?**".utf8)
    var matched = 0
    for _ in 0..<3000 {
      let pattern = (0..<Int.random(in: 0...8, using: &random)).map { _ in
        letters.randomElement(using: &random) ?? 0x61
      }
      let text = (0..<Int.random(in: 0...8, using: &random)).map { _ in
        letters.filter { $0 != 0x2A }.randomElement(using: &random) ?? 0x61
      }
      let compiled = "h/" + String(decoding: pattern, as: UTF8.self)
      let expected = tries(pattern[...], text[...])
      #expect(
        try matches(compiled, "http://h/" + String(decoding: text, as: UTF8.self)) == expected)
      if expected { matched += 1 }
    }
    #expect(matched > 100)
  }
}
