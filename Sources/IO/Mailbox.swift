// The only way into a loop from another thread: letters to objects, addressed by an id that outlives them.
//
// A letter to an object that is gone is dropped, and never reaches the object that has its place now. The loop is
// woken by a system call only when the box was empty; all that arrives until it looks is collected with one lock.

import Platform
import Synchronization

/// Names an object of one loop: its slot, and how often that slot was given away before.
public struct ObjectID: Hashable, Sendable {
  let rawValue: UInt64

  init(slot: UInt32, generation: UInt32) {
    rawValue = UInt64(generation) << 32 | UInt64(slot)
  }

  private init() {
    rawValue = 0
  }

  /// Names nobody.
  public static let none = ObjectID()

  var slot: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
  var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
}

/// News for an object on a loop.
public struct Letter: Sendable {
  public let to: ObjectID
  /// What it is about, as sender and receiver agreed.
  public let subject: UInt32
  public let value: Int
  public let payload: (any AnyObject & Sendable)?

  public init(
    to: ObjectID, subject: UInt32, value: Int = 0, payload: (any AnyObject & Sendable)? = nil
  ) {
    self.to = to
    self.subject = subject
    self.value = value
    self.payload = payload
  }
}

/// Where other threads leave letters for a loop.
public final class Mailbox: Sendable {
  private struct State {
    var letters: [Letter] = []
    var isOpen = true
  }

  /// Work for the loop itself, carried by a letter that names nobody.
  final class Job: Sendable {
    let body: @Sendable (EventLoop) -> Void

    init(_ body: @escaping @Sendable (EventLoop) -> Void) {
      self.body = body
    }
  }

  private let state = Mutex(State())
  private let wake: EventFD

  public init() throws(Errno) {
    wake = try EventFD()
  }

  /// Leaves a letter. May be called on any thread, the loop's own included.
  /// - Returns: false when the loop has ended; the letter is dropped then.
  @discardableResult
  public func post(_ letter: Letter) -> Bool {
    let (isOpen, wasEmpty) = state.withLock { state in
      let wasEmpty = state.letters.isEmpty
      if state.isOpen { state.letters.append(letter) }
      return (state.isOpen, wasEmpty)
    }
    if isOpen, wasEmpty { wake.signal() }
    return isOpen
  }

  /// Has the loop run a closure in its next turn.
  /// - Returns: false when the loop has ended; the closure is dropped then.
  @discardableResult
  public func perform(_ body: @escaping @Sendable (EventLoop) -> Void) -> Bool {
    post(Letter(to: .none, subject: 0, payload: Job(body)))
  }

  /// Asks the loop to end after its current turn.
  public func stop() {
    perform { $0.stop() }
  }

  // MARK: The loop's side

  var descriptor: Int32 { wake.rawValue }

  /// Swaps the letters with an empty array, whose memory serves for the next ones.
  func take(_ letters: inout [Letter]) {
    // Cleared first: what is posted from here on wakes again, and is at worst found too early.
    wake.clear()
    state.withLock { swap(&$0.letters, &letters) }
  }

  func close() {
    let dropped = state.withLock { state in
      state.isOpen = false
      return exchange(&state.letters, [])
    }
    // Released outside the lock: a payload's end may post another letter.
    _ = dropped
  }
}

private func exchange<Value>(_ place: inout Value, _ value: Value) -> Value {
  let old = place
  place = value
  return old
}
