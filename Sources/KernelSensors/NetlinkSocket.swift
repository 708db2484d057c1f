// A socket to netfilter. Every call on it takes a bounded time, because somebody waits for the thread that makes it.

import CKernelSensors
import Platform

struct NetlinkSocket: ~Copyable {
  /// What came of reading once.
  enum Arrival {
    case messages([UInt8])
    case nothing
    /// So much came that some was lost.
    case overrun
    case failed(Errno)
  }

  private let descriptor: FileDescriptor
  private var sequence: UInt32 = 0
  private var buffer = [UInt8](repeating: 0, count: 64 * 1024)

  /// In the calling thread's network namespace.
  init(waiting milliseconds: Int) throws(Errno) {
    let opened = kernel_open_netlink()
    guard opened >= 0 else { throw Errno(result: opened) }
    let descriptor = FileDescriptor(owning: Int32(truncatingIfNeeded: opened))
    let bounded = kernel_bound_time(descriptor.rawValue, milliseconds)
    guard bounded >= 0 else { throw Errno(result: bounded) }
    self.descriptor = descriptor
  }

  var rawValue: Int32 { descriptor.rawValue }

  /// For events, which come in crowds.
  func enlarge(to bytes: Int) { _ = kernel_set_buffer(rawValue, Int32(clamping: bytes)) }

  func join(_ group: Int32) throws(Errno) {
    let result = kernel_join_group(rawValue, group)
    guard result >= 0 else { throw Errno(result: result) }
  }

  /// A number for the next request.
  mutating func nextSequence() -> UInt32 {
    sequence &+= 1
    if sequence == 0 { sequence = 1 }
    return sequence
  }

  func send(_ message: [UInt8]) throws(Errno) {
    let result = kernel_send(rawValue, message, message.count)
    guard result >= 0 else { throw Errno(result: result) }
  }

  /// Reads what has come.
  /// - Parameter waits: until something has, or the time is up.
  mutating func receive(waits: Bool = false) -> Arrival {
    let (fd, capacity) = (rawValue, buffer.count)
    let result = buffer.withUnsafeMutableBytes {
      kernel_receive(fd, $0.baseAddress, capacity, waits ? 1 : 0)
    }
    // One that was cut would be misread.
    if result > capacity { return .overrun }
    if result > 0 { return .messages(Array(buffer[..<Int(result)])) }
    if result == 0 { return .messages([]) }
    let errno = Errno(result: result)
    if errno == .wouldBlock { return .nothing }
    return errno == .noBufferSpace ? .overrun : .failed(errno)
  }

  /// Sends a request and waits for its acknowledgement.
  /// - Parameter take: is given what comes before it.
  mutating func ask(
    _ message: [UInt8], _ sequence: UInt32, _ take: (NetlinkMessage) -> Void = { _ in }
  ) throws(Errno) {
    try send(message)
    // Bounded: answers to requests that were given up may come first.
    for _ in 0..<64 {
      switch receive(waits: true) {
      case .messages(let bytes):
        for message in NetlinkMessages(bytes[...]) where message.sequence == sequence {
          if let number = message.acknowledged {
            if number == 0 { return }
            throw Errno(rawValue: number)
          }
          take(message)
        }
      case .nothing: throw .timedOut
      case .overrun: continue
      case .failed(let errno): throw errno
      }
    }
    throw .timedOut
  }
}
