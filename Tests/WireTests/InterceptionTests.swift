// Tunnels that are decrypted: what clients see who trust our authority, and what is refused so that nothing gets from
// one host to another.

import Configuration
import Platform
import Support
import TLS
import TLSPeer
import Telemetry
import Testing

@Suite struct InterceptionTests {
  /// Signs for the origin.
  private let authority: TestAuthority
  /// Signs for us.
  private let own: TestAuthority

  init() throws {
    authority = try TestAuthority()
    own = try TestAuthority(permitted: ["origin.test", "127.0.0.1"])
  }

  /// An https origin, and a proxy that decrypts tunnels to it.
  private func intercepting(
    showing host: String = "origin.test",
    configure: (inout Configuration, WireOrigin) throws -> Void = { _, _ in },
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      tls: authority.server(host),
      configure: { configuration, origin in
        configuration.upstream.ca = .file(authority.file)
        configuration.intercept.hosts = [try HostPattern(reading: "origin.test")]
        configuration.intercept.authority = own.authority
        try configure(&configuration, origin)
      }, body)
  }

  private func trust() throws -> TLSContext { try TLSContext(clientTrusting: .file(own.file)) }

  /// A client inside a tunnel.
  private func tunnel(
    _ proxy: TestProxy, to authority: String, _ fields: [String] = [], listener: Int = 0
  ) throws -> WireClient {
    let client = try proxy.connect(listener: listener)
    try open(client, authority, fields)
    return client
  }

  private func open(_ client: WireClient, _ authority: String, _ fields: [String] = []) throws {
    try client.request("CONNECT", authority, fields)
    #expect(try client.expectConnectHead().status == 200)
    try client.beginTLS(trust(), host: "origin.test")
  }

  private func get(_ client: WireClient, _ path: String, host: String, _ fields: [String] = [])
    throws
  {
    try client.send(
      "GET \(path) HTTP/1.1\r\nHost: \(host)\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n")
  }

  /// The origin answers the next request with content that is larger than what lies between us.
  private func serving(
    _ origin: WireOrigin, _ content: [UInt8], _ field: String = "Cache-Control: max-age=60"
  ) throws -> Background<Void> {
    let upstream = try origin.accept()
    try upstream.expectRequest()
    return try Background {
      try upstream.send(head: 200, [field, "Content-Length: \(content.count)"])
      try upstream.send(content)
    }
  }

  // MARK: What works

  @Test("what is fetched through a tunnel is stored, and is the same as by every other way in")
  func stored() throws {
    try intercepting { origin, proxy in
      let client = try tunnel(proxy, to: origin.authority)
      try get(client, "/x", host: origin.authority)
      let request = try origin.serve(200, ["Cache-Control: max-age=60"], "secret")
      #expect(request["Host"] == origin.authority)
      try client.expectResponse(200, content: "secret")
      try get(client, "/x", host: origin.authority)
      #expect(
        try client.expectResponse(200, content: "secret")["Cache-Status"]?.contains("hit") == true)
      try proxy.connect().get("/HTTPS///\(origin.authority)/x").expectResponse(
        200, content: "secret")
      let other = try tunnel(proxy, to: origin.authority)
      try other.send(
        "GET https://\(origin.authority)/x HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      #expect(
        try other.expectResponse(200, content: "secret")["Cache-Status"]?.contains("hit") == true)
      #expect(proxy.registry.value(.tunnels) == 0)
      #expect(proxy.registry.value(.downstreamHandshakes, .succeeded) == 2)
    }
  }

  @Test(
    "a last dot of the host is no part of its name",
    arguments: ["origin.test.", "Origin.Test", "origin.test"], ["origin.test.", "origin.test"])
  func lastDot(connected: String, asked: String) throws {
    try intercepting { origin, proxy in
      let client = try tunnel(proxy, to: "\(connected):\(origin.port)")
      try get(client, "/x", host: "\(asked):\(origin.port)")
      let request = try origin.serve(200, ["Cache-Control: max-age=60"], "secret")
      #expect(request["Host"] == origin.authority)
      try client.expectResponse(200, content: "secret")
      try proxy.expectStored()
      // The same on the short way, and written as a whole.
      try get(client, "/x", host: "\(asked):\(origin.port)")
      try client.expectResponse(200, content: "secret")
      try get(client, "https://\(asked):\(origin.port)/x", host: "origin.test.:\(origin.port)")
      try client.expectResponse(200, content: "secret")
      // Nothing else may follow the host, and its port is not optional unless it is the scheme's.
      for (host, status) in [("origin.test.", 421), ("origin.test.a:\(origin.port)", 421)] {
        let other = try tunnel(proxy, to: origin.authority)
        try get(other, "/x", host: host)
        #expect(try other.expectAnyResponse().status == status)
      }
      try origin.expectNothingElse()
    }
  }

  @Test("uploads, ranges, pipelined requests and large answers pass")
  func everything() throws {
    try intercepting { origin, proxy in
      let content = patterned(300_000)
      let client = try tunnel(proxy, to: origin.authority)
      try client.send(
        "POST /up HTTP/1.1\r\nHost: \(origin.authority)\r\nContent-Length: 5\r\n\r\nhello")
      #expect(try origin.serve(201, ["Connection: close"]).content == Array("hello".utf8))
      try client.expectResponse(201)
      try get(client, "/big", host: origin.authority)
      let sender = try serving(origin, content)
      #expect(try client.expectResponse(200).content == content)
      try sender.join()
      try proxy.expectStored()
      try client.send(
        "GET /big HTTP/1.1\r\nHost: \(origin.authority)\r\nRange: bytes=1-4\r\n\r\n"
          + "HEAD /big HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      #expect(try client.expectResponse(206).content == Array(content[1...4]))
      #expect(
        try client.expectResponse(200, isHead: true)["Content-Length"] == "\(content.count)")
    }
  }

  @Test("a client that begins TLS without waiting for our answer is understood")
  func early() throws {
    try intercepting { origin, proxy in
      // What a client would send is got from one, by a server that only listens.
      let hello = try clientHello()
      let client = try proxy.connect()
      try client.send(
        Array(
          "CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n".utf8) + hello)
      #expect(try client.expectConnectHead().status == 200)
      // A record of a handshake: the ServerHello.
      try client.expectBytes([0x16, 0x03, 0x03])
    }
  }

  private func clientHello() throws -> [UInt8] {
    let script = Script()
    let listener = try WireOrigin(script)
    let client = try WireClient(script, to: listener.address, name: "hello")
    let context = try trust()
    let hand = try Background { _ = try? client.beginTLS(context, host: "origin.test") }
    let server = try listener.accept()
    // Type, version, length.
    var bytes: [UInt8] = []
    while bytes.count < 5 { bytes += try server.expectAnyBytes() }
    let length = Int(bytes[3]) << 8 | Int(bytes[4])
    while bytes.count < 5 + length { bytes += try server.expectAnyBytes() }
    server.close()
    try hand.join()
    listener.close()
    return bytes
  }

  @Test("a tunnel inside of an https proxy is decrypted as well")
  func insideTLS() throws {
    try intercepting(
      configure: { configuration, _ in
        configuration.listeners[0].certificateFile = "/test/server.pem"
        configuration.listeners[0].keyFile = "/test/server.key"
        configuration.listeners[0].identity = try authority.identity("proxy.test")
      }
    ) { origin, proxy in
      let client = try proxy.connect()
      try client.beginTLS(
        TLSContext(clientTrusting: .file(authority.file)), host: "proxy.test")
      try open(client, origin.authority)
      let content = patterned(200_000)
      try get(client, "/x", host: origin.authority)
      let sender = try serving(origin, content)
      #expect(try client.expectResponse(200).content == content)
      try sender.join()
      try proxy.expectStored()
      try get(client, "/x", host: origin.authority)
      #expect(try client.expectResponse(200).content == content)
    }
  }

  @Test("a tunnel is opened however little of the client's rate is left")
  func rated() throws {
    try intercepting(
      configure: { configuration, _ in
        configuration.rate.client = try Rate(reading: "1MiB/s")
      }
    ) { origin, proxy in
      let content = patterned(3 << 20)
      let busy = try tunnel(proxy, to: origin.authority)
      try get(busy, "/big", host: origin.authority)
      let sender = try serving(origin, content, "Connection: close")
      #expect(try busy.expectHead(200).status == 200)
      _ = try busy.expectContent(1 << 20)
      // The bucket is empty.
      _ = try tunnel(proxy, to: origin.authority)
      #expect(try busy.expectRest().count == content.count - (1 << 20))
      try sender.join()
    }
  }

  @Test("a host that is an address has a certificate for the address")
  func address() throws {
    try intercepting(
      showing: "127.0.0.1",
      configure: { configuration, _ in
        configuration.intercept.hosts = [try HostPattern(reading: "127.0.0.1")]
      }
    ) { origin, proxy in
      let client = try proxy.connect()
      try client.request("CONNECT", "127.0.0.1:\(origin.port)")
      #expect(try client.expectConnectHead().status == 200)
      try client.beginTLS(trust(), host: "127.0.0.1", isAddress: true)
      try get(client, "/", host: "127.0.0.1:\(origin.port)")
      try origin.serve(200, [], "x")
      try client.expectResponse(200, content: "x")
    }
  }

  @Test("offline, what is stored is still to be had through a tunnel, and nothing else")
  func offline() throws {
    try intercepting { origin, proxy in
      let client = try tunnel(proxy, to: origin.authority)
      try get(client, "/x", host: origin.authority)
      try origin.serve(200, ["Cache-Control: max-age=60"], "kept")
      try client.expectResponse(200, content: "kept")
      try proxy.expectStored()
      client.close()
      try proxy.reloadAndWait { $0.offline = true }
      let again = try tunnel(proxy, to: origin.authority)
      try get(again, "/x", host: origin.authority)
      try again.expectResponse(200, content: "kept")
      try get(again, "/y", host: origin.authority)
      try again.expectResponse(504)
      try proxy.connect().request("CONNECT", "other.test:\(origin.port)").expectResponse(504)
    }
  }

  @Test("credentials are asked for by CONNECT, and those inside go to the origin")
  func credentials() throws {
    let hash = try #require(PasswordHash(of: Array("secret".utf8)))
    try intercepting(
      configure: { configuration, _ in
        configuration.auth.file = "/test/users"
        configuration.auth.users = PasswordTable.read("alice:\(hash.text)\n").table
      }
    ) { origin, proxy in
      try proxy.connect().request("CONNECT", origin.authority).expectResponse(407)
      let client = try tunnel(
        proxy, to: origin.authority, ["Proxy-Authorization: Basic YWxpY2U6c2VjcmV0"])
      try get(
        client, "/x", host: origin.authority, ["Authorization: Bearer mine"])
      let request = try origin.serve(
        200, ["Cache-Control: max-age=60", "Connection: close"], "for one")
      #expect(request["Authorization"] == "Bearer mine")
      #expect(request["Proxy-Authorization"] == nil)
      try client.expectResponse(200, content: "for one")
      try get(client, "/x", host: origin.authority)
      try origin.serve(200, ["Cache-Control: max-age=60"], "for all")
      try client.expectResponse(200, content: "for all")
    }
  }

  // MARK: What is refused

  @Test(
    "a request about another host than the tunnel's is refused",
    arguments: [
      "GET /x HTTP/1.1\r\nHost: other.test\r\n\r\n",
      "GET /x HTTP/1.1\r\nHost: origin.test\r\n\r\n",
      "GET /x HTTP/1.1\r\nHost: ORIGIN:1\r\n\r\n",
      "GET https://other.test/x HTTP/1.1\r\nHost: ORIGIN\r\n\r\n",
      "GET http://ORIGIN/x HTTP/1.1\r\nHost: ORIGIN\r\n\r\n",
    ])
  func otherHost(request: String) throws {
    try intercepting { origin, proxy in
      let client = try tunnel(proxy, to: origin.authority)
      // Even if the other one is here already.
      try get(client, "/x", host: origin.authority)
      try origin.serve(200, ["Cache-Control: max-age=60"], "mine")
      try client.expectResponse(200, content: "mine")
      let isMalformed = request.contains(":1\r")
      try client.send(request.replacing("ORIGIN", with: origin.authority))
      let answer = try client.expectAnyResponse()
      #expect(answer.status == (isMalformed ? 400 : 421))
      #expect(!answer.content.elementsEqual("mine".utf8))
    }
  }

  @Test("another name in the handshake than in CONNECT is refused")
  func otherName() throws {
    try intercepting { origin, proxy in
      let client = try proxy.connect()
      try client.request("CONNECT", origin.authority)
      #expect(try client.expectConnectHead().status == 200)
      #expect(throws: TLSFailure.alertReceived(.unrecognizedName)) {
        try client.beginTLS(trust(), host: "other.test", verifies: false)
      }
      try proxy.expect("a failed handshake") { $0.value(.downstreamHandshakes, .failed) == 1 }
    }
  }

  @Test(
    "in a tunnel to an address no name is asked for, or the address itself, which some do all the same",
    arguments: [(nil, true), ("127.0.0.1", true), ("127.0.0.2", false), ("origin.test", false)])
  func addressName(name: String?, isTaken: Bool) throws {
    try intercepting(
      showing: "127.0.0.1",
      configure: { configuration, _ in
        configuration.intercept.hosts = [try HostPattern(reading: "127.0.0.1")]
      }
    ) { origin, proxy in
      let client = try proxy.connect()
      try client.request("CONNECT", "127.0.0.1:\(origin.port)")
      #expect(try client.expectConnectHead().status == 200)
      let peer = try TLSPeer.client(client.surrender(), host: name)
      if isTaken {
        try peer.handshake()
      } else {
        #expect(throws: TLSPeerError.self) { try peer.handshake() }
      }
      try proxy.expect("a handshake") {
        $0.value(.downstreamHandshakes, isTaken ? .succeeded : .failed) == 1
      }
      peer.close()
    }
  }

  /// What a reload may say of a tunnel that is open.
  enum Change: CaseIterable {
    case excepted, named, nothing, ports

    func make(_ configuration: inout Configuration) {
      switch self {
      case .excepted: configuration.intercept.except = [.exact("origin.test")]
      case .named: configuration.intercept.hosts = [.exact("other.test")]
      case .nothing: configuration.intercept.hosts = []
      case .ports: configuration.destinations.connectPorts = [PortRange(443...443)]
      }
    }
  }

  @Test(
    "after a reload that would not decrypt a tunnel, or not open it, its last request is answered and it ends",
    arguments: Change.allCases)
  func reloaded(change: Change) throws {
    try intercepting { origin, proxy in
      let idle = try tunnel(proxy, to: origin.authority)
      let busy = try tunnel(proxy, to: origin.authority)
      try get(busy, "/x", host: origin.authority)
      try get(busy, "/next", host: origin.authority)
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let shaking = try proxy.connect()
      try shaking.request("CONNECT", origin.authority)
      #expect(try shaking.expectConnectHead().status == 200)
      let reading = try tunnel(proxy, to: origin.authority)
      let beginning = "GET /y HTTP/1.1\r\n"
      let before = proxy.registry.value(.downstreamReceived)
      try reading.send(beginning)
      try proxy.expect("the beginning of a request") {
        $0.value(.downstreamReceived) == before + Int64(beginning.utf8.count)
      }
      try proxy.reloadAndWait { change.make(&$0) }
      try idle.expectEnd()
      try shaking.expectGone()
      try upstream.respond(200, ["Cache-Control: max-age=60"], "last")
      try busy.expectResponse(200, ["Connection": "close"], content: "last")
      try busy.expectEnd()
      try reading.send("Host: \(origin.authority)\r\n\r\n")
      if change == .ports {
        try reading.expectResponse(403, ["Connection": "close"])
      } else {
        try upstream.expectRequest("GET /y HTTP/1.1")
        try upstream.respond(200, [], "begun")
        try reading.expectResponse(200, ["Connection": "close"], content: "begun")
      }
      try reading.expectEnd()
    }
  }

  @Test("a reload that changes nothing about a tunnel leaves it open")
  func kept() throws {
    try intercepting { origin, proxy in
      let client = try tunnel(proxy, to: origin.authority)
      try proxy.reloadAndWait { $0.intercept.except = [.exact("other.test")] }
      try get(client, "/x", host: origin.authority)
      try origin.serve(200, [], "content")
      try client.expectResponse(200, content: "content")
    }
  }

  @Test("a tunnel inside of a tunnel is refused")
  func nested() throws {
    try intercepting { origin, proxy in
      let client = try tunnel(proxy, to: origin.authority)
      try client.send(
        "CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      try client.expectResponse(405)
    }
  }

  @Test("plain HTTP inside of a tunnel is told what is wrong")
  func plain() throws {
    try intercepting { origin, proxy in
      let client = try proxy.connect()
      try client.request("CONNECT", origin.authority)
      #expect(try client.expectConnectHead().status == 200)
      try get(client, "/x", host: origin.authority)
      try client.expectResponse(400)
      try client.expectEnd()
    }
  }

  @Test("a host that may not be asked for has no tunnel to decrypt")
  func denied() throws {
    try intercepting(
      configure: { configuration, _ in
        configuration.destinations.deny = [try HostPattern(reading: "origin.test")]
      }
    ) { origin, proxy in
      try proxy.connect().request("CONNECT", origin.authority).expectResponse(403)
    }
  }

  @Test("an origin whose certificate is wrong is told of inside the tunnel")
  func badOrigin() throws {
    try intercepting(showing: "other.test") { origin, proxy in
      let client = try tunnel(proxy, to: origin.authority)
      try get(client, "/x", host: origin.authority)
      #expect(throws: TLSFailure.self) { try origin.accept() }
      let answer = try client.expectResponse(502)
      #expect(answer["Proxy-Status"]?.contains("tls_certificate_error") == true)
    }
  }

  // MARK: Left alone

  @Test("tunnels to hosts that are excepted, or not named, are passed on unread")
  func excepted() throws {
    try intercepting(
      configure: { configuration, _ in
        configuration.intercept.hosts = [.any]
        configuration.intercept.except = [try HostPattern(reading: "origin.test")]
      }
    ) { origin, proxy in
      let client = try proxy.connect()
      try client.request("CONNECT", origin.authority)
      #expect(try client.expectConnectHead().status == 200)
      // The certificate is the origin's own.
      let server = try Background { try origin.accept() }
      try client.beginTLS(
        TLSContext(clientTrusting: .file(authority.file)), host: "origin.test")
      let upstream = try server.join()
      try get(client, "/x", host: origin.authority)
      #expect(try upstream.expectRequest()["Via"] == nil)
    }
  }

  @Test(
    "a client that does not trust us is counted, and has its tunnel next time if so configured",
    arguments: [RejectedCertificate.refuse, .tunnel])
  func rejected(action: RejectedCertificate) throws {
    try intercepting(configure: { configuration, _ in configuration.intercept.rejected = action }) {
      origin, proxy in
      let stranger = try TLSContext(clientTrusting: .file(authority.file))
      let client = try proxy.connect()
      try client.request("CONNECT", origin.authority)
      #expect(try client.expectConnectHead().status == 200)
      #expect(throws: TLSFailure.self) { try client.beginTLS(stranger, host: "origin.test") }
      try proxy.expect("a rejected certificate") {
        $0.value(.downstreamHandshakes, .rejected) == 1
      }
      client.close()
      let second = try proxy.connect()
      try second.request("CONNECT", origin.authority)
      #expect(try second.expectConnectHead().status == 200)
      switch action {
      case .refuse:
        #expect(throws: TLSFailure.self) { try second.beginTLS(stranger, host: "origin.test") }
        try proxy.expect("another one") { $0.value(.downstreamHandshakes, .rejected) == 2 }
      case .tunnel:
        let server = try Background { try origin.accept() }
        try second.beginTLS(stranger, host: "origin.test")
        try server.join()
        #expect(proxy.registry.value(.tunnels) == 1)
      }
    }
  }
}
