// What an exchange asks of an origin, and which origin that is.

import HTTP

/// What is sent to an origin.
struct OriginRequest {
  var origin: Origin
  var method: Method
  /// Request line and fields, with the empty line.
  var head: [UInt8]
  /// How content follows, if it does.
  var framing: MessageFraming
  /// Nothing breaks if the origin gets it twice: a safe or idempotent method without content.
  var mayRepeat: Bool
  /// Content where its method gives it no meaning (RFC 9110 §9.3.1): an origin that does not look for it takes it
  /// for the next request, so there will be none on this connection.
  var endsConnection = false
  /// What its Authorization is, if that is the operator's.
  var credential: String?
  /// Redirects are followed; nil where they are the client's business.
  var redirects: RedirectChain?
  /// Other protocols that the origin may switch to, as in an Upgrade field.
  var upgrade: [UInt8]? = nil
}

/// Scheme, host and port, and whether the operator or a client chose them.
struct Origin: Hashable, Sendable {
  var isSecure: Bool
  var host: String
  var port: UInt16
  /// Named in the configuration, so that its addresses are not held against `destinations`. Part of the
  /// identity: a connection made on the operator's word is not lent to a client's.
  var isConfigured: Bool

  var authority: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
}
