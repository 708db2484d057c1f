// Listeners behind a load balancer: the client is whom the PROXY header names.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct ProxyProtocolWireTests {
  private let fresh = ["Cache-Control: max-age=600"]

  private func behind(
    _ use: ProxyProtocolUse, clients: [String] = ["192.0.2.0/24"],
    _ body: (WireOrigin, TestProxy) throws -> Void
  ) throws {
    try wire(
      configure: { configuration, _ in
        configuration.listeners[0].proxyProtocol = use
        configuration.clients = try clients.map { try IPNetwork(reading: $0) }
        configuration.limits.headerTimeout = .milliseconds(200)
      }, body)
  }

  @Test("the client that a header names is judged and served", arguments: ["v1", "v2"])
  func named(version: String) throws {
    try behind(.on) { origin, proxy in
      var header = Array("PROXY TCP4 192.0.2.7 192.0.2.1 56324 3128\r\n".utf8)
      if version == "v2" {
        header =
          [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x21, 0x11, 0, 12]
          + [192, 0, 2, 7, 192, 0, 2, 1, 0xDC, 0x04, 0x0C, 0x38]
      }
      // In one segment with the request, byte by byte, and by another who may not.
      let client = try proxy.connect()
      try client.send(
        header + Array("GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n".utf8))
      try origin.serve(200, fresh, "a")
      try client.expectResponse(200, content: "a")
      let slow = try proxy.connect()
      for byte in header { try slow.send([byte]) }
      try slow.get(origin.url("/")).expectResponse(200, content: "a")
      let stranger = try proxy.connect()
      try stranger.send("PROXY TCP4 198.51.100.7 192.0.2.1 56324 3128\r\n")
      try stranger.expectError(403, "198.51.100.7 is not among `clients`", closes: true)
    }
  }

  @Test("the record of a client that left names it, and the socket's peer, which packets come from")
  func record() throws {
    try behind(.on) { origin, proxy in
      let client = try proxy.connect()
      try client.send("PROXY TCP4 192.0.2.7 192.0.2.1 56324 3128\r\n")
      try client.get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, ["Content-Length: 10", "Cache-Control: no-store"])
      try client.expectHead(200)
      client.abort()
      try proxy.expect("a record") { _ in !proxy.server.recentEndings().isEmpty }
      let record = try #require(proxy.server.recentEndings().first)
      #expect(record.evidence.socket.peer?.ip == .loopbackV4)
      #expect(record.transaction.client.map { "\($0)" } == "192.0.2.7:56324")
    }
  }

  @Test("without a header, with a wrong one, or too late, the connection just ends, and is counted")
  func malformed() throws {
    try behind(.on) { origin, proxy in
      for (number, bytes) in [
        "GET \(origin.url("/")) HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 56", "\r\n\r\n\u{0}\r\nQUIX\n",
      ].enumerated() {
        let client = try proxy.connect()
        try client.send(bytes)
        try client.expectGone()
        try proxy.expect("it to be counted") {
          $0.value(.connectionsRefused, .preamble) == Int64(number + 1)
        }
      }
      // Whoever says nothing at all and leaves is a health check.
      let silent = try proxy.connect()
      silent.close()
      try proxy.expectQuiet()
      #expect(proxy.registry.value(.connectionsRefused, .preamble) == 4)
    }
  }

  @Test("a balancer that speaks for itself is judged by its own address")
  func local() throws {
    try behind(.on, clients: ["127.0.0.0/8"]) { origin, proxy in
      let client = try proxy.connect()
      try client.send([13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, 0x20, 0, 0, 0])
      try client.get(origin.url("/"))
      try origin.serve(200, fresh, "a")
      try client.expectResponse(200, content: "a")
    }
  }

  @Test("a header is taken only from where the listener says, and is no HTTP otherwise")
  func trusted() throws {
    for use in [ProxyProtocolUse.from([try IPNetwork(reading: "10.0.0.0/8")]), .off] {
      try behind(use, clients: ["127.0.0.0/8"]) { origin, proxy in
        let client = try proxy.connect()
        try client.send("PROXY TCP4 127.0.0.1 192.0.2.1 56324 3128\r\n\r\n")
        try client.expectError(400, "", closes: true)
        let plain = try proxy.connect().get(origin.url("/"))
        try origin.serve(200, fresh, "a")
        try plain.expectResponse(200, content: "a")
      }
    }
  }

  @Test("an IPv4 client in IPv6 clothes is judged as IPv4")
  func mapped() throws {
    try behind(.from([try IPNetwork(reading: "127.0.0.0/8")])) { origin, proxy in
      let client = try proxy.connect()
      try client.send("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n")
      try client.get(origin.url("/"))
      try origin.serve(200, fresh, "a")
      try client.expectResponse(200, content: "a")
    }
  }
}
