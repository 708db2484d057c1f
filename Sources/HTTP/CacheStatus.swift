// Cache-Status (RFC 9211): what this cache did with a request, told on every answer.
//
//   Cache-Status: Holdfast; hit; ttl=86400
//   Cache-Status: Holdfast; fwd=stale; fwd-status=304; ttl=3600
//   Cache-Status: Holdfast; fwd=uri-miss; fwd-status=200; stored
//   Cache-Status: Holdfast; fwd=uri-miss; detail=response-no-store
//   Cache-Status: Holdfast; detail=only-if-cached
//
// Each cache on the way adds its member at the end, so ours goes after what upstream sent.

/// One member of a Cache-Status field, ours.
public struct CacheStatus: Sendable, Equatable {
  /// Why a request was forwarded (RFC 9211 §2.2).
  public enum ForwardReason: UInt8, CaseIterable, Sendable {
    /// The cache was told not to handle this request.
    case bypass
    /// The method cannot be answered by a cache.
    case method
    /// Nothing is stored for this URI.
    case uriMiss
    /// Something is stored for this URI, but selected by other request fields.
    case varyMiss
    /// Nothing usable is stored, and no more is said.
    case miss
    /// The request's own directives demand it.
    case request
    /// The stored response is stale.
    case stale
    /// Only a part of what was asked for is stored.
    case partial

    public var token: StaticString {
      switch self {
      case .bypass: "bypass"
      case .method: "method"
      case .uriMiss: "uri-miss"
      case .varyMiss: "vary-miss"
      case .miss: "miss"
      case .request: "request"
      case .stale: "stale"
      case .partial: "partial"
      }
    }
  }

  /// Nil: it was a hit, unless `isOwn`.
  public var forwarded: ForwardReason?
  /// The status upstream answered with, if the request was forwarded.
  public var forwardStatus: Status?
  /// Seconds of freshness left, negative when stale; nil when that makes no sense.
  public var timeToLive: Int64?
  /// Whether the forwarded request's answer was stored.
  public var isStored = false
  /// Whether the request was answered by one that was under way already.
  public var isCollapsed = false
  /// A word that only this implementation understands: the name of a rule, a token.
  public var detail: StaticString?
  /// This cache made the answer itself: neither was it stored nor was anybody asked.
  public var isOwn = false

  public init(
    forwarded: ForwardReason?, forwardStatus: Status? = nil, timeToLive: Int64? = nil,
    isStored: Bool = false, isCollapsed: Bool = false, detail: StaticString? = nil
  ) {
    self.forwarded = forwarded
    self.forwardStatus = forwardStatus
    self.timeToLive = timeToLive
    self.isStored = isStored
    self.isCollapsed = isCollapsed
    self.detail = detail
  }

  /// Answered from the store.
  @inlinable
  public static func hit(timeToLive: Int64) -> CacheStatus {
    CacheStatus(forwarded: nil, timeToLive: timeToLive)
  }

  /// Made here, for lack of an answer: `detail` says why nobody was asked.
  public static func own(_ detail: StaticString?) -> CacheStatus {
    var status = CacheStatus(forwarded: nil, detail: detail)
    status.isOwn = true
    return status
  }

  /// Appends the member, without the field's name.
  ///
  /// - Parameter cache: our name, a token.
  public func serialise(as cache: StaticString = "Holdfast", into output: inout [UInt8]) {
    output.append(literal: cache)
    if let forwarded {
      output.append(literal: "; fwd=")
      output.append(literal: forwarded.token)
      if let forwardStatus {
        output.append(literal: "; fwd-status=")
        output.appendDecimal(Int64(forwardStatus.rawValue))
      }
      if isStored { output.append(literal: "; stored") }
      if isCollapsed { output.append(literal: "; collapsed") }
    } else if !isOwn {
      output.append(literal: "; hit")
    }
    if let timeToLive {
      // An sf-integer has at most 15 digits (RFC 9651 §3.3.1).
      output.append(literal: "; ttl=")
      output.appendDecimal(min(max(timeToLive, -999_999_999_999_999), 999_999_999_999_999))
    }
    if let detail {
      output.append(literal: "; detail=")
      output.append(literal: detail)
    }
  }

  public static func == (left: CacheStatus, right: CacheStatus) -> Bool {
    var (first, second): ([UInt8], [UInt8]) = ([], [])
    left.serialise(into: &first)
    right.serialise(into: &second)
    return first == second
  }
}

extension Array where Element == UInt8 {
  /// Appends the bytes of a literal.
  @inlinable
  public mutating func append(literal: StaticString) {
    literal.withUTF8Buffer { unsafe append(contentsOf: $0) }
  }
}
