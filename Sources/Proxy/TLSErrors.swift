// What goes wrong between this proxy and an origin in TLS, as answers and sentences (RFC 9209 §2.3.16 to 18).

import HTTP
import Platform
import TLS

extension ProxyError {
  /// A handshake that failed, or a connection over TLS that broke.
  static func tls(_ authority: String, _ failure: TLSFailure) -> ProxyError {
    let error: ProxyError =
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
          .connectionTerminated,
          "the connection to \(authority) broke in the TLS handshake: \(errno)"
        )
      case .unavailable(let reason):
        ProxyError(.proxyInternalError, "TLS with \(authority) could not be begun: \(reason)")
      }
    // What never began ended nothing.
    if case .unavailable = failure { return error }
    return error.met(Fault(failure, isShakingHands: true))
  }

  /// A connection that had been made, and broke over TLS.
  static func brokenTLS(_ authority: String, _ failure: TLSFailure, isInContent: Bool) -> ProxyError
  {
    let place = isInContent ? "in the middle of the content" : "before an answer came"
    let type: ProxyStatus.ErrorType = isInContent ? .responseIncomplete : .connectionTerminated
    let error: ProxyError =
      switch failure {
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
    return error.met(Fault(failure, isShakingHands: false))
  }

  static func handshakeTimedOut(_ authority: String, _ limit: Duration) -> ProxyError {
    ProxyError(
      .connectionTimeout,
      "\(authority) did not complete the TLS handshake within \(limit.inWords)"
        + " (`upstream.connect-timeout`)"
    ).met(Fault(.timeout, own: .deadline))
  }

  static func cannotIntercept(_ authority: String, _ failure: TLSFailure) -> ProxyError {
    let reason = if case .unavailable(let reason) = failure { reason } else { "\(failure)" }
    return ProxyError(
      .proxyInternalError, "no certificate could be made for \(authority): \(reason)")
  }

  /// Why a client does not go on in a tunnel that is to be decrypted; for the log, since there is nobody to tell it.
  static func interception(_ authority: String, _ failure: TLSFailure, refusedName: String?)
    -> ProxyError
  {
    if let refusedName {
      return ProxyError(
        .tlsProtocolError,
        "a tunnel to \(authority) was used to ask for \(refusedName.prefix(80)) (SNI), which is refused"
      )
    }
    return switch failure {
    case .alertReceived(let alert) where alert.rejectsCertificate:
      ProxyError(
        .tlsAlertReceived,
        "the client does not take our certificate for \(authority) (\(alert)): have it trust the authority (`holdfast ca show`), or add the host to `intercept.except`"
      )
    case .alertReceived(let alert):
      ProxyError(
        .tlsAlertReceived, "the client ended the TLS handshake for \(authority): \(alert)")
    case .plainHTTP:
      ProxyError(
        .tlsProtocolError,
        "plain HTTP was spoken in a tunnel to \(authority), which is decrypted: add the host to `intercept.except`"
      )
    case .protocolError(let reason, _):
      ProxyError(
        .tlsProtocolError, "TLS with the client for \(authority) failed: \(reason)")
    default:
      ProxyError(
        .connectionTerminated, "the client left in the TLS handshake for \(authority)")
    }
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
