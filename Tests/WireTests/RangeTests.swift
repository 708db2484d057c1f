// Several ranges in one answer (multipart/byteranges), from every place content can lie in; ranges of content
// that is still coming; and when Accept-Ranges is told.

import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct RangeTests {
  private static let fresh = ["Cache-Control: max-age=600", "Content-Type: application/x-tar"]

  /// Where the content lies that is asked for.
  enum Place: CaseIterable {
    /// In memory; in a file.
    case small, large
    /// On its way, its length known.
    case growing
    /// Nowhere: this very request has it fetched.
    case missing
  }

  /// The parts of an answer, taken apart by its boundary and checked for their form.
  static func parts(
    _ answer: WireResponse, length: Int, type: String = "application/x-tar"
  ) throws -> [(range: Range<Int>, bytes: ArraySlice<UInt8>)] {
    let field = try #require(answer["Content-Type"])
    let prefix = "multipart/byteranges; boundary="
    try #require(field.hasPrefix(prefix))
    #expect(answer["Content-Range"] == nil)
    #expect(answer["Content-Length"] == "\(answer.content.count)")
    let boundary = "--" + field.dropFirst(prefix.count)
    var parts: [(range: Range<Int>, bytes: ArraySlice<UInt8>)] = []
    var rest = answer.content[...]
    func take(_ text: String) throws {
      try #require(rest.starts(with: text.utf8), "\(text)")
      rest = rest.dropFirst(text.utf8.count)
    }
    while true {
      try take((parts.isEmpty ? "" : "\r\n") + boundary)
      if rest.elementsEqual("--\r\n".utf8) { return parts }
      try take("\r\nContent-Type: \(type)\r\nContent-Range: bytes ")
      let line = rest.prefix { $0 != 13 }
      rest = rest.dropFirst(line.count)
      try take("\r\n\r\n")
      let numbers = String(decoding: line, as: UTF8.self).split { "-/".contains($0) }
      let values = numbers.compactMap { Int($0) }
      try #require(values.count == 3 && values[2] == length && values[0] <= values[1])
      let range = values[0]..<values[1] + 1
      parts.append((range, rest.prefix(range.count)))
      rest = rest.dropFirst(range.count)
    }
  }

  @Test(
    "several ranges are parts of one answer, wherever the content lies", arguments: Place.allCases)
  func several(place: Place) throws {
    try wire { origin, proxy in
      let content = patterned(place == .small ? 5000 : 300_000)
      let length = content.count
      var upstream: WireOriginConnection?
      var rest = content[...]
      func begin() throws {
        let connection = try origin.accept()
        // Whatever part a client wants, the whole is fetched.
        #expect(try connection.expectRequest()["Range"] == nil)
        try connection.send(head: 200, Self.fresh + ["Content-Length: \(length)"])
        upstream = connection
      }
      func sendRest() throws {
        try upstream?.send(Array(rest))
        rest = []
      }
      if place != .missing {
        let first = try proxy.connect().get(origin.url("/"))
        try begin()
        if place == .growing {
          try upstream?.send(Array(content[..<1000]))
          rest = content[1000...]
          try first.expectHead(200)
          try first.expectContent(1000)
        } else {
          try sendRest()
          try first.expectResponse(200)
          try proxy.expectStored()
        }
      }
      let client = try proxy.connect()
      let asked = "bytes=\(length - 10)-, 0-9,100-199,200-299, 4000-4499,\(length)-"
      try client.get(origin.url("/"), "Range: \(asked)")
      if place == .missing { try begin() }
      let head = try client.expectHead(206)
      if place == .growing || place == .missing { try sendRest() }
      let answer = WireResponse(head: head, content: try client.expectRest())
      let parts = try Self.parts(answer, length: length)
      // In the order asked for, unless that would mean to wait for the end before the start.
      var expected = [length - 10..<length, 0..<10, 100..<300, 4000..<4500]
      if place == .growing || place == .missing { expected.sort { $0.lowerBound < $1.lowerBound } }
      #expect(parts.map(\.range) == expected)
      for part in parts { #expect(part.bytes == content[part.range]) }
      // The connection is where it should be.
      try proxy.expectStored()
      try client.get(origin.url("/"))
      #expect(try client.expectResponse(200).content == content)
      try origin.expectNothingElse()
    }
  }

  @Test("a client that reads slowly gets many large parts whole")
  func slowReader() throws {
    try wire { origin, proxy in
      let content = patterned(1 << 20)
      let filling = try proxy.connect().get(origin.url("/"))
      try origin.accept().expectAndSend(content, Self.fresh)
      try filling.expectResponse(200)
      try proxy.expectStored()
      let client = try proxy.connect()
      try client.shrinkReceiveBuffer(to: 32768)
      let ranges = (0..<200).reversed().map { $0 * 5_000..<$0 * 5_000 + 4_000 }
      let asked = ranges.map { "\($0.lowerBound)-\($0.upperBound - 1)" }.joined(separator: ",")
      try client.get(origin.url("/"), "Range: bytes=\(asked)")
      let parts = try Self.parts(client.expectResponse(206), length: content.count)
      #expect(parts.map(\.range) == ranges)
      for part in parts { #expect(part.bytes == content[part.range]) }
    }
  }

  @Test("two answers never have the same boundary, and each is long enough not to be met by chance")
  func boundaries() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, Self.fresh + ["Connection: close"], "0123456789")
      try client.expectResponse(200)
      try proxy.expectStored()
      var seen: Set<String> = []
      for _ in 0..<5 {
        try client.get(origin.url("/"), "Range: bytes=0-1,5-6")
        let answer = try client.expectResponse(206)
        #expect(
          try Self.parts(answer, length: 10).map { Array($0.bytes) } == [[48, 49], [53, 54]])
        let boundary = try #require(answer["Content-Type"]?.split(separator: "=").last)
        #expect(boundary.count >= 32)
        #expect(seen.insert(String(boundary)).inserted)
      }
    }
  }

  @Test(
    "a list that would send more than the whole, or bytes twice, gets the whole",
    arguments: [
      "bytes=0-50,60-70,40-65", "bytes=0-9,20-29,0-9",
      "bytes=" + (0..<256).map { "\($0 * 3)-\($0 * 3)" }.joined(separator: ","),
      "bytes=" + (0..<257).map { "\($0 * 3)-\($0 * 3)" }.joined(separator: ","),
      "bytes=0-9,x", "bytes=0-9,9-8",
    ])
  func excessive(range: String) throws {
    try wire { origin, proxy in
      let content = String(repeating: "0123456789", count: 100)
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, Self.fresh + ["Connection: close"], content)
      try client.expectResponse(200)
      try proxy.expectStored()
      try client.get(origin.url("/"), "Range: \(range)").expectResponse(200, content: content)
    }
  }

  @Test("a list of which nothing can be satisfied is 416, one that leaves one range is that range")
  func reducedLists() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, Self.fresh + ["Connection: close"], "0123456789")
      try client.expectResponse(200)
      try proxy.expectStored()
      try client.get(origin.url("/"), "Range: bytes=10-,20-30")
        .expectResponse(416, ["Content-Range": "bytes */10", "Content-Length": "0"])
      try client.get(origin.url("/"), "Range: bytes=10-,2-3,20-")
        .expectResponse(206, ["Content-Range": "bytes 2-3/10"], content: "23")
      // HEAD knows no ranges (RFC 9110 §14.2).
      try client.request("HEAD", origin.url("/"), ["Range: bytes=2-3"])
      let head = try client.expectResponse(200, ["Content-Length": "10"], isHead: true)
      #expect(head["Content-Range"] == nil)
      // A condition that does not hold: the whole (§13.1.5).
      try client.get(origin.url("/"), "Range: bytes=0-1,5-6", "If-Range: \"x\"")
        .expectResponse(200, content: "0123456789")
    }
  }

  @Test("no range of nothing can be satisfied")
  func nothing() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, Self.fresh + ["Connection: close"])
      try client.expectResponse(200)
      try proxy.expectStored()
      for range in ["bytes=0-", "bytes=0-0", "bytes=0-0,5-6", "bytes=-0"] {
        try client.get(origin.url("/"), "Range: \(range)")
          .expectResponse(416, ["Content-Range": "bytes */0"])
      }
      // Its last bytes are there, all none of them; but no 206 can say so.
      try client.get(origin.url("/"), "Range: bytes=-5").expectResponse(200, content: "")
    }
  }

  @Test("a range of content whose length nobody knows waits until the content is beyond it")
  func waitsForUnknownLength() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "Range: bytes=8-11")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, Self.fresh + ["Transfer-Encoding: chunked"])
      try proxy.send([Array("a\r\n0123456789\r\n".utf8)], from: upstream)
      #expect(!client.hasUnread)
      let short = try proxy.connect().get(origin.url("/"), "Range: bytes=14-99")
      let none = try proxy.connect().get(origin.url("/"), "Range: bytes=99-999")
      try upstream.sendChunk("abcdef")
      try client.expectResponse(206, ["Content-Range": "bytes 8-11/*"], content: "89ab")
      try upstream.sendLastChunk()
      // Now the length is known.
      try short.expectResponse(206, ["Content-Range": "bytes 14-15/16"], content: "ef")
      try none.expectResponse(416, ["Content-Range": "bytes */16"])
    }
  }

  @Test("who waits for a range of content that breaks off hears so")
  func waitsInVain() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"), "Range: bytes=8-11")
      let upstream = try origin.accept()
      try upstream.expectRequest()
      try upstream.send(head: 200, Self.fresh + ["Transfer-Encoding: chunked"])
      try upstream.sendChunk("0123")
      upstream.finish()
      try client.expectError(502, "in the middle of the content", type: "http_response_incomplete")
    }
  }

  @Test("Accept-Ranges is told where ranges are honoured, and an origin's own word stays")
  func acceptRanges() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, Self.fresh + ["Connection: close"], "0123456789")
      try client.expectResponse(200, ["Accept-Ranges": "bytes"])
      try proxy.expectStored()
      try client.get(origin.url("/")).expectResponse(200, ["Accept-Ranges": "bytes"])
      try client.request("HEAD", origin.url("/"))
        .expectResponse(200, ["Accept-Ranges": "bytes"], isHead: true)
      try client.get(origin.url("/"), "Range: bytes=1-2")
        .expectResponse(206, ["Accept-Ranges": "bytes"])

      try client.get(origin.url("/own"))
      try origin.serve(200, Self.fresh + ["Accept-Ranges: none", "Connection: close"], "0123")
      try client.expectResponse(200, ["Accept-Ranges": "none"])
      // What is passed on is told as it came.
      try client.get(origin.url("/private"))
      try origin.serve(200, ["Cache-Control: private", "Connection: close"], "0123")
      #expect(try client.expectResponse(200)["Accept-Ranges"] == nil)
    }
  }
}

extension WireOriginConnection {
  /// Reads a request and answers it with these bytes.
  fileprivate func expectAndSend(_ content: [UInt8], _ fields: [String]) throws {
    try expectRequest()
    try send(head: 200, fields + ["Content-Length: \(content.count)"])
    try send(content)
  }
}
