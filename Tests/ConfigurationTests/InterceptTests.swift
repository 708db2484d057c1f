import Foundation
import Platform
import TLS
import Testing

@testable import Configuration

@Suite("Interception")
struct InterceptTests {
  private func load(_ text: String) throws -> (Configuration?, String) {
    do {
      let loaded = try ConfigurationLoader.read(text: text, file: nil, readsSecrets: true)
      return (loaded.configuration, "\(loaded.warnings)")
    } catch {
      return (nil, "\(error)")
    }
  }

  private func scratch(_ body: (String) throws -> Void) throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-intercept-")
    defer { try? File.removeTree(directory) }
    try body(directory)
  }

  private func write(
    _ bytes: [UInt8], to path: String, permissions: Int = 0o600
  ) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    try FileManager.default.setAttributes([.posixPermissions: permissions], ofItemAtPath: path)
  }

  @discardableResult
  private func makeAuthority(
    in directory: String, for permitted: [String], from now: Int64 = WallTime.now().seconds
  ) throws -> Certificate {
    let made = try CertificateAuthority.make(
      name: "Test", permitted: permitted, validFor: 10, now: now)
    try write(made.certificate.pem, to: AuthorityFiles.certificate(in: directory))
    try write(made.key.pem, to: AuthorityFiles.key(in: directory))
    return made.certificate
  }

  @Test("without hosts nothing is decrypted, and no authority is looked for")
  func nothing() throws {
    let (configuration, _) = try load("intercept: { ca: /nowhere }")
    #expect(configuration?.intercept.authority == nil)
    #expect(configuration?.intercept.covers("example.org") == false)
  }

  @Test("the authority is read with the configuration; a missing one is told with what to do")
  func authority() throws {
    try scratch { directory in
      let text = "intercept: { hosts: [\"*.example.org\"], ca: \(directory) }"
      #expect(try load(text).1.contains("holdfast ca init"))
      let made = try makeAuthority(in: directory, for: ["example.org"])
      let (configuration, warnings) = try load(text)
      #expect(configuration?.intercept.authority?.certificate.der == made.der)
      #expect(warnings.isEmpty)
      try write(Array("nothing".utf8), to: AuthorityFiles.key(in: directory))
      #expect(try load(text).1.contains("no private key"))
    }
  }

  @Test("what it may not sign for, and a key that others can read, is warned of")
  func warnings() throws {
    try scratch { directory in
      try makeAuthority(in: directory, for: ["example.org"])
      let text =
        "intercept: { hosts: [files.example.org, example.com, \"*\"], ca: \(directory) }"
      let warnings = try load(text).1
      #expect(warnings.contains("may not sign for example.com, *, only for example.org"))
      for mode in [0o644, 0o640, 0o620, 0o601] {
        try FileManager.default.setAttributes(
          [.posixPermissions: mode], ofItemAtPath: AuthorityFiles.key(in: directory))
        let (open, told) = try load(text)
        #expect(open == nil)
        #expect(told.contains("chmod 600") && told.contains("mode \(String(mode, radix: 8))"))
      }
      try makeAuthority(in: directory, for: [], from: WallTime.now().seconds - 86_400 * 30)
      let (configuration, told) = try load(text)
      #expect(configuration == nil)
      #expect(told.contains("has expired"))
    }
  }

  @Test("a key and a certificate that do not belong together are told of, with what to do")
  func mismatch() throws {
    try scratch { directory in
      try makeAuthority(in: directory, for: ["example.org"])
      try write(PrivateKey.make().pem, to: AuthorityFiles.key(in: directory))
      let (configuration, told) = try load(
        "intercept: { hosts: [example.org], ca: \(directory) }")
      #expect(configuration == nil)
      #expect(told.contains("does not belong to the certificate in \(directory)/ca.pem"))
      #expect(told.contains("holdfast ca init --renew"))
    }
  }

  @Test(
    "addresses that it may sign for are known however they are written",
    arguments: [
      ("2001:db8::1", "2001:db8::1", true), ("2001:db8::1", "2001:DB8:0:0::1", true),
      ("2001:db8::1", "2001:db8::2", false), ("::1", "::1", true), ("10.0.0.1", "10.0.0.1", true),
      ("10.0.0.1", "10.0.0.11", false), ("example.org", "2001:db8::1", false),
    ])
  func addresses(permitted: String, host: String, isWithin: Bool) throws {
    try scratch { directory in
      let made = try makeAuthority(in: directory, for: [permitted])
      #expect(made.permittedNames == [permitted])
      let warnings = try load("intercept: { hosts: [\"\(host)\"], ca: \(directory) }").1
      #expect(warnings.contains("may not sign") == !isWithin, "\(warnings)")
    }
  }

  @Test(
    "which hosts are covered",
    arguments: [
      ("files.example.org", true), ("FILES.example.org.", true), ("example.org", false),
      ("pinned.example.org", false), ("example.com", true), ("10.0.0.1", true),
    ])
  func covered(host: String, isCovered: Bool) throws {
    var settings = InterceptSettings()
    settings.hosts = try ["*.example.org", "example.com", "10.0.0.1"].map {
      try HostPattern(reading: $0)
    }
    settings.except = [try HostPattern(reading: "pinned.example.org")]
    #expect(settings.covers(host) == isCovered)
  }
}
