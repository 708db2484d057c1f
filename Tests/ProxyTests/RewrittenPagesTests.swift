// Pages that were written anew: once for all who wait, remembered or shared while somebody has them, and out of memory
// when nobody does.

import Caching
import HTTP
import IO
import Mirrors
import Platform
import Storage
import Synchronization
import Testing

@testable import Proxy

@Suite struct RewrittenPagesTests {
  private let links = MirrorLinks(publicURL: nil)

  private func entry(_ name: String, length: Int = 10) -> StoredEntry {
    let response = StoredResponse(
      status: .ok, fields: FieldSection(), requestTime: 0, responseTime: 0, variance: .none)
    let key = CacheKey(Array(name.utf8), hasher: KeyHasher(seed: 1))
    return [UInt8](repeating: 0x20, count: length).withUnsafeBytes {
      StoredEntry(
        key: key.bytes, hash: key.hash, response: response, content: .inline($0), seed: 0)
    }
  }

  private func limits(largest: Int = 1 << 20, remembered: Int = 1 << 20) -> RewrittenPages.Limits {
    RewrittenPages.Limits(remembered: remembered, count: 3, largest: largest, all: 4 << 20)
  }

  /// Asks for a page, and has it written if it is not there.
  /// - Returns: whether it was there.
  @discardableResult
  private func ask(
    _ pages: RewrittenPages, for source: StoredEntry, _ pool: DiskPool, writing length: Int = 100
  ) throws -> Bool {
    let written = entry("written", length: length)
    return pages.page(
      of: source, links: links, claiming: 3 * length, on: pool,
      telling: Follower(mailbox: try Mailbox(), id: .none)
    ) { claim in .page(RewrittenPage(written, claim)) }.page != nil
  }

  /// Waits until what was submitted has run: there is one thread for it. What it has submitted meanwhile too.
  private func settle(_ pool: DiskPool) {
    for _ in 0..<2 {
      let isDone = Monitor(false)
      let isTaken = pool.submit {
        isDone.withLock { $0 = true }
        isDone.wakeAll()
      }
      if isTaken { isDone.wait { $0 ? () : nil } }
    }
  }

  @Test("those who ask while it is written wait for the one writing of it")
  func once() throws {
    let pool = try DiskPool(laneThreads: 1, readThreads: 1)
    defer { pool.shutdown() }
    let pages = RewrittenPages(limits())
    let work = Work()
    let source = entry("a")
    let written = entry("written")
    var asked = 0
    try work.gate.withLock { _ in
      for _ in 0..<5 {
        let answer = pages.page(
          of: source, links: links, claiming: 10, on: pool,
          telling: Follower(mailbox: try Mailbox(), id: .none)
        ) { claim in
          work.gate.withLock { _ in }
          work.count.add(1, ordering: .relaxed)
          return .page(RewrittenPage(written, claim))
        }
        #expect(answer.page == nil)
        if answer.isFirst { asked += 1 }
      }
    }
    settle(pool)
    #expect(asked == 1 && work.count.load(ordering: .relaxed) == 1)
    #expect(pages.page(of: source, links: links)?.entry === written)
    #expect(
      pages.page(of: entry("a"), links: links) == nil, "a newer state of it is another page")
  }

  private final class Work: Sendable {
    /// Nothing is written as long as it is held.
    let gate = Mutex(())
    let count = Atomic<Int>(0)
  }

  @Test(
    "the least recently used are forgotten, by number and by size, and give back what they took")
  func forgotten() throws {
    let pool = try DiskPool(laneThreads: 1, readThreads: 1)
    defer { pool.shutdown() }
    let pages = RewrittenPages(limits(remembered: 10_000))
    let sources = (0..<4).map { entry("\($0)") }
    for source in sources {
      try ask(pages, for: source, pool)
      settle(pool)
      _ = pages.page(of: sources[0], links: links)
    }
    #expect(pages.counts.pages == 3)
    #expect(pages.page(of: sources[1], links: links) == nil)
    #expect(pages.page(of: sources[0], links: links) != nil)
    try ask(pages, for: sources[1], pool, writing: 9000)
    settle(pool)
    #expect(pages.counts.pages == 1)
    #expect(pages.budget.used == pages.counts.bytes)
  }

  private final class Client: Sendable {
    let page = Mutex<RewrittenPage?>(nil)

    /// Not in the lock: others may be served for it.
    func letGo() {
      _ = page.withLock { page in
        defer { page = nil }
        return page
      }
    }
  }

  @Test("a page too large to be remembered is shared for as long as somebody has it")
  func large() throws {
    let pool = try DiskPool(laneThreads: 1, readThreads: 1)
    defer { pool.shutdown() }
    let pages = RewrittenPages(limits(largest: 1000))
    let source = entry("a")
    let client = Client()
    let written = entry("written", length: 5000)
    _ = pages.page(
      of: source, links: links, claiming: 10, on: pool,
      telling: Follower(mailbox: try Mailbox(), id: .none)
    ) { claim in
      let page = RewrittenPage(written, claim)
      client.page.withLock { $0 = page }
      return .page(page)
    }
    settle(pool)
    #expect(pages.counts.pages == 0)
    #expect(try ask(pages, for: source, pool))
    #expect(pages.budget.used > 5000)
    client.letGo()
    #expect(pages.page(of: source, links: links) == nil)
    #expect(pages.budget.used == 0)
  }

  @Test("what is remembered makes room for what is to be written")
  func room() throws {
    let pool = try DiskPool(laneThreads: 1, readThreads: 1)
    defer { pool.shutdown() }
    let pages = RewrittenPages(
      RewrittenPages.Limits(remembered: 1 << 20, count: 10, largest: 1 << 20, all: 200_000))
    for number in 0..<3 {
      try ask(pages, for: entry("\(number)"), pool, writing: 50_000)
      settle(pool)
    }
    #expect(pages.counts.pages < 3)
    #expect(pages.budget.waiting == 0)
    #expect(pages.budget.used <= 200_000)
  }

  @Test("a pool that takes no more is an answer, and takes nothing with it")
  func busy() throws {
    let pool = try DiskPool(laneThreads: 1, readThreads: 1)
    pool.shutdown()
    let pages = RewrittenPages(limits())
    try ask(pages, for: entry("a"), pool)
    #expect(pages.budget.used == 0)
  }
}
