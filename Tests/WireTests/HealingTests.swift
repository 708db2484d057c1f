// Downloads that break upstream and go on: clients notice nothing, and each break has a record that says how it was
// healed. Where two versions would have to be mixed, the client is cut.

import Configuration
import Forensics
import Glibc
import Platform
import Support
import Telemetry
import Testing

/// A proxy that heals, and does not wait long for an origin.
func heal(
  retries: Int = 3, _ body: (WireOrigin, TestProxy, WireClient) throws -> Void
) throws {
  try wire(configure: { configuration, _ in
    configuration.upstream.retries = retries
    configuration.upstream.readTimeout = .milliseconds(500)
  }) { origin, proxy in
    try body(origin, proxy, proxy.connect())
  }
}

@Suite("Healing a fetch") struct HealingTests {
  private static let content = patterned(300_000)
  private static let strong = ["ETag: \"one\"", "Cache-Control: max-age=600"]

  /// Serves the beginning of the content, and breaks off.
  @discardableResult
  private func serveBeginning(
    _ origin: WireOrigin, _ proxy: TestProxy, _ count: Int, _ fields: [String] = strong,
    how: Means = .reset
  ) throws -> WireOriginConnection {
    let upstream = try origin.accept()
    try upstream.expectRequest()
    try upstream.send(head: 200, ["Content-Length: 300000"] + fields)
    try upstream.send(Array(Self.content[..<count]))
    try proxy.expect("the beginning") { $0.value(.upstreamReceived) >= UInt64(count) }
    switch how {
    case .reset: upstream.abort()
    case .finish: upstream.finish()
    default: break
    }
    return upstream
  }

  private func whole(
    _ upstream: WireOriginConnection, _ fields: [String], _ content: [UInt8]
  ) throws {
    try upstream.send(head: 200, ["Content-Length: \(content.count)"] + fields)
    // Who sees at the head that it is another version reads no further.
    upstream.trySending(content)
  }

  private func outcome(_ proxy: TestProxy, _ expected: EndingRecord.Resumption.Outcome) throws {
    try proxy.expect("a record of how it went on") { _ in
      proxy.server.recentEndings().contains { $0.resumption != nil }
    }
    let record = try #require(proxy.server.recentEndings().last { $0.resumption != nil })
    #expect(record.resumption?.outcome == expected, "\(String(describing: record.resumption))")
  }

  @Test(
    "from where it broke off, with a strong validator",
    arguments: [Means.reset, .finish, .timeout])
  func resumed(how: Means) throws {
    try heal { origin, proxy, client in
      try client.get(origin.url("/"))
      try serveBeginning(origin, proxy, 100_000, how: how)
      let second = try origin.accept()
      let request = try second.expectRequest()
      #expect(request["Range"] == "bytes=100000-")
      #expect(request["If-Range"] == "\"one\"")
      try second.send(
        head: 206,
        ["Content-Range: bytes 100000-299999/300000", "Content-Length: 200000"] + Self.strong)
      try second.send(Array(Self.content[100_000...]))
      try client.expectHead(200)
      #expect(try client.expectRest() == Self.content)
      try outcome(proxy, .resumed)
      try proxy.expectStored()
      // And it is stored like any other.
      let hit = try proxy.connect().get(origin.url("/"))
      try hit.expectHead(200)
      #expect(try hit.expectRest() == Self.content)
    }
  }

  @Test("again and again, as long as something comes each time")
  func manyTimes() throws {
    try heal(retries: 1) { origin, proxy, client in
      try client.get(origin.url("/"))
      try serveBeginning(origin, proxy, 70_000)
      for start in stride(from: 70_000, to: 300_000, by: 70_000) {
        let next = try origin.accept()
        let request = try next.expectRequest()
        #expect(request["Range"] == "bytes=\(start)-")
        try next.send(
          head: 206,
          [
            "Content-Range: bytes \(start)-299999/300000", "Content-Length: \(300_000 - start)",
          ] + Self.strong)
        let end = min(start + 70_000, 300_000)
        try next.send(Array(Self.content[start..<end]))
        guard end < 300_000 else { break }
        try proxy.expect("the part") { $0.value(.upstreamReceived) >= UInt64(end) }
        next.abort()
      }
      try client.expectHead(200)
      #expect(try client.expectRest() == Self.content)
    }
  }

  @Test(
    "from the start, where there are no ranges or no strong validator",
    arguments: [
      ["ETag: W/\"one\"", "Cache-Control: max-age=600"],
      ["Last-Modified: Mon, 02 Mar 2026 10:00:00 GMT", "Cache-Control: max-age=600"],
      ["ETag: \"one\"", "Accept-Ranges: none", "Cache-Control: max-age=600"],
      ["ETag: \"one\"", "Cache-Control: max-age=600"],
    ])
  func compared(fields: [String]) throws {
    try heal { origin, proxy, client in
      try client.get(origin.url("/"))
      try serveBeginning(origin, proxy, 100_000, fields)
      let second = try origin.accept()
      try second.expectRequest()
      try whole(second, fields, Self.content)
      try client.expectHead(200)
      #expect(try client.expectRest() == Self.content)
      try outcome(proxy, .compared)
    }
  }

  enum Change: CaseIterable, Sendable { case tag, length, beginning, gone, shorter }

  @Test("never mixed: another version cuts the client", arguments: Change.allCases)
  func changed(how: Change) throws {
    try heal { origin, proxy, client in
      try client.get(origin.url("/"))
      let fields =
        how == .beginning || how == .shorter
        ? ["ETag: W/\"one\"", "Cache-Control: max-age=600"] : Self.strong
      let first = try serveBeginning(origin, proxy, 100_000, fields, how: .abort)
      // Who has been told nothing yet gets an error, and not the beginning of one.
      try client.expectHead(200)
      let begun = try client.expectContent(100)
      first.abort()
      let second = try origin.accept()
      try second.expectRequest()
      var other = Self.content
      other[5] ^= 1
      switch how {
      case .tag: try whole(second, ["ETag: \"two\""], other)
      case .length: try whole(second, Self.strong, other + [0])
      case .beginning: try whole(second, fields, other)
      case .shorter:
        try second.send(head: 200, fields + ["Transfer-Encoding: chunked"])
        second.trySending(
          Array("3e8\r\n".utf8) + Self.content[..<1000] + Array("\r\n0\r\n\r\n".utf8))
      case .gone: try second.respond(404, [], "gone")
      }
      let got = try begun + client.expectIncomplete()
      #expect(got == Array(Self.content[..<got.count]))
      try outcome(proxy, .failed)
    }
  }

  @Test("asked once more where nothing had come", arguments: [Means.reset, .finish])
  func repeated(how: Means) throws {
    try heal { origin, proxy, client in
      try client.get(origin.url("/"))
      let first = try origin.accept()
      try first.expectRequest()
      if how == .reset { first.abort() } else { first.finish() }
      let second = try origin.accept()
      try second.expectRequest()
      try second.respond(200, Self.strong, "content")
      try client.expectResponse(200, content: "content")
      try outcome(proxy, .repeated)
    }
  }

  @Test("no more often than `upstream.retries` says, and then the error")
  func bounded() throws {
    try heal(retries: 2) { origin, proxy, client in
      try client.get(origin.url("/"))
      for _ in 0..<3 {
        let upstream = try origin.accept()
        try upstream.expectRequest()
        upstream.abort()
      }
      try client.expectError(502, "broke before an answer came", type: "connection_terminated")
      try origin.expectNothingElse()
      #expect(proxy.server.recentEndings().count == 3)
    }
  }

  @Test("small answers too, before and after their beginning is out")
  func small() throws {
    try heal { origin, proxy, client in
      try client.get(origin.url("/"))
      let first = try origin.accept()
      try first.expectRequest()
      try first.send(head: 200, ["Content-Length: 10"] + Self.strong).send("01234")
      try client.expectHead(200)
      #expect(try client.expectContent(5) == Array("01234".utf8))
      first.abort()
      let second = try origin.accept()
      let request = try second.expectRequest()
      #expect(request["Range"] == "bytes=5-")
      try second.respond(200, Self.strong, "0123456789")
      #expect(try client.expectRest() == Array("56789".utf8))
      try outcome(proxy, .compared)
    }
  }

  @Test(
    "a part that is not the one that was asked for is refused, and the whole compared",
    arguments: [
      ["Content-Range: bytes 99999-299999/300000", "Content-Length: 200001", "ETag: \"one\""],
      ["Content-Range: bytes 100000-299999/300001", "Content-Length: 200000", "ETag: \"one\""],
      ["Content-Range: bytes 100000-299998/300000", "Content-Length: 199999", "ETag: \"one\""],
      ["Content-Range: bytes 100000-299999/300000", "Content-Length: 200000", "ETag: \"two\""],
      ["Content-Range: bytes 100000-299999/300000", "Content-Length: 200000", "ETag: W/\"one\""],
      ["Content-Range: bytes 100000-299999/300000", "Content-Length: 200000"],
      [
        "Content-Type: multipart/byteranges; boundary=x", "Content-Length: 200000", "ETag: \"one\"",
      ],
      ["Content-Length: 200000", "ETag: \"one\""],
    ], [true, false])
  func wrongPart(fields: [String], isStorable: Bool) throws {
    try heal { origin, proxy, client in
      try client.get(origin.url("/"))
      let control = ["ETag: \"one\"", "Cache-Control: \(isStorable ? "max-age=600" : "no-store")"]
      try serveBeginning(origin, proxy, 100_000, control)
      let second = try origin.accept()
      #expect(try second.expectRequest()["Range"] == "bytes=100000-")
      try second.send(head: 206, fields)
      second.trySending(patterned(200_000, seed: 9))
      let third = try origin.accept()
      #expect(try third.expectRequest()["Range"] == nil)
      try whole(third, control, Self.content)
      try client.expectHead(200)
      #expect(try client.expectRest() == Self.content)
      try outcome(proxy, .compared)
    }
  }

  @Test("with weak validators and ranges, from 64 KiB before that, compared")
  func overlapping() throws {
    let fields = [
      "Last-Modified: Mon, 02 Mar 2026 10:00:00 GMT", "ETag: W/\"one\"", "Accept-Ranges: bytes",
      "Cache-Control: max-age=600",
    ]
    for isSame in [true, false] {
      try heal { origin, proxy, client in
        try client.get(origin.url("/"))
        let first = try serveBeginning(origin, proxy, 200_000, fields, how: .abort)
        try client.expectHead(200)
        let begun = try client.expectContent(100)
        first.abort()
        let second = try origin.accept()
        let request = try second.expectRequest()
        let from = 200_000 - 65_536
        #expect(request["Range"] == "bytes=\(from)-")
        #expect(request["If-Range"] == nil)
        var rest = Array(Self.content[from...])
        if !isSame { rest[70] ^= 1 }
        try second.send(
          head: 206,
          ["Content-Range: bytes \(from)-299999/300000", "Content-Length: \(rest.count)"] + fields)
        second.trySending(rest)
        if isSame {
          #expect(try begun + client.expectRest() == Self.content)
          try outcome(proxy, .compared)
        } else {
          let got = try begun + client.expectIncomplete()
          #expect(got == Array(Self.content[..<got.count]))
          try outcome(proxy, .failed)
        }
      }
    }
  }

  // MARK: For one client alone

  private static let unstored = "Cache-Control: no-store"

  @Test(
    "what is not stored goes on too, from where it broke off", arguments: [Means.reset, .finish])
  func relayed(how: Means) throws {
    try heal { origin, proxy, client in
      try client.get(origin.url("/"), "Authorization: Basic YTpi")
      try serveBeginning(origin, proxy, 100_000, ["ETag: \"one\"", Self.unstored], how: how)
      let second = try origin.accept()
      let request = try second.expectRequest()
      #expect(request["Range"] == "bytes=100000-")
      #expect(request["If-Range"] == "\"one\"")
      #expect(request["Authorization"] == "Basic YTpi")
      try second.send(
        head: 206,
        ["Content-Range: bytes 100000-299999/300000", "Content-Length: 200000", "ETag: \"one\""])
      try second.send(Array(Self.content[100_000...]))
      try client.expectHead(200)
      #expect(try client.expectRest() == Self.content)
      try outcome(proxy, .resumed)
      let record = try #require(proxy.server.recentEndings().first)
      #expect(record.transaction.client != nil)
      #expect(record.evidence.content.received == 100_000)
      #expect(record.evidence.content.delivered.map { $0 > 0 } == true)
    }
  }

  @Test("a part that a client asked for goes on to its end, and no further")
  func relayedPart() throws {
    try heal { origin, proxy, client in
      try client.get(
        origin.url("/"), "Range: bytes=1000-200999", "Cache-Control: no-store", "If-Range: \"one\"")
      let first = try origin.accept()
      try first.expectRequest()
      try first.send(
        head: 206,
        [
          "Content-Range: bytes 1000-200999/300000", "Content-Length: 200000", "ETag: \"one\"",
          Self.unstored,
        ])
      try first.send(Array(Self.content[1000..<51_000]))
      try proxy.expect("the beginning") { $0.value(.upstreamReceived) >= 50_000 }
      first.abort()
      let second = try origin.accept()
      let request = try second.expectRequest()
      #expect(request["Range"] == "bytes=51000-200999")
      #expect(request["If-Range"] == "\"one\"")
      try second.send(
        head: 206,
        ["Content-Range: bytes 51000-200999/300000", "Content-Length: 150000", "ETag: \"one\""])
      try second.send(Array(Self.content[51_000..<201_000]))
      try client.expectHead(206)
      #expect(try client.expectRest() == Array(Self.content[1000..<201_000]))
      try outcome(proxy, .resumed)
    }
  }

  @Test(
    "what is not stored and has no strong validator comes again, and is compared",
    arguments: ["ETag: W/\"one\"", "X-Nothing: to go by"], [true, false])
  func relayedCompared(validator: String, isSame: Bool) throws {
    try heal { origin, proxy, client in
      let fields = [validator, Self.unstored]
      try client.get(origin.url("/"))
      let first = try serveBeginning(origin, proxy, 100_000, fields, how: .abort)
      try client.expectHead(200)
      let begun = try client.expectContent(100)
      first.abort()
      let second = try origin.accept()
      #expect(try second.expectRequest()["Range"] == nil)
      var content = Self.content
      if !isSame { content[99_999] ^= 1 }
      try whole(second, fields, content)
      if isSame {
        #expect(try begun + client.expectRest() == Self.content)
        try outcome(proxy, .compared)
      } else {
        let got = try begun + client.expectIncomplete()
        #expect(got == Array(Self.content[..<got.count]))
        try outcome(proxy, .failed)
      }
    }
  }

  @Test("another version of what is not stored cuts the client")
  func relayedChanged() throws {
    try heal { origin, proxy, client in
      try client.get(origin.url("/"))
      let first = try serveBeginning(
        origin, proxy, 100_000, ["ETag: \"one\"", Self.unstored], how: .abort)
      try client.expectHead(200)
      let begun = try client.expectContent(100)
      first.abort()
      let second = try origin.accept()
      try second.expectRequest()
      try whole(second, ["ETag: \"two\""], patterned(300_000, seed: 2))
      let got = try begun + client.expectIncomplete()
      #expect(got == Array(Self.content[..<got.count]))
      try outcome(proxy, .failed)
    }
  }

  @Test("what changes something is not asked for twice")
  func unsafe() throws {
    try heal { origin, proxy, client in
      try client.request("DELETE", origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      upstream.abort()
      try client.expectError(502, "broke before an answer came", type: "connection_terminated")
      try origin.expectNothingElse()
    }
  }

  @Test("a safe request whose answer had not begun is made again", arguments: ["HEAD", "OPTIONS"])
  func relayedAgain(method: String) throws {
    try heal { origin, proxy, client in
      try client.request(method, origin.url("/"))
      let first = try origin.accept()
      try first.expectRequest()
      first.abort()
      let second = try origin.accept()
      try second.expectRequest()
      try second.send(head: 200, ["Content-Length: 0"])
      try client.expectHead(200, isHead: method == "HEAD")
      try outcome(proxy, .repeated)
    }
  }

  // MARK: Bounds

  @Test(
    "an origin that sends heads and nothing behind them is not asked for ever",
    arguments: [true, false])
  func headsOnly(isStorable: Bool) throws {
    try heal(retries: 2) { origin, proxy, client in
      try client.get(origin.url("/"))
      for _ in 0..<3 {
        let upstream = try origin.accept()
        try upstream.expectRequest()
        try upstream.send(
          head: 200,
          [
            "Content-Length: 10", "ETag: W/\"one\"",
            isStorable ? "Cache-Control: max-age=600" : Self.unstored,
          ])
        try proxy.expect("the head") { $0.value(.upstreamReceived) > 0 }
        upstream.abort()
      }
      try client.expectHead(200)
      #expect(try client.expectIncomplete() == [])
      try origin.expectNothingElse()
    }
  }

  @Test("where nobody was told of the first, another version will do")
  func startedOver() throws {
    try wire(configure: { configuration, _ in configuration.upstream.retries = 3 }) {
      origin, proxy in
      let stale = ["ETag: \"zero\"", "Cache-Control: max-age=0, stale-if-error=600"]
      let before = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, stale + ["Connection: close"], "zero")
      try before.expectResponse(200, content: "zero")
      try proxy.expectStored()
      // A stale answer may stand in for one that breaks off, so that nothing of it is shown before it is whole.
      let client = try proxy.connect().get(origin.url("/"))
      let first = try origin.accept()
      try first.expectRequest()
      try first.send(head: 200, ["Content-Length: 10", "ETag: \"one\""]).send("01234")
      try proxy.expect("the beginning") { $0.value(.upstreamReceived) > 100 }
      first.abort()
      let second = try origin.accept()
      try second.expectRequest()
      try second.respond(200, ["ETag: \"two\"", "Cache-Control: max-age=60"], "two")
      let third = try origin.accept()
      try third.expectRequest()
      try third.respond(200, ["ETag: \"two\"", "Cache-Control: max-age=60"], "two")
      try client.expectResponse(200, content: "two")
      try outcome(proxy, .repeated)
    }
  }

  @Test(
    "a kept connection that had ended, and another one behind it: both records say how it went on")
  func repetitions() throws {
    try heal { origin, proxy, client in
      try client.get(origin.url("/1"))
      let first = try origin.accept()
      try first.expectRequest()
      try first.respond(200, ["Cache-Control: no-store"], "one")
      try client.expectResponse(200, content: "one")
      try client.get(origin.url("/2"))
      try first.expectRequest()
      first.finish()
      let second = try origin.accept()
      try second.expectRequest()
      second.abort()
      let third = try origin.accept()
      try third.expectRequest()
      try third.respond(200, ["Cache-Control: no-store"], "two")
      try client.expectResponse(200, content: "two")
      let outcomes = proxy.server.recentEndings().map { $0.resumption?.outcome }
      #expect(outcomes == [.repeated, .repeated])
    }
  }

  #if DEBUG
    @Test(
      "a connection that ends while no file can be made for its answer: the download goes on all the same"
    )
    func lostWithoutFile() throws {
      try heal { origin, proxy, client in
        let plan = FaultPlan(
          in: .directory(proxy.scratchDirectory), failing: [.open], number: 1, with: .noSpace,
          repeats: true)
        plan.install()
        defer { plan.remove() }
        let content = patterned(100_000)
        try client.get(origin.url("/a"))
        let first = try origin.accept()
        try first.expectRequest()
        // Head, content and reset in one go: before the disk has said anything.
        let strong = ["ETag: \"one\"", "Cache-Control: max-age=60"]
        try first.send(
          Array(
            ("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
              + strong.map { $0 + "\r\n" }.joined() + "\r\n").utf8) + content[..<30_000])
        first.finish()
        let second = try origin.accept()
        if let range = try second.expectRequest()["range"] {
          let from = try #require(Int(range.dropFirst(6).dropLast()))
          let part = ["Content-Range: bytes \(from)-99999/100000"]
          try second.send(head: 206, strong + part + ["Content-Length: \(100_000 - from)"])
          try second.send(Array(content[from...]))
        } else {
          try second.send(head: 200, strong + ["Content-Length: 100000"]).send(content)
        }
        try client.expectHead(200)
        #expect(try client.expectRest() == content)
      }
    }
  #endif

  // MARK: Dead paths

  @Test("a silent origin's kernel is asked, and let be once its connection is idle")
  func probing() throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.deadAfter = .milliseconds(200)
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      let socket = try #require(Self.socket(to: origin.address))
      try proxy.expect("probes") { _ in Self.isProbed(socket) }
      try upstream.respond(200, ["Cache-Control: no-store"], "late")
      try client.expectResponse(200, content: "late")
      try proxy.expect("no probes") { _ in !Self.isProbed(socket) }
    }
  }

  /// A descriptor of this process that is connected to this address, and not accepted there.
  private static func socket(to address: SocketAddress) -> Int32? {
    (3..<65_536).first { fd in
      var peer = sockaddr_in()
      var size = socklen_t(MemoryLayout<sockaddr_in>.size)
      let result = withUnsafeMutableBytes(of: &peer) {
        getpeername(fd, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), &size)
      }
      return result == 0 && peer.sin_family == sa_family_t(AF_INET)
        && UInt16(bigEndian: peer.sin_port) == address.port
    }
  }

  private static func isProbed(_ fd: Int32) -> Bool {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &size) == 0 && value != 0
  }
}
