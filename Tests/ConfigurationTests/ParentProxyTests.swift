import Platform
import Testing

@testable import Configuration

@Suite("Parent proxies")
struct ParentProxyTests {
  @Test(
    "NO_PROXY is read as curl and Go read it",
    arguments: [
      ("example.org", "example.org", 443, true), ("example.org", "www.example.org", 443, true),
      ("example.org", "notexample.org", 443, false), (".example.org", "www.example.org", 80, true),
      (".example.org", "example.org", 80, true), ("*.example.org", "a.b.example.org", 80, true),
      ("Example.ORG", "EXAMPLE.org.", 80, true), ("org", "example.org", 80, true),
      ("example.org:8080", "example.org", 8080, true),
      ("example.org:8080", "example.org", 80, false),
      ("a.test, b.test,,c.test", "b.test", 80, true), ("a.test b.test", "b.test", 80, true),
      ("*", "anything.test", 80, true), ("10.0.0.1", "10.0.0.1", 80, true),
      ("10.0.0.1", "10.0.0.11", 80, false), ("10.0.0.1:81", "10.0.0.1", 80, false),
      ("10.0.0.0/8", "10.9.8.7", 80, true), ("10.0.0.0/8", "11.9.8.7", 80, false),
      ("10.0.0.0/8", "10.test", 80, false), ("2001:db8::/32", "2001:db8::1", 443, true),
      ("2001:db8::1", "2001:DB8:0::1", 443, true), ("[2001:db8::1]:443", "2001:db8::1", 443, true),
      ("[2001:db8::1]:443", "2001:db8::1", 80, false), ("127.0.0.1", "::ffff:127.0.0.1", 80, true),
      ("", "example.org", 80, false), ("not a host!, -x-", "example.org", 80, false),
      ("*example.org", "example.org", 80, false),
    ] as [(String, String, UInt16, Bool)])
  func exceptions(list: String, host: String, port: UInt16, isExcepted: Bool) {
    #expect(ParentExceptions(noProxy: list).contains(host: host, port: port) == isExcepted)
  }

  private func parents(_ environment: [String: String]) throws -> Parents {
    var upstream = UpstreamSettings()
    upstream.parent = .environment
    upstream.environmentParents = try Parents(environment: environment)
    return Parents(upstream)
  }

  @Test("the environment says which scheme goes through whom")
  func environment() throws {
    let both = try parents([
      "HTTP_PROXY": "http://one.test:3128/", "https_proxy": "two.test:8080",
      "HTTPS_PROXY": "http://three.test", "NO_PROXY": "direct.test",
    ])
    #expect(both.parent(host: "a.test", port: 80, isSecure: false)?.text == "http://one.test:3128")
    #expect(both.parent(host: "a.test", port: 443, isSecure: true)?.text == "http://two.test:8080")
    #expect(both.parent(host: "x.direct.test", port: 443, isSecure: true) == nil)
    for local in ["localhost", "127.0.0.1", "::1"] {
      #expect(both.parent(host: local, port: 80, isSecure: false) == nil)
    }
    let http = try parents(["http_proxy": "http://one.test"])
    #expect(http.parent(host: "a.test", port: 443, isSecure: true) == nil)
    #expect(http.http?.port == 80)
    #expect(try parents(["http_proxy": ""]).isEmpty)
    #expect(
      try parents(["REQUEST_METHOD": "GET", "HTTP_PROXY": "http://evil.test"]).isEmpty,
      "a CGI program's variable is its client's field")
  }

  @Test("what is said of all schemes holds where nothing is said of one")
  func all() throws {
    let some = try parents([
      "HTTPS_PROXY": "http://one.test", "all_proxy": "https://two.test",
      "ALL_PROXY": "http://three.test",
    ])
    #expect(some.https?.host == "one.test")
    #expect(some.http?.text == "https://two.test:443", "small letters win")
    #expect(try parents(["ALL_PROXY": "http://three.test"]).https?.host == "three.test")
    #expect(
      try parents([
        "REQUEST_METHOD": "GET", "HTTP_PROXY": "http://evil.test", "ALL_PROXY": "http://three.test",
      ]).http?.host == "three.test")
    let error = #expect(throws: Misreading.self) {
      try parents(["http_proxy": "http://one.test", "ALL_PROXY": "socks5://user:sesame@two.test"])
    }
    #expect(error?.message.contains("$ALL_PROXY, which is a SOCKS proxy") == true)
    #expect(error?.message.contains("sesame") == false)
    let both = try parents([
      "http_proxy": "http://one.test", "https_proxy": "http://one.test",
      "ALL_PROXY": "socks5://two.test",
    ])
    #expect(both.https?.host == "one.test", "nobody asks for it")
  }

  @Test("hosts that are excepted go the direct way, also with a parent that is named")
  func noParent() throws {
    var upstream = UpstreamSettings()
    upstream.parent = .proxy(try ParentProxy(reading: "http://p.test:1"))
    upstream.noParent = [try HostPattern(reading: "*.inside.test")]
    upstream.environmentParents = try Parents(environment: ["NO_PROXY": "*"])
    let parents = Parents(upstream)
    #expect(parents.parent(host: "a.inside.test", port: 80, isSecure: false) == nil)
    #expect(parents.parent(host: "inside.test", port: 80, isSecure: false) != nil)
    #expect(parents.parent(host: "a.test", port: 443, isSecure: true)?.host == "p.test")
    upstream.parent = .none
    #expect(Parents(upstream).isEmpty)
  }

  @Test("a parent's URL has user, password, host and port; what is shown of it has no password")
  func url() throws {
    let proxy = try ParentProxy(reading: "http://us%40er:p%3Ass%20w@p.test:8080")
    #expect(proxy.user == "us@er" && proxy.password?.revealed == "p:ss w")
    #expect(proxy.text == "http://us@er@p.test:8080")
    #expect(!"\(proxy)".contains("p:ss"))
    #expect(try ParentProxy(reading: "http://[2001:db8::1]:3128").authority == "[2001:db8::1]:3128")
    let secure = try ParentProxy(reading: "HTTPS://ci@p.test")
    #expect(secure.isSecure && secure.port == 443 && secure.text == "https://ci@p.test:443")
    #expect(secure != ParentProxy(host: "p.test", port: 443))
  }

  @Test(
    "what is no HTTP proxy is refused, and a password in it not repeated",
    arguments: [
      "socks5://user:sesame@p.test:1", "SOCKS5h://p.test:1", "socks://p.test", "http://",
      "https://", "p.test:99999", "http://p.test/path",
      "http://:sesame@p.test", "http://user:sesame@", "ftp://user:sesame@p.test", "enviroment!",
    ])
  func refused(text: String) throws {
    #expect(throws: Misreading.self) { try ParentProxy(reading: text) }
    do {
      _ = try ConfigurationLoader.read(text: "upstream: { parent: \"\(text)\" }", file: nil)
      Issue.record("\(text) was taken")
    } catch {
      #expect(error.errors.count == 1)
      #expect(!error.description.contains("sesame"))
    }
  }

  @Test("the password may be in a file, for a user that is named")
  func passwordFile() throws {
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-parent-")
    defer { try? File.removeTree(directory) }
    let file = try File.open("\(directory)/password", [.write, .create], mode: 0o600)
    let number = file.rawValue
    try Array("open sesame\n".utf8).withUnsafeBytes { bytes in
      Result { () throws(Errno) in try File.writeFully(number, bytes, at: 0) }
    }.get()
    func read(_ parent: String) throws(Diagnostics) -> Configuration {
      try ConfigurationLoader.read(
        text: "upstream: { parent: \(parent), parent-password-file: \(directory)/password }",
        file: nil, readsSecrets: true
      ).configuration
    }
    let upstream = try read("\"http://ci@p.test:3128\"").upstream
    #expect(Parents(upstream).https?.password?.revealed == "open sesame")
    var dumped = ""
    dump(upstream, to: &dumped)
    #expect(!dumped.contains("sesame"))
    do {
      _ = try read("\"http://p.test:3128\"")
      Issue.record("a password without a user was taken")
    } catch {
      #expect(error.description.contains("has no user"))
    }
  }
}
