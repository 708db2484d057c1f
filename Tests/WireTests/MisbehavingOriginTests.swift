// Origins that stall, say too much, or can be reached only in part. What ends before the answer's head is told in
// `UpstreamFailureTests`, trickles in `ProgressTests`, answers without end in `BoundsTests`.

import Configuration
import IO
import Platform
import Support
import Synchronization
import Telemetry
import Testing

@Suite struct MisbehavingOriginTests {
  private let fresh = ["Cache-Control: max-age=600"]

  /// Serves what was asked before once more: nothing of the failure is stored.
  private func expectNothingStored(_ origin: WireOrigin, _ proxy: TestProxy) throws {
    let again = try proxy.connect().get(origin.url("/"))
    try origin.serve(200, fresh, "whole")
    try again.expectResponse(200, content: "whole")
  }

  // MARK: Silence

  enum Stall: String, CaseIterable, Sendable {
    case inHead, inSmallContent, inLargeContent, inChunks, inChunkSize, inTrailers, inRelay

    var bytes: String {
      switch self {
      case .inHead: "HTTP/1.1 200 OK\r\nContent-Le"
      case .inSmallContent:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nContent-Length: 9\r\n\r\nhalf"
      case .inLargeContent:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nContent-Length: 90000\r\n\r\nhalf"
      case .inChunks:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
      case .inChunkSize:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n1"
      case .inTrailers:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "4\r\nhalf\r\n0\r\nX: "
      case .inRelay: "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 9\r\n\r\nhalf"
      }
    }
  }

  @Test(
    "an origin that stalls is given up: 504 before the head, a visible cut after it",
    arguments: Stall.allCases)
  func stalls(where stall: Stall) throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.readTimeout = .milliseconds(200)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(stall.bytes)
      if stall == .inHead {
        try client.expectError(
          504, "did not complete the head of its answer within 200 ms",
          type: "http_response_timeout")
      } else {
        try client.expectHead(200)
        #expect(try client.expectIncomplete() == Array("half".utf8))
      }
      try upstream.expectGone()
      #expect(proxy.registry.value(.timeouts, .upstream) == 1)
      try expectNothingStored(origin, proxy)
    }
  }

  // MARK: Too much

  enum Flood: String, CaseIterable, Sendable {
    case interimAnswers, head, chunkExtensions, trailers

    var begin: String {
      switch self {
      case .interimAnswers: ""
      case .head: "HTTP/1.1 200 OK\r\n"
      case .chunkExtensions:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "4\r\nhalf\r\n4"
      case .trailers:
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n"
          + "4\r\nhalf\r\n0\r\n"
      }
    }

    var again: String {
      let filler = String(repeating: "a", count: 4000)
      return switch self {
      case .interimAnswers: "HTTP/1.1 103 Early Hints\r\nX-Filler: \(filler)\r\n\r\n"
      case .head, .trailers: "X-Filler: \(filler)\r\n"
      case .chunkExtensions: ";\(filler)=1"
      }
    }
  }

  @Test(
    "what an origin says without end is refused after a bounded amount of it",
    arguments: Flood.allCases)
  func floods(with flood: Flood) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let again = Array(flood.again.utf8)
      let sent = try Background {
        var sent = 0
        _ = try? upstream.send(flood.begin)
        while sent < 100 << 20, (try? upstream.send(again)) != nil { sent += again.count }
        return sent
      }
      switch flood {
      case .interimAnswers:
        var head = try client.expectAnyHead([103, 502])
        var count = 0
        while head.status == 103 {
          count += 1
          head = try client.expectAnyHead([103, 502])
        }
        #expect(head.status == 502 && count <= 64)
        #expect(head["Proxy-Status"]?.contains("http_protocol_error") == true)
        _ = try client.expectRest()
      case .head:
        try client.expectError(
          502, "larger than the limit", type: "http_response_header_section_size")
      case .chunkExtensions, .trailers:
        // What comes with the head may be refused before the head is passed on.
        if try client.expectAnyHead([200, 502]).status == 200 {
          #expect(try client.expectIncomplete() == Array("half".utf8))
        }
      }
      // What the sockets hold is sent in any case.
      #expect(try sent.join() < 32 << 20)
      #expect(proxy.registry.value(.upstreamReceived) < 1 << 20)
      try expectNothingStored(origin, proxy)
    }
  }

  @Test("interim answers that a client does not read take a bounded amount of memory")
  func interimAnswersUnread() throws {
    try wire { origin, proxy in
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 4096)
      try client.get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let filler = String(repeating: "a", count: 60_000)
      for _ in 0..<4 { upstream.trySending(Array("HTTP/1.1 103 X\r\nX: \(filler)\r\n\r\n".utf8)) }
      upstream.trySending(Array("HTTP/1.1 103 X\r\nX: \(filler)\r\n\r\n".utf8))
      try upstream.expectGone()
      #expect(proxy.registry.value(.upstreamReceived) < 600_000)
      client.abort()
    }
  }

  // MARK: Addresses

  private static func address(_ last: UInt32) -> IPAddress { IPAddress(v4: 0x7F00_0100 + last) }

  @Test("of many addresses the one that answers is used", arguments: [2, 5, 20])
  func oneOfMany(count: UInt32) throws {
    let good = Self.address(count)
    let script = Script()
    let origin = try WireOrigin(script, ip: good)
    let proxy = try TestProxy(script) { _ in .success((1...count).map { Self.address($0) }) }
    let client = try proxy.connect().get(origin.url("/"))
    try origin.serve(200, fresh, "reached")
    try client.expectResponse(200, content: "reached")
    #expect(proxy.registry.value(.upstreamConnects) == 1)
    #expect(proxy.registry.value(.connectionsOpen, .upstream) == 1)
    origin.close()
    try proxy.expectQuiet()
    try proxy.expectNoOrigins()
  }

  @Test("an address that says nothing delays the next one by a quarter of a second, and no more")
  func silentAddress() throws {
    let script = Script()
    let origin = try WireOrigin(script, ip: Self.address(2))
    // A full queue makes the kernel ignore further attempts.
    let silent = try Socket.listen(
      on: SocketAddress(Self.address(1), port: origin.port), backlog: 0)
    let first = try Socket.connect(to: SocketAddress(Self.address(1), port: origin.port))
    let second = try Socket.connect(to: SocketAddress(Self.address(1), port: origin.port))
    let proxy = try TestProxy(script) { _ in .success([Self.address(1), Self.address(2)]) }
    let client = try proxy.connect().get(origin.url("/"))
    try origin.serve(200, fresh, "reached")
    try client.expectResponse(200, content: "reached")
    origin.close()
    try proxy.expectQuiet()
    try proxy.expectNoOrigins()
    try first.close()
    try second.close()
    try silent.close()
  }

  @Test("a host whose addresses all refuse is 502, which names each of them once")
  func allRefuse() throws {
    let script = Script()
    let origin = try WireOrigin(script)
    origin.stopListening()
    let proxy = try TestProxy(script) { _ in .success((1...3).map { Self.address($0) }) }
    let client = try proxy.connect().get(origin.url("/"))
    let answer = try client.expectError(502, "No connection to", type: "connection_refused")
    for number in 1...3 as ClosedRange<UInt32> {
      #expect(answer.text.components(of: "\(Self.address(number)):\(origin.port)") == 1)
    }
    #expect(proxy.registry.value(.upstreamConnectFailures, .refused) == 1)
    try proxy.expectQuiet()
  }

  @Test("a name that leads nowhere is 502, for a tunnel as well")
  func nowhere() throws {
    try wire(lookup: { _ in .success([]) }) { origin, proxy in
      try proxy.connect().get(origin.url("/")).expectError(
        502, "the name does not exist or has no address", type: "dns_error")
      try proxy.connect().request("CONNECT", origin.authority).expectError(
        502, "the name does not exist or has no address", type: "dns_error", closes: true)
      #expect(proxy.registry.value(.upstreamConnectFailures, .resolution) == 2)
    }
  }

  // MARK: Too early

  @Test(
    "an answer that comes before the content of its request ends the upload", arguments: [200, 401])
  func early(status: Int) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().request(
        "POST", origin.url("/"), ["Content-Length: 50000000"])
      try client.send([UInt8](repeating: 0x61, count: 10_000))
      let upstream = try origin.accept()
      try upstream.expectHead()
      try upstream.respond(status, [], "enough")
      try client.expectResponse(status, ["Connection": "close"], content: "enough")
      // Neither connection can be used again.
      try upstream.expectIncomplete()
      try client.expectGone()
    }
  }
}

extension String {
  /// How often a text occurs.
  fileprivate func components(of text: String) -> Int {
    var count = 0
    var rest = self[...]
    while let range = rest.firstRange(of: text) {
      count += 1
      rest = rest[range.upperBound...]
    }
    return count
  }
}
