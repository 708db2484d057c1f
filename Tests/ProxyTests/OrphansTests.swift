import Configuration
import Testing

@testable import Proxy

@Suite struct OrphansTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var received: Int64
    var expected: Int64?
    var since: Int64 = 0
    var waited: Duration = .seconds(1)
    var goesOn: Bool
  }

  private static let mib: Int64 = 1 << 20

  @Test(
    "a fill without readers goes on when little is to come, or most of it is here",
    arguments: [
      Case(testDescription: "before the head", received: 0, expected: nil, goesOn: true),
      Case(testDescription: "a small answer", received: 0, expected: 5 * mib, goesOn: true),
      Case(testDescription: "just enough to come", received: 0, expected: 16 * mib, goesOn: true),
      Case(
        testDescription: "a byte too much to come", received: 0, expected: 16 * mib + 1,
        goesOn: false),
      Case(
        testDescription: "half of a large answer", received: 50 * mib, expected: 100 * mib,
        goesOn: true),
      Case(
        testDescription: "less than half of it", received: 49 * mib, expected: 100 * mib,
        goesOn: false),
      Case(
        testDescription: "the end of a large one", received: 990 * mib, expected: 1000 * mib,
        goesOn: true),
      Case(
        testDescription: "no length, not much yet", received: 500 * mib, expected: nil,
        since: 16 * mib, goesOn: true),
      Case(
        testDescription: "no length, and no end to it", received: 500 * mib, expected: nil,
        since: 16 * mib + 1, goesOn: false),
      Case(
        testDescription: "small, but it takes for ever", received: 0, expected: 100,
        waited: .seconds(300), goesOn: false),
      Case(
        testDescription: "the largest length there is", received: 0, expected: .max, goesOn: false),
      Case(
        testDescription: "the last half of it", received: .max / 2 + 1, expected: .max,
        goesOn: true),
    ])
  func rule(_ fill: Case) {
    let rule = OrphanRule(settings: OrphanSettings())
    #expect(
      rule.goesOn(
        received: fill.received, expected: fill.expected, since: fill.since, waited: fill.waited)
        == fill.goesOn)
  }

  @Test("what renews something that is used goes on whatever its length, and not for ever")
  func renewal() {
    let rule = OrphanRule(settings: OrphanSettings())
    #expect(
      rule.goesOn(received: 0, expected: .max, since: 0, waited: .zero, isRenewal: true))
    #expect(
      !rule.goesOn(received: 0, expected: 1, since: 0, waited: .seconds(300), isRenewal: true))
  }

  @Test("with 100 percent only what is still to come counts")
  func remainingOnly() {
    var settings = OrphanSettings()
    settings.finishAbove = 100
    settings.finishBelow = .kib(1)
    let rule = OrphanRule(settings: settings)
    #expect(!rule.goesOn(received: 98_000, expected: 100_000, since: 0, waited: .zero))
    #expect(rule.goesOn(received: 99_000, expected: 100_000, since: 0, waited: .zero))
  }

  @Test("no more of them than the limit, and a place that is given back is free")
  func places() {
    let orphans = Orphans()
    #expect(orphans.enter(limit: 2))
    #expect(orphans.enter(limit: 2))
    #expect(!orphans.enter(limit: 2))
    orphans.leave()
    #expect(orphans.enter(limit: 2))
    #expect(!orphans.enter(limit: 0))
    #expect(orphans.count == 2)
  }
}
