// A range of addresses with a common prefix, as people write it in access lists.

/// A network in CIDR notation, such as `10.0.0.0/8` or `fd00::/8`.
public struct IPNetwork: Hashable, Sendable {
  /// The first address of the network.
  public let address: IPAddress
  /// How many leading bits an address must share.
  public let prefixLength: Int

  /// The network that an address with so many leading bits lies in; nil when there are not so many bits.
  public init?(_ address: IPAddress, prefixLength: Int) {
    guard (0...address.bitCount).contains(prefixLength) else { return nil }
    self.prefixLength = prefixLength
    switch address.family {
    case .v4:
      let mask = UInt32(truncatingIfNeeded: IPNetwork.leadingOnes(prefixLength) >> 32)
      self.address = IPAddress(v4: UInt32(truncatingIfNeeded: address.low) & mask)
    case .v6:
      self.address = IPAddress(
        v6High: address.high & IPNetwork.leadingOnes(prefixLength),
        low: address.low & IPNetwork.leadingOnes(prefixLength - 64))
    }
  }

  /// 64 bits that begin with so many ones: none for a negative count, all from 64 on.
  private static func leadingOnes(_ count: Int) -> UInt64 {
    if count <= 0 { return 0 }
    return count >= 64 ? .max : ~(UInt64.max >> UInt64(count))
  }

  /// Whether nothing but one address lies in it.
  public var isSingleAddress: Bool { prefixLength == address.bitCount }

  /// Whether the address lies in this network. An IPv4 address also lies in it as `::ffff:a.b.c.d`.
  public func contains(_ candidate: IPAddress) -> Bool {
    let other = address.family == .v4 ? candidate.unmapped : candidate
    guard other.family == address.family,
      let network = IPNetwork(other, prefixLength: prefixLength)
    else { return false }
    return network.address.high == address.high && network.address.low == address.low
  }
}

extension IPNetwork: CustomStringConvertible {
  /// Reads `10.0.0.0/8`, or an address alone, which is a network of one.
  ///
  /// Bits behind the prefix are accepted and ignored, as firewalls do: `10.1.2.3/8` is `10.0.0.0/8`.
  public init?(_ text: String) {
    guard let slash = text.lastIndex(of: "/") else {
      guard let address = IPAddress(text) else { return nil }
      self.init(address, prefixLength: address.bitCount)
      return
    }
    let digits = text[text.index(after: slash)...]
    guard let address = IPAddress(String(text[..<slash])), (1...3).contains(digits.utf8.count),
      digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
      digits == "0" || digits.first != "0", let length = Int(digits)
    else { return nil }
    self.init(address, prefixLength: length)
  }

  public var description: String {
    "\(address)/\(prefixLength)"
  }
}
