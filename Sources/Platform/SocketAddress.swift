// Where a socket is or goes: an IP address and a port. Trivial, so that it can sit in events and tables.

import CLinux
import Glibc

/// An IP address with a port.
public struct SocketAddress: Hashable, Sendable {
  public let ip: IPAddress
  public let port: UInt16

  public init(_ ip: IPAddress, port: UInt16) {
    self.ip = ip
    self.port = port
  }
}

extension SocketAddress: CustomStringConvertible {
  /// Reads `192.0.2.1:80` or `[2001:db8::1]:80`. The port is decimal, without sign or leading zeros.
  public init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":") else { return nil }
    let digits = text[text.index(after: colon)...].utf8
    var host = text[..<colon]
    guard (1...5).contains(digits.count),
      digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
      digits.count == 1 || digits.first != UInt8(ascii: "0"),
      let port = UInt16(String(digits) ?? "")
    else { return nil }
    let isBracketed = host.first == "[" && host.last == "]"
    if isBracketed { host = host.dropFirst().dropLast() }
    guard let ip = IPAddress(String(host)), isBracketed == (ip.family == .v6) else { return nil }
    self.init(ip, port: port)
  }

  public var description: String {
    ip.family == .v4 ? "\(ip):\(port)" : "[\(ip)]:\(port)"
  }
}

// MARK: - The kernel's form

extension SocketAddress {
  /// Calls `body` with this address as the kernel takes it.
  public func withSockaddr<Result, Failure: Error>(
    _ body: (UnsafePointer<sockaddr>, socklen_t) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    var storage = sockaddr_storage()
    let length = write(to: &storage)
    return try withPointer(to: &storage, length, body)
  }

  private func withPointer<Result, Failure: Error>(
    to storage: UnsafeMutablePointer<sockaddr_storage>, _ length: socklen_t,
    _ body: (UnsafePointer<sockaddr>, socklen_t) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawPointer(storage).assumingMemoryBound(to: sockaddr.self), length)
  }

  func write(to storage: UnsafeMutablePointer<sockaddr_storage>) -> socklen_t {
    let raw = UnsafeMutableRawPointer(storage)
    switch ip.family {
    case .v4:
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      address.sin_addr.s_addr = UInt32(truncatingIfNeeded: ip.low).bigEndian
      raw.storeBytes(of: address, as: sockaddr_in.self)
      return socklen_t(MemoryLayout<sockaddr_in>.size)
    case .v6:
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      address.sin6_scope_id = ip.scope
      withUnsafeMutableBytes(of: &address.sin6_addr) { bytes in
        bytes.storeBytes(of: ip.high.bigEndian, toByteOffset: 0, as: UInt64.self)
        bytes.storeBytes(of: ip.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      raw.storeBytes(of: address, as: sockaddr_in6.self)
      return socklen_t(MemoryLayout<sockaddr_in6>.size)
    }
  }

  /// Reads an address that the kernel or the C library filled in; nil when it is neither IPv4 nor IPv6.
  public init?(_ address: UnsafeRawPointer, length: socklen_t) {
    guard Int(length) >= MemoryLayout<sa_family_t>.size else { return nil }
    switch Int32(address.loadUnaligned(as: sa_family_t.self)) {
    case AF_INET where Int(length) >= MemoryLayout<sockaddr_in>.size:
      let v4 = address.loadUnaligned(as: sockaddr_in.self)
      self.init(
        IPAddress(v4: UInt32(bigEndian: v4.sin_addr.s_addr)), port: UInt16(bigEndian: v4.sin_port))
    case AF_INET6 where Int(length) >= MemoryLayout<sockaddr_in6>.size:
      let v6 = address.loadUnaligned(as: sockaddr_in6.self)
      let halves = withUnsafeBytes(of: v6.sin6_addr) { bytes in
        (
          UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
          UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        )
      }
      self.init(
        IPAddress(v6High: halves.0, low: halves.1, scope: v6.sin6_scope_id),
        port: UInt16(bigEndian: v6.sin6_port))
    default:
      return nil
    }
  }
}
