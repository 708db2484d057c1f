// What keeps a store from opening, and the sentences that say so.

import Glibc
import Platform
import Testing

@testable import Storage

@Suite("Opening a store")
struct StoreOpeningTests {
  #if DEBUG
    @Test(
      "a store that cannot be written says why and what to do",
      arguments: [
        (Errno.readOnlyFileSystem, "mounted read-only. Mount it writable"),
        (.accessDenied, "Run as the user the store belongs to"),
        (.inputOutput, "Cannot open"),
      ])
    func refused(errno: Errno, sentence: String) throws {
      let fixture = try StoreFixture()
      try fixture.open().close()
      let plan = FaultPlan(
        in: .directory(fixture.options.path), failing: [.open], number: 1, with: errno)
      plan.install()
      defer { plan.remove() }
      do {
        _ = try Store.open(fixture.options)
        Issue.record("opened all the same")
      } catch {
        #expect("\(error)".contains(sentence) && "\(error)".contains(fixture.options.path))
      }
    }

    @Test(
      "each way a disk can fail while it runs has its own trouble",
      arguments: [
        (Errno.noSpace, StoreTrouble.diskFull), (.quotaExceeded, .diskFull),
        (.readOnlyFileSystem, .diskReadOnly), (.noSuchFile, .missing),
        (.inputOutput, .diskFailed), (.tooManyOpenFiles, .diskFailed),
      ])
    func troubles(errno: Errno, trouble: StoreTrouble) throws {
      let fixture = try StoreFixture()
      let store = try fixture.open()
      defer { store.close() }
      let plan = FaultPlan(
        in: .directory(fixture.options.path + "/partial"), failing: [.open], number: 1, with: errno,
        repeats: true)
      plan.install()
      defer { plan.remove() }
      for _ in 0..<3 {
        #expect(throws: errno) {
          _ = try store.grow(store.key("http://a/"), response: response(), expectedLength: nil)
        }
      }
      // Three times, and told once.
      let told = store.troubles(now: .precise())
      #expect(told.map(\.trouble) == [trouble] && told.first?.count == 3)
      #expect(store.troubles(now: .precise()).isEmpty)
    }
  #endif

  @Test("a store in use names the process that has it")
  func inUse() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    defer { store.close() }
    do {
      _ = try Store.open(fixture.options)
      Issue.record("opened twice")
    } catch {
      #expect("\(error)".contains("in use by another process, number \(getpid())."))
    }
  }

  @Test("a store of another version is left alone, and both versions are named")
  func otherVersion() throws {
    let fixture = try StoreFixture()
    try fixture.open().close()
    let path = fixture.options.path + "/format"
    let file = try File.open(path, .readWrite)
    try File.writeFully(file.rawValue, Array("holdfast-store 7".utf8), at: 0)
    let before = try File.readFully(file.rawValue, count: 256, at: 0)
    do {
      _ = try Store.open(fixture.options)
      Issue.record("opened all the same")
    } catch {
      #expect("\(error)".contains("has format 7") && "\(error)".contains("format 1"))
    }
    #expect(try File.readFully(file.rawValue, count: 256, at: 0) == before)
  }

  @Test("a log segment that vanishes while it is in use is missed by nobody until the next start")
  func segmentVanishes() throws {
    let fixture = try StoreFixture(memory: 1)
    let store = try fixture.open()
    store.put("http://a/", "a")
    store.flush()
    try File.unlink(fixture.segmentPath(1))
    #expect(store.text("http://a/") == "a")
    store.put("http://b/", "b")
    store.flush()
    #expect(store.text("http://b/") == "b")
    store.close()
    let again = try fixture.open()
    #expect(again.text("http://a/") == nil && again.text("http://b/") == nil)
    again.put("http://c/", "c")
    again.flush()
    #expect(again.text("http://c/") == "c")
    #expect(try again.verify().isClean)
    again.close()
  }

  @Test("a store whose directory is removed under it serves what it has in memory and says so")
  func directoryVanishes() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    store.put("http://a/", "a")
    try store.putBlob("http://b/", bytes(50_000))
    store.flush()
    let growing = try store.grow(store.key("http://c/"), response: response(), expectedLength: nil)
    _ = bytes(50_000, seed: 2).withUnsafeBytes { growing.append($0) }
    try File.removeTree(fixture.options.path)
    #expect(store.text("http://a/") == "a")
    #expect(store.get("http://b/")?.entries.first?.bytes == bytes(50_000))
    guard case .failed = growing.finish(length: nil) else {
      Issue.record("a body without a file got a name")
      return
    }
    #expect(throws: Errno.noSuchFile) {
      _ = try store.grow(store.key("http://d/"), response: response(), expectedLength: nil)
    }
    #expect(store.troubles(now: .precise()).map(\.trouble) == [.missing])
    store.close()
    let again = try fixture.open()
    #expect(again.get("http://a/") == nil)
    try again.putBlob("http://b/", bytes(50_000))
    #expect(again.get("http://b/")?.entries.first?.bytes == bytes(50_000))
    again.close()
  }
}
