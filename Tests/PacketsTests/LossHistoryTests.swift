// Losses belong to the time in which they happened.

import Testing

@testable import Packets

@Suite("Losses of packets")
struct LossHistoryTests {
  private static let second: Int64 = 1_000_000_000

  @Test("what was lost before a connection began, or after it ended, is not counted as its")
  func times() {
    var history = LossHistory()
    history.add(40_000, at: 10 * Self.second)
    history.add(3, at: 20 * Self.second)
    history.add(4, at: 20 * Self.second + 1)
    history.add(9, at: 30 * Self.second)
    #expect(history.lost(in: 19 * Self.second...25 * Self.second) == 7)
    #expect(history.lost(in: 21 * Self.second...21 * Self.second) == 0)
    #expect(history.lost(in: 20 * Self.second...20 * Self.second) == 7)
    #expect(history.lost(in: 0...Int64.max) == 40_016)
    // It was noticed in steps.
    #expect(history.lost(in: 20 * Self.second + 50_000_000...21 * Self.second) == 7)
  }

  @Test("what was long ago is forgotten")
  func bound() {
    var history = LossHistory()
    for number in 0..<1000 { history.add(1, at: Int64(number) * Self.second) }
    #expect(history.lost(in: 0...Int64.max) == UInt64(LossHistory.capacity))
    #expect(history.lost(in: 999 * Self.second...999 * Self.second) == 1)
  }
}
