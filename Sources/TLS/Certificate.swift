// X.509 certificates and private keys as values with an owner: read from PEM, written as PEM, described for people.

import COpenSSL
import Platform

/// What a certificate says of itself, for logs and error messages. Names are as RFC 4514 writes them.
package struct CertificateSummary: Hashable, Sendable {
  package var subject: String
  package var issuer: String
  /// The host names and addresses it is good for.
  package var names: [String]
  /// Unix seconds, the first and the last in which it is valid; nil where it says something unreadable.
  package var notBefore: Int64?
  package var notAfter: Int64?
}

/// A certificate. Immutable.
package final class Certificate: @unchecked Sendable {
  // X509 counts its references atomically, and nothing here changes it once it is made.
  let x509: OpaquePointer

  /// Takes over a reference.
  init(adopting x509: OpaquePointer) { self.x509 = x509 }

  deinit { X509_free(x509) }

  /// All certificates in a PEM file, in their order. Empty when there is none that can be read.
  package static func all(inPEM text: [UInt8]) -> [Certificate] {
    var found: [Certificate] = []
    withMemoryBIO(text) { bio in
      while let x509 = PEM_read_bio_X509(bio, nil, nil, nil) {
        found.append(Certificate(adopting: x509))
      }
    }
    OpenSSLErrors.clear()
    return found
  }

  package var pem: [UInt8] { writtenByBIO { PEM_write_bio_X509($0, x509) } }

  /// The encoding of RFC 5280, as Java's and Windows' tools want it.
  package var der: [UInt8] { writtenByBIO { i2d_X509_bio($0, x509) } }

  package var summary: CertificateSummary { CertificateSummary(x509) }

  /// The SHA-256 of its encoding, as people compare it: pairs of hexadecimal digits with colons.
  package var fingerprint: String {
    var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    guard X509_digest(x509, EVP_sha256(), &digest, &count) == 1 else { return "" }
    let digits = Array("0123456789ABCDEF")
    return digest.prefix(Int(count)).map { "\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }
      .joined(separator: ":")
  }

  /// For an authority: the only names it may sign for, each with all below it (RFC 5280 §4.2.1.10). Any when empty.
  package var permittedNames: [String] {
    guard let all = X509_get_ext_d2i(x509, NID_name_constraints, nil, nil) else { return [] }
    let constraints = all.assumingMemoryBound(to: NAME_CONSTRAINTS.self)
    defer { NAME_CONSTRAINTS_free(constraints) }
    guard let permitted = constraints.pointee.permittedSubtrees else { return [] }
    var names: [String] = []
    for index in 0..<max(0, OPENSSL_sk_num(permitted)) {
      guard let entry = OPENSSL_sk_value(permitted, index),
        let base = entry.assumingMemoryBound(to: GENERAL_SUBTREE.self).pointee.base,
        let name = CertificateSummary.text(of: base, isConstraint: true),
        name != CertificateAuthority.noName
      else { continue }
      names.append(name)
    }
    return names
  }

  package func isKeyed(by key: PrivateKey) -> Bool { X509_check_private_key(x509, key.pkey) == 1 }
}

extension CertificateSummary {
  /// - Parameter x509: stays the caller's.
  init(_ x509: OpaquePointer) {
    self.init(
      subject: Self.text(X509_get_subject_name(x509)),
      issuer: Self.text(X509_get_issuer_name(x509)),
      names: Self.names(x509), notBefore: Self.seconds(X509_get0_notBefore(x509)),
      notAfter: Self.seconds(X509_get0_notAfter(x509)))
  }

  private static func text(_ name: OpaquePointer?) -> String {
    guard let name else { return "" }
    // What is not printable is escaped: this goes to logs, and a peer wrote it.
    let bytes = writtenByBIO { X509_NAME_print_ex($0, name, 0, holdfast_name_format) >= 0 ? 1 : 0 }
    return printable(bytes)
  }

  /// At most so much of what a stranger wrote goes into a message.
  private static func printable(_ bytes: [UInt8]) -> String {
    String(decoding: bytes.prefix(256), as: UTF8.self)
  }

  private static func names(_ x509: OpaquePointer) -> [String] {
    guard let all = X509_get_ext_d2i(x509, NID_subject_alt_name, nil, nil) else { return [] }
    let stack = OpaquePointer(all)
    defer { holdfast_free_general_names(all) }
    var names: [String] = []
    for index in 0..<min(OPENSSL_sk_num(stack), 32) {
      guard let entry = OPENSSL_sk_value(stack, index),
        let name = text(of: entry.assumingMemoryBound(to: GENERAL_NAME.self))
      else { continue }
      names.append(name)
    }
    return names
  }

  /// A host's name or its address; nil for all else that can stand there.
  /// - Parameter isConstraint: an address comes with its mask, which is not told.
  static func text(of name: UnsafeMutablePointer<GENERAL_NAME>, isConstraint: Bool = false)
    -> String?
  {
    var kind: Int32 = 0
    guard let value = GENERAL_NAME_get0_value(name, &kind) else { return nil }
    let text = value.assumingMemoryBound(to: ASN1_STRING.self)
    guard let start = ASN1_STRING_get0_data(text) else { return nil }
    let bytes = Array(
      UnsafeBufferPointer(start: start, count: Int(max(0, ASN1_STRING_length(text)))))
    switch kind {
    case GEN_DNS: return printable(bytes.filter { $0 > 0x20 && $0 < 0x7F })
    case GEN_IPADD: return address(isConstraint ? Array(bytes.prefix(bytes.count / 2)) : bytes)
    default: return nil
    }
  }

  private static func address(_ bytes: [UInt8]) -> String {
    switch bytes.count {
    case 4: bytes.map { String($0) }.joined(separator: ".")
    case 16:
      IPAddress(
        v6High: bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) },
        low: bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
      ).description
    default: "an address of \(bytes.count) bytes"
    }
  }

  private static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
    guard let time, let epoch = ASN1_TIME_set(nil, 0) else { return nil }
    defer { ASN1_TIME_free(epoch) }
    var days: Int32 = 0
    var seconds: Int32 = 0
    guard ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 else { return nil }
    return Int64(days) * 86_400 + Int64(seconds)
  }
}

/// A private key. Never printed, never described.
package final class PrivateKey: @unchecked Sendable, CustomStringConvertible {
  let pkey: OpaquePointer

  init(adopting pkey: OpaquePointer) { self.pkey = pkey }

  deinit { EVP_PKEY_free(pkey) }

  /// A new one on the curve P-256.
  package static func make() throws(TLSFailure) -> PrivateKey {
    guard let pkey = holdfast_new_p256_key() else {
      throw .unavailable(reason: OpenSSLErrors.take())
    }
    return PrivateKey(adopting: pkey)
  }

  /// The first key in a PEM file. Nil when there is none that can be read without a password.
  package convenience init?(pem text: [UInt8]) {
    let pkey = withMemoryBIO(text) {
      // Without a call for it OpenSSL asks the terminal for a password.
      PEM_read_bio_PrivateKey($0, nil, { _, _, _, _ in 0 }, nil)
    }
    OpenSSLErrors.clear()
    guard let pkey else { return nil }
    self.init(adopting: pkey)
  }

  /// PKCS #8, without a password: for a file that only its owner reads.
  package var pem: [UInt8] {
    writtenByBIO { PEM_write_bio_PKCS8PrivateKey($0, pkey, nil, nil, 0, nil, nil) }
  }

  package var description: String { "a private key" }
}

// MARK: - Through memory

/// Lends bytes to OpenSSL for reading.
func withMemoryBIO<Result>(_ bytes: [UInt8], _ body: (OpaquePointer?) -> Result) -> Result {
  bytes.withUnsafeBytes { bytes in
    let bio = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count))
    defer { BIO_free(bio) }
    return body(bio)
  }
}

/// What OpenSSL writes; nothing if it fails.
func writtenByBIO(_ body: (OpaquePointer) -> Int32) -> [UInt8] {
  guard let bio = BIO_new(BIO_s_mem()) else { return [] }
  defer { BIO_free(bio) }
  guard body(bio) == 1 else {
    OpenSSLErrors.clear()
    return []
  }
  var start: UnsafeMutablePointer<CChar>?
  let count = holdfast_BIO_memory(bio, &start)
  guard count > 0, let start else { return [] }
  return Array(UnsafeRawBufferPointer(start: start, count: count))
}
