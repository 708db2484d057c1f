// A certificate authority for one test, and what it signs.

import Glibc
import Platform
import TLS

package final class TestAuthority {
  package static let now = Int64(time(nil))

  package let authority: CertificateAuthority
  /// Its certificate, for who is to trust it.
  package let file: String

  package init(permitted: [String] = [], days: Int = 30, now: Int64 = TestAuthority.now) throws {
    let made = try CertificateAuthority.make(
      name: "Holdfast test authority", permitted: permitted, validFor: days, now: now)
    authority = try CertificateAuthority(certificate: made.certificate, key: made.key)
    var name = Array("/tmp/holdfast-tls-XXXXXX".utf8CString)
    let file = FileDescriptor(owning: mkstemp(&name))
    self.file = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let number = file.rawValue
    try made.certificate.pem.withUnsafeBytes { bytes in
      Result { () throws(Errno) in try File.writeFully(number, bytes, at: 0) }
    }.get()
  }

  deinit { try? File.unlink(file) }

  /// A certificate for a host, with its key.
  package func identity(
    _ host: String, days: Int = 7, now: Int64 = TestAuthority.now
  ) throws -> TLSIdentity {
    try authority.identity(for: host, validFor: days, now: now)
  }

  /// What a server for this host needs.
  package func server(_ host: String, days: Int = 7, now: Int64 = TestAuthority.now) throws
    -> TLSContext
  {
    try TLSContext(serverShowing: identity(host, days: days, now: now))
  }
}
