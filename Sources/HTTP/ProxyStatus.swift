// Proxy-Status (RFC 9209): what went wrong between this proxy and the next hop.
//
//   Proxy-Status: Holdfast; error=connection_refused; next-hop="10.0.0.7:80"; details="…"
//
// The error types are the registry of RFC 9209 §2.3, one case each: the status a client should get,
// and a sentence for people. Every failure of an upstream exchange is told as one of them.

/// One member of a Proxy-Status field, ours.
public struct ProxyStatus: Sendable, Hashable {
  /// An error type of RFC 9209 §2.3.
  public enum ErrorType: String, CaseIterable, Sendable {
    case dnsTimeout = "dns_timeout"
    case dnsError = "dns_error"
    case destinationNotFound = "destination_not_found"
    case destinationUnavailable = "destination_unavailable"
    case destinationIPProhibited = "destination_ip_prohibited"
    case destinationIPUnroutable = "destination_ip_unroutable"
    case connectionRefused = "connection_refused"
    case connectionTerminated = "connection_terminated"
    case connectionTimeout = "connection_timeout"
    case connectionReadTimeout = "connection_read_timeout"
    case connectionWriteTimeout = "connection_write_timeout"
    case connectionLimitReached = "connection_limit_reached"
    case tlsProtocolError = "tls_protocol_error"
    case tlsCertificateError = "tls_certificate_error"
    case tlsAlertReceived = "tls_alert_received"
    case requestError = "http_request_error"
    case requestDenied = "http_request_denied"
    case responseIncomplete = "http_response_incomplete"
    case responseHeaderSectionSize = "http_response_header_section_size"
    case responseHeaderSize = "http_response_header_size"
    case responseBodySize = "http_response_body_size"
    case responseTrailerSectionSize = "http_response_trailer_section_size"
    case responseTrailerSize = "http_response_trailer_size"
    case responseTransferCoding = "http_response_transfer_coding"
    case responseContentCoding = "http_response_content_coding"
    case responseTimeout = "http_response_timeout"
    case upgradeFailed = "http_upgrade_failed"
    case protocolError = "http_protocol_error"
    case proxyInternalResponse = "proxy_internal_response"
    case proxyInternalError = "proxy_internal_error"
    case proxyConfigurationError = "proxy_configuration_error"
    case proxyLoopDetected = "proxy_loop_detected"

    /// The status RFC 9209 recommends for an answer made because of this error. For
    /// `requestError` and `proxyInternalResponse` the registry leaves it open; these are the
    /// general ones.
    public var recommendedStatus: Status {
      switch self {
      case .dnsTimeout, .connectionTimeout, .connectionReadTimeout, .connectionWriteTimeout,
        .responseTimeout:
        .gatewayTimeout
      case .destinationUnavailable, .connectionLimitReached: .serviceUnavailable
      case .destinationNotFound, .proxyInternalError, .proxyConfigurationError,
        .proxyInternalResponse:
        .internalError
      case .requestError: .badRequest
      case .requestDenied: .forbidden
      case .dnsError, .destinationIPProhibited, .destinationIPUnroutable, .connectionRefused,
        .connectionTerminated, .tlsProtocolError, .tlsCertificateError, .tlsAlertReceived,
        .responseIncomplete, .responseHeaderSectionSize, .responseHeaderSize, .responseBodySize,
        .responseTrailerSectionSize, .responseTrailerSize, .responseTransferCoding,
        .responseContentCoding, .upgradeFailed, .protocolError, .proxyLoopDetected:
        .badGateway
      }
    }

    /// What happened, for people.
    public var sentence: String {
      switch self {
      case .dnsTimeout: "Nobody answered in time when asked for the address of the next hop."
      case .dnsError: "The name of the next hop could not be resolved."
      case .destinationNotFound: "There is no next hop for this request."
      case .destinationUnavailable: "The next hop is known to be out of order."
      case .destinationIPProhibited: "The address of the next hop is one this proxy must not reach."
      case .destinationIPUnroutable: "There is no route to the address of the next hop."
      case .connectionRefused: "The next hop refused the connection."
      case .connectionTerminated: "The connection to the next hop ended before its answer did."
      case .connectionTimeout: "The next hop did not accept a connection in time."
      case .connectionReadTimeout: "The next hop stopped sending for too long."
      case .connectionWriteTimeout: "The next hop stopped reading for too long."
      case .connectionLimitReached: "The next hop has as many connections as it is allowed."
      case .tlsProtocolError: "The TLS handshake with the next hop failed."
      case .tlsCertificateError: "The certificate of the next hop is not to be trusted."
      case .tlsAlertReceived: "The next hop ended the TLS handshake with an alert."
      case .requestError: "The request is not one this proxy can serve."
      case .requestDenied: "The request is not allowed here."
      case .responseIncomplete: "The answer of the next hop was cut short."
      case .responseHeaderSectionSize: "The header section of the answer is too large."
      case .responseHeaderSize: "A header field of the answer is too large."
      case .responseBodySize: "The content of the answer is too large."
      case .responseTrailerSectionSize: "The trailer section of the answer is too large."
      case .responseTrailerSize: "A trailer field of the answer is too large."
      case .responseTransferCoding: "The transfer coding of the answer could not be decoded."
      case .responseContentCoding: "The content coding of the answer could not be decoded."
      case .responseTimeout: "The next hop did not answer in time."
      case .upgradeFailed: "The next hop did not agree to change the protocol."
      case .protocolError: "The answer of the next hop breaks the rules of HTTP."
      case .proxyInternalResponse: "The proxy made this answer itself."
      case .proxyInternalError: "The proxy failed."
      case .proxyConfigurationError: "The proxy's configuration does not allow an answer."
      case .proxyLoopDetected: "The request has been here before."
      }
    }
  }

  public var error: ErrorType?
  /// Where the request went or should have gone: a host, an address, an address and port.
  public var nextHop: String?
  /// The status the next hop sent, when the client was told another one.
  public var receivedStatus: Status?
  /// For people; not to be parsed.
  public var details: String?

  public init(
    error: ErrorType?, nextHop: String? = nil, receivedStatus: Status? = nil,
    details: String? = nil
  ) {
    self.error = error
    self.nextHop = nextHop
    self.receivedStatus = receivedStatus
    self.details = details
  }

  /// Appends the member, without the field's name.
  ///
  /// Strings go through the structured-field writer, which replaces what a string must not hold.
  public func serialise(as proxy: StaticString = "Holdfast", into output: inout [UInt8]) {
    output.append(literal: proxy)
    if let error {
      output.append(literal: "; error=")
      output.append(contentsOf: error.rawValue.utf8)
    }
    if let nextHop {
      output.append(literal: "; next-hop=")
      StructuredField.write(string: nextHop, into: &output)
    }
    if let receivedStatus {
      output.append(literal: "; received-status=")
      output.appendDecimal(Int64(receivedStatus.rawValue))
    }
    if let details {
      output.append(literal: "; details=")
      StructuredField.write(string: details, into: &output)
    }
  }
}
