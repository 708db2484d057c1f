// The hot table: within its bound, and the right ones stay.

import SeededRandom
import Testing

@testable import Storage

@Suite struct HotTableTests {
  private func set(_ number: Int, size: Int = 1000) -> VariantSet {
    let key = Array("http://a/\(number)".utf8)
    let entry = bytes(size).withUnsafeBytes {
      StoredEntry(
        key: key, hash: UInt64(number), response: response(), content: .inline($0), seed: 0)
    }
    return VariantSet(key: key, hash: UInt64(number), entries: [entry], blobCost: 4096)
  }

  private func use(_ table: inout HotTable, _ number: Int) -> Bool {
    Array("http://a/\(number)".utf8).withUnsafeBytes { table.use(UInt64(number), key: $0) != nil }
  }

  @Test("never takes more than its bound")
  func bound() {
    var table = HotTable(limit: 50_000)
    var random = SeededGenerator(seed: 1)
    for number in 0..<2000 {
      _ = table.insert(set(number, size: .random(in: 0...20_000, using: &random)), wasUsed: false)
      let cost = table.cost
      #expect(cost <= 50_000)
      _ = use(&table, .random(in: 0...number, using: &random))
      if number % 7 == 0 { table.remove(.random(in: 0...UInt64(number), using: &random)) }
    }
  }

  @Test("what is used stays while a scan passes through")
  func scanResistance() {
    var table = HotTable(limit: 100_000)
    for number in 0..<10 {
      _ = table.insert(set(number), wasUsed: false)
      _ = use(&table, number)
    }
    for number in 1000..<3000 {
      _ = table.insert(set(number), wasUsed: false)
      if number % 50 == 0 { for hot in 0..<10 { _ = use(&table, hot) } }
    }
    for number in 0..<10 {
      let stayed = use(&table, number)
      #expect(stayed)
    }
  }

  @Test("one key does not answer for another with the same hash")
  func collision() {
    var table = HotTable(limit: 100_000)
    _ = table.insert(set(1), wasUsed: false)
    let answered = Array("http://b/".utf8).withUnsafeBytes { table.use(1, key: $0) != nil }
    #expect(!answered)
  }

  @Test("says which of the evicted were used")
  func evictedUsed() {
    var table = HotTable(limit: 10_000)
    _ = table.insert(set(1), wasUsed: false)
    let answers = [
      use(&table, 1), table.takeUse(1), table.takeUse(1), use(&table, 1),
    ]
    #expect(answers == [true, true, false, true])
    var used: [UInt64] = []
    for number in 2..<100 { used += table.insert(set(number), wasUsed: true) }
    #expect(used == [1])
  }
}
