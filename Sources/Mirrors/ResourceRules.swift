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

  /// The policy for a target URI's key. Allocates nothing.
  public func policy(of key: borrowing Span<UInt8>) -> ResourcePolicy {
    for index in rules.indices where rules[index].pattern.matches(key) {
      var policy = rules[index].terms
      // Whoever sets a lifetime against the origin's word does not mean "for ever".
      policy.kind =
        rules[index].kind
        ?? (policy.overridesOrigin ? .mutable : PackageRules.policy(of: key).kind)
      return policy
    }
    return PackageRules.policy(of: key)
  }
}
