// A store shares its disk: how much of it is left to others, and what becomes of what is stored when it is not there.

import Platform
import Synchronization
import Testing

@testable import Storage

@Suite("What is left of the disk to others")
struct FreeSpaceTests {
  @Test(
    "a twentieth of the disk is kept free, 1 GiB at most, if nothing else is said",
    arguments: [
      (KeepFree.automatic, Int64(0), Int64(0)), (.automatic, 40 << 20, 2 << 20),
      (.automatic, 20 << 30, 1 << 30), (.automatic, .max, 1 << 30), (.automatic, -1, 0),
      (.bytes(0), 1 << 40, 0), (.bytes(7), 0, 7), (.bytes(-1), 100, 0),
    ])
  func floor(rule: KeepFree, total: Int64, floor: Int64) {
    #expect(rule.floor(of: total) == floor)
  }

  @Test("the kernel is asked once a second, what the store does meanwhile is counted")
  func measured() {
    let counter = Counter()
    let free = FreeSpace(path: "/", .bytes(1000)) { _ in
      counter.value.wrappingAdd(1, ordering: .relaxed)
      return File.Space(available: 5000, total: 1 << 40)
    }
    let start = Instant.precise()
    #expect(free.shortage(for: 4000, used: 10_000, now: start) == 0)
    #expect(free.shortage(for: 4001, used: 10_000, now: start) == 1)
    #expect(free.shortage(for: 0, used: 15_000, now: start + .milliseconds(999)) == 1000)
    #expect(free.shortage(for: 0, used: 9000, now: start + .milliseconds(999)) == -5000)
    #expect(counter.value.load(ordering: .relaxed) == 1)
    #expect(free.shortage(for: 0, used: 15_000, now: start + .seconds(1)) == -4000)
    #expect(counter.value.load(ordering: .relaxed) == 2)
    free.use(.bytes(6000))
    #expect(free.shortage(for: 0, used: 15_000, now: start + .seconds(1)) == 1000)
    free.use(.bytes(0))
    #expect(free.shortage(for: .max, used: .max, now: start + .seconds(1)) < 0)
  }

  private final class Counter: Sendable {
    let value = Atomic<Int>(0)
  }

  @Test("a disk that cannot be asked holds nothing up")
  func unknown() {
    let free = FreeSpace(path: "/", .automatic) { _ in nil }
    #expect(free.shortage(for: .max, used: 0) < 0)
  }

  /// A disk of which others have so much.
  private final class Disk: Sendable {
    let available = Atomic<Int64>(0)
    let path: String
    init(_ path: String, available: Int64) {
      self.path = path
      self.available.store(available, ordering: .relaxed)
    }
  }

  private func fixture(_ disk: Disk, keeping floor: Int64) throws -> StoreFixture {
    let fixture = try StoreFixture(segment: 64 << 10)
    fixture.options.keepFree = .bytes(floor)
    fixture.options.measure = { _ in
      File.Space(available: disk.available.load(ordering: .relaxed), total: 1 << 40)
    }
    return fixture
  }

  @Test("the oldest goes before the floor is broken, though the cap is far away")
  func evicts() throws {
    // Measured once, when nothing is stored: what follows is the store's own doing.
    let disk = Disk("", available: 3 << 20)
    let fixture = try fixture(disk, keeping: 1 << 20)
    let store = try fixture.open()
    for number in 0..<8 {
      try store.putBlob("http://a/\(number)", bytes(400_000, seed: UInt64(number)))
      store.flush()
      disk.available.store((3 << 20) - (try fixture.onDisk()), ordering: .relaxed)
      #expect(try fixture.onDisk() <= 2 << 20)
    }
    #expect(store.get("http://a/0") == nil)
    #expect(store.get("http://a/7")?.entries.first?.bytes == bytes(400_000, seed: 7))
    #expect(store.statistics.evicted > 0)
    #expect(store.troubles(now: .precise()).isEmpty)
    store.close()
  }

  @Test("a disk that others have filled takes no bodies; it is told, and why")
  func refuses() throws {
    let disk = Disk("", available: 1 << 19)
    let fixture = try fixture(disk, keeping: 1 << 20)
    let store = try fixture.open()
    for _ in 0..<3 {
      #expect(throws: Errno.noSpace) {
        _ = try store.grow(store.key("http://b/"), response: response(), expectedLength: 100_000)
      }
    }
    let told = store.troubles(now: .precise())
    #expect(told.map(\.trouble) == [.keepFreeReached] && told.first?.count == 3)
    #expect(told.first?.trouble.sentence.contains("lower store.keep-free") == true)
    // Small things find the one segment that there always is; removals have to be written down.
    store.put("http://c/", "c")
    store.flush()
    #expect(store.text("http://c/") == "c")
    #expect(try fixture.onDisk() <= 64 << 10)
    // The operator gives in.
    store.waitUntilRecovered()
    store.use(.bytes(1 << 18))
    try store.putBlob("http://b/", bytes(100_000))
    store.flush()
    let isThere = store.get("http://b/")?.entries.first?.bytes == bytes(100_000)
    #expect(isThere)
    store.close()
  }
}
