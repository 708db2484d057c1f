// Structured fields in, Cache-Status and Proxy-Status out.

import SeededRandom
import Testing

@testable import HTTP

private typealias Malformed = StructuredField.Malformed

private func item(_ text: String) throws -> StructuredField.Item {
  try StructuredField.item(Array(text.utf8).span)
}

@Suite("Structured fields")
struct StructuredFieldTests {
  @Test(
    "bare items of every type",
    arguments: [
      ("42", .integer(42)), ("-0", .integer(0)), ("  42  ", .integer(42)),
      ("-999999999999999", .integer(-999_999_999_999_999)), ("007", .integer(7)),
      ("1.5", .decimal(thousandths: 1500)), ("-1.005", .decimal(thousandths: -1005)),
      ("123456789012.123", .decimal(thousandths: 123_456_789_012_123)),
      ("\"a b\"", .string("a b")), (#""a\"b\\c""#, .string(#"a"b\c"#)), ("\"\"", .string("")),
      ("foo/bar:baz", .token("foo/bar:baz")), ("*x", .token("*x")), ("a!b", .token("a!b")),
      (":aGVsbG8=:", .bytes(Array("hello".utf8))), (":aGVsbG8:", .bytes(Array("hello".utf8))),
      ("::", .bytes([])), (":/+8=:", .bytes([0xFF, 0xEF])),
      ("?1", .boolean(true)), ("?0", .boolean(false)),
      ("@1659578233", .date(1_659_578_233)), ("@-1", .date(-1)),
      ("%\"f%c3%bc\"", .displayString("fü")),
    ] as [(String, StructuredField.BareItem)])
  func bareItems(text: String, value: StructuredField.BareItem) throws {
    #expect(try item(text).value == value)
  }

  @Test(
    "one mistake and it is nothing at all",
    arguments: [
      "", " ", "1,", "1 2", "-", "--1", "1.", ".1", "1.1234", "1234567890123.1", "1000000000000000",
      "\"a", "\"a\\b\"", "\"\u{7F}\"", "\"ü\"", ":a", ":a:", ":a=b:", ":?:", ":aaaa===:", "?2", "?",
      "@1.5", "@", "%\"%C3%BC\"", "%\"%c3\"", "%\"%f", "%a", "a;", "a;B=1", "a;b=", "a ;b", "(a)",
      "ü", "\u{1}",
    ])
  func malformed(text: String) {
    #expect(throws: Malformed.self) { try item(text) }
  }

  @Test("parameters keep their order, and the last of one key wins in the first one's place")
  func parameters() throws {
    let parameters = try item("a;x=1; y;x=2").parameters
    #expect(parameters.pairs.map(\.key) == ["x", "y"])
    #expect(parameters["x"] == .integer(2))
    #expect(parameters["y"] == .boolean(true))
    #expect(parameters["z"] == nil)
  }

  @Test("lists hold items and inner lists")
  func lists() throws {
    let list = try StructuredField.list(Array("a;q=1.0 ,\t(\"b\" c);d, 3".utf8).span)
    #expect(list.count == 3)
    #expect(list[0].value == .token("a"))
    if case .innerList(let items, let parameters) = list[1] {
      #expect(items.map(\.value) == [.string("b"), .token("c")])
      #expect(parameters["d"] == .boolean(true))
    } else {
      Issue.record("no inner list")
    }
    #expect(try StructuredField.list([UInt8]().span).isEmpty)
  }

  @Test("broken lists", arguments: ["a,", ",a", "a,,b", "(a", "(a\"b\")", "(a,b)", "a b", "((a))"])
  func brokenLists(text: String) {
    #expect(throws: Malformed.self) { try StructuredField.list(Array(text.utf8).span) }
  }

  @Test("dictionaries: a key alone is true, the last of equal keys wins")
  func dictionaries() throws {
    let text = "max-age=600, no-store, private=?0, max-age=60;x, list=(1 2)"
    let dictionary = try StructuredField.dictionary(Array(text.utf8).span)
    #expect(dictionary.pairs.map(\.key) == ["max-age", "no-store", "private", "list"])
    #expect(dictionary["max-age"]?.value == .integer(60))
    #expect(dictionary["no-store"]?.value == .boolean(true))
    #expect(dictionary["private"]?.value == .boolean(false))
    #expect(dictionary["list"]?.value == nil)
    #expect(dictionary["absent"] == nil)
  }

  @Test(
    "broken dictionaries",
    arguments: ["max-age=", "Max-Age=1", "a=1,", "a=1 b=2", "=1", "a==1", "a = 1", "max-age=60s"])
  func brokenDictionaries(text: String) {
    #expect(throws: Malformed.self) { try StructuredField.dictionary(Array(text.utf8).span) }
  }

  @Test("no bytes stop the parser")
  func hostileBytes() {
    var random = SeededGenerator(seed: 9651)
    let alphabet = Array("a1-.,;= ()\"\\:?@%*+\t\u{0}".utf8) + [0xFF]
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...24, using: &random)).map { _ in
        alphabet.randomElement(using: &random) ?? 0
      }
      _ = try? StructuredField.item(bytes.span)
      _ = try? StructuredField.list(bytes.span)
      _ = try? StructuredField.dictionary(bytes.span)
    }
  }
}

@Suite("Cache-Status and Proxy-Status")
struct StatusFieldTests {
  private func text(_ status: CacheStatus) -> String {
    var output: [UInt8] = []
    status.serialise(into: &output)
    return String(decoding: output, as: UTF8.self)
  }

  @Test("a hit says how long it stays fresh")
  func hit() {
    #expect(text(.hit(timeToLive: 376)) == "Holdfast; hit; ttl=376")
    #expect(text(.hit(timeToLive: -412)) == "Holdfast; hit; ttl=-412")
    #expect(text(.hit(timeToLive: .max)) == "Holdfast; hit; ttl=999999999999999")
  }

  @Test("a forwarded request says why, what came, and what became of it")
  func forwarded() {
    #expect(
      text(
        CacheStatus(
          forwarded: .uriMiss, forwardStatus: .ok, timeToLive: 60, isStored: true,
          isCollapsed: true)) == "Holdfast; fwd=uri-miss; fwd-status=200; stored; collapsed; ttl=60"
    )
    #expect(
      text(CacheStatus(forwarded: .stale, forwardStatus: .notModified, detail: "freshened"))
        == "Holdfast; fwd=stale; fwd-status=304; detail=freshened")
  }

  @Test(
    "every reason makes a member that can be parsed", arguments: CacheStatus.ForwardReason.allCases)
  func parsable(reason: CacheStatus.ForwardReason) throws {
    let list = try StructuredField.list(Array(text(CacheStatus(forwarded: reason)).utf8).span)
    guard case .item(let item) = list.first else {
      Issue.record("no item")
      return
    }
    #expect(item.value == .token("Holdfast"))
    #expect(item.parameters["fwd"] == .token("\(reason.token)"))
  }

  @Test("every error makes a member that can be parsed", arguments: ProxyStatus.ErrorType.allCases)
  func errors(error: ProxyStatus.ErrorType) throws {
    var output: [UInt8] = []
    ProxyStatus(
      error: error, nextHop: "[::1]:80", receivedStatus: Status(500), details: "he said \"no\"\n\\ü"
    ).serialise(into: &output)
    guard case .item(let item) = try StructuredField.list(output.span).first else {
      Issue.record("no item")
      return
    }
    #expect(item.parameters["error"] == .token(error.rawValue))
    #expect(item.parameters["next-hop"] == .string("[::1]:80"))
    #expect(item.parameters["received-status"] == .integer(500))
    #expect(item.parameters["details"] == .string("he said \"no\"?\\??"))
    #expect(error.recommendedStatus.rawValue >= 400)
    #expect(error.sentence.hasSuffix("."))
  }
}
