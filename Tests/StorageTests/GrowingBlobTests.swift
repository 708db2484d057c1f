// Bodies that grow, where room is short: what fails stays failed, what cannot fit is refused before it begins, and
// bodies that fit together do not starve each other.

import Platform
import Synchronization
import Testing

@testable import Storage

@Suite("Growing blobs")
struct GrowingBlobTests {
  private func append(_ bytes: [UInt8], to blob: GrowingBlob) -> AppendResult {
    bytes.withUnsafeBytes { blob.append($0) }
  }

  @Test(
    "what follows a piece that found no room is not put in its place, even when there is room again"
  )
  func failsForGood() throws {
    let fixture = try StoreFixture(size: 1 << 20, segment: 64 << 10)
    let store = try fixture.open()
    let other = try store.grow(store.key("http://a/"), response: response(), expectedLength: nil)
    let growing = try store.grow(store.key("http://b/"), response: response(), expectedLength: nil)
    #expect(append(bytes(500_000), to: other) == .appended(watermark: 500_000))
    #expect(append(bytes(300_000), to: growing) == .appended(watermark: 300_000))
    #expect(append(bytes(300_000, seed: 2), to: growing) == .noSpace)
    other.abandon()
    // Another thread had these bytes on their way already.
    #expect(append(bytes(1000, seed: 3), to: growing) == .noSpace)
    #expect(growing.watermark == 300_000)
    guard case .failed = growing.finish(length: nil) else {
      Issue.record("a body with a piece missing must not get a name")
      return
    }
    #expect(try fixture.blobFiles() == [])
    #expect(try fixture.files("partial") == [])
    store.close()
  }

  @Test(
    "a body that is announced to be longer than the cap is refused before it begins, and evicts nothing",
    arguments: [1 << 20, 1 << 40, Int64.max - 1, .max])
  func tooLong(_ length: Int64) throws {
    let fixture = try StoreFixture(size: 1 << 20, segment: 64 << 10)
    let store = try fixture.open()
    try store.putBlob("http://a/", bytes(100_000))
    #expect(throws: Errno.noSpace) {
      _ = try store.grow(
        store.key("http://b/"), response: response(), expectedLength: length)
    }
    #expect(try fixture.files("partial") == [])
    #expect(store.get("http://a/")?.entries.first?.bytes == bytes(100_000))
    #expect(store.troubles(now: .precise()).map(\.trouble) == [.capReached])
    store.close()
  }

  @Test("an announced length is set aside at once, and what was not needed of it is given back")
  func setAside() throws {
    let fixture = try StoreFixture(size: 1 << 20, segment: 64 << 10)
    let store = try fixture.open()
    let first = try store.grow(
      store.key("http://a/"), response: response(), expectedLength: 500_000)
    #expect(throws: Errno.noSpace) {
      _ = try store.grow(store.key("http://b/"), response: response(), expectedLength: 500_000)
    }
    #expect(append(bytes(500_000), to: first) == .appended(watermark: 500_000))
    guard case .finished(let blob) = first.finish(length: 500_000) else {
      Issue.record("there was room for all of it")
      return
    }
    store.save(store.key("http://a/"), response: response(), body: .blob(blob))
    store.flush()
    let used = store.statistics.usedBytes
    let second = try store.grow(
      store.key("http://c/"), response: response(), expectedLength: 300_000)
    second.abandon()
    #expect(store.statistics.usedBytes == used)
    store.close()
  }

  @Test("bodies that fit beside each other all find room, whatever has to be evicted for them")
  func together() throws {
    let fixture = try StoreFixture(size: 1 << 20, segment: 64 << 10)
    let store = try fixture.open()
    let refused = Mutex(0)
    let threads = try (0..<4).map { thread in
      try WorkerThread.start(name: "filler") {
        for number in 0..<60 {
          let content = bytes(100_000, seed: UInt64(thread * 1000 + number))
          let key = store.key("http://\(thread)/\(number)")
          guard
            let blob = try? store.grow(
              key, response: response(), expectedLength: number % 2 == 0 ? nil : 100_000)
          else {
            refused.withLock { $0 += 1 }
            continue
          }
          for start in stride(from: 0, to: content.count, by: 20_000) {
            let piece = Array(content[start..<start + 20_000])
            guard case .appended = piece.withUnsafeBytes({ blob.append($0) }) else {
              refused.withLock { $0 += 1 }
              break
            }
          }
          if case .finished(let finished) = blob.finish(length: 100_000) {
            store.save(key, response: response(), body: .blob(finished))
          }
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(refused.withLock { $0 } == 0)
    #expect(try fixture.onDisk() <= 1 << 20)
    #expect(try store.verify().isClean)
    store.close()
  }
}
