// Status codes: the number, its class and the phrase people expect beside it (RFC 9110 §15).

/// A status code, 100 to 999.
///
/// Codes from 600 up are outside the standard but are seen; a recipient treats them as a server
/// error (RFC 9110 §15), and `kind` does.
public struct Status: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
  public var rawValue: UInt16

  @inlinable
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  @inlinable
  public init(_ code: UInt16) { rawValue = code }

  public enum Class: Sendable {
    case informational, successful, redirection, clientError, serverError
  }

  /// The class by the first digit; what is outside 100…499 counts as a server error.
  @inlinable
  public var kind: Class {
    switch rawValue {
    case 100..<200: .informational
    case 200..<300: .successful
    case 300..<400: .redirection
    case 400..<500: .clientError
    default: .serverError
    }
  }

  /// Whether a response with this status never has content, whatever its fields say
  /// (RFC 9112 §6.3 rule 1).
  @inlinable
  public var forbidsContent: Bool { rawValue < 200 || rawValue == 204 || rawValue == 304 }

  /// Whether a cache may apply a heuristic freshness lifetime to it (RFC 9110 §15.1).
  ///
  /// 206 is in the standard's list too; whether partial content is kept is for the cache to say.
  @inlinable
  public var isHeuristicallyCacheable: Bool {
    switch rawValue {
    case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501: true
    default: false
    }
  }

  @inlinable
  public static func < (left: Status, right: Status) -> Bool { left.rawValue < right.rawValue }

  public var description: String { "\(rawValue)" }

  // Computed, so that no use of one has to ask whether it is initialised.
  @inlinable public static var `continue`: Status { Status(100) }
  @inlinable public static var ok: Status { Status(200) }
  @inlinable public static var noContent: Status { Status(204) }
  @inlinable public static var partialContent: Status { Status(206) }
  @inlinable public static var notModified: Status { Status(304) }
  @inlinable public static var badRequest: Status { Status(400) }
  @inlinable public static var forbidden: Status { Status(403) }
  @inlinable public static var notFound: Status { Status(404) }
  @inlinable public static var methodNotAllowed: Status { Status(405) }
  @inlinable public static var requestTimeout: Status { Status(408) }
  @inlinable public static var preconditionFailed: Status { Status(412) }
  @inlinable public static var contentTooLarge: Status { Status(413) }
  @inlinable public static var uriTooLong: Status { Status(414) }
  @inlinable public static var rangeNotSatisfiable: Status { Status(416) }
  @inlinable public static var expectationFailed: Status { Status(417) }
  @inlinable public static var tooManyRequests: Status { Status(429) }
  @inlinable public static var headTooLarge: Status { Status(431) }
  @inlinable public static var internalError: Status { Status(500) }
  @inlinable public static var notImplemented: Status { Status(501) }
  @inlinable public static var badGateway: Status { Status(502) }
  @inlinable public static var serviceUnavailable: Status { Status(503) }
  @inlinable public static var gatewayTimeout: Status { Status(504) }
  @inlinable public static var versionNotSupported: Status { Status(505) }

  /// The registered reason phrase, or an empty one.
  public var reasonPhrase: StaticString {
    switch rawValue {
    case 100: "Continue"
    case 101: "Switching Protocols"
    case 103: "Early Hints"
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 203: "Non-Authoritative Information"
    case 204: "No Content"
    case 205: "Reset Content"
    case 206: "Partial Content"
    case 300: "Multiple Choices"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 304: "Not Modified"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 402: "Payment Required"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 406: "Not Acceptable"
    case 407: "Proxy Authentication Required"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 410: "Gone"
    case 411: "Length Required"
    case 412: "Precondition Failed"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 415: "Unsupported Media Type"
    case 416: "Range Not Satisfiable"
    case 417: "Expectation Failed"
    case 421: "Misdirected Request"
    case 422: "Unprocessable Content"
    case 425: "Too Early"
    case 426: "Upgrade Required"
    case 428: "Precondition Required"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 451: "Unavailable For Legal Reasons"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    case 508: "Loop Detected"
    case 511: "Network Authentication Required"
    default: ""
    }
  }
}
