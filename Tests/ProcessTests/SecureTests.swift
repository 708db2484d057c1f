// TLS as other programs find it: curl and openssl against listeners, decrypted tunnels and origins.

import Foundation
import Glibc
import Testing

private let hasTools = isInstalled("curl") && isInstalled("openssl")

extension WholeProgram {
  @Suite(
    "TLS with other programs",
    .enabled(if: hasTools, "curl or openssl is missing: `scripts/setup test` installs them"))
  struct SecureTests {
    private let directory: TemporaryDirectory
    private let certificates: Certificates

    init() throws {
      directory = try TemporaryDirectory()
      certificates = try Certificates(in: directory.path + "/certificates")
    }

    /// Two listeners, the second over TLS; tunnels to 127.0.0.1 are decrypted, and origins verified by our root.
    private func start(wrapper: [String] = [], level: String = "info") throws -> HoldfastProcess {
      let made = try shell(
        "'\(HoldfastProcess.executable())' ca init --ca '\(directory.path)/ca' --host 127.0.0.1")
      guard made.code == 0 else { throw Failure(made.text) }
      var configuration = HoldfastProcess.Configuration()
      configuration.listen =
        "[127.0.0.1:0, { address: 127.0.0.1:0, tls: { certificate: \(certificates.chain), key: \(certificates.leafKey) } }]"
      configuration.connectPorts = "[1-65535]"
      configuration.logLevel = level
      configuration.logAccess = level == "info" ? "none" : "stderr"
      configuration.more = """
        intercept: { hosts: [127.0.0.1], ca: \(directory.path)/ca }
        upstream: { ca: \(certificates.root) }
        """
      return try HoldfastProcess(
        store: directory.path + "/store", configuration: configuration, wrapper: wrapper)
    }

    /// Asks with curl.
    /// - Returns: its exit code, the status it got, and what else it said.
    private func curl(_ words: String) throws -> (code: Int32, status: Int, text: String) {
      let result = try shell(
        "curl -sS --noproxy '' --max-time 60 -o '\(directory.path)/got' -D '\(directory.path)/head' -w 'status=%{http_code}\\n' \(words)"
      )
      let status = result.text.split(separator: "\n").last { $0.hasPrefix("status=") }
        .flatMap { Int($0.dropFirst("status=".count)) }
      return (result.code, status ?? 0, result.text)
    }

    private var head: String {
      (try? String(contentsOfFile: directory.path + "/head", encoding: .utf8)) ?? ""
    }

    private var got: Data? { FileManager.default.contents(atPath: directory.path + "/got") }

    // MARK: curl

    @Test("curl reaches origins through an https:// proxy if it trusts it, and not otherwise")
    func secureProxy() throws {
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try start()
      defer { holdfast.process.end() }
      let resource = Resource(.length, 100_000, "curl")
      let words =
        "-x https://127.0.0.1:\(holdfast.ports[1]) http://127.0.0.1:\(origin.port)\(resource.path)"
      let stranger = try curl(words)
      #expect(stranger.code == 60, "\(stranger.text)")
      #expect(origin.requestCount(resource) == 0)
      for trust in ["--proxy-cacert '\(certificates.root)'", "--proxy-insecure"] {
        let answer = try curl("\(trust) \(words)")
        #expect(answer.code == 0 && answer.status == 200, "\(answer.text)")
        #expect(got?.count == resource.size)
      }
      #expect(origin.requestCount(resource) == 1)
      #expect(head.contains("hit"))
    }

    @Test("curl reaches a mirror by https, and is told when it forgets the s")
    func mirror() throws {
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try start()
      defer { holdfast.process.end() }
      let resource = Resource(.length, 50_000, "mirror")
      let path = "127.0.0.1:\(holdfast.ports[1])/127.0.0.1:\(origin.port)\(resource.path)"
      let answer = try curl("--cacert '\(certificates.root)' https://\(path)")
      #expect(answer.code == 0 && answer.status == 200, "\(answer.text) \(head)")
      #expect(got?.count == resource.size)
      let plain = try curl("http://\(path)")
      #expect(plain.status == 400)
      #expect(got.map { String(decoding: $0, as: UTF8.self) }?.contains("https://") == true)
    }

    @Test("curl gets a file through a decrypted tunnel, and gets it again when the origin is gone")
    func interception() throws {
      let origin = try SecureOrigin(certificates)
      defer { origin.stop() }
      let holdfast = try start()
      defer { holdfast.process.end() }
      let words = "-x http://127.0.0.1:\(holdfast.port) https://127.0.0.1:\(origin.port)/file"
      let stranger = try curl("--cacert '\(certificates.root)' \(words)")
      #expect(stranger.code == 60, "\(stranger.text)")
      #expect(origin.connections == 0)
      let first = try curl("--cacert '\(directory.path)/ca/ca.pem' \(words)")
      #expect(first.code == 0 && first.status == 200, "\(first.text)")
      #expect(got?.count == 2000)
      try holdfast.waitUntilQuiet()
      origin.stop()
      let again = try curl("--cacert '\(directory.path)/ca/ca.pem' \(words)")
      #expect(again.status == 200 && head.contains("hit"), "\(again.text) \(head)")
      #expect(got?.count == 2000)
      #expect(origin.connections == 1)
    }

    @Test(
      "an origin that sends its whole chain is trusted; without the middle it is not, and why is said"
    )
    func chains() throws {
      let files = directory.path + "/files"
      try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: true)
      try "content".write(toFile: files + "/x", atomically: true, encoding: .utf8)
      let holdfast = try start()
      defer { holdfast.process.end() }
      for sendsChain in [true, false] {
        let server = try FileServer(certificates, sendsChain: sendsChain, directory: files)
        let answer = try curl(
          "http://127.0.0.1:\(holdfast.port)/HTTPS///127.0.0.1:\(server.port)/x")
        #expect(answer.status == (sendsChain ? 200 : 502), "\(answer.text) \(head)")
        if !sendsChain {
          #expect(head.contains("tls_certificate_error"))
          let text = got.map { String(decoding: $0, as: UTF8.self) } ?? ""
          #expect(text.contains("unable to get local issuer certificate"))
          #expect(text.contains("issuer CN=server authority"))
        }
      }
    }

    // MARK: openssl

    private func client(_ port: UInt16, _ words: String) throws -> (code: Int32, text: String) {
      try shell(
        "openssl s_client -connect 127.0.0.1:\(port) -CAfile '\(certificates.root)' -verify_return_error \(words) </dev/null"
      )
    }

    @Test(
      "TLS 1.2 and 1.3 are spoken, older ones are not; nothing is compressed; new handshakes are secure",
      arguments: [
        ("-tls1 -cipher ALL@SECLEVEL=0", nil), ("-tls1_1 -cipher ALL@SECLEVEL=0", nil),
        ("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3"),
      ])
    func versions(option: String, version: String?) throws {
      let holdfast = try start()
      defer { holdfast.process.end() }
      let result = try client(holdfast.ports[1], option)
      guard let version else {
        #expect(result.code != 0)
        #expect(result.text.contains("alert protocol version"))
        return
      }
      #expect(result.code == 0, "\(result.text)")
      #expect(result.text.contains("New, \(version)"))
      #expect(result.text.contains("Compression: NONE"))
      #expect(version == "TLSv1.3" || result.text.contains("Secure Renegotiation IS supported"))
      #expect(result.text.contains("Verify return code: 0 (ok)"))
      #expect(result.text.contains("X25519") || result.text.contains("Server Temp Key: ECDH"))
    }

    /// The table of docs/security.md. The certificate is an ECDSA one; with an RSA one it is the same with RSA.
    private static let suites: Set<String> = [
      "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
      "ECDHE-ECDSA-AES128-GCM-SHA256",
    ]

    @Test("of all ciphers that OpenSSL has, those in the documentation are taken and no others")
    func ciphers() throws {
      let holdfast = try start()
      defer { holdfast.process.end() }
      let all = try shell("openssl ciphers -s -tls1_2 'ALL:COMPLEMENTOFALL:@SECLEVEL=0'").text
        .split(separator: ":").map(String.init).filter { !$0.hasPrefix("TLS_") }
      #expect(all.count > 50)
      var taken: Set<String> = []
      for cipher in all {
        let result = try client(holdfast.ports[1], "-tls1_2 -cipher '\(cipher):@SECLEVEL=0'")
        if result.code == 0 { taken.insert(cipher) }
      }
      #expect(taken == Self.suites)
      for suite in [
        "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256",
        "TLS_AES_128_CCM_SHA256",
      ] {
        let result = try client(holdfast.ports[1], "-tls1_3 -ciphersuites \(suite)")
        #expect((result.code == 0) == !suite.contains("CCM"), "\(suite): \(result.text)")
      }
    }

    @Test("a session is resumed, also after many others")
    func resumption() throws {
      let holdfast = try start()
      defer { holdfast.process.end() }
      let file = directory.path + "/session"
      let first = try client(holdfast.ports[1], "-tls1_2 -sess_out '\(file)'")
      #expect(first.text.contains("New, TLSv1.2"))
      for _ in 0..<20 { _ = try client(holdfast.ports[1], "-tls1_2") }
      let again = try client(holdfast.ports[1], "-tls1_2 -sess_in '\(file)'")
      #expect(again.text.contains("Reused, TLSv1.2"), "\(again.text)")
    }

    // MARK: Certificates and keys

    @Test("`holdfast ca` keeps its key to itself: modes of its files, and what it prints")
    func authority() throws {
      let program = try HoldfastProcess.executable()
      let ca = directory.path + "/authority"
      let initial = try shell(
        "umask 022; '\(program)' ca init --ca '\(ca)' --host files.example.org")
      #expect(initial.code == 0, "\(initial.text)")
      func mode(_ path: String) throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        return (attributes[.posixPermissions] as? Int) ?? -1
      }
      let names = try FileManager.default.contentsOfDirectory(atPath: ca)
      let keys = try names.filter {
        try String(contentsOfFile: "\(ca)/\($0)", encoding: .utf8).contains("PRIVATE KEY")
      }
      #expect(keys.count == 1)
      for key in keys { #expect(try mode("\(ca)/\(key)") == 0o600) }
      #expect(try mode(ca) & 0o022 == 0)
      let secrets = try Certificates.body(ofKey: "\(ca)/\(keys[0])")

      let exported = try shell("'\(program)' ca export --ca '\(ca)' 2>/dev/null").text
      #expect(exported.hasPrefix("-----BEGIN CERTIFICATE-----\n"))
      #expect(exported.hasSuffix("-----END CERTIFICATE-----"))
      #expect(exported.components(separatedBy: "-----BEGIN").count == 2)
      let read = try shell(
        "'\(program)' ca export --ca '\(ca)' | openssl x509 -noout -text -in /dev/stdin")
      #expect(read.text.contains("CA:TRUE, pathlen:0"))
      #expect(read.text.contains("DNS:files.example.org"))
      let shown = try shell(
        "'\(program)' ca show --ca '\(ca)'; '\(program)' ca show --json --ca '\(ca)'; '\(program)' ca export --der --ca '\(ca)' | base64"
      )
      for text in [initial.text, exported, shown.text] {
        #expect(!text.contains("PRIVATE"))
        for secret in secrets { #expect(!text.contains(secret)) }
      }
      // A second time nothing is replaced unasked.
      #expect(try shell("'\(program)' ca init --ca '\(ca)' --host example.org").code != 0)
      #expect(try shell("'\(program)' ca export --ca '\(ca)' 2>/dev/null").text == exported)
    }

    @Test("a new certificate takes effect with SIGHUP while a download goes on")
    func renewal() throws {
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try start()
      defer { holdfast.process.end() }
      let slow = Resource(.length, 4 << 20, "slow")
      origin.hold(slow, at: 1 << 20)
      let port = holdfast.ports[1]
      let download = try ChildProcess(
        "/bin/sh",
        [
          "-c",
          "exec curl -sS --noproxy '' --proxy-cacert '\(certificates.root)' -x https://127.0.0.1:\(port) http://127.0.0.1:\(origin.port)\(slow.path) -o '\(directory.path)/slow' -w '%{http_code} %{size_download}\\n'",
        ], listensToOutput: true)
      defer { download.end() }
      try poll("the first half") {
        let size = try? FileManager.default.attributesOfItem(atPath: directory.path + "/slow")[
          .size]
        return (size as? Int ?? 0) > 100_000
      }
      #expect(try client(port, "").text.contains("subject=CN = server\n"))
      let later = try Certificates(in: directory.path + "/later", name: "renewed")
      try shell(
        "cat '\(later.chain)' > '\(certificates.chain)'; cat '\(later.leafKey)' > '\(certificates.leafKey)'"
      )
      holdfast.process.signal(SIGHUP)
      try holdfast.process.wait(for: "the reload") { lines in
        lines.contains { $0.contains("configuration read again") } ? () : nil
      }
      try poll("the new certificate") {
        try shell("openssl s_client -connect 127.0.0.1:\(port) </dev/null").text
          .contains("subject=CN = renewed\n")
      }
      // A certificate and a key that do not belong together change nothing.
      try shell("cat '\(certificates.intermediate)' > '\(certificates.chain)'")
      holdfast.process.signal(SIGHUP)
      try holdfast.process.wait(for: "the refusal") { lines in
        lines.contains { $0.contains("stays as it was") } ? () : nil
      }
      #expect(
        try shell("openssl s_client -connect 127.0.0.1:\(port) </dev/null").text
          .contains("subject=CN = renewed\n"))
      #expect(download.ending == nil)
      origin.letGo(slow, at: 1 << 20)
      #expect(try download.waitForEnd() == .exited(0))
      #expect(download.lines == ["200 \(slow.size)"])
    }

    @Test("no key is in anything that is said: logs at their loudest, status, metrics, error pages")
    func secrecy() throws {
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let keyLog = directory.path + "/keys.log"
      let holdfast = try start(
        wrapper: ["/usr/bin/env", "SSLKEYLOGFILE=\(keyLog)"], level: "trace")
      defer { holdfast.process.end() }
      let server = try FileServer(
        certificates, sendsChain: false, directory: certificates.directory)
      let proxy = "http://127.0.0.1:\(holdfast.port)"
      var said: [String] = []
      // What goes well, and what fails in each place where keys are at hand.
      let words = [
        "--proxy-cacert '\(certificates.root)' -x https://127.0.0.1:\(holdfast.ports[1]) http://127.0.0.1:\(origin.port)\(Resource(.length, 1000, "a").path)",
        "-x https://127.0.0.1:\(holdfast.ports[1]) http://127.0.0.1:1/",
        "--cacert '\(directory.path)/ca/ca.pem' -x \(proxy) https://127.0.0.1:\(server.port)/none",
        "-x \(proxy) https://127.0.0.1:\(server.port)/none",
        "\(proxy)/HTTPS///127.0.0.1:\(server.port)/none",
        "http://127.0.0.1:\(holdfast.ports[1])/",
        "\(proxy)/", "\(proxy)/nowhere",
        "http://127.0.0.1:\(holdfast.adminPort)/api/status",
        "http://127.0.0.1:\(holdfast.adminPort)/metrics",
        "http://127.0.0.1:\(holdfast.adminPort)/",
      ]
      for one in words {
        said.append(try curl(one).text)
        said.append(head + (got.map { String(decoding: $0, as: UTF8.self) } ?? ""))
      }
      try shell("cat '\(certificates.intermediate)' > '\(certificates.chain)'")
      holdfast.process.signal(SIGHUP)
      try holdfast.process.wait(for: "the refusal") { lines in
        lines.contains { $0.contains("stays as it was") } ? () : nil
      }
      holdfast.process.signal(SIGTERM)
      try holdfast.process.waitForEnd()
      said += holdfast.process.lines
      #expect(holdfast.process.lines.count > 10)
      let secrets =
        try certificates.secrets()
        + Certificates.body(ofKey: directory.path + "/ca/" + authorityKey())
      #expect(secrets.count >= 8)
      for text in said {
        #expect(!text.contains("PRIVATE"), "\(text)")
        for secret in secrets { #expect(!text.contains(secret), "\(text)") }
      }
      #expect(!FileManager.default.fileExists(atPath: keyLog))
    }

    private func authorityKey() throws -> String {
      let names = try FileManager.default.contentsOfDirectory(atPath: directory.path + "/ca")
      return names.first { $0.hasSuffix("key") || $0.contains("key") } ?? ""
    }
  }
}
