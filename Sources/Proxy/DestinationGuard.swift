// The last word on where a connection to an origin may go: asked with the addresses that a name resolved
// to, right before they are connected to. What it gives back is all that the connector ever sees, so no
// second lookup can slip another address in between.

import Configuration
import Glibc
import HTTP
import IO
import Platform

enum DestinationGuard {
  /// The addresses that may be connected to, in their order.
  /// - Parameters:
  ///   - addresses: all that `host` resolved to.
  ///   - isConfigured: the operator named the host, so that `destinations` has no say. That it leads back
  ///     here is refused all the same.
  /// - Throws: why there is none.
  static func permitted(
    _ addresses: [IPAddress], of host: String, port: UInt16, isConfigured: Bool,
    by destinations: Destinations, own: OwnAddresses
  ) throws(ProxyError) -> [SocketAddress] {
    let allowed =
      isConfigured ? addresses : addresses.filter { destinations.allows(address: $0) }
    guard !allowed.isEmpty else { throw .prohibited(host, addresses) }
    let others = allowed.map { SocketAddress($0, port: port) }.filter { !own.contains($0) }
    guard !others.isEmpty else { throw .leadsHere(host, port) }
    return others
  }
}

/// Keeps a hit for a host that is written as an address from being served once `destinations` forbids that
/// address. Names are judged by name; what they resolve to is nobody's business as long as nothing is
/// fetched. One for each worker, and cheap: most hosts are names, and the last address that was let through
/// is remembered.
final class AddressHosts {
  private static let room = 64
  // The key of a permitted target, up to and with its host.
  private let known = UnsafeMutableRawBufferPointer.allocate(byteCount: room, alignment: 8)
  private var knownCount = 0

  deinit { known.deallocate() }

  /// The rules have changed.
  func forget() { knownCount = 0 }

  /// Whether the host of a target may be reached, as far as it is an address.
  /// - Parameter key: of the target URI, normalised.
  /// - Parameter destinations: the rules now; looked at only for an address that is not remembered.
  func permits(
    _ key: UnsafeRawBufferPointer, by destinations: @autoclosure () -> Destinations
  ) -> Bool {
    guard key.count > 8 else { return false }
    let start = key[4] == 0x3A ? 7 : 8
    guard key[start] == 0x5B || key[start].isDigit else { return true }
    if knownCount > 0, key.count > knownCount, endsHost(key[knownCount]),
      let base = key.baseAddress, let remembered = known.baseAddress,
      memcmp(base, remembered, knownCount) == 0
    {
      return true
    }
    var end = start
    let isBracketed = key[start] == 0x5B
    while end < key.count, isBracketed ? key[end] != 0x5D : !endsHost(key[end]) { end += 1 }
    if isBracketed, end == key.count { return false }
    let host = UnsafeRawBufferPointer(rebasing: key[(isBracketed ? start + 1 : start)..<end])
    // A name that begins with a digit.
    guard let address = IPAddress(Span<UInt8>(_unsafeBytes: host)) else { return !isBracketed }
    guard destinations().allows(address: address) else { return false }
    if isBracketed { end += 1 }
    if end <= Self.room {
      known.copyMemory(from: UnsafeRawBufferPointer(rebasing: key[0..<end]))
      knownCount = end
    }
    return true
  }

  private func endsHost(_ byte: UInt8) -> Bool { byte == 0x2F || byte == 0x3A || byte == 0x3F }
}
