// The host that a decrypted tunnel was opened to. What is asked for inside has to be asked of this host: a request
// that names another one could put a file of one host under the name of another, or reach where the tunnel may not.

import HTTP

struct InterceptedHost: Sendable {
  /// As CONNECT named it.
  let authority: Authority
  /// What a Host field may say: the host, and behind it a colon and the port, or nothing where that is https's own.
  private let host: [UInt8]
  private let port: [UInt8]

  init(_ authority: Authority) {
    self.authority = authority
    host = Array(authority.host.utf8)
    port = Array(":\(authority.port)".utf8)
  }

  /// Where the Host field of a request stands, if it is in order and names this host.
  func agreeingField(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>
  ) -> Range<Int>? {
    guard Authority.faultOfHost(head, in: bytes) == nil, let slot = head.first(.host) else {
      return nil
    }
    return names(bytes.extracting(slot.value)) ? slot.value : nil
  }

  /// A last dot makes a name absolute, which it is here anyway: CONNECT's has gone already.
  private func names(_ field: borrowing Span<UInt8>) -> Bool {
    guard field.count >= host.count,
      field.extracting(0..<host.count).equalsIgnoringCase(host.span)
    else { return false }
    let hasDot = field.count > host.count && field[host.count] == 0x2E
    let rest = field.extracting((hasDot ? host.count + 1 : host.count)..<field.count)
    return rest.isEmpty
      ? authority.port == Scheme.https.defaultPort : rest.equalsIgnoringCase(port.span)
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
