// Where a credential of the operator's is shown: a host, and below a path of it where the host has things that the
// credential opens and that are for nobody here.

import HTTP
import Platform

/// One item of `upstream.credentials[].hosts`.
package struct CredentialPlace: Sendable, Equatable {
  package var host: HostPattern
  /// The only port. Without one it is any port that the operator names, and that of the scheme where a client does.
  package var port: UInt16?
  /// As a key has it (`TargetKey`); begins and ends with a slash.
  package var path: String

  package init(_ host: HostPattern, port: UInt16? = nil, path: String = "/") {
    self.host = host
    self.port = port
    self.path = path
  }
}

extension CredentialPlace: ConfigurationScalar {
  package static var form: String { "a host, with a port and a path if need be" }

  package init(reading text: String) throws(Misreading) {
    if text.contains("://") {
      throw Misreading("is a URL; write host and path only, like packages.example.org/team/")
    }
    let slash = text.firstIndex(of: "/") ?? text.endIndex
    if slash < text.endIndex, !text.hasSuffix("/") {
      throw Misreading(
        "has a path without a slash at its end, which would be a part of other names too; write \(text)/"
      )
    }
    path = try Self.path(String(text[slash...]))
    var name = text[..<slash]
    // Several colons without brackets are an address.
    let colon = name.lastIndex(of: ":")
    if let colon,
      name.hasPrefix("[")
        ? name[colon...].dropFirst().allSatisfy(\.isNumber)
        : name.firstIndex(of: ":") == colon
    {
      guard let number = UInt16(name[name.index(after: colon)...]), number > 0 else {
        throw Misreading("has a port that is none; write one like packages.example.org:8443")
      }
      port = number
      name = name[..<colon]
    }
    host = try HostPattern(reading: String(name))
  }

  private static func path(_ text: String) throws(Misreading) -> String {
    guard !text.isEmpty, text != "/" else { return "/" }
    guard !text.contains("?"), !text.contains("#"), let target = TargetURI("https://host\(text)"),
      !target.hasDotSegments
    else { throw Misreading("has a path that no request can have as it stands") }
    return String(decoding: target.key[target.keyPathStart...], as: UTF8.self)
  }

  package var text: String {
    let name =
      if case .exact(let name) = host, name.contains(":") { "[\(name)]" } else { host.text }
    return name + (port.map { ":\($0)" } ?? "") + (path == "/" ? "" : path)
  }
}
