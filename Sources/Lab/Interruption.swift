// Who takes the lab down in the middle must not be overtaken by a thread that still puts something up: from then on those
// wait at the next thing that they would make, for good, because the process is about to end.

import Glibc
import Platform
import Synchronization

enum Interruption {
  private struct State {
    var isOver = false
    /// Threads that are making something now.
    var makers = 0
  }

  private static let state = Monitor(State())

  /// Does something that would have to be taken down.
  static func guarding<Value>(_ body: () throws -> Value) rethrows -> Value {
    let mayGoOn = state.withLock { state in
      if !state.isOver { state.makers += 1 }
      return !state.isOver
    }
    while !mayGoOn { sleepThread(.seconds(3600)) }
    defer {
      state.withLock { $0.makers -= 1 }
      state.wakeAll()
    }
    return try body()
  }

  /// From here on nobody makes anything; returns when those that are at it are done.
  static func begin() {
    state.withLock { $0.isOver = true }
    state.wait { $0.makers == 0 ? () : nil }
  }
}
