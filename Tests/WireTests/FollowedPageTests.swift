// Pages that redirects led to: their links are relative to where they were in the end, and what they say of files counts
// only where it comes from the mirror itself and is about its own.

import Configuration
import Foundation
import Platform
import Support
import Telemetry
import Testing

@Suite struct FollowedPageTests {
  private static let html = ["Content-Type: text/html", "Cache-Control: max-age=600"]

  /// `/pypi/` is the index `/simple/` of the origin; another host has something to say as well.
  private func mirrored(
    trustingOther: Bool = false, _ body: (WireOrigin, WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(configure: { configuration, origin in
      try PythonMirrorTests.configure(&configuration, origin)
      if trustingOther {
        var mirror = Mirror(name: "pypi", url: try OriginURL(reading: origin.url("/simple/")))
        mirror.ecosystem = .pypi
        mirror.files = [try HostPattern(reading: "other.test")]
        configuration.mirrors = Mirrors([mirror])
      }
    }) { origin, proxy in
      let other = try WireOrigin(origin.script, host: "other.test")
      defer { other.close() }
      try body(origin, other, proxy)
    }
  }

  /// The next request is led elsewhere.
  private func lead(_ origin: WireOrigin, to location: String, _ status: Int = 302) throws {
    let connection = try origin.accept()
    try connection.expectRequest()
    try connection.respond(status, ["Location: \(location)", "Connection: close"])
  }

  private func serve(
    _ origin: WireOrigin, _ line: String, status: Int = 200, _ fields: [String],
    _ content: String = ""
  ) throws {
    let connection = try origin.accept()
    try connection.expectRequest(line)
    try connection.respond(status, fields + ["Connection: close"], content)
  }

  private let relative = "<a href=\"../files/x.whl\">x</a><a href=\"y-1.whl\">y</a>"

  @Test("links are relative to another path of the same host, also in a hit and after a restart")
  func sameHost() throws {
    try mirrored { origin, _, proxy in
      let client = try proxy.connect().get("/pypi/x/")
      try lead(origin, to: "/simple/deep/er/x/?token=1")
      try serve(origin, "GET /simple/deep/er/x/?token=1 HTTP/1.1", Self.html, relative)
      let expected =
        "<a href=\"/pypi/deep/er/files/x.whl\">x</a><a href=\"/pypi/deep/er/x/y-1.whl\">y</a>"
      try client.expectResponse(200, content: expected)
      let hit = try client.get("/pypi/x/").expectResponse(200, content: expected)
      #expect(hit["Cache-Status"]?.contains("hit") == true)
      try proxy.expectStored()
      try proxy.restart()
      let later = try proxy.connect()
      try later.get("/pypi/x/").expectResponse(200, content: expected)
      // In a browser's place it would be wrong: who follows redirects itself gets to see them.
      try later.get(origin.url("/simple/x/"))
      try lead(origin, to: "/simple/deep/er/x/")
      #expect(try later.expectResponse(302)["Location"] == "/simple/deep/er/x/")
      try origin.expectNothingElse()
    }
  }

  @Test(
    "links are relative to the other host, and nothing of what signed the way there is kept",
    arguments: [true, false])
  func otherHost(isStored: Bool) throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().get("/pypi/x/")
      let expected =
        "<a href=\"/pypi/+files/http/\(other.authority)/idx/files/x.whl\">x</a>"
        + "<a href=\"/pypi/+files/http/\(other.authority)/idx/x/y-1.whl\">y</a>"
      for _ in 0..<(isStored ? 1 : 2) {
        try lead(origin, to: other.url("/idx/x/?signature=sesame"))
        try serve(
          other, "GET /idx/x/?signature=sesame HTTP/1.1",
          isStored ? Self.html : ["Content-Type: text/html", "Cache-Control: no-store"], relative)
        try client.expectResponse(200, content: expected)
        try client.get("/pypi/x/")
      }
      guard isStored else { return try lead(origin, to: "ftp://x/") }
      try client.expectResponse(200, content: expected)
      try proxy.expectStored()
      proxy.settleDisk()
      let store = proxy.configuration.store.path
      for name in try FileManager.default.subpathsOfDirectory(atPath: store + "/log") {
        let bytes = try Data(contentsOf: URL(filePath: "\(store)/log/\(name)"))
        #expect(bytes.range(of: Data("sesame".utf8)) == nil)
      }
      try proxy.restart()
      try proxy.connect().get("/pypi/x/").expectResponse(200, content: expected)
      try origin.expectNothingElse()
    }
  }

  @Test("who waits for the page while it comes gets the same")
  func growing() throws {
    try mirrored { origin, other, proxy in
      let clients = try (0..<4).map { _ in try proxy.connect().get("/pypi/x/") }
      try lead(origin, to: other.url("/idx/x/"))
      let upstream = try other.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, Self.html + ["Content-Length: \(relative.utf8.count)"])
      try upstream.send(relative)
      for client in clients {
        try client.expectResponse(
          200,
          content: "<a href=\"/pypi/+files/http/\(other.authority)/idx/files/x.whl\">x</a>"
            + "<a href=\"/pypi/+files/http/\(other.authority)/idx/x/y-1.whl\">y</a>")
      }
      #expect(proxy.registry.value(.pagesRewritten) == 1)
      try origin.expectNothingElse()
    }
  }

  @Test("a 304 renews the page only if it comes from where the page came from")
  func confirmed() throws {
    try mirrored { origin, other, proxy in
      let third = try WireOrigin(origin.script, host: "third.test")
      defer { third.close() }
      let stale = [
        "Content-Type: text/html", "Cache-Control: max-age=600", "Age: 900", "ETag: \"a\"",
      ]
      let client = try proxy.connect().get("/pypi/x/")
      try lead(origin, to: other.url("/idx/x/"))
      try serve(other, "GET /idx/x/ HTTP/1.1", stale, "<a href=\"y\">")
      try client.expectResponse(200)
      // The same host, elsewhere on it: that is what links are relative to from now on.
      try client.get("/pypi/x/")
      try lead(origin, to: other.url("/moved/x/"))
      try serve(other, "GET /moved/x/ HTTP/1.1", status: 304, ["ETag: \"a\"", "Age: 900"])
      let moved = try client.expectResponse(200)
      #expect(moved.text == "<a href=\"/pypi/+files/http/\(other.authority)/moved/x/y\">")
      // Another one knows nothing of it, whatever it calls its own.
      try client.get("/pypi/x/")
      try lead(origin, to: third.url("/idx/x/"))
      try serve(third, "GET /idx/x/ HTTP/1.1", status: 304, ["ETag: \"a\""])
      try lead(origin, to: third.url("/idx/x/"))
      let again = try third.accept()
      #expect(try again.expectRequest()["If-None-Match"] == nil)
      try again.respond(200, Self.html, "<a href=\"z\">")
      let last = try client.expectResponse(200)
      #expect(last.text == "<a href=\"/pypi/+files/http/\(third.authority)/idx/x/z\">")
    }
  }

  @Test("the rest of what broke off counts only from where its beginning came from")
  func completed() throws {
    try mirrored { origin, other, proxy in
      let third = try WireOrigin(origin.script, host: "third.test")
      defer { third.close() }
      let content = patterned(300_000, seed: 3)
      let fields = ["Cache-Control: max-age=600", "ETag: \"a\"", "Connection: close"]
      let client = try proxy.connect().get("/\(origin.authority)/file")
      try lead(origin, to: other.url("/1"))
      let there = try other.accept()
      try there.expectRequest()
      try there.send(head: 200, fields + ["Content-Length: \(content.count)"])
      try there.send(Array(content[..<200_000]))
      try client.expectHead(200)
      try client.expectContent(200_000)
      there.abort()
      try client.expectIncomplete()
      try proxy.expectStored()
      proxy.settleDisk()

      let second = try proxy.connect().get("/\(origin.authority)/file")
      try lead(origin, to: third.url("/2"))
      let rest = try third.accept()
      let range = try rest.expectRequest("GET /2 HTTP/1.1")
      let start = try #require(range["Range"].flatMap { Int($0.dropFirst(6).dropLast()) })
      try rest.send(
        head: 206,
        fields + [
          "Content-Range: bytes \(start)-\(content.count - 1)/\(content.count)",
          "Content-Length: \(content.count - start)",
        ])
      rest.trySending([UInt8](repeating: 7, count: content.count - start))
      try lead(origin, to: third.url("/2"))
      let whole = try third.accept()
      #expect(try whole.expectRequest()["Range"] == nil)
      let other = patterned(50_000, seed: 9)
      try whole.send(head: 200, fields + ["Content-Length: \(other.count)"])
      try whole.send(other)
      #expect(try second.expectAnyResponse().content == other)
    }
  }

  @Test("a page waits its turn when pages take all the memory there is for them")
  func waits() throws {
    try mirrored { origin, _, proxy in
      // Each may be as large as it says, and none may be stored.
      var taking: [WireClient] = []
      var upstreams: [WireOriginConnection] = []
      for number in 1...4 {
        taking.append(try proxy.connect().get("/pypi/x\(number)/"))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(
          head: 200,
          ["Content-Type: text/html", "Cache-Control: no-store", "Content-Length: \(16 << 20)"])
        try proxy.expect("the head to be read") { $0.value(.relays, .response) == number }
        upstreams.append(upstream)
      }
      let filling = String(repeating: " ", count: 12 << 20)
      let client = try proxy.connect().get("/pypi/x/")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let sending = try Background {
        try upstream.respond(200, Self.html, filling + "<a href=\"y\">")
      }
      try sending.join()
      try proxy.expectStored()
      try proxy.expect("the page to be begun") { $0.value(.pagesRewritten) == 1 }
      #expect(proxy.server.pageMemory.waiting == 1)
      taking[0].abort()
      let answer = try client.expectResponse(200)
      #expect(answer.text.hasSuffix(" <a href=\"/pypi/x/y\">"))
      #expect(proxy.server.pageMemory.waiting == 0)
    }
  }

  // MARK: Digests

  @Test(
    "what a page says of files counts only from the mirror's own host and those it names, and only about theirs",
    arguments: [(false, false), (true, true)])
  func believed(trusts: Bool, isRefused: Bool) throws {
    try mirrored(trustingOther: trusts) { origin, other, proxy in
      let digest = TestDigest.hex(Array("right".utf8))
      let page =
        "<a href=\"\(origin.url("/f/x-1.whl"))#sha256=\(digest)\">"
        + "<a href=\"\(other.url("/f/y-1.whl"))#sha256=\(digest)\">"
      let client = try proxy.connect().get("/pypi/x/")
      try lead(origin, to: other.url("/idx/x/"))
      try serve(other, "GET /idx/x/ HTTP/1.1", Self.html, page)
      try client.expectResponse(200)
      func expectFile(_ host: WireOrigin, _ path: String, isRefused: Bool) throws {
        try client.get("/pypi/+files/http/\(host.authority)\(path)")
        try serve(host, "GET \(path) HTTP/1.1", ["Cache-Control: max-age=60"], "wrong")
        if isRefused {
          try client.expectError(502, "SHA-256")
        } else {
          try client.expectResponse(200, content: "wrong")
        }
      }
      try expectFile(origin, "/f/x-1.whl", isRefused: isRefused)
      try expectFile(other, "/f/y-1.whl", isRefused: isRefused)
      // The same page from the mirror itself.
      try client.get("/pypi/z/")
      try serve(
        origin, "GET /simple/z/ HTTP/1.1", Self.html,
        page.replacing("/f/x", with: "/f/v").replacing("/f/y", with: "/f/w"))
      try client.expectResponse(200)
      try expectFile(origin, "/f/v-1.whl", isRefused: true)
      try expectFile(other, "/f/w-1.whl", isRefused: isRefused)
    }
  }

  // MARK: What redirects say about keeping

  @Test(
    "an answer is kept no longer than the redirects that led to it allow",
    arguments: [
      (302, "Cache-Control: no-store", nil), (302, "Cache-Control: private", nil),
      (307, "Cache-Control: max-age=40", "ttl=40"), (303, "X: y", "ttl=600"),
      (302, "Cache-Control: max-age=90000", "ttl=9000"), (308, "X: y", "ttl=9000"),
      (301, "Cache-Control: s-maxage=50, max-age=5", "ttl=50"),
      (301, "CDN-Cache-Control: max-age=60", "ttl=60"), (302, "Cache-Control: no-cache", "ttl=0"),
    ] as [(Int, String, String?)])
  func kept(status: Int, field: String, left: String?) throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().get("/\(origin.authority)/file")
      let first = try origin.accept()
      try first.expectRequest()
      try first.respond(status, ["Location: \(other.url("/y"))", field])
      try serve(
        other, "GET /y HTTP/1.1", ["Cache-Control: max-age=9000", "ETag: \"a\""], "content")
      let answer = try client.expectResponse(200, content: "content")
      let status = answer["Cache-Status"] ?? ""
      if let left {
        #expect((status + ";").contains(left + ";"), "\(status)")
        #expect(status.contains("stored"))
      } else {
        #expect(answer["Cache-Status"]?.contains("stored") == false)
        #expect(answer["Cache-Control"]?.contains("max-age") == false)
      }
    }
  }

  @Test("a package file behind a redirect that says nothing is a hit for ever")
  func package() throws {
    try mirrored { origin, other, proxy in
      let client = try proxy.connect().get("/pypi/+files/http/\(origin.authority)/f/x-1.0.tar.gz")
      try lead(origin, to: other.url("/signed?x=y"), 307)
      try serve(other, "GET /signed?x=y HTTP/1.1", ["ETag: \"a\""], "content")
      try client.expectResponse(200, content: "content")
      try client.get("/pypi/+files/http/\(origin.authority)/f/x-1.0.tar.gz")
      let hit = try client.expectResponse(200, content: "content")
      #expect(hit["Cache-Status"]?.contains("ttl=2147483") == true)
      try origin.expectNothingElse()
    }
  }

  #if DEBUG
    @Test(
      "a page that cannot be read once it is stored is fetched again, by one for all who waited")
    func unreadable() throws {
      try mirrored { origin, _, proxy in
        let page = String(repeating: "<a href=\"y\">", count: 4000)
        let expected = String(repeating: "<a href=\"/pypi/x/y\">", count: 4000)
        let plan = FaultPlan(
          in: .directory(proxy.configuration.store.path), failing: [.read], number: 1,
          with: .inputOutput)
        let clients = try (0..<3).map { _ in try proxy.connect().get("/pypi/x/") }
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(head: 200, Self.html + ["Content-Length: \(page.utf8.count)"])
        try upstream.send(Array(page.utf8.dropLast(100)))
        plan.install()
        defer { plan.remove() }
        try upstream.send(Array(page.utf8.suffix(100)))
        try upstream.expectRequest("GET /simple/x/ HTTP/1.1")
        try upstream.respond(200, Self.html, page)
        let told = try clients.map {
          try $0.expectResponse(200, content: expected)["Cache-Status"] ?? ""
        }
        #expect(plan.fired == 1)
        #expect(told.filter { !$0.contains("collapsed") }.count == 1, "\(told)")
        try origin.expectNothingElse()
      }
    }
  #endif

  @Test("a stored page stands in for one that breaks off while it is gathered")
  func standsIn() throws {
    try mirrored { origin, _, proxy in
      let client = try proxy.connect().get("/pypi/x/")
      try serve(
        origin, "GET /simple/x/ HTTP/1.1",
        ["Content-Type: text/html", "Cache-Control: max-age=600", "Age: 900", "ETag: \"a\""],
        "<a href=\"y\">")
      try client.expectResponse(200, content: "<a href=\"/pypi/x/y\">")
      // For one client alone, so that nothing is stored of it.
      for fields in [["Cookie: a=b"], []] {
        try client.request("GET", "/pypi/x/", fields)
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(
          head: 200,
          ["Content-Type: text/html", "Cache-Control: no-store", "Content-Length: 100"])
        try upstream.send("<a")
        upstream.close()
        let answer = try client.expectResponse(200, content: "<a href=\"/pypi/x/y\">")
        #expect(answer["Cache-Status"]?.contains("stale-if-error") == true)
      }
    }
  }
}
