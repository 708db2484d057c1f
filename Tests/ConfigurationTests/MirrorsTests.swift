// Names and URLs of mirrors.

import Testing

@testable import Configuration

@Suite("Mirrors")
struct MirrorsTests {
  @Test(
    "a URL has one normal form",
    arguments: [
      ("http://Deb.Example.org", "http://deb.example.org/"),
      ("HTTP://deb.example.org:80/debian", "http://deb.example.org/debian/"),
      ("http://deb.example.org:8080/debian/", "http://deb.example.org:8080/debian/"),
      ("https://a.example.org:443/", "https://a.example.org/"),
      ("http://[2001:DB8::1]/x", "http://[2001:db8::1]/x/"),
      ("http://[::1]:81/", "http://[::1]:81/"), ("http://registry/", "http://registry/"),
    ])
  func normalForm(text: String, normal: String) throws {
    let url = try OriginURL(reading: text)
    #expect(url.text == normal)
    #expect(try OriginURL(reading: url.text) == url)
  }

  @Test(
    "a URL that cannot be meant is refused",
    arguments: [
      "deb.example.org", "ftp://a/", "http://", "http:///x", "http://a:0/", "http://a:99999/",
      "http://a:/", "http://u:p@a/", "http://a/?q", "http://a/#f", "http://a/ b", "http://a b/",
      "http://[::1/", "http://[zz]/", "http://a/\r\nX: y", "http://a/ü",
    ])
  func wrong(text: String) {
    #expect(throws: Misreading.self) { try OriginURL(reading: text) }
  }

  @Test("names are plain words", arguments: ["debian", "py-pi", "A1_b"])
  func names(name: String) throws {
    try Mirror.check(name: name)
  }

  @Test(
    "names that would mean something else are refused",
    arguments: [
      "", "a.b", "a:1", "http", "HTTPS", "holdfast", "a/b", "a b", "ü",
      String(repeating: "a", count: 64),
    ])
  func wrongNames(name: String) {
    #expect(throws: Misreading.self) { try Mirror.check(name: name) }
  }
}

@Suite struct MirrorSettingsTests {
  @Test(
    "a mirror can be a URL or a section, with what kind of packages it has and where its files are")
  func sections() throws {
    let text = """
      public-url: https://cache.example.org/p
      mirrors:
        debian: http://deb.example.org/debian/
        pypi: { url: "https://index.example.org/simple/", ecosystem: pypi, files: [files.example.org, "*.cdn.example.org"] }
      """
    let configuration = try ConfigurationLoader.read(text: text, file: "test.yaml").configuration
    #expect(configuration.publicURL?.text == "https://cache.example.org/p/")
    let debian = try #require(configuration.mirrors["debian"])
    #expect(debian.ecosystem == .auto && debian.files.isEmpty)
    let pypi = try #require(configuration.mirrors["pypi"])
    #expect(pypi.ecosystem == .pypi)
    #expect(pypi.files.map(\.text) == ["files.example.org", "*.cdn.example.org"])
    // What is printed can be read again.
    let again = try ConfigurationLoader.read(
      text: "mirrors: \(configuration.mirrors.yaml)", file: "test.yaml")
    #expect(again.configuration.mirrors == configuration.mirrors)
  }

  @Test(
    "what cannot be meant is refused",
    arguments: [
      ("ecosystem: pipy", "write one of auto, debian, pypi, none"),
      ("files: [\"*\"]", "inside the network"),
      ("files: [https://x.example.org/]", "only its host"), ("file: [x]", "files"),
    ])
  func refused(line: String, complaint: String) {
    let text = "mirrors: { a: { url: \"https://i.example.org/\", \(line) } }"
    do throws(Diagnostics) {
      _ = try ConfigurationLoader.read(text: text, file: "test.yaml")
      Issue.record("was accepted")
    } catch {
      #expect(error.description.contains(complaint))
    }
  }
}
