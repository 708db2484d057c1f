// Cache poisoning: what one client sends must not decide what others get. The origin here reflects what reaches it,
// as real ones do with X-Forwarded-Host and its kind.

import Configuration
import Platform
import Support
import Testing

@Suite struct PoisoningTests {
  private static let fresh = ["Cache-Control: max-age=600", "Connection: close"]

  /// Answers with everything the request said that an answer might be made of.
  private func reflect(_ origin: WireOrigin, _ fields: [String] = fresh) throws -> WireRequest {
    let connection = try origin.accept()
    let request = try connection.expectRequest()
    let told = request.head.fields
      .filter { !["via", "host", "user-agent"].contains($0.name.lowercased()) }
      .map { "\($0.name)=\($0.value)" }
    try connection.respond(
      200, fields,
      "\(request.head.startLine) \(request["Host"] ?? "") \(told) \(request.text)")
    return request
  }

  static let unkeyed = [
    "X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Scheme",
    "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "x-forwarded-anything",
    "Forwarded", "X-Original-URL", "X-Original-Host", "X-Rewrite-URL", "X-Host",
    "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Real-IP", "X-Client-IP",
    "Client-IP", "TRUE-CLIENT-IP", "CF-Connecting-IP", "X-Scheme", "X-WAP-Profile", "Origin",
    "Referer",
    "Base-Url", "X-Remote-User", "X_Forwarded_Host", "x_real_ip", "X-Original_URL",
    "Accept_Language", "IF_NONE_MATCH",
  ]

  @Test("what is not in the key does not reach a fetch for all", arguments: unkeyed)
  func unkeyedField(name: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "\(name): evil.test", "X-Harmless: 1")
      let request = try reflect(origin)
      #expect(request[name] == nil)
      #expect(request["X-Harmless"] == "1")
      #expect(!(try client.expectResponse(200).text.contains("evil")))
      try proxy.expectStored()
      let victim = try proxy.connect().get(origin.url("/"))
      #expect(!(try victim.expectResponse(200).text.contains("evil")))
      try origin.expectNothingElse()
    }
  }

  @Test("a request for one client alone carries them all the same")
  func relayed() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request(
        "POST", origin.url("/"), ["X-Forwarded-For: 192.0.2.1", "Referer: a"])
      let request = try reflect(origin)
      #expect(request["X-Forwarded-For"] == "192.0.2.1")
      #expect(request["Referer"] == "a")
      try client.expectResponse(200)
    }
  }

  @Test("the configuration may let a field through")
  func allowed() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.forwardFields = [
        try RequestFieldName(reading: "x-forwarded-FOR"), try RequestFieldName(reading: "Referer"),
      ]
    }) { origin, proxy in
      let client = try proxy.connect().get(
        origin.url("/"), "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: evil.test", "Referer: a")
      let request = try reflect(origin)
      #expect(request["X-Forwarded-For"] == "192.0.2.1")
      #expect(request["Referer"] == "a")
      #expect(request["X-Forwarded-Host"] == nil)
      try client.expectResponse(200)
    }
  }

  static let credentials = [
    "Cookie", "PRIVATE-TOKEN", "Job-Token", "X-JFrog-Art-Api", "X-API-Key", "X-Auth-Token",
    "X-NuGet-ApiKey", "Private_Token", "X_API-Key",
  ]

  @Test("what a cookie or a token selected is for its client alone", arguments: credentials)
  func personal(name: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "\(name): session=secret")
      #expect(try reflect(origin)[name] == "session=secret")
      let answer = try client.expectResponse(200)
      #expect(answer.text.contains("secret"))
      #expect(answer["Cache-Status"]?.contains("detail=request-credentials") == true)
      let other = try proxy.connect().get(origin.url("/"))
      #expect(try reflect(origin)[name] == nil)
      #expect(!(try other.expectResponse(200).text.contains("secret")))
      try proxy.expectStored()
      // What is stored for all is for those with a cookie as well.
      try client.get(origin.url("/"), "\(name): session=secret")
      let hit = try client.expectResponse(200)
      #expect(!hit.text.contains("secret"))
      #expect(hit["Cache-Status"]?.contains("; hit") == true)
      try origin.expectNothingElse()
    }
  }

  @Test("a client with a cookie does not wait for others, nor they for it")
  func personalIsNotCollapsed() throws {
    try wire { origin, proxy in
      let one = try proxy.connect().get(origin.url("/"), "Cookie: a=1")
      let first = try origin.accept()
      try first.expectRequest()
      let two = try proxy.connect().get(origin.url("/"))
      let second = try origin.accept()
      try second.expectRequest()
      try second.respond(200, Self.fresh, "for all")
      try two.expectResponse(200, content: "for all")
      try first.respond(200, Self.fresh, "for one")
      try one.expectResponse(200, content: "for one")
      try proxy.expectStored()
      try two.get(origin.url("/")).expectResponse(200, content: "for all")
    }
  }

  @Test("content in a GET goes to the origin, and neither it nor its answer to anybody else")
  func contentInGet() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 29\r\n\r\n"
          + "GET /evil HTTP/1.1\r\nHost: a\r\n")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest().content.count == 29)
      try upstream.respond(200, ["Cache-Control: max-age=600"], "for one")
      try client.expectResponse(200, content: "for one")
      // An origin that took the content for a request has nobody left to answer.
      try upstream.expectGone()
      try client.get(origin.url("/"))
      try origin.serve(200, Self.fresh, "for all")
      try client.expectResponse(200, content: "for all")
    }
  }

  @Test("one host is one key and one Host, however it is written")
  func hosts() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      let port = origin.port
      let spellings = [
        "http://ORIGIN.test.:\(port)/%7Ea/b", "HTTP://origin.TEST:\(port)/~a/b",
        "http://origin.test:\(port)/%7ea/%62", "/origin.test:\(port)/~a/b",
      ]
      for (index, target) in spellings.enumerated() {
        try client.send("GET \(target) HTTP/1.1\r\nHost: other.test\r\n\r\n")
        if index == 0 {
          // The wire keeps the path as it was sent; the host is told as the key has it.
          let request = try reflect(origin)
          #expect(request["Host"] == origin.authority)
          #expect(request.head.target == "/%7Ea/b")
        }
        try client.expectResponse(200)
        if index == 0 { try proxy.expectStored() }
      }
      try origin.expectNothingElse()
    }
  }

  @Test("an absolute target wins over Host, which the origin never sees")
  func absoluteWins() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send("GET \(origin.url("/")) HTTP/1.1\r\nHost: evil.test\r\n\r\n")
      #expect(try reflect(origin)["Host"] == origin.authority)
      #expect(!(try client.expectResponse(200).text.contains("evil")))
    }
  }

  @Test(
    "a Host that is none is refused wherever the request leads",
    arguments: ["a b", "a.test/x", "u@a.test", "a.test:x", "[::1", "a..test", "a,b"],
    ["GET http://HOST/", "GET /HOST/", "GET /debian/a", "CONNECT HOST"])
  func badHost(host: String, line: String) throws {
    try wire(configure: WaysInTests.configure) { origin, proxy in
      let client = try proxy.connect()
      let start = line.replacing("HOST", with: origin.authority)
      try client.send("\(start) HTTP/1.1\r\nHost: \(host)\r\n\r\n")
      let closes = line.hasPrefix("CONNECT")
      try client.expectError(400, "", type: "http_request_error", closes: closes)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "an origin's word that a request was malformed is not kept for others",
    arguments: [400, 408, 413, 414, 417, 421, 425, 426, 428, 429, 431, 505])
  func errorsOfRequests(status: Int) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "X-Strange: \u{FF}")
      try origin.serve(status, Self.fresh, "what?")
      try client.expectResponse(status)
      let other = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, Self.fresh, "good")
      try other.expectResponse(200, content: "good")
    }
  }
}
