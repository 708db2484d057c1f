// Incomplete responses: whose beginning is worth keeping, how the rest is asked for, and when the two parts make a
// whole (RFC 9111 §3.3, §3.4; RFC 9110 §14.4, §15.3.7.3).
//
// Parts are joined on the word of a strong validator only, and only where the part that came begins at the very byte
// where the kept one ends and goes to the end. Everything else means to fetch the whole anew, which is never wrong.

import HTTP

/// Completing what an earlier fetch has begun.
public enum Completion {
  /// Whether the rest of this response could be asked for later, should it break off.
  public static func isPossible(for response: StoredResponse) -> Bool {
    guard response.status == .ok, response.validators.hasStrong,
      !response.fields.contains(.contentRange)
    else { return false }
    // RFC 9110 §14.3: `none` says that it is of no use to ask.
    for index in 0..<response.fields.count
    where response.fields.known(at: index) == .acceptRanges {
      let value = Array(response.fields.value(at: index))
      let span = value.span
      var position = 0
      while let element = span.nextListElement(from: &position, to: span.count) {
        if span.extracting(element).equalsToken("none") { return false }
      }
    }
    return true
  }

  /// Turns a request into one for the rest of a response, or for all of it if it has changed meanwhile.
  public static func ask(
    for stored: StoredResponse, from offset: Int64, in request: inout FieldSection
  ) {
    for name in [
      FieldName.ifMatch, .ifNoneMatch, .ifModifiedSince, .ifUnmodifiedSince, .ifRange, .range,
    ] {
      request.remove(name)
    }
    var range = Array("bytes=".utf8)
    range.appendDecimal(offset)
    range.append(UInt8(ascii: "-"))
    request.append(.range, range)
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
      announced == nil || announced == UInt64(length - offset),
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

  private static func shareStrongValidator(
    _ stored: StoredResponse, _ fields: FieldSection, now: Int64
  ) -> Bool {
    let others = Validators(fields, receivedAt: now)
    if let tag = stored.validators.entityTag {
      return others.entityTag.map { $0.matchesStrongly(tag) } ?? false
    }
    return !fields.contains(.etag) && stored.validators.isLastModifiedStrong
      && others.lastModified == stored.validators.lastModified
  }
}
