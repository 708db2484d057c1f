// What can be wrong with a redirect that is followed, as answers and sentences. Hosts are named, targets never.

import HTTP

extension ProxyError {
  static func tooManyRedirects(_ authority: String) -> ProxyError {
    ProxyError(
      .protocolError,
      "\(authority) leads from one redirect to the next, more than \(RedirectChain.limit) of them")
  }

  static func redirectLoop(_ authority: String) -> ProxyError {
    ProxyError(
      .protocolError, "\(authority) redirects to where the request has been before, in a circle")
  }

  static func unusableLocation(_ authority: String, _ status: Status) -> ProxyError {
    ProxyError(
      .protocolError,
      "\(authority) answered \(status) without one Location that is an http or https URL")
  }

  /// What was asked for over TLS would come in clear, for anybody on the way to change.
  static func redirectInClear(_ authority: String, to target: TargetURI) -> ProxyError {
    ProxyError(
      .requestDenied,
      "\(authority) redirects from https to http://\(target.authority), which is not followed; give"
        + " the mirror an http URL if that is meant",
      status: .badGateway)
  }

  /// The same refusal, of a place that the client has not asked for.
  func behindRedirect(of authority: String) -> ProxyError {
    ProxyError(
      type, "\(authority) redirects to a place that is refused: \(detail)", status: .badGateway)
  }
}
