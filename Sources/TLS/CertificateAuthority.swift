// Our own certificate authority, for hosts whose connections are to be read: it signs a certificate for each, which
// clients that trust it take for the host's. Its key opens everything those clients send anywhere, unless name
// constraints (RFC 5280 §4.2.1.10) hold it to the hosts it was made for.

import COpenSSL
import Glibc

/// A certificate authority with its key.
package final class CertificateAuthority: Sendable {
  package let certificate: Certificate
  private let key: PrivateKey
  /// All leaf certificates have one key: making one costs more than the rest together, and what protects it
  /// is the same memory.
  private let leafKey: PrivateKey

  /// - Throws: when they do not belong together.
  package init(certificate: Certificate, key: PrivateKey) throws(TLSSetupError) {
    guard certificate.isKeyed(by: key) else { throw .keyOfAnother }
    self.certificate = certificate
    self.key = key
    do throws(TLSFailure) {
      leafKey = try PrivateKey.make()
    } catch {
      throw .unavailable(reason: "a key could not be made")
    }
  }

  /// Makes a new authority.
  /// - Parameters:
  ///   - name: by which people find it in a trust store.
  ///   - permitted: the only hosts it may sign for; a name stands for itself and all below it. Any when empty.
  ///   - now: Unix seconds.
  package static func make(
    name: String, permitted: [String], validFor days: Int, now: Int64
  ) throws(TLSFailure) -> (certificate: Certificate, key: PrivateKey) {
    let key = try PrivateKey.make()
    let draft = try CertificateDraft(
      subject: name, key: key, notBefore: now - CertificateDraft.clockSkew,
      notAfter: now + Int64(clamping: days) * 86_400)
    try draft.signedBy(draft.x509, key) { draft throws(TLSFailure) in
      try draft.extend(NID_basic_constraints, "critical,CA:TRUE,pathlen:0")
      try draft.extend(NID_key_usage, "critical,keyCertSign,cRLSign")
      try draft.extend(NID_subject_key_identifier, "hash")
      if !permitted.isEmpty {
        try draft.extend(
          NID_name_constraints, "critical," + constraints(permitted).joined(separator: ","))
      }
    }
    return (Certificate(adopting: draft.take()), key)
  }

  /// A name that no host has (RFC 6761 §6.4), for an authority that may sign for no name at all.
  static let noName = "invalid"

  /// Names are held to names, and addresses to addresses: what is not spoken of at all would be free, so one kind is
  /// shut out where only the other is permitted.
  private static func constraints(_ permitted: [String]) -> [String] {
    let names = permitted.map { CertificateDraft.generalName($0, isConstraint: true) }
    var constraints = names.map { "permitted;" + $0 }
    if !names.contains(where: { $0.hasPrefix("IP:") }) {
      constraints += ["excluded;IP:0.0.0.0/0.0.0.0", "excluded;IP:::/::"]
    }
    if !names.contains(where: { $0.hasPrefix("DNS:") }) {
      constraints.append("permitted;DNS:\(noName)")
    }
    return constraints
  }

  /// Makes a certificate for a host.
  /// - Parameters:
  ///   - host: a name or an address, without brackets.
  ///   - now: Unix seconds.
  package func identity(for host: String, validFor days: Int, now: Int64) throws(TLSFailure)
    -> TLSIdentity
  {
    let end = now + Int64(clamping: days) * 86_400
    let draft = try CertificateDraft(
      // With a space, lest an address in this place be held against the names the authority may sign for.
      subject: CertificateDraft.isAddress(host) ? "address \(host)" : host, key: leafKey,
      notBefore: now - CertificateDraft.clockSkew,
      notAfter: min(end, certificate.summary.notAfter ?? end))
    try draft.signedBy(certificate.x509, key) { draft throws(TLSFailure) in
      try draft.extend(NID_basic_constraints, "critical,CA:FALSE")
      try draft.extend(NID_key_usage, "critical,digitalSignature")
      try draft.extend(NID_ext_key_usage, "serverAuth")
      try draft.extend(
        NID_subject_alt_name, CertificateDraft.generalName(host, isConstraint: false))
      try draft.extend(NID_subject_key_identifier, "hash")
      try draft.extend(NID_authority_key_identifier, "keyid:always")
    }
    return TLSIdentity(
      certificate: Certificate(adopting: draft.take()), chain: [], key: leafKey)
  }
}

/// A certificate that is being made.
private final class CertificateDraft {
  /// Clocks of clients may be behind ours.
  static let clockSkew: Int64 = 3600

  private(set) var x509: OpaquePointer
  private var isTaken = false
  private var issuer: OpaquePointer?

  init(subject: String, key: PrivateKey, notBefore: Int64, notAfter: Int64) throws(TLSFailure) {
    OpenSSLErrors.clear()
    guard let x509 = X509_new() else { throw .unavailable(reason: OpenSSLErrors.take()) }
    self.x509 = x509
    var serial = [UInt8](repeating: 0, count: 16)
    guard RAND_bytes(&serial, Int32(serial.count)) == 1 else { throw Self.unavailable() }
    // Positive, and as long as any (RFC 5280 §4.1.2.2).
    serial[0] = serial[0] & 0x7F | 0x40
    let number = BN_bin2bn(serial, Int32(serial.count), nil)
    defer { BN_free(number) }
    // RFC 5280: a common name has 64 characters at most; longer hosts are in the alternative name alone.
    let name = Array(subject.utf8.prefix(64))
    guard X509_set_version(x509, 2) == 1,
      BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != nil,
      ASN1_TIME_set(X509_getm_notBefore(x509), time_t(notBefore)) != nil,
      ASN1_TIME_set(X509_getm_notAfter(x509), time_t(notAfter)) != nil,
      X509_set_pubkey(x509, key.pkey) == 1,
      X509_NAME_add_entry_by_txt(
        X509_get_subject_name(x509), "CN", MBSTRING_UTF8, name, Int32(name.count), -1, 0) == 1
    else { throw Self.unavailable() }
  }

  deinit { if !isTaken { X509_free(x509) } }

  /// Gives the certificate away.
  func take() -> OpaquePointer {
    isTaken = true
    return x509
  }

  private static func unavailable() -> TLSFailure { .unavailable(reason: OpenSSLErrors.take()) }

  func signedBy(
    _ issuer: OpaquePointer, _ key: PrivateKey,
    extending: (CertificateDraft) throws(TLSFailure) -> Void
  ) throws(TLSFailure) {
    self.issuer = issuer
    guard X509_set_issuer_name(x509, X509_get_subject_name(issuer)) == 1 else {
      throw Self.unavailable()
    }
    try extending(self)
    guard X509_sign(x509, key.pkey, EVP_sha256()) > 0 else { throw Self.unavailable() }
  }

  /// Adds an extension, written as OpenSSL's configuration files do.
  func extend(_ kind: Int32, _ value: String) throws(TLSFailure) {
    var context = X509V3_CTX()
    X509V3_set_ctx(&context, issuer, x509, nil, nil, 0)
    guard let one = X509V3_EXT_nconf_nid(nil, &context, kind, value) else {
      throw Self.unavailable()
    }
    defer { X509_EXTENSION_free(one) }
    guard X509_add_ext(x509, one, -1) == 1 else { throw Self.unavailable() }
  }

  static func isAddress(_ host: String) -> Bool {
    var parsed = in6_addr()
    return host.withCString {
      inet_pton(AF_INET6, $0, &parsed) == 1 || inet_pton(AF_INET, $0, &parsed) == 1
    }
  }

  /// A host as a general name. Only what a host can consist of gets in: this is read by a small language of OpenSSL's.
  static func generalName(_ host: String, isConstraint: Bool) -> String {
    if isAddress(host) {
      guard isConstraint else { return "IP:\(host)" }
      return host.contains(":")
        ? "IP:\(host)/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        : "IP:\(host)/255.255.255.255"
    }
    // A name permits all below it, so a wildcard says no more.
    let bare = isConstraint && host.hasPrefix("*.") ? host.dropFirst(2) : host[...]
    let name = String(
      decoding: bare.utf8.filter {
        $0 >= 0x30 && $0 <= 0x39 || $0 >= 0x41 && $0 <= 0x5A || $0 >= 0x61 && $0 <= 0x7A
          || $0 == 0x2D || $0 == 0x2E || $0 == 0x5F || $0 == 0x7E
      }, as: UTF8.self)
    return "DNS:\(name)"
  }
}
