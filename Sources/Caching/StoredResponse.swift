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

  /// Worked out from the above.
  public let freshness: Freshness
  public let validators: Validators
  /// From Content-Length; nil when the length was not announced.
  public let contentLength: Int64?

  public init(
    status: Status, fields: FieldSection, requestTime: Int64, responseTime: Int64,
    variance: Variance
  ) {
    self.init(
      status: status, fields: fields, directives: ResponseDirectives(fields),
      requestTime: requestTime, responseTime: responseTime, variance: variance)
  }

  init(
    status: Status, fields: FieldSection, directives: ResponseDirectives, requestTime: Int64,
    responseTime: Int64, variance: Variance
  ) {
    let age = Freshness.receivedAge(fields)
    let validators = Validators(fields, receivedAt: responseTime)
    self.status = status
    self.responseTime = responseTime
    self.variance = variance
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

  // Set-Cookie is never kept: a cookie is for one client. RFC 9111 §7.3 would allow it, and §3.1
  // would have us keep every field; no build needs a cookie made for another.
  private static func kept(
    _ fields: FieldSection, unshared: [[UInt8]], responseTime: Int64
  ) -> FieldSection {
    var kept = fields
    kept.remove(.age)
    kept.remove(.setCookie)
    if !unshared.isEmpty {
      kept.removeAll { _, name, _ in
        unshared.contains { $0.span.equalsIgnoringCase(name.span) }
      }
    }
    // A cache with a clock adds a missing Date, and may replace a broken one (RFC 9110 §6.6.1).
    let date = kept.only(.date).flatMap { HTTPDate.parse($0.span, now: responseTime) }
    if date == nil { kept.set(.date, HTTPDate.bytes(responseTime)) }
    kept.compact()
    return kept
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
      variance: variance)
  }

  /// What the freshness was settled from.
  public var directives: ResponseDirectives { ResponseDirectives(fields) }
}
