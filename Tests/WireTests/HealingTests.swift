// Downloads that break upstream and go on: clients notice nothing, and each break has a record that says how it was
// healed. Where two versions would have to be mixed, the client is cut.

import Configuration
import Forensics
import Platform
import Support
import Telemetry
import Testing

@Suite("Healing a fetch") struct HealingTests {
  private static let content = patterned(300_000)
  private static let strong = ["ETag: \"one\"", "Cache-Control: max-age=600"]

  private func heal(
    _ body: (WireOrigin, TestProxy, WireClient) throws -> Void, retries: Int = 3
  ) throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.retries = retries
      configuration.upstream.readTimeout = .milliseconds(500)
    }) { origin, proxy in
      try body(origin, proxy, proxy.connect())
    }
  }

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
    try heal(
      { origin, proxy, client in
        try client.get(origin.url("/"))
        try serveBeginning(origin, proxy, 50_000)
        for part in 1..<6 {
          let next = try origin.accept()
          let request = try next.expectRequest()
          #expect(request["Range"] == "bytes=\(part * 50_000)-")
          try next.send(
            head: 206,
            [
              "Content-Range: bytes \(part * 50_000)-299999/300000",
              "Content-Length: \(300_000 - part * 50_000)",
            ] + Self.strong)
          try next.send(Array(Self.content[(part * 50_000)..<((part + 1) * 50_000)]))
          guard part < 5 else { break }
          try proxy.expect("the part") {
            $0.value(.upstreamReceived) >= UInt64((part + 1) * 50_000)
          }
          next.abort()
        }
        try client.expectHead(200)
        #expect(try client.expectRest() == Self.content)
      }, retries: 1)
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

  enum Change: CaseIterable, Sendable { case tag, length, beginning, wrongPart, gone, shorter }

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
      case .wrongPart:
        try second.send(
          head: 206,
          ["Content-Range: bytes 99999-299999/300000", "Content-Length: 200001"] + Self.strong)
        second.trySending(Array(Self.content[99_999...]))
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
    try heal(
      { origin, proxy, client in
        try client.get(origin.url("/"))
        for _ in 0..<3 {
          let upstream = try origin.accept()
          try upstream.expectRequest()
          upstream.abort()
        }
        try client.expectError(502, "broke before an answer came", type: "connection_terminated")
        try origin.expectNothingElse()
        #expect(proxy.server.recentEndings().count == 3)
      }, retries: 2)
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
}
