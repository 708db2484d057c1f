// What is known about a resource beyond what its origin says.
//
// A package mirror knows that a file under a version never changes, or that an index must not be
// older than some minutes whatever its origin claims. Such knowledge is applied when a response is
// read, not when it is stored, so a changed rule takes effect at once. It is knowledge about the
// resource: of a stored 404 or redirect nothing is known, and these are never made to last longer
// than their origin said. The standard policy changes nothing: plain RFC 9111.

import HTTP

/// Adjustments to freshness and to what clients may demand.
public struct ResourcePolicy: Sendable, Hashable, BitwiseCopyable {
  /// The lifetime is brought into these bounds, in seconds.
  public var minimumLifetime: Int64 = 0
  public var maximumLifetime: Int64 = DeltaSeconds.maximum
  /// Clients cannot make this cache ask upstream again: their no-cache, max-age and min-fresh are
  /// ignored. For what never changes; build tools send `no-cache` by habit.
  public var ignoresClientFreshness = false
  /// The origin's no-cache and must-revalidate are ignored, and so is what kept a response from
  /// being stored for want of a lifetime.
  public var ignoresOriginValidation = false
  /// How long past its lifetime a response may be served while upstream cannot be reached
  /// (RFC 9111 §4.2.4). A week: an outage is mended by then, and a build fails rather than run on
  /// what everybody else left behind.
  public var staleWhenDisconnected: Int64 = 7 * 86_400

  @inlinable
  public init() {}

  /// Plain RFC 9111.
  @inlinable
  public static var standard: ResourcePolicy { ResourcePolicy() }

  /// The content under this URI never changes.
  @inlinable
  public static var immutable: ResourcePolicy {
    var policy = ResourcePolicy()
    policy.minimumLifetime = DeltaSeconds.maximum
    policy.ignoresClientFreshness = true
    policy.ignoresOriginValidation = true
    policy.staleWhenDisconnected = DeltaSeconds.maximum
    return policy
  }

  /// Whether a client's demands for freshness are ignored for this response.
  @inlinable
  public func overrulesClient(_ freshness: Freshness) -> Bool {
    ignoresClientFreshness && freshness.flags.contains(.successful)
  }

  /// Freshness as this policy sees it.
  @inlinable
  public func adjust(_ freshness: Freshness) -> Freshness {
    var adjusted = freshness
    adjusted.lifetime = min(maximumLifetime, freshness.lifetime)
    guard freshness.flags.contains(.successful) else { return adjusted }
    adjusted.lifetime = max(minimumLifetime, adjusted.lifetime)
    if minimumLifetime >= DeltaSeconds.maximum {
      // For ever means for ever: an age at the limit of what can be expressed must not end it.
      adjusted.lifetime = DeltaSeconds.maximum &+ 1
    }
    if ignoresOriginValidation {
      adjusted.flags.subtract([.alwaysValidate, .staleForbidden])
    }
    return adjusted
  }
}
