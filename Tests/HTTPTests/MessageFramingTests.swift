// Where content ends, whether a connection persists, and what a client waits for.

import HTTP
import Testing

private func framing(request fields: String, version: String = "1.1") -> MessageFraming? {
  var result: MessageFraming?
  withRequest("POST / HTTP/\(version)\r\nHost: a\r\n\(fields)\r\n") { head, bytes in
    result = MessageFraming.ofRequest(head, in: bytes)
  }
  return result
}

private func framing(
  response fields: String, status: Int = 200, to method: Method = .get, version: String = "1.1"
) -> MessageFraming? {
  var result: MessageFraming?
  withResponse("HTTP/\(version) \(status) Text\r\n\(fields)\r\n") { head, bytes in
    result = MessageFraming.ofResponse(head, in: bytes, to: method)
  }
  return result
}

@Suite struct MessageFramingTests {
  @Test(
    "requests end where their fields say",
    arguments: [
      ("", MessageFraming.none), ("Content-Length: 0\r\n", .length(0)),
      ("Content-Length: 42\r\n", .length(42)), ("Content-Length: 007\r\n", .length(7)),
      ("Content-Length: 9223372036854775807\r\n", .length(UInt64(Int64.max))),
      ("Transfer-Encoding: chunked\r\n", .chunked), ("transfer-encoding:CHUNKED\r\n", .chunked),
    ])
  func requests(fields: String, expected: MessageFraming) {
    #expect(framing(request: fields) == expected)
  }

  @Test(
    "a request whose end is not certain is refused",
    arguments: [
      (
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        Refusal.Reason.lengthAndTransferCoding, 400
      ),
      ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", .lengthAndTransferCoding, 400),
      ("Content-Length: 4\r\nContent-Length: 4\r\n", .repeatedContentLength, 400),
      ("Content-Length: 4\r\nContent-Length: 5\r\n", .repeatedContentLength, 400),
      ("Content-Length: 4, 4\r\n", .repeatedContentLength, 400),
      ("Content-Length:\r\n", .malformedContentLength, 400),
      ("Content-Length: +4\r\n", .malformedContentLength, 400),
      ("Content-Length: -4\r\n", .malformedContentLength, 400),
      ("Content-Length: 0x4\r\n", .malformedContentLength, 400),
      ("Content-Length: 4 4\r\n", .malformedContentLength, 400),
      ("Content-Length: 9223372036854775808\r\n", .contentLengthTooLarge, 400),
      ("Content-Length: 18446744073709551620\r\n", .contentLengthTooLarge, 400),
      ("Content-Length: 99999999999999999999999999\r\n", .contentLengthTooLarge, 400),
      ("Transfer-Encoding: gzip, chunked\r\n", .unknownTransferCoding, 501),
      ("Transfer-Encoding: chunked, gzip\r\n", .unknownTransferCoding, 501),
      ("Transfer-Encoding: chunked, chunked\r\n", .unknownTransferCoding, 501),
      ("Transfer-Encoding: xchunked\r\n", .unknownTransferCoding, 501),
      ("Transfer-Encoding: chunked;q=1\r\n", .unknownTransferCoding, 501),
      ("Transfer-Encoding: \"chunked\"\r\n", .unknownTransferCoding, 501),
      ("Transfer-Encoding: identity\r\n", .unknownTransferCoding, 501),
      ("Transfer-Encoding:\r\n", .unknownTransferCoding, 501),
      (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", .repeatedTransferEncoding,
        400
      ),
    ])
  func refusedRequests(fields: String, reason: Refusal.Reason, status: UInt16) {
    let refusal = Refusal(reason, .request)
    #expect(framing(request: fields) == .refused(refusal))
    #expect(refusal.status == Status(status))
    let ofResponse = Refusal(reason, .response)
    #expect(framing(response: fields) == .refused(ofResponse))
    #expect(ofResponse.status == .badGateway)
  }

  @Test("HTTP/1.0 knows no Transfer-Encoding")
  func oldVersion() {
    #expect(
      framing(request: "Transfer-Encoding: chunked\r\n", version: "1.0")
        == .refused(Refusal(.transferCodingInHTTP10, .request)))
    #expect(
      framing(response: "Transfer-Encoding: chunked\r\n", version: "1.0")
        == .refused(Refusal(.transferCodingInHTTP10, .response)))
  }

  @Test(
    "responses end where status, method and fields say",
    arguments: [
      ("", 200, Method.get, MessageFraming.untilClose),
      ("Content-Length: 5\r\n", 200, .get, .length(5)),
      ("Transfer-Encoding: chunked\r\n", 200, .get, .chunked),
      ("Content-Length: 5\r\n", 200, .head, .none),
      ("Transfer-Encoding: chunked\r\n", 200, .head, .none),
      ("", 200, .head, .none),
      ("Content-Length: 5\r\n", 304, .get, .none),
      ("", 304, .get, .none),
      ("", 204, .get, .none),
      ("Content-Length: 0\r\n", 204, .get, .none),
      ("", 100, .get, .none),
      ("", 101, .get, .none),
      ("Content-Length: 5\r\n", 200, .connect, .none),
      ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 200, .connect, .none),
      ("Content-Length: 5\r\n", 403, .connect, .length(5)),
      ("", 404, .get, .untilClose),
      ("Content-Length: 5\r\n", 204, .get, .refused(Refusal(.contentForbidden, .response))),
      ("Content-Length: 5\r\n", 100, .get, .refused(Refusal(.contentForbidden, .response))),
      (
        "Transfer-Encoding: chunked\r\n", 204, .get,
        .refused(Refusal(.transferCodingForbidden, .response))
      ),
      (
        "Transfer-Encoding: chunked\r\n", 103, .get,
        .refused(Refusal(.transferCodingForbidden, .response))
      ),
      ("Content-Length: x\r\n", 304, .get, .refused(Refusal(.malformedContentLength, .response))),
    ])
  func responses(fields: String, status: Int, method: Method, expected: MessageFraming) {
    #expect(framing(response: fields, status: status, to: method) == expected)
  }
}

@Suite struct ConnectionOptionsTests {
  @Test(
    "a connection persists when its version and options say so",
    arguments: [
      ("1.1", "", true), ("1.1", "Connection: close\r\n", false),
      ("1.1", "Connection: Keep-Alive\r\n", true), ("1.1", "Connection: x, CLOSE\r\n", false),
      ("1.1", "Connection: x\r\nConnection: close\r\n", false),
      ("1.1", "Connection: closed\r\n", true), ("1.1", "Proxy-Connection: close\r\n", false),
      ("1.0", "", false), ("1.0", "Connection: keep-alive\r\n", true),
      ("1.0", "Proxy-Connection: Keep-Alive\r\n", true),
      ("1.0", "Connection: keep-alive, close\r\n", false),
    ])
  func persistence(version: String, fields: String, expected: Bool) {
    let isComplete = withRequest("GET / HTTP/\(version)\r\nHost: a\r\n\(fields)\r\n") {
      head, bytes in
      #expect(ConnectionOptions.persists(head, in: bytes) == expected)
    }
    #expect(isComplete)
  }

  @Test(
    "a client that waits for 100 says so in one way only",
    arguments: [
      ("1.1", "", RequestExpectation.nothing), ("1.1", "Expect: 100-Continue\r\n", .continue),
      ("1.1", "Expect: 200-ok\r\n", .unknown), ("1.1", "Expect: 100-continue, x\r\n", .unknown),
      ("1.0", "Expect: 100-continue\r\n", .nothing),
    ])
  func expectations(version: String, fields: String, expected: RequestExpectation) {
    withRequest("PUT / HTTP/\(version)\r\nHost: a\r\n\(fields)\r\n") { head, bytes in
      #expect(RequestExpectation.of(head, in: bytes) == expected)
    }
  }
}
