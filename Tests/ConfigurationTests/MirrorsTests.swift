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
