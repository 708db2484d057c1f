// TCP sockets: calls made per request on raw descriptors, calls made once per connection beside them.
//
// The hot calls repeat after EINTR, never raise SIGPIPE, and answer with trivial values instead of throwing.
// Options that the kernel copies from a listening socket to the accepted ones (TCP_NODELAY, keep-alive) are set
// once on the listener, which saves a system call per connection.

import CLinux
import Glibc

/// Calls on TCP sockets. All sockets are non-blocking and close on exec.
public enum Socket {
  /// What accepting brought.
  public enum AcceptResult: Sendable {
    /// A connection, whose descriptor the caller now has to close.
    case accepted(Int32, peer: SocketAddress)
    case wouldBlock
    /// `ECONNABORTED` when the peer left while waiting: harmless, accept again.
    /// `EMFILE` and `ENFILE` when there is no descriptor left: the connection stays in the queue.
    case failed(Errno)
  }

  // MARK: Per request

  /// Reads what is there, at most as much as fits.
  public static func receive(_ fd: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
    #if DEBUG
      if let errno = FaultPlan.failure(of: .receive, socket: fd) { return .failed(errno) }
    #endif
    return transfer(Kernel.receive(fd, buffer, peeking: false), of: buffer.count)
  }

  /// Reads without taking: the same bytes come again with the next `receive`.
  public static func peek(_ fd: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
    transfer(Kernel.receive(fd, buffer, peeking: true), of: buffer.count)
  }

  /// Writes as much as the socket takes.
  /// - Parameter more: the rest follows at once, so a segment that is not full may wait for it (`MSG_MORE`).
  public static func send(_ fd: Int32, _ bytes: UnsafeRawBufferPointer, more: Bool = false)
    -> Transfer
  {
    #if DEBUG
      if let errno = FaultPlan.failure(of: .send, socket: fd) { return .failed(errno) }
    #endif
    return written(Kernel.send(fd, bytes, more))
  }

  /// Writes two stretches with one call, as if they were one.
  public static func send(
    _ fd: Int32, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer,
    more: Bool = false
  ) -> Transfer {
    written(Kernel.send(fd, first, second, more))
  }

  /// Writes three stretches with one call, as if they were one: stored head, fields of this answer, content.
  public static func send(
    _ fd: Int32, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer,
    _ third: UnsafeRawBufferPointer, more: Bool = false
  ) -> Transfer {
    written(Kernel.send(fd, first, second, third, more))
  }

  /// Writes any number of stretches (up to 1024, IOV_MAX) with one call.
  public static func send(_ fd: Int32, parts: UnsafeBufferPointer<iovec>, more: Bool = false)
    -> Transfer
  {
    written(Kernel.send(fd, parts: parts, more))
  }

  /// Hands bytes of a file to the socket inside the kernel.
  /// - Returns: `.endOfStream` when the file has no byte at `offset`: it is shorter than the caller believed.
  public static func sendFile(to fd: Int32, from file: Int32, offset: Int64, count: Int) -> Transfer
  {
    #if DEBUG
      if let errno = FaultPlan.failure(of: .sendFile, socket: fd) { return .failed(errno) }
      // A disk that fails is met here too.
      if let errno = FaultPlan.failure(of: .read, descriptor: file) { return .failed(errno) }
    #endif
    return transfer(Kernel.sendFile(fd, file, offset, count), of: count)
  }

  /// Takes one connection from the queue of a listening socket.
  public static func accept(_ listener: Int32) -> AcceptResult {
    var storage = sockaddr_storage()
    var length: socklen_t = 0
    #if DEBUG
      if let errno = FaultPlan.failure(of: .accept, descriptor: listener) { return .failed(errno) }
    #endif
    let result = Kernel.accept(listener, &storage, &length)
    guard result >= 0 else {
      let errno = Errno.from(result)
      return errno == .wouldBlock ? .wouldBlock : .failed(errno)
    }
    let fd = Int32(truncatingIfNeeded: result)
    guard
      let peer = withUnsafeBytes(
        of: &storage, { SocketAddress(base: $0.baseAddress, length: length) })
    else {
      // The peer reset the connection before it was asked for its address.
      FileDescriptor.close(raw: fd)
      return .failed(.connectionAborted)
    }
    return .accepted(fd, peer: peer)
  }

  private static func transfer(_ result: Int, of count: Int) -> Transfer {
    if result > 0 { return .bytes(result) }
    // Asked for nothing, got nothing: that says nothing about the stream.
    if result == 0 { return count == 0 ? .wouldBlock : .endOfStream }
    return failure(result)
  }

  private static func written(_ result: Int) -> Transfer {
    if result > 0 { return .bytes(result) }
    return result == 0 ? .wouldBlock : failure(result)
  }

  private static func failure(_ result: Int) -> Transfer {
    let errno = Errno.from(result)
    return errno == .wouldBlock ? .wouldBlock : .failed(errno)
  }

  // MARK: Opening

  /// A socket that listens on an address; port 0 lets the kernel choose (`localAddress` tells).
  ///
  /// An IPv6 socket takes IPv6 only (`IPV6_V6ONLY`), so that the same port can be bound for IPv4 too.
  /// - Parameters:
  ///   - reusePort: several sockets may listen on the address, and the kernel spreads connections over them.
  ///   - backlog: how many connections may wait; the kernel caps it at `net.core.somaxconn`.
  public static func listen(
    on address: SocketAddress, reusePort: Bool = false, backlog: Int32 = 4096
  ) throws(Errno) -> FileDescriptor {
    let socket = try stream(address.ip.family)
    try setOption(socket.rawValue, SOL_SOCKET, SO_REUSEADDR, 1)
    if reusePort { try setOption(socket.rawValue, SOL_SOCKET, LINUX_SO_REUSEPORT, 1) }
    if address.ip.family == .v6 {
      try setOption(socket.rawValue, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1)
    }
    try setNoDelay(socket.rawValue)
    try check(Kernel.bind(socket.rawValue, address))
    try check(Kernel.listen(socket.rawValue, backlog))
    return socket
  }

  /// Lets further sockets, bound with `reusePort`, listen on the address of one that listens there alone until now.
  ///
  /// The first socket of an address is bound and listens without that, and gets it afterwards: so it fails where
  /// another process listens already, which would share its connections with us without a word.
  public static func sharePort(_ listener: Int32) throws(Errno) {
    try setOption(listener, SOL_SOCKET, LINUX_SO_REUSEPORT, 1)
  }

  /// Begins a connection; its end is told by writability and `pendingError`.
  /// - Parameter prepare: sets what has to be set before that.
  public static func connect(
    to address: SocketAddress, prepare: ((Int32) throws(Errno) -> Void)? = nil
  ) throws(Errno) -> FileDescriptor {
    let socket = try stream(address.ip.family)
    if let prepare { try prepare(socket.rawValue) }
    #if DEBUG
      if let errno = FaultPlan.failure(connecting: socket.rawValue, to: address) { throw errno }
    #endif
    try setNoDelay(socket.rawValue)
    let result = Kernel.connect(socket.rawValue, address)
    if result < 0 {
      let errno = Errno.from(result)
      if errno != .inProgress, errno != .interrupted { throw errno }
    }
    return socket
  }

  private static func stream(_ family: IPAddress.Family) throws(Errno) -> FileDescriptor {
    try FileDescriptor(result: Kernel.socket(family == .v4 ? AF_INET : AF_INET6))
  }

  /// The error that a socket has met since it was last asked (`SO_ERROR`), and forgets by telling.
  public static func pendingError(_ fd: Int32) -> Errno? {
    var value: Int32 = 0
    let result = Kernel.getOption(fd, SOL_SOCKET, SO_ERROR, &value)
    if result < 0 { return Errno.from(result) }
    return value == 0 ? nil : Errno(rawValue: value)
  }

  /// Bytes that the other end has not confirmed yet (`SIOCOUTQ`): what it takes makes them fewer, long before there is
  /// room worth waking up for. Nil when nobody knows.
  public static func unconfirmed(_ fd: Int32) -> Int? {
    let count = Kernel.unconfirmed(fd)
    return count < 0 ? nil : count
  }

  /// What the kernel knows of the connection (`TCP_INFO`), as many bytes as it returns; nil when it returns none.
  public static func information(_ fd: Int32) -> [UInt8]? {
    let bytes = [UInt8](unsafeUninitializedCapacity: 512) { buffer, count in
      count = max(0, Kernel.tcpInfo(fd, UnsafeMutableRawBufferPointer(buffer)))
    }
    return bytes.isEmpty ? nil : bytes
  }

  /// A number that no other socket of this machine has had (`SO_COOKIE`); nil where the kernel gives none.
  public static func cookie(_ fd: Int32) -> UInt64? {
    let cookie = Kernel.cookie(fd)
    return cookie == 0 ? nil : cookie
  }

  /// The address of this end.
  public static func localAddress(_ fd: Int32) throws(Errno) -> SocketAddress {
    var storage = sockaddr_storage()
    var length: socklen_t = 0
    try check(Kernel.localAddress(fd, &storage, &length))
    return try address(in: &storage, length)
  }

  /// The address of the other end.
  public static func peerAddress(_ fd: Int32) throws(Errno) -> SocketAddress {
    var storage = sockaddr_storage()
    var length: socklen_t = 0
    try check(Kernel.peerAddress(fd, &storage, &length))
    return try address(in: &storage, length)
  }

  private static func address(
    in storage: inout sockaddr_storage, _ length: socklen_t
  ) throws(Errno) -> SocketAddress {
    let address = withUnsafeBytes(of: &storage) {
      SocketAddress(base: $0.baseAddress, length: length)
    }
    guard let address else { throw .addressFamilyNotSupported }
    return address
  }

  // MARK: Ending

  /// Finishes the own direction (FIN); reading goes on. A connection that is gone already is no error.
  public static func shutdownWrite(_ fd: Int32) {
    _ = Kernel.shutdownWrite(fd)
  }

  /// Cuts the connection with RST, so that the peer cannot take what it has for the whole (`SO_LINGER` 0, then close).
  ///
  /// Bytes that were sent but not delivered are dropped.
  public static func abort(_ socket: consuming FileDescriptor) {
    _ = Kernel.setLinger(socket.rawValue)
  }

  /// The same for a descriptor that is kept as a plain number.
  public static func abort(raw fd: Int32) {
    abort(FileDescriptor(owning: fd))
  }

  // MARK: Options

  /// Sends segments at once instead of waiting for more (`TCP_NODELAY`).
  public static func setNoDelay(_ fd: Int32, _ isOn: Bool = true) throws(Errno) {
    try setOption(fd, Int32(IPPROTO_TCP), TCP_NODELAY, isOn ? 1 : 0)
  }

  /// Probes an idle connection after so many seconds, every so many seconds, and gives up after so many probes.
  public static func setKeepAlive(
    _ fd: Int32, idle: Int32, interval: Int32, probes: Int32
  ) throws(Errno) {
    try setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
    try setOption(fd, Int32(IPPROTO_TCP), TCP_KEEPIDLE, idle)
    try setOption(fd, Int32(IPPROTO_TCP), TCP_KEEPINTVL, interval)
    try setOption(fd, Int32(IPPROTO_TCP), TCP_KEEPCNT, probes)
  }

  public static func endKeepAlive(_ fd: Int32) throws(Errno) {
    try setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 0)
  }

  /// How long sent bytes may stay unacknowledged before the connection counts as lost (`TCP_USER_TIMEOUT`).
  public static func setUserTimeout(_ fd: Int32, milliseconds: Int32) throws(Errno) {
    try setOption(fd, Int32(IPPROTO_TCP), LINUX_TCP_USER_TIMEOUT, milliseconds)
  }

  /// The socket counts as writable only while fewer bytes than this wait unsent (`TCP_NOTSENT_LOWAT`).
  public static func setNotSentLowWater(_ fd: Int32, bytes: Int32) throws(Errno) {
    try setOption(fd, Int32(IPPROTO_TCP), LINUX_TCP_NOTSENT_LOWAT, bytes)
  }

  /// Fixes the size of the receive buffer and ends its automatic tuning. For tests of back-pressure.
  public static func setReceiveBuffer(_ fd: Int32, bytes: Int32) throws(Errno) {
    try setOption(fd, SOL_SOCKET, SO_RCVBUF, bytes)
  }

  /// Fixes the size of the send buffer and ends its automatic tuning. For tests of back-pressure.
  public static func setSendBuffer(_ fd: Int32, bytes: Int32) throws(Errno) {
    try setOption(fd, SOL_SOCKET, SO_SNDBUF, bytes)
  }

  private static func setOption(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32)
    throws(Errno)
  {
    try check(Kernel.setOption(fd, level, name, value))
  }

  private static func check(_ result: Int) throws(Errno) {
    if result < 0 { throw Errno.from(result) }
  }
}

extension SocketAddress {
  fileprivate init?(base: UnsafeRawPointer?, length: socklen_t) {
    guard let base else { return nil }
    self.init(base, length: length)
  }
}
