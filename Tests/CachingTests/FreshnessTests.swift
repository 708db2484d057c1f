// Lifetimes, ages, and that a stored response can be rebuilt from what the store keeps.

import HTTP
import SeededRandom
import Testing

@testable import Caching

private func lifetime(_ fields: FieldSection, status: Status = .ok) -> Int64 {
  stored(fields, status: status).freshness.lifetime
}

@Suite("Freshness lifetime (RFC 9111 §4.2.1)")
struct LifetimeTests {
  @Test(
    "the first that applies: s-maxage, max-age, Expires",
    arguments: [
      (["Cache-Control": "max-age=60, s-maxage=30", "Expires": date(90)], 30),
      (["Cache-Control": "s-maxage=0, max-age=60"], 0),
      (["Cache-Control": "max-age=60", "Expires": date(90)], 60),
      (["Cache-Control": "max-age=60", "Expires": "0"], 60),
      (["Cache-Control": "public", "Expires": date(90)], 90),
      (["Expires": date(90), "Date": date(0)], 90),
      (["Expires": date(90), "Date": date(-10)], 100),
      (["Expires": date(90), "Date": date(100)], 0),
      (["Expires": date(-1)], 0),
      (["Cache-Control": "s-maxage=x, max-age=60"], 0),
    ] as [(FieldSection, Int64)])
  func precedence(fields: FieldSection, seconds: Int64) {
    #expect(lifetime(fields) == seconds)
    #expect(stored(fields).freshness.flags.contains(.explicit))
  }

  @Test(
    "an Expires that is no date has passed",
    arguments: ["0", "-1", "", "never", "Mon, 02 Mar 2027 10:11:12 PST", "1772446999"])
  func brokenExpires(value: String) {
    let fields: FieldSection = ["Expires": value, "Last-Modified": date(-864_000)]
    #expect(lifetime(fields) == 0)
    #expect(stored(fields).freshness.flags.contains(.explicit))
  }

  @Test("several Expires count when they agree")
  func repeatedExpires() {
    #expect(lifetime(["Expires": date(60), "expires": date(60)]) == 60)
    #expect(lifetime(["Expires": date(60), "expires": date(90)]) == 0)
  }

  @Test("an Expires millennia away is 2^31 seconds away")
  func farExpires() {
    #expect(lifetime(["Expires": "Fri, 31 Dec 9999 23:59:59 GMT"]) == DeltaSeconds.maximum)
  }

  @Test(
    "without a lifetime it is a tenth of the time since the last change, a day at most",
    arguments: [
      (1000, 100), (10, 1), (9, 0), (0, 0), (-50, 0), (864_000, 86_400), (9_000_000, 86_400),
    ]
      as [(Int64, Int64)])
  func heuristic(sinceChange: Int64, seconds: Int64) {
    let freshness = stored(["Date": date(0), "Last-Modified": date(-sinceChange)]).freshness
    #expect(freshness.lifetime == seconds)
    #expect(freshness.flags == [.heuristic, .successful])
  }

  @Test("a Last-Modified of the year 1 does not overflow the guess")
  func ancient() {
    #expect(lifetime(["Last-Modified": "Mon, 01 Jan 0001 00:00:00 GMT"]) == 86_400)
  }

  @Test("no guess without Last-Modified, nor for a status not open to guesses unless public")
  func noHeuristic() {
    #expect(lifetime(["ETag": "\"a\""]) == 0)
    #expect(lifetime(["Last-Modified": date(-1000)], status: Status(302)) == 0)
    #expect(
      lifetime(["Last-Modified": date(-1000), "Cache-Control": "public"], status: Status(302))
        == 100)
    for status in [404, 405, 410, 414, 501] as [UInt16] {
      #expect(lifetime(["Last-Modified": date(-1000)], status: Status(status)) == 0)
      #expect(
        lifetime(["Last-Modified": date(-1000), "Cache-Control": "public"], status: Status(status))
          == 0)
    }
    #expect(lifetime(["Last-Modified": date(-1000), "Cache-Control": "max-age=0"]) == 0)
  }
}

@Suite("Age (RFC 9111 §4.2.3)")
struct AgeTests {
  @Test(
    "is the larger of what Date and what Age and the delay say",
    arguments: [
      ([:], 0, 0),
      ([:], 3, 3),
      (["Age": "100"], 0, 100),
      (["Age": "100"], 3, 103),
      (["Date": date(-50)], 3, 50),
      (["Date": date(-50), "Age": "100"], 3, 103),
      (["Date": date(-500), "Age": "100"], 3, 500),
      (["Date": date(50)], 0, 0),
      (["Date": date(50), "Age": "7"], 0, 7),
      (["Date": "no date"], 2, 2),
    ] as [(FieldSection, Int64, Int64)])
  func initial(fields: FieldSection, delay: Int64, age: Int64) {
    #expect(stored(fields, delay: delay).freshness.correctedInitialAge == age)
    #expect(stored(fields, delay: delay).freshness.currentAge(at: arrival + 10) == age + 10)
  }

  @Test(
    "of a list the first number counts, and what is none is ignored (§5.1)",
    arguments: [
      ("5", 5), ("5, 9", 5), ("0005", 5), ("-5", 0), ("5.5", 0), ("x", 0), ("", 0), ("\"5\"", 0),
      ("x, 5", 0), ("99999999999999999999", DeltaSeconds.maximum),
    ] as [(String, Int64)])
  func received(value: String, age: Int64) {
    #expect(Freshness.receivedAge(["Age": value]) == age)
    #expect(stored(["Age": value]).freshness.correctedInitialAge == age)
  }

  @Test("a response is fresh while its lifetime exceeds its age")
  func boundary() {
    let freshness = stored(["Cache-Control": "max-age=60", "Age": "10"]).freshness
    #expect(freshness.isFresh(at: arrival + 49))
    #expect(!freshness.isFresh(at: arrival + 50))
    #expect(freshness.remaining(at: arrival + 49) == 1)
    #expect(freshness.remaining(at: arrival + 70) == -20)
  }

  @Test("a clock set back does not make a response younger than it came")
  func clockSetBack() {
    let freshness = stored(["Age": "10"]).freshness
    #expect(freshness.currentAge(at: arrival - 1000) == 10)
    #expect(freshness.currentAge(at: .min) == 10)
  }

  @Test("a response whose request left after it arrived is not younger for it")
  func reversedTimes() {
    #expect(stored([:], delay: -100).freshness.correctedInitialAge == 0)
  }

  @Test("no numbers make the arithmetic overflow or an age negative")
  func extremes() {
    let extremes: [Int64] = [.min, .min + 1, -1, 0, 1, DeltaSeconds.maximum, .max - 1, .max]
    let ages = ["0", "1", "2147483648", "9223372036854775807", "99999999999999999999"]
    for requestTime in extremes {
      for responseTime in extremes {
        for age in ages {
          let freshness = StoredResponse(
            status: .ok, fields: ["Age": age, "Cache-Control": "max-age=\(age)"],
            requestTime: requestTime, responseTime: responseTime, variance: .none
          ).freshness
          for now in extremes {
            #expect((0...DeltaSeconds.maximum).contains(freshness.currentAge(at: now)))
            _ = Reuse.decide(freshness, .none, now: now)
          }
        }
      }
    }
  }

  @Test("age never goes down while time goes on")
  func monotonic() {
    var random = SeededGenerator(seed: 423)
    for _ in 0..<2000 {
      let freshness = Freshness(
        lifetime: Int64.random(in: 0...DeltaSeconds.maximum, using: &random),
        correctedInitialAge: Int64.random(in: 0...DeltaSeconds.maximum, using: &random),
        responseTime: Int64.random(in: .min ... .max, using: &random))
      let first = Int64.random(in: .min ... .max, using: &random)
      let second = Int64.random(in: first ... .max, using: &random)
      #expect(freshness.currentAge(at: first) <= freshness.currentAge(at: second))
    }
  }
}

@Suite("Stored responses")
struct StoredResponseTests {
  @Test("what the store writes down makes the same response again, as often as one likes")
  func rebuilt() {
    let response = stored(
      [
        "Date": date(-5), "Age": "100", "Cache-Control": "max-age=600, no-cache=\"X-Secret\"",
        "ETag": "\"a\"", "Last-Modified": date(-5000), "Content-Length": "42",
        "Vary": "Accept-Encoding", "X-Secret": "s", "Set-Cookie": "a=b",
      ], for: ["Accept-Encoding": "gzip"], delay: 3)
    var again = response
    for _ in 0..<3 {
      again = StoredResponse(
        status: again.status, fields: again.fields, requestTime: again.requestTime,
        responseTime: again.responseTime,
        variance: Variance(
          selectors: again.variance.selectors
            .map { Variance.Selector(name: $0.name, value: $0.value) }))
      #expect(again.fields == response.fields)
      #expect(again.freshness == response.freshness)
      #expect(again.validators == response.validators)
      #expect(again.variance == response.variance)
      #expect(again.contentLength == 42)
    }
    #expect(response.freshness.correctedInitialAge == 103)
  }

  @Test("neither Age nor a cookie nor what is not to be shared is kept")
  func left() {
    let fields = stored([
      "Age": "5", "Set-Cookie": "a=b", "set-cookie": "c=d", "X-A": "1", "X-B": "2", "x-c": "3",
      "Cache-Control": "max-age=60, private=\"x-a\", no-cache=X-C",
    ]).fields
    #expect(fields.text(.age) == nil)
    #expect(fields.text(.setCookie) == nil)
    #expect(fields.text(named: "X-A") == nil)
    #expect(fields.text(named: "X-B") == "2")
    #expect(fields.text(named: "X-C") == nil)
  }

  @Test("a missing or broken Date becomes the time of arrival, a good one stays")
  func dateOfArrival() {
    #expect(stored([:]).fields.text(.date) == date(0))
    #expect(stored(["Date": "x"]).fields.text(.date) == date(0))
    #expect(stored(["Date": date(-7)]).fields.text(.date) == date(-7))
  }

  @Test("the length is known once the content is complete")
  func completed() {
    #expect(stored([:]).contentLength == nil)
    let response = stored(["ETag": "\"a\""]).completed(length: 17)
    #expect(response.contentLength == 17)
    #expect(response.fields.text(.contentLength) == "17")
    #expect(response.fields.text(.etag) == "\"a\"")
    #expect(response.completed(length: 17).fields == response.fields)
  }
}
