// Which rule speaks for a resource, and where what is known of package files comes in.

import Caching
import HTTP
import Testing

@testable import Mirrors

@Suite struct ResourceRulesTests {
  private func rule(
    _ pattern: String, _ kind: ResourcePolicy.Kind? = nil,
    _ change: (inout ResourcePolicy) -> Void = { _ in }
  ) throws -> ResourceRules.Rule {
    var terms = ResourcePolicy.standard
    change(&terms)
    return ResourceRules.Rule(try URIPattern(pattern), kind: kind, terms: terms)
  }

  private func policy(_ rules: [ResourceRules.Rule], _ key: String) -> ResourcePolicy {
    let bytes = Array(key.utf8)
    return ResourceRules(rules).policy(of: bytes.span)
  }

  private static let package = "http://deb.example.org/pool/a/a_1_all.deb"

  @Test("without rules package files are known, and nothing else")
  func builtIn() {
    #expect(policy([], Self.package) == .immutable)
    #expect(policy([], "http://deb.example.org/other") == .standard)
  }

  @Test("the first rule that matches decides, later ones are not asked")
  func order() throws {
    let rules = [
      try rule("*/index") { $0.lifetime = 1 }, try rule("/**") { $0.lifetime = 2 },
      try rule("/index") { $0.negativeLifetime = 3 },
    ]
    #expect(policy(rules, "http://a/index").lifetime == 1)
    #expect(policy(rules, "http://a/index").negativeLifetime == 0)
    #expect(policy(rules, "http://a/other").lifetime == 2)
  }

  @Test("a rule without a class leaves it to what is known, unless it overrides lifetimes")
  func classes() throws {
    #expect(policy([try rule("/**") { $0.staleIfError = 9 }], Self.package).kind == .immutable)
    #expect(policy([try rule("/**") { $0.staleIfError = 9 }], Self.package).staleIfError == 9)
    let override = try rule("/**") {
      $0.lifetime = 60
      $0.overridesOrigin = true
    }
    #expect(policy([override], Self.package).kind == .mutable)
    #expect(policy([try rule("/**", .mutable)], Self.package).kind == .mutable)
    #expect(policy([try rule("/**", .passed)], Self.package).kind == .passed)
    #expect(policy([try rule("/x", .immutable)], "http://a/x").kind == .immutable)
  }
}
