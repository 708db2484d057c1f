// A Python index by way of a mirror: pages whose links lead back to it, files of other hosts, digests, and what
// clients' habits may and may not bring about.

import Configuration
import Platform
import Storage
import Support
import Telemetry
import Testing

@Suite struct PythonMirrorTests {
  /// `/pypi/` is the index `/simple/` of the origin.
  static func configure(_ configuration: inout Configuration, _ origin: WireOrigin) throws {
    var mirror = Mirror(name: "pypi", url: try OriginURL(reading: origin.url("/simple/")))
    mirror.ecosystem = .pypi
    configuration.mirrors = Mirrors([mirror])
  }

  private static let html = "Content-Type: text/html"

  private static func page(_ origin: WireOrigin, _ file: String = "/f/x.whl", sha256: String? = nil)
    -> String
  {
    "<a href=\"\(origin.url(file))\(sha256.map { "#sha256=\($0)" } ?? "")\">x</a>"
  }

  /// The same as it is written for clients of the mirror.
  private static func rewritten(_ origin: WireOrigin, _ file: String = "/f/x.whl") -> String {
    "<a href=\"\(link(origin, file))\">x</a>"
  }

  private static func link(_ origin: WireOrigin, _ file: String = "/f/x.whl") -> String {
    "/pypi/+files/http/\(origin.authority)\(file)"
  }

  // MARK: Pages

  @Test("a page is stored as it came, and its links lead through the mirror for those who use it")
  func rewritten() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect().get("/pypi/x/", "Accept-Encoding: gzip")
      let request = try origin.serveOnce(
        200,
        [Self.html, "ETag: \"o\"", "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT", "Vary: Accept"],
        Self.page(origin))
      #expect(request.target == "/simple/x/")
      #expect(request["Accept-Encoding"] == "identity")
      let first = try client.expectResponse(
        200, ["Content-Type": "text/html", "Vary": "Accept"], content: Self.rewritten(origin))
      #expect(first["ETag"] != nil && first["ETag"] != "\"o\"")
      #expect(first["Last-Modified"] == nil)
      // A hit, with the same bytes and the same tag.
      try client.get("/pypi/x/")
      let second = try client.expectResponse(200, content: Self.rewritten(origin))
      #expect(second["Cache-Status"]?.contains("hit") == true)
      #expect(second["ETag"] == first["ETag"])
      // Who asks the proxy for the page itself gets what the index has.
      try client.get(origin.url("/simple/x/"))
      try client.expectResponse(200, ["ETag": "\"o\""], content: Self.page(origin))
      // And who puts the host in front gets links of that form.
      try client.get("/\(origin.authority)/simple/x/")
      try client.expectResponse(200, content: "<a href=\"/\(origin.authority)/f/x.whl\">x</a>")
      try origin.expectNothingElse()
    }
  }

  @Test("JSON pages as well, and with a public URL links are whole")
  func json() throws {
    let configure = { (configuration: inout Configuration, origin: WireOrigin) throws in
      try Self.configure(&configuration, origin)
      configuration.publicURL = try OriginURL(reading: "https://cache.example.org/p/")
    }
    try wire(configure: configure) { origin, proxy in
      let type = "application/vnd.pypi.simple.v1+json"
      let client = try proxy.connect().get("/pypi/x/", "Accept: \(type)")
      try origin.serveOnce(
        200, ["Content-Type: \(type)"], "{\"files\":[{\"url\":\"\(origin.url("/f/x.whl"))\"}]}")
      try client.expectResponse(
        200, ["Content-Type": type],
        content: "{\"files\":[{\"url\":\"https://cache.example.org/p\(Self.link(origin))\"}]}")
    }
  }

  @Test(
    "HEAD, conditions and ranges are about the page as it is written anew, also when nothing is stored"
  )
  func conditions() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let body = Self.rewritten(origin)
      let client = try proxy.connect().request("HEAD", "/pypi/x/")
      let request = try origin.serveOnce(200, [Self.html, "ETag: \"o\""], Self.page(origin))
      #expect(request.head.startLine.hasPrefix("GET "))
      let head = try client.expectResponse(
        200, ["Content-Length": "\(body.utf8.count)"], isHead: true)
      let tag = try #require(head["ETag"])
      try client.get("/pypi/x/", "If-None-Match: \(tag)")
      try client.expectResponse(304, ["ETag": tag])
      try client.get("/pypi/x/", "If-None-Match: \"o\"")
      try client.expectResponse(200, content: body)
      try client.get("/pypi/x/", "Range: bytes=2-5", "If-Range: \(tag)")
      try client.expectResponse(206, content: String(body.dropFirst(2).prefix(4)))
      try client.get("/pypi/x/", "Range: bytes=0-0,2-3")
      let parts = try client.expectResponse(206)
      #expect(parts["Content-Type"]?.hasPrefix("multipart/byteranges") == true)
      try origin.expectNothingElse()
    }
  }

  @Test("a page that may not be stored is written anew all the same")
  func unstored() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect()
      for fields in [[], ["Authorization: Basic YTpi"]] {
        try client.request("GET", "/pypi/x/", fields + ["If-None-Match: \"x\""])
        try origin.serveOnce(
          200, [Self.html, "Cache-Control: no-store", "Set-Cookie: a=b"], Self.page(origin))
        let answer = try client.expectResponse(200, content: Self.rewritten(origin))
        #expect(answer["Cache-Status"]?.contains("stored") == false)
        #expect(answer["Set-Cookie"] == nil)
      }
      try client.request("HEAD", "/pypi/h/")
      try origin.serveOnce(200, [Self.html, "Cache-Control: no-store"], Self.page(origin))
      try client.expectResponse(
        200, ["Content-Length": "\(Self.rewritten(origin).utf8.count)"], isHead: true)
      // From the second time on it is asked for as the client asked, and of a page that was not had there is
      // nothing to say but that it is there.
      try client.request("HEAD", "/pypi/h/")
      let asked = try origin.accept()
      #expect(try asked.expectRequest().head.startLine.hasPrefix("HEAD "))
      try asked.send(
        head: 200, [Self.html, "ETag: \"o\"", "Content-Length: 9", "Connection: close"])
      let head = try client.expectResponse(200, isHead: true)
      #expect(head["ETag"] == nil && head["Content-Length"] == nil)
      asked.close()
      try client.get("/pypi/x/", "If-None-Match: \"x\"", "Range: bytes=0-1")
      let upstream = try origin.accept()
      let request = try upstream.expectRequest()
      #expect(request["If-None-Match"] == nil && request["Range"] == nil)
      // One that breaks off is an error and no half of a page.
      try upstream.send("HTTP/1.1 200 Fine\r\n\(Self.html)\r\nContent-Length: 100\r\n\r\n<a")
      upstream.close()
      try client.expectAnyResponse()
    }
  }

  @Test("large pages come whole, and a thousand bytes at a time")
  func large() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let count = 30_000
      let page = String(repeating: Self.page(origin) + "\n", count: count)
      let client = try proxy.connect().get("/pypi/x/")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let sending = try Background {
        try upstream.send(
          "HTTP/1.1 200 Fine\r\n\(Self.html)\r\nContent-Length: \(page.utf8.count)\r\n\r\n" + page)
      }
      let expected = String(repeating: Self.rewritten(origin) + "\n", count: count)
      let answer = try client.expectAnyResponse()
      #expect(answer.content == Array(expected.utf8))
      try sending.join()
      try client.get("/pypi/x/", "Range: bytes=1000000-1400000")
      let part = try client.expectAnyResponse()
      #expect(part.status == 206)
      let whole = Array(expected.utf8)
      #expect(part.content == Array(whole[1_000_000...1_400_000]))
      // Several parts, each larger than a socket takes at once.
      try client.get("/pypi/x/", "Range: bytes=5-700000, 800000-1500000")
      let parts = try client.expectAnyResponse()
      #expect(parts["Content-Type"]?.hasPrefix("multipart/byteranges") == true)
      #expect(parts["Content-Length"] == "\(parts.content.count)")
      let pieces = [whole[5...700_000], whole[800_000...1_500_000]]
      var rest = parts.content[...]
      for piece in pieces {
        let end = Array("\r\n\r\n".utf8)
        let start = try #require(rest.firstRange(of: end)?.upperBound)
        #expect(rest[start...].starts(with: piece))
        rest = rest[(start + piece.count)...]
      }
      #expect(rest.count < 200)
      #expect(proxy.registry.value(.pagesRewritten) == 1)
    }
  }

  @Test("many who ask for a page at once make one request, and all get it written anew")
  func stampede() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let clients = try (0..<8).map { _ in try proxy.connect().get("/pypi/x/") }
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try proxy.expect("all requests to be read") { $0.value(.fillsRunning) == 1 }
      let page = Self.page(origin)
      try upstream.send(
        "HTTP/1.1 200 Fine\r\n\(Self.html)\r\nContent-Length: \(page.utf8.count)\r\n\r\n")
      try upstream.send(page)
      for client in clients { try client.expectResponse(200, content: Self.rewritten(origin)) }
      #expect(proxy.registry.value(.pagesRewritten) == 1)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "what is no page of an index stays as it is, and a compressed page is an error that says what to do"
  )
  func others() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect()
      try client.get("/pypi/y/")
      try origin.serveOnce(200, ["Content-Type: text/plain"], Self.page(origin))
      try client.expectResponse(200, content: Self.page(origin))
      try client.get("/pypi/z/")
      try origin.serveOnce(404, [Self.html], Self.page(origin))
      try client.expectResponse(404, content: Self.page(origin))
      // News of a missing project is believed for a while.
      try client.get("/pypi/z/")
      try client.expectResponse(404)
      try client.get("/pypi/c/")
      try origin.serveOnce(200, [Self.html, "Content-Encoding: br"], "xx")
      try client.expectError(502, "compressed", type: "http_response_content_coding")
      try origin.expectNothingElse()
    }
  }

  @Test(
    "another spelling of a project leads to the normal one",
    arguments: [
      ("/pypi/Foo_Bar/", "../foo-bar/"), ("/pypi/foo", "foo/"), ("/pypi/Foo.x?a=b", "foo-x/?a=b"),
    ])
  func redirected(path: String, location: String) throws {
    try wire(configure: Self.configure) { origin, proxy in
      try proxy.connect().get(path).expectResponse(301, ["Location": location])
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a file right below a mirror is no spelling of a project",
    arguments: [
      "X_y-1.0.tar.gz", "A_b-1.0-py3-none-any.whl", "a-1.0.tar.bz2", "a-1.0.tgz", "a-1.0.tar.xz",
      "a-1.0.tar.Z", "a-1.0-py3.egg", "a-1.0.win32.exe", "a-1.0-1.noarch.rpm", "a_1.0_all.deb",
      "a-1.0.tgz.asc", "a.zip.metadata", "a.sig", "robots.txt",
    ])
  func notRedirected(name: String) throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect().get("/pypi/\(name)")
      try origin.serveOnce(200, [], "file")
      try client.expectResponse(200, content: "file")
    }
  }

  // MARK: Freshness

  @Test(
    "an index that is down, or says that it is, is stood in for even where a client wants it asked")
  func stale() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect().get("/pypi/x/")
      try origin.serveOnce(
        200, [Self.html, "Cache-Control: max-age=600", "Age: 700", "ETag: \"o\""], Self.page(origin)
      )
      try client.expectResponse(200)
      for status in [500, 503] {
        try client.get("/pypi/x/", "Cache-Control: max-age=0")
        try origin.serveOnce(status, [], "bad")
        let answer = try client.expectResponse(200, content: Self.rewritten(origin))
        #expect(answer["Cache-Status"]?.contains("stale-if-error") == true)
      }
      // 429 is the client's to see, and is not stored.
      try client.get("/pypi/x/")
      try origin.serveOnce(429, ["Cache-Control: max-age=60"], "slow down")
      try client.expectResponse(429, content: "slow down")
      origin.closeConnections()
      origin.stopListening()
      try client.get("/pypi/x/", "Cache-Control: max-age=0")
      try client.expectResponse(200, content: Self.rewritten(origin))
    }
  }

  @Test("who wants a page asked for again gets that once in a few seconds, and a file never")
  func habits() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect().get("/pypi/x/")
      try origin.serveOnce(200, [Self.html], Self.page(origin))
      try client.expectResponse(200)
      for wish in ["Cache-Control: no-cache", "Cache-Control: max-age=0", "Pragma: no-cache"] {
        try client.get("/pypi/x/", wish)
        try client.expectResponse(200, content: Self.rewritten(origin))
      }
      let file = Self.link(origin, "/f/x-1.0-py3-none-any.whl")
      try client.get(file)
      try origin.serveOnce(200, ["Cache-Control: no-cache"], "wheel")
      try client.expectResponse(200, content: "wheel")
      try client.get(file, "Cache-Control: no-cache")
      try client.expectResponse(200, content: "wheel")
      try origin.expectNothingElse()
    }
  }

  #if DEBUG
    @Test("an index is asked again after ten minutes, whatever it says")
    func capped() throws {
      try wire(configure: Self.configure) { origin, proxy in
        let client = try proxy.connect().get("/pypi/x/")
        try origin.serveOnce(
          200, [Self.html, "Cache-Control: max-age=2592000", "ETag: \"o\""], Self.page(origin))
        let first = try client.expectResponse(200)
        #expect(first["Cache-Status"]?.contains("ttl=600") == true)
        try proxy.expectStored()
        try proxy.stepClock(days: 1)
        try client.get("/pypi/x/")
        let request = try origin.serveOnce(304, ["Cache-Control: max-age=2592000"])
        #expect(request["If-None-Match"] == "\"o\"")
        let again = try client.expectResponse(200, content: Self.rewritten(origin))
        #expect(again["ETag"] == first["ETag"])
      }
    }
  #endif

  // MARK: Files

  @Test("files of any host come through the mirror, and share their place with every other way in")
  func files() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect().get(Self.link(origin, "/f/x-1.tar.gz"))
      let request = try origin.serveOnce(200, ["Cache-Control: max-age=60"], "file")
      #expect(request.target == "/f/x-1.tar.gz")
      try client.expectResponse(200, content: "file")
      // As some clients write the plus and the colon, and by another way in.
      let escaped = "/pypi/%2Bfiles/http/origin.test%3A\(origin.port)/f/x-1.tar.gz"
      for target in [
        escaped, origin.url("/f/x-1.tar.gz"), "/\(origin.authority)/f/x-1.tar.gz",
        "/origin.test%3a\(origin.port)/f/x-1.tar.gz",
      ] {
        try client.get(target)
        let hit = try client.expectResponse(200, content: "file")
        #expect(hit["Cache-Status"]?.contains("hit") == true)
      }
      try client.get("/pypi/+files/ftp/origin.test/x").expectError(400, "+files")
      try client.get("/pypi/+files/https/").expectError(400, "+files")
      try origin.expectNothingElse()
    }
  }

  private static let credentials = [
    "Authorization: Basic YTpi", "Cookie: a=b", "PRIVATE-TOKEN: t",
  ]

  @Test("a file of another host is fetched without a client's credentials, and is for everybody")
  func credentialsStay() throws {
    let configure = { (configuration: inout Configuration, origin: WireOrigin) throws in
      var mirror = Mirror(name: "pypi", url: try OriginURL(reading: "http://index.test/simple/"))
      mirror.ecosystem = .pypi
      mirror.files = [try HostPattern(reading: "origin.test")]
      configuration.mirrors = Mirrors([mirror])
    }
    try wire(configure: configure) { origin, proxy in
      // With a type of its own, and with one that nothing is known of.
      for file in ["/f/x-1.0-py3-none-any.whl", "/f/notes"] {
        let client = try proxy.connect().request("GET", Self.link(origin, file), Self.credentials)
        let request = try origin.serveOnce(200, ["Cache-Control: max-age=60"], "file")
        for field in ["Authorization", "Cookie", "PRIVATE-TOKEN"] {
          #expect(request[field] == nil, "\(field)")
        }
        try client.expectResponse(200, content: "file")
        try proxy.expectStored()
        try client.get(Self.link(origin, file)).expectResponse(200, content: "file")
      }
      // What writes has none of them either.
      let client = try proxy.connect().request(
        "DELETE", Self.link(origin, "/f/x"), Self.credentials)
      #expect(try origin.serveOnce(204)["Authorization"] == nil)
      try client.expectResponse(204)
      try origin.expectNothingElse()
    }
  }

  @Test("what is on the index's own host is shown the client's credentials, and sets no cookie")
  func credentialsOfIndex() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect()
      for path in [Self.link(origin, "/f/x"), "/pypi/notes/x"] {
        try client.request("GET", path, Self.credentials)
        let request = try origin.serveOnce(200, ["Set-Cookie: session=1"], "mine")
        #expect(request["Authorization"] == "Basic YTpi")
        #expect(request["Cookie"] == "a=b" && request["PRIVATE-TOKEN"] == "t")
        #expect(try client.expectResponse(200, content: "mine")["Set-Cookie"] == nil)
      }
    }
  }

  @Test("hosts that are not named go by `destinations`, those that are do not")
  func permitted() throws {
    let configure = { (configuration: inout Configuration, origin: WireOrigin) throws in
      var mirror = Mirror(name: "pypi", url: try OriginURL(reading: "http://index.test/simple/"))
      mirror.files = [try HostPattern(reading: "origin.test"), .any]
      configuration.mirrors = Mirrors([mirror])
      configuration.destinations.privateNetworks = []
      configuration.destinations.deny = [try HostPattern(reading: "*.test")]
    }
    try wire(configure: configure) { origin, proxy in
      let client = try proxy.connect().get(Self.link(origin))
      try origin.serveOnce(200, ["Cache-Control: max-age=60"], "file")
      try client.expectResponse(200, content: "file")
      try client.get("/pypi/+files/http/other.test:\(origin.port)/f").expectError(
        403, "destinations")
      // Nor does a mirror lead to the rest of its own host, unless it is known to be an index.
      try client.get("/pypi/+files/http/index.test/secret").expectError(403, "destinations")
      try client.get("/pypi/+files/http/127.0.0.1:\(origin.port)/f").expectError(403, "private")
      try origin.expectNothingElse()
    }
  }

  // MARK: Digests

  /// SHA-256 of `wheel`.
  private static let wheelDigest =
    TestDigest.hex(Array("wheel".utf8))

  /// Has a page tell what a file has to be.
  private func tell(_ digest: String, _ origin: WireOrigin, _ proxy: TestProxy) throws -> WireClient
  {
    let client = try proxy.connect().get("/pypi/x/")
    try origin.serveOnce(200, [Self.html], Self.page(origin, sha256: digest))
    try client.expectResponse(200)
    return client
  }

  @Test(
    "a small file that is not what its index says is 502, and never stored",
    arguments: [true, false])
  func smallMismatch(isChunked: Bool) throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try tell(Self.wheelDigest, origin, proxy)
      for _ in 0..<2 {
        try client.get(Self.link(origin))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send("HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\n")
        try upstream.send(
          isChunked
            ? "Transfer-Encoding: chunked\r\n\r\n5\r\nwrong\r\n0\r\n\r\n"
            : "Content-Length: 5\r\n\r\nwrong")
        try client.expectError(502, "SHA-256", type: "http_protocol_error")
        upstream.close()
      }
      #expect(proxy.registry.value(.digestMismatches) == 2)
      let url = origin.url("/f/x.whl")
      #expect(proxy.warnings.lines.count { $0.hasPrefix("\(url): what came is not") } == 2)
      // What is no file is no mismatch.
      try client.get(Self.link(origin))
      try origin.serveOnce(404, [], "gone")
      try client.expectResponse(404, content: "gone")
    }
  }

  @Test(
    "a large file that is not what its index says is cut before its end, and never stored",
    arguments: [true, false])
  func largeMismatch(isChunked: Bool) throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try tell(Self.wheelDigest, origin, proxy)
      let content = patterned(200_000, seed: 3)
      for round in 1...2 {
        let reader = try proxy.connect().get(Self.link(origin))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        let framing =
          isChunked
          ? "Transfer-Encoding: chunked\r\n\r\n30D40\r\n"
          : "Content-Length: \(content.count)\r\n\r\n"
        let sending = try Background {
          try upstream.send(
            Array("HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\n\(framing)".utf8) + content
              + (isChunked ? Array("\r\n0\r\n\r\n".utf8) : []))
        }
        try reader.expectHead(200)
        #expect(throws: (any Error).self) { try reader.expectRest() }
        try sending.join()
        try proxy.expect("a mismatch") { $0.value(.digestMismatches) == round }
        upstream.close()
      }
      client.close()
    }
  }

  /// How a file comes about that is passed on to those who read it and not kept.
  enum Unkept: CaseIterable {
    /// It grows larger than one may be, or says so at once.
    case growsTooLarge, isTooLarge
    /// No file can be made for it.
    case hasNoPlace, hasNoPlaceForItsLength
    /// It is for one client.
    case mayNotBeStored
  }

  @Test(
    "a file that is not kept is cut before its end as well if it is not what its index says",
    arguments: Unkept.allCases, [true, false])
  func unkeptMismatch(reason: Unkept, isRight: Bool) throws {
    let configure = { (configuration: inout Configuration, origin: WireOrigin) throws in
      try Self.configure(&configuration, origin)
      configuration.store.size = .mib(64)
      configuration.store.maxShare = 1
    }
    try wire(configure: configure) { origin, proxy in
      let isSmall = reason == .hasNoPlaceForItsLength || reason == .mayNotBeStored
      let content = patterned(isSmall ? 100_000 : 3 << 20)
      let client = try tell(
        TestDigest.hex(isRight ? content : content.dropLast() + [0]), origin, proxy)
      if reason == .hasNoPlace || reason == .hasNoPlaceForItsLength {
        try File.removeTree(proxy.scratchDirectory + "/store/partial")
      }
      try client.get(Self.link(origin))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let isChunked = reason == .growsTooLarge || reason == .hasNoPlace
      try upstream.send(
        head: 200,
        [
          "Cache-Control: \(reason == .mayNotBeStored ? "no-store" : "max-age=60")",
          isChunked ? "Transfer-Encoding: chunked" : "Content-Length: \(content.count)",
        ])
      let sending = try Background {
        var rest = content[...]
        while !rest.isEmpty {
          let piece = Array(rest.prefix(64 << 10))
          if isChunked { try upstream.sendChunk(piece) } else { try upstream.send(piece) }
          rest = rest.dropFirst(64 << 10)
        }
        if isChunked { try upstream.sendLastChunk() }
      }
      try client.expectHead(200)
      if isRight {
        #expect(try client.expectRest() == content)
        #expect(proxy.registry.value(.digestMismatches) == 0)
      } else {
        try client.expectIncomplete()
        try proxy.expect("a mismatch") { $0.value(.digestMismatches) == 1 }
      }
      try sending.join()
      try proxy.expectStored()
      #expect(proxy.registry.value(.relays, reason == .mayNotBeStored ? .response : .space) == 1)
    }
  }

  @Test("a file that says it is in no coding is checked like one that says nothing")
  func identityMismatch() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try tell(Self.wheelDigest, origin, proxy)
      for caching in ["max-age=60", "no-store"] {
        try client.get(Self.link(origin), "Accept-Encoding: gzip")
        let request = try origin.serveOnce(
          200, ["Cache-Control: \(caching)", "Content-Encoding: Identity"], "wrong")
        #expect(request["Accept-Encoding"] == "identity")
        if caching == "no-store" {
          try client.expectHead(200)
          try client.expectIncomplete()
        } else {
          try client.expectError(502, "SHA-256", type: "http_protocol_error")
        }
      }
      try proxy.expect("two mismatches") { $0.value(.digestMismatches) == 2 }
      let other = try proxy.connect().get(Self.link(origin))
      try origin.serveOnce(
        200, ["Cache-Control: max-age=60", "Content-Encoding: identity"], "wheel")
      try other.expectResponse(200, content: "wheel")
      try proxy.expectStored()
      try other.get(Self.link(origin)).expectResponse(200, content: "wheel")
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a file that is compressed although it was asked for as it is cannot be checked, nor stored")
  func codedFile() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let file = "/f/x-1.0-py3-none-any.whl"
      let page = try proxy.connect().get("/pypi/x/")
      try origin.serveOnce(200, [Self.html], Self.page(origin, file, sha256: Self.wheelDigest))
      try page.expectResponse(200)
      for _ in 0..<2 {
        let client = try proxy.connect().get(Self.link(origin, file), "Accept-Encoding: gzip")
        try origin.serveOnce(
          200, ["Cache-Control: max-age=60", "Content-Encoding: gzip"], "coded")
        let answer = try client.expectResponse(
          200, ["Content-Encoding": "gzip"], content: "coded")
        #expect(answer["Cache-Status"]?.contains("stored") == false)
      }
      // An error in its place is none of the file's.
      let client = try proxy.connect().get(Self.link(origin, file))
      try origin.serveOnce(404, ["Content-Encoding: gzip"], "coded")
      try client.expectResponse(404)
    }
  }

  @Test("nothing at all in place of a file is no file either")
  func emptyMismatch() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try tell(Self.wheelDigest, origin, proxy)
      try client.get(Self.link(origin))
      try origin.serveOnce(200, ["Cache-Control: no-store"])
      try client.expectGone()
    }
  }

  @Test(
    "a file that is what its index says comes whole and is stored, large and small",
    arguments: [5000, 200_000])
  func match(count: Int) throws {
    try wire(configure: Self.configure) { origin, proxy in
      let content = patterned(count, seed: 4)
      let client = try tell(TestDigest.hex(content), origin, proxy)
      try client.get(Self.link(origin))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let sending = try Background {
        try upstream.send(
          Array(
            "HTTP/1.1 200 Fine\r\nCache-Control: max-age=60\r\nContent-Length: \(count)\r\n\r\n"
              .utf8)
            + content)
      }
      #expect(try client.expectAnyResponse().content == content)
      try sending.join()
      try proxy.expectStored()
      try client.get(Self.link(origin))
      #expect(try client.expectAnyResponse().content == content)
      #expect(proxy.registry.value(.digestMismatches) == 0)
      try origin.expectNothingElse()
    }
  }

  @Test("what a page says is believed only of an index that the operator named")
  func unbelieved() throws {
    try wire(configure: Self.configure) { origin, proxy in
      let client = try proxy.connect().get("/\(origin.authority)/other/simple/x/")
      try origin.serveOnce(200, [Self.html], Self.page(origin, sha256: Self.wheelDigest))
      try client.expectResponse(200)
      try client.get(Self.link(origin))
      try origin.serveOnce(200, [], "wheel")
      try client.expectResponse(200, content: "wheel")
    }
  }

  @Test("an index of Debian under the wrong hash is refused as well")
  func byHash() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(
        origin.url("/dists/s/by-hash/SHA256/\(Self.wheelDigest)"))
      try origin.serveOnce(200, [], "wrong")
      try client.expectError(502, "SHA-256", type: "http_protocol_error")
      let right = Array("right".utf8)
      try client.get(origin.url("/dists/s/by-hash/SHA256/\(TestDigest.hex(right))"))
      try origin.serveOnce(200, [], "right")
      try client.expectResponse(200, content: "right")
    }
  }

  // MARK: Debian

  @Test("an index by name is asked for again once its release file is newer, and not before")
  func pair() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      let (release, index) = ("/dists/s/InRelease", "/dists/s/main/binary-amd64/Packages.xz")
      func get(_ path: String, _ status: Int, _ content: String) throws {
        try client.get(origin.url(path))
        try origin.serveOnce(status, ["Cache-Control: max-age=600", "ETag: \"\(path)\""], content)
        try client.expectResponse(200)
      }
      try get(index, 200, "index")
      // Alone it is fresh; with a release file that is as new or newer it has to be confirmed.
      try client.get(origin.url(index)).expectResponse(200, content: "index")
      try get(release, 200, "release")
      try get(index, 304, "")
      try client.get(origin.url(release)).expectResponse(200, content: "release")
      origin.closeConnections()
      origin.stopListening()
      // With nobody to ask, both are served as they are.
      let answer = try client.get(origin.url(index)).expectResponse(200, content: "index")
      #expect(
        answer["Cache-Status"]?.contains("hit") == true
          || answer["Cache-Status"]?.contains("stale") == true)
    }
  }
}

/// SHA-256, for tests.
enum TestDigest {
  static func hex(_ content: [UInt8]) -> String {
    var hasher = Hasher256()
    content.withUnsafeBytes { hasher.update($0) }
    return hasher.finish()?.hex ?? ""
  }
}

extension WireOrigin {
  /// Answers a request on a connection that ends with it, so that the next request makes one of its own.
  @discardableResult
  fileprivate func serveOnce(
    _ status: Int = 200, _ fields: [String] = [], _ content: String = "", file: String = #fileID,
    line: UInt = #line
  ) throws -> WireRequest {
    try serve(status, fields + ["Connection: close"], content, file: file, line: line)
  }
}
