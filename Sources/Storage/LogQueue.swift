// What waits for the log thread, and those who wait for it.
//
// Loops put things in and never wait. The queue is bounded: a response that finds it full is not stored. Removals
// are not bounded by it, because they must not get lost; there can be no more of them than requests that order one.

import Platform
import Synchronization

package final class LogQueue: Sendable {
  enum Item: Sendable {
    case save(StoredEntry, pending: IndexEntry)
    case tombstone(key: [UInt8], hash: UInt64)
  }

  /// Somebody waits until a body of his has so many bytes. Granted on the log thread: room that was only made would go to
  /// whoever is quickest.
  final class Room: Sendable {
    let bytes: Int64
    let isGranted = Atomic<Bool>(false)

    init(_ bytes: Int64) { self.bytes = bytes }
  }

  struct Work: Sendable {
    var items: [Item] = []
    /// Those who wait for room.
    var rooms: [Room] = []
    /// Somebody wants to run something between two batches.
    var errands: [@Sendable (LogWriter) -> Void] = []
    var isStopping = false
    fileprivate var upTo = 0
  }

  fileprivate struct State {
    var work = Work()
    var bytes = 0
    var submitted = 0
    var completed = 0
    var hasNews = false
    var isUrgent = false
  }

  private let monitor = Monitor(State())
  private let limit: Int

  init(limit: Int) {
    self.limit = limit
  }

  /// Whether a small response would still be taken.
  var hasRoom: Bool { monitor.withLock { $0.bytes < limit && !$0.work.isStopping } }

  /// False when the queue is full.
  func offer(_ item: Item, bytes: Int) -> Bool {
    let (isIn, wasEmpty) = monitor.withLock { state -> (Bool, Bool) in
      guard state.bytes + bytes <= limit, !state.work.isStopping else { return (false, false) }
      let wasEmpty = !state.hasNews
      state.add(item, bytes)
      return (true, wasEmpty)
    }
    if wasEmpty { monitor.wakeAll() }
    return isIn
  }

  /// Puts in a removal, however full the queue is.
  func insist(_ item: Item) {
    monitor.withLock { $0.add(item, 0) }
    monitor.wakeAll()
  }

  /// There is something to do that is not in the queue.
  func nudge() {
    monitor.withLock { $0.hasNews = true }
    monitor.wakeAll()
  }

  /// Waits until everything that was put in before is done.
  func flush() { submit { _ in } }

  /// Waits until the log thread has tried to make room.
  /// - Returns: whether the bytes have been taken for the caller.
  func makeRoom(for bytes: Int64) -> Bool {
    let room = Room(bytes)
    submit { $0.rooms.append(room) }
    return room.isGranted.load(ordering: .acquiring)
  }

  /// Runs something on the log thread and waits for it.
  func run(_ errand: @escaping @Sendable (LogWriter) -> Void) {
    submit { $0.errands.append(errand) }
  }

  /// Ends the log thread after it has done everything that is in the queue.
  func stop() {
    monitor.withLock { state in
      state.work.isStopping = true
      state.hasNews = true
      state.isUrgent = true
    }
    monitor.wakeAll()
  }

  private func submit(_ change: @escaping (inout Work) -> Void) {
    let mine = monitor.withLock { state -> Int in
      // Once the thread has ended nobody would answer.
      guard !state.work.isStopping else { return 0 }
      change(&state.work)
      state.submitted += 1
      state.hasNews = true
      state.isUrgent = true
      return state.submitted
    }
    monitor.wakeAll()
    monitor.wait { state in state.completed >= mine ? () : nil }
  }

  // MARK: The log thread's side

  /// Waits for something to do.
  /// - Returns: whether somebody is waiting for it, so that it should not be put off.
  func waitForWork() -> Bool {
    monitor.wait { state in state.hasNews ? state.isUrgent : nil }
  }

  func take() -> Work {
    monitor.withLock { state in
      var work = state.work
      work.upTo = state.submitted
      state.work = Work()
      state.work.isStopping = work.isStopping
      state.bytes = 0
      state.hasNews = false
      state.isUrgent = false
      return work
    }
  }

  func done(_ work: Work) {
    monitor.withLock { $0.completed = work.upTo }
    monitor.wakeAll()
  }
}

extension LogQueue.State {
  fileprivate mutating func add(_ item: LogQueue.Item, _ bytes: Int) {
    work.items.append(item)
    self.bytes += bytes
    submitted += 1
    hasNews = true
  }
}
