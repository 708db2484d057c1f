// What can go wrong in TLS, told apart as far as a person needs it to know where to look: at a certificate, at
// the peer, at the network, or here.

import Platform

/// Why a TLS connection could not be made, or broke.
package enum TLSFailure: Error, Hashable, Sendable {
  /// The peer's certificate is not what it should be; we have refused it.
  case certificate(CertificateProblem)
  /// The peer has refused us, and says why (RFC 8446 §6).
  case alertReceived(TLSAlert)
  /// The peer does not keep to the protocol, or there is nothing both sides can speak. We have told it with the
  /// alert, if one was sent.
  case protocolError(reason: String, alertSent: TLSAlert?)
  /// What came is HTTP in clear text, where a handshake should begin.
  case plainHTTP
  /// The server answered the handshake with something that is no TLS at all, as one does that speaks plain HTTP.
  case notTLS
  /// The connection ended without the peer having said so (RFC 8446 §6.1): what it was about to say is cut.
  case truncated
  /// The connection broke.
  case connection(Errno)
  /// Out of memory, most likely.
  case unavailable(reason: String)
}

/// What is wrong with a certificate, and whose it is.
package struct CertificateProblem: Hashable, Sendable {
  /// In OpenSSL's words, "certificate has expired".
  package var reason: String
  /// The certificate the complaint is about: the server's own at depth 0, else one of those above it.
  package var certificate: CertificateSummary?
  package var depth: Int
}

/// The alerts of RFC 8446 §6.
package struct TLSAlert: Hashable, Sendable, CustomStringConvertible {
  package var code: UInt8

  package init(code: UInt8) { self.code = code }

  package static let unrecognizedName = TLSAlert(code: 112)

  /// The name in RFC 8446 §6, as Proxy-Status has it in `alert-message` (RFC 9209 §2.1.2).
  package var description: String {
    switch code {
    case 0: "close_notify"
    case 10: "unexpected_message"
    case 20: "bad_record_mac"
    case 22: "record_overflow"
    case 40: "handshake_failure"
    case 42: "bad_certificate"
    case 43: "unsupported_certificate"
    case 44: "certificate_revoked"
    case 45: "certificate_expired"
    case 46: "certificate_unknown"
    case 47: "illegal_parameter"
    case 48: "unknown_ca"
    case 49: "access_denied"
    case 50: "decode_error"
    case 51: "decrypt_error"
    case 70: "protocol_version"
    case 71: "insufficient_security"
    case 80: "internal_error"
    case 86: "inappropriate_fallback"
    case 90: "user_canceled"
    case 100: "no_renegotiation"
    case 109: "missing_extension"
    case 110: "unsupported_extension"
    case 112: "unrecognized_name"
    case 113: "bad_certificate_status_response"
    case 115: "unknown_psk_identity"
    case 116: "certificate_required"
    case 120: "no_application_protocol"
    default: "alert \(code)"
    }
  }

  /// The peer does not trust our certificate, or the authority that signed it.
  package var rejectsCertificate: Bool { (42...46).contains(code) || code == 48 }
}

extension TLSFailure {
  /// The peer does not take our certificate.
  package var isRejection: Bool {
    if case .alertReceived(let alert) = self { alert.rejectsCertificate } else { false }
  }
}

/// What moving bytes through TLS came to.
package enum TLSTransfer: Hashable, Sendable {
  /// So many bytes of content; always more than none.
  case bytes(Int)
  /// The socket has nothing to read now, and that is what is needed next, also for writing.
  case wantsRead
  /// The socket has no room now, and that is what is needed next, also for reading.
  case wantsWrite
  /// The peer has said that nothing follows (close_notify; only when reading).
  case endOfStream
  case failed(TLSFailure)
}
