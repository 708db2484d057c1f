// The content of a 206 answer with several parts: multipart/byteranges (RFC 9110 §14.6, §15.3.7.2). Laid out
// as the bytes that go between pieces of the representation, so that the pieces themselves can be sent by
// sendfile and the length is known before the first byte leaves.
//
//   --BOUNDARY CRLF fields CRLF CRLF | piece | CRLF --BOUNDARY CRLF fields CRLF CRLF | piece | … | CRLF --BOUNDARY-- CRLF

/// Several ranges of one representation as one content.
public struct MultipartRanges: Hashable, Sendable {
  /// One range, and the bytes that go before it.
  public struct Part: Hashable, Sendable {
    public let head: [UInt8]
    public let range: Range<Int64>
  }

  public let parts: [Part]
  /// What goes behind the last range.
  public let end: [UInt8]
  /// The value of the answer's Content-Type.
  public let contentType: [UInt8]
  /// Everything together: the answer's Content-Length.
  public let contentLength: Int64

  /// - Parameters:
  ///   - ranges: what `RangeField.resolve` made: not empty, none over another, all within the length.
  ///   - contentType: of the representation; goes into every part (§15.3.7.2).
  ///   - boundary: 128 random bits. Nobody can have put them into the content beforehand, and that they
  ///     are there by chance is less likely than a broken memory.
  public init(
    _ ranges: [Range<Int64>], completeLength: Int64, contentType: ArraySlice<UInt8>?,
    boundary: (UInt64, UInt64)
  ) {
    var mark: [UInt8] = []
    for word in [boundary.0, boundary.1] {
      for shift in stride(from: 60, through: 0, by: -4) {
        let digit = UInt8(truncatingIfNeeded: word >> UInt64(shift)) & 15
        mark.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
      }
    }
    self.contentType = Array("multipart/byteranges; boundary=".utf8) + mark
    var parts: [Part] = []
    parts.reserveCapacity(ranges.count)
    var total: Int64 = 0
    for range in ranges {
      var head: [UInt8] = []
      if !parts.isEmpty { head += [CR, LF] }
      head += [0x2D, 0x2D] + mark + [CR, LF]
      if let contentType {
        MessageWriter.appendField(.contentType, contentType.span, to: &head)
      }
      var value: [UInt8] = []
      ContentRange(range: range, completeLength: completeLength).serialise(into: &value)
      MessageWriter.appendField(.contentRange, value.span, to: &head)
      head += [CR, LF]
      // Disjoint ranges of one file, and at most 256 heads: far from overflowing.
      total &+= Int64(head.count) &+ Int64(range.count)
      parts.append(Part(head: head, range: range))
    }
    self.parts = parts
    end = [CR, LF, 0x2D, 0x2D] + mark + [0x2D, 0x2D, CR, LF]
    contentLength = total &+ Int64(end.count)
  }
}
