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

  /// Whether key and certificate are both there and belong together.
  var isWhole: Bool {
    guard let certificate = try? certificate(),
      let text = FileManager.default.contents(atPath: keyFile),
      let key = PrivateKey(pem: Array(text))
    else { return false }
    return certificate.isKeyed(by: key)
  }

  /// Makes an authority, and the directory if it is missing.
  /// - Parameters:
  ///   - permitted: the only names it may sign for; any when empty.
  ///   - replaces: one that is there is kept beside it, with `.old` behind the files' names.
  func make(
    name: String, permitted: [String], days: Int, replaces: Bool, now: Int64
  ) throws -> Certificate {
    // Who sees one does not make a directory, a lock or a key first.
    guard replaces || !exists else { throw takenFailure }
    let made: (certificate: Certificate, key: PrivateKey)
    do throws(TLSFailure) {
      made = try CertificateAuthority.make(
        name: name, permitted: permitted, validFor: days, now: now)
    } catch {
      throw Failure("an authority cannot be made: \(error)")
    }
    let outcome: Installation
    do throws(Errno) {
      // The certificate is for everyone to read, so the directory has to let them in.
      try File.makeDirectories(path, mode: 0o755)
      outcome = try install(made.key, made.certificate, replaces: replaces)
    } catch {
      throw Failure("\(path) cannot be written: \(error.message)")
    }
    switch outcome {
    case .done: return made.certificate
    // While we were at it.
    case .taken: throw takenFailure
    case .busy:
      throw Failure("another `holdfast ca init` is at work in \(path); see what it has made")
    }
  }

  private enum Installation { case done, taken, busy }

  /// Puts the files there while nobody else does.
  private func install(
    _ key: PrivateKey, _ certificate: Certificate, replaces: Bool
  ) throws(Errno) -> Installation {
    let lock = try File.open(path, [.directory, .followLinks])
    guard try File.lock(lock.rawValue) else { return .busy }
    defer { File.unlock(lock.rawValue) }
    guard replaces || !exists else { return .taken }
    try put(key, certificate)
    try File.fsync(lock.rawValue)
    return .done
  }

  private var takenFailure: Failure {
    Failure(
      "\(path) has an authority already, which clients may trust; `holdfast ca show` shows it, and --renew replaces it"
    )
  }

  private var exists: Bool { isThere(certificateFile) || isThere(keyFile) }

  private func isThere(_ path: String) -> Bool { (try? File.status(at: path)) != nil }

  /// Writes both files aside, and gives them their names when all of it is on the disk. Two names cannot change in one
  /// step: a power cut in between leaves files that do not belong together, which the next start says, with what to do.
  private func put(_ key: PrivateKey, _ certificate: Certificate) throws(Errno) {
    let newKey = keyFile + ".new"
    let newCertificate = certificateFile + ".new"
    let keepsOld = isWhole
    do throws(Errno) {
      try write(key.pem, to: newKey, mode: 0o600)
      try write(certificate.pem, to: newCertificate, mode: 0o644)
      if keepsOld {
        try keep(keyFile)
        try keep(certificateFile)
      }
      try File.rename(newKey, to: keyFile)
      do throws(Errno) {
        try File.rename(newCertificate, to: certificateFile)
      } catch {
        // As it was.
        if keepsOld {
          try? File.rename(keyFile + ".old", to: keyFile)
        } else {
          try? File.unlink(keyFile)
        }
        throw error
      }
    } catch {
      // A key that nobody knows of is to lie nowhere.
      try? File.unlink(newKey)
      try? File.unlink(newCertificate)
      throw error
    }
  }

  /// Gives a file one more name, with `.old` behind it; it keeps its own until another takes that.
  private func keep(_ file: String) throws(Errno) {
    try? File.unlink(file + ".old")
    try File.link(file, to: file + ".old")
  }

  private func write(_ bytes: [UInt8], to path: String, mode: UInt32) throws(Errno) {
    // Of a run that was killed.
    try? File.unlink(path)
    let file = try File.open(path, [.write, .create, .exclusive], mode: mode)
    let number = file.rawValue
    try bytes.withUnsafeBytes { buffer in
      Result { () throws(Errno) in try File.writeFully(number, buffer, at: 0) }
    }.get()
    try File.fsync(number)
  }
}
