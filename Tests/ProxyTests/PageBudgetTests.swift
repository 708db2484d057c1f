// What pages may take, and whose turn it is.

import Synchronization
import Testing

@testable import Proxy

@Suite struct PageBudgetTests {
  /// Who has been given what, in the order in which it happened.
  private final class Given: Sendable {
    private let claims = Mutex<[(name: String, claim: PageBudget.Claim)]>([])

    func job(_ name: String) -> @Sendable (PageBudget.Claim) -> Void {
      { claim in self.claims.withLock { $0.append((name, claim)) } }
    }

    var names: [String] { claims.withLock { $0.map(\.name) } }

    func giveBack(_ name: String) {
      let gone = claims.withLock { claims in
        claims.firstIndex { $0.name == name }.map { claims.remove(at: $0) }
      }
      withExtendedLifetime(gone) {}
    }
  }

  @Test("who comes first is served first, as soon as there is room")
  func line() {
    let budget = PageBudget(limit: 100) { false }
    let given = Given()
    budget.claim(60, given.job("a"))
    budget.claim(50, given.job("b"))
    budget.claim(10, given.job("c"))
    #expect(given.names == ["a"] && budget.waiting == 2)
    #expect(budget.claimNow(50) == nil)
    given.giveBack("a")
    #expect(given.names == ["b", "c"] && budget.used == 60)
    given.giveBack("b")
    given.giveBack("c")
    #expect(budget.used == 0)
  }

  @Test("what is larger than all there is gets all there is")
  func largest() {
    let budget = PageBudget(limit: 100) { false }
    let given = Given()
    budget.claim(10, given.job("a"))
    budget.claim(1000, given.job("b"))
    #expect(given.names == ["a"])
    given.giveBack("a")
    #expect(given.names == ["b"] && budget.used == 100)
    #expect(budget.claimNow(101) == nil)
  }

  @Test("small ones pass large ones, and some of it is theirs alone")
  func small() {
    let budget = PageBudget(limit: 100, small: 5, reserve: 20) { false }
    let given = Given()
    budget.claim(1000, given.job("a"))
    #expect(budget.used == 80)
    budget.claim(10, given.job("b"))
    #expect(budget.claimNow(6) == nil)
    for name in ["c", "d", "e", "f", "g"] { budget.claim(5, given.job(name)) }
    #expect(given.names == ["a", "c", "d", "e", "f"] && budget.waiting == 2)
    given.giveBack("c")
    #expect(given.names == ["a", "d", "e", "f", "g"] && budget.used == 100)
    given.giveBack("a")
    #expect(given.names == ["d", "e", "f", "g", "b"])
  }

  @Test("what is only remembered makes room first, and what is needed may change")
  func room() throws {
    let remembered = Mutex<[PageBudget.Claim]>([])
    let budget = PageBudget(limit: 100) {
      let gone = remembered.withLock { $0.popLast() }
      return gone != nil
    }
    for _ in 0..<4 {
      let claim = try #require(budget.claimNow(20))
      remembered.withLock { $0.append(claim) }
    }
    let given = Given()
    budget.claim(50, given.job("a"))
    #expect(given.names == ["a"] && budget.used == 90)
    let claim = try #require(budget.claimNow(30))
    #expect(budget.used == 100, "another one is forgotten")
    #expect(!claim.grow(to: 60))
    claim.change(to: 10)
    #expect(claim.grow(to: 20))
    claim.change(to: 500)
    budget.claim(1, given.job("b"))
    #expect(given.names == ["a"], "what turned out larger counts as it is")
    claim.change(to: 0)
    #expect(given.names == ["a", "b"])
  }

  @Test("many threads at once are all served, and in the end nothing is left")
  func threads() async {
    let crowd = Crowd()
    await withTaskGroup(of: Void.self) { group in
      for number in 0..<64 { group.addTask { await crowd.claim(number) } }
    }
    #expect(crowd.served.load(ordering: .relaxed) == 3200)
    #expect(crowd.budget.used == 0 && crowd.budget.waiting == 0)
  }

  private final class Crowd: Sendable {
    let budget = PageBudget(limit: 100) { false }
    let served = Atomic<Int>(0)

    @concurrent func claim(_ number: Int) async {
      for step in 0..<50 {
        await withCheckedContinuation { continuation in
          budget.claim(1 + (number * 31 + step * 7) % 90) { claim in
            self.served.add(1, ordering: .relaxed)
            claim.change(to: 1)
            continuation.resume()
          }
        }
      }
    }
  }
}
