import Caching
import HTTP
import Testing

@testable import Proxy

@Suite struct AnswersTests {
  private func response(_ status: UInt16 = 200, _ fields: FieldSection = ["ETag": "\"v\""])
    -> StoredResponse
  {
    var all = fields
    all.set(.date, HTTPDate.bytes(1_772_446_272))
    return StoredResponse(
      status: Status(rawValue: status), fields: all, requestTime: 1_772_446_272,
      responseTime: 1_772_446_272, variance: Variance(selectors: []))
  }

  private func plan(
    _ fields: FieldSection, _ method: Method = .get, status: UInt16 = 200, length: Int64? = 100
  ) throws -> String {
    let plan = Answers.plan(
      try request(method, fields), response(status), length: length, received: length ?? 0,
      now: 1_772_446_300)
    let content = plan.content.map { range in
      range.upperBound == .max
        ? " \(range.lowerBound)..." : " \(range.lowerBound)..<\(range.upperBound)"
    }
    return "\(plan.status)\(content ?? "")"
  }

  @Test("a plan says which part of the representation answers")
  func plans() throws {
    #expect(try plan([:]) == "200 0..<100")
    #expect(try plan([:], length: nil) == "200 0...")
    #expect(try plan([:], .head) == "200")
    #expect(try plan([:], status: 204) == "204")
    #expect(try plan(["Range": "bytes=0-9"]) == "206 0..<10")
    #expect(try plan(["Range": "bytes=90-200"]) == "206 90..<100")
    #expect(try plan(["Range": "bytes=-10"]) == "206 90..<100")
    #expect(try plan(["Range": "bytes=100-"]) == "416")
    #expect(try plan(["Range": "bytes=0-1,3-4"]) == "206 0..<0")
    #expect(try plan(["Range": "bytes=0-1,3-4"], length: nil) == "200 0...")
    #expect(try plan(["Range": "bytes=0-1,3-4,1-1"]) == "200 0..<100")
    // What would take far more than the whole is given whole: 200 parts of 100 bytes.
    let many = (0..<200).map { "\($0 * 3)-\($0 * 3)" }.joined(separator: ",")
    #expect(try plan(["Range": "bytes=\(many)"], length: 600) == "200 0..<600")
    #expect(try plan(["Range": "bytes=\(many)"], length: 60000) == "206 0..<0")
    // RFC 9110 §14.2: a range means nothing for HEAD, and nothing where the answer is not 200.
    #expect(try plan(["Range": "bytes=0-9"], .head) == "200")
    #expect(try plan(["Range": "bytes=0-9"], status: 404) == "404 0..<100")
    #expect(try plan(["If-None-Match": "\"v\""]) == "304")
    #expect(try plan(["If-None-Match": "\"v\"", "Range": "bytes=0-9"]) == "304")
    #expect(try plan(["If-Match": "\"x\""]) == "412")
    #expect(try plan(["If-Range": "\"x\"", "Range": "bytes=0-9"]) == "200 0..<100")
    #expect(try plan(["Range": "bytes=0-9"], length: 0) == "416")
  }

  private func lines(_ head: [UInt8]) -> [String] {
    let text = String(decoding: head, as: UTF8.self)
    #expect(text.hasSuffix("\r\n\r\n"))
    return text.split(separator: "\r\n").map(String.init)
  }

  @Test("a whole answer has its length, its age and the verdict of the cache, each once")
  func wholeHead() throws {
    let stored = response(200, ["Content-Length": "100", "X-Kept": "1"])
    let plan = Answers.plan(try request(), stored, length: 100, received: 100, now: 0)
    let head = lines(
      Answers.head(
        for: plan, of: stored, length: 100, age: 7, cacheStatus: .hit(timeToLive: 3),
        delimiter: .length(100), keepsAlive: true, version: .http11))
    #expect(head.first == "HTTP/1.1 200 OK")
    for line in [
      "Age: 7", "Cache-Status: Holdfast; hit; ttl=3", "X-Kept: 1", "Content-Length: 100",
    ] {
      #expect(head.filter { $0 == line }.count == 1, "\(line)")
    }
    #expect(!head.contains { $0.hasPrefix("Connection") })
  }

  @Test("a clock that went backwards does not make a negative age")
  func negativeAge() throws {
    let stored = response()
    let plan = Answers.plan(try request(), stored, length: 1, received: 1, now: 0)
    let head = lines(
      Answers.head(
        for: plan, of: stored, length: 1, age: -5, cacheStatus: .hit(timeToLive: 3),
        delimiter: .length(1), keepsAlive: true, version: .http11))
    #expect(head.contains("Age: 0"))
  }

  @Test("the connection's fate is told as each version needs it told")
  func connection() throws {
    for (keepsAlive, version, line) in [
      (true, Version.http11, nil), (false, .http11, "Connection: close"),
      (true, .http10, "Connection: keep-alive"), (false, .http10, "Connection: close"),
    ] {
      let head = lines(
        Answers.relayed(
          ResponseHead(
            status: .ok, version: .http11, fields: FieldSection(), framing: .untilClose),
          fields: ["Content-Length": "5"], cacheStatus: CacheStatus(forwarded: .method),
          delimiter: .close, keepsAlive: keepsAlive, version: version))
      #expect(head.first { $0.hasPrefix("Connection") } == line)
      #expect(!head.contains { $0.hasPrefix("Content-Length") })
    }
  }

  @Test("an error says what went wrong to people and to machines")
  func error() {
    let answer = String(
      decoding: Answers.error(
        ProxyError(.connectionRefused, "no connection to a.test:80"), cacheStatus: nil,
        date: 1_772_446_272, keepsAlive: false, isHead: false, version: .http11), as: UTF8.self)
    let parts = answer.split(separator: "\r\n\r\n", maxSplits: 1)
    let head = parts[0].split(separator: "\r\n").map(String.init)
    let content = String(parts[1])
    #expect(head.first == "HTTP/1.1 502 Bad Gateway")
    for line in [
      "Date: Mon, 02 Mar 2026 10:11:12 GMT", "Content-Type: text/plain; charset=utf-8",
      "Cache-Control: no-store", "Content-Length: \(content.utf8.count)", "Connection: close",
      #"Proxy-Status: Holdfast; error=connection_refused; details="no connection to a.test:80""#,
    ] {
      #expect(head.contains(line), "\(line) in \(head)")
    }
    #expect(
      content
        == "502 Bad Gateway\n\nNo connection to a.test:80.\n\nHoldfast (connection_refused)\n")
  }

  @Test("a host at the start of a sentence keeps its case, and a full stop stands there once")
  func sentences() {
    for (detail, sentence) in [
      ("a.test:80 said nothing", "\na.test:80 said nothing.\n"),
      ("The request was refused.", "\nThe request was refused.\n"),
      ("the end", "\nThe end.\n"),
    ] {
      let answer = Answers.error(
        ProxyError(.requestError, detail), cacheStatus: nil, date: 0, keepsAlive: true,
        isHead: false, version: .http11)
      #expect(String(decoding: answer, as: UTF8.self).contains(sentence))
    }
  }

  @Test("an interim answer has neither length nor connection fields")
  func informational() {
    let head = lines(
      Answers.informational(
        status: Status(103),
        fields: ["Link": "</a>", "Content-Length": "5", "Connection": "close", "Keep-Alive": "1"]))
    #expect(head == ["HTTP/1.1 103 Early Hints", "Link: </a>"])
  }
}
