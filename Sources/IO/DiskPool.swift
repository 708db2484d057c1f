// Threads for work that may wait for the disk, so that no loop has to.
//
// Two kinds of jobs. A lane is a line of jobs that run one after the other in the order they were submitted, all on
// the same thread: what belongs to one growing body, or to the log, uses one lane. Everything else goes to a shared queue
// with threads of its own, so that a read never stands behind a flush. Both are bounded: a disk that cannot keep up
// makes the pool refuse, and the caller turns to back-pressure, instead of memory filling with waiting work.

import Platform
import Synchronization

/// Runs blocking jobs on a few named threads.
package final class DiskPool: Sendable {
  /// A job; it answers through a mailbox.
  package typealias Job = @Sendable () -> Void

  // A first-in first-out queue: taken from the front by index, so that nothing is moved.
  private struct Queue {
    private var jobs: [Job?] = []
    private var front = 0
    var isClosed = false

    var count: Int { jobs.count - front }

    mutating func append(_ job: @escaping Job) {
      jobs.append(job)
    }

    mutating func next() -> Job? {
      guard front < jobs.count else { return nil }
      let job = jobs[front]
      jobs[front] = nil
      front += 1
      // Empty, or half of it is used up: begin again at the start.
      if front == jobs.count || front > 512 {
        jobs.removeFirst(front)
        front = 0
      }
      return job
    }
  }

  private let laneQueues: [Monitor<Queue>]
  private let shared: Monitor<Queue>
  private let limit: Int
  private let threads: Mutex<[WorkerThread]>
  private let running = Atomic<Int>(0)
  private let refusals = Atomic<Int>(0)

  /// Starts the threads.
  /// - Parameters:
  ///   - laneThreads: how many threads the lanes are spread over.
  ///   - readThreads: how many threads serve the shared queue.
  ///   - limit: how many jobs may wait in each queue.
  package init(name: String = "disk", laneThreads: Int = 2, readThreads: Int = 2, limit: Int = 4096)
    throws(Errno)
  {
    laneQueues = (0..<max(1, laneThreads)).map { _ in Monitor(Queue()) }
    shared = Monitor(Queue())
    self.limit = max(1, limit)
    threads = Mutex([])
    do throws(Errno) {
      for (number, queue) in laneQueues.enumerated() {
        try startThread("\(name)-lane-\(number)", queue)
      }
      for number in 0..<max(1, readThreads) {
        try startThread("\(name)-read-\(number)", shared)
      }
    } catch {
      shutdown()
      throw error
    }
  }

  private func startThread(_ name: String, _ queue: Monitor<Queue>) throws(Errno) {
    // The threads hold the pool until `shutdown`: a pool that is only dropped would take its jobs with it.
    let thread = try WorkerThread.start(name: name) {
      while let job = queue.wait(for: DiskPool.take) {
        self.running.add(1, ordering: .relaxed)
        job()
        self.running.subtract(1, ordering: .relaxed)
      }
    }
    threads.withLock { $0.append(thread) }
  }

  /// The next job; `.some(nil)` when none will come any more.
  private static func take(_ queue: inout Queue) -> Job?? {
    if let job = queue.next() { return .some(job) }
    return queue.isClosed ? .some(nil) : .none
  }

  /// Submits a job that runs after all earlier jobs of the same lane.
  /// - Parameter lane: any number; equal numbers are the same lane.
  /// - Returns: false when the queue is full or the pool is shut down: the job will not run.
  package func submit(lane: UInt64, _ job: @escaping Job) -> Bool {
    submit(job, to: laneQueues[Int(lane % UInt64(laneQueues.count))])
  }

  /// Submits a job that depends on no other, such as a read.
  /// - Returns: false when the queue is full or the pool is shut down: the job will not run.
  package func submit(_ job: @escaping Job) -> Bool {
    submit(job, to: shared)
  }

  private func submit(_ job: @escaping Job, to queue: Monitor<Queue>) -> Bool {
    let isTaken = queue.withLock { state in
      guard !state.isClosed, state.count < limit else { return false }
      state.append(job)
      return true
    }
    if isTaken {
      queue.wakeOne()
    } else {
      refusals.add(1, ordering: .relaxed)
    }
    return isTaken
  }

  /// How many jobs wait or run.
  package var depth: Int {
    let waiting = laneQueues.reduce(shared.withLock { $0.count }) { $0 + $1.withLock { $0.count } }
    return waiting + running.load(ordering: .relaxed)
  }

  /// Waits until all jobs of lanes that were submitted before have run. Must not be called by a job.
  package func settle() {
    for lane in laneQueues.indices {
      let isDone = Monitor(false)
      let isTaken = submit(lane: UInt64(lane)) {
        isDone.withLock { $0 = true }
        isDone.wakeAll()
      }
      if isTaken { isDone.wait { $0 ? () : nil } }
    }
  }

  /// How many jobs were refused so far.
  package var refused: Int { refusals.load(ordering: .relaxed) }

  /// Refuses new jobs, lets those that wait run to their end, and joins the threads. Must not be called by a job.
  package func shutdown() {
    for queue in laneQueues + [shared] {
      queue.withLock { $0.isClosed = true }
      queue.wakeAll()
    }
    let joined = threads.withLock { threads in
      let all = threads
      threads = []
      return all
    }
    for thread in joined { thread.join() }
  }
}
