// What is known about a resource beyond what its origin says: by the shape of a package file's path, or
// by a rule of the operator.
//
// Such knowledge is applied when a response is read, not when it is stored, so a changed rule takes
// effect at once. It speaks of the resource itself, hence of 2xx answers; of what is missing (404,
// 410) it can say for how long that is believed, and of all else nothing. The standard policy adds
// nothing to RFC 9111 but one bound: news of a missing resource is believed for ten minutes at most,
// whatever its origin says.

import HTTP

/// Adjustments to freshness, and to what clients may demand.
public struct ResourcePolicy: Sendable, Hashable, BitwiseCopyable {
  /// What sort of thing the resource is.
  public enum Kind: UInt8, Sendable, BitwiseCopyable {
    /// It may change: RFC 9111 decides.
    case mutable
    /// Its content never changes: fresh for ever, stored without a lifetime of its own. Clients
    /// cannot make this cache ask again (build tools send `no-cache` by habit), and an origin's
    /// no-cache and must-revalidate are ignored.
    case immutable
    /// None of the cache's business: never stored, never answered from the store.
    case passed
  }

  public var kind = Kind.mutable
  /// Freshness lifetime in seconds where the origin gives none.
  public var lifetime: Int64?
  /// `lifetime` holds against what the origin says, its `no-cache` included.
  public var overridesOrigin = false
  /// For how many seconds a 404 or 410 is believed whose origin gives no lifetime; 0 for not at all.
  public var negativeLifetime: Int64 = 0
  /// Seconds past the lifetime, as RFC 5861 has them; where the origin grants more, that holds.
  public var staleWhileRevalidate: Int64 = 0
  public var staleIfError: Int64 = 0

  /// The longest that a missing resource is believed to be missing. What is published a moment after
  /// somebody asked for it should not stay unknown for longer than people wait.
  @inlinable public static var negativeMaximum: Int64 { 600 }

  @inlinable
  public init(_ kind: Kind = .mutable) { self.kind = kind }

  /// Plain RFC 9111.
  @inlinable
  public static var standard: ResourcePolicy { ResourcePolicy() }

  /// The content under this URI never changes.
  @inlinable
  public static var immutable: ResourcePolicy { ResourcePolicy(.immutable) }

  /// How long past its lifetime a response may be served while upstream cannot be reached
  /// (RFC 9111 §4.2.4). A week: an outage is mended by then, and a build fails rather than run on
  /// what everybody else left behind.
  @inlinable
  public var staleWhenDisconnected: Int64 {
    kind == .immutable ? DeltaSeconds.maximum : 7 * 86_400
  }

  /// Whether a client's demands for freshness are ignored for this response.
  @inlinable
  public func overrulesClient(_ freshness: Freshness) -> Bool {
    kind == .immutable && freshness.flags.contains(.successful)
  }

  /// Freshness as this policy sees it.
  @inlinable
  public func adjust(_ freshness: Freshness) -> Freshness {
    if freshness.flags.contains(.missing) { return adjustMissing(freshness) }
    guard freshness.flags.contains(.successful) else { return freshness }
    var adjusted = freshness
    if kind == .immutable {
      // For ever means for ever: an age at the limit of what can be expressed must not end it.
      adjusted.lifetime = DeltaSeconds.maximum &+ 1
      adjusted.flags.subtract([.alwaysValidate, .staleForbidden])
    } else if let lifetime, overridesOrigin || !freshness.flags.contains(.explicit) {
      adjusted.lifetime = lifetime
      adjusted.flags.insert(.configured)
      if overridesOrigin { adjusted.flags.remove(.alwaysValidate) }
    }
    adjusted.staleWhileRevalidate = max(freshness.staleWhileRevalidate, staleWhileRevalidate)
    if staleIfError > 0 { adjusted.staleIfError = max(freshness.staleIfError ?? 0, staleIfError) }
    return adjusted
  }

  @usableFromInline
  func adjustMissing(_ freshness: Freshness) -> Freshness {
    var adjusted = freshness
    if !freshness.flags.contains(.explicit) {
      adjusted.lifetime = negativeLifetime
      if negativeLifetime > 0 { adjusted.flags.insert(.configured) }
    }
    adjusted.lifetime = min(adjusted.lifetime, Self.negativeMaximum)
    return adjusted
  }
}
