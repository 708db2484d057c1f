// Chunks both ways.

import FuzzEntries
import HTTP
import Testing

@Suite struct ChunkedDecoderTests {
  @Test(
    "chunks become content",
    arguments: [
      ("0\r\n\r\n", ""), ("5\r\nhello\r\n0\r\n\r\n", "hello"),
      ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
      ("a\r\n0123456789\r\n000\r\n\r\n", "0123456789"),
      ("5;name=\"a;b\";x\r\nhello\r\n0;y\r\n\r\n", "hello"),
      ("0000000000000002\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
    ])
  func content(coded: String, content: String) {
    let decoded = ChunkedChecks.decode(bytes(coded))
    #expect(decoded.end == .finished(at: coded.utf8.count))
    #expect(decoded.content == bytes(content))
  }

  @Test("what follows the last chunk is left for the next message")
  func next() {
    #expect(ChunkedChecks.decode(bytes("0\r\n\r\nHTTP/1.1 ")).end == .finished(at: 5))
    #expect(ChunkedChecks.decode(bytes("0\r\nX: y\r\n\r\nHTTP/1.1 ")).end == .finished(at: 11))
  }

  @Test(
    "anything else than exact chunks is refused",
    arguments: [
      ("\r\n", Refusal.Reason.malformedChunkSize), ("x\r\n", .malformedChunkSize),
      ("-5\r\nhello", .malformedChunkSize), ("0x5\r\nhello", .malformedChunkSize),
      (" 5\r\nhello", .malformedChunkSize), ("5 \r\nhello", .malformedChunkSize),
      ("5 ;x\r\nhello", .malformedChunkSize), ("5\nhello", .bareLineFeed),
      ("5\rhello", .bareCarriageReturn), ("5;a\nhello", .bareLineFeed),
      ("5;a\rb\r\n", .bareCarriageReturn), ("5;\0\r\n", .malformedChunkExtension),
      ("4\r\nhello\r\n", .missingChunkEnd), ("6\r\nhello\r\n0", .missingChunkEnd),
      ("5\r\nhello\n0\r\n", .missingChunkEnd), ("5\r\nhello\r0\r\n", .missingChunkEnd),
      ("8000000000000000\r\n", .chunkTooLarge), ("ffffffffffffffff\r\n", .chunkTooLarge),
      ("00000000000000005\r\n", .chunkTooLarge),
      ("0\r\nX : y\r\n\r\n", .spaceBeforeColon), ("0\r\nX: y\n\r\n", .bareLineFeed),
      ("0\r\nX: y\r\n z\r\n\r\n", .foldedLine), ("0\r\n\n", .bareLineFeed),
      ("0\r\n\rX", .bareCarriageReturn), ("0\r\nX: \0\r\n", .controlByteInField),
    ])
  func refused(coded: String, reason: Refusal.Reason) {
    #expect(ChunkedChecks.decode(bytes(coded)).end == .refused(Refusal(reason, .response)))
    #expect(
      ChunkedChecks.decode(bytes(coded), .request).end == .refused(Refusal(reason, .request)))
  }

  @Test("the largest size there is is taken, and its content waited for")
  func largest() {
    let decoded = ChunkedChecks.decode(bytes("7FFFFFFFFFFFFFFF\r\nabc"))
    #expect(decoded.end == .needsMoreBytes)
    #expect(decoded.content == bytes("abc"))
  }

  @Test("extensions are bounded over all chunks together, trailers in all")
  func bounds() {
    let chunk = "1;" + String(repeating: "x", count: 63) + "\r\na\r\n"
    let fits = String(repeating: chunk, count: 64) + "0\r\n\r\n"
    #expect(ChunkedChecks.decode(bytes(fits)).end == .finished(at: fits.utf8.count))
    let over = String(repeating: chunk, count: 64) + "0;\r\n\r\n"
    #expect(
      ChunkedChecks.decode(bytes(over)).end
        == .refused(Refusal(.chunkExtensionsTooLong, .response)))
    func trailer(_ size: Int) -> [UInt8] {
      bytes("0\r\nX: " + String(repeating: "y", count: size - 7) + "\r\n\r\n")
    }
    let limit = ChunkedDecoder.trailerLimit
    #expect(ChunkedChecks.decode(trailer(limit)).end == .finished(at: limit + 3))
    #expect(
      ChunkedChecks.decode(trailer(limit + 1)).end
        == .refused(Refusal(.trailersTooLarge, .response)))
  }

  @Test("trailers that would change the message are left out, others are kept")
  func trailers() {
    let coded =
      "0\r\nContent-Length: 5\r\nHost: a\r\nTransfer-Encoding: chunked\r\nAuthorization: b\r\n"
      + "Cache-Control: no-store\r\nSet-Cookie: c\r\nDigest: d\r\nRepr-Digest: e\r\nX-Sum: f\r\n\r\n"
    let decoded = ChunkedChecks.decode(bytes(coded))
    #expect(decoded.trailers == ["Digest": "d", "Repr-Digest": "e", "X-Sum": "f"])
  }
}

@Suite struct ChunkedEncodingTests {
  @Test(
    "the line before a chunk has its size in hexadecimal",
    arguments: [
      (1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (65536, "10000\r\n"), (0xABCDEF, "abcdef\r\n"),
      (Int.max, "7fffffffffffffff\r\n"), (0, ""), (-1, ""),
    ])
  func chunkStart(count: Int, line: String) {
    var output: [UInt8] = []
    ChunkedEncoding.appendChunkStart(count, to: &output)
    #expect(text(output) == line)
    let room = UnsafeMutableRawBufferPointer.allocate(
      byteCount: ChunkedEncoding.longestChunkStart, alignment: 1)
    defer { room.deallocate() }
    let written = ChunkedEncoding.writeChunkStart(count, into: room)
    #expect(text(room[..<written]) == line)
  }

  @Test("what is encoded decodes to the same")
  func roundTrip() {
    var coded: [UInt8] = []
    for piece in ["first ", "second"] {
      ChunkedEncoding.appendChunkStart(piece.utf8.count, to: &coded)
      coded += Array(piece.utf8)
      ChunkedEncoding.appendChunkEnd(to: &coded)
    }
    ChunkedEncoding.appendEnd(trailers: ["Digest": "x"], to: &coded)
    let decoded = ChunkedChecks.decode(coded)
    #expect(decoded.content == bytes("first second"))
    #expect(decoded.trailers == ["Digest": "x"])
    #expect(decoded.end == .finished(at: coded.count))
  }
}
