// Where the content of a message ends (RFC 9112 §6.3), and what smells of smuggling.
//
// The standard lets a recipient repair some contradictions. Nothing is repaired here: a message
// whose end two recipients could see in two places is refused, because the second recipient is the
// origin, or the next client on the same connection.

/// How long the content of a message is.
public enum MessageFraming: Hashable, Sendable {
  /// No content at all; the next message follows the head.
  case none
  /// This many bytes. Never more than `Int64.max`.
  case length(UInt64)
  /// Chunks, to be read by a `ChunkedDecoder`.
  case chunked
  /// Everything until the connection ends. Only responses; whether they are whole nobody can tell.
  case untilClose
  case refused(Refusal)

  /// How many bytes, where that is said before they come.
  public var announcedLength: UInt64? { if case .length(let length) = self { length } else { nil } }

  /// The framing of a request.
  public static func ofRequest(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>)
    -> MessageFraming
  {
    announced(head, bytes, .request) ?? .none
  }

  /// The framing of a response to a request with `method`.
  ///
  /// The length of a 304 or of the answer to HEAD is what GET would have had: read it with
  /// `ContentLength.value`, the framing is `.none`.
  public static func ofResponse(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>, to method: Method
  ) -> MessageFraming {
    // After a successful CONNECT both fields mean nothing (RFC 9112 §6.3 rule 2).
    if method == .connect, head.status.kind == .successful { return .none }
    let announced = announced(head, bytes, .response)
    if case .refused = announced { return announced ?? .none }
    if head.status.kind == .informational || head.status == .noContent {
      // RFC 9112 §6.1, RFC 9110 §8.6. An origin that sends content here anyway would have it read
      // as the head of the next response.
      switch announced {
      case .chunked: return .refused(Refusal(.transferCodingForbidden, .response))
      case .length(let length) where length > 0:
        return .refused(Refusal(.contentForbidden, .response))
      default: return .none
      }
    }
    if head.status.forbidsContent || method == .head { return .none }
    return announced ?? .untilClose
  }

  private static func announced(
    _ head: borrowing ParsedHead, _ bytes: borrowing Span<UInt8>, _ kind: MessageKind
  ) -> MessageFraming? {
    guard head.contains(.transferEncoding) else {
      guard let slot = head.first(.contentLength) else { return nil }
      // A list of equal values may be taken as one (RFC 9110 §8.6); it still means that somebody
      // on the way does not know what was sent.
      if head.occurrences(of: .contentLength) > 1 {
        return .refused(Refusal(.repeatedContentLength, kind))
      }
      switch ContentLength.parse(bytes, slot.value) {
      case .value(let length): return .length(length)
      case .fault(let reason): return .refused(Refusal(reason, kind))
      }
    }
    if head.contains(.contentLength) { return .refused(Refusal(.lengthAndTransferCoding, kind)) }
    if head.version == .http10 { return .refused(Refusal(.transferCodingInHTTP10, kind)) }
    if head.occurrences(of: .transferEncoding) > 1 {
      return .refused(Refusal(.repeatedTransferEncoding, kind))
    }
    guard let slot = head.first(.transferEncoding), slot.value.count == 7,
      bytes.equalsToken("chunked", at: slot.value.lowerBound)
    else { return .refused(Refusal(.unknownTransferCoding, kind)) }
    return .chunked
  }
}

/// The value of Content-Length (RFC 9110 §8.6).
public enum ContentLength {
  enum Parsed {
    case value(UInt64)
    case fault(Refusal.Reason)
  }

  /// The number in `range`, if it is a plain decimal number no larger than `Int64.max`.
  public static func value(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> UInt64? {
    if case .value(let length) = parse(bytes, range) { return length }
    return nil
  }

  static func parse(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> Parsed {
    if range.isEmpty { return .fault(.malformedContentLength) }
    var value: UInt64 = 0
    var isTooLarge = false
    for index in range {
      let byte = bytes[index]
      if byte == 0x2C { return .fault(.repeatedContentLength) }
      if !byte.isDigit { return .fault(.malformedContentLength) }
      if isTooLarge { continue }
      // Below this bound neither the product nor the sum can overflow.
      if value > UInt64(Int64.max) / 10 {
        isTooLarge = true
        continue
      }
      value = value * 10 + UInt64(byte &- 0x30)
      isTooLarge = value > UInt64(Int64.max)
    }
    return isTooLarge ? .fault(.contentLengthTooLarge) : .value(value)
  }
}
