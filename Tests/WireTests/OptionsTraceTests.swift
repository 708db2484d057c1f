// OPTIONS, TRACE and Max-Forwards (RFC 9110 §7.6.2, §9.3.7, §9.3.8): what is passed on, what is answered here, and that
// TRACE never has an origin repeat a credential.

import Configuration
import Platform
import Support
import Testing

@Suite struct OptionsTraceTests {
  @Test("OPTIONS goes on with one hop less, and other methods keep the field unread")
  func decrement() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      for (method, sent, expected) in [
        ("OPTIONS", "7", "6"), ("OPTIONS", "1", "0"), ("OPTIONS", "007", "6"),
        ("OPTIONS", "99999999999999999999", "9223372036854775806"), ("POST", "0", "0"),
        ("POST", "many", "many"),
      ] {
        try client.request(method, origin.url("/a"), ["Max-Forwards: \(sent)"])
        let request = try origin.serve(200, ["Connection: close"], "ok")
        #expect(request.head.startLine == "\(method) /a HTTP/1.1")
        #expect(request["Max-Forwards"] == expected)
        try client.expectResponse(200, content: "ok")
      }
    }
  }

  @Test(
    "OPTIONS with no hop left, or about no resource, is answered here", arguments: [true, false])
  func options(isAboutProxy: Bool) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      if isAboutProxy {
        try client.request("OPTIONS", "*")
      } else {
        try client.request("OPTIONS", origin.url("/a"), ["Max-Forwards: 0"])
      }
      let answer = try client.expectResponse(200, ["Content-Length": "0"], content: "")
      #expect(answer["Allow"]?.contains("OPTIONS") == true)
      #expect(answer["Proxy-Status"] == "Holdfast; error=proxy_internal_response")
      try client.get(origin.url("/"))
      try origin.serve(200, [], "on")
      try client.expectResponse(200, content: "on")
    }
  }

  @Test(
    "OPTIONS about an origin as a whole reaches it as *",
    arguments: [("", "*"), ("/", "/"), ("?q", "/?q")])
  func optionsOfOrigin(path: String, expected: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request("OPTIONS", origin.url(path))
      #expect(try origin.serve(204).head.startLine == "OPTIONS \(expected) HTTP/1.1")
      try client.expectResponse(204)
    }
  }

  @Test("a listener for one origin passes OPTIONS * on to it")
  func optionsOfListener() throws {
    try wire(configure: WaysInTests.configure) { origin, proxy in
      let client = try proxy.connect(listener: 1).request("OPTIONS", "*")
      #expect(try origin.serve(204).head.startLine == "OPTIONS * HTTP/1.1")
      try client.expectResponse(204)
    }
  }

  @Test("TRACE with no hop left shows what came, less what is secret")
  func trace() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.request(
        "TRACE", origin.url("/a?b"),
        [
          "Max-Forwards: 0", "X-Seen: yes", "Authorization: Basic c2VjcmV0", "Cookie: a=secret",
          "Proxy-Authorization: Basic c2VjcmV0", "PRIVATE-TOKEN: secret", "Via: 1.1 other",
        ])
      let answer = try client.expectResponse(
        200, ["Content-Type": "message/http", "Cache-Control": "no-store"])
      #expect(
        answer.text
          == "TRACE \(origin.url("/a?b")) HTTP/1.1\r\nHost: \(origin.authority)\r\nMax-Forwards: 0\r\n"
          + "X-Seen: yes\r\nVia: 1.1 other\r\n\r\n")
      try origin.expectNothingElse()
    }
  }

  @Test("TRACE is never passed on", arguments: [[], ["Max-Forwards: 5"]])
  func traceGoesNoFurther(fields: [String]) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request(
        "TRACE", origin.url("/"), fields + ["Authorization: Basic c2VjcmV0"])
      let answer = try client.expectError(405, "Max-Forwards: 0", type: "http_request_denied")
      #expect(answer["Allow"]?.contains("GET") == true)
      try origin.expectNothingElse()
      try client.get(origin.url("/"))
      try origin.serve(200, [], "on")
      try client.expectResponse(200, content: "on")
    }
  }

  @Test("TRACE with content is refused, and the content is not taken for a request")
  func traceWithContent() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.send(
        "TRACE \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\nMax-Forwards: 0\r\nContent-Length: 5\r\n\r\nhello"
      )
      try client.expectError(400, "TRACE that announces content", closes: true)
      try origin.expectNothingElse()
    }
  }

  @Test(
    "a Max-Forwards that is no number is 400",
    arguments: ["x", "-1", "+1", "1.0", "", "1, 2", "0x1"], ["OPTIONS", "TRACE"])
  func malformed(value: String, method: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request(method, origin.url("/"), ["Max-Forwards: \(value)"])
      try client.expectError(400, "Max-Forwards", type: "http_request_error")
      try origin.expectNothingElse()
    }
  }

  @Test("two Max-Forwards are none")
  func repeated() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request(
        "OPTIONS", origin.url("/"), ["Max-Forwards: 1", "Max-Forwards: 1"])
      try client.expectError(400, "Max-Forwards")
    }
  }
}
