// The field names this proxy acts upon, as one byte each.
//
// A name is recognised once, while the head is parsed; from there on everybody compares bytes of
// an enum, never strings. Names nobody looks at are `.other` and live only as bytes of the message.
// Adding a name: a case, its spelling, a line in `recognise`; a test walks all cases and notices
// what was forgotten.

/// A field name the proxy knows, or `.other`.
public enum FieldName: UInt8, CaseIterable, Sendable {
  case other = 0
  case accept, acceptEncoding, acceptLanguage, acceptRanges, age, allow, altSvc, authenticationInfo
  case authorization, cacheControl, cacheStatus, cdnCacheControl, connection, contentDigest
  case contentDisposition, contentEncoding, contentLanguage, contentLength, contentLocation
  case contentRange, contentType, cookie, date, digest, etag, expect, expires, forwarded, host
  case http2Settings, ifMatch, ifModifiedSince, ifNoneMatch, ifRange, ifUnmodifiedSince, keepAlive
  case lastModified, link, location, maxForwards, origin, pragma, proxyAuthenticate
  case proxyAuthenticationInfo, proxyAuthorization, proxyConnection, proxyStatus, range, referer
  case reprDigest, retryAfter, server, setCookie, surrogateControl, te, trailer, transferEncoding
  case upgrade, userAgent, vary, via, warning, wwwAuthenticate, xForwardedFor, xForwardedHost
  case xForwardedProto

  /// The usual spelling, as it is put on the wire; empty for `.other`.
  public var spelling: StaticString {
    switch self {
    case .other: ""
    case .accept: "Accept"
    case .acceptEncoding: "Accept-Encoding"
    case .acceptLanguage: "Accept-Language"
    case .acceptRanges: "Accept-Ranges"
    case .age: "Age"
    case .allow: "Allow"
    case .altSvc: "Alt-Svc"
    case .authenticationInfo: "Authentication-Info"
    case .authorization: "Authorization"
    case .cacheControl: "Cache-Control"
    case .cacheStatus: "Cache-Status"
    case .cdnCacheControl: "CDN-Cache-Control"
    case .connection: "Connection"
    case .contentDigest: "Content-Digest"
    case .contentDisposition: "Content-Disposition"
    case .contentEncoding: "Content-Encoding"
    case .contentLanguage: "Content-Language"
    case .contentLength: "Content-Length"
    case .contentLocation: "Content-Location"
    case .contentRange: "Content-Range"
    case .contentType: "Content-Type"
    case .cookie: "Cookie"
    case .date: "Date"
    case .digest: "Digest"
    case .etag: "ETag"
    case .expect: "Expect"
    case .expires: "Expires"
    case .forwarded: "Forwarded"
    case .host: "Host"
    case .http2Settings: "HTTP2-Settings"
    case .ifMatch: "If-Match"
    case .ifModifiedSince: "If-Modified-Since"
    case .ifNoneMatch: "If-None-Match"
    case .ifRange: "If-Range"
    case .ifUnmodifiedSince: "If-Unmodified-Since"
    case .keepAlive: "Keep-Alive"
    case .lastModified: "Last-Modified"
    case .link: "Link"
    case .location: "Location"
    case .maxForwards: "Max-Forwards"
    case .origin: "Origin"
    case .pragma: "Pragma"
    case .proxyAuthenticate: "Proxy-Authenticate"
    case .proxyAuthenticationInfo: "Proxy-Authentication-Info"
    case .proxyAuthorization: "Proxy-Authorization"
    case .proxyConnection: "Proxy-Connection"
    case .proxyStatus: "Proxy-Status"
    case .range: "Range"
    case .referer: "Referer"
    case .reprDigest: "Repr-Digest"
    case .retryAfter: "Retry-After"
    case .server: "Server"
    case .setCookie: "Set-Cookie"
    case .surrogateControl: "Surrogate-Control"
    case .te: "TE"
    case .trailer: "Trailer"
    case .transferEncoding: "Transfer-Encoding"
    case .upgrade: "Upgrade"
    case .userAgent: "User-Agent"
    case .vary: "Vary"
    case .via: "Via"
    case .warning: "Warning"
    case .wwwAuthenticate: "WWW-Authenticate"
    case .xForwardedFor: "X-Forwarded-For"
    case .xForwardedHost: "X-Forwarded-Host"
    case .xForwardedProto: "X-Forwarded-Proto"
    }
  }

  /// Recognises a name, in any case, in `count` bytes of `bytes` from `start`.
  ///
  /// A known name also means that all its bytes are token characters.
  @inlinable
  public static func recognise(_ bytes: borrowing Span<UInt8>, at start: Int, count: Int)
    -> FieldName
  {
    @inline(__always) func named(_ lowerCase: StaticString) -> Bool {
      bytes.equalsToken(lowerCase, at: start)
    }
    switch count {
    case 2:
      if named("te") { return .te }
    case 3:
      if named("age") { return .age }
      if named("via") { return .via }
    case 4:
      if named("host") { return .host }
      if named("date") { return .date }
      if named("etag") { return .etag }
      if named("vary") { return .vary }
      if named("link") { return .link }
    case 5:
      if named("range") { return .range }
      if named("allow") { return .allow }
    case 6:
      if named("accept") { return .accept }
      if named("pragma") { return .pragma }
      if named("cookie") { return .cookie }
      if named("server") { return .server }
      if named("expect") { return .expect }
      if named("origin") { return .origin }
      if named("digest") { return .digest }
    case 7:
      if named("expires") { return .expires }
      if named("referer") { return .referer }
      if named("upgrade") { return .upgrade }
      if named("trailer") { return .trailer }
      if named("alt-svc") { return .altSvc }
      if named("warning") { return .warning }
    case 8:
      if named("if-range") { return .ifRange }
      if named("if-match") { return .ifMatch }
      if named("location") { return .location }
    case 9:
      if named("forwarded") { return .forwarded }
    case 10:
      if named("connection") { return .connection }
      if named("user-agent") { return .userAgent }
      if named("keep-alive") { return .keepAlive }
      if named("set-cookie") { return .setCookie }
    case 11:
      if named("retry-after") { return .retryAfter }
      if named("repr-digest") { return .reprDigest }
    case 12:
      if named("content-type") { return .contentType }
      if named("cache-status") { return .cacheStatus }
      if named("max-forwards") { return .maxForwards }
      if named("proxy-status") { return .proxyStatus }
    case 13:
      if named("cache-control") { return .cacheControl }
      if named("if-none-match") { return .ifNoneMatch }
      if named("last-modified") { return .lastModified }
      if named("accept-ranges") { return .acceptRanges }
      if named("authorization") { return .authorization }
      if named("content-range") { return .contentRange }
    case 14:
      if named("content-length") { return .contentLength }
      if named("http2-settings") { return .http2Settings }
      if named("content-digest") { return .contentDigest }
    case 15:
      if named("accept-encoding") { return .acceptEncoding }
      if named("accept-language") { return .acceptLanguage }
      if named("x-forwarded-for") { return .xForwardedFor }
    case 16:
      if named("content-encoding") { return .contentEncoding }
      if named("content-language") { return .contentLanguage }
      if named("content-location") { return .contentLocation }
      if named("proxy-connection") { return .proxyConnection }
      if named("www-authenticate") { return .wwwAuthenticate }
      if named("x-forwarded-host") { return .xForwardedHost }
    case 17:
      if named("if-modified-since") { return .ifModifiedSince }
      if named("transfer-encoding") { return .transferEncoding }
      if named("cdn-cache-control") { return .cdnCacheControl }
      if named("surrogate-control") { return .surrogateControl }
      if named("x-forwarded-proto") { return .xForwardedProto }
    case 18:
      if named("proxy-authenticate") { return .proxyAuthenticate }
    case 19:
      if named("content-disposition") { return .contentDisposition }
      if named("if-unmodified-since") { return .ifUnmodifiedSince }
      if named("proxy-authorization") { return .proxyAuthorization }
      if named("authentication-info") { return .authenticationInfo }
    case 25:
      if named("proxy-authentication-info") { return .proxyAuthenticationInfo }
    default:
      break
    }
    return .other
  }

  /// Recognises a whole span as a name.
  @inlinable
  public static func recognise(_ token: borrowing Span<UInt8>) -> FieldName {
    recognise(token, at: 0, count: token.count)
  }
}

/// Which of the known names occur, as one bit each.
///
/// Asking it costs one test; most requests lack most fields, so the slots are seldom searched.
public struct FieldNameSet: Hashable, Sendable {
  @usableFromInline var low: UInt64 = 0
  @usableFromInline var high: UInt64 = 0

  @inlinable
  public init() {}

  @inlinable
  public init(_ names: FieldName...) {
    for name in names { insert(name) }
  }

  @inlinable
  public var isEmpty: Bool { low == 0 && high == 0 }

  @inlinable
  public func contains(_ name: FieldName) -> Bool {
    let word = name.rawValue < 64 ? low : high
    return word & (1 &<< UInt64(name.rawValue & 63)) != 0
  }

  @inlinable
  public mutating func insert(_ name: FieldName) {
    let bit: UInt64 = 1 &<< UInt64(name.rawValue & 63)
    if name.rawValue < 64 { low |= bit } else { high |= bit }
  }

  @inlinable
  public func isDisjoint(with other: FieldNameSet) -> Bool {
    low & other.low == 0 && high & other.high == 0
  }
}
