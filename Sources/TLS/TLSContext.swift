// What all TLS connections of one kind have in common: protocol versions, whom to trust, which certificate to show.
// Made once, shared by all threads, replaced as a whole when the configuration changes.

import COpenSSL
import Platform

/// Whom a client trusts to vouch for servers.
package enum TLSTrust: Hashable, Sendable {
  /// The authorities this system trusts, where OpenSSL looks for them.
  case system
  /// Those in a file of PEM certificates, and no others.
  case file(String)
}

/// A certificate with those that lead from it towards an authority, and its key.
package final class TLSIdentity: Sendable {
  package let certificate: Certificate
  package let chain: [Certificate]
  package let key: PrivateKey

  package init(certificate: Certificate, chain: [Certificate], key: PrivateKey) {
    self.certificate = certificate
    self.chain = chain
    self.key = key
  }

  /// Reads PEM: the certificate first, then its chain.
  /// - Throws: a sentence about what is wrong with them.
  package convenience init(certificates: [UInt8], key: [UInt8]) throws(TLSSetupError) {
    let all = Certificate.all(inPEM: certificates)
    guard let first = all.first else { throw .noCertificate }
    guard let key = PrivateKey(pem: key) else { throw .noKey }
    guard first.isKeyed(by: key) else { throw .keyOfAnother }
    self.init(certificate: first, chain: Array(all.dropFirst()), key: key)
  }
}

/// Why TLS could not be set up.
package enum TLSSetupError: Error, Hashable, Sendable {
  case noCertificate
  case noKey
  case keyOfAnother
  case cannotRead(path: String, reason: String)
  case unavailable(reason: String)
}

/// How TLS connections are made.
package final class TLSContext: @unchecked Sendable {
  // SSL_CTX counts its references atomically and may be used by many threads; nothing changes it after `init`.
  let context: OpaquePointer
  let isClient: Bool
  /// What tickets for clients are sealed with.
  let ticketKeys: TicketKeys?

  /// For connections to origins and parents: TLS 1.2 or 1.3, HTTP/1.1 by ALPN.
  package convenience init(clientTrusting trust: TLSTrust) throws(TLSSetupError) {
    try self.init(isClient: true)
    switch trust {
    case .system:
      guard SSL_CTX_set_default_verify_paths(context) == 1 else {
        throw .unavailable(reason: OpenSSLErrors.take())
      }
    case .file(let path):
      guard SSL_CTX_load_verify_locations(context, path, nil) == 1 else {
        throw .cannotRead(path: path, reason: OpenSSLErrors.take())
      }
    }
    // Length, then name.
    let protocols: [UInt8] = [8] + Array("http/1.1".utf8)
    guard SSL_CTX_set_alpn_protos(context, protocols, UInt32(protocols.count)) == 0 else {
      throw .unavailable(reason: OpenSSLErrors.take())
    }
    SSL_CTX_sess_set_new_cb(context) { ssl, ticket in
      // 1: the reference is ours now.
      guard let ssl, let ticket, let session = TLSSession.owning(ssl) else { return 0 }
      session.gotTicket(ticket)
      return 1
    }
  }

  /// For connections of clients.
  /// - Parameter identity: what to show; nil when every session brings its own.
  package convenience init(serverShowing identity: TLSIdentity?) throws(TLSSetupError) {
    try self.init(isClient: false)
    if let identity { try show(identity) }
    SSL_CTX_set_alpn_select_cb(
      context,
      { _, chosen, count, offered, offeredCount, _ in
        guard let chosen, let count, let offered else { return SSL_TLSEXT_ERR_NOACK }
        return TLSContext.choose(chosen, count, offered, Int(offeredCount))
      }, nil)
    guard ticketKeys != nil,
      SSL_CTX_set_tlsext_ticket_key_evp_cb(
        context,
        { ssl, name, iv, cipher, mac, isNew in
          guard let ssl, let name, let iv, let session = TLSSession.owning(ssl) else { return -1 }
          return session.sealTicket(name, iv, cipher, mac, isNew: isNew == 1)
        }) == 1
    else { throw .unavailable(reason: OpenSSLErrors.take()) }
    holdfast_SSL_CTX_set_servername_callback(context) { ssl, alert, _ in
      guard let ssl, let session = TLSSession.owning(ssl) else { return SSL_TLSEXT_ERR_OK }
      guard session.judgeServerName() else {
        alert?.pointee = Int32(TLSAlert.unrecognizedName.code)
        return SSL_TLSEXT_ERR_ALERT_FATAL
      }
      return SSL_TLSEXT_ERR_OK
    }
  }

  private init(isClient: Bool) throws(TLSSetupError) {
    self.isClient = isClient
    guard let context = SSL_CTX_new(isClient ? TLS_client_method() : TLS_server_method()) else {
      throw .unavailable(reason: OpenSSLErrors.take())
    }
    self.context = context
    ticketKeys = isClient ? nil : TicketKeys(now: .now())
    // Whatever the system's own configuration of OpenSSL says.
    SSL_CTX_set_security_level(context, Self.securityLevel)
    guard holdfast_SSL_CTX_set_min_version(context, TLS1_2_VERSION) == 1,
      SSL_CTX_set_cipher_list(context, isClient ? Self.clientCiphers : Self.serverCiphers) == 1,
      SSL_CTX_set_ciphersuites(context, Self.ciphersuites) == 1
    else { throw .unavailable(reason: OpenSSLErrors.take()) }
    // A peer that asks for a new handshake in the middle is an attack or a relic; compression leaks secrets.
    var options = holdfast_SSL_OP_NO_RENEGOTIATION | holdfast_SSL_OP_NO_COMPRESSION
    if !isClient { options |= holdfast_SSL_OP_CIPHER_SERVER_PREFERENCE }
    SSL_CTX_set_options(context, options)
    holdfast_SSL_CTX_set_modes(context)
    // Header and content of a record, and further records, with one call.
    holdfast_SSL_CTX_set_read_ahead(context)
    SSL_CTX_set_default_read_buffer_len(context, 32 << 10)
    holdfast_SSL_CTX_set_session_cache(context, isClient ? 1 : 0)
    SSL_CTX_set_info_callback(context) { ssl, place, value in
      guard let ssl, place & SSL_CB_ALERT != 0 else { return }
      TLSSession.owning(ssl)?.sawAlert(
        TLSAlert(code: UInt8(truncatingIfNeeded: value)), isReceived: place & SSL_CB_READ != 0)
    }
  }

  deinit { SSL_CTX_free(context) }

  /// Replaces the keys of tickets that have had their time. To be called now and then: without handshakes nothing else does.
  package func renewTicketKeys(now: Instant) { ticketKeys?.renew(now: now) }

  /// No ticket that was given out is good any more. Connections that are open may use the context for long.
  package func forgetTickets() { ticketKeys?.forget() }

  /// Here and not with each session, which would cost every handshake.
  private func show(_ identity: TLSIdentity) throws(TLSSetupError) {
    guard SSL_CTX_use_certificate(context, identity.certificate.x509) == 1,
      SSL_CTX_use_PrivateKey(context, identity.key.pkey) == 1,
      identity.chain.allSatisfy({ holdfast_SSL_CTX_add1_chain_cert(context, $0.x509) == 1 })
    else { throw .unavailable(reason: OpenSSLErrors.take()) }
  }

  /// 112 bits: no RSA keys below 2048 bits, no SHA-1 in signatures.
  private static let securityLevel: Int32 = 2
  /// TLS 1.3: all have forward secrecy and authenticated encryption.
  private static let ciphersuites =
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
  /// TLS 1.2, with clients: only what has both as well (RFC 9325 §4.2). Programs too old for that fail anyway, on
  /// today's origins.
  private static let serverCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20"
  /// TLS 1.2, with origins: forward secrecy always; those that have no authenticated encryption are still reached,
  /// because otherwise nobody behind this proxy could reach them.
  private static let clientCiphers =
    "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:DHE+AES"
    + ":!aNULL:!eNULL:!PSK:!SRP:!DSS:!AESCCM"

  /// HTTP/1.1 if it is offered. A client that offers others only is told so (RFC 7301 §3.2).
  private static func choose(
    _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>, _ count: UnsafeMutablePointer<UInt8>,
    _ offered: UnsafePointer<UInt8>, _ offeredCount: Int
  ) -> Int32 {
    let wanted = Array("http/1.1".utf8)
    var position = 0
    while position < offeredCount {
      let length = Int(offered[position])
      guard position + 1 + length <= offeredCount else { break }
      let name = UnsafeBufferPointer(start: offered + position + 1, count: length)
      if name.elementsEqual(wanted) {
        chosen.pointee = offered + position + 1
        count.pointee = UInt8(truncatingIfNeeded: length)
        return SSL_TLSEXT_ERR_OK
      }
      position += 1 + length
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL
  }
}

extension TLSSetupError {
  /// For people, behind a file's name.
  package var sentence: String {
    switch self {
    case .noCertificate: "there is no certificate in the file"
    case .noKey: "there is no private key in the file, or it has a password"
    case .keyOfAnother: "the private key does not belong to the certificate"
    case .cannotRead(let path, let reason): "\(path): \(reason)"
    case .unavailable(let reason): reason
    }
  }
}
