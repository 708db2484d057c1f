// Signals as something to read: blocked in every thread and told by a descriptor that an event loop can watch.

import CLinux
import Glibc

/// The signals a server answers to.
package struct Signals: ~Copyable, Sendable {
  package enum Signal: Int32, CaseIterable, Sendable {
    case hangUp = 1
    case interrupt = 2
    case terminate = 15
  }

  private let descriptor: FileDescriptor

  /// Blocks the signals in this thread and in all it starts from now on, and ignores SIGPIPE. An interrupt that is ignored
  /// when the process starts is left out: Ctrl-C is not meant for the background job of a script. A hang-up is not, since
  /// that is an order here and no end.
  ///
  /// Call it on the main thread before any other thread is started: a signal is given to any thread that does not block it.
  package init(_ signals: [Signal] = Signal.allCases) throws(Errno) {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals where signal != .interrupt || !Self.isIgnored(signal.rawValue) {
      sigaddset(&set, signal.rawValue)
    }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    // A write to a closed pipe or socket shall fail with EPIPE.
    signal(SIGPIPE, SIG_IGN)
    descriptor = try FileDescriptor(result: linux_signalfd(&set))
  }

  /// Whether nothing would come of it now.
  package static func isIgnored(_ signal: Int32) -> Bool { linux_signal_is_ignored(signal) != 0 }

  /// The number to watch: readable while a signal waits.
  package var rawValue: Int32 { descriptor.rawValue }

  /// The next signal that has arrived, nil when there is none.
  package borrowing func next() -> Signal? {
    let result = linux_signalfd_read(descriptor.rawValue)
    return result > 0 ? Signal(rawValue: Int32(truncatingIfNeeded: result)) : nil
  }
}
