// Blocking work on threads: order within a lane, no order between them, bounds, and an end that loses nothing.

import Platform
import Synchronization
import Testing

@testable import IO

/// A door that jobs wait at.
private final class Gate: Sendable {
  private let state = Monitor((isOpen: false, waiting: 0))

  func pass() {
    state.withLock { $0.waiting += 1 }
    state.wakeAll()
    state.wait { $0.isOpen ? () : nil }
  }

  func open() {
    state.withLock { $0.isOpen = true }
    state.wakeAll()
  }

  func awaitWaiting(_ count: Int) {
    state.wait { $0.waiting >= count ? () : nil }
  }
}

@Suite("Disk pool")
struct DiskPoolTests {
  @Test("jobs of one lane run in their order, whatever the other lanes do")
  func order() throws {
    let pool = try DiskPool(laneThreads: 3)
    let log = Mutex<[(lane: UInt64, number: Int)]>([])
    for number in 0..<200 {
      for lane in UInt64(0)..<5 {
        #expect(pool.submit(lane: lane) { log.withLock { $0.append((lane, number)) } })
      }
    }
    pool.shutdown()
    let entries = log.withLock { $0 }
    #expect(entries.count == 1000)
    for lane in UInt64(0)..<5 {
      #expect(entries.filter { $0.lane == lane }.map(\.number) == Array(0..<200))
    }
  }

  @Test("reads do not stand behind lanes that are stuck")
  func reads() throws {
    let pool = try DiskPool(laneThreads: 2, readThreads: 1)
    let gate = Gate()
    for lane in UInt64(0)..<2 { #expect(pool.submit(lane: lane) { gate.pass() }) }
    gate.awaitWaiting(2)
    let done = Monitor(false)
    #expect(
      pool.submit {
        done.withLock { $0 = true }
        done.wakeAll()
      })
    done.wait { $0 ? () : nil }
    gate.open()
    pool.shutdown()
  }

  @Test("a full queue refuses, says so, and takes jobs again when there is room")
  func bounded() throws {
    let pool = try DiskPool(laneThreads: 1, readThreads: 1, limit: 3)
    let gate = Gate()
    #expect(pool.submit { gate.pass() })
    gate.awaitWaiting(1)
    let ran = Atomic<Int>(0)
    for _ in 0..<3 { #expect(pool.submit { ran.add(1, ordering: .relaxed) }) }
    #expect(pool.depth == 4)
    #expect(!pool.submit { ran.add(100, ordering: .relaxed) })
    #expect(pool.refused == 1)
    // Lanes have room of their own.
    #expect(pool.submit(lane: 0) { ran.add(1, ordering: .relaxed) })
    gate.open()
    pool.shutdown()
    #expect(ran.load(ordering: .relaxed) == 4)
    #expect(pool.depth == 0)
  }

  @Test("shutting down runs what was submitted before and refuses what comes after")
  func shutdown() throws {
    let pool = try DiskPool()
    let ran = Atomic<Int>(0)
    for number in 0..<100 {
      #expect(pool.submit(lane: UInt64(number)) { ran.add(1, ordering: .relaxed) })
      #expect(pool.submit { ran.add(1, ordering: .relaxed) })
    }
    pool.shutdown()
    #expect(ran.load(ordering: .relaxed) == 200)
    #expect(!pool.submit {})
    #expect(!pool.submit(lane: 1) {})
    pool.shutdown()
  }

  @Test("a job answers through the mailbox")
  func answers() throws {
    let loop = try EventLoop()
    let pool = try DiskPool()
    let object = Recorder(loop: loop)
    let (mailbox, id) = (loop.mailbox, object.id)
    #expect(pool.submit { mailbox.post(Letter(to: id, subject: 1, value: 42)) })
    loop.run { object.letters == [42] }
    object.unregister()
    pool.shutdown()
  }
}
