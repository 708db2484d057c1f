// Conditional requests in the order of RFC 9110 §13.2.2: answered from the store by the stored validators, passed on
// untouched where nothing is stored for the method, and not forgotten when a fetch turns out to be for one client.

import Configuration
import Platform
import Support
import Testing

@Suite struct ConditionTests {
  /// Last-Modified, and the same moment in the other two forms; a second before; a second after.
  private static let modified = "Fri, 02 Jan 2026 10:00:00 GMT"
  private static let rfc850 = "Friday, 02-Jan-26 10:00:00 GMT"
  private static let asctime = "Fri Jan  2 10:00:00 2026"
  private static let before = "Fri, 02 Jan 2026 09:59:59 GMT"
  private static let after = "Fri, 02 Jan 2026 10:00:01 GMT"

  private static let fields = [
    "Cache-Control: max-age=600", "ETag: \"v\"", "Last-Modified: \(modified)", "Connection: close",
  ]

  struct Case: Sendable, CustomTestStringConvertible {
    var fields: [String]
    var status: Int
    var testDescription: String { fields.joined(separator: ", ") }
    init(_ fields: [String], _ status: Int) {
      self.fields = fields
      self.status = status
    }
  }

  static let cases: [Case] = [
    // Step 3: If-None-Match, weakly, lists, `*`.
    Case(["If-None-Match: \"v\""], 304), Case(["If-None-Match: W/\"v\""], 304),
    Case(["If-None-Match: \"x\""], 200), Case(["If-None-Match: *"], 304),
    Case(["If-None-Match: \"a\", \"v\", \"b\""], 304),
    Case(["If-None-Match: \"a\", W/\"v\""], 304),
    Case(["If-None-Match: \"a\"", "If-None-Match: \"v\""], 304),
    Case(["If-None-Match: ,, \"v\" ,"], 304), Case(["If-None-Match: \"a,v\""], 200),
    Case(["If-None-Match: v"], 200), Case(["If-None-Match: \"V\""], 200),
    Case(["If-None-Match: "], 200),
    // Step 4 only without it: If-Modified-Since in three forms.
    Case(["If-Modified-Since: \(modified)"], 304), Case(["If-Modified-Since: \(rfc850)"], 304),
    Case(["If-Modified-Since: \(asctime)"], 304), Case(["If-Modified-Since: \(after)"], 304),
    Case(["If-Modified-Since: \(before)"], 200), Case(["If-Modified-Since: yesterday"], 200),
    Case(["If-Modified-Since: \(after)", "If-Modified-Since: \(after)"], 200),
    Case(["If-None-Match: \"x\"", "If-Modified-Since: \(after)"], 200),
    Case(["If-None-Match: \"v\"", "If-Modified-Since: \(before)"], 304),
    // Step 1: If-Match, strongly. The steps after it only when it holds.
    Case(["If-Match: \"v\""], 200), Case(["If-Match: *"], 200),
    Case(["If-Match: \"a\", \"v\""], 200), Case(["If-Match: \"v\"", "If-None-Match: \"v\""], 304),
    Case(["If-Match: \"v\"", "If-Unmodified-Since: \(before)"], 200),
    // Step 2 only without it: If-Unmodified-Since.
    Case(["If-Unmodified-Since: \(modified)"], 200), Case(["If-Unmodified-Since: \(rfc850)"], 200),
    Case(["If-Unmodified-Since: \(asctime)"], 200), Case(["If-Unmodified-Since: \(after)"], 200),
    Case(["If-Unmodified-Since: yesterday"], 200),
    Case(["If-Unmodified-Since: \(after)", "If-None-Match: \"v\""], 304),
    // Step 5: a range only when all before let it pass.
    Case(["Range: bytes=0-1", "If-None-Match: \"v\""], 304),
    Case(["Range: bytes=0-1", "If-Match: \"v\""], 206),
    Case(["Range: bytes=0-1", "If-Range: \"v\""], 206),
    Case(["Range: bytes=0-1", "If-Range: W/\"v\""], 200),
    Case(["Range: bytes=0-1", "If-Range: \(modified)"], 206),
    Case(["Range: bytes=0-1", "If-Range: \(rfc850)"], 206),
    Case(["Range: bytes=0-1", "If-Range: \(after)"], 200),
    Case(["Range: bytes=0-1", "If-Range: \"v\"", "If-Range: \"v\""], 200),
    Case(["Range: bytes=0-1", "If-Range: v"], 200),
    Case(["If-Range: \"x\""], 200),
  ]

  @Test("what is stored answers conditions by its own validators", arguments: ["GET", "HEAD"])
  func stored(method: String) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, Self.fields, "content")
      try client.expectResponse(200)
      try proxy.expectStored()
      for row in Self.cases {
        try client.request(method, origin.url("/"), row.fields)
        let answer = try client.expectAnyResponse(isHead: method == "HEAD")
        // HEAD knows no ranges.
        let expected = method == "HEAD" && row.status == 206 ? 200 : row.status
        #expect(answer.status == expected, "\(row.testDescription)")
        #expect(answer["ETag"] == "\"v\"", "\(row.testDescription)")
        if expected == 304 {
          #expect(answer.content.isEmpty && answer["Content-Length"] == nil)
        } else if method == "GET" {
          #expect(answer.text == (expected == 206 ? "co" : "content"))
        }
      }
      try origin.expectNothingElse()
    }
  }

  static let failing: [[String]] = [
    ["If-Match: \"x\""], ["If-Match: W/\"v\""], ["If-Match: v"], ["If-Match: \"x\", \"y\""],
    ["If-Unmodified-Since: \(before)"], ["If-Match: \"x\"", "If-None-Match: \"v\""],
    ["If-Match: \"x\"", "If-Unmodified-Since: \(after)"],
  ]

  @Test(
    "that a condition fails is said once the origin has confirmed what is stored",
    arguments: failing)
  func failed(fields: [String]) throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, Self.fields, "content")
      try client.expectResponse(200)
      try proxy.expectStored()
      try client.request("GET", origin.url("/"), fields)
      let asked = try origin.serve(304, Self.fields)
      // The proxy's own question, not the client's.
      #expect(asked["If-None-Match"] == "\"v\"" && asked["If-Match"] == nil)
      try client.expectResponse(412, ["Content-Length": "0", "ETag": "\"v\""], content: "")
    }
  }

  @Test(
    "a miss fetches the whole and answers the condition by what came",
    arguments: [
      (["If-None-Match: \"v\""], 304), (["If-Match: \"x\""], 412), (["If-Match: \"v\""], 200),
      (["If-Modified-Since: \(modified)"], 304), (["If-Unmodified-Since: \(before)"], 412),
    ])
  func missing(fields: [String], status: Int) throws {
    for directive in ["max-age=600", "private"] {
      try wire { origin, proxy in
        let client = try proxy.connect().request("GET", origin.url("/"), fields)
        var answer = Self.fields
        answer[0] = "Cache-Control: \(directive)"
        let asked = try origin.serve(200, answer, "content")
        #expect(asked["If-None-Match"] == nil && asked["If-Match"] == nil)
        let got = try client.expectResponse(
          status, ["ETag": "\"v\""], content: status == 200 ? "content" : "")
        #expect(got["Cache-Status"]?.contains("fwd-status=200") == true)
        #expect(got["Content-Length"] == (status == 304 ? nil : status == 200 ? "7" : "0"))
        // On its feet again.
        try client.get(origin.url("/other"))
        try origin.serve(200, [], "on")
        try client.expectResponse(200, content: "on")
      }
    }
  }

  @Test("once it is known that answers are not for sharing, conditions and ranges go to the origin")
  func unshared() throws {
    try wire { origin, proxy in
      let client = try proxy.connect().get(origin.url("/"))
      try origin.serve(200, ["Cache-Control: private", "Connection: close"], "content")
      try client.expectResponse(200, content: "content")
      for field in ["Range: bytes=0-1", "If-None-Match: \"v\"", "If-Match: \"x\""] {
        try client.get(origin.url("/"), field)
        let name = String(field.prefix { $0 != ":" })
        let asked = try origin.serve(
          206, ["Cache-Control: private", "Content-Range: bytes 0-1/7", "Connection: close"], "co")
        #expect(asked[name] != nil)
        try client.expectResponse(206, content: "co")
      }
    }
  }

  @Test("requests that are not answered from the store keep their conditions")
  func relayed() throws {
    try wire { origin, proxy in
      let conditions = [
        "If-Match: \"a\", W/\"b\"", "If-None-Match: *", "If-Modified-Since: \(Self.asctime)",
        "If-Unmodified-Since: nonsense", "If-Range: \"v\"", "Range: bytes=0-1",
      ]
      let client = try proxy.connect()
      for method in ["PUT", "POST", "DELETE", "PATCH", "PROPFIND", "HEAD"] {
        try client.request(method, origin.url("/"), conditions)
        let asked = try origin.serve(412, ["Connection: close"])
        for condition in conditions {
          let name = String(condition.prefix { $0 != ":" })
          #expect("\(name): \(asked[name] ?? "")" == condition)
        }
        try client.expectResponse(412, isHead: method == "HEAD")
      }
    }
  }
}
