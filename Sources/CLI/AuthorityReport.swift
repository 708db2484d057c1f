// An authority in words, and what makes clients trust it.

import Configuration
import Foundation
import Platform
import TLS

enum AuthorityReport {
  static func facts(
    _ certificate: Certificate, _ directory: AuthorityDirectory, now: Int64, _ style: Style
  ) -> String {
    let summary = certificate.summary
    let permitted = certificate.permittedNames
    var facts = Facts()
    facts.add("certificate", directory.certificateFile)
    facts.add("key", key(directory, style))
    facts.add("name", summary.subject)
    facts.add(
      "signs for",
      lines: permitted.isEmpty
        ? [style.warning("every host there is")]
        : permitted.map {
          $0.contains(":") || IPAddress($0) != nil ? $0 : "\($0), and all below it"
        })
    facts.add("valid", validity(summary, now: now, style))
    facts.add("SHA-256", certificate.fingerprint)
    return facts.text(style)
  }

  private static func key(_ directory: AuthorityDirectory, _ style: Style) -> String {
    guard let status = try? File.status(at: directory.keyFile) else {
      return style.bad("\(directory.keyFile) is missing: `holdfast ca init --renew`")
    }
    if status.mode & 0o077 != 0 {
      return style.bad(
        "\(directory.keyFile) is open to others, and not used while it is: chmod 600 \(directory.keyFile)"
      )
    }
    // Only its owner can tell.
    if FileManager.default.isReadableFile(atPath: directory.keyFile), !directory.isWhole {
      return style.bad(
        "\(directory.keyFile) does not belong to the certificate: `holdfast ca init --renew`, or put back files that do"
      )
    }
    return directory.keyFile
  }

  private static func validity(
    _ summary: CertificateSummary, now: Int64, _ style: Style
  ) -> String {
    guard let end = summary.notAfter else { return style.bad("until nobody knows when") }
    let day = day(end)
    guard end > now else { return style.bad("no more: it expired on \(day)") }
    let text = "until \(day), for \(age(seconds: end - now))"
    return end - now < 30 * 86_400 ? style.warning(text) : text
  }

  /// `2031-03-02`
  private static func day(_ seconds: Int64) -> String {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withFullDate]
    return formatter.string(from: Date(timeIntervalSince1970: TimeInterval(seconds)))
  }

  private struct Report: Encodable {
    var certificate: String
    var key: String
    var name: String
    var signsFor: [String]
    var notBefore: Int64?
    var notAfter: Int64?
    var sha256: String
  }

  static func json(_ certificate: Certificate, _ directory: AuthorityDirectory) -> String {
    let summary = certificate.summary
    return JSONLine.text(
      Report(
        certificate: directory.certificateFile, key: directory.keyFile, name: summary.subject,
        signsFor: certificate.permittedNames, notBefore: summary.notBefore,
        notAfter: summary.notAfter, sha256: certificate.fingerprint))
  }

  /// How clients come to trust it, line by line as they are typed on the client's machine.
  static func instructions(_ directory: AuthorityDirectory, _ style: Style) -> String {
    let bundle = "/etc/ssl/certs/ca-certificates.crt"
    let clients: [(name: String, lines: [String])] = [
      (
        "Debian, Ubuntu (apt, curl, wget, Go, and what is below)",
        [
          "cp ca.pem /usr/local/share/ca-certificates/holdfast.crt && update-ca-certificates"
        ]
      ),
      (
        "Fedora, RHEL",
        ["cp ca.pem /etc/pki/ca-trust/source/anchors/holdfast.pem && update-ca-trust"]
      ),
      ("pip", ["pip config set global.cert \(bundle)", "or  PIP_CERT=\(bundle)"]),
      ("uv", ["SSL_CERT_FILE=\(bundle)"]),
      ("npm, yarn, pnpm (Node)", ["NODE_EXTRA_CA_CERTS=/path/to/ca.pem"]),
      ("cargo", ["CARGO_HTTP_CAINFO=\(bundle)"]),
      ("git", ["git config --global http.sslCAInfo \(bundle)"]),
      (
        "Java (Maven, Gradle)",
        [
          "keytool -importcert -noprompt -cacerts -storepass changeit -alias holdfast -file ca.pem"
        ]
      ),
    ]
    var text = [
      style.bold("On the clients, with the file that `holdfast ca export > ca.pem` writes:")
    ]
    for client in clients {
      text.append("  " + style.dim(client.name))
      for line in client.lines { text.append("    " + line) }
    }
    return text.joined(separator: "\n")
  }
}
