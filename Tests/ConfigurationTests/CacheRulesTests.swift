// What can be said about resources, and what is told to those who say it wrongly.

import HTTP
import Platform
import Testing

@testable import Configuration

@Suite("Rules about resources")
struct CacheRulesTests {
  private func read(_ text: String) throws -> ConfigurationLoader.Loaded {
    try ConfigurationLoader.read(text: text, file: "test.yaml")
  }

  @Test("all keys of a rule are read")
  func all() throws {
    let loaded = try read(
      """
      rules:
        - match: "*.example.org/simple/**"
          fresh: 10m
          override: true
          negative: 30s
          stale-if-error: 7d
          stale-while-revalidate: 1m
        - { match: "/**/*.whl", class: immutable }
        - { match: "http://a.example.org/live/**", class: pass }
      offline: true
      cache: { targeted-fields: [Mirror-Cache-Control] }
      """)
    let configuration = loaded.configuration
    #expect(loaded.warnings.all.isEmpty)
    #expect(configuration.rules.count == 3)
    #expect(
      configuration.rules[0].yaml
        == "{ match: \"*.example.org/simple/**\", fresh: 10m, override: true, negative: 30s, stale-if-error: 7d, stale-while-revalidate: 1m }"
    )
    #expect(configuration.rules[1].kind == .immutable)
    #expect(configuration.rules[2].kind == .pass)
    #expect(configuration.offline)
    #expect(configuration.cache.targetedFields.map(\.name) == ["Mirror-Cache-Control"])
  }

  @Test(
    "mistakes are named where they stand",
    arguments: [
      ("rules: [{ class: pass }]", "has no pattern"),
      ("rules: [{ match: a.example.org, class: pass }]", "has no path"),
      ("rules: [{ match: a/x }]", "says nothing"),
      ("rules: [{ match: a/x, class: forever }]", "is not known"),
      ("rules: [{ match: a/x, fresh: 10 }]", "has no unit"),
      ("rules: [{ match: a/x, negative: 1h }]", "10m or less"),
      ("rules: [{ match: a/x, class: mutable, override: true }]", "nothing to override with"),
      ("rules: [{ match: a/x, override: maybe, fresh: 1m }]", "neither true nor false"),
      ("rules: [{ match: a/x, negativ: 1m }]", "did you mean negative?"),
      ("rules: a/x", "is not a list"),
      ("offline: yes", "neither true nor false"),
      ("cache: { targeted-fields: [Cache-Control] }", "always counts"),
      ("cache: { targeted-fields: [\"a b\"] }", "is not the name of a field"),
    ])
  func mistakes(text: String, sentence: String) {
    let diagnostics = #expect(throws: Diagnostics.self) { try read(text) }
    #expect(
      diagnostics?.errors.contains { $0.message.contains(sentence) } == true,
      "\(diagnostics as Any)")
  }

  @Test(
    "what has no effect is warned of",
    arguments: [
      "rules: [{ match: a/x, class: pass, fresh: 1m }]",
      "rules: [{ match: a/x, class: immutable, fresh: 1m }]",
    ])
  func warnings(text: String) throws {
    #expect(try read(text).warnings.all.count == 1)
  }
}
