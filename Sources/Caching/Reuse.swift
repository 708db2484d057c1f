// May this stored response answer that request, now (RFC 9111 §4)?
//
// The caller has found it by key and by variance. What is left depends on three things that are
// all trivial values: the response's freshness, the request's directives, and what is known about
// the resource. The usual case, a fresh response and a client without demands, is decided by a few
// comparisons.

import HTTP

/// How a stored response may be used for a request.
public enum Reuse: Sendable, Hashable, BitwiseCopyable {
  /// Send it, with this Age.
  case fresh(age: Int64)
  /// Send it although it is stale.
  case stale(age: Int64, Grounds)
  /// Ask upstream first.
  case mustValidate(Reason)
  /// The client wants an answer from the cache or none, and this cannot be it: 504
  /// (RFC 9111 §5.2.1.7).
  case notAllowed

  /// What permits a stale answer (§4.2.4).
  public enum Grounds: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    /// The client accepts it: `max-stale`.
    case maxStale
    /// The origin accepts it while it is asked again: `stale-while-revalidate`. The caller has to
    /// start a validation.
    case whileRevalidate

    public var rule: StaticString {
      switch self {
      case .maxStale: "max-stale"
      case .whileRevalidate: "stale-while-revalidate"
      }
    }
  }

  /// Why upstream has to be asked.
  public enum Reason: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    case stale
    case responseNoCache
    case requestNoCache
    case requestMaxAge
    case requestMinFresh

    public var rule: StaticString {
      switch self {
      case .stale: "stale"
      case .responseNoCache: "response-no-cache"
      case .requestNoCache: "request-no-cache"
      case .requestMaxAge: "request-max-age"
      case .requestMinFresh: "request-min-fresh"
      }
    }

    public var sentence: String {
      switch self {
      case .stale: "The stored response is older than it may be."
      case .responseNoCache: "The origin wants to be asked each time (Cache-Control: no-cache)."
      case .requestNoCache: "The client wants the origin to be asked (no-cache)."
      case .requestMaxAge: "The client accepts nothing as old as the stored response (max-age)."
      case .requestMinFresh: "The client wants it to stay fresh longer than it will (min-fresh)."
      }
    }

    /// How Cache-Status tells it.
    public var forwardReason: CacheStatus.ForwardReason {
      switch self {
      case .stale, .responseNoCache: .stale
      case .requestNoCache, .requestMaxAge, .requestMinFresh: .request
      }
    }
  }

  /// Decides.
  ///
  /// - Parameters:
  ///   - stored: the freshness of a response that the request selects.
  ///   - now: Unix seconds.
  @inlinable
  public static func decide(
    _ stored: Freshness, _ directives: RequestDirectives, now: Int64,
    policy: ResourcePolicy = .standard
  ) -> Reuse {
    let freshness = policy.adjust(stored)
    let age = freshness.currentAge(at: now)
    if directives.isDefault || policy.overrulesClient(freshness), freshness.lifetime > age,
      !freshness.flags.contains(.alwaysValidate)
    {
      return .fresh(age: age)
    }
    return decideInFull(freshness, directives, age: age, policy: policy)
  }

  @usableFromInline
  static func decideInFull(
    _ freshness: Freshness, _ directives: RequestDirectives, age: Int64, policy: ResourcePolicy
  ) -> Reuse {
    func validate(_ reason: Reason) -> Reuse {
      directives.onlyIfCached ? .notAllowed : .mustValidate(reason)
    }

    if freshness.flags.contains(.alwaysValidate) { return validate(.responseNoCache) }
    if !policy.overrulesClient(freshness) {
      if directives.noCache { return validate(.requestNoCache) }
      // An age equal to max-age is accepted (§5.2.1.1), so `max-age=0` gets what came this second.
      // RFC 8246 §2: no validation of what is immutable and fresh, unless the client wants just
      // that; a browser's reload says `max-age=0`, who means it says `no-cache`.
      let isSettled = freshness.flags.contains(.immutable) && freshness.lifetime > age
      if let limit = directives.maxAge, age > limit, !isSettled { return validate(.requestMaxAge) }
      if let wanted = directives.minFresh, freshness.lifetime - age < wanted {
        return validate(freshness.lifetime > age ? .requestMinFresh : .stale)
      }
    }
    if freshness.lifetime > age { return .fresh(age: age) }

    let staleness = age - freshness.lifetime
    if !freshness.flags.contains(.staleForbidden) {
      if let accepted = directives.maxStale, staleness <= accepted {
        return .stale(age: age, .maxStale)
      }
      // RFC 5861 §3 counts from the end of the lifetime.
      if staleness < freshness.staleWhileRevalidate { return .stale(age: age, .whileRevalidate) }
    }
    return validate(.stale)
  }

  // MARK: When upstream fails

  /// How asking upstream went wrong.
  public enum Failure: Sendable {
    /// No answer: refused, reset, timed out, no route, or a whole proxy set offline.
    case disconnected
    /// An answer with this status.
    case answered(Status)
  }

  /// Whether the stored response may be sent because validating it failed.
  ///
  /// With no answer at all a cache is "disconnected", and may serve what is stale unless the
  /// response or the client forbids it (RFC 9111 §4.2.4); how long is for the policy to say. With a
  /// 500, 502, 503 or 504 somebody has to have said `stale-if-error` (RFC 5861 §4).
  public static func afterFailure(
    _ stored: Freshness, _ directives: RequestDirectives, now: Int64, failure: Failure,
    policy: ResourcePolicy = .standard
  ) -> Bool {
    let freshness = policy.adjust(stored)
    let age = freshness.currentAge(at: now)
    guard freshness.flags.isDisjoint(with: [.staleForbidden, .alwaysValidate]) else { return false }
    if !policy.overrulesClient(freshness) {
      if directives.noCache { return false }
      if let limit = directives.maxAge, age > limit, directives.staleIfError == nil {
        return false
      }
    }
    let staleness = max(0, age - freshness.lifetime)
    let granted = max(freshness.staleIfError ?? 0, directives.staleIfError ?? 0)
    switch failure {
    case .disconnected:
      // An origin that has set a bound means it (RFC 5861 §4).
      let isBounded = stored.staleIfError != nil
      return staleness <= (isBounded ? granted : max(granted, policy.staleWhenDisconnected))
    case .answered(let status):
      switch status.rawValue {
      case 500, 502, 503, 504:
        return staleness < granted
          || (policy.overrulesClient(freshness) && staleness <= policy.staleWhenDisconnected)
      default: return false
      }
    }
  }
}
