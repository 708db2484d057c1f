// The fuzz entry for chunked content, and the properties it holds the decoder to.

import HTTP

public enum ChunkedChecks {
  public enum End: Equatable, Sendable {
    case finished(at: Int)
    case needsMoreBytes
    case refused(Refusal)
  }

  public struct Decoded: Equatable, Sendable {
    public var content: [UInt8] = []
    public var trailers = FieldSection()
    public var end = End.needsMoreBytes
  }

  /// Decodes the bytes as they arrive in pieces that end at `cuts`; no piece is seen twice.
  public static func decode(
    _ bytes: [UInt8], cuts: [Int] = [], _ kind: MessageKind = .response
  ) -> Decoded {
    var decoder = ChunkedDecoder(kind)
    var result = Decoded()
    var start = 0
    for cut in cuts + [bytes.count] {
      let piece = Array(bytes[start..<cut])
      var position = 0
      pieces: while true {
        switch decoder.step(piece.span, at: &position) {
        case .content(let range):
          precondition(!range.isEmpty)
          result.content += piece[range]
        case .needsMoreBytes:
          precondition(position == piece.count)
          break pieces
        case .finished:
          result.end = .finished(at: start + position)
          result.trailers = decoder.trailers
          return result
        case .refused(let refusal):
          result.end = .refused(refusal)
          return result
        }
      }
      start = cut
    }
    return result
  }

  /// The same content, trailers and end, however the bytes are cut.
  public static func splitting(_ bytes: [UInt8], cuts: [Int]) -> String? {
    let expected = decode(bytes)
    let got = decode(bytes, cuts: cuts)
    return got == expected ? nil : "cut at \(cuts): \(got.end) instead of \(expected.end)"
  }

  /// What was decoded and is encoded again decodes to the same.
  public static func roundTrip(_ bytes: [UInt8]) -> String? {
    let first = decode(bytes)
    guard case .finished = first.end else { return nil }
    var written: [UInt8] = []
    if !first.content.isEmpty {
      ChunkedEncoding.appendChunkStart(first.content.count, to: &written)
      written += first.content
      ChunkedEncoding.appendChunkEnd(to: &written)
    }
    ChunkedEncoding.appendEnd(trailers: first.trailers, to: &written)
    var expected = first
    expected.end = .finished(at: written.count)
    return decode(written) == expected ? nil : "encoded again it says something else"
  }
}

/// Feeds strangers' bytes to the chunked decoder.
public func fuzzChunked(_ bytes: [UInt8]) {
  require(ChunkedChecks.splitting(bytes, cuts: cuts(for: bytes)))
  // A trailer section near its limit may grow beyond it when a space follows each colon.
  if bytes.count < 4 << 10 { require(ChunkedChecks.roundTrip(bytes)) }
}
