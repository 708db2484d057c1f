// A cut takes back nothing of what was sent before it: the peer reads late, gets all of that, and then sees the reset.

import Configuration
import Support
import Telemetry
import Testing

@Suite("Cutting a connection") struct SeveranceTests {
  /// More than a socket with a small buffer takes, less than a tunnel holds.
  private static let bytes = patterned(200_000)

  @Test("the other side of a tunnel has what was sent before a reset", arguments: [true, false])
  func tunnel(byClient: Bool) throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 32 << 10)
      try client.request("CONNECT", origin.authority)
      let upstream = try origin.accept()
      try upstream.shrinkReceiveBuffer(to: 32 << 10)
      try client.expectHead(200, isHead: true)
      if byClient {
        try client.send(Self.bytes)
        try proxy.expect("all of it") { $0.value(.tunnelBytes, .toUpstream) == 200_000 }
        client.abort()
      } else {
        try upstream.send(Self.bytes)
        try proxy.expect("all of it") { $0.value(.tunnelBytes, .toDownstream) == 200_000 }
        upstream.abort()
      }
      try proxy.expect("the tunnel to be gone") { $0.value(.tunnelsOpen) == 0 }
      if byClient {
        try upstream.expectBytes(Self.bytes).expectReset()
      } else {
        try client.expectBytes(Self.bytes).expectReset()
      }
    }
  }

  @Test("what lies unread before a reset is read first")
  func unread() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.request("CONNECT", origin.authority)
      let upstream = try origin.accept()
      try client.expectHead(200, isHead: true)
      try upstream.send("the last words")
      upstream.abort()
      try client.expectBytes("the last words").expectReset()
    }
  }

  @Test("an answer in front of a tunnel is whole although the tunnel is reset")
  func pipelined() throws {
    try wire { origin, proxy in
      let target = origin.url("/")
      let warm = try proxy.connect().get(target)
      // More than the client's buffer takes, less than the proxy's, which gets to the tunnel when all is in it.
      let content = String(repeating: "content", count: 3500)
      try origin.serve(200, ["Cache-Control: max-age=600"], content)
      try warm.expectResponse(200, content: content)
      try proxy.expectStored()
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 4 << 10)
      try client.send(
        "GET \(target) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n"
          + "CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
      let upstream = try origin.accept()
      try proxy.expect("the tunnel") { $0.value(.tunnelsOpen) == 1 }
      upstream.abort()
      try proxy.expect("the tunnel to be gone") { $0.value(.tunnelsOpen) == 0 }
      try client.expectResponse(200, content: content)
      try client.expectHead(200, isHead: true)
      try client.expectReset()
    }
  }

  @Test("who reads late has all that came of an answer that was cut")
  func answer() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 32 << 10)
      try client.get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, ["Content-Length: 1000000", "Cache-Control: no-store"])
      try upstream.send(Self.bytes)
      try proxy.expect("all of it") { $0.value(.upstreamReceived) >= 200_000 }
      upstream.abort()
      try proxy.expect("the connection to be over") {
        $0.value(.connectionsOpen, .downstream) == 0
      }
      try client.expectHead(200, isHead: true)
      try client.expectBytes(Self.bytes).expectReset()
    }
  }
}
