// Whom to trust, and what to show: the files behind TLS. They are read once when the configuration is, so that a wrong
// one is told of with its line, and not at night by the first build that needs it.

import Platform
import TLS
import Yams

/// Whose certificates origins may show.
package enum TrustSource: Sendable, Equatable {
  /// Those of the authorities this system trusts.
  case system
  /// Those of the authorities in this file, PEM, and no others.
  case file(String)
}

extension TrustSource: ConfigurationScalar {
  package static var form: String { "system or a file" }

  package init(reading text: String) throws(Misreading) {
    if text == "system" {
      self = .system
      return
    }
    // A file needs a slash or a dot, or a misspelt word would silently become one.
    guard text.contains("/") || text.contains(".") else {
      throw Misreading("is not known; write system, or a file of PEM certificates: ./\(text)")
    }
    self = .file(text)
  }

  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    guard let text = reader.scalar(node, form: form, example: example, key: key) else { return nil }
    do throws(Misreading) {
      let source = try Self(reading: text)
      if case .file(let path) = source { return .file(reader.absolute(path)) }
      return source
    } catch {
      reader.report("\(quoted(text)) \(error.message)", key: key, at: node)
      return nil
    }
  }

  package var text: String {
    switch self {
    case .system: "system"
    case .file(let path): path
    }
  }
}

extension TLSIdentity: Equatable {
  package static func == (left: TLSIdentity, right: TLSIdentity) -> Bool {
    left.certificate.der == right.certificate.der
      && left.chain.map(\.der) == right.chain.map(\.der)
  }
}

extension Configuration {
  /// Takes over what another reading of the same certificate files has found.
  package mutating func renewIdentities(from other: Configuration) {
    for (index, listener) in zip(listeners.indices, other.listeners)
    where listener.certificateFile == listeners[index].certificateFile
      && listener.keyFile == listeners[index].keyFile
    {
      listeners[index].identity = listener.identity ?? listeners[index].identity
    }
  }
}

extension ConfigurationReader {
  /// Reads the files that listeners show their certificates from.
  mutating func readIdentities(into configuration: inout Configuration) {
    for index in configuration.listeners.indices where configuration.listeners[index].isSecure {
      let key = "listen[\(index)].tls"
      let listener = configuration.listeners[index]
      guard let certificate = listener.certificateFile, let secret = listener.keyFile else {
        let missing = listener.keyFile == nil ? "key" : "certificate"
        report("has no \(missing); both have to be given", key: key, at: place(of: key))
        continue
      }
      guard let certificates = smallFile(certificate, key: "\(key).certificate"),
        let text = smallFile(secret, key: "\(key).key", isSecret: true)
      else { continue }
      do throws(TLSSetupError) {
        let identity = try TLSIdentity(certificates: certificates, key: text)
        configuration.listeners[index].identity = identity
        if let end = identity.certificate.summary.notAfter, end < WallTime.now().seconds {
          report(
            "\(certificate) has expired; clients will refuse it", key: "\(key).certificate",
            at: place(of: "\(key).certificate"), severity: .warning)
        }
      } catch {
        let (part, file) =
          error == .noCertificate ? ("certificate", certificate) : ("key", secret)
        report(
          "\(file): \(error.sentence)", key: "\(key).\(part)", at: place(of: "\(key).\(part)"))
      }
    }
  }

  /// Checks the files that certificates are in.
  mutating func checkCertificates(_ configuration: Configuration) {
    guard case .file(let path) = configuration.upstream.ca else { return }
    let key = "upstream.ca"
    guard let text = smallFile(path, key: key) else { return }
    if Certificate.all(inPEM: text).isEmpty {
      report("\(path) holds no certificate in PEM form", key: key, at: place(of: key))
    }
  }

  /// The bytes of a file of at most 8 MiB; reports why there are none.
  private mutating func smallFile(
    _ path: String, key: String, isSecret: Bool = false
  ) -> [UInt8]? {
    do throws(Errno) {
      let file = try File.open(path, [.read, .followLinks])
      let status = try File.status(file.rawValue)
      guard status.kind == .file, status.size <= 8 << 20 else {
        report("\(path) is no file, or is larger than 8 MiB", key: key, at: place(of: key))
        return nil
      }
      if isSecret, status.mode & 0o004 != 0 {
        report(
          "\(path) can be read by everyone on this machine; chmod 600 \(path)", key: key,
          at: place(of: key), severity: .warning)
      }
      var bytes = [UInt8](repeating: 0, count: Int(status.size))
      let number = file.rawValue
      let count = try bytes.withUnsafeMutableBytes { buffer in
        Result { () throws(Errno) in try File.readFully(number, into: buffer, at: 0) }
      }.get()
      return Array(bytes.prefix(count))
    } catch {
      report("\(path) cannot be read: \(error.message)", key: key, at: place(of: key))
      return nil
    }
  }
}
