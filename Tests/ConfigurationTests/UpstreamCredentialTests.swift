import Platform
import Testing

@testable import Configuration

@Suite("Credentials for origins")
struct UpstreamCredentialTests {
  private func errors(_ item: String) -> String {
    do {
      _ = try ConfigurationLoader.read(
        text: "upstream: { credentials: [\(item)] }", file: nil, readsSecrets: true)
      return ""
    } catch {
      return error.errors.map { "\($0)" }.joined(separator: "\n")
    }
  }

  @Test(
    "an entry that cannot be meant is told with what is missing",
    arguments: [
      ("{ user: a, password-file: p }", "names no hosts"),
      ("{ hosts: [\"*\"], token-file: p }", "to every host"),
      ("{ hosts: [a.test] }", "needs one of"),
      ("{ hosts: [a.test], password-file: p, token-file: t }", "needs one of"),
      ("{ hosts: [a.test], password-file: p }", "no user"),
      ("{ hosts: [a.test], user: u, token-file: p }", "knows no user"),
      ("{ hosts: [a.test], user: \"a:b\", password-file: p }", "colon"),
      ("{ hosts: [a.test], token-file: /nowhere/token }", "cannot be read"),
      ("{ hosts: [a.test], token-env: HOLDFAST_NOBODY_SETS_THIS }", "is not set"),
      ("{ hosts: [a.test], token: abc }", "is not known"),
      ("{ hosts: [\"*/team/\"], token-file: p }", "to every host"),
      ("{ hosts: [\"https://a.test/\"], token-file: p }", "is a URL"),
      ("{ hosts: [a.test/team], token-file: p }", "write a.test/team/"),
      ("{ hosts: [a.test/team/../], token-file: p }", "no request can have"),
      ("{ hosts: [\"a.test/team/?x/\"], token-file: p }", "no request can have"),
      ("{ hosts: [\"a.test:0\"], token-file: p }", "a port that is none"),
      ("{ hosts: [\"a.test:https\"], token-file: p }", "a port that is none"),
    ])
  func faults(item: String, sentence: String) {
    #expect(errors(item).contains(sentence), "\(errors(item))")
  }

  @Test(
    "a place is a host, with a port and a path if need be",
    arguments: [
      ("a.test", "a.test", nil, "/"), ("A.test.", "a.test", nil, "/"),
      ("a.test/", "a.test", nil, "/"), ("a.test:8443/te%61m/", "a.test:8443/team/", 8443, "/team/"),
      ("*.a.test/x/y/", "*.a.test/x/y/", nil, "/x/y/"), ("10.0.0.1:81", "10.0.0.1:81", 81, "/"),
      ("2001:db8::1", "[2001:db8::1]", nil, "/"), ("[2001:db8::1]", "[2001:db8::1]", nil, "/"),
      ("[2001:db8::1]:81/a/", "[2001:db8::1]:81/a/", 81, "/a/"),
    ] as [(String, String, UInt16?, String)])
  func places(text: String, shown: String, port: UInt16?, path: String) throws {
    let place = try CredentialPlace(reading: text)
    #expect(place.text == shown && place.port == port && place.path == path)
    #expect(try CredentialPlace(reading: place.text) == place)
  }

  @Test(
    "secrets are the first lines of files, and are shown by nothing that prints a configuration")
  func secrets() throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-credentials-")
    defer { try? File.removeTree(directory) }
    func write(_ name: String, _ text: String, mode: UInt32) throws {
      let file = try File.open("\(directory)/\(name)", [.write, .create], mode: mode)
      let number = file.rawValue
      try Array(text.utf8).withUnsafeBytes { bytes in
        Result { () throws(Errno) in try File.writeFully(number, bytes, at: 0) }
      }.get()
    }
    try write("password", "pass word:ü\nnot this\n", mode: 0o600)
    try write("token", "tok en\n", mode: 0o600)
    try write("open", "token-for-all\n", mode: 0o644)
    let loaded = try ConfigurationLoader.read(
      text: """
        mirrors: { m: "http://a.test/" }
        upstream:
          credentials:
            - { hosts: [a.test], user: ci, password-file: \(directory)/password }
            - { hosts: [b.test], token-file: \(directory)/open, insecure: true, share: false }
        """, file: nil, readsSecrets: true)
    let credentials = loaded.configuration.upstream.credentials
    #expect(credentials[0].secret?.revealed == "pass word:ü")
    #expect(credentials[1].secret?.revealed == "token-for-all")
    var dumped = ""
    dump(loaded.configuration, to: &dumped)
    for text in [
      "\(loaded.configuration)", dumped, credentials.yaml, credentials[0].summary,
      String(reflecting: credentials),
    ] {
      #expect(!text.contains("pass word") && !text.contains("token-for-all"))
    }
    let warnings = loaded.warnings.description
    #expect(warnings.contains("chmod 600"))
    #expect(warnings.contains("can read it"))
    #expect(warnings.contains("is not sent to the mirror m"))
    #expect(
      errors("{ hosts: [a.test], token-file: \(directory)/token }").contains("holds no token"))
    #expect(!errors("{ hosts: [a.test], token-file: \(directory)/token }").contains("tok en"))
  }
}
