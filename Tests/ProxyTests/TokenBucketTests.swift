// Bandwidth with a clock set by hand.

import Platform
import SeededRandom
import Testing

@testable import Proxy

@Suite struct TokenBucketTests {
  private func at(_ milliseconds: Int64) -> Instant {
    Instant(nanoseconds: 1_000_000_000_000 + milliseconds * 1_000_000)
  }

  @Test("at first a tenth of a second's worth may go, then as much as the rate allows")
  func pace() {
    var bucket = TokenBucket(rate: 100_000, now: at(0))
    // 10 ms each.
    var times: [Int64] = []
    for _ in 0..<15 {
      times.append((bucket.reserve(1000, now: at(0)) - at(0)).wholeNanoseconds / 1_000_000)
    }
    #expect(times == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 20, 30, 40])
  }

  @Test("what was not used is not saved up")
  func noSavings() {
    var bucket = TokenBucket(rate: 100_000, now: at(0))
    _ = bucket.reserve(1000, now: at(0))
    var sent = 0
    while bucket.reserve(1000, now: at(3_600_000)) == at(3_600_000) { sent += 1000 }
    #expect(sent == 11_000)
  }

  @Test(
    "over any time no more goes than the rate, the slack and one portion", arguments: [1, 7, 42])
  func bound(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let rate: Int64 = 1 << 20
    var bucket = TokenBucket(rate: rate, now: at(0))
    var now: Int64 = 0
    var sent: [(time: Int64, count: Int)] = []
    for _ in 0..<500 {
      now += Int64.random(in: 0...30, using: &random)
      let count = Int.random(in: 1...65536, using: &random)
      let time = bucket.reserve(count, now: at(now))
      now = max(now, (time - at(0)).wholeNanoseconds / 1_000_000)
      sent.append((now, count))
    }
    for start in stride(from: 0, to: sent.count, by: 25) {
      var sum = 0
      for entry in sent[start...] {
        sum += entry.count
        let elapsed = entry.time - sent[start].time
        #expect(sum <= Int(rate * (elapsed + 101) / 1000) + 65536, "seed \(seed)")
      }
    }
  }

  @Test("those who always have something to send get equal shares")
  func fairness() {
    var bucket = TokenBucket(rate: 1 << 20, now: at(0))
    var next = [at(0), at(0), at(0)]
    var sent = [0, 0, 0]
    let portion = TokenBucket.portion(of: 1 << 20)
    for round in 0..<3000 {
      // What may go at once at the start goes to whoever asks first.
      if round == 100 { sent = [0, 0, 0] }
      // Whoever may go first goes, and asks for its next portion then.
      let first = next.indices.min { next[$0] < next[$1] } ?? 0
      sent[first] += portion
      next[first] = bucket.reserve(portion, now: next[first])
    }
    let spread = (sent.max() ?? 0) - (sent.min() ?? 0)
    #expect(spread <= 2 * portion, "\(sent)")
  }

  @Test("another rate holds for what was promised already")
  func change() {
    var bucket = TokenBucket(rate: 1000, now: at(0))
    _ = bucket.reserve(10_000, now: at(0))
    bucket.change(rate: 1_000_000, now: at(0))
    let time = bucket.reserve(1, now: at(0))
    #expect(time - at(0) < .milliseconds(11) && time > at(0))
    bucket.change(rate: 0, now: at(0))
    _ = bucket.reserve(.max, now: at(0))
    #expect(bucket.reserve(1, now: at(0)) > at(1000))
  }

  @Test("what is given back can be asked for again")
  func giveBack() {
    var bucket = TokenBucket(rate: 1000, now: at(0))
    _ = bucket.reserve(5000, now: at(0))
    bucket.giveBack(5000)
    #expect(bucket.reserve(100, now: at(0)) == at(0))
  }

  @Test(
    "a portion is 20 ms worth, within bounds",
    arguments: [(1024, 2048), (1 << 20, 20971), (1 << 40, 131072), (0, 2048)] as [(Int64, Int)])
  func portions(rate: Int64, expected: Int) {
    #expect(TokenBucket.portion(of: rate) == expected)
  }
}
