// Bodies whose fetch broke off: kept, found, gone on with, and never taken for whole; after a restart or a kill too.

import Caching
import HTTP
import Platform
import Testing

@testable import Storage

@Suite("Incomplete responses")
struct IncompleteTests {
  private static let now = WallTime.now().seconds
  private let fields: FieldSection = ["ETag": "\"v\"", "Cache-Control": "max-age=600"]

  private func answer(_ fields: FieldSection? = nil) -> StoredResponse {
    response(200, fields ?? self.fields, at: Self.now)
  }

  private func append(_ bytes: [UInt8], to blob: GrowingBlob) -> AppendResult {
    bytes.withUnsafeBytes { blob.append($0) }
  }

  /// Begins a body and lets it break off.
  private func leave(
    _ store: Store, _ key: String, _ content: [UInt8], of expected: Int64?
  ) throws {
    let blob = try store.grow(store.key(key), response: answer(), expectedLength: expected)
    #expect(append(content, to: blob) == .appended(watermark: Int64(content.count)))
    blob.leave()
  }

  private func kept(_ store: Store, _ key: String) -> Incomplete? {
    store.incomplete(store.key(key), for: FieldSection(), now: Self.now)
  }

  private func take(_ store: Store, _ key: String) throws -> (Incomplete, Watch) {
    let key = store.key(key)
    let watch = store.watch(key, holding: nil)
    let taken = store.takeIncomplete(key, for: FieldSection(), now: Self.now, watch: watch)
    return (try #require(taken), watch)
  }

  private func killed(_ fixture: StoreFixture) throws -> StoreFixture {
    let copy = try StoreFixture()
    copy.options = fixture.options
    copy.options.path = copy.path + "/store"
    try copyTree(fixture.options.path, copy.options.path)
    return copy
  }

  private func complete(
    _ store: Store, _ key: String, _ whole: [UInt8]
  ) throws {
    let (taken, watch) = try take(store, key)
    let offset = Int(taken.length)
    let blob = try store.resume(
      taken, response: answer(), expectedLength: Int64(whole.count), watch: watch)
    #expect(blob.watermark == Int64(offset))
    #expect(
      try File.readFully(blob.descriptor, count: offset, at: 0) == Array(whole[..<offset]))
    #expect(append(Array(whole[offset...]), to: blob) == .appended(watermark: Int64(whole.count)))
    guard case .finished(let finished) = blob.finish(length: Int64(whole.count)) else {
      Issue.record("not finished")
      return
    }
    store.save(store.key(key), response: answer(), body: .blob(finished))
    store.flush()
  }

  @Test(
    "what broke off is kept, is no answer by itself, and becomes whole with the rest",
    arguments: [true, false])
  func completed(isAnnounced: Bool) throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let whole = bytes(300_000)
    try leave(store, "http://a/", Array(whole[..<200_000]), of: isAnnounced ? 300_000 : nil)
    #expect(store.get("http://a/") == nil)
    #expect(store.statistics.usedBytes == (try fixture.onDisk()))
    #expect(kept(store, "http://a/")?.length == 200_000)
    #expect(kept(store, "http://b/") == nil)
    try complete(store, "http://a/", whole)
    #expect(store.get("http://a/")?.entries.first?.bytes == whole)
    #expect(kept(store, "http://a/") == nil)
    #expect(try fixture.files("partial") == [])
    #expect(try store.verify().isClean)
    store.close()
    #expect(store.statistics.usedBytes == (try fixture.onDisk()))
    let again = try fixture.open()
    #expect(again.get("http://a/")?.entries.first?.bytes == whole)
    again.close()
  }

  @Test(
    "what cannot be gone on with is not kept",
    arguments: [
      (["Cache-Control": "max-age=600"], 200_000),
      (["ETag": "W/\"v\""], 200_000),
      (["ETag": "\"v\"", "Accept-Ranges": "none"], 200_000),
      // So little is sooner fetched again.
      (["ETag": "\"v\""], 20_000),
    ] as [(FieldSection, Int)])
  func notKept(fields: FieldSection, count: Int) throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let blob = try store.grow(
      store.key("http://a/"), response: answer(fields), expectedLength: 300_000)
    _ = append(bytes(count), to: blob)
    blob.leave()
    #expect(kept(store, "http://a/") == nil)
    #expect(try fixture.files("partial") == [])
    #expect(store.statistics.usedBytes == 0)
    store.close()
  }

  @Test(
    "a restart keeps it, closed in order or killed, and goes on from there",
    arguments: [true, false])
  func restart(isKilled: Bool) throws {
    var fixture = try StoreFixture()
    var store = try fixture.open()
    let whole = bytes(3 << 20)
    // As large as a body has to be to survive a kill while it grows.
    let growing = try store.grow(
      store.key("http://a/"), response: answer(), expectedLength: Int64(whole.count))
    _ = append(Array(whole[..<(1 << 20)]), to: growing)
    _ = append(Array(whole[(1 << 20)..<(2 << 20)]), to: growing)
    if isKilled {
      let copy = try killed(fixture)
      store.close()
      fixture = copy
    } else {
      store.close()
    }
    store = try fixture.open()
    // A kill loses what came after the last note.
    #expect(kept(store, "http://a/")?.length == (isKilled ? 1 << 20 : 2 << 20))
    #expect(store.statistics.usedBytes == (try fixture.onDisk()))
    try complete(store, "http://a/", whole)
    #expect(store.get("http://a/")?.entries.first?.bytes == whole)
    store.close()
  }

  enum Damage: CaseIterable { case flipped, shorter, noteFlipped, noteGone, noteAlone, noteTorn }

  @Test("what does not fit its note is dropped by the next start", arguments: Damage.allCases)
  func damaged(how: Damage) throws {
    let fixture = try StoreFixture()
    do {
      let store = try fixture.open()
      try leave(store, "http://a/", bytes(200_000), of: 300_000)
      store.close()
    }
    let directory = fixture.options.path + "/partial/"
    let name = try #require(try fixture.files("partial").first { !$0.hasSuffix(".about") })
    switch how {
    case .flipped:
      let file = try File.open(directory + name, .readWrite)
      try File.writeFully(file.rawValue, [bytes(200_000)[100_000] ^ 1], at: 100_000)
    case .shorter:
      let file = try File.open(directory + name, .readWrite)
      try File.truncate(file.rawValue, to: 199_999)
    case .noteFlipped:
      let file = try File.open(directory + name + ".about", .readWrite)
      try File.writeFully(file.rawValue, [0xFF], at: 90)
    case .noteGone: try File.unlink(directory + name + ".about")
    case .noteAlone: try File.unlink(directory + name)
    case .noteTorn:
      let file = try File.open(directory + name + ".about", .readWrite)
      try File.truncate(file.rawValue, to: 64)
    }
    let store = try fixture.open()
    #expect(kept(store, "http://a/") == nil)
    #expect(try fixture.files("partial") == [])
    #expect(store.statistics.usedBytes == (try fixture.onDisk()))
    store.close()
  }

  @Test("it goes before anything else when space is short")
  func firstToGo() throws {
    let fixture = try StoreFixture(size: 1 << 20, segment: 64 << 10)
    let store = try fixture.open()
    try store.putBlob("http://whole/", bytes(200_000))
    try leave(store, "http://a/", bytes(200_000, seed: 2), of: 300_000)
    try leave(store, "http://b/", bytes(200_000, seed: 3), of: 300_000)
    for number in 0..<3 {
      try store.putBlob("http://new/\(number)", bytes(120_000, seed: UInt64(10 + number)))
      #expect(try fixture.onDisk() <= 1 << 20)
    }
    store.flush()
    #expect(kept(store, "http://a/") == nil)
    #expect(store.get("http://whole/") != nil)
    #expect(store.statistics.evicted == 0)
    store.close()
    #expect(store.statistics.usedBytes == (try fixture.onDisk()))
  }

  @Test("it goes with a purge, with what is stored whole, with age, and when there are too many")
  func goes() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    for key in ["http://a/", "http://b/1", "http://b/2", "http://c/", "http://d/"] {
      try leave(store, key, bytes(70_000), of: 80_000)
    }
    #expect(store.statistics.incompletes == 5)
    store.remove(store.key("http://a/"))
    #expect(try store.purge(.prefix(Array("http://b/".utf8))) == 2, "they count as responses")
    store.put("http://c/", "whole")
    store.flush()
    #expect(store.statistics.incompletes == 1)
    #expect(try fixture.files("partial").count == 2)
    #expect(
      store.incomplete(store.key("http://d/"), for: FieldSection(), now: Self.now + 90_000) == nil)
    for number in 0..<IncompleteLimits.count {
      try leave(store, "http://e/\(number)", bytes(65_536), of: 80_000)
    }
    store.flush()
    #expect(store.statistics.incompletes == IncompleteLimits.count)
    #expect(kept(store, "http://d/") == nil)
    store.close()
    #expect(store.statistics.usedBytes == (try fixture.onDisk()))
  }

  @Test("it answers only requests of its variant")
  func variant() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let varying = response(200, fields, vary: [("accept-language", "de")], at: Self.now)
    let blob = try store.grow(store.key("http://a/"), response: varying, expectedLength: nil)
    _ = append(bytes(70_000), to: blob)
    blob.leave()
    let key = store.key("http://a/")
    #expect(store.incomplete(key, for: ["Accept-Language": "de"], now: Self.now) != nil)
    let watch = store.watch(key, holding: nil)
    #expect(
      store.takeIncomplete(key, for: ["Accept-Language": "fr"], now: Self.now, watch: watch) == nil)
    store.close()
  }

  @Test("it is listed and verified, also by who may only read, and repaired away")
  func listed() throws {
    let fixture = try StoreFixture()
    var store = try fixture.open()
    store.put("http://whole/", "whole")
    try leave(store, "http://a/", bytes(200_000), of: 300_000)
    store.close()
    var options = fixture.options
    options.readOnly = true
    let before = try listing(fixture.options.path)
    let reader = try Store.open(options)
    var found: [String] = []
    reader.forEachEntry { entry in
      found.append("\(entry.keyText) \(entry.contentLength) \(entry.isIncomplete)")
      return true
    }
    #expect(found == ["http://whole/ 5 false", "http://a/ 200000 true"])
    #expect(try reader.verify().incompletes == 1)
    let key = reader.key("http://a/")
    let watch = reader.watch(key, holding: nil)
    #expect(
      reader.takeIncomplete(key, for: FieldSection(), now: Self.now, watch: watch) == nil)
    reader.close()
    #expect(try listing(fixture.options.path) == before)

    store = try fixture.open()
    let name = try #require(try fixture.files("partial").first { !$0.hasSuffix(".about") })
    let file = try File.open(fixture.options.path + "/partial/" + name, .readWrite)
    try File.writeFully(file.rawValue, [bytes(200_000)[9] ^ 1], at: 9)
    #expect(try store.verify().damagedPartials == [name])
    #expect(try store.verify(repair: true).repaired)
    #expect(try store.verify().isClean)
    #expect(try fixture.files("partial") == [])
    store.close()
  }

  // MARK: Overtaken

  enum Removal: CaseIterable { case unsafeRequest, purge, purgePrefix, savedWhole }

  private func remove(_ how: Removal, _ key: String, from store: Store) throws {
    switch how {
    case .unsafeRequest: store.remove(store.key(key))
    case .purge: try store.purge(.exact(Array(key.utf8)))
    case .purgePrefix: try store.purge(.prefix(Array(key.utf8.dropLast(1))))
    case .savedWhole: store.save(store.key(key), response: answer(), body: body("whole"))
    }
  }

  @Test("what is removed, or saved whole, while it grows is not kept", arguments: Removal.allCases)
  func removedWhileGrowing(how: Removal) throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    var watch: Watch? = store.watch(store.key("http://a/"), holding: nil)
    let blob = try store.grow(
      store.key("http://a/"), response: answer(), expectedLength: 300_000, watch: watch)
    #expect(append(bytes(200_000), to: blob) == .appended(watermark: 200_000))
    // The fetch is over, its body still in the line of a lane.
    watch = nil
    try remove(how, "http://a/", from: store)
    blob.leave()
    store.flush()
    #expect(kept(store, "http://a/") == nil)
    #expect(try fixture.files("partial") == [])
    store.close()
    #expect(store.statistics.usedBytes == (try fixture.onDisk()))
  }

  @Test(
    "what is removed while somebody has taken it does not come back", arguments: Removal.allCases)
  func removedWhileTaken(how: Removal) throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    try leave(store, "http://a/", bytes(200_000), of: 300_000)
    let (taken, watch) = try take(store, "http://a/")
    try remove(how, "http://a/", from: store)
    store.giveBack(taken, watch: watch, now: Self.now)
    store.flush()
    #expect(kept(store, "http://a/") == nil)
    #expect(try fixture.files("partial") == [])
    store.close()
    #expect(store.statistics.usedBytes == (try fixture.onDisk()))
  }

  @Test("what is given back without that is kept, and other keys are not concerned")
  func givenBack() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    try leave(store, "http://a/", bytes(200_000), of: 300_000)
    let (taken, watch) = try take(store, "http://a/")
    try remove(.purgePrefix, "http://b/", from: store)
    store.giveBack(taken, watch: watch, now: Self.now)
    store.flush()
    #expect(kept(store, "http://a/")?.length == 200_000)
    store.close()
  }

  @Test(
    "nor does a kill bring it back",
    arguments: [Removal.unsafeRequest, .purge, .purgePrefix], [true, false])
  func removedThenKilled(how: Removal, isTaken: Bool) throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let key = store.key("http://a/")
    let growing: GrowingBlob?
    let taken: (Incomplete, Watch)?
    if isTaken {
      growing = nil
      try leave(store, "http://a/", bytes(2 << 20), of: 3 << 20)
      taken = try take(store, "http://a/")
    } else {
      taken = nil
      growing = try store.grow(
        key, response: answer(), expectedLength: 3 << 20, watch: store.watch(key, holding: nil))
      _ = growing.map { append(bytes(1 << 20), to: $0) }
    }
    #expect(try fixture.files("partial").count == 2)
    try remove(how, "http://a/", from: store)
    store.flush()
    // Written again, were it not known that it is of no use.
    _ = growing.map { append(bytes(20 << 20), to: $0) }
    let copy = try killed(fixture)
    withExtendedLifetime((growing, taken)) { store.close() }
    let again = try copy.open()
    #expect(kept(again, "http://a/") == nil)
    #expect(try copy.files("partial") == [])
    again.close()
    #expect(again.statistics.usedBytes == (try copy.onDisk()))
  }

  @Test(
    "what is removed, or saved whole, while a start looks at it is not kept",
    arguments: [Removal.unsafeRequest, .savedWhole], [true, false])
  func removedWhileRecovering(how: Removal, isListed: Bool) throws {
    let fixture = try StoreFixture()
    var store = try fixture.open()
    try leave(store, "http://a/", bytes(200_000), of: 300_000)
    store.close()
    let directory = fixture.options.path + "/partial"
    let aside = fixture.path + "/aside"
    try copyTree(directory, aside)
    store = try fixture.open()
    store.remove(store.key("http://a/"))
    store.flush()
    #expect(try fixture.files("partial") == [])
    // As if that start were only now about to look.
    try File.removeTree(directory)
    try copyTree(aside, directory)
    let recovery = PartialRecovery(core: store.core)
    store.core.isRecovered.store(false, ordering: .releasing)
    if !isListed { try remove(how, "http://a/", from: store) }
    let begun = recovery.sort()
    #expect(begun.count == 1)
    if isListed { try remove(how, "http://a/", from: store) }
    recovery.adopt(begun)
    store.core.isRecovered.store(true, ordering: .releasing)
    store.flush()
    #expect(kept(store, "http://a/") == nil)
    #expect(try fixture.files("partial") == [])
    store.close()
  }
}
