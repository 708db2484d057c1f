// What must hold for any chunked content: how it is cut does not matter, and content and trailers
// read the same when they are written and read again.

import HTTP

func fuzzChunked(_ bytes: [UInt8]) {
  for kind: MessageKind in [.request, .response] {
    let whole = Decoded(bytes, kind, cuts: [bytes.count])
    let pieces = Decoded(bytes, kind, cuts: cuts(of: bytes))
    mustHold(whole.end == pieces.end, "whole it is \(whole.end), in pieces \(pieces.end)")
    mustHold(whole.content == pieces.content, "the content does not depend on the cuts")
    mustHold(whole.consumed == pieces.consumed, "nor does where it ends")
    sameTrailers(whole.trailers, pieces.trailers)
    guard whole.end == .finished else { continue }
    mustHold(whole.consumed <= bytes.count, "no more is consumed than there is")

    var written: [UInt8] = []
    if !whole.content.isEmpty {
      ChunkedEncoding.appendChunkStart(whole.content.count, to: &written)
      written += whole.content
      ChunkedEncoding.appendChunkEnd(to: &written)
    }
    ChunkedEncoding.appendEnd(trailers: whole.trailers, to: &written)
    let again = Decoded(written, kind, cuts: [written.count])
    mustHold(again.end == .finished, "what was written is whole: \(again.end)")
    mustHold(again.consumed == written.count, "and nothing is left over")
    mustHold(again.content == whole.content, "the content survives")
    sameTrailers(again.trailers, whole.trailers)
  }
}

/// All that a decoder says when it gets the bytes up to each cut, one after the other.
private struct Decoded {
  var content: [UInt8] = []
  var consumed = 0
  var end = ChunkedDecoder.Step.needsMoreBytes
  var trailers = FieldSection()

  init(_ bytes: [UInt8], _ kind: MessageKind, cuts: [Int]) {
    var decoder = ChunkedDecoder(kind)
    for cut in cuts {
      let piece = Array(bytes[consumed..<max(cut, consumed)])
      var position = 0
      steps: while true {
        let before = position
        end = decoder.step(piece.span, at: &position)
        mustHold(position >= before && position <= piece.count, "the position stays inside")
        switch end {
        case .content(let range):
          mustHold(
            range.lowerBound >= before && range.upperBound == position,
            "content lies between the old position and the new")
          mustHold(!range.isEmpty, "content is never empty, or a caller may loop for ever")
          content += piece[range]
        case .needsMoreBytes:
          mustHold(position == piece.count, "more is asked for when all is used")
          break steps
        case .finished, .refused:
          break steps
        }
      }
      consumed += position
      if end != .needsMoreBytes { break }
    }
    if case .refused = end { consumed = 0 }  // where a refusal stands says nothing to a caller
    trailers = decoder.trailers
  }
}

private func sameTrailers(_ one: FieldSection, _ other: FieldSection) {
  mustHold(one.count == other.count, "no trailer is lost or added")
  for index in 0..<one.count {
    mustHold(one.name(at: index) == other.name(at: index), "trailer names survive")
    mustHold(one.value(at: index) == other.value(at: index), "trailer values survive")
  }
}
