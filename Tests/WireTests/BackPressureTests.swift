// Peers that send without end while another does not read: what the proxy holds in between is bounded. Counted in bytes
// that came in and did not go out; docs/operations.md states the bounds.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct BackPressureTests {
  /// The buffer of one direction and what one turn of the loop may add to it.
  private static let bound: Int64 = (256 + 256 + 64) << 10

  /// Sends until the other side takes no more for a while, or is gone.
  private static func flood(_ peer: WirePeer, _ piece: [UInt8], limit: Int) throws -> Background<
    Int
  > {
    try Background {
      var sent = 0
      while sent < limit, (try? peer.send(piece)) != nil { sent += piece.count }
      return sent
    }
  }

  /// Waits until a counter stands still: what can move has moved.
  private func settle(_ proxy: TestProxy, _ counter: Scalar, above least: Int64) throws {
    try proxy.expect("something to arrive") { $0.value(counter) > least }
    var last = Int64(-1)
    var same = 0
    try proxy.expect("the flow to stop") {
      let now = $0.value(counter)
      same = now == last ? same + 1 : 0
      last = now
      return same > 300
    }
  }

  @Test("a client that never reads stops the origin, whose gigabyte stays where it is")
  func clientDoesNotRead() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 4096)
      try client.get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, ["Cache-Control: no-store", "Content-Length: \(1 << 30)"])
      let sender = try Self.flood(
        upstream, [UInt8](repeating: 0x61, count: 1 << 20), limit: 1 << 30)
      try settle(proxy, .upstreamReceived, above: 1 << 20)
      let held = proxy.registry.value(.upstreamReceived) - proxy.registry.value(.downstreamSent)
      #expect(held <= Self.bound, "\(held) bytes are held")
      client.abort()
      #expect(try sender.join() < 1 << 30)
    }
  }

  @Test("an origin that never reads stops the client, whose upload stays where it is")
  func originDoesNotRead() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request(
        "PUT", origin.url("/"), ["Content-Length: \(1 << 30)"])
      let upstream = try origin.accept()
      try upstream.shrinkReceiveBuffer(to: 4096)
      let sender = try Self.flood(client, [UInt8](repeating: 0x61, count: 1 << 20), limit: 1 << 30)
      try settle(proxy, .downstreamReceived, above: 1 << 20)
      let held = proxy.registry.value(.downstreamReceived) - proxy.registry.value(.upstreamSent)
      #expect(held <= Self.bound, "\(held) bytes are held")
      upstream.abort()
      try client.expectError(502, "", closes: true)
      #expect(try sender.join() < 1 << 30)
    }
  }

  @Test(
    "ten thousand requests of a client that reads nothing are not read either, and lost neither")
  func pipeline() throws {
    try wire { origin, proxy in
      let warm = try proxy.connect().get(origin.url("/"))
      let content = String(repeating: "x", count: 1024)
      try origin.serve(200, fresh, content)
      try warm.expectResponse(200, content: content)
      try proxy.expectStored()
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 128 << 10)
      let request = Array(
        "GET \(origin.url("/")) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n".utf8)
      let count = 10_000
      let before = proxy.registry.value(.downstreamReceived)
      let sender = try Background {
        for _ in 0..<count / 100 {
          try client.send(Array(repeatElement(request, count: 100).joined()))
        }
      }
      try settle(proxy, .downstreamReceived, above: before)
      let read = proxy.registry.value(.downstreamReceived) - before
      let answered = proxy.registry.value(.downstreamSent) / 1100 * Int64(request.count)
      #expect(read - answered <= Self.bound, "\(read) bytes of requests were read")
      for _ in 0..<count { try client.expectResponse(200, content: content) }
      try sender.join()
    }
  }

  private let fresh = ["Cache-Control: max-age=600"]

  @Test("a client that does not read a stored file costs nothing but its place")
  func storedFileUnread() throws {
    try wire { origin, proxy in
      let warm = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let content = patterned(8 << 20)
      try upstream.send(head: 200, fresh + ["Content-Length: \(content.count)"])
      let sender = try Background { try upstream.send(content) }
      #expect(try warm.expectResponse(200).content == content)
      try sender.join()
      let clients = try (0..<20).map { _ in
        let client = try proxy.connect()
        try client.shrinkReceiveBuffer(to: 128 << 10)
        return try client.get(origin.url("/"))
      }
      // Others are served meanwhile.
      #expect(try warm.get(origin.url("/")).expectResponse(200).content == content)
      // And who reads at last has missed nothing.
      #expect(try clients[7].expectResponse(200).content == content)
    }
  }
}
