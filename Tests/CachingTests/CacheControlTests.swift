// Directives of both sides, written in every way they are seen: nonsense is read strictly.

import HTTP
import SeededRandom
import Testing

@testable import Caching

private func request(_ value: String) -> RequestDirectives {
  RequestDirectives(.cacheControl(value))
}

private func response(_ value: String) -> ResponseDirectives {
  ResponseDirectives(.cacheControl(value))
}

@Suite("delta-seconds")
struct DeltaSecondsTests {
  @Test(
    "are digits, and 2^31 at most (RFC 9111 §1.2.2)",
    arguments: [
      ("0", 0), ("60", 60), ("0060", 60), ("2147483647", 2_147_483_647),
      ("2147483648", 2_147_483_648), ("2147483649", 2_147_483_648),
      ("99999999999", 2_147_483_648), ("99999999999999999999999999999999", 2_147_483_648),
      ("", nil), ("-1", nil), ("+1", nil), ("1.5", nil), ("1 ", nil), ("1s", nil), ("٣", nil),
      ("0x10", nil), ("1e3", nil),
    ] as [(String, Int64?)])
  func parsed(text: String, seconds: Int64?) {
    #expect(DeltaSeconds.parse(Array(text.utf8).span) == seconds)
  }

  @Test("differences never overflow")
  func differences() {
    #expect(DeltaSeconds.difference(5, 3) == 2)
    #expect(DeltaSeconds.difference(.max, .min) == DeltaSeconds.maximum)
    #expect(DeltaSeconds.difference(.min, .max) == -DeltaSeconds.maximum)
    #expect(DeltaSeconds.difference(.max, 0) == DeltaSeconds.maximum)
  }
}

@Suite("Cache-Control of requests")
struct RequestDirectivesTests {
  @Test("directives are read in any case and spacing")
  func spelling() {
    let all = request("No-Cache,no-STORE ,\tonly-if-cached,, max-age=1, max-stale=2,min-fresh=3")
    #expect(all.noCache && all.noStore && all.onlyIfCached)
    #expect(all.maxAge == 1)
    #expect(all.maxStale == 2)
    #expect(all.minFresh == 3)
  }

  @Test("max-stale without a number accepts any staleness")
  func maxStale() {
    #expect(request("max-stale").maxStale == DeltaSeconds.maximum)
  }

  @Test(
    "a demand that cannot be read is the strictest one",
    arguments: ["max-age", "max-age=", "max-age=-1", "max-age=x", "max-age = 60", "max-age=1.5"])
  func broken(value: String) {
    #expect(request(value).maxAge == 0)
  }

  @Test("broken min-fresh and max-stale are strict as well")
  func brokenOthers() {
    #expect(request("min-fresh=soon").minFresh == DeltaSeconds.maximum)
    #expect(request("max-stale=some").maxStale == 0)
  }

  @Test("of repeated demands the strictest counts, over all lines")
  func repeated() {
    let twice = RequestDirectives([
      "Cache-Control": "max-age=60, max-stale=9, min-fresh=1",
      "cache-control": "max-age=5, max-stale=3, min-fresh=7",
    ])
    #expect(twice.maxAge == 5)
    #expect(twice.maxStale == 3)
    #expect(twice.minFresh == 7)
  }

  @Test("Pragma: no-cache counts only without Cache-Control (RFC 9111 §5.4)")
  func pragma() {
    #expect(RequestDirectives(["Pragma": "no-cache"]).noCache)
    #expect(RequestDirectives(["Pragma": "x=\"y\", No-Cache"]).noCache)
    #expect(!RequestDirectives(["Pragma": "nothing"]).noCache)
    #expect(!RequestDirectives(["Pragma": "no-cache", "Cache-Control": "max-age=60"]).noCache)
    #expect(!RequestDirectives(["Cache-Control": "max-age=60", "Pragma": "no-cache"]).noCache)
    #expect(RequestDirectives(["Pragma": "no-cache", "Cache-Control": "no-cache"]).noCache)
  }

  @Test("unknown directives and an empty field change nothing")
  func unknown() {
    #expect(request("").isDefault)
    #expect(request("no-transform, x=\"no-cache, no-store\", max-ages=0").isDefault)
    #expect(request(", ,=,\"").isDefault)
  }

  @Test("a parsed head and its copy say the same")
  func parsedHead() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nCache-Control: max-age=5\r\nPragma: no-cache\r\n\r\n"
    let bytes = Array(text.utf8)
    var head = ParsedHead()
    _ = MessageParser.parseRequest(bytes.span, into: &head)
    let inPlace = RequestDirectives(head, of: bytes.span)
    let copied = FieldSection(copying: head, of: bytes.span)
    #expect(inPlace == RequestDirectives(copied))
    #expect(inPlace.maxAge == 5 && !inPlace.noCache)
  }
}

@Suite("Cache-Control of responses")
struct ResponseDirectivesTests {
  @Test(
    "flags",
    arguments: [
      ("no-store", .noStore), ("NO-STORE", .noStore), ("no-cache", .noCache),
      ("private", .isPrivate), ("public", .isPublic), ("must-revalidate", .mustRevalidate),
      ("proxy-revalidate", .proxyRevalidate), ("must-understand", .mustUnderstand),
      ("immutable", .immutable), ("no-transform", .noTransform),
      ("a=b , public;x, no-store", .noStore), (",, no-store ,,", .noStore),
    ] as [(String, ResponseDirectives.Flags)])
  func flags(value: String, flag: ResponseDirectives.Flags) {
    #expect(response(value).flags == flag)
  }

  @Test("a restriction counts with any argument, a permission only without one")
  func arguments() {
    #expect(response("no-store=maybe").flags == .noStore)
    #expect(response("must-revalidate=0").flags == .mustRevalidate)
    #expect(response("public=yes, immutable=1, must-understand=\"\"").flags == [])
  }

  @Test(
    "ages are numbers, quoted or not, and stale when they are anything else",
    arguments: [
      ("max-age=60", 60), ("max-age=\"60\"", 60), ("Max-Age=60", 60), ("max-age=0060", 60),
      ("max-age=99999999999999999999", DeltaSeconds.maximum),
      ("max-age", 0), ("max-age=", 0), ("max-age=-60", 0), ("max-age=60s", 0),
      ("max-age=60.5", 0), ("max-age= 60", 0), ("max-age =60", 0), ("max-age='60'", 0),
      ("max-age=\"60", 0), ("max-age=60;public", 0), ("max-age=1 2", 0), ("max-age=\"\"", 0),
    ] as [(String, Int64)])
  func ages(value: String, seconds: Int64) {
    #expect(response(value).maxAge == seconds)
  }

  @Test("repeated ages that agree count, those that differ mean stale (RFC 9111 §4.2.1)")
  func repeated() {
    #expect(response("max-age=60, max-age=60").maxAge == 60)
    #expect(response("max-age=60, max-age=90").maxAge == 0)
    #expect(response("max-age=90, max-age=60, max-age=90").maxAge == 0)
    #expect(response("max-age=60, max-age=x").maxAge == 0)
    #expect(response("s-maxage=1, s-maxage=2").sMaxAge == 0)
    let lines: FieldSection = ["Cache-Control": "max-age=60", "cache-control": "max-age=61"]
    #expect(ResponseDirectives(lines).maxAge == 0)
  }

  @Test("what is quoted is no directive, unless the quote never ends")
  func quotes() {
    #expect(response("x=\"a, no-store\", public").flags == .isPublic)
    #expect(response("x=\"a\\\", no-store\"").flags == [])
    #expect(response("x=\"a, no-store").flags == .noStore)
    #expect(response("\"no-store\"").flags == [])
  }

  @Test("no-cache and private with fields speak of these fields")
  func qualified() {
    let both = response("no-cache=\"Set-Cookie, X-A\", private=x-b")
    #expect(both.flags == [])
    #expect(
      both.unsharedFields.map { String(decoding: $0, as: UTF8.self) } == [
        "set-cookie", "x-a", "x-b",
      ])
  }

  @Test(
    "they speak of the whole when the list is broken, or names what caching rests on",
    arguments: [
      "private=\"\"", "private=\" , \"", "private=\"a b\"", "private=\"Vary\"",
      "private=\"X-A, ETag\"", "private=\"Set-Cookie", "private=", "private =x-a",
    ])
  func qualifiedAsWhole(value: String) {
    #expect(response(value).flags == .isPrivate)
  }

  @Test("stale-while-revalidate and stale-if-error")
  func staleness() {
    let both = response("max-age=1, stale-while-revalidate=30, stale-if-error=\"86400\"")
    #expect(both.staleWhileRevalidate == 30)
    #expect(both.staleIfError == 86_400)
    #expect(response("stale-if-error=x").staleIfError == 0)
  }

  @Test("CDN-Cache-Control replaces Cache-Control and Expires (RFC 9213)")
  func targeted() {
    let fields: FieldSection = [
      "Cache-Control": "no-store", "CDN-Cache-Control": "max-age=600, must-revalidate;x",
      "Expires": "0",
    ]
    let directives = ResponseDirectives(fields)
    #expect(directives.flags == [.targeted, .mustRevalidate])
    #expect(directives.maxAge == 600)
    #expect(stored(fields).freshness.lifetime == 600)
    #expect(stored(["CDN-Cache-Control": "public", "Expires": date(60)]).freshness.lifetime == 0)
  }

  @Test(
    "a CDN-Cache-Control that is empty or malformed is as if it were not there",
    arguments: [
      "", "max-age=60,", "Max-Age=60", "max-age = 60", "max-age=60 no-store", "max-age=1s",
    ])
  func targetedBroken(value: String) {
    let fields: FieldSection = ["CDN-Cache-Control": value, "Cache-Control": "max-age=5"]
    #expect(ResponseDirectives(fields).maxAge == 5)
    #expect(!ResponseDirectives(fields).flags.contains(.targeted))
  }

  @Test(
    "a targeted directive of the wrong type is the strict one",
    arguments: [
      ("max-age=1.5", 0), ("max-age=-5", 0), ("max-age", 0), ("max-age=\"x\"", 0),
      ("max-age=(1 2)", 0), ("max-age=5, max-age=6", 6),
    ] as [(String, Int64)])
  func targetedTypes(value: String, seconds: Int64) {
    #expect(ResponseDirectives(["CDN-Cache-Control": value]).maxAge == seconds)
  }

  @Test(
    "of a list of targeted fields the first valid one counts",
    arguments: [
      (["Mirror-Cache-Control": "max-age=1", "CDN-Cache-Control": "max-age=2"], 1),
      (["mirror-cache-control": "max-age=1,", "CDN-Cache-Control": "max-age=2"], 2),
      (["Mirror-Cache-Control": "", "CDN-Cache-Control": "max-age=2"], 2),
      (
        [
          "Mirror-Cache-Control": "Max-Age=1", "CDN-Cache-Control": "(",
          "Cache-Control": "max-age=3",
        ], 3
      ),
      (["CDN-Cache-Control": "max-age=2", "Cache-Control": "max-age=3"], 2),
      (["Mirror-Cache-Control": "max-age=1, s-maxage=4"], 1),
      (["Surrogate-Control": "max-age=9", "Cache-Control": "max-age=3"], 3),
    ] as [(FieldSection, Int64)])
  func targetList(fields: FieldSection, seconds: Int64) {
    let targets = TargetedFields(["Mirror-Cache-Control", "CDN-Cache-Control"])
    #expect(ResponseDirectives(fields, targets: targets).maxAge == seconds)
  }

  @Test("without targets every targeted field is ignored")
  func noTargets() {
    let fields: FieldSection = ["CDN-Cache-Control": "max-age=2", "Cache-Control": "max-age=3"]
    #expect(ResponseDirectives(fields, targets: TargetedFields([])).maxAge == 3)
  }

  @Test("a targeted field cannot be hidden from the store that rests on it")
  func hiddenTarget() {
    let targets = TargetedFields(["Mirror-Cache-Control"])
    let fields: FieldSection = [
      "Mirror-Cache-Control": "max-age=60, private=\"mirror-cache-control\""
    ]
    #expect(ResponseDirectives(fields, targets: targets).flags.contains(.isPrivate))
  }

  @Test("a targeted flag set to false is not set")
  func targetedFalse() {
    #expect(
      ResponseDirectives(["CDN-Cache-Control": "no-store=?0, public"]).flags
        == [.targeted, .isPublic])
  }

  @Test("no bytes stop the scanner, and it always gets to the end")
  func hostileBytes() {
    var random = SeededGenerator(seed: 9111)
    let alphabet = Array("max-age=1,\"\\ \t;no-store private".utf8) + [0, 0x7F, 0xFF]
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
        alphabet.randomElement(using: &random) ?? 0
      }
      var directives = ResponseDirectives()
      directives.add(cacheControl: bytes.span)
      var demands = RequestDirectives()
      demands.add(cacheControl: bytes.span)
      demands.add(pragma: bytes.span)
      #expect((0...DeltaSeconds.maximum).contains(directives.maxAge ?? 0))
    }
  }
}
