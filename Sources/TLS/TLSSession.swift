// One TLS connection over one socket of ours: handshake, then content both ways. Nothing here waits; whoever owns the
// socket watches it, and calls again when there is something to read or room to write.
//
//   handshaking ─▶ open ─▶ closed        a failure ends it wherever it is, and is told again to whoever asks on;
//                                        one of sending ends sending alone
//
// What has been decrypted may lie here while the socket is silent: after reading, `hasUnread` says whether to come
// back without waiting for the kernel.

import COpenSSL
import Platform

/// Proof of an earlier handshake, with which the next one to the same server is shorter (RFC 8446 §2.2).
package final class TLSTicket: @unchecked Sendable {
  let session: OpaquePointer

  init(adopting session: OpaquePointer) { self.session = session }

  deinit { SSL_SESSION_free(session) }
}

/// One TLS connection. Used by one thread at a time.
package final class TLSSession {
  /// What a handshake has come to.
  package enum Progress: Hashable, Sendable {
    case done
    case wantsRead
    case wantsWrite
    case failed(TLSFailure)
  }

  /// What was agreed upon.
  package struct Agreement: Hashable, Sendable {
    /// "TLSv1.3"
    package var version: String
    /// "TLS_AES_256_GCM_SHA384"
    package var cipher: String
    /// By ALPN, nil when the peer knows none of it.
    package var applicationProtocol: String?
    package var isResumed: Bool
  }

  private let ssl: OpaquePointer
  private let context: TLSContext
  /// TLS inside of TLS: the connection that carries this one, which ends with it.
  package let carrier: TLSSession?
  /// Bytes of the peer's that somebody else has read before TLS began.
  private var early: [UInt8] = []
  /// The socket's descriptor; it stays the caller's, who changes it only when there is none any more.
  private let descriptor: Int32
  /// The only host a client may ask for; any when nil.
  private var expectedName: String?
  private var identity: TLSIdentity?
  private var failure: TLSFailure?
  /// Nothing can be sent any more. What the peer has sent before can still be read, and may say why.
  private var sendFailure: TLSFailure?
  private var hasEnded = false
  private(set) package var isOpen = false
  private var receiveError: Errno?
  private var sendError: Errno?
  private var socketEnded = false
  /// Why OpenSSL was about to fail when it called the carrier, which has a use for the same list of errors.
  private var hiddenError: UInt = 0
  /// What has come was not read to its end.
  private var mayHaveMore = false
  /// Set while records are put together instead of being sent one by one.
  private var gatherer: RecordGatherer?
  private var held = HeldRecords()
  /// Content of a record that OpenSSL has made and could not send.
  private var recordBegun = 0
  /// Bytes read off the socket since there was content among them.
  private var fruitless = 0
  /// A client's first bytes, until it has said that it speaks TLS.
  private var opening: [UInt8] = []
  private var problem: CertificateProblem?
  private(set) package var alertReceived: TLSAlert?
  private(set) package var alertSent: TLSAlert?
  private var ticket: TLSTicket?
  private var verifies = true

  // MARK: Beginning

  /// A connection to a server.
  /// - Parameters:
  ///   - host: whose certificate it has to be: a name or an address, without brackets.
  ///   - verifies: false takes whatever certificate comes.
  ///   - ticket: of an earlier connection to the same server.
  ///   - carrier: of the connection, when TLS is spoken on it already.
  package init(
    client context: TLSContext, descriptor: Int32, host: String, isAddress: Bool,
    verifies: Bool = true, ticket: TLSTicket? = nil, over carrier: TLSSession? = nil
  ) throws(TLSFailure) {
    self.context = context
    self.descriptor = descriptor
    self.verifies = verifies
    self.carrier = carrier
    ssl = try Self.make(context)
    try attach()
    if isAddress {
      let parameters = SSL_get0_param(ssl)
      guard X509_VERIFY_PARAM_set1_ip_asc(parameters, host) == 1 else { throw unavailable() }
    } else {
      SSL_set_hostflags(ssl, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
      // RFC 6066 §3: names only, never addresses.
      guard holdfast_SSL_set_server_name(ssl, host) == 1, SSL_set1_host(ssl, host) == 1 else {
        throw unavailable()
      }
    }
    SSL_set_verify(ssl, SSL_VERIFY_PEER) { isGood, store in
      TLSSession.verified(isGood == 1, store) ? 1 : 0
    }
    if let ticket { SSL_set_session(ssl, ticket.session) }
    SSL_set_connect_state(ssl)
  }

  /// A connection of a client.
  /// - Parameters:
  ///   - identity: what to show instead of what the context has.
  ///   - expectedName: a client that names another host (SNI) is refused; a name or an address, without brackets.
  ///   - scope: what its sessions are good for, such as a host and a port; for all that have none when nil.
  ///   - carrier: of the connection, when TLS was spoken on it already.
  package init(
    server context: TLSContext, descriptor: Int32, identity: TLSIdentity? = nil,
    expectedName: String? = nil, scope: String? = nil, over carrier: TLSSession? = nil
  ) throws(TLSFailure) {
    self.context = context
    self.descriptor = descriptor
    self.carrier = carrier
    self.expectedName = expectedName
    ssl = try Self.make(context)
    try attach()
    if let identity { try show(identity) }
    // Without it a ticket got for one host would be good for another, for which another certificate is shown.
    var digest: [UInt8] = [0]
    if let scope { digest = try self.digest(of: scope) }
    guard SSL_set_session_id_context(ssl, digest, UInt32(digest.count)) == 1 else {
      throw unavailable()
    }
    SSL_set_accept_state(ssl)
  }

  private static func make(_ context: TLSContext) throws(TLSFailure) -> OpaquePointer {
    OpenSSLErrors.clear()
    guard let ssl = SSL_new(context.context) else {
      throw .unavailable(reason: OpenSSLErrors.take())
    }
    return ssl
  }

  private func attach() throws(TLSFailure) {
    guard SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque()) == 1,
      let bio = SocketBIO.make(for: self)
    else { throw unavailable() }
    // One object both ways: this takes over its one reference.
    SSL_set_bio(ssl, bio, bio)
  }

  private func show(_ identity: TLSIdentity) throws(TLSFailure) {
    self.identity = identity
    guard SSL_use_certificate(ssl, identity.certificate.x509) == 1,
      SSL_use_PrivateKey(ssl, identity.key.pkey) == 1
    else { throw unavailable() }
    for certificate in identity.chain {
      guard holdfast_SSL_add1_chain_cert(ssl, certificate.x509) == 1 else { throw unavailable() }
    }
  }

  /// As long as a context for sessions can be (SHA-256).
  private func digest(of text: String) throws(TLSFailure) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: Int(SSL_MAX_SID_CTX_LENGTH))
    let bytes = Array(text.utf8)
    guard EVP_Digest(bytes, bytes.count, &digest, nil, EVP_sha256(), nil) == 1 else {
      throw unavailable()
    }
    return digest
  }

  private func unavailable() -> TLSFailure { .unavailable(reason: OpenSSLErrors.take()) }

  deinit { SSL_free(ssl) }

  /// For callbacks of OpenSSL, in which the object is alive because it is what has called.
  static func owning(_ ssl: OpaquePointer) -> TLSSession? {
    SSL_get_ex_data(ssl, 0).map { Unmanaged<TLSSession>.fromOpaque($0).takeUnretainedValue() }
  }

  /// Takes what somebody else has read of the peer's TLS already. To be called before `handshake`, any number of times.
  package func takeEarly(_ bytes: UnsafeRawBufferPointer) { early.append(contentsOf: bytes) }

  // MARK: Handshake

  /// Goes on with the handshake as far as possible.
  package func handshake() -> Progress {
    if let failure { return .failed(failure) }
    if isOpen { return .done }
    OpenSSLErrors.clear()
    fruitless = 0
    let result = SSL_do_handshake(ssl)
    if result == 1 {
      hiddenError = 0
      isOpen = true
      opening = []
      // Content may have come along with the peer's last words.
      mayHaveMore = true
      return .done
    }
    switch outcome(result) {
    case .wantsRead: return .wantsRead
    case .wantsWrite: return .wantsWrite
    case .endOfStream: return .failed(fail(.truncated))
    case .failed(let failure): return .failed(failure)
    case .bytes: return .done
    }
  }

  /// Called by OpenSSL for each certificate of the chain.
  private static func verified(_ isGood: Bool, _ store: OpaquePointer?) -> Bool {
    guard let store,
      let pointer = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()),
      let session = owning(OpaquePointer(pointer))
    else { return false }
    if isGood { return true }
    if session.problem == nil {
      let error = X509_STORE_CTX_get_error(store)
      session.problem = CertificateProblem(
        reason: X509_verify_cert_error_string(Int(error)).map { String(cString: $0) }
          ?? "error \(error)",
        certificate: X509_STORE_CTX_get_current_cert(store).map { CertificateSummary($0) },
        depth: Int(X509_STORE_CTX_get_error_depth(store)))
    }
    return !session.verifies
  }

  /// Called by OpenSSL once the name is known.
  func judgeServerName() -> Bool {
    guard let expectedName, let name = serverName, !Self.isSame(name, expectedName) else {
      return true
    }
    refusedName = name
    return false
  }

  /// Addresses have no place in SNI (RFC 6066 §3). Who writes one there all the same, and the right one, means what was
  /// asked for.
  private static func isSame(_ name: String, _ expected: String) -> Bool {
    if let address = IPAddress(expected) { return IPAddress(name) == address }
    let dotless = name.hasSuffix(".") ? name.dropLast() : name[...]
    return dotless.lowercased() == expected.lowercased()
  }

  /// The name the client has asked for, if that is why the handshake failed.
  private(set) package var refusedName: String?

  /// The name the client asked for (RFC 6066 §3).
  package var serverName: String? {
    SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) }
  }

  /// What is wrong with the peer's certificate, also where that is not held against it.
  package var certificateProblem: CertificateProblem? { problem }

  /// Known once the handshake is done.
  package var agreement: Agreement? {
    guard isOpen else { return nil }
    var name: UnsafePointer<UInt8>?
    var count: UInt32 = 0
    SSL_get0_alpn_selected(ssl, &name, &count)
    return Agreement(
      version: String(cString: SSL_get_version(ssl)),
      cipher: SSL_get_current_cipher(ssl).flatMap { SSL_CIPHER_get_name($0) }.map {
        String(cString: $0)
      } ?? "",
      applicationProtocol: name.map {
        String(decoding: UnsafeBufferPointer(start: $0, count: Int(count)), as: UTF8.self)
      },
      isResumed: SSL_session_reused(ssl) == 1)
  }

  func sealTicket(
    _ name: UnsafeMutablePointer<UInt8>, _ iv: UnsafeMutablePointer<UInt8>,
    _ cipher: OpaquePointer?, _ mac: OpaquePointer?, isNew: Bool
  ) -> Int32 {
    context.ticketKeys?.seal(
      name: name, iv: iv, cipher, mac, isNew: isNew, isTLS13: SSL_version(ssl) == TLS1_3_VERSION)
      ?? -1
  }

  func gotTicket(_ session: OpaquePointer) { ticket = TLSTicket(adopting: session) }

  /// The newest ticket the server has sent; each is given once.
  package func takeTicket() -> TLSTicket? {
    defer { ticket = nil }
    return ticket
  }

  func sawAlert(_ alert: TLSAlert, isReceived: Bool) {
    if isReceived { alertReceived = alert } else { alertSent = alert }
  }

  // MARK: Content

  /// Reads content, at most as much as fits.
  package func read(into buffer: UnsafeMutableRawBufferPointer) -> TLSTransfer {
    if let failure { return .failed(failure) }
    if hasEnded { return .endOfStream }
    fruitless = 0
    var total = 0
    while total < buffer.count {
      OpenSSLErrors.clear()
      var count = 0
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[total...])
      let result = SSL_read_ex(ssl, rest.baseAddress, rest.count, &count)
      if result == 1 {
        total += count
        fruitless = 0
        hiddenError = 0
        continue
      }
      let outcome = outcome(result)
      if case .endOfStream = outcome { hasEnded = true }
      // A part of a record may lie here, but nothing can be made of it before the rest has come.
      mayHaveMore = false
      // What went wrong is told next time; these bytes came before.
      return total > 0 ? .bytes(total) : outcome
    }
    mayHaveMore = true
    return total > 0 ? .bytes(total) : .wantsRead
  }

  /// Reading stops after so many bytes without content, and goes on in a later turn: key updates and tickets can be
  /// sent without end, as fast as they are read, and nobody else would have a turn.
  private static let fruitlessLimit = 64 << 10

  /// Bytes, an end or a failure lie here, which the kernel will not tell of.
  package var hasUnread: Bool {
    failure != nil || hasEnded || mayHaveMore && SSL_has_pending(ssl) == 1 || !early.isEmpty
      || carrier?.hasUnread == true
  }

  /// Writes as much as the socket takes. When that is less than all, a record may have been begun: the next call has
  /// to begin with the bytes that are left, and has to have at least `repeatCount` of them.
  package func write(_ bytes: UnsafeRawBufferPointer) -> TLSTransfer {
    if let failure = failure ?? sendFailure { return .failed(failure) }
    if let stop = held.flush(send) { return stopped(stop) }
    var total = held.settle(bytes.count)
    while total < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[total...])
      let outcome =
        // A thread has one buffer, and a carrier uses it.
        recordBegun == 0 && carrier == nil && rest.count > RecordGatherer.recordLimit
        ? writeRecords(rest) : writeRecord(rest)
      guard case .bytes(let count) = outcome else { return total > 0 ? .bytes(total) : outcome }
      total += count
      if !held.isEmpty { break }
    }
    return total > 0 ? .bytes(total) : .wantsWrite
  }

  /// One record, to the socket.
  private func writeRecord(_ bytes: UnsafeRawBufferPointer) -> TLSTransfer {
    OpenSSLErrors.clear()
    var count = 0
    let record = min(bytes.count, RecordGatherer.recordLimit)
    let result = SSL_write_ex(ssl, bytes.baseAddress, record, &count)
    recordBegun = result == 1 ? 0 : record
    return result == 1 ? .bytes(count) : outcome(result, ofWriting: true)
  }

  /// Several records at once. What of them the socket does not take is held.
  private func writeRecords(_ bytes: UnsafeRawBufferPointer) -> TLSTransfer {
    guard let buffer = RecordGatherer() else { return writeRecord(bytes) }
    gatherer = buffer
    defer { gatherer = nil }
    var content = 0
    /// Where each write ends, in what was gathered and in the content. A client may ask for small records
    /// (RFC 6066 §4), so neither follows from the other.
    var ends: [(gathered: Int, content: Int)] = []
    for _ in 0..<RecordGatherer.records where content < bytes.count {
      OpenSSLErrors.clear()
      var count = 0
      let end = min(bytes.count, content + RecordGatherer.recordLimit)
      let record = UnsafeRawBufferPointer(rebasing: bytes[content..<end])
      let result = SSL_write_ex(ssl, record.baseAddress, record.count, &count)
      guard result == 1 else {
        let outcome = outcome(result, ofWriting: true)
        guard content > 0, case .failed = outcome else { return outcome }
        // It is told next time; what came before it is in order.
        break
      }
      content += count
      ends.append((gatherer?.count ?? 0, content))
      // Less than it was given: its records are small ones, and OpenSSL sends them one by one.
      if count < record.count { break }
    }
    guard let gathered = gatherer?.bytes else { return .wantsWrite }
    gatherer = nil
    var sent = 0
    while sent < gathered.count {
      let rest = UnsafeRawBufferPointer(rebasing: gathered[sent...])
      switch send(rest) {
      case .bytes(let count):
        sent += count
      case .wantsWrite, .wantsRead:
        let whole = ends.last { $0.gathered <= sent }?.content ?? 0
        held.hold(rest, content: content - whole)
        return whole > 0 ? .bytes(whole) : .wantsWrite
      case let transfer:
        return stopped(transfer)
      }
    }
    return .bytes(content)
  }

  private func stopped(_ transfer: TLSTransfer) -> TLSTransfer {
    if case .failed(let failure) = transfer { sendFailure = failure }
    return transfer
  }

  /// Bytes that have to be written again, because records with them have been begun.
  package var repeatCount: Int { max(recordBegun, held.content) }

  /// Says that nothing follows (close_notify). What the socket does not take at once is not said.
  package func finish() {
    if failure == nil, sendFailure == nil, isOpen {
      OpenSSLErrors.clear()
      SSL_shutdown(ssl)
      OpenSSLErrors.clear()
    }
    carrier?.finish()
  }

  // MARK: Outcomes

  private func outcome(_ result: Int32, ofWriting isWriting: Bool = false) -> TLSTransfer {
    switch SSL_get_error(ssl, result) {
    case SSL_ERROR_WANT_READ: return .wantsRead
    case SSL_ERROR_WANT_WRITE: return .wantsWrite
    case SSL_ERROR_ZERO_RETURN: return .endOfStream
    default:
      if isWriting, let error = sendError {
        // The reading side has a story of its own, and tells it to its end.
        sendError = nil
        sendFailure = .connection(error)
        OpenSSLErrors.clear()
        return .failed(.connection(error))
      }
      return .failed(fail(diagnosis()))
    }
  }

  private func fail(_ failure: TLSFailure) -> TLSFailure {
    self.failure = failure
    OpenSSLErrors.clear()
    return failure
  }

  private func diagnosis() -> TLSFailure {
    if let error = receiveError ?? sendError { return .connection(error) }
    let code = hiddenError != 0 ? hiddenError : OpenSSLErrors.first
    if let alert = OpenSSLErrors.receivedAlert(code) { return .alertReceived(alert) }
    let reason = OpenSSLErrors.reason(code)
    if holdfast_ERR_library(code) == ERR_LIB_SSL {
      switch reason {
      case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return .certificate(
          problem
            ?? CertificateProblem(reason: OpenSSLErrors.text(code), certificate: nil, depth: 0))
      case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST:
        return .plainHTTP
      case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return .truncated
      case SSL_R_WRONG_VERSION_NUMBER where !isOpen && context.isClient:
        return .notTLS
      // OpenSSL knows four methods only.
      case SSL_R_WRONG_VERSION_NUMBER where !isOpen && isOpeningHTTP:
        return .plainHTTP
      default:
        break
      }
    }
    if code == 0, socketEnded { return .truncated }
    return .protocolError(reason: OpenSSLErrors.text(code), alertSent: alertSent)
  }

  /// A method of HTTP is where a handshake should begin. All of them are capitals; a record begins with 22.
  private var isOpeningHTTP: Bool {
    opening.count == Self.openingLength && opening.allSatisfy { 0x41...0x5A ~= $0 || $0 == 0x20 }
  }

  /// As short as a request's beginning that cannot be anything else.
  private static let openingLength = 3

  // MARK: The socket

  func readSocket(_ bio: OpaquePointer, _ buffer: UnsafeMutableRawBufferPointer) -> Int32 {
    guard fruitless < Self.fruitlessLimit else {
      holdfast_BIO_set_retry_read(bio)
      return -1
    }
    let count = fetch(bio, buffer)
    guard count > 0 else { return count }
    fruitless += Int(count)
    if !isOpen, !context.isClient, opening.count < Self.openingLength {
      opening.append(
        contentsOf: buffer.prefix(min(Int(count), Self.openingLength - opening.count)))
    }
    return count
  }

  private func fetch(_ bio: OpaquePointer, _ buffer: UnsafeMutableRawBufferPointer) -> Int32 {
    if !early.isEmpty {
      let count = min(early.count, buffer.count)
      buffer.copyBytes(from: early[..<count])
      early.removeFirst(count)
      return Int32(clamping: count)
    }
    if let carrier {
      hideError()
      return settled(carrier.read(into: buffer), bio, &receiveError)
    }
    switch Socket.receive(descriptor, into: buffer) {
    case .bytes(let count):
      return Int32(clamping: count)
    case .wouldBlock:
      holdfast_BIO_set_retry_read(bio)
      return -1
    case .endOfStream:
      socketEnded = true
      return 0
    case .failed(let errno):
      receiveError = errno
      return -1
    }
  }

  func writeSocket(_ bio: OpaquePointer, _ bytes: UnsafeRawBufferPointer) -> Int32 {
    if gatherer != nil {
      return gatherer?.append(bytes) == true ? Int32(clamping: bytes.count) : -1
    }
    // Nothing overtakes what is held.
    guard held.isEmpty else {
      holdfast_BIO_set_retry_write(bio)
      return -1
    }
    return settled(send(bytes), bio, &sendError)
  }

  /// Sends bytes as they are: to the socket, or through the TLS that carries this one.
  private func send(_ bytes: UnsafeRawBufferPointer) -> TLSTransfer {
    if let carrier {
      hideError()
      return carrier.write(bytes)
    }
    return switch Socket.send(descriptor, bytes) {
    case .bytes(let count): .bytes(count)
    case .wouldBlock, .endOfStream: .wantsWrite
    case .failed(let errno): .failed(.connection(errno))
    }
  }

  /// An alert is sent through the carrier as well: what it is about would be forgotten.
  private func hideError() {
    if hiddenError == 0 { hiddenError = OpenSSLErrors.first }
  }

  /// What has become of bytes, as a BIO tells it.
  private func settled(
    _ transfer: TLSTransfer, _ bio: OpaquePointer, _ error: inout Errno?
  ) -> Int32 {
    switch transfer {
    case .bytes(let count):
      return Int32(clamping: count)
    case .wantsRead:
      holdfast_BIO_set_retry_read(bio)
      return -1
    case .wantsWrite:
      holdfast_BIO_set_retry_write(bio)
      return -1
    case .endOfStream:
      socketEnded = true
      return 0
    case .failed(.connection(let errno)):
      error = errno
      return -1
    case .failed:
      error = .protocol
      return -1
    }
  }
}
