// Which types can stand in the configuration, and how each is read.

import Platform
import Yams

extension ByteCount: ConfigurationScalar {
  package static var form: String { "a size" }
}

extension Duration: ConfigurationScalar {
  package static var form: String { "a time" }
}

extension Int: ConfigurationScalar {
  package static var form: String { "a whole number" }
  package init(reading text: String) throws(Misreading) {
    let isNumber = text.drop { $0 == "-" }.allSatisfy { $0.isASCII && $0.isNumber }
    if isNumber, !text.isEmpty, text != "-", Int(text) == nil {
      throw Misreading("is larger than any number that can stand here")
    }
    guard isNumber, let value = Int(text) else {
      throw Misreading("is not a whole number; write digits only, like 3")
    }
    self = value
  }
  package var text: String { String(self) }
}

extension ThreadCount: ConfigurationScalar {
  package static var form: String { "a whole number or auto" }
  /// More than any machine this is meant for has; keeps a slip of the finger from starting thousands.
  static let maximum = 1024
  package init(reading text: String) throws(Misreading) {
    if text == "auto" {
      self = .automatic
      return
    }
    guard let count = Int(text), (1...Self.maximum).contains(count) else {
      throw Misreading(
        "is not a number of threads; write 1 to \(Self.maximum), or auto for one per core")
    }
    self = .fixed(count)
  }
  package var text: String {
    switch self {
    case .automatic: "auto"
    case .fixed(let count): String(count)
    }
  }
}

extension FreeSpaceFloor: ConfigurationScalar {
  package static var form: String { "a size or auto" }
  package init(reading text: String) throws(Misreading) {
    self = text == "auto" ? .automatic : .fixed(try ByteCount(reading: text))
  }
  package var text: String {
    switch self {
    case .automatic: "auto"
    case .fixed(let size): size.text
    }
  }
}

extension SocketAddress: ConfigurationScalar {
  package static var form: String { "an address with a port" }
  package init(reading text: String) throws(Misreading) {
    if let address = SocketAddress(text) {
      self = address
      return
    }
    if UInt16(text) != nil || text.hasPrefix(":") {
      let port = text.drop { $0 == ":" }
      throw Misreading(
        "has no address; write 127.0.0.1:\(port) for this machine only, or 0.0.0.0:\(port) for all")
    }
    if let address = IPAddress(text.trimmingBrackets) {
      let bracketed = text.contains(":") ? "[\(address)]" : text
      throw Misreading("has no port; write \(bracketed):3128, for example")
    }
    if text.hasPrefix("localhost:") {
      throw Misreading("is a name; write the address: 127.0.0.1:\(text.dropFirst(10))")
    }
    if text.filter({ $0 == ":" }).count > 1, !text.hasPrefix("[") {
      throw Misreading("is not an address with a port; IPv6 addresses need brackets: [::1]:3128")
    }
    throw Misreading("is not an address with a port; write one like 127.0.0.1:3128 or [::1]:3128")
  }
  package var text: String { description }
}

extension IPNetwork: ConfigurationScalar {
  package static var form: String { "a network" }
  package init(reading text: String) throws(Misreading) {
    guard let network = IPNetwork(text) else {
      throw Misreading("is not a network; write one like 10.0.0.0/8, fd00::/8 or 192.0.2.7")
    }
    // Bits behind the prefix are most often a slip in the prefix, and this list lets people in.
    if let slash = text.lastIndex(of: "/"),
      let address = IPAddress(String(text[..<slash])), address != network.address
    {
      throw Misreading("has bits set behind its prefix; write \(network)")
    }
    self = network
  }
  package var text: String { description }
}

extension HostPattern: ConfigurationScalar {
  package static var form: String { "a host" }
}

extension RequestFieldName: ConfigurationScalar {
  package static var form: String { "a field name" }
}

extension PortRange: ConfigurationScalar {
  package static var form: String { "a port" }
}

extension OriginURL: ConfigurationScalar {
  package static var form: String { "a URL" }
}

extension LogDestination: ConfigurationScalar {
  package static var form: String { "stdout, stderr, none or a file" }
  package init(reading text: String) throws(Misreading) {
    switch text {
    case "stdout": self = .stdout
    case "stderr": self = .stderr
    case "none": self = .none
    default:
      // A file needs a slash, or a misspelt word would silently become one.
      guard text.contains("/") else {
        let near = Suggestion.nearest(to: text, among: ["stdout", "stderr", "none"])
        throw Misreading(
          near.map { "is not known; did you mean \($0)?" }
            ?? "is not known; write stdout, stderr, none, or a file with its directory: ./\(text)")
      }
      self = .file(text)
    }
  }
  package func resolved(by reader: ConfigurationReader) -> Self {
    if case .file(let path) = self { .file(reader.absolute(path)) } else { self }
  }
  package var text: String {
    switch self {
    case .stdout: "stdout"
    case .stderr: "stderr"
    case .none: "none"
    case .file(let path): path
    }
  }
}

/// A value out of a short list of words.
protocol ConfigurationWord: ConfigurationScalar, CaseIterable, RawRepresentable
where RawValue == String {}

extension ConfigurationWord {
  package static var form: String { allCases.map(\.rawValue).joined(separator: ", ") }
  package init(reading text: String) throws(Misreading) {
    guard let value = Self(rawValue: text) else {
      let words = Self.allCases.map(\.rawValue)
      let near = Suggestion.nearest(to: text, among: words)
      throw Misreading(
        near.map { "is not known; did you mean \($0)?" }
          ?? "is not known; write one of \(words.joined(separator: ", "))")
    }
    self = value
  }
  package var text: String { rawValue }
}

extension LogFormat: ConfigurationWord {}
extension MirrorEcosystem: ConfigurationWord {}
extension LogLevel: ConfigurationWord {}
extension PacketSensing: ConfigurationWord {}
extension KernelSensing: ConfigurationWord {}

extension Optional: ConfigurationValue where Wrapped: ConfigurationValue {
  package static var form: String { "\(Wrapped.form) or none" }
  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    if case .mapping = node, Wrapped.self is any ConfigurationScalar.Type == false {
      return Wrapped.read(node, example: example, key: key, &reader)
    }
    guard let text = reader.scalar(node, form: form, example: example, key: key) else { return nil }
    if text == "none" { return .some(.none) }
    return Wrapped.read(node, example: example, key: key, &reader)
  }
  package var yaml: String { map(\.yaml) ?? "none" }
}

extension String: ConfigurationScalar {
  /// Strings stand for files and directories only; everything else has a type of its own.
  package static var form: String { "a path" }
  package init(reading text: String) throws(Misreading) {
    guard !text.isEmpty, !text.contains("\0") else { throw Misreading("is not a path") }
    self = text
  }
  package var text: String { self }

  package func resolved(by reader: ConfigurationReader) -> Self { reader.absolute(self) }
}
