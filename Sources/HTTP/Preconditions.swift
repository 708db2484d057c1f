// Conditional requests, in the order of RFC 9110 §13.2.2.
//
// The same order serves two callers. Where this proxy is the origin (an answer it writes itself)
// `.failed` is a 412. Where it answers from a stored response, If-Match and If-Unmodified-Since are
// not its to judge (RFC 9111 §4.3.2), but to ignore them would hand the bytes of one version to a
// client that resumes another: there `.failed` means that the request goes to the origin as it is.

/// Evaluation of If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since and If-Range.
public enum Preconditions {
  public enum Outcome: Sendable {
    /// Perform the method.
    case proceed
    /// Answer 304.
    case notModified
    /// Answer 412; as a cache, forward instead of answering.
    case failed
  }

  /// Answers the conditions of a request from the validators of the selected representation.
  ///
  /// - Parameters:
  ///   - status: of the response that would be sent without conditions. For anything but 2xx they
  ///     are ignored (RFC 9110 §13.2.1).
  ///   - now: Unix seconds; needed for dates with two-digit years only.
  public static func evaluate(
    _ head: borrowing ParsedHead, of bytes: borrowing Span<UInt8>, method: Method,
    status: Status = .ok, validators: Validators, now: Int64
  ) -> Outcome {
    if head.names.isDisjoint(with: conditions) { return .proceed }
    return outcome(head, bytes, method, status, validators, now)
  }

  /// The same for fields that own their bytes.
  public static func evaluate(
    _ fields: FieldSection, method: Method, status: Status = .ok, validators: Validators,
    now: Int64
  ) -> Outcome {
    outcome(fields, fields.bytes.span, method, status, validators, now)
  }

  /// Step 5 of the order: whether a Range in the request, if there is one, may be honoured.
  public static func allowsRange(
    _ head: borrowing ParsedHead, of bytes: borrowing Span<UInt8>, validators: Validators,
    now: Int64
  ) -> Bool {
    rangeAllowed(head, bytes, validators, now)
  }

  /// The same for fields that own their bytes.
  public static func allowsRange(
    _ fields: FieldSection, validators: Validators, now: Int64
  ) -> Bool {
    rangeAllowed(fields, fields.bytes.span, validators, now)
  }

  /// The fields that make a request conditional, If-Range aside.
  public static var conditions: FieldNameSet {
    FieldNameSet(.ifMatch, .ifUnmodifiedSince, .ifNoneMatch, .ifModifiedSince)
  }

  private static func rangeAllowed(
    _ fields: borrowing some FieldIndex & ~Copyable, _ bytes: borrowing Span<UInt8>,
    _ validators: Validators, _ now: Int64
  ) -> Bool {
    guard fields.names.contains(.ifRange) else { return true }
    guard let slot = fields.singleton(.ifRange) else { return false }
    return IfRange.holds(bytes.extracting(slot.value), for: validators, now: now)
  }

  private static func outcome(
    _ fields: borrowing some FieldIndex & ~Copyable, _ bytes: borrowing Span<UInt8>,
    _ method: Method, _ status: Status, _ validators: Validators, _ now: Int64
  ) -> Outcome {
    guard status.kind == .successful else { return .proceed }

    // Steps 1 and 2: has the representation stayed what the client believes it is?
    if fields.names.contains(.ifMatch) {
      guard anyMatches(.ifMatch, fields, bytes, validators.entityTag, strongly: true) else {
        return .failed
      }
    } else if let date = date(.ifUnmodifiedSince, fields, bytes, now),
      // Where there is no modification date the condition must be ignored (§13.1.4).
      let modified = validators.lastModified, modified > date
    {
      return .failed
    }

    // Steps 3 and 4: does the client have it already?
    let isRetrieval = method == .get || method == .head
    if fields.names.contains(.ifNoneMatch) {
      if anyMatches(.ifNoneMatch, fields, bytes, validators.entityTag, strongly: false) {
        return isRetrieval ? .notModified : .failed
      }
    } else if isRetrieval, let date = date(.ifModifiedSince, fields, bytes, now) {
      // Without Last-Modified a cache compares with Date (RFC 9111 §4.3.2).
      if validators.lastModified ?? validators.date <= date { return .notModified }
    }
    return .proceed
  }

  private static func anyMatches(
    _ name: FieldName, _ fields: borrowing some FieldIndex & ~Copyable,
    _ bytes: borrowing Span<UInt8>, _ tag: EntityTag?, strongly: Bool
  ) -> Bool {
    var start = 0
    while let index = fields.next(name, from: start) {
      let value = bytes.extracting(fields.slot(at: index).value)
      switch EntityTag.search(value, for: tag, strongly: strongly) {
      case .any, .contains: return true
      case .lacks: start = index + 1
      }
    }
    return false
  }

  // A condition with a date that is malformed or there twice must be ignored (§13.1.3, §13.1.4).
  private static func date(
    _ name: FieldName, _ fields: borrowing some FieldIndex & ~Copyable,
    _ bytes: borrowing Span<UInt8>, _ now: Int64
  ) -> Int64? {
    guard let slot = fields.singleton(name) else { return nil }
    return HTTPDate.parse(bytes.extracting(slot.value), now: now)
  }
}
