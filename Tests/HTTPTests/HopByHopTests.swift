// What stays behind at this hop, and what this hop adds.

import HTTP
import Testing

@Suite struct HopByHopTests {
  @Test("fields about one connection stay behind, the others go on")
  func fixedNames() {
    var fields: FieldSection = [
      "Host": "a", "Connection": "close", "Keep-Alive": "timeout=5", "Proxy-Connection": "x",
      "TE": "trailers", "Transfer-Encoding": "chunked", "Upgrade": "h2c", "HTTP2-Settings": "AAA",
      "Proxy-Authorization": "Basic x", "Proxy-Authenticate": "Basic",
      "Proxy-Authentication-Info": "x", "Trailer": "Digest", "Authorization": "Bearer y",
      "Content-Length": "5", "Cookie": "c",
    ]
    HopByHop.removeAll(from: &fields)
    #expect(
      fields == ["Host": "a", "Authorization": "Bearer y", "Content-Length": "5", "Cookie": "c"])
  }

  @Test("fields named in Connection stay behind, in any case, from any of several lines")
  func named() {
    var fields: FieldSection = [
      "connection": "X-One , close,", "X-ONE": "1", "Connection": "x-two", "X-Two": "2",
      "X-Three": "3",
    ]
    HopByHop.removeAll(from: &fields)
    #expect(fields == ["X-Three": "3"])
  }

  @Test(
    "nobody takes an end-to-end field away by naming it in Connection",
    arguments: FieldName.allCases.filter { !HopByHop.mayBeRemovedByConnection($0) })
  func protected(name: FieldName) {
    var fields: FieldSection = ["Connection": name.spelling.description]
    fields.append(name, "kept")
    HopByHop.removeAll(from: &fields)
    #expect(fields.text(name) == "kept")
    #expect(fields.count == 1)
  }

  @Test("Trailer stays when the trailers are relayed")
  func trailer() {
    var fields: FieldSection = ["Trailer": "Digest"]
    HopByHop.removeAll(from: &fields, keepingTrailer: true)
    #expect(fields == ["Trailer": "Digest"])
  }
}

@Suite struct ViaTests {
  @Test("a hop adds itself behind the others")
  func append() throws {
    let via = try #require(Via(pseudonym: "holdfast-7"))
    var fields: FieldSection = ["Via": "1.0 first"]
    via.append(to: &fields, receivedAs: .http11)
    #expect(fields.combinedValue(.via).map(text) == "1.0 first, 1.1 holdfast-7")
    via.append(to: &fields, receivedAs: .http10)
    #expect(fields.combinedValue(.via).map(text)?.hasSuffix("1.0 holdfast-7") == true)
    #expect(Via(pseudonym: "two words") == nil)
  }

  @Test(
    "a loop is a request that has been here, not one that passed a namesake",
    arguments: [
      ("1.1 holdfast-7", true), ("1.0 a, HTTP/1.1 Holdfast-7 (comment)", true),
      ("1.1 holdfast-70", false), ("1.1 holdfast", false), ("1.1 a (holdfast-7)", false),
      ("1.1 a (b, 1.1 holdfast-7)", false), ("holdfast-7", false), ("", false),
      ("1.1 a (open, 1.1 b", false), ("1.1 a\t,\t1.1\tholdfast-7", true),
    ])
  func loops(value: String, expected: Bool) throws {
    let via = try #require(Via(pseudonym: "holdfast-7"))
    #expect(via.isLoop(["Via": "1.1 x", "Via": "\(value)"] as FieldSection) == expected)
    let isComplete = withRequest("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 x\r\nVia: \(value)\r\n\r\n")
    {
      head, bytes in
      #expect(via.isLoop(head, in: bytes) == expected)
    }
    #expect(isComplete)
  }
}
