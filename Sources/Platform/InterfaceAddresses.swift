// The addresses of this machine.

import Glibc

extension IPAddress {
  /// What the interfaces have for addresses at this moment (getifaddrs(3)); those of the loopback
  /// interface are among them. Empty when the kernel does not tell.
  public static func ofInterfaces() -> [IPAddress] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var addresses: [IPAddress] = []
    var entry = list
    while let current = entry {
      if let address = current.pointee.ifa_addr {
        let isV6 = Int32(address.pointee.sa_family) == AF_INET6
        let length =
          isV6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size
        if let found = SocketAddress(address, length: socklen_t(length)) {
          addresses.append(found.ip)
        }
      }
      entry = current.pointee.ifa_next
    }
    return addresses
  }

  /// The same address without its zone.
  public var withoutScope: IPAddress {
    scope == 0 ? self : IPAddress(v6High: high, low: low)
  }
}
