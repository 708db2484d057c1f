// What was overtaken while it was being fetched is not stored.

import Caching
import Testing

@testable import Storage

@Suite struct WatchTests {
  private static let early: Int64 = 1_700_000_000

  private func save(
    _ store: Store, _ key: String, _ content: String, at time: Int64 = early, watch: Watch? = nil,
    vary: [(String, String?)] = []
  ) -> StoredEntry {
    store.save(
      store.key(key), response: response(vary: vary, at: time), body: body(content), watch: watch)
  }

  @Test("an undisturbed fetch is saved, and so is what it confirms")
  func undisturbed() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let first = store.watch(store.key("a"), holding: nil)
    let entry = save(store, "a", "one", watch: first)
    #expect(store.text("a") == "one")
    let second = store.watch(store.key("a"), holding: entry)
    store.refresh(entry, response: response(200, ["X": "new"]), watch: second)
    #expect(store.get("a")?.entries.first?.response.fields.text(named: "X") == "new")
    store.close()
  }

  @Test(
    "what is removed while it is fetched stays removed",
    arguments: ["remove", "purge one", "purge prefix", "purge all"])
  func removed(how: String) throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let key = store.key("http://a/x")
    let watch = store.watch(key, holding: nil)
    let other = store.watch(store.key("http://b/x"), holding: nil)
    switch how {
    case "remove": store.remove(key)
    case "purge one": try store.purge(.exact(key.bytes))
    case "purge prefix": try store.purge(.prefix(Array("http://a/".utf8)))
    default: try store.purge(.prefix([]))
    }
    #expect(watch.isSpoiled)
    // It can still be sent to those who were waiting.
    #expect(save(store, "http://a/x", "old", watch: watch).text == "old")
    #expect(store.text("http://a/x") == nil)
    #expect(other.isSpoiled == (how == "purge all"))
    // The next fetch is a new one.
    let next = store.watch(key, holding: nil)
    _ = save(store, "http://a/x", "new", watch: next)
    #expect(store.text("http://a/x") == "new")
    store.close()
  }

  @Test("a blob that was overtaken leaves no file behind")
  func blob() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let key = store.key("a")
    let watch = store.watch(key, holding: nil)
    let content = bytes(40_000)
    let growing = try store.grow(key, response: response(), expectedLength: 40_000)
    _ = content.withUnsafeBytes { growing.append($0) }
    store.remove(key)
    if case .finished(let blob) = growing.finish(length: 40_000) {
      store.save(key, response: response(), body: .blob(blob), watch: watch)
    }
    #expect(store.text("a") == nil)
    store.close()
    #expect(try fixture.blobFiles().isEmpty)
  }

  @Test("a confirmation does not replace what came in the meantime")
  func confirmationOvertaken() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let old = save(store, "a", "old")
    let watch = store.watch(store.key("a"), holding: old)
    _ = save(store, "a", "newer", at: Self.early - 100)
    store.refresh(old, response: response(), watch: watch)
    #expect(store.text("a") == "newer")
    store.close()
  }

  @Test("nor does one whose stored response was gone before it began")
  func confirmationOfTheGone() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let old = save(store, "a", "old")
    store.remove(store.key("a"))
    let first = store.watch(store.key("a"), holding: old)
    store.refresh(old, response: response(), watch: first)
    #expect(store.text("a") == nil)
    _ = save(store, "a", "newer")
    let second = store.watch(store.key("a"), holding: old)
    store.refresh(old, response: response(), watch: second)
    #expect(store.text("a") == "newer")
    store.close()
  }

  @Test("an answer replaces an older one that was faster, and not a later one")
  func order() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let watch = store.watch(store.key("a"), holding: nil)
    _ = save(store, "a", "faster", at: Self.early)
    _ = save(store, "a", "same second", at: Self.early, watch: watch)
    #expect(store.text("a") == "same second")
    _ = save(store, "a", "later", at: Self.early + 1)
    _ = save(store, "a", "slow", at: Self.early, watch: watch)
    #expect(store.text("a") == "later")
    // Other variants are no rivals.
    _ = save(store, "a", "variant", at: Self.early, watch: watch, vary: [("accept", "x")])
    #expect(store.get("a")?.entries.map(\.text) == ["variant", "later"])
    store.close()
  }

  @Test("no number of variants makes one fetch remember without bound")
  func manyVariants() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let watch = store.watch(store.key("a"), holding: nil)
    for number in 0..<WatchedKey.variantLimit {
      _ = save(store, "a", "x", vary: [("accept", "\(number)")])
    }
    #expect(!watch.isSpoiled)
    _ = save(store, "a", "x", vary: [("accept", "one too many")])
    #expect(watch.isSpoiled)
    store.close()
  }

  @Test("what nobody watches any more leaves nothing behind")
  func unwatched() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let key = store.key("a")
    let shard = store.core.shard(key.hash)
    var watch: Watch? = store.watch(key, holding: nil)
    let blob = try store.grow(key, response: response(), expectedLength: nil, watch: watch)
    watch = nil
    // The body goes on after the fetch.
    #expect(shard.state.withLock { $0.watches.count } == 1)
    store.remove(key)
    blob.leave()
    #expect(shard.state.withLock { $0.watches.isEmpty })
    store.close()
  }
}
