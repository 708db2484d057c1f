// Protocols other than HTTP on connections that began with it.

import Configuration
import Support
import Telemetry
import Testing

@Suite struct UpgradeTests {
  private let offer = [
    "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x",
  ]

  @Test("client and origin that agree on WebSocket are joined, bytes behind the heads included")
  func joined() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.request("GET", origin.url("/chat"), offer)
      let upstream = try origin.accept()
      let request = try upstream.expectHead()
      #expect(request["Upgrade"] == "websocket")
      #expect(request["Connection"] == "upgrade")
      #expect(request["Sec-WebSocket-Key"] == "x")
      try upstream.send(
        "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: y\r\n\r\nfirst"
      )
      let answer = try client.expectUntil("\r\n\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 101 "))
      #expect(answer.contains("Upgrade: WebSocket\r\n"))
      #expect(answer.contains("Connection: upgrade\r\n"))
      #expect(answer.contains("Sec-WebSocket-Accept: y\r\n"))
      try client.expectBytes("first")
      try client.send("ping")
      try upstream.expectBytes("ping")
      try upstream.send("pong")
      try client.expectBytes("pong")
      #expect(proxy.registry.value(.tunnelsOpen) == 1)
      client.finish()
      try upstream.expectEnd()
      try upstream.send("last")
      try client.expectBytes("last")
      upstream.close()
      try client.expectEnd()
    }
  }

  @Test("an origin that does not want to is answered for as if nothing had been offered")
  func declined() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.request("GET", origin.url("/chat"), offer)
      try origin.serve(400, ["Connection: close"], "no")
      try client.expectResponse(400, content: "no")
      try client.get(origin.url("/x"))
      try origin.serve(200, [], "still here")
      try client.expectResponse(200, content: "still here")
    }
  }

  @Test("an origin that switches to what nobody offered is not believed")
  func unasked() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.request("GET", origin.url("/chat"), offer)
      let upstream = try origin.accept()
      try upstream.expectHead()
      try upstream.send("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
      try client.expectResponse(502)
    }
  }

  @Test("an origin that switches before it has read the request is not believed")
  func early() throws {
    try wire(configure: { configuration, _ in configuration.limits.head = .mib(16) }) {
      origin, proxy in
      let client = try proxy.connect()
      // More than lies between the two of them.
      let large = "X-Large: " + String(repeating: "a", count: 12 << 20)
      let sending = try Background {
        try client.request("GET", origin.url("/chat"), self.offer + [large])
      }
      let upstream = try origin.accept()
      try upstream.shrinkReceiveBuffer(to: 16 << 10)
      _ = try upstream.expectAnyBytes()
      try sending.join()
      try upstream.send(
        "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
      try client.expectError(502, "switched protocols before it had read the request")
    }
  }

  @Test("on a mirror nothing but HTTP is spoken")
  func mirror() throws {
    try wire(configure: { configuration, origin in
      configuration.mirrors.set(
        Mirror(name: "m", url: try OriginURL(reading: origin.url("/"))))
    }) { origin, proxy in
      let client = try proxy.connect()
      try client.request("GET", "/m/chat", offer)
      #expect(try origin.serve(200, [], "plain")["Upgrade"] == nil)
      try client.expectResponse(200, content: "plain")
    }
  }

  @Test("a client that leaves before the origin has agreed leaves nothing behind")
  func leaves() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.request("GET", origin.url("/chat"), offer)
      let upstream = try origin.accept()
      try upstream.expectHead()
      client.abort()
      try upstream.expectGone()
    }
  }
}
