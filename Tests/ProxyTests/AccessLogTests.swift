import Configuration
import HTTP
import IO
import Platform
import Testing

@testable import Proxy

@Suite struct AccessLogTests {
  private func record() throws -> AccessRecord {
    var record = AccessRecord(
      client: try #require(SocketAddress("192.0.2.7:4242")), method: Array("GET".utf8),
      target: Array("http://a.test/x".utf8), way: .mirror, startedAt: Instant(nanoseconds: 0))
    record.status = .ok
    record.handling = .miss
    record.sentBytes = 1234
    record.upstreamBytes = 99
    return record
  }

  private func line(_ format: LogFormat, _ record: AccessRecord, after duration: Duration = .zero)
    -> String
  {
    var line: [UInt8] = []
    Array("2026-03-02T10:11:12Z".utf8).withUnsafeBytes {
      AccessLogFormatter(format: format).append(
        record, now: Instant(nanoseconds: 0) + duration, time: $0, to: &line)
    }
    return String(decoding: line, as: UTF8.self)
  }

  @Test("a line for people")
  func text() throws {
    #expect(
      line(.text, try record(), after: .milliseconds(1012))
        == "2026-03-02T10:11:12Z 192.0.2.7 GET http://a.test/x 200 miss 1234 1.012s\n")
  }

  @Test("a line for machines")
  func json() throws {
    let expected =
      #"{"time":"2026-03-02T10:11:12Z","client.address":"192.0.2.7","client.port":4242,"#
      + #""http.request.method":"GET","url.full":"http://a.test/x","way":"mirror","#
      + #""http.response.status_code":200,"cache":"miss","sent":1234,"upstream":99,"#
      + #""duration":0.007,"ending":"finished"}"#
    #expect(line(.json, try record(), after: .milliseconds(7)) == expected + "\n")
  }

  @Test("how it ended and what went wrong stand at the end of the line")
  func failure() throws {
    var record = try record()
    record.status = .badGateway
    record.handling = .error
    record.ending = .clientLeft
    record.error = ProxyError(.connectionRefused, "nobody there")
    #expect(
      line(.text, record).hasSuffix(
        " 502 error 1234 0.000s client-left connection_refused: nobody there\n"))
    #expect(
      line(.json, record).hasSuffix(
        #""ending":"client-left","error.type":"connection_refused","error.message":"nobody there"}"#
          + "\n"))
  }

  @Test("what a stranger sent cannot begin a line, colour it, or end a string")
  func escapes() throws {
    var record = try record()
    record.method = [0x1B, 0x5B]
    record.target = Array("a\r\nb\"\\\u{7f}é".utf8)
    let text = line(.text, record)
    #expect(text.contains(" ?[ a??b\"\\??? 200 "))
    #expect(text.utf8.filter { $0 == 0x0A }.count == 1)
    let json = line(.json, record)
    #expect(json.contains(#""http.request.method":"\u001b[""#))
    #expect(json.contains(#""url.full":"a\u000d\u000ab\"\\\u007f\u00c3\u00a9""#))
  }

  @Test("an error of the client's is refused, one of the proxy's or the origin's is an error")
  func verdicts() throws {
    var record = try record()
    record.handling = .error
    for (status, word) in [(404, "refused"), (408, "refused"), (502, "error"), (504, "error")] {
      record.status = Status(UInt16(status))
      #expect(record.verdict.labelValue == word)
    }
    record.way = .tunnel
    #expect(record.verdict.labelValue == "tunnel")
    record.error = .loop
    #expect(record.verdict.labelValue == "error")
  }

  @Test(
    "methods are counted by what they do",
    arguments: [
      ("GET", "get"), ("HEAD", "head"), ("CONNECT", "connect"), ("POST", "write"), ("PUT", "write"),
      ("DELETE", "write"), ("PATCH", "write"), ("OPTIONS", "other"), ("get", "other"),
      ("", "other"),
    ])
  func methods(method: String, word: String) throws {
    var record = try record()
    record.method = Array(method.utf8)
    #expect(record.methodClass.labelValue == word)
  }
}
