// Pages that come compressed although nobody asked for that, or were stored so by others: their links lead through the
// mirror all the same, as long as they can be read.

import CZlib
import Configuration
import Platform
import Support
import Telemetry
import Testing

@Suite struct CodedPageTests {
  private static let html = ["Content-Type: text/html", "Cache-Control: max-age=600"]

  /// - Parameter windowBits: 31 for gzip, 15 and -15 for the two forms of deflate.
  static func coded(_ content: [UInt8], windowBits: Int32 = 31) throws -> [UInt8] {
    var stream = z_stream()
    try #require(holdfast_deflate_init(&stream, windowBits) == Z_OK)
    defer { deflateEnd(&stream) }
    var input = content
    var result = [UInt8](repeating: 0, count: content.count + 1024)
    let left = input.withUnsafeMutableBufferPointer { input in
      result.withUnsafeMutableBufferPointer { output in
        stream.next_in = input.baseAddress
        stream.avail_in = UInt32(input.count)
        stream.next_out = output.baseAddress
        stream.avail_out = UInt32(output.count)
        _ = deflate(&stream, Z_FINISH)
        return Int(stream.avail_out)
      }
    }
    return Array(result.dropLast(left))
  }

  private func send(
    _ content: [UInt8], _ coding: String, from origin: WireOrigin, _ fields: [String] = html
  ) throws {
    let upstream = try origin.accept()
    try upstream.expectRequest()
    try upstream.send(
      head: 200,
      fields + [
        "Content-Encoding: \(coding)", "Content-Length: \(content.count)", "ETag: \"c\"",
        "Connection: close",
      ])
    try upstream.send(content)
  }

  @Test(
    "an index that compresses whatever it is asked for is read",
    arguments: [("gzip", 31), ("x-gzip", 31), ("deflate", 15), ("deflate", -15)], [true, false])
  func read(form: (String, Int32), isStored: Bool) throws {
    try wire(configure: PythonMirrorTests.configure) { origin, proxy in
      let page = String(repeating: "<a href=\"y\">", count: 3000)
      let client = try proxy.connect().get("/pypi/x/")
      try send(
        try Self.coded(Array(page.utf8), windowBits: form.1), form.0, from: origin,
        isStored ? Self.html : ["Content-Type: text/html", "Cache-Control: no-store"])
      let expected = String(repeating: "<a href=\"/pypi/x/y\">", count: 3000)
      let answer = try client.expectResponse(200, content: expected)
      #expect(answer["Content-Encoding"] == nil)
      #expect(answer["ETag"] != "\"c\"")
      guard isStored else { return }
      let hit = try client.get("/pypi/x/").expectResponse(200, content: expected)
      #expect(hit["ETag"] == answer["ETag"])
      try origin.expectNothingElse()
    }
  }

  @Test(
    "what the forward proxy's clients brought compressed serves the mirror's, if it can be read")
  func shared() throws {
    try wire(configure: PythonMirrorTests.configure) { origin, proxy in
      let client = try proxy.connect().get(origin.url("/simple/x/"), "Accept-Encoding: gzip")
      let coded = try Self.coded(Array("<a href=\"y\">".utf8))
      try send(coded, "gzip", from: origin)
      #expect(try client.expectAnyResponse().content == coded)
      try client.get("/pypi/x/").expectResponse(200, content: "<a href=\"/pypi/x/y\">")
      try client.get(origin.url("/simple/x/"))
      #expect(try client.expectAnyResponse().content == coded)

      try client.get(origin.url("/simple/z/"), "Accept-Encoding: br")
      try send(Array("brotli".utf8), "br", from: origin)
      try client.expectResponse(200, content: "brotli")
      try client.get("/pypi/z/")
      let upstream = try origin.accept()
      #expect(try upstream.expectRequest()["Accept-Encoding"] == "identity")
      try upstream.respond(200, Self.html + ["Connection: close"], "<a href=\"y\">")
      try client.expectResponse(200, content: "<a href=\"/pypi/z/y\">")
      try client.get("/pypi/z/").expectResponse(200, content: "<a href=\"/pypi/z/y\">")
    }
  }

  @Test("nor does a mirror's client wait for a page that others get in a form it cannot use")
  func growing() throws {
    try wire(configure: PythonMirrorTests.configure) { origin, proxy in
      let forward = try proxy.connect().get(origin.url("/simple/z/"), "Accept-Encoding: br")
      let first = try origin.accept()
      try first.expectRequest()
      let client = try proxy.connect().get("/pypi/z/")
      try first.send(head: 200, Self.html + ["Content-Encoding: br", "Content-Length: 100000"])
      try first.send([UInt8](repeating: 1, count: 60_000))
      try forward.expectHead(200)
      let second = try origin.accept()
      try second.expectRequest()
      try second.respond(200, Self.html, "<a href=\"y\">")
      try client.expectResponse(200, content: "<a href=\"/pypi/z/y\">")
    }
  }

  @Test(
    "a page that ends early, is damaged, or would become too large is 502, and asked for again",
    arguments: [("ends in the middle", 502), ("cannot be read", 502), ("larger than 64 MiB", 502)])
  func broken(sentence: String, status: Int) throws {
    try wire(configure: PythonMirrorTests.configure) { origin, proxy in
      var coded = try Self.coded(Array("<a href=\"y\">".utf8))
      switch sentence {
      case "ends in the middle": coded.removeLast(3)
      case "cannot be read": coded[coded.count - 6] ^= 1
      default: coded = try Self.coded([UInt8](repeating: 0x20, count: 65 << 20))
      }
      let client = try proxy.connect().get("/pypi/x/")
      try send(coded, "gzip", from: origin)
      try client.expectError(status, sentence)
      guard coded.count < 1000 else { return }
      try client.get("/pypi/x/")
      try send(try Self.coded(Array("<a href=\"y\">".utf8)), "gzip", from: origin)
      try client.expectResponse(200, content: "<a href=\"/pypi/x/y\">")
    }
  }
}
