// How long a response stays fresh, and how old it is (RFC 9111 §4.2).
//
//   lifetime   s-maxage, else max-age, else Expires - Date, else a heuristic, else 0
//   age        what it had when it arrived, plus the time it has been here
//
// All is settled when a response is stored or loaded; a lookup adds and compares. Every operation is
// clamped to 2^31 seconds (§1.2.2), so no value from the wire can overflow or make time run
// backwards.

import HTTP

/// Freshness of one stored response. Times are Unix seconds.
public struct Freshness: Sendable, Hashable, BitwiseCopyable {
  public struct Flags: OptionSet, Sendable, Hashable, BitwiseCopyable {
    public let rawValue: UInt8
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `no-cache`: not without validation, however fresh.
    @inlinable public static var alwaysValidate: Flags { Flags(rawValue: 1 << 0) }
    /// Once stale, not without validation, whatever the client or an outage says.
    @inlinable public static var staleForbidden: Flags { Flags(rawValue: 1 << 1) }
    /// The origin gave no lifetime; this one is a guess.
    @inlinable public static var heuristic: Flags { Flags(rawValue: 1 << 2) }
    /// The origin gave a lifetime, be it 0.
    @inlinable public static var explicit: Flags { Flags(rawValue: 1 << 3) }
    /// The content does not change while fresh, even when a client reloads (RFC 8246).
    @inlinable public static var immutable: Flags { Flags(rawValue: 1 << 4) }
    /// The status is 2xx: this is the resource itself, not news of a failure to get it.
    @inlinable public static var successful: Flags { Flags(rawValue: 1 << 5) }
    /// The status is 404 or 410: news that the resource is not there.
    @inlinable public static var missing: Flags { Flags(rawValue: 1 << 6) }
    /// The lifetime is one that a rule of the operator gives.
    @inlinable public static var configured: Flags { Flags(rawValue: 1 << 7) }
  }

  /// Freshness lifetime, in seconds.
  public var lifetime: Int64
  /// Age at `responseTime` (§4.2.3).
  public var correctedInitialAge: Int64
  /// When the response, or the 304 that freshened it last, arrived.
  public var responseTime: Int64
  /// Seconds past the lifetime in which a stale answer may be sent while it is validated
  /// (RFC 5861 §3).
  public var staleWhileRevalidate: Int64
  /// The same for a failing origin (RFC 5861 §4); nil where nothing is said of it.
  public var staleIfError: Int64?
  public var flags: Flags

  @inlinable
  public init(
    lifetime: Int64, correctedInitialAge: Int64, responseTime: Int64,
    staleWhileRevalidate: Int64 = 0, staleIfError: Int64? = nil, flags: Flags = []
  ) {
    self.lifetime = lifetime
    self.correctedInitialAge = correctedInitialAge
    self.responseTime = responseTime
    self.staleWhileRevalidate = staleWhileRevalidate
    self.staleIfError = staleIfError
    self.flags = flags
  }

  /// Current age in seconds: what goes into the Age field (§4.2.3).
  ///
  /// A clock set back since does not make the response younger than it was on arrival.
  @inlinable
  public func currentAge(at now: Int64) -> Int64 {
    let resident = max(0, DeltaSeconds.difference(now, responseTime))
    return min(correctedInitialAge &+ resident, DeltaSeconds.maximum)
  }

  /// Whether the lifetime exceeds the age (§4.2). Whether it may be used is for `Reuse` to say.
  @inlinable
  public func isFresh(at now: Int64) -> Bool { lifetime > currentAge(at: now) }

  /// Seconds of freshness left; negative when stale.
  @inlinable
  public func remaining(at now: Int64) -> Int64 { lifetime &- currentAge(at: now) }

  // MARK: Making

  /// The share of the time since the last modification that a heuristic lifetime gets: a tenth, the
  /// typical setting RFC 9111 §4.2.2 names.
  static var heuristicDivisor: Int64 { 10 }

  /// The longest heuristic lifetime: a day, beyond which RFC 7234 §5.5.4 wanted a guess to carry a
  /// warning.
  public static var heuristicMaximum: Int64 { 86_400 }

  /// Settles lifetime and age of a response.
  ///
  /// - Parameters:
  ///   - date: the origin's Date, or `responseTime` if it sent none.
  ///   - age: the value of Age it arrived with, 0 if none.
  ///   - requestTime: when the request for it was sent.
  public init(
    status: Status, fields: FieldSection, directives: ResponseDirectives, validators: Validators,
    age: Int64, requestTime: Int64, responseTime: Int64
  ) {
    let date = validators.date
    let apparent = max(0, DeltaSeconds.difference(responseTime, date))
    let delay = max(0, DeltaSeconds.difference(responseTime, requestTime))
    let corrected = DeltaSeconds.clamped(DeltaSeconds.clamped(age) &+ delay)
    self.init(
      lifetime: 0, correctedInitialAge: max(apparent, corrected), responseTime: responseTime,
      staleWhileRevalidate: directives.staleWhileRevalidate ?? 0,
      staleIfError: directives.staleIfError)

    if directives.flags.contains(.noCache) { flags.insert(.alwaysValidate) }
    if directives.forbidsStale { flags.insert(.staleForbidden) }
    if directives.flags.contains(.immutable) { flags.insert(.immutable) }
    if status.kind == .successful { flags.insert(.successful) }
    if status.rawValue == 404 || status.rawValue == 410 { flags.insert(.missing) }

    // The first that applies (§4.2.1).
    if let seconds = directives.sMaxAge ?? directives.maxAge {
      lifetime = seconds
      flags.insert(.explicit)
    } else if !directives.flags.contains(.targeted), fields.contains(.expires) {
      lifetime = Self.expires(fields, date: date, now: responseTime)
      flags.insert(.explicit)
    } else if let modified = validators.lastModified, Self.mayBeGuessed(status, directives) {
      let interval = max(0, DeltaSeconds.difference(date, modified))
      lifetime = min(interval / Self.heuristicDivisor, Self.heuristicMaximum)
      flags.insert(.heuristic)
    }
  }

  /// Whether the origin's silence about a lifetime may be taken for a guess (§4.2.2): for statuses
  /// that RFC 9110 §15.1 lists, and where the origin says `public`. Never for an error, though the
  /// list has some: nobody wants a failure kept that its origin did not ask to be kept.
  static func mayBeGuessed(_ status: Status, _ directives: ResponseDirectives) -> Bool {
    status.rawValue < 400
      && (status.isHeuristicallyCacheable || directives.flags.contains(.isPublic))
  }

  // An Expires that is no date, `0` above all, lies in the past (§5.3). Several that differ make the
  // response stale (§4.2.1).
  private static func expires(_ fields: FieldSection, date: Int64, now: Int64) -> Int64 {
    let values = fields.all(.expires)
    guard let first = values.first, values.dropFirst().allSatisfy({ $0 == first }),
      let expires = HTTPDate.parse(first.span, now: now)
    else { return 0 }
    return max(0, DeltaSeconds.difference(expires, date))
  }

  /// The age a response arrived with. Of a list the first member counts, and what is no number is
  /// ignored (RFC 9111 §5.1).
  public static func receivedAge(_ fields: FieldSection) -> Int64 {
    guard let value = fields.first(.age) else { return 0 }
    let end = value.firstIndex(of: 0x2C) ?? value.endIndex
    let member = value[value.startIndex..<end].span
    let range = member.trimmingWhitespace(0..<member.count)
    return DeltaSeconds.parse(member.extracting(range)) ?? 0
  }
}
