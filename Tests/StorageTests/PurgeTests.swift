// Listing, showing and purging.

import Caching
import Platform
import Testing

@testable import Storage

@Suite struct PurgeTests {
  private func keys(_ store: Store) -> [String] {
    var keys: [String] = []
    store.forEachEntry {
      keys.append($0.keyText)
      return true
    }
    return keys
  }

  @Test("purging a prefix takes all that begins with it, for good")
  func prefix() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    for number in 0..<50 { store.put("http://a/\(number)", "a") }
    store.put("http://b/", "b", vary: [("accept", "x")])
    store.put("http://b/", "b", vary: [("accept", "y")])
    #expect(try store.purge(.prefix(Array("http://a/1".utf8))) == 11)
    #expect(try store.purge(.exact(Array("http://b/".utf8))) == 2)
    #expect(try store.purge(.exact(Array("http://nowhere/".utf8))) == 0)
    #expect(keys(store).count == 39)
    store.close()
    let again = try fixture.open()
    #expect(keys(again).count == 39)
    #expect(again.get("http://a/10") == nil)
    #expect(again.text("http://a/2") == "a")
    again.close()
  }

  #if DEBUG
    @Test("a purge that cannot read all of the log says so")
    func unreadable() throws {
      let fixture = try StoreFixture()
      let store = try fixture.open()
      defer { store.close() }
      store.put("http://a/1", "a")
      store.flush()
      let plan = FaultPlan(
        in: .directory(fixture.options.path + "/log"), failing: [.read], number: 1,
        with: .inputOutput)
      plan.install()
      defer { plan.remove() }
      do throws(StoreError) {
        try store.purge(.prefix(Array("http://a/".utf8)))
        Issue.record("it says that all is purged")
      } catch {
        #expect("\(error)".contains("Purge again"))
      }
      #expect(try store.purge(.prefix(Array("http://a/".utf8))) == 1)
    }
  #endif

  @Test("a list shows each stored response once, with its size and time")
  func list() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    store.put("http://a/", "old")
    store.put("http://a/", "newer")
    try store.putBlob("http://b/", bytes(20_000))
    var found: [StoredSummary] = []
    store.forEachEntry {
      found.append($0)
      return true
    }
    #expect(found.map(\.keyText) == ["http://a/", "http://b/"])
    #expect(found.map(\.contentLength) == [5, 20_000])
    #expect(found.map { $0.digest == nil } == [true, false])
    #expect(found.map(\.responseTime) == [1_700_000_000, 1_700_000_000])
    #expect(store.show(store.key("http://a/")).map(\.text) == ["newer"])
    #expect(store.show(store.key("http://c/")).isEmpty)
    store.close()
  }
}
