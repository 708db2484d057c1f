// Heads of requests and responses: what is accepted, what is refused, and for which reason.

import FuzzEntries
import HTTP
import Testing

private func request(_ text: String, limits: HeadLimits = HeadLimits()) -> HeadChecks.Result {
  HeadChecks.whole(bytes(text), .request, limits: limits)
}

private func response(_ text: String) -> HeadChecks.Result {
  HeadChecks.whole(bytes(text), .response)
}

private func refused(_ reason: Refusal.Reason, _ kind: MessageKind = .request) -> HeadOutcome {
  .refused(Refusal(reason, kind))
}

@Suite struct MessageParserTests {
  @Test("a request says its method, target, version and fields in order")
  func plainRequest() throws {
    let text =
      "GET /a?b HTTP/1.1\r\nHost: example.org\r\nX-One: 1\r\nx-one:\t2 \r\nEmpty:\r\n\r\nrest"
    let result = request(text)
    #expect(result.outcome == .complete(consumed: text.utf8.count - 4))
    let head = try #require(result.summary)
    #expect(head.method == .get)
    #expect(head.target == bytes("/a?b"))
    #expect(head.version == .http11)
    #expect(
      head.fields == ["Host": "example.org", "X-One": "1", "X-One": "2", "Empty": ""])
    #expect(head.fields.description == "Host: example.org\r\nX-One: 1\r\nx-one: 2\r\nEmpty: \r\n")
  }

  @Test(
    "an unknown method keeps its name, and case matters", arguments: ["get", "PURGE", "M-SEARCH"])
  func unknownMethod(name: String) throws {
    let head = try #require(request("\(name) / HTTP/1.1\r\nHost: a\r\n\r\n").summary)
    #expect(head.method == .other)
    #expect(head.methodName == bytes(name))
  }

  @Test("every known method is recognised", arguments: Method.allCases.filter { $0 != .other })
  func knownMethod(method: Method) throws {
    let text = "\(method.spelling) http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"
    #expect(try #require(request(text).summary).method == method)
  }

  @Test(
    "versions",
    arguments: [
      ("HTTP/1.0", Version.http10), ("HTTP/1.1", .http11), ("HTTP/1.2", .http11),
      ("HTTP/1.9", .http11),
    ])
  func versions(text: String, version: Version) throws {
    let head = try #require(request("GET / \(text)\r\nHost: a\r\n\r\n").summary)
    #expect(head.version == version)
  }

  @Test(
    "a request with something wrong is refused for that reason",
    arguments: [
      ("GET / HTTP/1.1\nHost: a\r\n\r\n", Refusal.Reason.bareLineFeed),
      ("GET /\n", .bareLineFeed),
      ("GET\n", .bareLineFeed),
      ("\nGET / HTTP/1.1\r\n", .bareLineFeed),
      ("GET / HTTP/1.1\r\nHost: a\n\r\n", .bareLineFeed),
      ("GET / HTTP/1.1\r\nHost\n: a\r\n", .bareLineFeed),
      ("GET / HTTP/1.1\r\nHost: a\r\n\n", .bareLineFeed),
      ("GET / HTTP/1.1\rHost: a\r\n\r\n", .bareCarriageReturn),
      ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", .bareCarriageReturn),
      ("GET / HTTP/1.1\r\nHost: a\r\n\rX", .bareCarriageReturn),
      ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", .bareCarriageReturn),
      ("\rGET / HTTP/1.1\r\n", .bareCarriageReturn),
      ("\r\n\r\n\r\nGET / HTTP/1.1\r\n", .tooManyEmptyLines),
      ("\u{16}\u{3}\u{1}", .tlsInsteadOfHTTP),
      ("G(T / HTTP/1.1\r\n", .malformedMethod),
      (" GET / HTTP/1.1\r\n", .malformedRequestLine),
      ("GET\t/ HTTP/1.1\r\n", .malformedMethod),
      (String(repeating: "M", count: 33) + " / HTTP/1.1\r\n", .methodTooLong),
      ("GET\r\n", .malformedRequestLine),
      ("GET /\r\n", .malformedRequestLine),
      ("GET  / HTTP/1.1\r\n", .malformedRequestLine),
      ("GET /\tHTTP/1.1\r\n", .malformedRequestLine),
      ("GET /a b HTTP/1.1\r\n", .malformedVersion),
      ("GET /\u{e9} HTTP/1.1\r\n", .nonASCIITarget),
      ("GET /\u{7f} HTTP/1.1\r\n", .controlByteInTarget),
      ("GET /  HTTP/1.1\r\n", .malformedVersion),
      ("GET / HTTP/1.1 \r\n", .malformedRequestLine),
      ("GET / HTTP/1.10\r\n", .malformedRequestLine),
      ("GET / http/1.1\r\n", .malformedVersion),
      ("GET / HTTP/1,1\r\n", .malformedVersion),
      ("GET / HTTP/11\r\n", .malformedVersion),
      ("GET / HTTP/x.1\r\n", .malformedVersion),
      ("GET / HTTP/2.0\r\n", .unsupportedVersion),
      ("GET / HTTP/0.9\r\n", .unsupportedVersion),
      ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .unsupportedVersion),
      ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .foldedLine),
      ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", .foldedLine),
      ("GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", .foldedLine),
      ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .spaceBeforeColon),
      ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", .spaceBeforeColon),
      ("GET / HTTP/1.1\r\n: a\r\n\r\n", .missingFieldName),
      ("GET / HTTP/1.1\r\nHost\r\n\r\n", .missingColon),
      ("GET / HTTP/1.1\r\nH(st: a\r\n\r\n", .invalidFieldName),
      ("GET / HTTP/1.1\r\nH\0st: a\r\n\r\n", .invalidFieldName),
      ("GET / HTTP/1.1\r\nH\u{f6}st: a\r\n\r\n", .invalidFieldName),
      ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", .controlByteInField),
      ("GET / HTTP/1.1\r\nHost: a\u{7f}b\r\n\r\n", .controlByteInField),
      ("GET / HTTP/1.1\r\nHost: a\u{1b}[2J\r\n\r\n", .controlByteInField),
      ("GET / HTTP/1.1\r\n\(String(repeating: "n", count: 256)): a\r\n\r\n", .fieldNameTooLong),
      ("GET / HTTP/1.1\r\n\r\n", .missingHost),
      ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", .repeatedHost),
      ("GET / HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n", .repeatedHost),
    ])
  func refusedRequests(text: String, reason: Refusal.Reason) {
    #expect(request(text).outcome == refused(reason))
  }

  @Test(
    "what is unusual but allowed is accepted",
    arguments: [
      "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.0\r\n\r\n",
      "GET / HTTP/1.1\r\nHost:\r\n\r\n",
      "GET / HTTP/1.1\r\nhOsT:a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\tb\u{ff}\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~09az: 1\r\n\r\n",
      "GET /\"<>\\^`{|} HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n\(String(repeating: "n", count: 255)): a\r\n\r\n",
      "\(String(repeating: "M", count: 32)) / HTTP/1.1\r\nHost: a\r\n\r\n",
    ])
  func acceptedRequests(text: String) {
    #expect(request(text).outcome == .complete(consumed: bytes(text).count))
  }

  @Test("what is not complete and not wrong waits for more")
  func incomplete() {
    let text = "\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    for count in 0..<text.utf8.count {
      #expect(
        request(String(decoding: text.utf8.prefix(count), as: UTF8.self)).outcome == .needsMoreBytes
      )
    }
  }

  @Test("the first line may be as long as the limit and no longer")
  func startLineLimit() {
    let limits = HeadLimits(startLine: 40)
    func line(_ count: Int) -> String {
      "GET /" + String(repeating: "a", count: count - 14) + " HTTP/1.1\r\nHost: a\r\n\r\n"
    }
    #expect(request(line(40), limits: limits).outcome == .complete(consumed: 53))
    #expect(request(line(41), limits: limits).outcome == refused(.startLineTooLong))
    #expect(Refusal(.startLineTooLong, .request).status == .uriTooLong)
    let endless = "GET /" + String(repeating: "a", count: 8 << 10)
    #expect(request(endless).outcome == refused(.startLineTooLong))
  }

  @Test("the head may be as large as the limit and no larger, empty lines before it aside")
  func headLimit() {
    let text = "\r\nGET / HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "v", count: 100))\r\n\r\n"
    let size = text.utf8.count - 2
    #expect(
      request(text, limits: HeadLimits(head: size)).outcome == .complete(consumed: size + 2))
    #expect(request(text, limits: HeadLimits(head: size - 1)).outcome == refused(.headTooLarge))
    #expect(Refusal(.headTooLarge, .request).status == .headTooLarge)
  }

  @Test("there may be as many fields as the limit and no more")
  func fieldLimit() {
    func text(_ count: Int) -> String {
      "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: y\r\n", count: count - 1) + "\r\n"
    }
    #expect(request(text(100)).summary?.fields.count == 100)
    #expect(request(text(101)).outcome == refused(.tooManyFields))
    #expect(request(text(128), limits: HeadLimits(fieldCount: 1000)).summary?.fields.count == 128)
    #expect(
      request(text(129), limits: HeadLimits(fieldCount: 1000)).outcome == refused(.tooManyFields))
  }

  @Test(
    "responses",
    arguments: [
      ("HTTP/1.1 200 OK\r\n\r\n", 200, "OK"), ("HTTP/1.1 200 \r\n\r\n", 200, ""),
      ("HTTP/1.1 200\r\n\r\n", 200, ""), ("HTTP/1.0 404 Not  Found\r\n\r\n", 404, "Not  Found"),
      ("HTTP/1.1 999 \u{e9}\t\r\n\r\n", 999, "\u{e9}\t"), ("HTTP/1.1 100 \r\n\r\n", 100, ""),
    ])
  func responses(text: String, status: UInt16, reason: String) throws {
    let result = response(text)
    #expect(result.outcome == .complete(consumed: bytes(text).count))
    #expect(try #require(result.summary).status == Status(status))
    #expect(try #require(result.summary).reason == bytes(reason))
  }

  @Test(
    "a response with something wrong is refused, and always as a bad gateway",
    arguments: [
      ("HTTP/1.1 200 OK\n\n", Refusal.Reason.bareLineFeed),
      ("HTTP/1.1 200\n", .bareLineFeed),
      ("HTTP/1.1 200 O\rK\r\n\r\n", .bareCarriageReturn),
      ("HTTP/1.1 200 O\0K\r\n\r\n", .malformedStatusLine),
      ("HTTP/1.1  200 OK\r\n\r\n", .malformedStatusCode),
      ("HTTP/1.1\t200 OK\r\n\r\n", .malformedStatusLine),
      ("HTTP/1.1 099 Low\r\n\r\n", .malformedStatusCode),
      ("HTTP/1.1 20 OK\r\n\r\n", .malformedStatusCode),
      ("HTTP/1.1 2000 OK\r\n\r\n", .malformedStatusCode),
      ("HTTP/1.1 200OK\r\n\r\n", .malformedStatusLine),
      ("HTTP/1.1 +20 OK\r\n\r\n", .malformedStatusCode),
      ("\r\nHTTP/1.1 200 OK\r\n\r\n", .malformedVersion),
      ("HTTP/2.0 200 OK\r\n\r\n", .unsupportedVersion),
      ("ICY 200 OK\r\n\r\n", .malformedVersion),
      ("\u{15}\u{3}\u{1}", .tlsInsteadOfHTTP),
      ("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", .spaceBeforeColon),
      ("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", .foldedLine),
    ])
  func refusedResponses(text: String, reason: Refusal.Reason) {
    #expect(response(text).outcome == refused(reason, .response))
    #expect(Refusal(reason, .response).status == .badGateway)
  }

  @Test("a cursor that belongs to other bytes never makes the parser skip any")
  func strangeCursor() {
    var head = ParsedHead()
    var cursor = HeadCursor()
    let first = bytes("GET /long/enough HTTP/1.1\r\nHost: a\r\nX: 1")
    #expect(
      MessageParser.parseRequest(first.span, into: &head, resuming: &cursor) == .needsMoreBytes)
    var other = bytes("GET / HTTP/1.1\nHost: a\r\nHidden\r\n")
    while other.count < first.count + 30 { other += bytes("A: b\r\n") }
    other += bytes("\r\n")
    let outcome = MessageParser.parseRequest(other.span, into: &head, resuming: &cursor)
    guard case .refused = outcome else {
      Issue.record("accepted: \(outcome)")
      return
    }
  }
}
