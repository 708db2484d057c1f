// What is in order leaves no record: every kind of healthy transaction, very many times, and not one fault.
//
// HOLDFAST_HEALTHY=1000000 makes it a million.

import Configuration
import Glibc
import Platform
import Support
import Synchronization
import Telemetry
import Testing

@Suite("What is in order") struct HealthyTests {
  /// One after the other, all of them whole and right; each says how many transactions it was.
  fileprivate enum Kind: CaseIterable {
    case kept, idleAbort, halfClosed, withoutContent, pipelined, slow, http10, delimited, closing
    case tunnelFromClient, tunnelFromOrigin, upload, hits, finishedOrigin
  }

  fileprivate final class Visitor {
    let proxy: SocketAddress
    let origin: OrderlyOrigin
    private(set) var done = 0
    private(set) var failure: String?

    init(_ proxy: SocketAddress, _ origin: OrderlyOrigin) {
      self.proxy = proxy
      self.origin = origin
    }

    private func get(_ path: String, _ fields: String = "", method: String = "GET") -> String {
      "\(method) \(origin.url(path)) HTTP/1.1\r\nHost: \(origin.authority)\r\n\(fields)\r\n"
    }

    private func expect(
      _ client: PlainClient, _ status: Int = 200, _ count: Int? = 7, isHead: Bool = false,
      step: Int = 64 << 10, line: UInt = #line
    ) {
      let response = client.response(isHead: isHead, step: step)
      if response?.status != status || count != nil && response?.count != count {
        failure = failure ?? "line \(line): \(String(describing: response))"
      }
      done += 1
    }

    func visit(_ kind: Kind, lonely: Lonely) throws {
      let client = try PlainClient(proxy, receiveBuffer: kind == .slow ? 4096 : nil)
      switch kind {
      case .kept:
        for _ in 0..<8 {
          client.send(get("/kept"))
          expect(client)
        }
      case .idleAbort:
        for _ in 0..<2 {
          client.send(get("/kept"))
          expect(client)
        }
        client.abort()
      case .halfClosed:
        client.send(get("/kept"))
        client.finish()
        expect(client)
        if !client.isAtEnd() { failure = "no end behind half a close" }
      case .withoutContent:
        client.send(get("/kept", method: "HEAD"))
        expect(client, 200, 0, isHead: true)
        client.send(get("/none"))
        expect(client, 204, 0)
        client.send(get("/tag", "If-None-Match: \"t\"\r\n"))
        expect(client, 304, 0)
        client.send(get("/stored", "", method: "HEAD"))
        expect(client, 200, 0, isHead: true)
      case .pipelined:
        client.send(
          get("/stored") + get("/kept") + get("/stored") + get("/chunked") + get("/kept")
            + get("/stored"))
        for count in [5000, 7, 5000, nil, 7, 5000] { expect(client, 200, count) }
      case .slow:
        client.send(get("/large"))
        expect(client, 200, 300_000, step: 8192)
      case .http10:
        client.send("GET \(origin.url("/kept")) HTTP/1.0\r\nHost: \(origin.authority)\r\n\r\n")
        expect(client)
        if !client.isAtEnd() { failure = "no end behind HTTP/1.0" }
      case .delimited:
        for path in ["/chunked", "/closed", "/close", "/http10"] {
          client.send(get(path))
          expect(client, 200, nil)
        }
      case .closing:
        client.send(get("/kept", "Connection: close\r\n"))
        expect(client)
        if !client.isAtEnd() { failure = "no end behind Connection: close" }
      case .tunnelFromClient, .tunnelFromOrigin:
        client.send("CONNECT \(origin.authority) HTTP/1.1\r\nHost: \(origin.authority)\r\n\r\n")
        expect(client, 200, 0, isHead: true)
        client.send("GET /kept HTTP/1.1\r\nHost: x\r\n\r\n")
        expect(client)
        if kind == .tunnelFromClient {
          client.finish()
        } else {
          client.send("GET /close HTTP/1.1\r\nHost: x\r\n\r\n")
          expect(client)
        }
        if !client.isAtEnd() { failure = "no end of a tunnel" }
      case .upload:
        for _ in 0..<2 {
          client.send(
            get("/kept", "Content-Length: 3000\r\n", method: "POST")
              + String(repeating: "x", count: 3000))
          expect(client)
        }
      case .hits:
        for _ in 0..<8 {
          client.send(get("/stored"))
          expect(client, 200, 5000)
        }
      case .finishedOrigin:
        lonely.origin.withLock { other in
          let before = other.finishedCount
          client.send(
            "GET \(other.url("/fin")) HTTP/1.1\r\nHost: \(other.authority)\r\n\r\n")
          expect(client)
          // The next request must not meet its FIN on the way: that would be a fault, and a healed one.
          while other.finishedCount == before { usleep(50) }
        }
      }
      client.close()
    }
  }

  @Test("leaves no record, however often, and is counted")
  func healthy() throws {
    let wanted = getenv("HOLDFAST_HEALTHY").flatMap { Int(String(cString: $0)) } ?? 20_000
    let origin = try OrderlyOrigin()
    let lonely = Lonely(try OrderlyOrigin())
    var configuration = TestProxy.configuration()
    configuration.upstream.retries = 3
    configuration.threads = .fixed(2)
    let proxy = try TestProxy(Script(), configuration, inMemory: true)
    let share = wanted / 8
    let clients = try (0..<8).map { number in
      try Background { () throws -> (Int, String?) in
        let visitor = Visitor(proxy.address, origin)
        var turn = number
        while visitor.done < share, visitor.failure == nil {
          try visitor.visit(Kind.allCases[turn % Kind.allCases.count], lonely: lonely)
          turn += 1
        }
        return (visitor.done, visitor.failure)
      }
    }
    let results = try clients.map { try $0.join() }
    #expect(results.compactMap(\.1) == [])
    #expect(results.reduce(0) { $0 + $1.0 } >= share * 8)
    lonely.origin.withLock { $0.stop() }
    origin.stop()
    try proxy.expectQuiet()
    #expect(proxy.server.recentEndings().map(\.evidence.ending) == [])
    // Every connection that was accepted has ended in order, and been counted.
    let registry = proxy.registry
    let ended = HealthyEnding.allCases.reduce(Int64(0)) {
      $0 + registry.value(.healthyEndings, .downstream, $1)
    }
    #expect(ended == registry.value(.connectionsAccepted))
    for how in [HealthyEnding.idleFinish, .idleReset, .answered, .tunnel] {
      #expect(registry.value(.healthyEndings, .downstream, how) > 0, "\(how)")
    }
    for how in [HealthyEnding.idleFinish, .answered, .tunnel] {
      #expect(registry.value(.healthyEndings, .upstream, how) > 0, "\(how)")
    }
  }
}

/// An origin whose kept connections end without a word, asked by one client at a time.
private final class Lonely: Sendable {
  let origin: Mutex<OrderlyOrigin>
  init(_ origin: OrderlyOrigin) { self.origin = Mutex(origin) }
}
