// Whom to trust, and what to show: the files behind TLS. They are read once when the configuration is, so that a wrong
// one is told of with its line, and not at night by the first build that needs it.

import Platform
import TLS

extension TLSTrust: ConfigurationScalar {
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

  package func resolved(by reader: ConfigurationReader) -> Self {
    if case .file(let path) = self { .file(reader.absolute(path)) } else { self }
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
  /// A system's bundle of authorities takes a quarter of a MiB.
  private static let largestPEM: ByteCount = .mib(8)

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
      guard
        let certificates = contents(
          of: certificate, key: "\(key).certificate", limit: Self.largestPEM),
        let text = contents(
          of: secret, key: "\(key).key", limit: Self.largestPEM, privacy: .advised)
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
    guard let text = contents(of: path, key: key, limit: Self.largestPEM) else { return }
    if Certificate.all(inPEM: text).isEmpty {
      report("\(path) holds no certificate in PEM form", key: key, at: place(of: key))
    }
  }
}
