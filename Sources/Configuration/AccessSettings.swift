// Who has to show what: users of the proxy a password, users of the admin listener a token. The secrets
// themselves are in files of their own, which are read together with the configuration, so that a file that
// is wrong is found where everything else that is wrong is found, and a running instance keeps what it has.

import Foundation
import Platform
import Yams

/// Where metrics and the admin API are served, and to whom.
package struct AdminSettings: Sendable, Equatable {
  package var address: SocketAddress
  /// Holds the token that requests must show; nil for none.
  package var tokenFile: String?
  /// Names, beside localhost and addresses, by which the listener may be asked.
  package var hosts: [HostPattern] = []
  /// What is in `tokenFile`.
  package var token: Secret?

  package init(address: SocketAddress) { self.address = address }

  package static func loopback(port: UInt16) -> AdminSettings {
    AdminSettings(address: .loopback(port: port))
  }
}

/// Who may use the proxy by name and password.
package struct AuthSettings: Sendable, Equatable {
  /// Holds names and hashes; nil when nobody has to say who they are.
  package var file: String?
  package var realm = Realm.standard
  /// What is in `file`.
  package var users = PasswordTable()

  package init() {}

  package var isRequired: Bool { file != nil }
}

/// What a user is told the password is for.
package struct Realm: Sendable, Equatable, ConfigurationScalar {
  package let text: String

  package static let standard = Realm(checked: "Holdfast")
  package static var form: String { "a short text" }

  private init(checked text: String) { self.text = text }

  package init(reading text: String) throws(Misreading) {
    let isPlain = text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }
    guard (1...64).contains(text.utf8.count), isPlain else {
      throw Misreading(
        "cannot be a realm; write 1 to 64 ASCII characters without quotes, like CI proxy")
    }
    self.text = text
  }
}

extension AdminSettings: ConfigurationValue {
  package static var form: String { "an address with a port, a section with `address`," }

  private static let start = AdminSettings(address: .loopback(port: 3129))

  package static let settings: [Setting<AdminSettings>] = [
    Setting(
      "address", \.address, in: start, .restart, default: "none: it has to be given",
      example: "127.0.0.1:3129", "Address and port to listen on; never one of the proxy's."),
    Setting(
      "token-file", \.tokenFile, in: start, .reload, example: "/etc/holdfast/admin-token",
      "File whose first line is a token of at least 16 characters. Every request then has to show it as `Authorization: Bearer TOKEN`, except for `/healthz` and `/readyz`."
    ),
    Setting(
      "hosts", \.hosts, in: start, .reload, example: "[holdfast.example.org]",
      "Names by which this listener is asked, beside `localhost` and addresses. Requests by other names are refused, unless they only read and the listener is on an address other machines reach, so that no web page reaches it through somebody's browser."
    ),
  ]

  /// A bare address, or a section.
  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    guard case .mapping = node else {
      return SocketAddress.read(node, example: "127.0.0.1:3129", key: key, &reader)
        .map { AdminSettings(address: $0) }
    }
    let before = reader.diagnostics.errors.count
    var admin = start
    reader.readMapping(node, settings: settings, path: key + ".", into: &admin)
    guard reader.diagnostics.errors.count == before else { return nil }
    guard reader.isGiven(key + ".address") else {
      reader.report("has no address; write address: 127.0.0.1:3129", key: key, at: node)
      return nil
    }
    return admin
  }

  package var yaml: String {
    if tokenFile == nil, hosts.isEmpty { return address.yaml }
    let parts =
      ["address: \(address.yaml)"] + (tokenFile.map { ["token-file: \($0.yaml)"] } ?? [])
      + (hosts.isEmpty ? [] : ["hosts: \(hosts.yaml)"])
    return "{ \(parts.joined(separator: ", ")) }"
  }
}

extension ConfigurationReader {
  /// Reads the files that the configuration names.
  mutating func readFiles(into configuration: inout Configuration) {
    checkCertificates(configuration)
    readIdentities(into: &configuration)
    readCredentials(into: &configuration)
    readParents(into: &configuration)
    readAuthority(into: &configuration)
    if let file = configuration.admin?.tokenFile,
      let text = secretFile(file, key: "admin.token-file")
    {
      do throws(Misreading) {
        configuration.admin?.token = try Secret(reading: text)
      } catch {
        report(
          "\(file) \(error.message)", key: "admin.token-file", at: place(of: "admin.token-file"))
      }
    }
    if let file = configuration.auth.file, let text = secretFile(file, key: "auth.file") {
      let (table, faults) = PasswordTable.read(text)
      for fault in faults {
        report(
          "\(file):\(fault.line): \(fault.message)", key: "auth.file", at: place(of: "auth.file"))
      }
      configuration.auth.users = table
      if table.hashes.isEmpty, faults.isEmpty {
        report(
          "\(file) names no user, so nobody can use the proxy; `holdfast auth add NAME` adds one",
          key: "auth.file", at: place(of: "auth.file"), severity: .warning)
      }
    }
  }

  /// The text of a file that others should not read.
  private mutating func secretFile(_ path: String, key: String) -> String? {
    guard let bytes = contents(of: path, key: key, limit: .mib(1), privacy: .advised) else {
      return nil
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      report("\(path) is not UTF-8 text", key: key, at: place(of: key))
      return nil
    }
    return text
  }
}
