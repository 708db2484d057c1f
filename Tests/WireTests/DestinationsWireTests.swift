// Where clients cannot get to, however they write it.

import Configuration
import Platform
import Support
import Synchronization
import Telemetry
import Testing

@Suite struct DestinationsWireTests {
  private let fresh = ["Cache-Control: max-age=600"]

  @Test(
    "no spelling of a loopback address reaches it",
    arguments: [
      "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.1",
      "0177.0.0.1", "0177.1", "017700000001", "127.0.0.1.", "127.0.0.01", "0", "0.0.0.0", "[::1]",
      "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
      "[2002:7f00:1::]", "[0:0:0:0:0:0:0:1]", "localhost", "LOCALHOST", "localhost.", "x.localhost",
      "[fe80::1%25lo]", "[::1%251]", "127.0.0.0x1", "inward.test", "INWARD.test.",
    ])
  func loopback(host: String) throws {
    try wire(
      configure: { configuration, _ in configuration.destinations.privateNetworks = [] },
      // As a name server of an attacker's, or a hosts file, would answer; inet_aton's spellings as well.
      lookup: { _ in .success([.loopbackV4, .loopbackV6]) }
    ) { origin, proxy in
      let authority = "\(host):\(origin.port)"
      for request in [
        "GET http://\(authority)/ HTTP/1.1\r\nHost: \(authority)\r\n\r\n",
        "CONNECT \(authority) HTTP/1.1\r\nHost: \(authority)\r\n\r\n",
        "GET /\(authority)/ HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
      ] {
        let client = try proxy.connect()
        try client.send(request)
        let answer = try client.expectAnyResponse()
        #expect([400, 403].contains(answer.status), "\(request): \(answer.status)")
      }
      try origin.expectNothingElse()
    }
  }

  @Test("the address that was checked is the one connected to: a name is asked for once")
  func rebinding() throws {
    let lookups = Mutex(0)
    try wire(
      configure: { configuration, _ in
        configuration.destinations.privateNetworks = [try IPNetwork(reading: "127.0.0.1/32")]
      },
      lookup: { _ in
        let number = lookups.withLock { count in
          count += 1
          return count
        }
        // First addresses of which one is allowed, then only one that is not.
        return .success(number == 1 ? [IPAddress(v4: 0x7F00_0002), .loopbackV4] : [.loopbackV6])
      }
    ) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, fresh, "checked")
      try client.expectResponse(200, content: "checked")
      #expect(lookups.withLock { $0 } == 1)
    }
  }

  @Test("a request for where the proxy itself listens is a loop, even if its network is allowed")
  func ownAddress() throws {
    try wire { origin, proxy in
      for host in ["127.0.0.1", "0.0.0.0", "self.test", "[::ffff:127.0.0.1]"] {
        proxy.reload { configuration in
          configuration.destinations.privateNetworks = [
            IPNetwork(.anyV4, prefixLength: 0), IPNetwork(.anyV6, prefixLength: 0),
          ].compactMap(\.self)
        }
        let client = try proxy.connect().get("http://\(host):\(proxy.address.port)/")
        try client.expectError(502, "itself listens", type: "proxy_loop_detected")
        let tunnel = try proxy.connect()
        try tunnel.send("CONNECT \(host):\(proxy.address.port) HTTP/1.1\r\nHost: x\r\n\r\n")
        try tunnel.expectError(502, "itself listens", type: "proxy_loop_detected", closes: true)
      }
    }
  }

  @Test("with a listener on all addresses each address of the machine is its own")
  func wildcard() throws {
    try wire(configure: { configuration, _ in
      configuration.listeners = [ListenerSettings(address: SocketAddress(.anyV4, port: 0))]
    }) { origin, proxy in
      for host in ["127.0.0.1", "127.3.2.1", "self.test"] {
        let client = try WireClient(
          proxy.script, to: .loopback(port: proxy.address.port), name: "client")
        try client.get("http://\(host):\(proxy.address.port)/")
        try client.expectError(502, "itself listens", type: "proxy_loop_detected")
        client.close()
      }
    }
  }

  @Test("a mirror that leads back here is a loop, not an endless one")
  func mirrorLoop() throws {
    try wire { origin, proxy in
      let url = try OriginURL(reading: "http://127.0.0.1:\(proxy.address.port)/a/")
      proxy.reload { $0.mirrors = Mirrors([Mirror(name: "a", url: url)]) }
      let client = try proxy.connect()
      try proxy.script.wait("the proxy", for: "the mirror", .here(#fileID, #line)) {
        (try? client.get("/a/../x").expectAnyResponse().status) == 400
      }
      try client.get("/a/x").expectError(502, "itself listens", type: "proxy_loop_detected")
    }
  }

  @Test("what is stored of an address is not served once that address is forbidden")
  func forbiddenHits() throws {
    try wire { origin, proxy in
      let url = "http://127.0.0.1:\(origin.port)/"
      let client = try proxy.connect().get(url)
      try origin.serve(200, fresh, "inside")
      try client.expectResponse(200, content: "inside")
      try proxy.expectStored()
      try client.get(url).expectResponse(200, content: "inside")
      proxy.reload { $0.destinations.privateNetworks = [] }
      try proxy.script.wait("the proxy", for: "the new rules", .here(#fileID, #line)) {
        (try? client.get(url).expectAnyResponse().status) == 403
      }
      // For a mirror, which the operator named, it is still good.
      let mirror = try OriginURL(reading: url)
      proxy.reload { $0.mirrors = Mirrors([Mirror(name: "inside", url: mirror)]) }
      try proxy.script.wait("the proxy", for: "the mirror", .here(#fileID, #line)) {
        (try? client.get("/inside/").expectAnyResponse().status) == 200
      }
      try client.get("/inside/").expectResponse(200, content: "inside")
      try origin.expectNothingElse()
    }
  }

  @Test("a kept connection to an address that becomes forbidden is let go")
  func forbiddenPool() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/a"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.respond(200, [], "a")
      try client.expectResponse(200, content: "a")
      proxy.reload { $0.destinations.privateNetworks = [] }
      try upstream.expectEnd()
      try client.get(origin.url("/b")).expectError(403, "not a public address")
    }
  }
}
