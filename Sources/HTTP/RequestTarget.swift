// The four forms of a request target (RFC 9112 §3.2), split into ranges without copying.
//
// Also understood is `http://HTTPS///host/path`, the way apt-cacher-ng users ask a plain-HTTP proxy
// for an https origin. It is no valid URI (its host would be `HTTPS`, its path begin with `//`), so
// it is recognised before the rest is judged.

/// The schemes this proxy knows.
public enum Scheme: UInt8, Hashable, Sendable {
  case http
  case https

  public var name: StaticString {
    switch self {
    case .http: "http"
    case .https: "https"
    }
  }

  @inlinable
  public var defaultPort: UInt16 { self == .http ? 80 : 443 }
}

/// A request target taken apart; the ranges are of the bytes of the head.
public enum RequestTarget: Sendable {
  /// `/path?query`: for the host in the Host field, or whatever the listener stands for.
  case origin(pathAndQuery: Range<Int>)
  /// `http://host/path?query`. The path may be empty.
  case absolute(Scheme, authority: Range<Int>, pathAndQuery: Range<Int>)
  /// `host:port`, with CONNECT only.
  case authority(Range<Int>)
  /// `*`, with OPTIONS only.
  case asterisk
  case refused(Refusal)

  /// Takes apart the target of a complete request head.
  ///
  /// Host and port are not judged yet, but a fragment and a form that does not fit the method are
  /// refused.
  public static func parse(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>)
    -> RequestTarget
  {
    parse(bytes, head.targetRange, method: head.method)
  }

  static func parse(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>, method: Method)
    -> RequestTarget
  {
    if range.isEmpty { return refused(.malformedTarget) }
    if method == .connect { return .authority(range) }
    let first = bytes[range.lowerBound]
    if first == 0x2F {
      return bytes.contains(0x23, in: range)
        ? refused(.fragment) : .origin(pathAndQuery: range)
    }
    if first == 0x2A, range.count == 1 {
      return method == .options ? .asterisk : refused(.targetFormNotAllowed)
    }
    var at = range.lowerBound
    let scheme: Scheme
    if range.count >= 7, bytes.equalsToken("http", at: at), bytes.hasLiteral("://", at: at + 4) {
      scheme = .http
      at += 7
    } else if range.count >= 8, bytes.equalsToken("https", at: at),
      bytes.hasLiteral("://", at: at + 5)
    {
      scheme = .https
      at += 8
    } else {
      return refused(fault(bytes, range))
    }
    if bytes.contains(0x23, in: range) { return refused(.fragment) }
    if let tunnelled = tunnelledHTTPS(in: bytes, at..<range.upperBound) { return tunnelled }
    return split(bytes, at..<range.upperBound, scheme)
  }

  /// Recognises `HTTPS///host/path`, in any case, at the start of `range`: behind the scheme of an
  /// absolute target, or behind the first slash of a path (`/HTTPS///host/path`, when this proxy's
  /// own address was put in front). Nil when it is something else.
  public static func tunnelledHTTPS(in bytes: borrowing Span<UInt8>, _ range: Range<Int>)
    -> RequestTarget?
  {
    let start = range.lowerBound
    guard range.count >= 8, bytes.equalsToken("https", at: start),
      bytes.hasLiteral("///", at: start + 5)
    else { return nil }
    return split(bytes, start + 8..<range.upperBound, .https)
  }

  private static func split(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>, _ scheme: Scheme)
    -> RequestTarget
  {
    var at = range.lowerBound
    while at < range.upperBound, bytes[at] != 0x2F, bytes[at] != 0x3F { at += 1 }
    return .absolute(
      scheme, authority: range.lowerBound..<at, pathAndQuery: at..<range.upperBound)
  }

  private static func refused(_ reason: Refusal.Reason) -> RequestTarget {
    .refused(Refusal(reason, .request))
  }

  /// Tells a foreign scheme, and an authority without CONNECT, from plain nonsense.
  private static func fault(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>)
    -> Refusal.Reason
  {
    var at = range.lowerBound
    while at < range.upperBound, bytes[at].isLetter || bytes[at].isDigit { at += 1 }
    if at > range.lowerBound, at + 2 < range.upperBound, bytes.hasLiteral("://", at: at) {
      return .unsupportedScheme
    }
    if case .authority(let authority) = AuthorityRange.parse(bytes, range), authority.port != nil {
      return .targetFormNotAllowed
    }
    return .malformedTarget
  }
}
