// What is remembered of a response, and of the request that got it.
//
// It is made from five things, status, fields, two times and variance, and from nothing else: these
// the store writes down, and the rest is worked out again when a record is loaded. To make that hold,
// the initialiser brings the fields into the form they are kept in, and doing so twice changes
// nothing.

import HTTP

/// A response as the cache keeps it, without its content.
public struct StoredResponse: Sendable {
  public let status: Status
  /// As received, without what belongs to one connection (the caller has removed that), without
  /// Age, which every answer needs anew, and without what must not be shared. There always is a
  /// Date.
  public let fields: FieldSection
  /// Unix seconds at which the request was sent, brought forward by the Age the response came
  /// with: an answer of age A fetched now is as old as one of age 0 that took A seconds, and so
  /// the formula of RFC 9111 §4.2.3 needs no third value.
  public let requestTime: Int64
  /// Unix seconds at which the head arrived.
  public let responseTime: Int64
  public let variance: Variance
  /// Which fields say how it may be used: the same for all responses of a store.
  public let targets: TargetedFields

  /// Worked out from the above.
  public let freshness: Freshness
  public let validators: Validators
  /// From Content-Length; nil when the length was not announced.
  public let contentLength: Int64?

  public init(
    status: Status, fields: FieldSection, requestTime: Int64, responseTime: Int64,
    variance: Variance, targets: TargetedFields = .standard
  ) {
    let directives = ResponseDirectives(fields, targets: targets)
    let age = Freshness.receivedAge(fields)
    let validators = Validators(fields, receivedAt: responseTime)
    self.status = status
    self.responseTime = responseTime
    self.variance = variance
    self.targets = targets
    self.validators = validators
    // Saturating: both may come from a damaged or foreign record.
    let (earlier, overflow) = requestTime.subtractingReportingOverflow(age)
    self.requestTime = overflow ? Int64.min : earlier
    self.fields = Self.kept(
      fields, unshared: directives.unsharedFields, responseTime: responseTime)
    freshness = Freshness(
      status: status, fields: fields, directives: directives, validators: validators, age: 0,
      requestTime: self.requestTime, responseTime: responseTime)
    contentLength = fields.only(.contentLength).flatMap { $0.span.decimal }
  }

  private static func kept(
    _ fields: FieldSection, unshared: [[UInt8]], responseTime: Int64
  ) -> FieldSection {
    var kept = fields
    kept.remove(.age)
    kept.removeAll { known, name, _ in isUnshared(known, name, listed: unshared) }
    // A cache with a clock adds a missing Date, and may replace a broken one (RFC 9110 §6.6.1).
    let date = kept.only(.date).flatMap { HTTPDate.parse($0.span, now: responseTime) }
    if date == nil { kept.set(.date, HTTPDate.bytes(responseTime)) }
    kept.compact()
    return kept
  }

  // Set-Cookie is never kept: a cookie is for one client. RFC 9111 §7.3 would allow it, and §3.1
  // would have us keep every field; no build needs a cookie made for another.
  private static func isUnshared(
    _ known: FieldName, _ name: ArraySlice<UInt8>, listed: [[UInt8]]
  ) -> Bool {
    known == .setCookie || listed.contains { $0.span.equalsIgnoringCase(name.span) }
  }

  /// The fields of a response that are for the client whose request it answers, and not kept: cookies,
  /// and what `private="…"` and `no-cache="…"` list.
  public static func unshared(
    of fields: FieldSection, targets: TargetedFields = .standard
  ) -> FieldSection {
    let listed = ResponseDirectives(fields, targets: targets).unsharedFields
    guard !listed.isEmpty || fields.contains(.setCookie) else { return FieldSection() }
    var unshared = fields
    unshared.removeAll { known, name, _ in !isUnshared(known, name, listed: listed) }
    return unshared
  }

  /// The same response once its content is complete: Content-Length says how long it turned out to
  /// be.
  public func completed(length: Int64) -> StoredResponse {
    if contentLength == length { return self }
    var fields = fields
    var digits: [UInt8] = []
    digits.appendDecimal(length)
    fields.set(.contentLength, digits)
    return StoredResponse(
      status: status, fields: fields, requestTime: requestTime, responseTime: responseTime,
      variance: variance, targets: targets)
  }

  /// The same response, stale from now on: its origin has said that it is not what it was, and only a
  /// validation can tell (RFC 9111 §4.3.5). As if it had taken the whole of its lifetime to arrive.
  public func expired(at now: Int64) -> StoredResponse {
    guard freshness.isFresh(at: now) else { return self }
    let resident = max(0, DeltaSeconds.difference(now, responseTime))
    let (sent, overflow) = responseTime.subtractingReportingOverflow(
      max(0, freshness.lifetime - resident))
    return StoredResponse(
      status: status, fields: fields, requestTime: overflow ? .min : sent,
      responseTime: responseTime, variance: variance, targets: targets)
  }

  /// What the freshness was settled from.
  public var directives: ResponseDirectives { ResponseDirectives(fields, targets: targets) }
}
