// What goes wrong between this proxy and an origin in TLS, as answers and sentences (RFC 9209 §2.3.16 to 18).

import HTTP
import Platform
import TLS

extension ProxyError {
  /// A handshake that failed, or a connection over TLS that broke.
  static func tls(_ authority: String, _ failure: TLSFailure) -> ProxyError {
    switch failure {
    case .certificate(let problem):
      ProxyError(
        .tlsCertificateError, "the certificate of \(authority) is refused: \(problem.sentence)")
    case .alertReceived(let alert):
      ProxyError(
        .tlsAlertReceived,
        "\(authority) ended the TLS connection with the alert \(alert) (\(alert.code))")
    case .protocolError(let reason, let alert):
      ProxyError(
        .tlsProtocolError,
        "TLS with \(authority) failed: \(reason)\(alert.map { "; told it \($0)" } ?? "")")
    case .plainHTTP, .notTLS:
      ProxyError(
        .tlsProtocolError,
        "\(authority) does not speak TLS on this port; is it an http address?")
    case .truncated:
      ProxyError(
        .connectionTerminated,
        "\(authority) closed the connection in the middle of the TLS handshake")
    case .connection(let errno):
      ProxyError(
        .connectionTerminated, "the connection to \(authority) broke in the TLS handshake: \(errno)"
      )
    case .unavailable(let reason):
      ProxyError(.proxyInternalError, "TLS with \(authority) could not be begun: \(reason)")
    }
  }

  /// A connection that had been made, and broke over TLS.
  static func brokenTLS(_ authority: String, _ failure: TLSFailure, isInContent: Bool) -> ProxyError
  {
    let place = isInContent ? "in the middle of the content" : "before an answer came"
    let type: ProxyStatus.ErrorType = isInContent ? .responseIncomplete : .connectionTerminated
    return switch failure {
    case .truncated:
      ProxyError(
        type, "\(authority) closed the TLS connection \(place), without saying so (close_notify)")
    case .alertReceived(let alert):
      ProxyError(
        isInContent ? type : .tlsAlertReceived,
        "\(authority) ended the TLS connection \(place) with the alert \(alert) (\(alert.code))")
    case .protocolError(let reason, _):
      ProxyError(
        isInContent ? type : .tlsProtocolError, "TLS with \(authority) broke \(place): \(reason)")
    default:
      ProxyError(type, "TLS with \(authority) broke \(place)")
    }
  }

  static func handshakeTimedOut(_ authority: String, _ limit: Duration) -> ProxyError {
    ProxyError(
      .connectionTimeout,
      "\(authority) did not complete the TLS handshake within \(limit.inWords)"
        + " (`upstream.connect-timeout`)")
  }

  static func cannotUseTLS(_ error: TLSSetupError) -> ProxyError {
    ProxyError(.proxyConfigurationError, "no https origin can be reached: \(error.sentence)")
  }
}

extension CertificateProblem {
  /// What is wrong, with whose certificate, and what to do.
  var sentence: String {
    guard let certificate else { return reason }
    let names = certificate.names.isEmpty ? "no host" : certificate.names.joined(separator: ", ")
    var sentence =
      "\(reason) (subject \(certificate.subject), issuer \(certificate.issuer), for \(names))"
    if reason.contains("issuer") || reason.contains("self-signed") || reason.contains("self signed")
    {
      sentence += "; if that authority is to be trusted, add it to the file of `upstream.ca`"
    }
    return sentence
  }
}
