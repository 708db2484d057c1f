// The timing wheel against a naive model, and its promises one by one. No clock, no loop.

import Platform
import SeededRandom
import Testing

@testable import IO

/// A queue that macros can look at: they do not take noncopyable values.
private final class Wheel {
  private let queue: TimerQueue

  init(now: Instant, capacity: Int = 64) {
    queue = TimerQueue(now: now, capacity: capacity)
  }

  func arm(_ slot: UInt32, at deadline: Instant) { queue.arm(slot, at: deadline) }
  func disarm(_ slot: UInt32) { queue.disarm(slot) }
  func isArmed(_ slot: UInt32) -> Bool { queue.isArmed(slot) }
  func popExpired(_ now: Instant) -> UInt32? { queue.popExpired(now) }
  func nextWake() -> Instant? { queue.nextWake() }
  func reserve(capacity: Int) { queue.reserve(capacity: capacity) }

  func expired(_ now: Instant) -> [UInt32] {
    var slots: [UInt32] = []
    while let slot = queue.popExpired(now) { slots.append(slot) }
    return slots.sorted()
  }
}

@Suite("Timer queue")
struct TimerQueueTests {
  static let tick = Int64(1) << TimerQueue.tickBits

  static func at(_ ticks: Double) -> Instant {
    Instant(nanoseconds: Int64(ticks * Double(tick)))
  }

  @Test(
    "a deadline is told in the first tick that begins at or after it, and never before",
    arguments: [
      (0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (1.25, 2.0), (2.0, 2.0), (100.5, 101.0), (2047.0, 2047.0),
      (2048.0, 2048.0), (2049.5, 2050.0), (5000.0, 5000.0), (100_000.25, 100_001.0),
    ])
  func told(_ deadline: Double, _ tick: Double) {
    let queue = Wheel(now: Self.at(0))
    queue.arm(3, at: Self.at(deadline))
    #expect(queue.expired(Self.at(tick - 0.001)) == [])
    #expect(queue.isArmed(3))
    #expect(queue.expired(Self.at(tick)) == [3])
    #expect(!queue.isArmed(3))
    #expect(queue.expired(Self.at(tick + 10_000)) == [])
  }

  @Test("a deadline that moves away is told at its new time only, one that comes nearer at once")
  func moves() {
    let queue = Wheel(now: Self.at(0))
    queue.arm(1, at: Self.at(10))
    queue.arm(1, at: Self.at(20))
    #expect(queue.expired(Self.at(19)) == [])
    queue.arm(1, at: Self.at(3000))
    #expect(queue.expired(Self.at(2999)) == [])
    queue.arm(1, at: Self.at(9000))
    queue.arm(1, at: Self.at(3002))
    #expect(queue.expired(Self.at(3002)) == [1])
  }

  @Test("a deadline taken away is never told, and does not disturb the slot's next one")
  func disarm() {
    let queue = Wheel(now: Self.at(0))
    queue.arm(1, at: Self.at(10))
    queue.disarm(1)
    #expect(!queue.isArmed(1))
    queue.arm(1, at: Self.at(30))
    #expect(queue.expired(Self.at(29)) == [])
    #expect(queue.expired(Self.at(30)) == [1])
    queue.arm(1, at: Self.at(40))
    queue.disarm(1)
    #expect(queue.expired(Self.at(50_000)) == [])
    #expect(queue.nextWake() == nil)
  }

  @Test("a slot that arms itself with no delay whenever it expires lets the tick end")
  func noDelay() {
    let queue = Wheel(now: Self.at(0))
    queue.arm(1, at: Self.at(0))
    let now = Self.at(7)
    var told = 0
    while let slot = queue.popExpired(now) {
      told += 1
      queue.arm(slot, at: now)
    }
    #expect(told == 1)
    #expect(queue.expired(Self.at(8)) == [1])
  }

  @Test("the time to wake is never after a deadline's tick, and following it tells everything")
  func wake() throws {
    let queue = Wheel(now: Self.at(0))
    #expect(queue.nextWake() == nil)
    queue.arm(5, at: Self.at(7000))
    queue.arm(6, at: Self.at(12.5))
    var told: [UInt32] = []
    var turns = 0
    while let wake = queue.nextWake() {
      told += queue.expired(wake)
      turns += 1
    }
    #expect(told == [6, 5])
    // The far one is looked at each time the wheel comes round, and no more often.
    #expect(turns <= 6)
  }

  @Test("a clock that stands still or a deadline beyond all time do no harm")
  func extremes() {
    let queue = Wheel(now: Self.at(5))
    queue.arm(0, at: .distantFuture)
    queue.arm(1, at: Instant(nanoseconds: 0))
    #expect(queue.isArmed(0))
    #expect(queue.expired(Self.at(5)) == [])
    #expect(queue.expired(Self.at(6)) == [1])
    #expect(queue.expired(Self.at(1_000_000)) == [])
    #expect(queue.isArmed(0))
  }

  @Test("room for more slots keeps the deadlines of the old ones")
  func growth() {
    let queue = Wheel(now: Self.at(0), capacity: 2)
    queue.arm(0, at: Self.at(3))
    queue.reserve(capacity: 1000)
    queue.arm(999, at: Self.at(4))
    #expect(queue.expired(Self.at(4)) == [0, 999])
  }

  @Test("thousands of random acts end as in a naive model", arguments: UInt64(1)...20)
  func model(_ seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let slots = 64
    var now = Int64.random(in: 0...(1 << 50), using: &random)
    let queue = Wheel(now: Instant(nanoseconds: now), capacity: slots)
    // The tick in which each slot has to be told.
    var due: [Int64?] = Array(repeating: nil, count: slots)
    for _ in 0..<3000 {
      let slot = Int.random(in: 0..<slots, using: &random)
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<6:
        let spans: [Int64] = [0, 1, Self.tick, 250_000_000, 5_000_000_000, 60_000_000_000]
        let span = spans.randomElement(using: &random) ?? 0
        let deadline = now + span + Int64.random(in: 0...Self.tick, using: &random)
        queue.arm(UInt32(slot), at: Instant(nanoseconds: deadline))
        due[slot] = max((deadline + Self.tick - 1) / Self.tick, now / Self.tick + 1)
      case 6:
        queue.disarm(UInt32(slot))
        due[slot] = nil
      default:
        let steps: [Int64] = [0, 1_000_000, Self.tick, 300_000_000, 20_000_000_000]
        now += steps.randomElement(using: &random) ?? 0
        let told = queue.expired(Instant(nanoseconds: now))
        let expected = (0..<slots).filter { slot in due[slot].map { $0 <= now / Self.tick } ?? false
        }
        #expect(told == expected.map { UInt32($0) }, "seed \(seed)")
        for slot in expected { due[slot] = nil }
        if let wake = queue.nextWake(), let first = due.compactMap({ $0 }).min() {
          #expect(wake.nanoseconds / Self.tick <= first, "seed \(seed)")
        }
      }
    }
    for slot in 0..<slots {
      #expect(queue.isArmed(UInt32(slot)) == (due[slot] != nil), "seed \(seed)")
    }
  }
}
