// May this response be stored (RFC 9111 §3), and if not, which rule says no.
//
// The rules are asked in an order in which the first refusal is also the most telling one. Every
// refusal is a `Reason`; its short word goes into Cache-Status and metrics, its sentence to people.
//
// Stricter than the standard, on purpose:
// - Set-Cookie. RFC 9111 §7.3 lets a response that sets a cookie be stored like any other. A cookie
//   is usually a sign of an answer made for one client, so here the origin has to address shared
//   caches (`public`, `s-maxage`, a targeted field) or list the field (`no-cache="Set-Cookie"`).
//   The cookie itself is not stored in any case.
// - Vary on Authorization, Cookie or any other field that looks like a credential, when the request
//   had it: nobody else would match, and the credential would lie on disk.
// - Statuses that speak of one request rather than of its target: 401, 412, 416 and the like.
// - Errors, unless the origin gives them a lifetime or a rule does: RFC 9110 §15.1 would let 404, 405,
//   410, 414 and 501 be kept on a guess.
// - Responses that could never be used: stale on arrival, with nothing to validate them by.

import HTTP

/// Whether a response may be stored.
public enum Storability: Sendable {
  /// Here is what to store.
  case storable(StoredResponse)
  case not(Reason)

  /// Why a response was not stored.
  public enum Reason: UInt8, CaseIterable, Sendable {
    case method
    case requestNoStore
    case interim
    case partial
    case notModified
    case requestBound
    case notUnderstood
    case responseNoStore
    case privateResponse
    case authorization
    case varyEverything
    case variesOnCredentials
    case setCookie
    case noLifetime
    case neverReusable

    /// A token that names the rule: for Cache-Status details, metrics and logs.
    public var rule: StaticString {
      switch self {
      case .method: "method"
      case .requestNoStore: "request-no-store"
      case .interim: "interim"
      case .partial: "partial"
      case .notModified: "not-modified"
      case .requestBound: "request-bound"
      case .notUnderstood: "not-understood"
      case .responseNoStore: "response-no-store"
      case .privateResponse: "private"
      case .authorization: "authorization"
      case .varyEverything: "vary-everything"
      case .variesOnCredentials: "vary-credentials"
      case .setCookie: "set-cookie"
      case .noLifetime: "no-lifetime"
      case .neverReusable: "never-reusable"
      }
    }

    /// Whether another request for the same target might get a storable answer.
    public var isAboutRequest: Bool {
      switch self {
      case .method, .requestNoStore, .authorization, .requestBound, .variesOnCredentials: true
      case .interim, .partial, .notModified, .notUnderstood, .responseNoStore, .privateResponse,
        .varyEverything, .setCookie, .noLifetime, .neverReusable:
        false
      }
    }

    /// What the rule says, for people.
    public var sentence: String {
      switch self {
      case .method: "Only answers to GET are stored."
      case .requestNoStore: "The request forbids storing its answer (Cache-Control: no-store)."
      case .interim: "The answer is not a final one."
      case .partial: "The answer is only a part of the whole."
      case .notModified: "A 304 renews a stored response and is none itself."
      case .requestBound: "The status speaks of this one request, not of what it asked for."
      case .notUnderstood: "The origin demands a cache that knows this status (must-understand)."
      case .responseNoStore: "The origin forbids storing (Cache-Control: no-store)."
      case .privateResponse: "The answer is for one client only (Cache-Control: private)."
      case .authorization:
        "The request had credentials and the origin does not say that others may have the answer."
      case .varyEverything: "The answer can match no other request (Vary: *, or an unreadable one)."
      case .variesOnCredentials: "The answer depends on the client's credentials (Vary)."
      case .setCookie: "The answer sets a cookie and is not marked as public."
      case .noLifetime:
        "The status cannot be stored unless the origin gives a lifetime, and it gives none."
      case .neverReusable: "The answer was stale on arrival and has no validator to renew it by."
      }
    }
  }

  /// Decides about a final response.
  ///
  /// - Parameters:
  ///   - method: of the request.
  ///   - request: the client's request fields, as they came.
  ///   - fields: the response's, without those of the connection (RFC 9110 §7.6.1).
  ///   - requestTime: Unix seconds at which the request was sent.
  ///   - responseTime: Unix seconds at which the response's head arrived.
  ///   - policy: what is known about the resource.
  ///   - targets: the fields that speak to this cache before Cache-Control does.
  public static func decide(
    method: Method, request: FieldSection, status: Status, fields: FieldSection,
    requestTime: Int64, responseTime: Int64, policy: ResourcePolicy = .standard,
    targets: TargetedFields = .standard
  ) -> Storability {
    guard method == .get else { return .not(.method) }
    guard !RequestDirectives(request).noStore else { return .not(.requestNoStore) }
    if let reason = refusal(of: status) { return .not(reason) }

    let directives = ResponseDirectives(fields, targets: targets)
    // must-understand comes with a no-store for caches that do not know it, and lifts it for those
    // that know the status (§5.2.2.3).
    if directives.flags.contains(.mustUnderstand) {
      guard isUnderstood(status) else { return .not(.notUnderstood) }
    } else if directives.flags.contains(.noStore) {
      return .not(.responseNoStore)
    }
    guard !directives.flags.contains(.isPrivate) else { return .not(.privateResponse) }
    guard !request.contains(.authorization) || directives.allowsSharedUseOfAuthorized else {
      return .not(.authorization)
    }

    let variance = Variance(response: fields, request: request)
    guard !variance.matchesNothing else { return .not(.varyEverything) }
    guard !variance.holdsCredentials else { return .not(.variesOnCredentials) }
    let isKnownResource = policy.kind == .immutable && status.kind == .successful
    if fields.contains(.setCookie), !cookieIsBeside(directives), !isKnownResource {
      return .not(.setCookie)
    }

    let response = StoredResponse(
      status: status, fields: fields, requestTime: requestTime, responseTime: responseTime,
      variance: variance, targets: targets)
    let freshness = policy.adjust(response.freshness)
    let isCacheable =
      Freshness.mayBeGuessed(status, directives) || directives.flags.contains(.isPublic)
      || !freshness.flags.isDisjoint(with: [.explicit, .configured])
    guard isCacheable else { return .not(.noLifetime) }
    guard !response.validators.isEmpty || isReusable(freshness) else {
      return .not(.neverReusable)
    }
    return .storable(response)
  }

  // The last item of §3's list aside, what the status alone decides.
  private static func refusal(of status: Status) -> Reason? {
    switch status.rawValue {
    case ..<200: .interim
    case 206: .partial
    case 304: .notModified
    // About credentials, conditions, ranges, timing or size of a request; RFC 6585 says of 428, 429,
    // 431 and 511 that they must not be stored.
    // 400, 413, 414 and 505 speak of how a request was written: kept, one malformed request would answer all
    // proper ones.
    case 400, 401, 407, 408, 412, 413, 414, 416, 417, 421, 425, 426, 428, 429, 431, 505, 511:
      .requestBound
    default: nil
    }
  }

  // Statuses of which all that matters to a cache is in RFC 9110 and known here.
  private static func isUnderstood(_ status: Status) -> Bool {
    switch status.rawValue {
    case 200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501: true
    default: false
    }
  }

  private static func cookieIsBeside(_ directives: ResponseDirectives) -> Bool {
    directives.sMaxAge != nil || directives.flags.contains(.isPublic)
      || directives.flags.contains(.targeted)
      || directives.unsharedFields.contains(Array("set-cookie".utf8))
  }

  // Whether it can be sent at all as it is: with nothing to renew it by, this is all there will be.
  private static func isReusable(_ freshness: Freshness) -> Bool {
    if freshness.flags.contains(.alwaysValidate) { return false }
    let longest = max(freshness.staleWhileRevalidate, freshness.staleIfError ?? 0)
    let grace = freshness.flags.contains(.staleForbidden) ? 0 : longest
    return freshness.lifetime + grace > freshness.correctedInitialAge
  }
}
