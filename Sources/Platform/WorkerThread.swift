// A named thread that runs one closure, and a monitor (a lock with a condition) for threads that wait for each other.
//
// Threads are started with all signals blocked: `Signals` takes them on a descriptor instead, and none may interrupt
// a call in the middle of a worker.

import CLinux
import Glibc
import Synchronization

/// Puts the calling thread to sleep. For threads of their own only, never for a loop.
package func sleepThread(_ duration: Duration) {
  Kernel.sleep(nanoseconds: max(0, duration.wholeNanoseconds))
}

/// A thread of our own.
package final class WorkerThread: Sendable {
  private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// As it is shown by `top -H` and in core dumps: at most 15 bytes of it.
  package let name: String
  private let thread: Mutex<pthread_t?>
  #if DEBUG
    // A simulation's thread, which is none of the system's. Touched on the simulation's only real thread.
    private nonisolated(unsafe) var standIn: AnyObject?
  #endif

  /// Starts a thread that runs `body` once.
  /// - Throws: `EAGAIN` when the system has no thread left.
  package static func start(
    name: String, body: @escaping @Sendable () -> Void
  ) throws(Errno) -> WorkerThread {
    #if DEBUG
      if let kernel = StandIn.current {
        return WorkerThread(name: name, standIn: kernel.startThread(name, body))
      }
    #endif
    let start = Unmanaged.passRetained(Start(name: name, body: body))
    var thread = pthread_t()
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    // A new thread inherits the mask of the one that starts it.
    pthread_sigmask(SIG_BLOCK, &all, &before)
    let result = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        linux_name_thread(String(decoding: start.name.utf8.prefix(15), as: UTF8.self))
        start.body()
        return nil
      }, start.toOpaque())
    pthread_sigmask(SIG_SETMASK, &before, nil)
    guard result == 0 else {
      start.release()
      throw Errno(rawValue: result)
    }
    return WorkerThread(name: name, thread: thread)
  }

  private init(name: String, thread: pthread_t) {
    self.name = name
    self.thread = Mutex(thread)
  }

  #if DEBUG
    private init(name: String, standIn: AnyObject) {
      self.name = name
      self.standIn = standIn
      thread = Mutex(nil)
    }
  #endif

  /// Waits for the end of the thread. Joining again does nothing; a thread does not wait for itself.
  package func join() {
    #if DEBUG
      if let standIn {
        StandIn.current?.join(standIn)
        return
      }
    #endif
    let thread = self.thread.withLock { thread -> pthread_t? in
      defer { thread = nil }
      return thread
    }
    guard let thread else { return }
    if pthread_equal(thread, pthread_self()) != 0 {
      pthread_detach(thread)
    } else {
      pthread_join(thread, nil)
    }
  }

  /// Waits for the end of the thread, but not longer than `limit`. One that has not ended by then goes on by itself, and
  /// nobody can wait for it any more.
  /// - Returns: whether it has ended.
  package func join(within limit: Duration) -> Bool {
    #if DEBUG
      if standIn != nil {
        join()
        return true
      }
    #endif
    let thread = self.thread.withLock { thread -> pthread_t? in
      defer { thread = nil }
      return thread
    }
    guard let thread else { return true }
    if linux_join_until(thread, (Instant.now() + limit).nanoseconds) == 0 { return true }
    pthread_detach(thread)
    return false
  }

  deinit {
    // Nobody can join any more: let the system take the remains.
    if let thread = thread.withLock({ $0 }) { pthread_detach(thread) }
  }
}

/// State behind a lock, with a condition to wait for.
package final class Monitor<State>: @unchecked Sendable {
  // Sendable, because the state is only reached with the lock held. It is never moved: pthread wants the
  // mutex and the condition to stay where they are.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var state: State

  package init(_ state: sending State) {
    self.state = state
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Runs `body` with the lock held. A change that others wait for must be followed by `wakeOne` or `wakeAll`.
  package func withLock<Result, Failure: Error>(
    _ body: (inout State) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&state)
  }

  /// Waits until `body` answers something, and returns it. `body` runs with the lock held, first at once and then after each wake-up.
  package func wait<Result>(for body: (inout State) -> Result?) -> Result {
    #if DEBUG
      if let standIn = StandIn.current {
        while true {
          if let result = withLock({ body(&$0) }) { return result }
          standIn.park(at: ObjectIdentifier(self))
        }
      }
    #endif
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while true {
      if let result = body(&state) { return result }
      pthread_cond_wait(condition, mutex)
    }
  }

  package func wakeOne() {
    #if DEBUG
      StandIn.current?.wake(ObjectIdentifier(self))
    #endif
    pthread_cond_signal(condition)
  }

  package func wakeAll() {
    #if DEBUG
      StandIn.current?.wake(ObjectIdentifier(self))
    #endif
    pthread_cond_broadcast(condition)
  }
}
