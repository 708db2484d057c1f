// The list of refusals, status codes and methods, and messages written.

import HTTP
import Testing

@Suite struct RefusalTests {
  @Test("every reason has its own code and sentence, and a client error or 50x as its status")
  func catalogue() {
    let reasons = Refusal.Reason.allCases
    #expect(Set(reasons.map(\.sentence)).count == reasons.count)
    for reason in reasons {
      #expect(
        reason.rawValue.utf8.allSatisfy { $0.isLetter || $0.isDigit || $0 == 0x2D || $0 == 0x2E })
      #expect([400, 414, 431, 501, 505].contains(reason.status.rawValue))
      #expect(!reason.sentence.hasSuffix("."))
      #expect(Refusal(reason, .request).sentence.hasSuffix("."))
      #expect(Refusal(reason, .response).status == .badGateway)
    }
  }
}

@Suite struct StatusAndMethodTests {
  @Test("the class of a status goes by its first digit")
  func classes() {
    #expect(Status(103).kind == .informational)
    #expect(Status(206).kind == .successful)
    #expect(Status(399).kind == .redirection)
    #expect(Status(499).kind == .clientError)
    #expect(Status(599).kind == .serverError)
    #expect(Status(999).kind == .serverError)
    #expect(Status(204).forbidsContent && Status(304).forbidsContent && Status(101).forbidsContent)
    #expect(!Status(200).forbidsContent)
  }

  @Test("an unknown method promises nothing")
  func methods() {
    #expect(!Method.other.isSafe && !Method.other.isIdempotent)
    #expect(Method.get.isSafe && Method.head.isSafe && Method.options.isSafe)
    #expect(!Method.put.isSafe && Method.put.isIdempotent && Method.delete.isIdempotent)
    #expect(!Method.post.isIdempotent && !Method.patch.isIdempotent && !Method.connect.isSafe)
  }
}

@Suite struct MessageWriterTests {
  @Test("start lines and fields come out as the parser wants them")
  func lines() {
    var output: [UInt8] = []
    let target = bytes("/x")
    MessageWriter.appendRequestLine(.get, target: target.span, to: &output)
    MessageWriter.appendField(.contentLength, 1_234_567_890_123, to: &output)
    MessageWriter.appendField(.age, 0, to: &output)
    MessageWriter.appendField(.connection, "close", to: &output)
    MessageWriter.appendEndOfLine(to: &output)
    #expect(
      text(output)
        == "GET /x HTTP/1.1\r\nContent-Length: 1234567890123\r\nAge: 0\r\nConnection: close\r\n\r\n"
    )
    output = []
    MessageWriter.appendResponse(.notModified, fields: ["ETag": "\"x\""], to: &output)
    #expect(text(output) == "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n")
    output = []
    MessageWriter.appendStatusLine(Status(599), to: &output)
    #expect(text(output) == "HTTP/1.1 599 \r\n")
    output = []
    MessageWriter.appendDecimal(UInt64.max, to: &output)
    #expect(text(output) == "18446744073709551615")
  }
}
