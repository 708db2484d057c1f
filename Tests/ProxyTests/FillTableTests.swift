import Caching
import Testing

@testable import Proxy

@Suite struct FillTableTests {
  private let hasher = KeyHasher(seed: 1)

  private func key(_ text: String) -> CacheKey { CacheKey(Array(text.utf8), hasher: hasher) }

  private func lead(_ table: FillTable, _ text: String, now: Int64 = 0) throws -> Fill {
    guard case .lead(let fill) = table.enter(key(text), now: now) else { throw Unusable() }
    return fill
  }

  @Test("the first one leads, the others join, and after the end the next one leads")
  func joining() throws {
    let table = FillTable()
    let fill = try lead(table, "a")
    guard case .joined(let same) = table.enter(key("a"), now: 0) else { throw Unusable() }
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
    table.rememberUnshared(hash: key("a").hash, now: 1000)
    guard case .alone = table.enter(key("a"), now: 1029) else { throw Unusable() }
    _ = try lead(table, "a", now: 1030)
  }

  @Test("no number of unshared keys makes the table grow without bound, or trap")
  func manyUnshared() throws {
    let table = FillTable()
    for number in 0..<100_000 { table.rememberUnshared(hash: UInt64(number), now: .max - 5) }
    _ = try lead(table, "fresh", now: .max - 5)
  }
}
