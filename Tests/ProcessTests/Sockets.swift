// TCP over IPv4 loopback, blocking and with time limits: what the clients and the origin of these tests stand on.

import Foundation
import Glibc

enum Sockets {
  /// Every wait for a peer ends after so long; machines are busy.
  static let timeout = 120

  /// A stream that children do not inherit.
  static let streamType = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)

  /// Listens on the loopback address, at a port of the kernel's choice.
  static func listener() throws -> (descriptor: Int32, port: UInt16) {
    let listener = try stream()
    guard withAddress(port: 0, { bind(listener, $0, $1) }) == 0, listen(listener, 1024) == 0
    else { throw Failure("the origin cannot listen: errno \(errno)") }
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    var address = sockaddr_in()
    withUnsafeMutablePointer(to: &address) { pointer in
      _ = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        getsockname(listener, $0, &length)
      }
    }
    return (listener, UInt16(bigEndian: address.sin_port))
  }

  static func stream() throws -> Int32 {
    let socket = Glibc.socket(AF_INET, streamType, 0)
    guard socket >= 0 else { throw Failure("no socket: errno \(errno)") }
    return socket
  }

  /// Waits for a connection; nil once the listener is shut down.
  static func accept(_ listener: Int32) -> Int32? {
    while true {
      var ready = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
      guard Glibc.poll(&ready, 1, -1) > 0 else {
        if errno == EINTR { continue }
        return nil
      }
      let socket = Glibc.accept(listener, nil, nil)
      if socket >= 0 { return socket }
      if errno != EINTR && errno != ECONNABORTED { return nil }
    }
  }

  static func set(_ socket: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
    var value = value
    setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
  }

  static func setTimeouts(_ socket: Int32) {
    var limit = timeval(tv_sec: timeout, tv_usec: 0)
    let length = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, length)
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, length)
  }

  /// Calls `body` with 127.0.0.`host` and a port, as the kernel wants them.
  static func withAddress<Result>(
    host: UInt8 = 1, port: UInt16, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Result
  ) -> Result {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = (0x7F00_0000 | UInt32(host)).bigEndian
    return withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }

  /// The limit of open descriptors, after raising it as far as is allowed.
  static func raiseDescriptorLimit() -> Int {
    var limit = rlimit()
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    guard getrlimit(resource, &limit) == 0 else { return 0 }
    limit.rlim_cur = limit.rlim_max
    setrlimit(resource, &limit)
    getrlimit(resource, &limit)
    return Int(clamping: limit.rlim_cur)
  }
}
