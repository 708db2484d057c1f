// The host that a decrypted tunnel was opened to. What is asked for inside has to be asked of this host: a request
// that names another one could put a file of one host under the name of another, or reach where the tunnel may not.

import HTTP

struct InterceptedHost: Sendable {
  /// As CONNECT named it.
  let authority: Authority
  /// What a Host field may say: host and port, and the host alone where the port is https's own.
  private let full: [UInt8]
  private let short: [UInt8]?

  init(_ authority: Authority) {
    self.authority = authority
    full = Array(authority.description.utf8)
    short = authority.port == Scheme.https.defaultPort ? Array(authority.host.utf8) : nil
  }

  /// Where the Host field of a request stands, if it is in order and names this host.
  func agreeingField(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>
  ) -> Range<Int>? {
    guard Authority.faultOfHost(head, in: bytes) == nil, let slot = head.first(.host) else {
      return nil
    }
    let value = bytes.extracting(slot.value)
    if value.equalsIgnoringCase(full.span) { return slot.value }
    if let short, value.equalsIgnoringCase(short.span) { return slot.value }
    return nil
  }

  /// What a request inside the tunnel is about (RFC 9112 §3.3).
  /// - Throws: 421 when it is about another host (RFC 9110 §7.4, §15.5.20).
  func target(
    _ form: RequestTarget, _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>
  ) throws(ProxyError) -> TargetURI {
    guard let field = agreeingField(head, in: bytes) else { throw .misdirected(authority) }
    do throws(Refusal) {
      switch form {
      case .refused(let refusal):
        throw refusal
      case .asterisk:
        return try .parse(.https, authority: field, pathAndQuery: 0..<0, in: bytes)
      case .origin(let range):
        return try .parse(.https, authority: field, pathAndQuery: range, in: bytes)
      case .absolute, .authority:
        break
      }
    } catch {
      throw ProxyError(error)
    }
    guard case .absolute = form else {
      throw ProxyError(.requestError, "a tunnel inside of a tunnel cannot be opened here")
    }
    let target: TargetURI
    do {
      target = try TargetURI.of(head, in: bytes)
    } catch {
      throw ProxyError(error)
    }
    guard target.scheme == .https, target.authority.description == authority.description else {
      throw .misdirected(authority)
    }
    return target
  }
}
