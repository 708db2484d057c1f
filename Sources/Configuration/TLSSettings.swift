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

extension ConfigurationReader {
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
  private mutating func smallFile(_ path: String, key: String) -> [UInt8]? {
    do throws(Errno) {
      let file = try File.open(path, [.read, .followLinks])
      let status = try File.status(file.rawValue)
      guard status.kind == .file, status.size <= 8 << 20 else {
        report("\(path) is no file, or is larger than 8 MiB", key: key, at: place(of: key))
        return nil
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
