// Origins whose second answer is not what its head says: nobody may be given, and nothing may be stored of, what is too
// short, too long, or put together from two versions.

import Configuration
import Forensics
import Platform
import Support
import Telemetry
import Testing

@Suite("Healing, and doubtful origins") struct HealingDoubtTests {
  private static let content = patterned(10_000)
  private static let tag = "ETag: \"one\""

  /// What of an answer is to be had by whom.
  enum Use: String, CaseIterable, Sendable {
    case stored = "Cache-Control: max-age=600"
    case relayed = "Cache-Control: no-store"
  }

  enum Framing: String, CaseIterable, Sendable {
    case length = "Content-Length: 10000"
    case chunked = "Transfer-Encoding: chunked"
    case close = "Connection: close"

    func frame(_ bytes: some Collection<UInt8>, isWhole: Bool) -> [UInt8] {
      guard self == .chunked else { return Array(bytes) }
      return Array("\(String(bytes.count, radix: 16))\r\n".utf8) + bytes
        + Array((isWhole ? "\r\n0\r\n\r\n" : "\r\n").utf8)
    }
  }

  /// Half of the content, and a reset once the client has some of it.
  private func begin(
    _ origin: WireOrigin, _ client: WireClient, _ fields: [String], _ framing: Framing = .length
  ) throws -> [UInt8] {
    try client.get(origin.url("/"))
    let first = try origin.accept()
    try first.expectRequest()
    try first.send(head: 200, fields + [framing.rawValue])
    try first.send(framing.frame(Self.content[..<5000], isWhole: false))
    try client.expectHead(200)
    let begun = try client.expectContent(100)
    first.abort()
    return begun
  }

  private func lastOutcome(
    _ proxy: TestProxy, of count: Int = 1
  ) throws -> EndingRecord.Resumption.Outcome? {
    try proxy.expect("records of how it went on") { _ in
      proxy.server.recentEndings().count { $0.resumption != nil } >= count
    }
    // The youngest comes first.
    return proxy.server.recentEndings().first { $0.resumption != nil }?.resumption?.outcome
  }

  private func expectNothingStored(_ origin: WireOrigin, _ proxy: TestProxy) throws {
    let other = try proxy.connect().get(origin.url("/"))
    let upstream = try origin.accept()
    #expect(try upstream.expectRequest()["Range"] == nil)
    try upstream.respond(200, ["Cache-Control: no-store"], "anew")
    try other.expectResponse(200, content: "anew")
  }

  @Test(
    "a part that ends early is a connection that broke once more", arguments: Use.allCases,
    [Framing.length, .chunked])
  func shortPart(use: Use, framing: Framing) throws {
    try heal { origin, proxy, client in
      let begun = try begin(origin, client, [Self.tag, use.rawValue], framing)
      let second = try origin.accept()
      #expect(try second.expectRequest()["Range"] == "bytes=5000-")
      try second.send(
        head: 206,
        [Self.tag, "Content-Range: bytes 5000-9999/10000", Framing.close.rawValue])
      try second.send(Array(Self.content[5000..<8000]))
      second.finish()
      let third = try origin.accept()
      #expect(try third.expectRequest()["Range"] == "bytes=8000-")
      try third.send(
        head: 206,
        [Self.tag, "Content-Range: bytes 8000-9999/10000", Framing.close.rawValue])
      try third.send(Array(Self.content[8000...]))
      third.finish()
      #expect(try begun + client.expectRest() == Self.content)
      #expect(try lastOutcome(proxy) == .resumed)
    }
  }

  @Test(
    "a part that says it has ended, and is shorter or longer than its Content-Range, cuts the client",
    arguments: Use.allCases, [Framing.length, .chunked])
  func wrongLength(use: Use, framing: Framing) throws {
    for (part, how) in [
      (Self.content[5000..<8000], Framing.chunked),
      (Self.content[5000...] + Self.content[..<1000], .chunked),
      (Self.content[5000...] + Self.content[..<1000], .close),
    ] {
      try heal { origin, proxy, client in
        let begun = try begin(origin, client, [Self.tag, use.rawValue], framing)
        let second = try origin.accept()
        #expect(try second.expectRequest()["Range"] == "bytes=5000-")
        try second.send(
          head: 206, [Self.tag, "Content-Range: bytes 5000-9999/10000", how.rawValue])
        second.trySending(how.frame(part, isWhole: true))
        second.finish()
        let got = try begun + client.expectIncomplete()
        #expect(got == Array(Self.content[..<got.count]))
        try expectNothingStored(origin, proxy)
      }
    }
  }

  @Test("a part near the end of all numbers, of another length than it says")
  func hugePart() throws {
    try heal { origin, proxy, client in
      try client.get(
        origin.url("/"), "Range: bytes=9223372036854775800-", "Cache-Control: no-store")
      let first = try origin.accept()
      try first.expectRequest()
      try first.send(
        head: 206,
        [
          Self.tag, Use.relayed.rawValue, Framing.chunked.rawValue,
          "Content-Range: bytes 9223372036854775800-9223372036854775804/9223372036854775806",
        ])
      first.trySending(Framing.chunked.frame(Self.content[..<1000], isWhole: false))
      first.abort()
      try client.expectHead(206)
      #expect(try client.expectIncomplete().isEmpty)
      try expectNothingStored(origin, proxy)
    }
  }

  @Test("a date as young as the answer vouches for nothing: the whole comes again, and is compared")
  func youngDate() throws {
    let content = patterned(300_000)
    try heal { origin, proxy, client in
      let fields = [
        "Date: Mon, 02 Mar 2026 10:00:00 GMT", "Last-Modified: Mon, 02 Mar 2026 10:00:00 GMT",
        "Accept-Ranges: bytes", Use.stored.rawValue, "Content-Length: 300000",
      ]
      try client.get(origin.url("/"))
      let first = try origin.accept()
      try first.expectRequest()
      try first.send(head: 200, fields)
      try first.send(Array(content[..<200_000]))
      try client.expectHead(200)
      let begun = try client.expectContent(100)
      first.abort()
      let second = try origin.accept()
      #expect(try second.expectRequest()["Range"] == nil)
      var other = content
      (other[10], other[299_990]) = (0, 0)
      try second.send(head: 200, fields)
      second.trySending(other)
      let got = try begun + client.expectIncomplete()
      #expect(got == Array(content[..<got.count]))
    }
  }

  @Test("compressed content is never joined on the word of a tag", arguments: Use.allCases)
  func coded(use: Use) throws {
    for isSame in [true, false] {
      try heal { origin, proxy, client in
        let fields = [Self.tag, use.rawValue, "Content-Encoding: gzip", "Accept-Ranges: bytes"]
        let begun = try begin(origin, client, fields)
        let second = try origin.accept()
        #expect(try second.expectRequest()["Range"] == nil)
        var content = Self.content
        if !isSame { content[4000] ^= 1 }
        try second.send(head: 200, fields + [Framing.length.rawValue])
        second.trySending(content)
        if isSame {
          #expect(try begun + client.expectRest() == Self.content)
        } else {
          let got = try begun + client.expectIncomplete()
          #expect(got == Array(Self.content[..<got.count]))
        }
      }
    }
  }

  @Test(
    "the whole under the same strong tag is compared all the same", arguments: Use.allCases,
    ["Accept-Ranges: none", "Accept-Ranges: bytes", "X-Nothing: said"])
  func sameTag(use: Use, ranges: String) throws {
    try heal { origin, proxy, client in
      let fields = [Self.tag, use.rawValue, ranges, Framing.length.rawValue]
      let begun = try begin(origin, client, [Self.tag, use.rawValue, ranges])
      let second = try origin.accept()
      try second.expectRequest()
      var other = Self.content
      other[4000] ^= 1
      try second.send(head: 200, fields)
      second.trySending(other)
      let got = try begun + client.expectIncomplete()
      #expect(got == Array(Self.content[..<got.count]))
      try expectNothingStored(origin, proxy)
    }
  }

  @Test("a byte for each connection is not getting on", arguments: Use.allCases)
  func byteByByte(use: Use) throws {
    try heal(retries: 2) { origin, proxy, client in
      let begun = try begin(origin, client, [Self.tag, use.rawValue])
      for start in 5000..<5002 {
        let next = try origin.accept()
        #expect(try next.expectRequest()["Range"] == "bytes=\(start)-")
        try next.send(
          head: 206,
          [
            Self.tag, "Content-Range: bytes \(start)-9999/10000",
            "Content-Length: \(10_000 - start)",
          ])
        try next.send([Self.content[start]])
        next.abort()
      }
      let got = try begun + client.expectIncomplete()
      #expect(got == Array(Self.content[..<got.count]))
      try origin.expectNothingElse()
      #expect(try lastOutcome(proxy, of: 3) == .failed)
    }
  }

  @Test("a head without a byte behind it heals nothing", arguments: Use.allCases)
  func headOnly(use: Use) throws {
    try heal(retries: 1) { origin, proxy, client in
      let begun = try begin(origin, client, [Self.tag, use.rawValue])
      let second = try origin.accept()
      try second.expectRequest()
      try second.send(
        head: 206,
        [Self.tag, "Content-Range: bytes 5000-9999/10000", "Content-Length: 5000"])
      second.abort()
      let got = try begun + client.expectIncomplete()
      #expect(got == Array(Self.content[..<got.count]))
      #expect(try lastOutcome(proxy) == .failed)
      #expect(
        proxy.server.recentEndings().allSatisfy { $0.resumption?.outcome != .resumed })
    }
  }
}
