// Which connections are decrypted (CONNECT to hosts whose answers are to be stored), and with whose authority. Nothing is
// unless hosts are named here, and nothing can be unless the clients trust the authority.

import Foundation
import Platform
import TLS

/// What is decrypted, and how.
package struct InterceptSettings: Sendable, Equatable {
  /// Hosts whose connections are read.
  package var hosts: [HostPattern] = []
  /// Hosts among them that are let be: their clients know what certificate to expect.
  package var except: [HostPattern] = []
  /// The directory with our authority's certificate and key.
  package var ca: String = InterceptSettings.defaultPath()
  package var rejected = RejectedCertificate.refuse
  /// What is in that directory; read when there are `hosts`.
  package var authority: CertificateAuthority?

  package init() {}

  /// Whether connections to this host are to be read. `host` is a name or an address without brackets.
  package func covers(_ host: String) -> Bool {
    let host = HostPattern.normalised(host)
    return hosts.contains { $0.matches(host) } && !except.contains { $0.matches(host) }
  }

  /// `/etc/holdfast/ca` for root, and for who has no home; for others what the XDG base directory specification says.
  package static func defaultPath(
    environment: [String: String] = ProcessInfo.processInfo.environment,
    isRoot: Bool = getuid() == 0
  ) -> String {
    ownDirectory(isRoot ? nil : ("XDG_CONFIG_HOME", ".config"), else: "/etc/holdfast", environment)
      + "/ca"
  }
}

/// What becomes of a client that does not take a certificate of ours.
package enum RejectedCertificate: String, Sendable, CaseIterable {
  /// It is shown another one the next time: whoever looks at what goes through here wants to see all of it.
  case refuse
  /// Its next connections to this host are passed through unread, for an hour.
  case tunnel
}

extension RejectedCertificate: ConfigurationWord {}

/// Where an authority is kept in its directory.
package enum AuthorityFiles {
  package static func certificate(in directory: String) -> String { directory + "/ca.pem" }
  package static func key(in directory: String) -> String { directory + "/ca.key" }
}

extension CertificateAuthority: Equatable {
  package static func == (left: CertificateAuthority, right: CertificateAuthority) -> Bool {
    left.certificate.der == right.certificate.der
  }
}

extension ConfigurationReader {
  /// Reads the authority, if there are hosts it has to sign for.
  mutating func readAuthority(into configuration: inout Configuration) {
    let settings = configuration.intercept
    guard !settings.hosts.isEmpty else { return }
    let key = "intercept.ca"
    let files = (
      AuthorityFiles.certificate(in: settings.ca), AuthorityFiles.key(in: settings.ca)
    )
    guard (try? File.status(at: files.0)) != nil || (try? File.status(at: files.1)) != nil else {
      report(
        "there is no authority in \(settings.ca) to decrypt connections with; make one with `holdfast ca init`",
        key: key, at: place(of: isGiven(key) ? key : "intercept.hosts"))
      return
    }
    guard let certificate = contents(of: files.0, key: key, limit: .mib(1)),
      let secret = contents(of: files.1, key: key, limit: .mib(1), privacy: .demanded)
    else { return }
    do throws(TLSSetupError) {
      let identity = try TLSIdentity(certificates: certificate, key: secret)
      let authority = try CertificateAuthority(
        certificate: identity.certificate, key: identity.key)
      configuration.intercept.authority = authority
      check(authority, for: settings)
    } catch {
      let file = error == .noCertificate ? files.0 : files.1
      let remedy =
        error == .keyOfAnother
        ? " in \(files.0): one of them was replaced without the other, as when `holdfast ca init --renew` is cut short; put back those that belong together (`.old`), or run it again"
        : ""
      report("\(file): \(error.sentence)\(remedy)", key: key, at: place(of: key))
    }
  }

  /// What clients would find wrong with what it signs.
  private mutating func check(_ authority: CertificateAuthority, for settings: InterceptSettings) {
    let key = "intercept.ca"
    if let end = authority.certificate.summary.notAfter, end < WallTime.now().seconds {
      report(
        "the authority in \(settings.ca) has expired, and clients refuse what it signs; make a new one with `holdfast ca init --renew`",
        key: key, at: place(of: key))
    }
    let permitted = authority.certificate.permittedNames
    guard !permitted.isEmpty else { return }
    let outside = settings.hosts.filter { !$0.isWithin(permitted) }
    guard !outside.isEmpty else { return }
    report(
      "the authority in \(settings.ca) may not sign for \(outside.map(\.text).joined(separator: ", ")), only for \(permitted.joined(separator: ", ")); make one that may with `holdfast ca init --renew`",
      key: "intercept.hosts", at: place(of: "intercept.hosts"), severity: .warning)
  }
}

extension HostPattern {
  /// Whether all it stands for lies under names that an authority is held to (RFC 5280 §4.2.1.10): each is good for
  /// itself and for all below it.
  package func isWithin(_ permitted: [String]) -> Bool {
    let name: String
    switch self {
    case .any: return false
    case .exact(let host): name = host
    case .below(let suffix): name = String(suffix.dropFirst())
    }
    // However an address is written, and nothing is below one.
    if let address = IPAddress(name) { return permitted.contains { IPAddress($0) == address } }
    return permitted.contains { name == $0.lowercased() || name.hasSuffix("." + $0.lowercased()) }
  }
}
