// What origins are shown in the operator's name: which requests take it along, who gets what it opens, and that nobody
// else ever does.

import Configuration
import HTTP
import Platform
import Proxy
import Support
import TLS
import Testing

@Suite struct CredentialTests {
  private static let shown = "Basic Y2k6c2VjcmV0"

  private static func credential(
    _ change: (inout UpstreamCredential) throws -> Void = { _ in }
  ) throws -> UpstreamCredential {
    var credential = UpstreamCredential()
    credential.user = try PlainWord(reading: "ci")
    credential.secret = HiddenText("secret")
    credential.isInsecure = true
    try change(&credential)
    return credential
  }

  /// A proxy with the mirror `m`, and a credential for its origin.
  private func withCredential(
    _ change: (inout UpstreamCredential) throws -> Void = { _ in },
    configure: (inout Configuration, WireOrigin) throws -> Void = { _, _ in },
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      configure: { configuration, origin in
        configuration.mirrors.set(Mirror(name: "m", url: try OriginURL(reading: origin.url("/"))))
        configuration.upstream.credentials = [
          try Self.credential {
            $0.hosts = [try CredentialPlace(reading: origin.authority)]
            try change(&$0)
          }
        ]
        try configure(&configuration, origin)
      }, body)
  }

  private let fresh = ["Cache-Control: max-age=600"]

  @Test("a mirror shows it, and what it opens is stored for those who ask the mirror")
  func shared() throws {
    try withCredential { origin, proxy in
      let client = try proxy.connect().get("/m/x", "Authorization: Basic bWluZTptaW5l")
      let request = try origin.serve(200, fresh + ["Set-Cookie: session=operator"], "private")
      #expect(
        request.head.all("Authorization") == [Self.shown], "the client's own was for the mirror")
      let answer = try client.expectResponse(200, content: "private")
      #expect(answer["Set-Cookie"] == nil)
      let other = try proxy.connect().get("/m/x")
      let hit = try other.expectResponse(200, content: "private")
      #expect(hit["Cache-Status"]?.contains("hit") == true)
      try other.request("HEAD", "/m/x").expectResponse(200, isHead: true)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "whoever comes another way asks the origin for himself, and the mirror does not take what he gets"
  )
  func apart() throws {
    try withCredential { origin, proxy in
      let client = try proxy.connect().get("/m/x")
      try origin.serve(200, fresh + ["Connection: close"], "private")
      try client.expectResponse(200, content: "private")
      try proxy.expectStored()
      // The forward proxy, first plainly and then by the long way.
      for fields in ["Accept: */*", "Cache-Control: only-if-cached", "Cache-Control: max-stale"] {
        let forward = try proxy.connect().get(origin.url("/x"), fields)
        if fields.contains("only-if") {
          try forward.expectError(504, "Nothing stored")
          continue
        }
        let request = try origin.serve(401, ["WWW-Authenticate: Basic", "Connection: close"], "no")
        #expect(request["Authorization"] == nil)
        #expect(try forward.expectResponse(401)["WWW-Authenticate"] == "Basic")
      }
      // Nor does anything that a target could be written as lead there.
      for target in ["/x#credentials", "/x%23credentials"] {
        let forward = try proxy.connect().get(origin.url(target), "Cache-Control: only-if-cached")
        #expect([400, 504].contains(try forward.expectAnyResponse().status))
      }
      // What anybody gets does not reach the mirror's clients either.
      let forward = try proxy.connect().get(origin.url("/y"))
      try origin.serve(200, fresh + ["Connection: close"], "public")
      try forward.expectResponse(200, content: "public")
      try proxy.expectStored()
      try client.get("/m/y")
      try origin.serve(200, fresh, "private y")
      try client.expectResponse(200, content: "private y")
      try proxy.restart()
      let later = try proxy.connect().get("/m/x")
      try later.expectResponse(200, content: "private")
      let stranger = try proxy.connect().get(origin.url("/x"), "Cache-Control: only-if-cached")
      try stranger.expectError(504, "Nothing stored")
    }
  }

  @Test("rules go by what was asked for, on the short way and on the long one")
  func rules() throws {
    try withCredential(configure: { configuration, _ in
      var packages = CacheRule(match: try URIPattern("/**/*.bin"))
      packages.kind = .immutable
      var others = CacheRule(match: try URIPattern("/**"))
      others.kind = .pass
      configuration.rules = [packages, others]
    }) { origin, proxy in
      let client = try proxy.connect().get("/m/a/x.bin")
      try origin.serve(200, ["Cache-Control: no-cache", "Connection: close"], "package")
      try client.expectResponse(200, content: "package")
      try proxy.expectStored()
      for fields in ["Accept: */*", "Pragma: no-cache"] {
        try client.get("/m/a/x.bin", fields).expectResponse(200, content: "package")
      }
      try client.get("/m/other")
      try origin.serve(200, fresh + ["Connection: close"], "passed")
      try client.expectResponse(200, content: "passed")
      try origin.expectNothingElse()
    }
  }

  @Test("nobody reads along who comes another way")
  func runningFetch() throws {
    try withCredential { origin, proxy in
      let mirror = try proxy.connect().get("/m/x")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fresh + ["Content-Length: 6"]).send("pri")
      try mirror.expectHead(200)
      try mirror.expectContent("pri")
      let forward = try proxy.connect().get(origin.url("/x"))
      let second = try origin.accept()
      #expect(try second.expectRequest()["Authorization"] == nil)
      try second.respond(403, [], "no")
      try forward.expectResponse(403, content: "no")
      try upstream.send("vat")
      #expect(try mirror.expectRest() == Array("vat".utf8))
    }
  }

  @Test(
    "a host in front of the path takes it along only if the entry says so, and its answers are one client's"
  )
  func prefix() throws {
    try withCredential { origin, proxy in
      let client = try proxy.connect().get("/\(origin.authority)/x")
      #expect(try origin.serve(200)["Authorization"] == nil)
      try client.expectResponse(200)
    }
    try withCredential({ $0.isForPrefix = true }) { origin, proxy in
      for _ in 1...2 {
        let client = try proxy.connect().get("/\(origin.authority)/x")
        let request = try origin.serve(200, fresh + ["Connection: close"], "private")
        #expect(request["Authorization"] == Self.shown)
        try client.expectResponse(200, content: "private")
      }
    }
  }

  @Test(
    "files beside a mirror take it along only if the entry says so, by that mirror and no other")
  func files() throws {
    try withCredential { origin, proxy in
      let client = try proxy.connect().get("/m/+files/http/\(origin.authority)/f")
      #expect(try origin.serve(200)["Authorization"] == nil)
      try client.expectResponse(200)
    }
    try withCredential(
      { $0.isForFiles = true },
      configure: { configuration, _ in
        configuration.mirrors.set(
          Mirror(name: "other", url: try OriginURL(reading: "http://other.test/")))
      }
    ) { origin, proxy in
      let client = try proxy.connect().get("/m/+files/http/\(origin.authority)/f")
      let request = try origin.serve(200, fresh + ["Connection: close"], "private")
      #expect(request["Authorization"] == Self.shown)
      try client.expectResponse(200, content: "private")
      try proxy.expectStored()
      let second = try proxy.connect().get("/m/+files/http/\(origin.authority)/f")
      #expect(
        try second.expectResponse(200, content: "private")["Cache-Status"]?.contains("hit") == true)
      let stranger = try proxy.connect().get("/other/+files/http/\(origin.authority)/f")
      #expect(try origin.serve(403, ["Connection: close"], "no")["Authorization"] == nil)
      try stranger.expectResponse(403, content: "no")
    }
  }

  @Test("an entry with a path is for what is below it, and left behind by a redirect out of it")
  func path() throws {
    try withCredential({ $0.hosts[0].path = "/team/" }) { origin, proxy in
      let client = try proxy.connect().get("/m/other")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest("GET /other HTTP/1.1")["Authorization"] == nil)
      try upstream.respond(200, [], "open")
      try client.expectResponse(200, content: "open")
      try client.get("/m/team/x")
      #expect(try upstream.expectRequest()["Authorization"] == Self.shown)
      try upstream.respond(302, ["Location: y"])
      #expect(try upstream.expectRequest("GET /team/y HTTP/1.1")["Authorization"] == Self.shown)
      try upstream.respond(302, ["Location: /private"])
      #expect(try upstream.expectRequest("GET /private HTTP/1.1")["Authorization"] == nil)
      try upstream.respond(302, ["Location: /team/z"])
      #expect(try upstream.expectRequest("GET /team/z HTTP/1.1")["Authorization"] == nil)
      try upstream.respond(403, [], "no")
      try client.expectResponse(403, content: "no")
    }
  }

  @Test(
    "with share: true it is for those who name the host as well; with false for nobody",
    arguments: [true, false])
  func share(isShared: Bool) throws {
    try withCredential({
      $0.isShared = isShared
      $0.isForPrefix = true
    }) { origin, proxy in
      let client = try proxy.connect().get("/m/x")
      try origin.serve(200, fresh + ["Connection: close"], "private")
      try client.expectResponse(200, content: "private")
      try client.get(isShared ? "/\(origin.authority)/x" : "/m/x")
      if !isShared { try origin.serve(200, fresh + ["Connection: close"], "private") }
      try client.expectResponse(200, content: "private")
      try origin.expectNothingElse()
      let stranger = try proxy.connect().get(origin.url("/x"), "Cache-Control: only-if-cached")
      try stranger.expectError(504, "Nothing stored")
    }
  }

  @Test("with forward: true the forward proxy shows it too, but not over a client's own")
  func forward() throws {
    try withCredential({ $0.isForForward = true }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/x"))
      #expect(try origin.serve(200, fresh + ["Connection: close"])["Authorization"] == Self.shown)
      try client.expectResponse(200)
      try client.get(origin.url("/x"), "Authorization: Basic bWluZTptaW5l")
      let own = try origin.serve(200, ["Connection: close"])
      #expect(own["Authorization"] == "Basic bWluZTptaW5l")
      try client.expectResponse(200)
    }
  }

  @Test(
    "a credential for mirrors and another one for the forward proxy do not share what they open")
  func twoEntries() throws {
    try withCredential(configure: { configuration, _ in
      configuration.upstream.credentials.append(
        try Self.credential {
          $0.hosts = configuration.upstream.credentials[0].hosts
          $0.secret = HiddenText("other")
          $0.isForForward = true
          $0.isShared = true
        })
    }) { origin, proxy in
      let client = try proxy.connect().get("/m/x")
      #expect(
        try origin.serve(200, fresh + ["Connection: close"], "mirrors'")["Authorization"]
          == Self.shown)
      try client.expectResponse(200, content: "mirrors'")
      try client.get(origin.url("/x"))
      let request = try origin.serve(200, fresh + ["Connection: close"], "forward")
      #expect(request["Authorization"] == "Basic Y2k6b3RoZXI=")
      try client.expectResponse(200, content: "forward")
      try client.get(origin.url("/x")).expectResponse(200, content: "forward")
      try client.get("/m/x").expectResponse(200, content: "mirrors'")
      try origin.expectNothingElse()
    }
  }

  @Test("clients do not write in the operator's name")
  func writing() throws {
    try withCredential { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "PUT /m/x HTTP/1.1\r\nHost: a\r\nAuthorization: Basic bWluZTptaW5l\r\nContent-Length: 2\r\n\r\nhi"
      )
      #expect(try origin.serve(201)["Authorization"] == "Basic bWluZTptaW5l")
      try client.expectResponse(201)
    }
  }

  @Test("what a write changes, and what is purged, goes for everybody")
  func invalidated() throws {
    try withCredential { origin, proxy in
      func fetch(_ content: String) throws {
        let client = try proxy.connect().get("/m/x")
        try origin.serve(200, fresh + ["Connection: close"], content)
        try client.expectResponse(200, content: content)
        try proxy.expectStored()
      }
      try fetch("one")
      let client = try proxy.connect().request("DELETE", "/m/x")
      try origin.serve(204, ["Connection: close"])
      try client.expectResponse(204)
      try fetch("two")
      let key = Array(origin.url("/x").utf8)
      #expect(try StoreAPI.purge(proxy.server.store, .exact(key)).responses == 1)
      try fetch("three")
    }
  }

  @Test(
    "a refusal is the operator's to see to: 502 that names the entry, no challenge, and nothing stored",
    arguments: [401, 403])
  func refused(status: Int) throws {
    try withCredential { origin, proxy in
      for _ in 1...2 {
        let client = try proxy.connect().get("/m/x")
        try origin.serve(
          status, fresh + ["WWW-Authenticate: Basic realm=\"ci:secret\"", "Connection: close"], "no"
        )
        let answer = try client.expectError(
          502, "credentials of upstream.credentials[0] (\(origin.authority))",
          type: "proxy_configuration_error")
        #expect(answer["WWW-Authenticate"] == nil)
        #expect(!answer.text.contains("secret") && !answer.text.contains("Y2k6"))
      }
    }
  }

  @Test("redirects take it along within the origin, and leave it behind elsewhere for good")
  func redirected() throws {
    try withCredential(configure: { configuration, _ in
      configuration.upstream.credentials[0].hosts.append(CredentialPlace(.exact("other.test")))
    }) { origin, proxy in
      let other = try WireOrigin(origin.script, host: "other.test")
      defer { other.close() }
      let client = try proxy.connect().get("/m/x")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["Authorization"] == Self.shown)
      try upstream.respond(302, ["Location: /y"])
      #expect(try upstream.expectRequest()["Authorization"] == Self.shown)
      try upstream.respond(302, ["Location: \(other.url("/z"))"])
      let there = try other.accept()
      #expect(
        try there.expectRequest()["Authorization"] == nil,
        "an origin cannot have another one's private things fetched")
      try there.respond(302, ["Location: \(origin.url("/back"))"])
      #expect(try upstream.expectRequest("GET /back HTTP/1.1")["Authorization"] == nil)
      // And a refusal there is the origin's word.
      try upstream.respond(403, [], "not for you")
      try client.expectResponse(403, content: "not for you")
    }
  }

  @Test("in clear it is sent only if the entry says so, and in a verified connection always")
  func secure() throws {
    try withCredential({ $0.isInsecure = false }) { origin, proxy in
      let client = try proxy.connect().get("/m/x")
      #expect(try origin.serve(200)["Authorization"] == nil)
      try client.expectResponse(200)
    }
    let authority = try TestAuthority()
    try wire(
      tls: TLSContext(serverShowing: authority.identity("origin.test")),
      configure: { configuration, origin in
        configuration.upstream.ca = .file(authority.file)
        configuration.mirrors.set(Mirror(name: "m", url: try OriginURL(reading: origin.url("/"))))
        configuration.upstream.credentials = [
          try Self.credential {
            $0.hosts = [CredentialPlace(.exact("origin.test"))]
            $0.isInsecure = false
            $0.user = nil
          }
        ]
      }
    ) { origin, proxy in
      let client = try proxy.connect().get("/m/x")
      #expect(try origin.serve(200)["Authorization"] == "Bearer secret")
      try client.expectResponse(200)
    }
    withExtendedLifetime(authority) {}
  }

  @Test("a reload changes it, and takes it away")
  func reloaded() throws {
    try withCredential { origin, proxy in
      let client = try proxy.connect().get("/m/x")
      #expect(try origin.serve(200, ["Connection: close"])["Authorization"] == Self.shown)
      try client.expectResponse(200)
      try proxy.reloadAndWait { $0.upstream.credentials[0].secret = HiddenText("other") }
      try client.get("/m/x")
      #expect(try origin.serve(200, ["Connection: close"])["Authorization"] == "Basic Y2k6b3RoZXI=")
      try client.expectResponse(200)
      try proxy.reloadAndWait { $0.upstream.credentials = [] }
      try client.get("/m/x")
      #expect(try origin.serve(200, ["Connection: close"])["Authorization"] == nil)
      try client.expectResponse(200)
    }
  }
}
