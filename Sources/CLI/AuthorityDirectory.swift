// An authority's files: made whole or not at all, and never over one that clients trust already.

import Configuration
import Foundation
import Platform
import TLS

struct AuthorityDirectory {
  let path: String

  init(_ path: String) { self.path = path }

  var certificateFile: String { AuthorityFiles.certificate(in: path) }
  var keyFile: String { AuthorityFiles.key(in: path) }

  func certificate() throws -> Certificate {
    guard let text = FileManager.default.contents(atPath: certificateFile) else {
      throw Failure("there is no authority in \(path); make one with `holdfast ca init`")
    }
    guard let certificate = Certificate.all(inPEM: Array(text)).first else {
      throw Failure("\(certificateFile) holds no certificate in PEM form")
    }
    return certificate
  }

  /// Makes an authority, and the directory if it is missing.
  /// - Parameters:
  ///   - permitted: the only names it may sign for; any when empty.
  ///   - replaces: one that is there is kept beside it, with `.old` behind the files' names.
  func make(
    name: String, permitted: [String], days: Int, replaces: Bool, now: Int64
  ) throws -> Certificate {
    let exists = [certificateFile, keyFile].contains { FileManager.default.fileExists(atPath: $0) }
    guard replaces || !exists else {
      throw Failure(
        "\(path) has an authority already, which clients may trust; `holdfast ca show` shows it, and --renew replaces it"
      )
    }
    let made: (certificate: Certificate, key: PrivateKey)
    do throws(TLSFailure) {
      made = try CertificateAuthority.make(
        name: name, permitted: permitted, validFor: days, now: now)
    } catch {
      throw Failure("an authority cannot be made: \(error)")
    }
    do throws(Errno) {
      // The certificate is for everyone to read, so the directory has to let them in.
      try File.makeDirectories(path, mode: 0o755)
      let newKey = try write(made.key.pem, beside: keyFile, mode: 0o600)
      let newCertificate = try write(made.certificate.pem, beside: certificateFile, mode: 0o644)
      if exists {
        try? File.rename(keyFile, to: keyFile + ".old")
        try? File.rename(certificateFile, to: certificateFile + ".old")
      }
      try File.rename(newKey, to: keyFile)
      try File.rename(newCertificate, to: certificateFile)
    } catch {
      throw Failure("\(path) cannot be written: \(error.message)")
    }
    return made.certificate
  }

  /// - Returns: the name of the file that was written.
  private func write(
    _ bytes: [UInt8], beside path: String, mode: UInt32
  ) throws(Errno) -> String {
    let aside = "\(path).\(ProcessInfo.processInfo.processIdentifier).new"
    let file = try File.open(aside, [.write, .create, .exclusive], mode: mode)
    let number = file.rawValue
    do throws(Errno) {
      try bytes.withUnsafeBytes { buffer in
        Result { () throws(Errno) in try File.writeFully(number, buffer, at: 0) }
      }.get()
      try File.fsync(number)
    } catch {
      try? File.unlink(aside)
      throw error
    }
    return aside
  }
}
