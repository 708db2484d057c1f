// What there is to be fetched and what is true of it: resources whose content changes with time, and a record of
// every answer an origin has given. From that the world can tell what a client may be given at some moment.

import Platform
import SeededRandom

/// Something that can be asked for.
package final class Resource {
  /// What its origin says about storing it.
  package enum Policy: CaseIterable {
    case fresh, brief, noStore, isPrivate, noCache, mustRevalidate, whileRevalidate, ifError,
      heuristic,
      silent
  }

  struct Barrier {
    var told: Int64
    var from: Int64
    var why: String
    var isPurge: Bool
  }

  package enum Framing { case length, chunked, untilClose }

  package let number: Int
  package let host: String
  package let path: String
  package let policy: Policy
  package let framing: Framing
  package let size: Int
  package let hasETag: Bool
  package let hasModified: Bool
  package let varies: Bool
  /// How often its content changes, in seconds; nil for never.
  private let period: Int64?
  private let phase: Int64
  /// What an unsafe method has changed.
  private var bumps = 0
  /// When the last of them was.
  private var bumped: Int64 = 0
  /// Who asks after `told` may get nothing that an origin said before `from`.
  private var barriers: [Barrier] = []

  init(_ number: Int, _ random: inout SeededGenerator, _ scenario: Scenario) {
    self.number = number
    host = "o\(random.below(scenario.origins)).test"
    path = "/r/\(number)"
    policy = random.oneIn(3) ? .fresh : random.pick(Policy.allCases)
    framing = random.pick([.length, .length, .length, .chunked, .chunked, .untilClose])
    switch random.below(20 - scenario.large) {
    case _ where random.below(20) < scenario.large:
      size = random.within(40_000...scenario.largest)
    case 0: size = 0
    case 1...13: size = random.within(1...4000)
    default: size = random.within(4000...40_000)
    }
    hasETag = random.below(4) != 0
    hasModified = policy == .heuristic || random.oneIn(2)
    varies = random.oneIn(5)
    period = random.oneIn(3) ? nil : Int64(random.within(5...300))
    phase = Int64(random.below(1000))
  }

  func version(at second: Int64) -> Int {
    (period.map { Int((second + phase) / $0) } ?? 0) + bumps * 1_000_000
  }

  func change(at second: Int64) {
    bumps += 1
    bumped = second
  }

  /// From now on everybody may expect what an origin has said since then.
  func expect(since from: Int64, now: Int64, because why: String, isPurge: Bool = false) {
    barriers.append(Barrier(told: now, from: from, why: why, isPurge: isPurge))
  }

  /// What was removed since then may be there again.
  func forget(since time: Int64, purges: Bool) {
    barriers.removeAll { $0.told > time && (purges || !$0.isPurge) }
  }

  /// Why what was said at `time` must not be given to who asks at `asked`.
  func barrier(_ time: Int64, asked: Int64) -> Barrier? {
    barriers.first { $0.told < asked && time < $0.from }
  }

  /// When this version came to be, for Last-Modified.
  func modified(at second: Int64) -> Int64 {
    max(bumped, period.map { second - (second + phase) % $0 } ?? 1_700_000_000)
  }

  /// Seconds, as the answer says or as RFC 9111 §4.2.2 guesses at most.
  var lifetime: Int64 {
    switch policy {
    case .fresh: 120
    case .brief: 3
    case .mustRevalidate, .whileRevalidate, .ifError: 5
    // A tenth of the time since the last change, which is at most one period ago.
    case .heuristic, .silent: hasModified ? (period ?? 864_000) / 10 : 0
    case .noStore, .isPrivate, .noCache: 0
    }
  }

  /// How long after that it may be used although nothing has failed.
  var grace: Int64 { policy == .whileRevalidate ? 10 : 0 }

  var mayBeStaleOnFailure: Bool {
    switch policy {
    case .noStore, .isPrivate, .noCache, .mustRevalidate: false
    default: true
    }
  }

  /// For one client alone.
  var isPersonal: Bool { policy == .noStore || policy == .isPrivate }

  var cacheControl: String? {
    switch policy {
    case .fresh: "max-age=120"
    case .brief: "public, max-age=3"
    case .noStore: "no-store"
    case .isPrivate: "private, max-age=100"
    case .noCache: "no-cache, max-age=100"
    case .mustRevalidate: "max-age=5, must-revalidate"
    case .whileRevalidate: "max-age=5, stale-while-revalidate=10"
    case .ifError: "max-age=5, stale-if-error=60"
    case .heuristic, .silent: nil
    }
  }

  func key(_ version: Int, _ language: String) -> UInt64 {
    var key = UInt64(number) << 40 ^ UInt64(version)
    if varies { for byte in language.utf8 { key = key &* 31 &+ UInt64(byte) } }
    return SeededGenerator.mix(key)
  }

  func length(_ version: Int) -> Int {
    // Versions differ in length too, so that a mixture cannot fit.
    size == 0 ? 0 : size + version % 7
  }

  func tag(_ version: Int, _ language: String) -> String {
    "\"r\(number)-\(version)\(varies ? "-" + language : "")\""
  }
}

/// One answer of an origin.
package final class OriginAnswer {
  let serial: Int
  let resource: Resource
  let version: Int
  let language: String
  /// The request of a client that led to it, by what was passed on with it.
  let ask: Int
  let time: Int64
  /// When the last of it was sent; nil while it is being sent.
  var endTime: Int64?
  /// What the request has changed, if it was an unsafe one.
  var changed: [Resource] = []

  init(
    _ serial: Int, _ resource: Resource, _ version: Int, _ language: String, ask: Int, time: Int64
  ) {
    self.serial = serial
    self.resource = resource
    self.version = version
    self.language = language
    self.ask = ask
    self.time = time
  }
}

package final class World {
  package let machine: Machine
  package let scenario: Scenario
  package let resources: [Resource]
  private(set) var answers: [OriginAnswer] = []
  var tunnelSides: [TunnelSide] = []
  private var isInterrupted = false
  private var interruptedUntil: Int64 = -1
  /// What an origin received of the uploads, by the number of the request.
  var uploads: [Int: Bool] = [:]
  package private(set) var violations: [String] = []
  package var tallies: [String: Int] = [:]
  private var nextAsk = 0

  package init(_ machine: Machine, _ scenario: Scenario) {
    self.machine = machine
    self.scenario = scenario
    resources = (0..<scenario.resources).map { Resource($0, &machine.random, scenario) }
  }

  // MARK: Restarts

  func interruptionBegins() { isInterrupted = true }

  func interruptionEnds() {
    isInterrupted = false
    interruptedUntil = machine.now
  }

  /// The proxy ended, or began to, since then: what was going on may have been cut.
  func wasInterrupted(since time: Int64) -> Bool { isInterrupted || interruptedUntil >= time }

  /// What a process or a machine that stops may forget: removals are on the disk some time after they are answered.
  func forget(after end: Subject.End, at time: Int64) {
    let known: Int64 =
      switch end {
      case _ where scenario.diskFaults > 0: -1
      case .stop: .max
      case .kill: time - 2_000_000_000
      case .powerCut: -1
      }
    for resource in resources {
      resource.forget(since: known, purges: scenario.diskFaults > 0)
    }
  }

  func takeAskNumber() -> Int {
    nextAsk += 1
    return nextAsk
  }

  func answer(_ serial: Int) -> OriginAnswer? {
    answers.indices.contains(serial) ? answers[serial] : nil
  }

  func record(_ resource: Resource, _ language: String, ask: Int) -> OriginAnswer {
    let answer = OriginAnswer(
      answers.count, resource, resource.version(at: machine.seconds), language, ask: ask,
      time: machine.now)
    answers.append(answer)
    return answer
  }

  func count(_ what: String) { tallies[what, default: 0] += 1 }

  /// A client has heard that its unsafe request was carried out.
  func wasChanged(by answer: OriginAnswer) {
    for resource in answer.changed {
      resource.expect(
        since: answer.time, now: machine.now, because: "request \(answer.ask)")
    }
  }

  func violation(_ what: String) {
    if violations.count < 50 { violations.append(what) }
    machine.note(0xBAD, violations.count)
  }

  /// Whether an answer of an origin may answer a request made at `asked`.
  func mayUse(_ answer: OriginAnswer, _ ask: Ask) -> Bool {
    // Changed by somebody, or purged, and that was known to be done.
    if let barrier = ask.resource.barrier(answer.time, asked: ask.time) {
      violation(
        "\(ask.name): \(ask.status) from \(machine.ago(answer.time)) s ago, although \(barrier.why) changed it"
          + " \(machine.ago(barrier.from)) s ago, known \(machine.ago(barrier.told)) s ago:"
          + " \(ask.fields["cache-status"] ?? "")")
      return true
    }
    // Made for it, or joined while it was on its way.
    if answer.time >= ask.time { return true }
    // What origins may send only slowly arrives long after it was said.
    let isSlow = scenario.rates.upstream != nil || scenario.reloadEvery != nil
    let way: Int64 = !isSlow ? 1_000_000_000 : 60_000_000_000
    if let end = answer.endTime, end < ask.time - way {
      // Times in messages are whole seconds, and both ends of a lifetime are cut off.
      let lifetime = (answer.resource.lifetime + answer.resource.grace + 2) * 1_000_000_000
      if ask.time <= answer.time + lifetime { return true }
      return scenario.hasFailures && answer.resource.mayBeStaleOnFailure
    }
    return true
  }
}
