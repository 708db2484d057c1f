// Contents that come compressed: whole, in pieces, broken, and larger than they may be.

import CZlib
import Testing

@testable import ContentCoding

@Suite struct ContentCodingTests {
  /// Compresses, in the form that the window bits stand for.
  private func deflated(_ content: [UInt8], windowBits: Int32) throws -> [UInt8] {
    var stream = z_stream()
    try #require(holdfast_deflate_init(&stream, windowBits) == Z_OK)
    defer { deflateEnd(&stream) }
    var result = [UInt8](repeating: 0, count: content.count + 1024)
    var input = content
    var count = 0
    input.withUnsafeMutableBufferPointer { input in
      result.withUnsafeMutableBufferPointer { output in
        stream.next_in = input.baseAddress
        stream.avail_in = UInt32(input.count)
        stream.next_out = output.baseAddress
        stream.avail_out = UInt32(output.count)
        _ = deflate(&stream, Z_FINISH)
        count = output.count - Int(stream.avail_out)
      }
    }
    return Array(result[..<count])
  }

  private static let text = Array(
    (0..<40_000).map { "<a href=\"f\($0).whl\">" }.joined().utf8)

  @Test(
    "gzip, zlib and bare deflate are read, of any length",
    arguments: [0, 1, 255, 256 << 10, 256 << 10 + 1, 700_000] as [Int],
    [(ContentCoding.gzip, 31), (.deflate, 15), (.deflate, -15)] as [(ContentCoding, Int32)])
  func whole(count: Int, form: (ContentCoding, Int32)) throws {
    let content = Array(Self.text.prefix(count))
    let coded = try deflated(content, windowBits: form.1)
    #expect(try form.0.decode(coded, limit: 1 << 20) == content)
    #expect(try form.0.decode(coded, limit: count) == content, "the limit may be reached")
  }

  @Test("several members of gzip are one content, and anything else behind one is not")
  func members() throws {
    let member = try deflated(Array("abc".utf8), windowBits: 31)
    #expect(try ContentCoding.gzip.decode(member + member, limit: 100) == Array("abcabc".utf8))
    #expect(throws: ContentCoding.Fault.corrupt) {
      try ContentCoding.gzip.decode(member + Array("noise".utf8), limit: 100)
    }
    #expect(throws: ContentCoding.Fault.truncated) {
      try ContentCoding.gzip.decode(member + member.dropLast(), limit: 100)
    }
  }

  @Test("wherever it is cut, that is seen", arguments: [31, 15, -15] as [Int32])
  func cut(windowBits: Int32) throws {
    let coding = windowBits == 31 ? ContentCoding.gzip : .deflate
    let coded = try deflated(Array(Self.text.prefix(2000)), windowBits: windowBits)
    for count in 0..<coded.count {
      #expect(throws: (any Error).self, "\(count) bytes") {
        try coding.decode(Array(coded[..<count]), limit: 1 << 20)
      }
    }
  }

  @Test("a wrong byte anywhere is seen, or changes nothing", arguments: [31, 15] as [Int32])
  func damaged(windowBits: Int32) throws {
    let coding = windowBits == 31 ? ContentCoding.gzip : .deflate
    let content = Array(Self.text.prefix(300))
    let coded = try deflated(content, windowBits: windowBits)
    for index in coded.indices {
      var broken = coded
      broken[index] ^= 0x10
      if let result = try? coding.decode(broken, limit: 1 << 20) { #expect(result == content) }
    }
  }

  @Test("what would become too large is not made")
  func bomb() throws {
    let bomb = try deflated([UInt8](repeating: 0, count: 50 << 20), windowBits: 31)
    #expect(bomb.count < 60_000)
    #expect(throws: ContentCoding.Fault.tooLarge) {
      try ContentCoding.gzip.decode(bomb, limit: 1 << 20)
    }
  }

  @Test(
    "codings go by their names",
    arguments: [
      ("gzip", .gzip), ("GZip", .gzip), ("x-gzip", .gzip), ("deflate", .deflate), ("br", nil),
      ("zstd", nil), ("gzip, gzip", nil), ("", nil),
    ] as [(String, ContentCoding?)])
  func names(name: String, coding: ContentCoding?) {
    #expect(ContentCoding(name.utf8) == coding)
  }
}
