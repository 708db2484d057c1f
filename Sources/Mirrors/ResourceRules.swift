// What the operator says about resources, by patterns for their URIs, and what is known of package files
// where the operator says nothing. Asked for each request that is looked up, so patterns are compiled
// once; what is asked is the key, the same for all ways in.

import Caching
import HTTP

/// The rules of a configuration, in order: the first whose pattern matches decides.
public struct ResourceRules: Sendable {
  /// One rule.
  public struct Rule: Sendable {
    public var pattern: URIPattern
    /// Nil: the operator does not say, and what is known of package files holds.
    public var kind: ResourcePolicy.Kind?
    /// Everything the rule says but its kind.
    public var terms: ResourcePolicy

    public init(_ pattern: URIPattern, kind: ResourcePolicy.Kind?, terms: ResourcePolicy) {
      self.pattern = pattern
      self.kind = kind
      self.terms = terms
    }
  }

  public let rules: [Rule]

  public init(_ rules: [Rule] = []) { self.rules = rules }

  @inlinable
  public var isEmpty: Bool { rules.isEmpty }

  /// What a resource is, and how it is treated.
  public struct Classification: Sendable, BitwiseCopyable {
    public var match: PathRules.Match?
    public var terms: ResourceTerms

    public init(_ match: PathRules.Match? = nil, _ terms: ResourceTerms = .standard) {
      self.match = match
      self.terms = terms
    }

    public var kind: ResourceKind? { match?.kind }
  }

  /// What is known of a target URI's key. Allocates nothing.
  /// - Parameter mirror: what the mirror says that the request came by.
  public func classify(
    _ key: borrowing Span<UInt8>, below mirror: PathRules.Below? = nil
  ) -> Classification {
    let match = PathRules.match(key, below: mirror)
    let known = match?.kind.terms ?? .standard
    for index in rules.indices where rules[index].pattern.matches(key) {
      return Classification(match, Self.terms(of: rules[index], known))
    }
    return Classification(match, known)
  }

  /// The terms for a target URI's key.
  public func terms(of key: borrowing Span<UInt8>) -> ResourceTerms { classify(key).terms }

  /// The policy for a target URI's key.
  public func policy(of key: borrowing Span<UInt8>) -> ResourcePolicy { classify(key).terms.policy }

  private static func terms(of rule: Rule, _ known: ResourceTerms) -> ResourceTerms {
    var terms = ResourceTerms(rule.terms)
    // Whoever sets a lifetime against the origin's word does not mean "for ever".
    terms.policy.kind = rule.kind ?? (rule.terms.overridesOrigin ? .mutable : known.policy.kind)
    // A rule with a class or a lifetime of its own knows better; otherwise what it leaves open stays as it is known.
    guard rule.kind == nil, rule.terms.lifetime == nil else { return terms }
    terms.policy.lifetime = known.policy.lifetime
    terms.policy.negativeLifetime = max(rule.terms.negativeLifetime, known.policy.negativeLifetime)
    terms.policy.staleIfError = max(rule.terms.staleIfError, known.policy.staleIfError)
    terms.longest = known.longest
    terms.longestMissing = rule.terms.negativeLifetime > 0 ? nil : known.longestMissing
    terms.restTime = known.restTime
    return terms
  }
}
