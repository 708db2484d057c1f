// Answers that broke off: what came is kept, answers ranges that lie in it, and is completed by asking for the rest
// only (RFC 9111 §3.3, §3.4). It is never passed off as whole, and never joined to anything it does not fit.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite("Completing what broke off")
struct CompletionTests {
  private static let whole = patterned(300_000)
  private static let cut = 200_000

  private let fields = ["Cache-Control: max-age=600", "ETag: \"v\""]

  /// Fetches `/a` until the origin breaks off.
  private func breakOff(
    _ origin: WireOrigin, _ proxy: TestProxy, _ fields: [String]? = nil, isChunked: Bool = false,
    at count: Int = cut
  ) throws {
    let client = try proxy.connect().get(origin.url("/a"))
    let upstream = try origin.accept()
    try upstream.expectRequest()
    let part = Array(Self.whole[..<count])
    if isChunked {
      try upstream.send(head: 200, (fields ?? self.fields) + ["Transfer-Encoding: chunked"])
      try upstream.sendChunk(part)
    } else {
      try upstream.send(
        head: 200, (fields ?? self.fields) + ["Content-Length: \(Self.whole.count)"])
      try upstream.send(part)
    }
    try client.expectHead(200)
    #expect(try client.expectContent(count) == part)
    upstream.abort()
    #expect(try client.expectIncomplete() == [])
    try proxy.expectStored()
    proxy.settleDisk()
    #expect(
      proxy.server.store.statistics.incompletes == 1,
      "what came of it is kept")
  }

  private func expectWhole(_ origin: WireOrigin, _ proxy: TestProxy) throws {
    try proxy.expectStored()
    let client = try proxy.connect().get(origin.url("/a"))
    let head = try client.expectHead(200, ["Content-Length": "\(Self.whole.count)"])
    #expect(head["Cache-Status"]?.hasPrefix("Holdfast; hit") == true)
    #expect(try client.expectRest() == Self.whole)
    try origin.expectNothingElse()
    #expect(proxy.server.store.statistics.incompletes == 0)
  }

  @Test(
    "the next request gets everything, and the origin is asked for the rest only",
    arguments: [true, false], [true, false])
  func completed(isChunked: Bool, byRestart: Bool) throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy, isChunked: isChunked)
      if byRestart { try proxy.restart() }
      let client = try proxy.connect().get(origin.url("/a"))
      let upstream = try origin.accept()
      let request = try upstream.expectRequest()
      #expect(request["Range"] == "bytes=\(Self.cut)-")
      #expect(request["If-Range"] == "\"v\"")
      #expect(request["If-None-Match"] == nil)
      try upstream.send(
        head: 206,
        fields + [
          "Content-Range: bytes \(Self.cut)-\(Self.whole.count - 1)/\(Self.whole.count)",
          "Content-Length: \(Self.whole.count - Self.cut)", "Connection: close",
        ])
      // The beginning is there at once, before a byte of the rest.
      let head = try client.expectHead(200, ["Content-Length": "\(Self.whole.count)"])
      #expect(
        roundedUp(head["Cache-Status"]) == "Holdfast; fwd=partial; fwd-status=206; stored; ttl=600")
      #expect(head["Content-Range"] == nil)
      #expect(try client.expectContent(Self.cut) == Array(Self.whole[..<Self.cut]))
      try upstream.send(Array(Self.whole[Self.cut...]))
      #expect(try client.expectRest() == Array(Self.whole[Self.cut...]))
      #expect(proxy.registry.value(.completedBytes) == Int64(Self.cut))
      try expectWhole(origin, proxy)
    }
  }

  @Test("a range that lies in what is there is answered from it while it is fresh; others are not")
  func ranges() throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy)
      let client = try proxy.connect()
      for (range, bytes) in [
        ("bytes=0-99", 0..<100), ("bytes=150000-199999", 150_000..<200_000),
        ("bytes=0-0", 0..<1),
      ] {
        try client.get(origin.url("/a"), "Range: \(range)")
        let head = try client.expectHead(
          206,
          ["Content-Range": "bytes \(bytes.lowerBound)-\(bytes.upperBound - 1)/300000"])
        #expect(head["Cache-Status"]?.hasPrefix("Holdfast; hit; ttl=") == true)
        #expect(try client.expectRest() == Array(Self.whole[bytes]))
      }
      // Of another version.
      try origin.expectNothingElse()
      try client.get(origin.url("/a"), "Range: bytes=199999-200000")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["Range"] == "bytes=\(Self.cut)-")
      try upstream.send(
        head: 206,
        fields + [
          "Content-Range: bytes 200000-299999/300000", "Content-Length: 100000",
          "Connection: close",
        ])
      try upstream.send(Array(Self.whole[Self.cut...]))
      try client.expectHead(206, ["Content-Range": "bytes 199999-200000/300000"])
      #expect(try client.expectRest() == Array(Self.whole[199_999...200_000]))
      try expectWhole(origin, proxy)
    }
  }

  @Test(
    "stale, it answers nothing by itself, but its bytes still count once the origin confirms them")
  func stale() throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy, ["Cache-Control: max-age=0", "ETag: \"v\""])
      let client = try proxy.connect().get(origin.url("/a"), "Range: bytes=0-99")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["If-Range"] == "\"v\"")
      try upstream.send(
        head: 206,
        fields + [
          "Content-Range: bytes 200000-299999/300000", "Content-Length: 100000",
          "Connection: close",
        ])
      try upstream.send(Array(Self.whole[Self.cut...]))
      try client.expectHead(206)
      #expect(try client.expectRest() == Array(Self.whole[..<100]))
      try expectWhole(origin, proxy)
    }
  }

  @Test("a 200 starts over: it has changed")
  func changed() throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy)
      let client = try proxy.connect().get(origin.url("/a"))
      let content = String(repeating: "new", count: 30_000)
      let request = try origin.serve(
        200, ["Cache-Control: max-age=600", "ETag: \"w\"", "Connection: close"], content)
      #expect(request["Range"] != nil)
      let answer = try client.expectResponse(200, ["ETag": "\"w\""], content: content)
      #expect(answer["Cache-Status"]?.contains("fwd=uri-miss; fwd-status=200; stored") == true)
      try proxy.expectStored()
      proxy.server.store.flush()
      #expect(proxy.server.store.statistics.incompletes == 0)
      try client.get(origin.url("/a")).expectResponse(200, content: content)
      try origin.expectNothingElse()
    }
  }

  struct Misfit: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var status = 206
    var fields: [String]
  }

  private static let misfits = [
    Misfit(
      testDescription: "another tag",
      fields: ["ETag: \"w\"", "Content-Range: bytes 200000-299999/300000"]),
    Misfit(testDescription: "no tag", fields: ["Content-Range: bytes 200000-299999/300000"]),
    Misfit(
      testDescription: "another place",
      fields: ["ETag: \"v\"", "Content-Range: bytes 199999-299999/300000"]),
    Misfit(
      testDescription: "another length",
      fields: ["ETag: \"v\"", "Content-Range: bytes 200000-399999/400000"]),
    Misfit(
      testDescription: "only a part of the rest",
      fields: ["ETag: \"v\"", "Content-Range: bytes 200000-249999/300000"]),
    Misfit(testDescription: "no Content-Range", fields: ["ETag: \"v\""]),
    Misfit(testDescription: "416", status: 416, fields: ["Content-Range: bytes */300000"]),
    Misfit(testDescription: "304", status: 304, fields: ["ETag: \"v\""]),
  ]

  @Test("what does not fit is not joined: the whole is asked for anew", arguments: misfits)
  func misfit(_ misfit: Misfit) throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy)
      let client = try proxy.connect().get(origin.url("/a"))
      let first = try origin.accept()
      #expect(try first.expectRequest()["Range"] != nil)
      try first.send(head: misfit.status, misfit.fields + ["Connection: close"])
      first.trySending(misfit.status == 206 ? [UInt8](repeating: 7, count: 100_000) : [])
      let second = try origin.accept()
      let request = try second.expectRequest()
      #expect(request["Range"] == nil && request["If-Range"] == nil)
      try second.send(
        head: 200, fields + ["Content-Length: \(Self.whole.count)", "Connection: close"])
      try second.send(Self.whole)
      let head = try client.expectHead(200)
      #expect(head["Cache-Status"]?.contains("fwd=uri-miss; fwd-status=200; stored") == true)
      #expect(try client.expectRest() == Self.whole)
      proxy.server.store.flush()
      try expectWhole(origin, proxy)
    }
  }

  @Test(
    "an origin that fails or does not answer takes nothing away: the next one goes on",
    arguments: [true, false])
  func failure(answers: Bool) throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy)
      let client = try proxy.connect().get(origin.url("/a"))
      if answers {
        try origin.serve(503, ["Connection: close"], "later")
        try client.expectResponse(503, content: "later")
      } else {
        let upstream = try origin.accept()
        try upstream.expectRequest()
        upstream.abort()
        try client.expectError(502, "")
      }
      try proxy.expectStored()
      #expect(proxy.server.store.statistics.incompletes == 1)
      try client.get(origin.url("/a"), "Range: bytes=0-9").expectHead(206)
      #expect(try client.expectRest() == Array(Self.whole[..<10]))
      try origin.expectNothingElse()
    }
  }

  @Test("what breaks off again is kept up to there")
  func again() throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy)
      let client = try proxy.connect().get(origin.url("/a"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(
        head: 206,
        fields + ["Content-Range: bytes 200000-299999/300000", "Content-Length: 100000"])
      try upstream.send(Array(Self.whole[200_000..<250_000]))
      try client.expectHead(200)
      #expect(try client.expectContent(250_000) == Array(Self.whole[..<250_000]))
      upstream.abort()
      #expect(try client.expectIncomplete() == [])
      try proxy.expectStored()
      proxy.settleDisk()
      let next = try proxy.connect().get(origin.url("/a"))
      let last = try origin.accept()
      #expect(try last.expectRequest()["Range"] == "bytes=250000-")
      try last.send(
        head: 206,
        fields + [
          "Content-Range: bytes 250000-299999/300000", "Content-Length: 50000",
          "Connection: close",
        ])
      try last.send(Array(Self.whole[250_000...]))
      try next.expectHead(200)
      #expect(try next.expectRest() == Self.whole)
      try expectWhole(origin, proxy)
    }
  }

  @Test("an origin that sends less than it says it would does not complete it")
  func shortRest() throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy)
      let client = try proxy.connect().get(origin.url("/a"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(
        head: 206,
        fields + ["Content-Range: bytes 200000-299999/300000", "Transfer-Encoding: chunked"])
      try upstream.sendChunk(Array(Self.whole[200_000..<250_000]))
      try client.expectHead(200)
      #expect(try client.expectContent(250_000) == Array(Self.whole[..<250_000]))
      try upstream.sendLastChunk()
      #expect(try client.expectIncomplete() == [])
      try proxy.expectStored()
      let next = try proxy.connect().get(origin.url("/a"))
      upstream.close()
      let last = try origin.accept()
      try last.expectRequest()
      try last.respond(404, ["Connection: close"], "gone")
      try next.expectResponse(404)
    }
  }

  @Test("a client's own range that is relayed is never stored, nor taken for the whole")
  func relayedPart() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(
        origin.url("/a"), "Range: bytes=0-9", "Cache-Control: no-store")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["Range"] == "bytes=0-9")
      try upstream.send(
        head: 206,
        fields + [
          "Content-Range: bytes 0-9/300000", "Content-Length: 10", "Connection: close",
        ])
      try upstream.send(Array(Self.whole[..<10]))
      try client.expectHead(206)
      #expect(try client.expectRest() == Array(Self.whole[..<10]))
      let next = try proxy.connect().get(origin.url("/a"))
      let second = try origin.accept()
      #expect(try second.expectRequest()["Range"] == nil)
      try second.send(
        head: 200, fields + ["Content-Length: \(Self.whole.count)", "Connection: close"])
      try second.send(Self.whole)
      try next.expectHead(200)
      #expect(try next.expectRest() == Self.whole)
    }
  }

  @Test("what an unsafe request has changed is not completed")
  func invalidated() throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy)
      let client = try proxy.connect().request("DELETE", origin.url("/a"))
      try origin.serve(200, ["Connection: close"], "done")
      try client.expectResponse(200)
      try client.get(origin.url("/a"))
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["Range"] == nil)
      try upstream.respond(404, ["Connection: close"], "gone")
      try client.expectResponse(404)
    }
  }

  // MARK: Overtaken

  enum Removal: CaseIterable { case unsafeRequest, purge }

  private func remove(_ how: Removal, _ origin: WireOrigin, _ proxy: TestProxy) throws {
    switch how {
    case .unsafeRequest:
      let client = try proxy.connect().request("DELETE", origin.url("/a"))
      try origin.serve(200, ["Connection: close"], "done")
      try client.expectResponse(200)
    case .purge:
      try proxy.server.store.purge(.prefix(Array(origin.url("/").utf8)))
    }
  }

  /// Nothing is kept, and a range is asked of the origin.
  private func expectNothingKept(_ origin: WireOrigin, _ proxy: TestProxy) throws {
    try proxy.expectStored()
    proxy.settleDisk()
    #expect(proxy.server.store.statistics.incompletes == 0)
    let client = try proxy.connect().get(origin.url("/a"), "Range: bytes=0-99")
    try origin.serve(404, ["Connection: close"], "gone")
    try client.expectResponse(404, content: "gone")
  }

  @Test(
    "what is changed or purged while it is fetched does not come back as its beginning",
    arguments: Removal.allCases, [true, false])
  func removedWhileFetched(how: Removal, byClient: Bool) throws {
    try wire(configure: { configuration, _ in
      configuration.upstream.orphans.finishBelow = .kib(1)
      configuration.upstream.orphans.finishAbove = 100
    }) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/a"))
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, fields + ["Content-Length: \(Self.whole.count)"])
      try upstream.send(Array(Self.whole[..<Self.cut]))
      try client.expectHead(200)
      try client.expectContent(Self.cut)
      try remove(how, origin, proxy)
      if byClient {
        client.abort()
        try upstream.expectGone()
      } else {
        upstream.abort()
        try client.expectIncomplete()
      }
      try expectNothingKept(origin, proxy)
    }
  }

  @Test(
    "nor does what a fetch was to complete, when the origin has nothing to say",
    arguments: Removal.allCases, [true, false])
  func removedWhileCompleted(how: Removal, answers: Bool) throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy)
      let client = try proxy.connect().get(origin.url("/a"))
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["Range"] != nil)
      try remove(how, origin, proxy)
      if answers {
        try upstream.respond(503, ["Connection: close"], "later")
        try client.expectResponse(503, content: "later")
      } else {
        upstream.abort()
        try client.expectError(502, "")
      }
      try expectNothingKept(origin, proxy)
    }
  }

  @Test("a request whose answer is for itself alone takes nothing away from others")
  func authorization() throws {
    try wire { origin, proxy in
      try breakOff(origin, proxy)
      let client = try proxy.connect().get(origin.url("/a"), "Authorization: Basic YTpi")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["Range"] == nil)
      try upstream.respond(200, fields + ["Connection: close"], "mine")
      try client.expectResponse(200, content: "mine")
      try proxy.expectStored()
      #expect(proxy.server.store.statistics.incompletes == 1)
    }
  }
}
