import HTTP
import Testing

@testable import Caching

private func targets(
  _ method: HTTP.Method, _ status: UInt16 = 200, _ fields: FieldSection = [:]
) throws -> [String] {
  let target = try #require(TargetURI("http://a.example/dir/file?q"))
  return Invalidation.targets(
    method: method, target: target, status: Status(status), fields: fields
  ).map(\.description)
}

@Suite("Invalidation (RFC 9111 §4.4)")
struct InvalidationTests {
  @Test("a successful unsafe request spoils its target", arguments: HTTP.Method.allCases)
  func methods(method: HTTP.Method) throws {
    let spoilt = try targets(method)
    #expect(spoilt == (method.isSafe ? [] : ["http://a.example/dir/file?q"]))
  }

  @Test(
    "an error spoils nothing, a redirection does",
    arguments: [200, 201, 204, 303, 304, 400, 404, 500])
  func statuses(status: Int) throws {
    let spoilt = try targets(.put, UInt16(status))
    #expect(spoilt.isEmpty == (status >= 400))
  }

  @Test("Location and Content-Location of the same origin are spoilt too")
  func locations() throws {
    let spoilt = try targets(
      .post, 201, ["Location": "/new", "Content-Location": "http://A.example:80/dir/other#f"])
    #expect(
      spoilt
        == ["http://a.example/dir/file?q", "http://a.example/new", "http://a.example/dir/other"])
  }

  @Test(
    "of another origin nothing is spoilt",
    arguments: [
      "http://b.example/", "https://a.example/new", "http://a.example:81/new", "//b.example/new",
      "http://a.example.evil/", "mailto:me@a.example", "http://a.example@b.example/", "http:",
      "http://", "/a b", "//",
    ])
  func otherOrigins(location: String) throws {
    let spoilt = try targets(.post, 201, ["Location": location])
    #expect(spoilt.count == 1)
  }

  @Test("of two Locations nobody knows which is meant")
  func twoLocations() throws {
    let spoilt = try targets(.post, 201, ["Location": "/a", "location": "/b"])
    #expect(spoilt.count == 1)
  }

  // The base is http://a.example/dir/file?q.
  @Test(
    "references are resolved as RFC 3986 §5 says",
    arguments: [
      ("other", "http://a.example/dir/other"), ("./other", "http://a.example/dir/other"),
      ("../other?x#y", "http://a.example/other?x"), ("../../../other", "http://a.example/other"),
      ("..", "http://a.example/"), (".", "http://a.example/dir/"),
      ("sub/", "http://a.example/dir/sub/"), ("?x", "http://a.example/dir/file?x"),
      ("", "http://a.example/dir/file?q"), ("#f", "http://a.example/dir/file?q"),
      ("/a/./b/../c", "http://a.example/a/c"), ("//a.example/x", "http://a.example/x"),
      ("a:b", nil), ("./a:b", "http://a.example/dir/a:b"),
      ("x?../y", "http://a.example/dir/x?../y"),
    ] as [(String, String?)])
  func references(reference: String, resolved: String?) throws {
    let base = try #require(TargetURI("http://a.example/dir/file?q"))
    #expect(Invalidation.resolve(reference.utf8, against: base)?.description == resolved)
  }
}
