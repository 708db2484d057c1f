// epoll(7) as an owned object with its own event buffer, and the eventfd(2) that wakes it from another thread.

import CLinux

/// What a descriptor is watched for.
public struct Interest: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32

  @inlinable
  public init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// Bytes to read, a connection to accept, or the peer's finish.
  public static let read = Interest(rawValue: 0x001)
  /// Space to write, or a connection that was made or refused.
  public static let write = Interest(rawValue: 0x004)
  /// The peer has finished its direction (`EPOLLRDHUP`), also while nothing is read.
  public static let peerFinish = Interest(rawValue: 0x2000)
}

/// What a descriptor is ready for. Errors and hang-ups are told whether asked for or not.
public struct Readiness: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32

  @inlinable
  public init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  public static let read = Readiness(rawValue: 0x001)
  public static let write = Readiness(rawValue: 0x004)
  /// An error is pending (`Socket.pendingError`).
  public static let error = Readiness(rawValue: 0x008)
  /// Both directions have ended.
  public static let hangUp = Readiness(rawValue: 0x010)
  /// The peer has finished its direction; bytes it sent before may still be waiting.
  public static let peerFinish = Readiness(rawValue: 0x2000)
}

/// A set of watched descriptors, level-triggered, with the buffer its events are told in.
public struct Epoll: ~Copyable {
  private let descriptor: FileDescriptor
  private let events: UnsafeMutablePointer<epoll_event>
  private let capacity: Int32

  /// - Parameter capacity: how many events one `wait` can bring.
  public init(capacity: Int32 = 512) throws(Errno) {
    descriptor = try FileDescriptor(result: Kernel.makeEpoll())
    self.capacity = max(1, capacity)
    events = .allocate(capacity: Int(self.capacity))
  }

  deinit {
    events.deallocate()
  }

  /// Begins to watch a descriptor; its events will carry `token`.
  public borrowing func add(_ fd: Int32, _ interest: Interest, token: UInt64) throws(Errno) {
    #if DEBUG
      if let errno = FaultPlan.failure(of: .watch, socket: fd) { throw errno }
    #endif
    try control(EPOLL_CTL_ADD, fd, interest, token)
  }

  /// Changes what a descriptor is watched for.
  public borrowing func modify(_ fd: Int32, _ interest: Interest, token: UInt64) throws(Errno) {
    try control(EPOLL_CTL_MOD, fd, interest, token)
  }

  /// Ends watching. Must happen before the descriptor is closed if it has been duplicated.
  public borrowing func remove(_ fd: Int32) throws(Errno) {
    try control(EPOLL_CTL_DEL, fd, [], 0)
  }

  private borrowing func control(
    _ operation: Int32, _ fd: Int32, _ interest: Interest, _ token: UInt64
  ) throws(Errno) {
    let result = Kernel.control(descriptor.rawValue, operation, fd, interest.rawValue, token)
    if result < 0 { throw Errno.from(result) }
  }

  /// Waits for events.
  /// - Parameter milliseconds: how long at most; 0 only looks, -1 waits without end.
  /// - Returns: how many events `event(_:)` now has. A signal ends the wait with none.
  public borrowing func wait(milliseconds: Int32) throws(Errno) -> Int {
    let result = Kernel.wait(descriptor.rawValue, events, capacity, milliseconds)
    if result >= 0 { return result }
    let errno = Errno.from(result)
    if errno == .interrupted { return 0 }
    throw errno
  }

  /// One event of the last `wait`.
  public borrowing func event(_ index: Int) -> (token: UInt64, readiness: Readiness) {
    (events[index].data.u64, Readiness(rawValue: events[index].events))
  }
}

/// A descriptor that is readable after `signal` until `clear`: how one thread wakes another's loop.
public struct EventFD: ~Copyable, Sendable {
  private let descriptor: FileDescriptor

  public init() throws(Errno) {
    descriptor = try FileDescriptor(result: Kernel.makeEvent())
  }

  /// The number to watch.
  public var rawValue: Int32 { descriptor.rawValue }

  /// Makes it readable. May be called on any thread.
  public borrowing func signal() {
    Kernel.signal(descriptor.rawValue)
  }

  /// Makes it unreadable again.
  public borrowing func clear() {
    Kernel.clear(descriptor.rawValue)
  }
}
