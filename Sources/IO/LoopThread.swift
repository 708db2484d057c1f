// A thread with a loop on it: started with what is to live there, stopped by letter, and joined.

import Platform

/// A running loop on its own named thread.
package final class LoopThread: Sendable {
  private let thread: WorkerThread
  /// Where to reach the loop and its objects.
  package let mailbox: Mailbox

  /// Starts a thread, makes its loop, and has `setUp` put the first objects on it.
  /// - Returns: when `setUp` is done; what it throws ends the thread and is thrown here.
  package static func start(
    name: String,
    setUp: @escaping @Sendable (EventLoop) throws(Errno) -> Void = { _ throws(Errno) in }
  ) throws(Errno) -> LoopThread {
    let mailbox = try Mailbox()
    let outcome = Monitor<Result<Void, Errno>?>(nil)
    let thread = try WorkerThread.start(name: name) {
      let result: Result<EventLoop, Errno>
      do throws(Errno) {
        let loop = try EventLoop(mailbox: mailbox)
        try setUp(loop)
        result = .success(loop)
      } catch {
        result = .failure(error)
      }
      switch result {
      case .success(let loop):
        outcome.withLock { $0 = .success(()) }
        outcome.wakeAll()
        loop.run()
      case .failure(let errno):
        outcome.withLock { $0 = .failure(errno) }
        outcome.wakeAll()
      }
    }
    do {
      try outcome.wait { $0 }.get()
    } catch {
      thread.join()
      throw error
    }
    return LoopThread(thread: thread, mailbox: mailbox)
  }

  private init(thread: WorkerThread, mailbox: Mailbox) {
    self.thread = thread
    self.mailbox = mailbox
  }

  /// Asks the loop to end after its current turn.
  package func stop() {
    mailbox.stop()
  }

  /// Waits until the thread has ended.
  package func join() {
    thread.join()
  }
}
