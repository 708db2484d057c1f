// Incomplete responses: whose beginning is worth keeping, how the rest is asked for, and when the two parts make a
// whole (RFC 9111 §3.3, §3.4; RFC 9110 §14.4, §15.3.7.3).
//
// Parts are joined on the word of a strong validator only, and only where the part that came begins at the very byte
// where the kept one ends and goes to the end. Everything else means to fetch the whole anew, which is never wrong.

import HTTP

/// Completing what an earlier fetch has begun.
public enum Completion {
  /// Whether the rest of this response could be asked for later, should it break off.
  ///
  /// Not of compressed content: there are origins that compress on the way out, each time anew, and leave the tag as it was.
  public static func isPossible(for response: StoredResponse) -> Bool {
    guard response.status == .ok, response.validators.hasStrong,
      !response.fields.contains(.contentRange), !isCoded(response.fields)
    else { return false }
    // RFC 9110 §14.3: `none` says that it is of no use to ask.
    return offersRanges(response) != false
  }

  /// Whether the origin has said that the rest can be asked for: it was not only not denied.
  public static func isOffered(for response: StoredResponse) -> Bool {
    isPossible(for: response) && offersRanges(response) == true
  }

  /// Whether the rest could be asked for where nothing strong tells one version from another: so that it begins before
  /// what has come ends, and what comes twice can be compared.
  /// - Parameter hasDigest: what the whole has to be is known, and decides in the end.
  public static func isPossibleOverlapping(
    for response: StoredResponse, length: Int64?, hasDigest: Bool
  ) -> Bool {
    guard response.status == .ok, !response.fields.contains(.contentRange),
      offersRanges(response) == true, !isCoded(response.fields)
    else { return false }
    // What is compared is a part of it only: a date that is no older than the answer vouches for nothing else.
    return hasDigest || response.validators.isLastModifiedStrong && length != nil
  }

  /// Whether content is compressed, or has been: its bytes may be others each time (RFC 9110 §8.8.3.3 wants another tag
  /// then, which not every origin gives).
  /// `identity` says that it is not (§8.4.1 asks not to send it, and some do).
  public static func isCoded(_ fields: FieldSection) -> Bool {
    guard let coding = fields.combinedValue(.contentEncoding) else { return false }
    return !coding.isEmpty && !coding.span.equalsToken("identity")
  }

  /// What Accept-Ranges says; nil where it says nothing.
  private static func offersRanges(_ response: StoredResponse) -> Bool? {
    var offers: Bool?
    for index in 0..<response.fields.count
    where response.fields.known(at: index) == .acceptRanges {
      let value = Array(response.fields.value(at: index))
      let span = value.span
      var position = 0
      while let element = span.nextListElement(from: &position, to: span.count) {
        if span.extracting(element).equalsToken("none") { return false }
        if span.extracting(element).equalsToken("bytes") { offers = true }
      }
    }
    return offers
  }

  /// Turns a request into one for the rest of a response, or for all of it if it has changed meanwhile.
  ///
  /// - Parameters:
  ///   - end: one past the last byte that is wanted; nil for all there is.
  ///   - isConditional: for all of it if it has changed: only with a strong validator.
  public static func ask(
    for stored: StoredResponse, from offset: Int64, to end: Int64? = nil,
    isConditional: Bool = true, in request: inout FieldSection
  ) {
    for name in [
      FieldName.ifMatch, .ifNoneMatch, .ifModifiedSince, .ifUnmodifiedSince, .ifRange, .range,
    ] {
      request.remove(name)
    }
    var range = Array("bytes=".utf8)
    range.appendDecimal(offset)
    range.append(UInt8(ascii: "-"))
    if let end { range.appendDecimal(end - 1) }
    request.append(.range, range)
    guard isConditional else { return }
    // As the origin wrote it; RFC 9110 §13.1.5 wants a strong one, and a date only where there is no tag.
    let validator = stored.validators.entityTag == nil ? FieldName.lastModified : .etag
    if let value = stored.fields.only(validator) { request.append(.ifRange, Array(value)) }
  }

  /// What a 206 is to the beginning that is kept.
  public enum Outcome: Sendable {
    /// The rest of it. The response as it is from now on, and its whole length.
    case rest(StoredResponse, length: Int64)
    /// Something else: the two must not be joined.
    case unrelated
  }

  /// Compares a 206 with the response whose beginning is kept.
  ///
  /// - Parameters:
  ///   - offset: how many bytes are kept.
  ///   - fields: of the 206, without those of the connection.
  ///   - announced: the length of its content, if its framing says one.
  ///   - request: the fields of the client's request.
  public static func join(
    _ stored: StoredResponse, keptUpTo offset: Int64, with fields: FieldSection,
    announced: UInt64?, request: FieldSection, requestTime: Int64, responseTime: Int64,
    policy: ResourcePolicy = .standard
  ) -> Outcome {
    // Several parts have no Content-Range of their own, and were not asked for.
    guard let value = fields.only(.contentRange).map({ Array($0) }),
      let part = ContentRange(value.span), let range = part.range,
      let length = part.completeLength, range.lowerBound == offset, range.upperBound == length,
      stored.contentLength == nil || stored.contentLength == length,
      announced == nil || announced == UInt64(clamping: length - offset),
      !isCoded(fields),
      shareStrongValidator(stored, fields, now: responseTime)
    else { return .unrelated }
    // RFC 9111 §3.4: the stored fields are updated as by a 304.
    guard
      case .updated(let response) = Validation.freshen(
        stored, with: fields, request: request, requestTime: requestTime,
        responseTime: responseTime, policy: policy)
    else { return .unrelated }
    return .rest(response.completed(length: length), length: length)
  }

  /// Whether a 206 is the part of `stored` that begins at `offset`, of the same version as far as its head tells.
  ///
  /// - Parameters:
  ///   - end: one past its last byte; nil for the end of the whole.
  ///   - whole: the length of the whole, if it is known.
  ///   - announced: the length of its content, if its framing says one.
  ///   - isStrong: a strong validator has to be the same; else what there is has to be the same, and what comes twice is
  ///     still to be compared.
  public static func isPart(
    of stored: StoredResponse, from offset: Int64, to end: Int64? = nil, whole: Int64?,
    with fields: FieldSection, announced: UInt64?, isStrong: Bool, now: Int64
  ) -> Bool {
    guard let value = fields.only(.contentRange).map({ Array($0) }),
      let part = ContentRange(value.span), let range = part.range,
      let length = part.completeLength, range.lowerBound == offset,
      range.upperBound == end ?? length, whole == nil || whole == length,
      announced == nil || announced == UInt64(clamping: range.count), !isCoded(fields)
    else { return false }
    return isStrong
      ? shareStrongValidator(stored, fields, now: now) : shareValidators(stored, fields, now: now)
  }

  /// Whether a 200 may be the same version as `stored`, as far as its head tells.
  ///
  /// - Parameters:
  ///   - length: of the content of `stored`, if it is known.
  ///   - announced: by the framing of the other one.
  public static func isSameVersion(
    _ stored: StoredResponse, length: Int64?, with fields: FieldSection, announced: UInt64?,
    now: Int64
  ) -> Bool {
    guard shareValidators(stored, fields, now: now),
      stored.fields.only(.contentEncoding).map({ Array($0) })
        == fields.only(.contentEncoding).map({ Array($0) })
    else { return false }
    guard let announced else { return length == nil }
    return length.map { UInt64(clamping: $0) == announced } ?? true
  }

  /// Whether what says that they are the same says so beyond doubt: their bytes are the same.
  public static func shareStrongValidator(
    _ stored: StoredResponse, _ fields: FieldSection, now: Int64
  ) -> Bool {
    let others = Validators(fields, receivedAt: now)
    if let tag = stored.validators.entityTag {
      return others.entityTag.map { $0.matchesStrongly(tag) } ?? false
    }
    return !fields.contains(.etag) && stored.validators.isLastModifiedStrong
      && others.lastModified == stored.validators.lastModified
  }

  /// All the validators there are, be they weak.
  private static func shareValidators(
    _ stored: StoredResponse, _ fields: FieldSection, now: Int64
  ) -> Bool {
    let before = stored.validators
    let after = Validators(fields, receivedAt: now)
    switch (before.entityTag, after.entityTag) {
    case (nil, nil): break
    case (let before?, let after?): guard before.matchesWeakly(after) else { return false }
    case (nil, _?), (_?, nil): return false
    }
    return before.lastModified == after.lastModified
  }
}
