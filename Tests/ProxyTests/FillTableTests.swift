import Caching
import Platform
import Testing

@testable import Proxy

@Suite struct FillTableTests {
  private let hasher = KeyHasher(seed: 1)

  private func key(_ text: String) -> CacheKey { CacheKey(Array(text.utf8), hasher: hasher) }

  private func at(_ seconds: Int64) -> Instant {
    Instant(nanoseconds: seconds * 1_000_000_000)
  }

  private func lead(_ table: FillTable, _ text: String, now seconds: Int64 = 0) throws -> Fill {
    guard case .lead(let fill) = table.enter(key(text), now: at(seconds)) else { throw Unusable() }
    return fill
  }

  @Test("the first one leads, the others join, and after the end the next one leads")
  func joining() throws {
    let table = FillTable()
    let fill = try lead(table, "a")
    guard case .joined(let same) = table.enter(key("a"), now: at(0)) else { throw Unusable() }
    #expect(same === fill)
    _ = try lead(table, "b")
    #expect(table.running == 2)
    table.leave(fill)
    #expect(table.running == 1)
    #expect(try lead(table, "a") !== fill)
  }

  @Test("leaving twice, or without having entered, counts nothing")
  func leaving() throws {
    let table = FillTable()
    let fill = try lead(table, "a")
    table.leave(fill)
    table.leave(fill)
    table.leave(Fill(key("c")))
    #expect(table.running == 0)
  }

  @Test("a key whose answers are not shared keeps everybody alone for a while")
  func unshared() throws {
    let table = FillTable()
    table.remember(.unshared, hash: key("a").hash, now: at(1000))
    guard case .alone = table.enter(key("a"), now: at(1029)) else { throw Unusable() }
    _ = try lead(table, "a", now: 1030)
  }

  @Test("where only parts were wanted, parts go alone, and the others together")
  func wholeUnwanted() throws {
    let table = FillTable()
    table.remember(.wholeUnwanted, hash: key("a").hash, now: at(0))
    guard case .alone = table.enter(key("a"), now: at(1), asksForLess: true) else {
      throw Unusable()
    }
    let fill = try lead(table, "a", now: 1)
    // What is under way is of use for a part too.
    guard case .joined(let same) = table.enter(key("a"), now: at(1), asksForLess: true) else {
      throw Unusable()
    }
    #expect(same === fill)
    #expect(!table.remembers(.unshared, hash: key("a").hash, now: at(1)))
    #expect(!table.remembers(.wholeUnwanted, hash: key("a").hash, now: at(30)))
  }

  @Test("no number of unshared keys makes the table grow without bound, or trap")
  func manyUnshared() throws {
    let table = FillTable()
    for number in 0..<100_000 {
      table.remember(.unshared, hash: UInt64(number), now: .distantFuture)
    }
    _ = try lead(table, "fresh", now: 1)
  }
}
