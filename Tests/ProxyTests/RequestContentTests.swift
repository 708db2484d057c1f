import HTTP
import Testing

@testable import Proxy

@Suite struct RequestContentTests {
  /// Everything the content says about `text`, given in pieces of `size` bytes.
  private func read(_ framing: MessageFraming, limit: UInt64 = 100, _ text: String, size: Int)
    -> (content: String, end: String, rest: String)
  {
    var content = RequestContent(framing, limit: limit)
    let bytes = Array(text.utf8)
    var read: [UInt8] = []
    var start = 0
    while true {
      let piece = Array(bytes[start..<min(bytes.count, start + size)])
      var position = 0
      steps: while true {
        switch content.step(piece.span, at: &position) {
        case .content(let range): read += piece[range]
        case .needsMoreBytes: break steps
        case .finished(let end):
          let rest = String(decoding: bytes[(start + end)...], as: UTF8.self)
          return (String(decoding: read, as: UTF8.self), "finished", rest)
        case .refused: return (String(decoding: read, as: UTF8.self), "refused", "")
        case .tooLarge: return (String(decoding: read, as: UTF8.self), "too large", "")
        }
      }
      start += piece.count
      if start == bytes.count { return (String(decoding: read, as: UTF8.self), "open", "") }
    }
  }

  @Test(
    "content ends where its framing says, and the rest is the next request's", arguments: 1...20)
  func ends(size: Int) {
    #expect(read(.none, "GET /", size: size) == ("", "finished", "GET /"))
    #expect(read(.length(3), "abcGET /", size: size) == ("abc", "finished", "GET /"))
    #expect(read(.length(9), "abc", size: size) == ("abc", "open", ""))
    #expect(
      read(.chunked, "2\r\nab\r\n1\r\nc\r\n0\r\n\r\nGET /", size: size)
        == ("abc", "finished", "GET /"))
    #expect(read(.chunked, "2\r\nab\r\n", size: size) == ("ab", "open", ""))
    #expect(read(.chunked, "2\r\nabc\r\n", size: size).end == "refused")
  }

  @Test("the limit counts content, not its framing", arguments: 1...5)
  func limit(size: Int) {
    #expect(
      read(.chunked, limit: 3, "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", size: size).end == "finished")
    #expect(
      read(.chunked, limit: 2, "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", size: size).end == "too large")
  }

  @Test("a request without content is finished from the start")
  func nothing() {
    #expect(RequestContent(.none, limit: 0).isFinished)
    #expect(RequestContent(.length(0), limit: 0).isFinished)
    #expect(!RequestContent(.length(1), limit: 9).isFinished)
    #expect(!RequestContent(.chunked, limit: 9).isFinished)
  }
}
