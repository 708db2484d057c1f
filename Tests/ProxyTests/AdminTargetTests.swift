import Testing

@testable import Proxy

@Suite struct AdminTargetTests {
  @Test(
    "path and parameters are told apart and decoded",
    arguments: [
      ("/", "/", ""), ("/api/store", "/api/store", ""), ("/a?", "/a", ""),
      ("/a?b", "/a", "b="), ("/a?b=", "/a", "b="), ("/a?b=c&d=e", "/a", "b=c d=e"),
      ("/a?b=c=d", "/a", "b=c=d"), ("/a?&&b=1&", "/a", "b=1"), ("/a?x%20y=%41%42", "/a", "x y=AB"),
      ("/a?b=1?2", "/a", "b=1?2"), ("/a?u=http%3A%2F%2Fh%2F", "/a", "u=http://h/"),
      // No proper encoding stays as it is.
      ("/a?b=%", "/a", "b=%"), ("/a?b=%4", "/a", "b=%4"), ("/a?b=%zz", "/a", "b=%zz"),
      ("/a?b=1+1", "/a", "b=1 1"), ("", "", ""),
    ])
  func decoded(target: String, path: String, query: String) {
    let request = AdminTarget.request(method: "GET", target: Array(target.utf8))
    #expect(request.path == path)
    #expect(request.query.map { "\($0.name)=\($0.value)" }.joined(separator: " ") == query)
  }

  @Test("of parameters with one name the first is taken, and one that is not there is nil")
  func value() {
    let request = AdminTarget.request(method: "GET", target: Array("/a?b=1&b=2".utf8))
    #expect(request.value("b") == "1")
    #expect(request.value("c") == nil)
  }
}
