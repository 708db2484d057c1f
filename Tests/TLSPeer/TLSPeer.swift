// The other side of a TLS connection, with all of OpenSSL's switches in a test's hands: old protocols, weak ciphers, key
// updates, renegotiation, early data, and bytes that are no TLS at all. Blocking, with a time limit.
//
// OpenSSL works on memory here and the bytes are carried by hand, so that a test decides in which pieces they leave.

import COpenSSL
import Glibc

/// Why a peer could not go on.
package enum TLSPeerError: Error, Hashable, CustomStringConvertible {
  /// The other side has said that nothing follows.
  case closed
  /// `sendLimit` was reached.
  case cut
  case failed(String)
  case noAnswer
  case socket(Int32)

  package var description: String {
    switch self {
    case .closed: "close_notify"
    case .cut: "cut as ordered"
    case .failed(let reason): reason
    case .noAnswer: "nothing came in time"
    case .socket(let errno): "errno \(errno)"
    }
  }
}

package final class TLSPeer {
  package struct Options {
    package var minimum = TLS1_VERSION
    package var maximum = TLS1_3_VERSION
    /// For TLS 1.2 and older, as OpenSSL writes them. Level 0 shuts nothing out that OpenSSL still has.
    package var ciphers = "DEFAULT@SECLEVEL=0"
    package var protocols: [String] = ["http/1.1"]
    /// Server: a client without a certificate is refused, or asked in vain.
    package var needsCertificate = false
    package var asksForCertificate = false
    /// Server: none of what a client offers by ALPN is known, as with one that speaks HTTP/2 alone.
    package var refusesProtocols = false

    package init() {}

    package static func version(_ version: Int32) -> Options {
      var options = Options()
      options.minimum = version
      options.maximum = version
      return options
    }
  }

  package let ssl: OpaquePointer
  package private(set) var descriptor: Int32
  private let incoming: OpaquePointer
  private let outgoing: OpaquePointer
  /// Bytes that leave with one call, at most.
  package var pieceSize = Int.max
  /// After so many bytes nothing leaves any more, as if the line had been cut.
  package var sendLimit = Int.max
  /// How long to wait for the other side.
  private let patience: Int32
  private var isCut = false

  // MARK: Beginning

  /// - Parameters:
  ///   - descriptor: of a connected socket, which belongs to the peer from here on.
  ///   - host: what is asked for by SNI, if anything.
  ///   - session: of an earlier connection.
  package static func client(
    _ descriptor: Int32, host: String?, _ options: Options = Options(),
    session: OpaquePointer? = nil, seconds: Int32 = 20
  ) throws -> TLSPeer {
    let peer = try TLSPeer(descriptor, TLS_client_method(), options, seconds) { context, options in
      SSL_CTX_set_alpn_protos(
        context, options.encodedProtocols, UInt32(options.encodedProtocols.count))
    }
    if let host { _ = holdfast_SSL_set_server_name(peer.ssl, host) }
    if let session { SSL_set_session(peer.ssl, session) }
    SSL_set_connect_state(peer.ssl)
    return peer
  }

  /// - Parameter certificates: PEM, the server's own first.
  package static func server(
    _ descriptor: Int32, certificates: [UInt8], key: [UInt8], _ options: Options = Options(),
    seconds: Int32 = 20
  ) throws -> TLSPeer {
    let peer = try TLSPeer(descriptor, TLS_server_method(), options, seconds) { context, options in
      if options.refusesProtocols {
        SSL_CTX_set_alpn_select_cb(context, { _, _, _, _, _, _ in SSL_TLSEXT_ERR_ALERT_FATAL }, nil)
      }
      guard options.asksForCertificate || options.needsCertificate else { return }
      SSL_CTX_set_verify(
        context, SSL_VERIFY_PEER | (options.needsCertificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        nil)
      SSL_CTX_set_session_id_context(context, [1], 1)
    }
    try peer.show(certificates, key)
    SSL_set_accept_state(peer.ssl)
    return peer
  }

  private init(
    _ descriptor: Int32, _ method: OpaquePointer?, _ options: Options, _ seconds: Int32,
    setUp: (OpaquePointer, Options) -> Void
  ) throws {
    guard let context = SSL_CTX_new(method) else { throw TLSPeerError.failed("no context") }
    defer { SSL_CTX_free(context) }
    _ = SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(options.minimum), nil)
    _ = SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(options.maximum), nil)
    _ = SSL_CTX_set_cipher_list(context, options.ciphers)
    _ = SSL_CTX_ctrl(
      context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL),
      nil)
    setUp(context, options)
    guard let ssl = SSL_new(context), let incoming = BIO_new(BIO_s_mem()),
      let outgoing = BIO_new(BIO_s_mem())
    else { throw TLSPeerError.failed("no memory") }
    self.ssl = ssl
    self.incoming = incoming
    self.outgoing = outgoing
    self.descriptor = descriptor
    patience = seconds * 1000
    // Empty means "later", until the other side has ended.
    BIO_ctrl(incoming, BIO_C_SET_BUF_MEM_EOF_RETURN, -1, nil)
    SSL_set_bio(ssl, incoming, outgoing)
    var on: Int32 = 1
    setsockopt(
      descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
  }

  deinit {
    SSL_free(ssl)
    close()
  }

  private func show(_ certificates: [UInt8], _ key: [UInt8]) throws {
    var all: [OpaquePointer] = []
    defer { for certificate in all { X509_free(certificate) } }
    certificates.withUnsafeBytes { bytes in
      let bio = BIO_new_mem_buf(bytes.baseAddress, Int32(bytes.count))
      defer { BIO_free(bio) }
      while let one = PEM_read_bio_X509(bio, nil, nil, nil) { all.append(one) }
    }
    let pkey = key.withUnsafeBytes { bytes in
      let bio = BIO_new_mem_buf(bytes.baseAddress, Int32(bytes.count))
      defer { BIO_free(bio) }
      return PEM_read_bio_PrivateKey(bio, nil, nil, nil)
    }
    defer { EVP_PKEY_free(pkey) }
    ERR_clear_error()
    guard let first = all.first, let pkey, SSL_use_certificate(ssl, first) == 1,
      SSL_use_PrivateKey(ssl, pkey) == 1
    else { throw TLSPeerError.failed("no certificate") }
    for one in all.dropFirst() { _ = holdfast_SSL_add1_chain_cert(ssl, one) }
  }

  // MARK: Speaking

  package func handshake() throws { _ = try run { SSL_do_handshake(ssl) } }

  package func write(_ bytes: [UInt8]) throws {
    guard !bytes.isEmpty else { return }
    _ = try run { SSL_write(ssl, bytes, Int32(bytes.count)) }
  }

  package func write(_ text: String) throws { try write(Array(text.utf8)) }

  /// Sends what OpenSSL would have nothing to do with.
  package func writeRaw(_ bytes: [UInt8]) throws { try send(bytes) }

  /// Reads content, some of it.
  package func read() throws -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 32 << 10)
    let count = try run { SSL_read(ssl, &buffer, Int32(buffer.count)) }
    return Array(buffer[..<Int(count)])
  }

  /// Reads until the content so far ends with this.
  package func read(until end: String) throws -> String {
    var bytes: [UInt8] = []
    while !bytes.reversed().starts(with: end.utf8.reversed()) { bytes += try read() }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Reads a message with its head, and the content whose length it states.
  package func readMessage() throws -> (head: String, content: [UInt8]) {
    var bytes: [UInt8] = []
    while true {
      if let end = bytes.firstRange(of: [13, 10, 13, 10]) {
        let head = String(decoding: bytes[..<end.upperBound], as: UTF8.self)
        let content = Array(bytes[end.upperBound...])
        let length = head.lowercased().firstRange(of: "content-length: ").map {
          Int(head.lowercased()[$0.upperBound...].prefix { $0.isNumber }) ?? 0
        }
        if content.count >= length ?? 0 { return (head, content) }
      }
      bytes += try read()
    }
  }

  /// Says that nothing follows, and goes on reading.
  package func finish() {
    SSL_shutdown(ssl)
    try? flush()
  }

  /// Runs a call of OpenSSL's to its end, carrying bytes as it wants them.
  /// - Returns: what it returned, when that is a success.
  @discardableResult
  package func run(_ call: () -> Int32) throws -> Int32 {
    while true {
      if isCut { throw TLSPeerError.cut }
      ERR_clear_error()
      let result = call()
      let error = SSL_get_error(ssl, result)
      let reason = ERR_peek_error()
      try flush()
      if isCut { throw TLSPeerError.cut }
      if result > 0 { return result }
      switch error {
      case SSL_ERROR_WANT_READ: try fill()
      case SSL_ERROR_WANT_WRITE: continue
      case SSL_ERROR_ZERO_RETURN: throw TLSPeerError.closed
      default:
        throw TLSPeerError.failed(
          ERR_reason_error_string(reason).map { String(cString: $0) } ?? "error \(error)")
      }
    }
  }

  // MARK: The socket

  /// Sends what OpenSSL has put aside.
  package func flush() throws {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = BIO_read(outgoing, &buffer, Int32(buffer.count))
      guard count > 0 else { return }
      try send(Array(buffer[..<Int(count)]))
    }
  }

  private func send(_ bytes: [UInt8]) throws {
    var rest = bytes.prefix(sendLimit)
    sendLimit -= rest.count
    defer { if sendLimit == 0 { isCut = true } }
    while !rest.isEmpty {
      let count = rest.prefix(pieceSize).withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count > 0 {
        rest = rest.dropFirst(count)
      } else if errno == EAGAIN {
        try wait(Int16(POLLOUT))
      } else if errno != EINTR {
        // What it has said before may tell why.
        return
      }
    }
  }

  /// Takes in what has come already, without waiting, and lets OpenSSL go on with a handshake.
  package func takeWhatIsThere() throws {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    if poll(&entry, 1, 0) > 0 { try fill() }
    if SSL_is_init_finished(ssl) == 0 { SSL_do_handshake(ssl) }
    try flush()
  }

  /// Takes in what comes; an end is told to OpenSSL.
  private func fill() throws {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count > 0 {
        BIO_write(incoming, buffer, Int32(count))
        return
      }
      if count == 0 {
        BIO_ctrl(incoming, BIO_C_SET_BUF_MEM_EOF_RETURN, 0, nil)
        return
      }
      if errno == EAGAIN {
        try wait(Int16(POLLIN))
      } else if errno != EINTR {
        throw TLSPeerError.socket(errno)
      }
    }
  }

  private func wait(_ events: Int16) throws {
    var entry = pollfd(fd: descriptor, events: events, revents: 0)
    while true {
      let result = poll(&entry, 1, patience)
      if result > 0 { return }
      if result == 0 { throw TLSPeerError.noAnswer }
      guard errno == EINTR else { throw TLSPeerError.socket(errno) }
    }
  }

  /// FIN, without a close_notify.
  package func finishSocket() { shutdown(descriptor, Int32(SHUT_WR)) }

  package func close() {
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
  }

  /// Closes with RST.
  package func reset() {
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(
      descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
    close()
  }
}

extension TLSPeer.Options {
  /// As ALPN wants them: each with its length before it.
  fileprivate var encodedProtocols: [UInt8] {
    protocols.flatMap { [UInt8(truncatingIfNeeded: $0.utf8.count)] + Array($0.utf8) }
  }
}
