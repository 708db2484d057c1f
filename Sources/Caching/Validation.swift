// Validation: asking the origin whether a stored response is still good, and what a 304 does to it
// (RFC 9111 §4.3).

import HTTP

/// Conditional requests of the cache's own, and their answers.
public enum Validation {
  // MARK: Asking

  /// Makes a request conditional on the validators of a stored response (§4.3.1).
  ///
  /// Conditions of the client are replaced, and its Range goes: the answer is wanted for the cache,
  /// whole. False, and nothing but that has changed, when the response has no validators; then the
  /// request is a plain one.
  @discardableResult
  public static func addConditions(
    for stored: StoredResponse, to request: inout FieldSection
  ) -> Bool {
    for name in [
      FieldName.ifMatch, .ifNoneMatch, .ifModifiedSince, .ifUnmodifiedSince, .ifRange, .range,
    ] {
      request.remove(name)
    }
    if stored.validators.entityTag != nil, let tag = stored.fields.only(.etag) {
      request.append(.ifNoneMatch, tag)
    }
    // As the origin wrote it: some compare bytes. Sent beside an entity tag too, for origins that
    // know dates only (§4.3.1 asks for it).
    if stored.validators.lastModified != nil, let date = stored.fields.only(.lastModified) {
      request.append(.ifModifiedSince, date)
    }
    return !stored.validators.isEmpty
  }

  // MARK: Hearing

  /// What came of a stored response.
  public enum Freshening: Sendable {
    /// Store this in its place, with the same content.
    case updated(StoredResponse)
    /// It may be used for the request at hand but not be kept so. Where the reason lies in that
    /// request alone (`Storability.Reason.isAboutRequest`) the stored response stays as it was, for
    /// others; else the origin forbids now what it allowed, and it has to be removed.
    case unstorable(StoredResponse, Storability.Reason)
    /// The answer speaks of another version. Fetch again, without conditions.
    case unrelated
  }

  /// Freshens a stored response with a 304 (§4.3.4, §3.2).
  ///
  /// - Parameters:
  ///   - fields: of the 304, without those of the connection.
  ///   - request: the fields of the client's request that led to the validation; where Vary has
  ///     changed they say what selects the response from now on.
  ///   - requestTime: Unix seconds at which the validation was sent; `responseTime`: at which the 304
  ///     arrived.
  public static func freshen(
    _ stored: StoredResponse, with fields: FieldSection, request: FieldSection,
    requestTime: Int64, responseTime: Int64, policy: ResourcePolicy = .standard
  ) -> Freshening {
    guard selects(stored, fields, receivedAt: responseTime) else { return .unrelated }
    return update(
      stored, with: fields, request: request, requestTime: requestTime,
      responseTime: responseTime, policy: policy)
  }

  /// What the answer to a HEAD request says about a stored response.
  public enum HeadNews: Sendable {
    /// A GET would have brought the same: store this in its place, with the same content.
    case confirmed(StoredResponse)
    /// It is another version by now: the stored one counts as stale.
    case superseded
    /// Neither can be told.
    case nothing
  }

  /// Compares a stored response with the answer to a HEAD request that selects it (§4.3.5).
  ///
  /// Only a 200 speaks of the resource. It confirms when it has the stored entity tag, and nothing that
  /// differs: neither date nor length. A date alone confirms nothing, though the section would have it
  /// so: two versions may be of one second, and a GET with that date as its condition costs as little.
  ///
  /// - Parameters: as for `freshen`; `fields` are those of the answer.
  public static func hear(
    ofHead status: Status, _ fields: FieldSection, about stored: StoredResponse,
    request: FieldSection, requestTime: Int64, responseTime: Int64,
    policy: ResourcePolicy = .standard
  ) -> HeadNews {
    guard status == .ok else { return .nothing }
    guard stored.status == .ok else { return .superseded }
    if let length = fields.only(.contentLength).flatMap({ $0.span.decimal }),
      let known = stored.contentLength, length != known
    {
      return .superseded
    }
    let new = Validators(fields, receivedAt: responseTime)
    if let tag = new.entityTag {
      guard let ours = stored.validators.entityTag else { return .nothing }
      guard tag.matchesWeakly(ours) else { return .superseded }
    }
    if let date = new.lastModified {
      guard let ours = stored.validators.lastModified else { return .nothing }
      guard date == ours else { return .superseded }
    }
    guard new.entityTag != nil else { return .nothing }
    switch update(
      stored, with: fields, request: request, requestTime: requestTime,
      responseTime: responseTime, policy: policy)
    {
    case .updated(let response): return .confirmed(response)
    case .unstorable(_, let reason): return reason.isAboutRequest ? .nothing : .superseded
    case .unrelated: return .nothing
    }
  }

  /// Whether a 304 speaks of this stored response (§4.3.4).
  ///
  /// An entity tag in it decides, compared strongly if it is strong; else Last-Modified does. A 304
  /// without validators is taken at its word: it answers a condition that named exactly this
  /// response.
  public static func selects(
    _ stored: StoredResponse, _ fields: FieldSection, receivedAt now: Int64
  ) -> Bool {
    if fields.contains(.etag) {
      guard let tag = fields.only(.etag).flatMap({ EntityTag($0.span) }),
        let ours = stored.validators.entityTag
      else {
        // Broken or repeated: it says something, but nobody can tell what; only that it is what came
        // with the stored response.
        return fields.all(.etag) == stored.fields.all(.etag)
      }
      // Origins and the compressing proxies before them weaken a tag on a 304 or forget to; the
      // condition they evaluated was a weak comparison in any case (RFC 9110 §13.1.2). Two strong
      // tags have to be the same.
      return tag.matchesWeakly(ours)
    }
    if fields.contains(.lastModified) {
      let date = fields.only(.lastModified).flatMap { HTTPDate.parse($0.span, now: now) }
      return date != nil && date == stored.validators.lastModified
    }
    return true
  }

  // Every field of the answer replaces the stored ones of its name (§3.2), but for those that
  // describe the stored bytes. Content-Length is exempt by that section, which allows a cache to
  // exempt others it needs to stay consistent: a 304 carries no content, so what it says about the
  // coding, type or range of one (RFC 9110 §15.4.5 tells servers not to) is about nothing, and some
  // frameworks put a default there. The stored entity tag stays: it was the strong one if there was
  // any. Set-Cookie is never stored.
  private static func isKept(_ name: FieldName) -> Bool {
    switch name {
    case .contentLength, .contentEncoding, .contentType, .contentRange, .transferEncoding, .etag,
      .reprDigest, .contentDigest, .digest, .setCookie:
      true
    default: false
    }
  }

  private static func update(
    _ stored: StoredResponse, with fields: FieldSection, request: FieldSection,
    requestTime: Int64, responseTime: Int64, policy: ResourcePolicy
  ) -> Freshening {
    var merged = stored.fields
    // The stored Date belongs to the old answer: with it the renewed response would be as old as
    // before. If the new one has none, it is the time of receipt.
    merged.remove(.date)
    for index in 0..<fields.count where !isKept(fields.known(at: index)) {
      let name = String(decoding: fields.name(at: index), as: UTF8.self)
      merged.remove(named: name)
    }
    for index in 0..<fields.count where !isKept(fields.known(at: index)) {
      merged.append(named: fields.name(at: index), fields.value(at: index))
    }

    let variance =
      fields.contains(.vary)
      ? Variance(response: merged, request: request) : stored.variance
    let response = StoredResponse(
      status: stored.status, fields: merged, requestTime: requestTime,
      responseTime: responseTime, variance: variance, targets: stored.targets)
    // What made it storable once may be gone.
    switch Storability.decide(
      method: .get, request: request, status: stored.status, fields: merged,
      requestTime: requestTime, responseTime: responseTime, policy: policy,
      targets: stored.targets)
    {
    case .storable: return .updated(response)
    case .not(let reason): return .unstorable(response, reason)
    }
  }
}
