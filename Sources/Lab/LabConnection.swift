// One end of a TCP connection in a machine of the lab. Calls wait for what they ask for, so that a story can be told in a
// line; they give up after a while with words about what did not come.

import Forensics
import Glibc
import Platform

package final class LabConnection {
  /// Far longer than anything takes, also on a busy machine.
  package static let patience: Int32 = 20_000

  package private(set) var descriptor: Int32
  /// Whose end it is, for messages.
  let owner: String
  package let local: SocketAddress
  package let peer: SocketAddress
  /// How long it waits for anything, in milliseconds.
  package var patience = LabConnection.patience
  /// What ended it, if an error did.
  package private(set) var lastError: Errno?
  /// Bytes that have been given to the kernel so far.
  private(set) var sentCount = 0
  /// What has been read and not been asked for yet.
  private var unread: [UInt8] = []

  init(_ descriptor: Int32, owner: String) throws {
    self.descriptor = descriptor
    self.owner = owner
    local = try Socket.localAddress(descriptor)
    peer = try Socket.peerAddress(descriptor)
  }

  deinit { close() }

  // MARK: Making

  package static func connect(from host: Host, to address: SocketAddress) throws -> LabConnection {
    let fd = try host.run { try Socket.connect(to: address).release() }
    do {
      try wait(fd, Int16(POLLOUT), "\(host.role) waited for \(address) to take its connection")
      if let error = Socket.pendingError(fd) {
        throw LabError("\(host.role) could not connect to \(address): \(error)")
      }
      return try LabConnection(fd, owner: host.role)
    } catch {
      FileDescriptor.close(raw: fd)
      throw error
    }
  }

  // MARK: Waiting

  static func wait(
    _ fd: Int32, _ events: Int16, milliseconds: Int32 = patience, _ what: @autoclosure () -> String
  ) throws {
    var entry = pollfd(fd: fd, events: events, revents: 0)
    while true {
      let count = poll(&entry, 1, milliseconds)
      if count > 0 { return }
      if count < 0 && errno == EINTR { continue }
      throw LabError("\(what()), in vain")
    }
  }

  // MARK: Bytes

  package func send(_ text: String) throws { try send(Array(text.utf8)) }

  package func send(_ bytes: some Sequence<UInt8>) throws {
    let bytes = Array(bytes)
    var offset = 0
    while offset < bytes.count {
      let sent = bytes.withUnsafeBytes {
        Socket.send(descriptor, UnsafeRawBufferPointer(rebasing: $0[offset...]))
      }
      switch sent {
      case .bytes(let count):
        offset += count
        sentCount += count
      case .wouldBlock:
        try waitForRoom()
      case .endOfStream: throw LabError("\(owner) cannot send any more")
      case .failed(let error):
        lastError = error
        throw LabError("\(owner) could not send: \(error)")
      }
    }
  }

  /// One look: bytes, the end, or an error.
  private func receive(_ what: String) throws -> Transfer {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 1)
    defer { buffer.deallocate() }
    while true {
      let received = Socket.receive(descriptor, into: buffer)
      switch received {
      case .wouldBlock:
        try Self.wait(
          descriptor, Int16(POLLIN), milliseconds: patience, "\(owner) waited for \(what)")
      case .bytes(let count):
        unread += buffer[..<count]
        return received
      case .failed(let error):
        lastError = error
        return received
      case .endOfStream: return received
      }
    }
  }

  /// Sends what there is room for.
  /// - Returns: how many bytes; 0 when there is no room.
  func sendSome(_ bytes: [UInt8], from offset: Int, atMost count: Int) throws -> Int {
    let sent = bytes.withUnsafeBytes {
      Socket.send(
        descriptor,
        UnsafeRawBufferPointer(rebasing: $0[offset..<min($0.count, offset + count)]))
    }
    switch sent {
    case .bytes(let count):
      sentCount += count
      return count
    case .wouldBlock: return 0
    case .endOfStream: throw LabError("\(owner) cannot send any more")
    case .failed(let error):
      lastError = error
      throw LabError("\(owner) could not send: \(error)")
    }
  }

  func waitForRoom() throws {
    try Self.wait(
      descriptor, Int16(POLLOUT), milliseconds: patience, "\(owner) waited for room to send")
  }

  /// Reads what there is; nothing at the end.
  func readSome() throws -> [UInt8] {
    if unread.isEmpty {
      switch try receive("more") {
      case .failed(let error): throw LabError("\(owner) could not read: \(error)")
      default: break
      }
    }
    return takeUnread()
  }

  /// Reads so many bytes, neither more nor fewer.
  @discardableResult
  package func read(_ count: Int) throws -> [UInt8] {
    while unread.count < count {
      guard case .bytes = try receive("\(count) bytes") else {
        throw LabError("\(owner) got \(unread.count) of \(count) bytes")
      }
    }
    defer { unread.removeFirst(count) }
    return Array(unread[..<count])
  }

  /// Reads a head, up to its empty line.
  @discardableResult
  package func readHead() throws -> String {
    let end = Array("\r\n\r\n".utf8)
    while true {
      if let place = unread.firstRange(of: end) {
        defer { unread.removeSubrange(..<place.upperBound) }
        return String(decoding: unread[..<place.upperBound], as: UTF8.self)
      }
      guard case .bytes = try receive("a head") else {
        throw LabError(
          "\(owner) got no head: \(String(decoding: unread.prefix(200), as: UTF8.self))")
      }
    }
  }

  /// How it ends, once all bytes before that are read.
  package func ending() throws -> (bytes: [UInt8], reset: Errno?) {
    while true {
      switch try receive("the end") {
      case .bytes, .wouldBlock: continue
      case .endOfStream: return (takeUnread(), nil)
      case .failed(let error): return (takeUnread(), error)
      }
    }
  }

  private func takeUnread() -> [UInt8] {
    defer { unread = [] }
    return unread
  }

  /// Sends until it cannot any more.
  /// - Returns: whether all of it was sent.
  package func sendUntilCut(_ bytes: [UInt8]) -> Bool {
    (try? send(bytes)) != nil
  }

  /// Waits until so many bytes lie in the kernel, read by nobody.
  package func waitForUnread(_ count: Int) throws {
    var buffer = [UInt8](repeating: 0, count: count)
    try patiently("\(owner) waited for \(count) bytes to lie there") {
      recv(descriptor, &buffer, count, Int32(MSG_PEEK)) >= count
    }
  }

  /// Gives the socket to a process that does nothing with it, and that can be killed.
  package func handOver(on host: Host) throws -> Child {
    let child = try host.spawn(["sleep", "1000"], input: descriptor)
    close()
    return child
  }

  /// Which of several connections has something to read.
  package static func first(toHear connections: [LabConnection]) throws -> LabConnection {
    var entries = connections.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
    guard poll(&entries, nfds_t(entries.count), patience) > 0,
      let index = entries.firstIndex(where: { $0.revents != 0 })
    else {
      throw LabError("waited for one of \(connections.count) connections to be used, in vain")
    }
    return connections[index]
  }

  /// Waits until the peer's kernel has confirmed all that was sent.
  package func waitUntilConfirmed() throws {
    try patiently("\(owner) waited for its bytes to be confirmed") {
      Socket.unconfirmed(descriptor) == 0
    }
  }

  // MARK: Ends

  /// FIN.
  package func finish() { Socket.shutdownWrite(descriptor) }

  /// Closes, in whatever way the kernel finds right.
  package func close() {
    guard descriptor >= 0 else { return }
    FileDescriptor.close(raw: descriptor)
    descriptor = -1
  }

  /// RST.
  package func abort() {
    guard descriptor >= 0 else { return }
    Socket.abort(raw: descriptor)
    descriptor = -1
  }
}

/// Looks again and again at what tells nobody that it has changed.
package func patiently(_ what: @autoclosure () -> String, _ condition: () throws -> Bool) throws {
  let end = Instant.now() + .milliseconds(Int64(LabConnection.patience))
  while try !condition() {
    guard Instant.now() < end else { throw LabError("\(what()), in vain") }
    sleepThread(.milliseconds(5))
  }
}

/// Who accepts connections on a machine of the lab.
package final class LabListener {
  private var descriptor: Int32
  private let owner: String

  package init(_ host: Host, _ address: SocketAddress, backlog: Int32 = 64) throws {
    descriptor = try host.run { try Socket.listen(on: address, backlog: backlog).release() }
    owner = host.role
  }

  package func accept(within milliseconds: Int32 = LabConnection.patience) throws -> LabConnection {
    while true {
      switch Socket.accept(descriptor) {
      case .accepted(let fd, _): return try LabConnection(fd, owner: owner)
      case .wouldBlock:
        try LabConnection.wait(
          descriptor, Int16(POLLIN), milliseconds: milliseconds,
          "\(owner) waited for a connection")
      case .failed(let error): throw LabError("\(owner) could not accept: \(error)")
      }
    }
  }

  /// Waits until so many connections wait to be accepted.
  package func waitForQueue(of count: Int) throws {
    try patiently("waited for \(count) connections in the queue of the \(owner)") {
      // Of a listener this field is the length of its queue (tcp_diag).
      Socket.information(descriptor).flatMap { TCPInfo($0) }?.unacknowledged ?? 0 >= count
    }
  }

  /// Whoever waits to be accepted is reset.
  package func close() {
    guard descriptor >= 0 else { return }
    FileDescriptor.close(raw: descriptor)
    descriptor = -1
  }

  deinit { close() }
}
