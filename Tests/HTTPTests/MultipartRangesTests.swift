// multipart/byteranges: what goes between the pieces, and that the length told is the length sent.

import Testing

@testable import HTTP

@Suite struct MultipartRangesTests {
  private func parts(_ ranges: [Range<Int64>], type: String? = "text/plain") -> MultipartRanges {
    MultipartRanges(
      ranges, completeLength: 100, contentType: type.map { ArraySlice($0.utf8) },
      boundary: (0x0123_4567_89AB_CDEF, 1))
  }

  @Test("each part says its type and its range, and the last boundary closes")
  func layout() {
    let multipart = parts([0..<10, 90..<100])
    let mark = "0123456789abcdef0000000000000001"
    #expect(
      String(decoding: multipart.contentType, as: UTF8.self)
        == "multipart/byteranges; boundary=\(mark)")
    #expect(multipart.parts.map(\.range) == [0..<10, 90..<100])
    #expect(
      multipart.parts.map { String(decoding: $0.head, as: UTF8.self) } == [
        "--\(mark)\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-9/100\r\n\r\n",
        "\r\n--\(mark)\r\nContent-Type: text/plain\r\nContent-Range: bytes 90-99/100\r\n\r\n",
      ])
    #expect(String(decoding: multipart.end, as: UTF8.self) == "\r\n--\(mark)--\r\n")
  }

  @Test("a representation without a type has parts without one")
  func noType() {
    for part in parts([0..<1, 2..<3], type: nil).parts {
      #expect(!String(decoding: part.head, as: UTF8.self).contains("Content-Type"))
    }
  }

  @Test("the length told is that of everything between the first and the last byte")
  func length() {
    let multipart = parts([5..<6, 20..<40, 50..<100])
    let heads = multipart.parts.reduce(0) { $0 + $1.head.count }
    #expect(multipart.contentLength == Int64(heads + 1 + 20 + 50 + multipart.end.count))
  }
}
