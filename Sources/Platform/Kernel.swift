// The calls on sockets and clocks, each in one place: the kernel's, or in a debug build those of the stand-in that this
// thread has (StandIn.swift). Results are those of `CLinux`: a number, or a negative error number.

import CLinux
import Glibc

enum Kernel {
  // MARK: Sockets

  @inline(__always)
  static func socket(_ family: Int32) -> Int {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.makeSocket() }
    #endif
    return linux_stream_socket(family)
  }

  @inline(__always)
  static func bind(_ fd: Int32, _ address: SocketAddress) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return standIn.bind(fd, address) }
    #endif
    return address.withSockaddr { linux_bind(fd, $0, $1) }
  }

  @inline(__always)
  static func listen(_ fd: Int32, _ backlog: Int32) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return standIn.listen(fd) }
    #endif
    return linux_listen(fd, backlog)
  }

  @inline(__always)
  static func connect(_ fd: Int32, _ address: SocketAddress) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return standIn.connect(fd, to: address) }
    #endif
    return address.withSockaddr { linux_connect(fd, $0, $1) }
  }

  @inline(__always)
  static func accept(
    _ fd: Int32, _ storage: inout sockaddr_storage, _ length: inout socklen_t
  ) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) {
        var peer: SocketAddress?
        let result = standIn.accept(fd, peer: &peer)
        if let peer { length = peer.write(to: &storage) }
        return result
      }
    #endif
    return linux_accept(fd, &storage, &length)
  }

  @inline(__always)
  static func receive(
    _ fd: Int32, _ buffer: UnsafeMutableRawBufferPointer, peeking: Bool
  ) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) {
        return standIn.receive(fd, into: buffer, peeking: peeking)
      }
    #endif
    return linux_recv(fd, buffer.baseAddress, buffer.count, peeking ? Int32(MSG_PEEK) : 0)
  }

  @inline(__always)
  static func send(_ fd: Int32, _ bytes: UnsafeRawBufferPointer, _ more: Bool) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return send(standIn, fd, [bytes]) }
    #endif
    return linux_send(fd, bytes.baseAddress, bytes.count, more ? 1 : 0)
  }

  @inline(__always)
  static func send(
    _ fd: Int32, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, _ more: Bool
  ) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return send(standIn, fd, [first, second]) }
    #endif
    return linux_send2(
      fd, first.baseAddress, first.count, second.baseAddress, second.count, more ? 1 : 0)
  }

  @inline(__always)
  static func send(
    _ fd: Int32, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer,
    _ third: UnsafeRawBufferPointer, _ more: Bool
  ) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return send(standIn, fd, [first, second, third]) }
    #endif
    return linux_send3(
      fd, first.baseAddress, first.count, second.baseAddress, second.count, third.baseAddress,
      third.count, more ? 1 : 0)
  }

  @inline(__always)
  static func send(_ fd: Int32, parts: UnsafeBufferPointer<iovec>, _ more: Bool) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return standIn.send(fd, parts) }
    #endif
    return linux_sendmsg(fd, parts.baseAddress, parts.count, more ? 1 : 0)
  }

  #if DEBUG
    private static func send(
      _ standIn: any KernelStandIn, _ fd: Int32, _ parts: [UnsafeRawBufferPointer]
    ) -> Int {
      let vectors = parts.map {
        iovec(iov_base: UnsafeMutableRawPointer(mutating: $0.baseAddress), iov_len: $0.count)
      }
      return vectors.withUnsafeBufferPointer { standIn.send(fd, $0) }
    }
  #endif

  @inline(__always)
  static func sendFile(_ fd: Int32, _ file: Int32, _ offset: Int64, _ count: Int) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) {
        return standIn.sendFile(to: fd, from: file, offset: offset, count: count)
      }
    #endif
    return linux_sendfile(fd, file, off_t(offset), count)
  }

  @inline(__always)
  static func shutdownWrite(_ fd: Int32) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return standIn.shutdownWrite(fd) }
    #endif
    return linux_shutdown(fd, Int32(SHUT_WR))
  }

  @inline(__always)
  static func setLinger(_ fd: Int32) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return standIn.setLinger(fd) }
    #endif
    return linux_set_linger(fd, 0)
  }

  static func tcpInfo(_ fd: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
    #if DEBUG
      if StandIn.of(fd) != nil { return -Int(ENOTSUP) }
    #endif
    return linux_tcp_info(fd, buffer.baseAddress, buffer.count)
  }

  static func cookie(_ fd: Int32) -> UInt64 {
    #if DEBUG
      if StandIn.of(fd) != nil { return 0 }
    #endif
    return linux_socket_cookie(fd)
  }

  static func unconfirmed(_ fd: Int32) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return standIn.unconfirmed(fd) }
    #endif
    return linux_unconfirmed(fd)
  }

  @inline(__always)
  static func setOption(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) {
        return standIn.setOption(fd, level: level, name: name, value: value)
      }
    #endif
    return linux_set_option(fd, level, name, value)
  }

  @inline(__always)
  static func getOption(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: inout Int32) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) {
        return standIn.getOption(fd, level: level, name: name, value: &value)
      }
    #endif
    return linux_get_option(fd, level, name, &value)
  }

  @inline(__always)
  static func localAddress(
    _ fd: Int32, _ storage: inout sockaddr_storage, _ length: inout socklen_t
  ) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) {
        guard let address = standIn.localAddress(fd) else { return -Int(ENOTCONN) }
        length = address.write(to: &storage)
        return 0
      }
    #endif
    return linux_getsockname(fd, &storage, &length)
  }

  @inline(__always)
  static func peerAddress(
    _ fd: Int32, _ storage: inout sockaddr_storage, _ length: inout socklen_t
  ) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) {
        guard let address = standIn.peerAddress(fd) else { return -Int(ENOTCONN) }
        length = address.write(to: &storage)
        return 0
      }
    #endif
    return linux_getpeername(fd, &storage, &length)
  }

  @inline(__always)
  static func close(_ fd: Int32) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(fd) { return standIn.close(fd) }
      StandIn.current?.fileClosed(fd)
    #endif
    return linux_close(fd)
  }

  // MARK: Descriptors that tell

  @inline(__always)
  static func makeEpoll() -> Int {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.makeEpoll() }
    #endif
    return linux_epoll_create()
  }

  @inline(__always)
  static func control(
    _ epoll: Int32, _ operation: Int32, _ fd: Int32, _ events: UInt32, _ token: UInt64
  ) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(epoll) {
        return standIn.controlEpoll(epoll, operation, fd, events: events, token: token)
      }
    #endif
    return linux_epoll_control(epoll, operation, fd, events, token)
  }

  @inline(__always)
  static func wait(
    _ epoll: Int32, _ events: UnsafeMutablePointer<epoll_event>, _ capacity: Int32,
    _ milliseconds: Int32
  ) -> Int {
    #if DEBUG
      if let standIn = StandIn.of(epoll) {
        return standIn.waitEpoll(epoll, events, capacity: capacity, milliseconds: milliseconds)
      }
    #endif
    return linux_epoll_wait(epoll, events, capacity, milliseconds)
  }

  @inline(__always)
  static func makeEvent() -> Int {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.makeEvent() }
    #endif
    return linux_eventfd()
  }

  @inline(__always)
  static func signal(_ event: Int32) {
    #if DEBUG
      if let standIn = StandIn.of(event) { return standIn.signalEvent(event) }
    #endif
    // The only failure is a counter that is full, and then it is readable anyway.
    _ = linux_eventfd_signal(event)
  }

  @inline(__always)
  static func clear(_ event: Int32) {
    #if DEBUG
      if let standIn = StandIn.of(event) { return standIn.clearEvent(event) }
    #endif
    _ = linux_eventfd_clear(event)
  }

  // MARK: Time

  @inline(__always)
  static func monotonicCoarse() -> Int64 {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.monotonic(precise: false) }
    #endif
    return linux_monotonic_coarse()
  }

  @inline(__always)
  static func monotonic() -> Int64 {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.monotonic(precise: true) }
    #endif
    return linux_monotonic()
  }

  @inline(__always)
  static func wall() -> Int64 {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.wall() }
    #endif
    return linux_wall()
  }

  @inline(__always)
  static func wallCoarse() -> Int64 {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.wall() }
    #endif
    return linux_wall_coarse()
  }

  static func sleep(nanoseconds: Int64) {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.sleep(nanoseconds: nanoseconds) }
    #endif
    var time = timespec(
      tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    nanosleep(&time, nil)
  }
}

/// Numbers that have to differ between instances and restarts.
public enum Randomness {
  public static func word() -> UInt64 {
    #if DEBUG
      if let standIn = StandIn.current { return standIn.randomWord() }
    #endif
    return .random(in: .min ... .max)
  }
}

/// What a simulation wants to know that only layers above can tell it.
package enum SimulationProbe {
  /// An object of a loop was made (+1) or let go of (-1).
  @inline(__always)
  package static func countObject(_ change: Int) {
    #if DEBUG
      StandIn.current?.countObject(change)
    #endif
  }
}
