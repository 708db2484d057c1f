// Many threads at once on a cramped store: nobody ever gets what belongs to another key, or half of anything.

import Caching
import Platform
import SeededRandom
import Synchronization
import Testing

@testable import Storage

@Suite struct ConcurrencyTests {
  @Test("threads that save, load, freshen, remove and purge see only whole and right answers")
  func threads() throws {
    let fixture = try StoreFixture(size: 1 << 20, memory: 100_000, segment: 32 << 10)
    fixture.options.shardCount = 4
    for round in 0..<3 {
      let store = try Store.open(fixture.options)
      let wrong = Atomic<Int>(0)
      let threads = try (0..<4).map { number in
        try WorkerThread.start(name: "test-\(number)") {
          Self.work(store, seed: UInt64(round * 10 + number), wrong)
        }
      }
      for thread in threads { thread.join() }
      #expect(wrong.load(ordering: .relaxed) == 0)
      store.flush()
      let report = try store.verify()
      #expect(report.isClean && report.orphans.isEmpty, "\(report)")
      store.close()
      #expect(store.statistics.usedBytes == (try fixture.onDisk()))
    }
  }

  private static func work(_ store: Store, seed: UInt64, _ wrong: borrowing Atomic<Int>) {
    var random = SeededGenerator(seed: seed)
    for step in 0..<600 {
      let number = Int.random(in: 0..<40, using: &random)
      let text = "http://\(number % 3)/\(number)"
      let key = store.key(text)
      switch Int.random(in: 0..<20, using: &random) {
      case 0..<5:
        store.save(key, response: response(), body: .inline(content(number, 700)))
      case 5..<8:
        // Three bodies only, so that commits and removals of one blob meet.
        let data = content(number % 3, 20_000)
        guard
          let growing = try? store.grow(key, response: response(), expectedLength: nil),
          case .appended = data.withUnsafeBytes({ growing.append($0) }),
          case .finished(let blob) = growing.finish(length: 20_000)
        else { continue }
        store.save(key, response: response(), body: .blob(blob))
      case 8:
        store.remove(key)
      case 9 where step % 10 == 0:
        _ = try? store.purge(.prefix(Array("http://1/".utf8)))
      case 10:
        if let entry = store.get(text)?.entries.first { store.refresh(entry, response: response()) }
      default:
        guard let entry = store.get(text)?.entries.first else { continue }
        let expected =
          entry.contentLength == 700 ? content(number, 700) : content(number % 3, 20_000)
        if entry.bytes != expected || entry.key != key.bytes {
          wrong.wrappingAdd(1, ordering: .relaxed)
        }
      }
    }
  }

  private static func content(_ number: Int, _ count: Int) -> [UInt8] {
    bytes(count, seed: UInt64(number))
  }

  @Test("readers follow a growing body and get exactly its bytes")
  func readers() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let data = bytes(3 << 20)
    let growing = try store.grow(
      store.key("http://a/"), response: response(), expectedLength: Int64(data.count))
    let results = Mutex<[Bool]>([])
    let threads = try (0..<3).map { number in
      try WorkerThread.start(name: "reader-\(number)") {
        var read: [UInt8] = []
        while read.count < data.count {
          let available = Int(growing.watermark) - read.count
          guard available > 0 else { continue }
          read +=
            (try? File.readFully(
              growing.descriptor, count: available, at: Int64(read.count))) ?? []
        }
        results.withLock { $0.append(read == data) }
      }
    }
    var offset = 0
    while offset < data.count {
      let count = min(70_001, data.count - offset)
      let result = data[offset..<offset + count].withUnsafeBytes { growing.append($0) }
      offset += count
      #expect(result == .appended(watermark: Int64(offset)))
    }
    guard case .finished(let blob) = growing.finish(length: Int64(data.count)) else {
      Issue.record("not finished")
      return
    }
    for thread in threads { thread.join() }
    #expect(results.withLock { $0 } == [true, true, true])
    store.save(store.key("http://a/"), response: response(), body: .blob(blob))
    #expect(store.get("http://a/")?.entries.first?.bytes == data)
    store.close()
  }

  @Test("a body with another length or another digest than announced is not kept")
  func wrongBodies() throws {
    let fixture = try StoreFixture()
    let store = try fixture.open()
    let key = store.key("http://a/")
    let data = bytes(1000)
    let short = try store.grow(key, response: response(), expectedLength: 2000)
    _ = data.withUnsafeBytes { short.append($0) }
    guard case .wrongLength(1000) = short.finish(length: 2000) else {
      Issue.record("length")
      return
    }
    let other = try store.grow(key, response: response(), expectedLength: nil)
    _ = data.withUnsafeBytes { other.append($0) }
    guard
      case .wrongDigest = other.finish(
        length: nil, digest: Digest(hex: String(repeating: "0", count: 64)))
    else {
      Issue.record("digest")
      return
    }
    #expect(try fixture.files("partial") == [])
    #expect(try fixture.blobFiles() == [])
    store.close()
    #expect(store.statistics.usedBytes == 0)
  }
}
