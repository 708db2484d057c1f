// Request methods and what they promise (RFC 9110 §9, RFC 5789).
//
// Methods are case-sensitive: `get` is an unknown method, not GET.

/// A request method; the spelling of an `.other` one stays in the bytes of its message.
public enum Method: UInt8, CaseIterable, Sendable {
  case other = 0
  case get, head, post, put, delete, connect, options, trace, patch

  /// The method as it is written on the wire; empty for `.other`.
  public var spelling: StaticString {
    switch self {
    case .other: ""
    case .get: "GET"
    case .head: "HEAD"
    case .post: "POST"
    case .put: "PUT"
    case .delete: "DELETE"
    case .connect: "CONNECT"
    case .options: "OPTIONS"
    case .trace: "TRACE"
    case .patch: "PATCH"
    }
  }

  /// Whether the client asks for no change of state (RFC 9110 §9.2.1).
  ///
  /// False for `.other`: a method we do not know may do anything, and a cache has to invalidate
  /// after it (RFC 9111 §4.4).
  @inlinable
  public var isSafe: Bool {
    switch self {
    case .get, .head, .options, .trace: true
    case .post, .put, .delete, .connect, .patch, .other: false
    }
  }

  /// Whether sending it twice has the effect of sending it once (RFC 9110 §9.2.2), so that a
  /// request may be repeated after its connection broke.
  @inlinable
  public var isIdempotent: Bool {
    switch self {
    case .get, .head, .options, .trace, .put, .delete: true
    case .post, .connect, .patch, .other: false
    }
  }

  /// The method spelled by `count` bytes of `bytes` from `start`.
  @inlinable
  public static func recognise(_ bytes: borrowing Span<UInt8>, at start: Int, count: Int) -> Method
  {
    @inline(__always) func spelled(_ literal: StaticString) -> Bool {
      bytes.hasLiteral(literal, at: start)
    }
    switch count {
    case 3:
      if spelled("GET") { return .get }
      if spelled("PUT") { return .put }
    case 4:
      if spelled("HEAD") { return .head }
      if spelled("POST") { return .post }
    case 5:
      if spelled("PATCH") { return .patch }
      if spelled("TRACE") { return .trace }
    case 6:
      if spelled("DELETE") { return .delete }
    case 7:
      if spelled("CONNECT") { return .connect }
      if spelled("OPTIONS") { return .options }
    default:
      break
    }
    return .other
  }
}

extension Span where Element == UInt8 {
  /// Whether the bytes from `start` begin with `literal`, exactly.
  @inlinable @inline(__always)
  func hasLiteral(_ literal: StaticString, at start: Int) -> Bool {
    let length = literal.utf8CodeUnitCount
    guard start >= 0, start <= count - length else { return false }
    var index = 0
    while index < length {
      if unsafe self[start + index] != literal.utf8Start[index] { return false }
      index += 1
    }
    return true
  }
}
