// Every error answer the proxy makes names its cause in Proxy-Status (RFC 9209): a row for each constructor of
// `ProxyError`, the way to provoke it, and the type and status it has. The list is compared with the source, so
// that an error nobody can name does not come in unseen.

import Configuration
import Foundation
import Platform
import Support
import Testing

@Suite struct ProxyStatusTests {
  struct Row: Sendable, CustomTestStringConvertible {
    var name: String
    var status: Int
    var type: String
    var configure: @Sendable (inout Configuration, WireOrigin) throws -> Void
    /// Brings it about, and gives the client that is to hear of it.
    var provoke: @Sendable (WireOrigin, TestProxy) throws -> WireClient
    var testDescription: String { name }

    init(
      _ name: String, _ status: Int, _ type: String,
      configure: @escaping @Sendable (inout Configuration, WireOrigin) throws -> Void = { _, _ in },
      _ provoke: @escaping @Sendable (WireOrigin, TestProxy) throws -> WireClient
    ) {
      self.name = name
      self.status = status
      self.type = type
      self.configure = configure
      self.provoke = provoke
    }

    /// The client sends this; ORIGIN stands for the origin's host and port.
    init(
      _ name: String, _ status: Int, _ type: String, sending request: String,
      configure: @escaping @Sendable (inout Configuration, WireOrigin) throws -> Void = { _, _ in }
    ) {
      self.init(name, status, type, configure: configure) { origin, proxy in
        try proxy.connect().send(
          request.replacing("ORIGIN", with: origin.authority) + "\r\nHost: a\r\n\r\n")
      }
    }

    /// The origin answers a GET with this, and ends the connection.
    init(_ name: String, _ type: String, answering answer: String) {
      self.init(name, 502, type) { origin, proxy in
        let client = try proxy.connect().get(origin.url("/"))
        let upstream = try origin.accept()
        try upstream.expectRequest()
        upstream.trySending(Array(answer.utf8))
        upstream.finish()
        return client
      }
    }
  }

  /// Asks for a page of an index whose head is this.
  private static func page(
    _ origin: WireOrigin, _ proxy: TestProxy, _ fields: [String]
  ) throws -> WireClient {
    let client = try proxy.connect().get("/\(origin.authority)/simple/x/")
    let upstream = try origin.accept()
    try upstream.expectRequest()
    try upstream.send(head: 200, ["Content-Type: text/html"] + fields)
    return client
  }

  /// The origin of the mirror `m` redirects to this, forever.
  private static func redirecting(
    _ name: String, _ type: String, to location: String, times: Int = 1
  ) -> Row {
    Row(
      name, 502, type,
      configure: { configuration, origin in
        configuration.mirrors.set(Mirror(name: "m", url: try OriginURL(reading: origin.url("/"))))
      }
    ) { origin, proxy in
      let client = try proxy.connect().get("/m/0")
      let upstream = try origin.accept()
      for hop in 1...times {
        try upstream.expectRequest()
        try upstream.respond(302, ["Location: \(location.replacing("N", with: "\(hop)"))"])
      }
      return client
    }
  }

  static let rows: [Row] = [
    // Redirects of mirrors.
    redirecting("tooManyRedirects", "http_protocol_error", to: "/N", times: 11),
    redirecting("redirectLoop", "http_protocol_error", to: "/0"),
    redirecting("unusableLocation", "http_protocol_error", to: "mailto:x"),
    // The request.
    Row("init", 400, "http_request_error", sending: "GET / HTTP/1.1\r\nX : 1"),
    Row("init", 505, "http_request_error", sending: "GET / HTTP/2.0"),
    Row(
      "init", 414, "http_request_error",
      sending: "GET /\(String(repeating: "a", count: 20_000)) HTTP/1.1"),
    Row(
      "init", 431, "http_request_error",
      sending: "GET / HTTP/1.1\r\nX: \(String(repeating: "a", count: 70_000))"),
    Row("init", 501, "http_request_error", sending: "POST / HTTP/1.1\r\nTransfer-Encoding: x"),
    Row(
      "headTimedOut", 408, "http_request_error",
      configure: { configuration, _ in configuration.limits.headerTimeout = .milliseconds(50) }
    ) { _, proxy in try proxy.connect().send("GET / HT") },
    Row(
      "contentTimedOut", 408, "http_request_error",
      configure: { configuration, _ in configuration.limits.contentTimeout = .milliseconds(50) }
    ) { origin, proxy in
      let client = try proxy.connect()
      try client.send("POST \(origin.url("/")) HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nh")
      try origin.accept().expectHead()
      return client
    },
    Row(
      "contentTooLarge", 413, "http_request_error",
      sending: "POST http://ORIGIN/ HTTP/1.1\r\nContent-Length: 11"
    ) { configuration, _ in configuration.limits.content = ByteCount(10) },
    Row(
      "unknownExpectation", 417, "http_request_error",
      sending: "GET http://ORIGIN/ HTTP/1.1\r\nExpect: x"),
    Row(
      "malformedMaxForwards", 400, "http_request_error",
      sending: "OPTIONS http://ORIGIN/ HTTP/1.1\r\nMax-Forwards: x"),
    Row(
      "offline", 504, "destination_unavailable", sending: "GET http://ORIGIN/ HTTP/1.1"
    ) { configuration, _ in configuration.offline = true },
    // Pages of mirrors.
    Row("pageTooLarge", 502, "http_response_body_size") { origin, proxy in
      try page(origin, proxy, ["Cache-Control: no-store", "Content-Length: 100000000"])
    },
    Row("codedPage", 502, "http_response_content_coding") { origin, proxy in
      try page(origin, proxy, ["Content-Length: 0", "Content-Encoding: br"])
    },
    Row("damagedPage", 502, "http_response_content_coding") { origin, proxy in
      try page(origin, proxy, ["Content-Length: 0", "Content-Encoding: gzip"])
    },
    Row("pagesBusy", 503, "proxy_internal_error") { origin, proxy in
      // None of them may be stored, and each may take all there is for one.
      let fields = [
        "Content-Type: text/html", "Cache-Control: no-store", "Content-Length: \(16 << 20)",
      ]
      for number in 1...5 {
        _ = try proxy.connect().get("/\(origin.authority)/simple/x\(number)/")
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(head: 200, fields)
        try proxy.expect("the head to be read") { $0.value(.relays, .response) == number }
      }
      return try page(origin, proxy, Array(fields[1...]))
    },
    Row("pageOfNoPlace", 502, "http_protocol_error") { origin, proxy in
      let client = try proxy.connect().get("/\(origin.authority)/simple/x/")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let long = String(repeating: "x", count: 2500)
      try upstream.respond(302, ["Location: /\(long)"])
      try upstream.expectRequest()
      try upstream.respond(200, ["Content-Type: text/html", "Cache-Control: max-age=60"], "x")
      return client
    },
    Row("wrongDigest", 502, "http_protocol_error") { origin, proxy in
      let path = "/dists/s/by-hash/SHA256/" + String(repeating: "0", count: 64)
      let client = try proxy.connect().get(origin.url(path))
      try origin.serve(200, [], "x")
      return client
    },
    // Who may ask for what.
    Row(
      "notAllowedClient", 403, "http_request_denied",
      configure: { configuration, _ in configuration.clients = [] }
    ) { _, proxy in try proxy.connect() },
    Row(
      "tooManyConnections", 503, "connection_limit_reached",
      configure: { configuration, _ in configuration.limits.connections = 1 }
    ) { _, proxy in
      _ = try proxy.connect()
      try proxy.expect("a connection") { $0.value(.connectionsOpen, .downstream) == 1 }
      return try proxy.connect()
    },
    Row(
      "tooManyConnectionsOfClient", 429, "connection_limit_reached",
      configure: { configuration, _ in configuration.limits.connectionsPerClient = 1 }
    ) { _, proxy in
      _ = try proxy.connect()
      try proxy.expect("a connection") { $0.value(.connectionsOpen, .downstream) == 1 }
      return try proxy.connect()
    },
    Row(
      "deniedHost", 403, "http_request_denied", sending: "GET http://a.test/ HTTP/1.1"
    ) { configuration, _ in
      configuration.destinations.deny = [try HostPattern(reading: "a.test")]
    },
    Row(
      "deniedTunnel", 403, "http_request_denied", sending: "CONNECT ORIGIN HTTP/1.1"
    ) { configuration, _ in configuration.destinations.connectPorts = [] },
    Row(
      "noTunnelHere", 405, "http_request_denied",
      configure: { configuration, origin in
        configuration.listeners[0].origin = try OriginURL(reading: origin.url("/"))
      }
    ) { origin, proxy in
      try proxy.connect().send("CONNECT \(origin.authority) HTTP/1.1\r\nHost: a\r\n\r\n")
    },
    Row("traceNotForwarded", 405, "http_request_denied", sending: "TRACE http://ORIGIN/ HTTP/1.1"),
    Row("loop", 502, "proxy_loop_detected") { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let via = try #require(try origin.serve(200, ["Connection: close"])["Via"])
      try client.expectResponse(200)
      return try client.get(origin.url("/"), "Via: \(via)")
    },
    Row(
      "nothingStored", 504, "proxy_internal_response",
      sending: "GET http://ORIGIN/ HTTP/1.1\r\nCache-Control: only-if-cached"),
    // Reaching the origin.
    Row("resolving", 502, "dns_error", sending: "GET http://unknown.invalid/ HTTP/1.1"),
    Row("prohibited", 403, "destination_ip_prohibited", sending: "GET http://ORIGIN/ HTTP/1.1") {
      configuration, _ in configuration.destinations.privateNetworks = []
    },
    Row("connecting", 502, "connection_refused") { origin, proxy in
      origin.stopListening()
      return try proxy.connect().get(origin.url("/"))
    },
    // The origin's answer.
    Row("malformed", "http_protocol_error", answering: "HTTP/1.1 20 OK\r\n\r\n"),
    Row(
      "malformed", "http_response_header_section_size",
      answering: "HTTP/1.1 200 OK\r\nX: \(String(repeating: "a", count: 70_000))\r\n\r\n"),
    Row(
      "malformed", "http_response_header_size",
      answering: "HTTP/1.1 200 OK\r\n\(String(repeating: "a", count: 300)): 1\r\n\r\n"),
    Row(
      "malformed", "http_response_transfer_coding",
      answering: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    Row(
      "malformed", "http_response_transfer_coding",
      answering:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"),
    Row(
      "malformed", "http_response_trailer_section_size",
      answering:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\(String(repeating: "X: 1\r\n", count: 200))\r\n"
    ),
    Row("unasked", "http_protocol_error", answering: "HTTP/1.1 101 X\r\n\r\n"),
    Row(
      "unasked", "http_protocol_error", answering: "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\nx"),
    Row("endedBeforeHead", "connection_terminated", answering: ""),
    Row("endedBeforeHead", "connection_terminated", answering: "HTTP/1.1 200 OK\r\nX"),
    Row("endedInContent", 502, "http_response_incomplete") { origin, proxy in
      // What it has to be is known, so nobody is told of it before it is whole.
      let path = "/dists/s/by-hash/SHA256/" + String(repeating: "0", count: 64)
      let client = try proxy.connect().get(origin.url(path))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, ["Content-Length: 5000"]).send("begun")
      upstream.finish()
      return client
    },
    Row(
      "silent", 504, "http_response_timeout",
      configure: { configuration, _ in configuration.upstream.readTimeout = .milliseconds(100) }
    ) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.accept().expectRequest()
      return client
    },
  ]

  /// What takes more than a few lines to bring about, and where that is done.
  static let elsewhere = [
    "contentTrickled": "ProgressTests", "trickled": "ProgressTests", "queueFull": "BoundsTests",
    "queueTimedOut": "BoundsTests", "unauthenticated": "AuthenticationTests",
    "authenticatorBusy": "AuthenticatorTests", "leadsHere": "DestinationsWireTests",
    // These leave no client to tell, or none that could be told anything but the end.
    "tls": "SecureOriginTests", "brokenTLS": "SecureOriginTests",
    "handshakeTimedOut": "SecureOriginTests", "cannotUseTLS": "SecureOriginTests",
    "plainHTTPOnTLS": "SecureListenerTests", "misdirected": "InterceptionTests",
    "cannotIntercept": "out of memory", "interception": "for the log",
    "notKept": "the connection is cut", "poolBusy": "takes 4096 jobs of the disk threads",
    "abandoned": "nobody is left to hear it",
    "shuttingDown": "BoundsTests", "outOfDescriptors": "ExhaustionTests",
    "cannotWatch": "FaultSweepTests", "offline": "OfflineTests",
    "redirectInClear": "RedirectTests", "credentialsRefused": "CredentialTests",
    "strayReset": "the lab: it takes a network that translates",
    "parentRefused": "ParentTests", "parentSilent": "ParentTests",
  ]

  @Test("every error has its type, its status and its sentence", arguments: 0..<rows.count)
  func row(index: Int) throws {
    let row = Self.rows[index]
    try wire(configure: { try row.configure(&$0, $1) }) { origin, proxy in
      let client = try row.provoke(origin, proxy)
      let answer = try client.expectAnyResponse()
      #expect(answer.status == row.status, "\(row.name)")
      let value = try #require(answer["Proxy-Status"])
      #expect(value.hasPrefix("Holdfast; error=\(row.type); details=\""), "\(row.name): \(value)")
      #expect(answer["Cache-Control"] == "no-store")
      #expect(answer["Date"] != nil)
    }
  }

  @Test("the list is complete")
  func complete() throws {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let source = try [
      "ProxyError", "TLSErrors", "RedirectErrors", "UpstreamCredentials", "ParentTunnel",
    ].map {
      try String(
        contentsOf: root.appendingPathComponent("Sources/Proxy/\($0).swift"), encoding: .utf8)
    }.joined()
    let names = source.matches(of: /static (?:func|let|var) (\w+)[^{}]*?ProxyError/).map {
      String($0.1)
    }
    #expect(names.count > 20)
    let told = Set(Self.rows.map(\.name)).union(Self.elsewhere.keys)
    for name in names { #expect(told.contains(name), "\(name) has no row here") }
    for name in told where name != "init" { #expect(names.contains(name), "\(name) is no more") }
  }

  @Test(
    "what an origin says is its own: no Proxy-Status is put beside it", arguments: [404, 500, 503])
  func notOurs(status: Int) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(status, ["Connection: close"], "no")
      #expect(try client.expectResponse(status, content: "no")["Proxy-Status"] == nil)
    }
  }

  @Test("what proxies further up say of an error is passed on")
  func upstreamProxyStatus() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(502, ["Proxy-Status: Other; error=dns_error", "Connection: close"], "no")
      try client.expectResponse(502, ["Proxy-Status": "Other; error=dns_error"])
    }
  }
}
