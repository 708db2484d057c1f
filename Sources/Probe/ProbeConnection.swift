// A connection that speaks in lines, with a bound on how long is waited for each. What else can become of a connection is
// as good an answer as a line: that is what a probe is about.

import Glibc
import Platform

package enum ProbeAnswer: Sendable, Equatable {
  case line(String)
  /// The other side finished.
  case ended
  case reset(Errno)
  /// Nothing came in that time.
  case silence
}

final class ProbeConnection {
  let descriptor: Int32
  let local: SocketAddress
  let peer: SocketAddress
  private var unread: [UInt8] = []
  private static let maximumLine = 1024

  init(_ socket: consuming FileDescriptor) throws(Errno) {
    local = try Socket.localAddress(socket.rawValue)
    peer = try Socket.peerAddress(socket.rawValue)
    descriptor = socket.release()
  }

  deinit { FileDescriptor.close(raw: descriptor) }

  /// What our clock shows in the segments of this connection, now; nil where they have none.
  var clock: UInt32? {
    // `tcpi_options` (linux/tcp.h) says whether both ends wanted timestamps.
    guard let information = Socket.information(descriptor), information.count > 5,
      information[5] & 1 != 0
    else { return nil }
    // TCP_TIMESTAMP: not in Swift's Glibc.
    var value: UInt32 = 0
    var length = socklen_t(MemoryLayout<UInt32>.size)
    guard getsockopt(descriptor, Int32(IPPROTO_TCP), 24, &value, &length) == 0 else { return nil }
    return value
  }

  static func connect(to address: SocketAddress, within limit: Duration) throws(Errno)
    -> ProbeConnection
  {
    let socket = try Socket.connect(to: address)
    guard wait(socket.rawValue, Int16(POLLOUT), until: Instant.now() + limit) else {
      throw .timedOut
    }
    if let error = Socket.pendingError(socket.rawValue) { throw error }
    return try ProbeConnection(socket)
  }

  /// Whether it came to that before the time was over.
  static func wait(_ fd: Int32, _ events: Int16, until end: Instant) -> Bool {
    while true {
      let left = (end - Instant.now()).wholeNanoseconds / 1_000_000
      var entry = pollfd(fd: fd, events: events, revents: 0)
      let count = poll(&entry, 1, Int32(clamping: max(0, left)))
      if count > 0 { return true }
      if count < 0 && errno == EINTR { continue }
      return false
    }
  }

  /// A line is far shorter than any buffer of the kernel's, so it goes or it does not.
  @discardableResult
  func send(_ line: String) -> Bool {
    let bytes = Array("\(line)\n".utf8)
    return bytes.withUnsafeBytes { Socket.send(descriptor, $0) } == .bytes(bytes.count)
  }

  func read(within limit: Duration) -> ProbeAnswer {
    let end = Instant.now() + limit
    while true {
      if let place = unread.firstIndex(of: UInt8(ascii: "\n")) {
        let line = String(decoding: unread[..<place], as: UTF8.self)
        unread.removeSubrange(...place)
        return .line(line)
      }
      // Whoever sends no line end does not speak our language.
      if unread.count > Self.maximumLine { return .ended }
      let received = withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 1) {
        let received = Socket.receive(descriptor, into: $0)
        if case .bytes(let count) = received { unread += $0[..<count] }
        return received
      }
      switch received {
      case .bytes: continue
      case .endOfStream: return .ended
      case .failed(let error): return .reset(error)
      case .wouldBlock:
        guard Self.wait(descriptor, Int16(POLLIN), until: end) else { return .silence }
      }
    }
  }
}
