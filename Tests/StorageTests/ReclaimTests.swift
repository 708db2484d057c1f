// The hard cap: never more on disk than allowed, what is used stays, and a body that does not fit is told so.

import Caching
import Platform
import Testing

@testable import Storage

@Suite struct ReclaimTests {
  @Test("small responses: the cap holds at every moment and the newest are there")
  func smallOnes() throws {
    let fixture = try StoreFixture(size: 1 << 20, memory: 64 << 10, segment: 64 << 10)
    let store = try fixture.open()
    for number in 0..<2000 {
      store.save(
        store.key("http://a/\(number)"), response: response(),
        body: .inline(bytes(2000, seed: UInt64(number))))
      if number % 20 == 0 {
        store.flush()
        #expect(try fixture.onDisk() <= 1 << 20)
        #expect(store.statistics.usedBytes <= 1 << 20)
      }
    }
    store.flush()
    for number in 1900..<2000 {
      #expect(
        store.get("http://a/\(number)")?.entries.first?.bytes == bytes(2000, seed: UInt64(number)))
    }
    #expect(store.get("http://a/0") == nil)
    let statistics = store.statistics
    #expect(statistics.evicted > 1000)
    #expect(statistics.refused == 0)
    #expect(statistics.hotBytes <= 64 << 10)
    #expect(try store.verify().isClean)
    store.close()
    #expect(try fixture.onDisk() <= 1 << 20)

    let again = try fixture.open()
    #expect(again.statistics.usedBytes == (try fixture.onDisk()))
    #expect(again.get("http://a/1999")?.entries.first?.bytes == bytes(2000, seed: 1999))
    again.close()
  }

  @Test("what is used again and again outlives everything else")
  func usedStay() throws {
    let fixture = try StoreFixture(size: 1 << 20, memory: 64 << 10, segment: 64 << 10)
    let store = try fixture.open()
    for number in 0..<10 { store.put("http://hot/\(number)", "hot \(number)") }
    try store.putBlob("http://hot/blob", bytes(40_000))
    for number in 0..<2000 {
      store.save(
        store.key("http://a/\(number)"), response: response(), body: .inline(bytes(2000)))
      if number % 50 == 0 {
        store.flush()
        for number in 0..<10 { #expect(store.text("http://hot/\(number)") == "hot \(number)") }
        #expect(store.get("http://hot/blob")?.entries.first?.bytes == bytes(40_000))
      }
    }
    #expect(store.statistics.reappended > 0)
    #expect(try store.verify().isClean)
    store.close()
  }

  @Test("blobs go one by one, the oldest first, although their records fill no segment")
  func blobsGoGradually() throws {
    let fixture = try StoreFixture(size: 4 << 20, segment: 64 << 10)
    let store = try fixture.open()
    for number in 0..<200 {
      try store.putBlob("http://a/\(number)", bytes(100_000, seed: UInt64(number)))
      #expect(try fixture.onDisk() <= 4 << 20)
    }
    let there = (0..<200).filter { store.get("http://a/\($0)") != nil }
    // Most of the cap is in use, and it is the newest that are there.
    #expect(there.count >= 30)
    #expect(there == Array((200 - there.count)..<200))
    #expect(try fixture.blobFiles().count == there.count)
    #expect(try store.verify().isClean)
    store.close()
  }

  @Test("a body that grows beyond the cap is told so, and gives its space back")
  func noSpace() throws {
    let fixture = try StoreFixture(size: 1 << 20, segment: 64 << 10)
    let store = try fixture.open()
    try store.putBlob("http://a/", bytes(100_000))
    let growing = try store.grow(store.key("http://b/"), response: response(), expectedLength: nil)
    var result = AppendResult.appended(watermark: 0)
    var appended = 0
    while case .appended = result, appended < 100 {
      result = bytes(50_000, seed: UInt64(appended)).withUnsafeBytes { growing.append($0) }
      appended += 1
      #expect(try fixture.onDisk() <= 1 << 20)
    }
    #expect(result == .noSpace)
    // Readers still have what was there before.
    #expect(growing.watermark == Int64(50_000 * (appended - 1)))
    #expect(
      try File.readFully(growing.descriptor, count: 50_000, at: 0) == bytes(50_000, seed: 0))
    #expect(store.get("http://a/") == nil)
    growing.abandon()
    store.flush()
    try store.putBlob("http://c/", bytes(500_000, seed: 3))
    #expect(store.get("http://c/")?.entries.first?.bytes == bytes(500_000, seed: 3))
    #expect(store.troubles(now: .precise()).map(\.trouble) == [.capReached])
    #expect(store.troubles(now: .precise()).isEmpty)
    store.close()
  }

  @Test("a reader of an evicted blob reads on")
  func openReader() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let entry = try store.putBlob("http://a/", bytes(100_000))
    try store.purge(.exact(Array("http://a/".utf8)))
    #expect(try fixture.blobFiles() == [])
    #expect(entry.bytes == bytes(100_000))
    // Freshening what is no longer there stores nothing, and hurts nobody.
    #expect(store.refresh(entry, response: response()).bytes == bytes(100_000))
    #expect(store.get("http://a/") == nil)
    store.close()
  }

  @Test("a cap without room for the log is refused with the smallest that works")
  func tooSmall() throws {
    let fixture = try StoreFixture(size: 1 << 20, segment: nil)
    #expect(throws: StoreError.tooSmall(size: 1 << 20, minimum: 16 << 20)) {
      _ = try fixture.open()
    }
  }

  @Test("a full queue stores nothing and says so; what was stored before stays")
  func fullQueue() throws {
    let fixture = try StoreFixture()
    fixture.options.queueLimit = 20_000
    fixture.options.linger = .milliseconds(200)
    let store = try fixture.open()
    for number in 0..<100 {
      let entry = store.save(
        store.key("http://a/\(number)"), response: response(), body: .inline(bytes(2000)))
      #expect(entry.contentLength == 2000)
    }
    let statistics = store.statistics
    #expect(statistics.refused > 0)
    #expect(statistics.saved + statistics.refused == 100)
    store.flush()
    #expect((0..<100).filter { store.get("http://a/\($0)") != nil }.count == statistics.saved)
    store.close()
  }

  @Test("until all that is stored has been found nobody waits for room, which there may never be")
  func fullAtTheStart() throws {
    let fixture = try StoreFixture(size: 1 << 20, segment: 64 << 10)
    let store = try fixture.open()
    try store.putBlob("http://a/", bytes(800_000))
    store.flush()
    store.core.isRecovered.store(false, ordering: .releasing)
    #expect(throws: Errno.noSpace) {
      _ = try store.grow(
        store.key("http://b/"), response: response(), expectedLength: 700_000)
    }
    store.core.isRecovered.store(true, ordering: .releasing)
    try store.putBlob("http://b/", bytes(700_000))
    #expect(store.get("http://a/") == nil)
    store.close()
  }
}
