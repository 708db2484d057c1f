import Platform
import TLS
import Testing

@testable import Configuration

@Suite("The file of authorities")
struct TrustTests {
  private func errors(_ text: String) throws -> String {
    do {
      _ = try ConfigurationLoader.read(text: text, file: nil, readsSecrets: true)
      return ""
    } catch {
      return error.errors.map { "\($0)" }.joined(separator: "\n")
    }
  }

  @Test(
    "is read when the configuration is: what is missing or no certificate is told with its line")
  func checked() throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-trust-")
    defer { try? File.removeTree(directory) }
    func write(_ name: String, _ bytes: [UInt8]) throws {
      let file = try File.open("\(directory)/\(name)", [.write, .create])
      let number = file.rawValue
      try bytes.withUnsafeBytes { bytes in
        Result { () throws(Errno) in try File.writeFully(number, bytes, at: 0) }
      }.get()
    }
    let made = try CertificateAuthority.make(
      name: "Test", permitted: [], validFor: 1, now: WallTime.now().seconds)
    try write("good.pem", Array("A line of text.\n".utf8) + made.certificate.pem)
    try write("empty.pem", [])
    try write("key.pem", made.key.pem)
    #expect(try errors("upstream: { ca: \(directory)/good.pem }").isEmpty)
    for name in ["empty.pem", "key.pem"] {
      #expect(
        try errors("upstream: { ca: \(directory)/\(name) }").contains(
          "holds no certificate in PEM form"))
    }
    #expect(
      try errors("\nupstream: { ca: \(directory)/none.pem }").contains("cannot be read"))
    #expect(try errors("upstream: { ca: \(directory) }").contains("is no file"))
  }

  @Test("is `system`, or looks like a file", arguments: ["sytem", "none"])
  func words(word: String) throws {
    #expect(try errors("upstream: { ca: \(word) }").contains("write system, or a file"))
    #expect(try errors("upstream: { ca: system }").isEmpty)
  }
}
