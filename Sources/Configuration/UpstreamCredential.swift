// What this proxy shows to origins that want to know who asks: a name with its password, or a token, for requests of its
// mirrors. The secrets are in files of their own or in the environment, are read together with the configuration, and
// are shown to nobody but the origin.

import Foundation
import Platform
import Yams

/// One item of `upstream.credentials`.
package struct UpstreamCredential: Sendable, Equatable {
  package var hosts: [CredentialPlace] = []
  /// Given for a name with a password; a token has none.
  package var user: PlainWord?
  package var passwordFile: String?
  package var passwordVariable: PlainWord?
  package var tokenFile: String?
  package var tokenVariable: PlainWord?
  /// May be sent in clear.
  package var isInsecure = false
  /// Whether everybody who may ask gets from the store what was fetched with it; nil for named mirrors alone.
  package var isShared: Bool?
  /// Requests by `/NAME/+files/` get it too, through a mirror that gets it itself.
  package var isForFiles = false
  /// Requests that begin with a host (`/HOST:443/`) get it too.
  package var isForPrefix = false
  /// Requests of the forward proxy and of decrypted tunnels get it too.
  package var isForForward = false
  /// What is in the file or the variable.
  package var secret: HiddenText?

  package init() {}
}

/// Text that is sent to an origin and shown to nobody.
package struct HiddenText: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
  package let revealed: String

  package init(_ text: String) { revealed = text }

  package var description: String { "a secret" }
  package var customMirror: Mirror { Swift.Mirror(self, children: []) }
  package typealias Mirror = Swift.Mirror
}

/// A word without spaces: a user's name, a variable of the environment.
package struct PlainWord: Sendable, Equatable, ConfigurationScalar {
  package let text: String

  package static var form: String { "a word" }

  package init(reading text: String) throws(Misreading) {
    guard !text.isEmpty, text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
      throw Misreading("is not one word")
    }
    self.text = text
  }
}

extension UpstreamCredential: ConfigurationValue {
  package static var form: String { "a credential" }

  package static let settings: [Setting<UpstreamCredential>] = {
    let empty = UpstreamCredential()
    return [
      Setting(
        "hosts", \.hosts, in: empty, .reload, default: "none: they have to be given",
        example: "[packages.example.org/team/]",
        "Hosts that get it, and no others, each with the path it is held to and everything below: it does not follow a redirect to another scheme, host or port, nor out of that path. Without a port it is for any that a mirror names, and for that of the scheme where a client names the host."
      ),
      Setting(
        "user", \.user, in: empty, .reload, example: "ci",
        "The user's name (Basic), with a password; without one, a token (Bearer)."),
      Setting(
        "password-file", \.passwordFile, in: empty, .reload,
        example: "/etc/holdfast/packages.password",
        "File whose first line is the password. Read again on SIGHUP."),
      Setting(
        "password-env", \.passwordVariable, in: empty, .reload, example: "PACKAGES_PASSWORD",
        "The same from a variable of the environment."),
      Setting(
        "token-file", \.tokenFile, in: empty, .reload, example: "/etc/holdfast/packages.token",
        "File whose first line is a token. Read again on SIGHUP."),
      Setting(
        "token-env", \.tokenVariable, in: empty, .reload, example: "PACKAGES_TOKEN",
        "The same from a variable of the environment."),
      Setting(
        "insecure", \.isInsecure, in: empty, .reload, example: "true",
        "Sends it to http origins too, for everybody on the way to read."),
      Setting(
        "share", \.isShared, in: empty, .reload, example: "false",
        "Whether what was fetched with it is stored, for everyone who may ask this way. Without it that holds for named mirrors; answers to other requests with it are passed on and not stored."
      ),
      Setting(
        "files", \.isForFiles, in: empty, .reload, example: "true",
        "Requests below `/NAME/+files/` of a mirror get it too, if that mirror does: an index whose files are beside it, on hosts given here. Whoever may use the mirror then sees all that it opens on them."
      ),
      Setting(
        "prefix", \.isForPrefix, in: empty, .reload, example: "true",
        "Requests that begin with a host (`/HOST:443/path`) get it too. Whoever may use the proxy then sees what it opens."
      ),
      Setting(
        "forward", \.isForForward, in: empty, .reload, example: "true",
        "Requests of the forward proxy and of decrypted tunnels get it too, unless they bring Authorization of their own. Whoever may use the proxy then sees what the credential opens."
      ),
    ]
  }()

  package static func read(
    _ node: Node, example: String, key: String, _ reader: inout ConfigurationReader
  ) -> Self? {
    let before = reader.diagnostics.errors.count
    var credential = UpstreamCredential()
    reader.readMapping(node, settings: settings, path: key + ".", into: &credential)
    guard reader.diagnostics.errors.count == before else { return nil }
    if let fault = credential.fault {
      reader.report(fault, key: key, at: node)
      return nil
    }
    return credential
  }

  /// What its keys are not together.
  private var fault: String? {
    let passwords = [passwordFile, passwordVariable?.text].compactMap(\.self).count
    let tokens = [tokenFile, tokenVariable?.text].compactMap(\.self).count
    if hosts.isEmpty { return "names no hosts; write hosts: [packages.example.org]" }
    if hosts.contains(where: { $0.host == .any }) {
      return "would be sent to every host that a client names; list those that are meant to get it"
    }
    if passwords + tokens != 1 {
      return "needs one of password-file, password-env, token-file and token-env"
    }
    if passwords == 1, user == nil { return "has a password and no user" }
    if tokens == 1, user != nil { return "has a token, which knows no user; leave user out" }
    if let user, user.text.contains(":") { return "has a user with a colon, which ends a name" }
    return nil
  }

  package var yaml: String {
    var parts = ["hosts: \(hosts.yaml)"]
    if let user { parts.append("user: \(user.yaml)") }
    if let passwordFile { parts.append("password-file: \(passwordFile.yaml)") }
    if let passwordVariable { parts.append("password-env: \(passwordVariable.yaml)") }
    if let tokenFile { parts.append("token-file: \(tokenFile.yaml)") }
    if let tokenVariable { parts.append("token-env: \(tokenVariable.yaml)") }
    if isInsecure { parts.append("insecure: true") }
    if let isShared { parts.append("share: \(isShared)") }
    if isForFiles { parts.append("files: true") }
    if isForPrefix { parts.append("prefix: true") }
    if isForForward { parts.append("forward: true") }
    return "{ \(parts.joined(separator: ", ")) }"
  }

  /// Who gets it and what it is, in a line, without the secret.
  package var summary: String {
    let place =
      passwordFile ?? tokenFile ?? (passwordVariable ?? tokenVariable).map { "$\($0.text)" } ?? ""
    let what = user.map { "user \($0.text), password from" } ?? "token from"
    var line = "\(hosts.map(\.text).joined(separator: ", "))  \(what) \(place)"
    if let isShared { line += isShared ? "; shared" : "; not shared" }
    if isForFiles { line += "; also for +files" }
    if isForPrefix { line += "; also where clients name the host" }
    if isForForward { line += "; also for the forward proxy" }
    if isInsecure { line += "; also in clear" }
    return line
  }

  /// Whether something on a host gets it, in any spelling.
  package func isFor(host: String) -> Bool { hosts.contains { $0.host.matches(name: host) } }
}

extension ConfigurationReader {
  /// Reads the secrets of `upstream.credentials`.
  mutating func readCredentials(into configuration: inout Configuration) {
    for index in configuration.upstream.credentials.indices {
      let credential = configuration.upstream.credentials[index]
      let key = "upstream.credentials[\(index)]"
      let isToken = credential.user == nil
      let name = isToken ? "token" : "password"
      if let file = credential.passwordFile ?? credential.tokenFile {
        configuration.upstream.credentials[index].secret = hiddenLine(
          ofFile: file, key: "\(key).\(name)-file", isToken: isToken)
      } else if let variable = credential.passwordVariable ?? credential.tokenVariable {
        configuration.upstream.credentials[index].secret = hiddenLine(
          ofVariable: variable.text, key: "\(key).\(name)-env", isToken: isToken)
      }
    }
  }

  /// The first line of a file that others should not read.
  mutating func hiddenLine(ofFile path: String, key: String, isToken: Bool) -> HiddenText? {
    guard let bytes = contents(of: path, key: key, limit: .mib(1), privacy: .advised) else {
      return nil
    }
    let line = String(decoding: bytes, as: UTF8.self).prefix { !$0.isNewline }
    return hidden(String(line), from: path, key: key, isToken: isToken)
  }

  private mutating func hiddenLine(
    ofVariable name: String, key: String, isToken: Bool
  ) -> HiddenText? {
    guard let value = ProcessInfo.processInfo.environment[name] else {
      report("$\(name) is not set", key: key, at: place(of: key))
      return nil
    }
    return hidden(value, from: "$\(name)", key: key, isToken: isToken)
  }

  private mutating func hidden(
    _ text: String, from source: String, key: String, isToken: Bool
  ) -> HiddenText? {
    let isUsable =
      isToken
      ? text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
      : text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    guard !text.isEmpty, isUsable, text.utf8.count <= 8 << 10 else {
      report(
        "\(source) holds no \(isToken ? "token" : "password") in its first line: it is empty, too long, or has characters that cannot be sent",
        key: key, at: place(of: key))
      return nil
    }
    return HiddenText(text)
  }

  /// Warns of credentials that go where they should not, or do not go where they seem to.
  mutating func checkCredentials(_ configuration: Configuration) {
    for (index, credential) in configuration.upstream.credentials.enumerated() {
      let key = "upstream.credentials[\(index)]"
      if credential.isInsecure {
        report(
          "everybody on the way to an http origin can read it", key: key + ".insecure",
          at: place(of: key + ".insecure"), severity: .warning)
        continue
      }
      for mirror in configuration.mirrors.all
      where mirror.url.scheme == .http && credential.isFor(host: mirror.url.host) {
        report(
          "is not sent to the mirror \(mirror.name), which is fetched in clear; give it an https URL",
          key: key, at: place(of: key), severity: .warning)
      }
    }
  }
}
