// IPv4 and IPv6 addresses as small trivial values: strict to read, canonical to print, easy to judge.
//
// Reading is stricter than inet_aton(3): "0177.1", "127.1", "2130706433" and "0x7f.0.0.1" are not addresses here.
// Those forms have let requests slip past address filters, and nobody writes them by hand.

import Glibc

/// An IPv4 or IPv6 address, the latter with its zone.
public struct IPAddress: Hashable, Sendable {
  public enum Family: UInt8, Sendable {
    case v4 = 4
    case v6 = 6
  }

  public let family: Family
  /// The interface an address is meant on (RFC 4007 §6), 0 when none was named.
  public let scope: UInt32
  // The address as a number: IPv4 in the low 32 bits.
  let high: UInt64
  let low: UInt64

  private init(family: Family, high: UInt64, low: UInt64, scope: UInt32) {
    self.family = family
    self.high = high
    self.low = low
    self.scope = scope
  }

  /// An IPv4 address from its number, `0x7F00_0001` for 127.0.0.1.
  public init(v4 number: UInt32) {
    self.init(family: .v4, high: 0, low: UInt64(number), scope: 0)
  }

  /// An IPv6 address from its two halves.
  public init(v6High high: UInt64, low: UInt64, scope: UInt32 = 0) {
    self.init(family: .v6, high: high, low: low, scope: scope)
  }

  public static let loopbackV4 = IPAddress(v4: 0x7F00_0001)
  public static let loopbackV6 = IPAddress(v6High: 0, low: 1)
  public static let anyV4 = IPAddress(v4: 0)
  public static let anyV6 = IPAddress(v6High: 0, low: 0)

  /// The number of an IPv4 address, nil for IPv6.
  public var v4Number: UInt32? {
    family == .v4 ? UInt32(truncatingIfNeeded: low) : nil
  }

  var bitCount: Int { family == .v4 ? 32 : 128 }
}

// MARK: - What kind of address

extension IPAddress {
  /// The IPv4 address inside, for the forms that make a host or a translator speak IPv4:
  /// v4-mapped (`::ffff:0:0/96`), v4-compatible (`::/96`), v4-translated (`::ffff:0:0:0/96`, RFC 2765), the NAT64
  /// prefix (`64:ff9b::/96`, RFC 6052), 6to4 (`2002::/16`, RFC 3056) and ISATAP (`::[2]00:5efe:0:0` below any global
  /// prefix, RFC 5214). For everything else the address itself.
  ///
  /// All judgements below are made on this, so that no spelling of 127.0.0.1 is taken for a stranger.
  public var unwrapped: IPAddress {
    guard family == .v6 else { return self }
    if high == 0, low >> 32 == 0xFFFF { return IPAddress(v4: UInt32(truncatingIfNeeded: low)) }
    if high == 0, low >> 32 == 0, low > 1 { return IPAddress(v4: UInt32(truncatingIfNeeded: low)) }
    if high == 0, low >> 32 == 0xFFFF_0000 { return IPAddress(v4: UInt32(truncatingIfNeeded: low)) }
    if high == 0x0064_FF9B_0000_0000, low >> 32 == 0 {
      return IPAddress(v4: UInt32(truncatingIfNeeded: low))
    }
    if high >> 48 == 0x2002 { return IPAddress(v4: UInt32(truncatingIfNeeded: high >> 16)) }
    // Below a prefix that is somebody's own, or a link's, that is what decides, whatever is written behind it.
    if high >> 61 == 1, low >> 32 & ~0x0200_0000 == 0x5EFE {
      return IPAddress(v4: UInt32(truncatingIfNeeded: low))
    }
    return self
  }

  /// The IPv4 address of a v4-mapped one, which is how the same host comes in over an IPv6 socket or through a
  /// load balancer. Of the other forms anybody can write any number of addresses, so they do not say who somebody is.
  public var unmapped: IPAddress {
    guard family == .v6, high == 0, low >> 32 == 0xFFFF else { return self }
    return IPAddress(v4: UInt32(truncatingIfNeeded: low))
  }

  /// 127.0.0.0/8, ::1.
  public var isLoopback: Bool {
    let address = unwrapped
    if let number = address.v4Number { return number >> 24 == 127 }
    return address.high == 0 && address.low == 1
  }

  /// 0.0.0.0, ::. Connecting there reaches this machine.
  public var isUnspecified: Bool {
    let address = unwrapped
    return address.high == 0 && address.low == 0
  }

  /// 169.254.0.0/16 (cloud metadata services live there), fe80::/10.
  public var isLinkLocal: Bool {
    let address = unwrapped
    if let number = address.v4Number { return number >> 16 == 0xA9FE }
    return address.high >> 54 == 0x3FA
  }

  /// Addresses of somebody's own network: RFC 1918, the shared space of RFC 6598, RFC 4193 (fc00::/7),
  /// the local NAT64 prefix of RFC 8215, and the site-local addresses that went before (fec0::/10).
  public var isPrivate: Bool {
    let address = unwrapped
    if let number = address.v4Number {
      return number >> 24 == 10 || number >> 20 == 0xAC1 || number >> 16 == 0xC0A8
        || number >> 22 == 0x191  // 100.64.0.0/10
    }
    return address.high >> 57 == 0x7E || address.high >> 54 == 0x3FB
      || address.high >> 16 == 0x0064_FF9B_0001
  }

  /// 224.0.0.0/4, ff00::/8.
  public var isMulticast: Bool {
    let address = unwrapped
    if let number = address.v4Number { return number >> 28 == 0xE }
    return address.high >> 56 == 0xFF
  }

  /// Never the address of a server: 0.0.0.0/8, 192.0.0.0/24, 198.18.0.0/15, 240.0.0.0/4 with broadcast, 100::/64
  /// (RFC 6890), and Teredo (2001::/32, RFC 4380), which tunnels to whatever IPv4 addresses are hidden in it.
  public var isReserved: Bool {
    let address = unwrapped
    if let number = address.v4Number {
      return number >> 24 == 0 || number >> 8 == 0xC0_0000 || number >> 17 == 0x6309
        || number >> 28 == 0xF
    }
    return address.high == 0x0100_0000_0000_0000 || address.high >> 32 == 0x2001_0000
      || (address.high == 0 && address.low == 0)
  }
}

// MARK: - Text

extension IPAddress: CustomStringConvertible {
  /// Reads an address: `192.0.2.1`, `2001:db8::1`, `fe80::1%eth0`.
  ///
  /// IPv4 is four decimal numbers without leading zeros; IPv6 follows RFC 4291 §2.2; a zone is an interface's number or name.
  public init?(_ text: String) {
    self.init(text.utf8.span)
  }

  /// The same from ASCII bytes.
  public init?(_ text: Span<UInt8>) {
    if let number = IPAddress.parseV4(text, from: 0, to: text.count) {
      self.init(v4: number)
    } else if let address = IPAddress.parseV6(text) {
      self = address
    } else {
      return nil
    }
  }

  static func parseV4(_ text: Span<UInt8>, from start: Int, to end: Int) -> UInt32? {
    var number: UInt32 = 0
    var octet: UInt32 = 0
    var digits = 0
    var octets = 0
    for index in start..<end {
      let byte = text[index]
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"):
        // A zero in front would mean octal to some readers and nothing to others.
        if digits > 0, octet == 0 { return nil }
        octet = octet * 10 + UInt32(byte - UInt8(ascii: "0"))
        digits += 1
        if octet > 255 { return nil }
      case UInt8(ascii: "."):
        if digits == 0 || octets == 3 { return nil }
        number = number << 8 | octet
        octets += 1
        octet = 0
        digits = 0
      default:
        return nil
      }
    }
    guard digits > 0, octets == 3 else { return nil }
    return number << 8 | octet
  }

  private static func parseV6(_ text: Span<UInt8>) -> IPAddress? {
    var end = text.count
    var scope: UInt32 = 0
    for index in 0..<text.count where text[index] == UInt8(ascii: "%") {
      guard let number = parseZone(text, from: index + 1) else { return nil }
      scope = number
      end = index
      break
    }

    var groups = InlineArray<8, UInt16>(repeating: 0)
    var count = 0
    var gap: Int? = nil
    var index = 0
    guard end >= 2 else { return nil }
    if text[0] == UInt8(ascii: ":") {
      // A colon may open an address only as half of "::".
      guard text[1] == UInt8(ascii: ":") else { return nil }
      gap = 0
      index = 2
    }
    while index < end {
      guard count < 8 else { return nil }
      var value: UInt32 = 0
      let start = index
      while index < end, let digit = hexDigit(text[index]) {
        value = value << 4 | digit
        index += 1
        if index - start > 4 { return nil }
      }
      if index < end, text[index] == UInt8(ascii: ".") {
        // The last 32 bits may be written as IPv4.
        guard count <= 6, let number = parseV4(text, from: start, to: end) else { return nil }
        groups[count] = UInt16(truncatingIfNeeded: number >> 16)
        groups[count + 1] = UInt16(truncatingIfNeeded: number)
        count += 2
        index = end
        break
      }
      guard index > start else { return nil }
      groups[count] = UInt16(truncatingIfNeeded: value)
      count += 1
      if index == end { break }
      guard text[index] == UInt8(ascii: ":") else { return nil }
      index += 1
      if index == end { return nil }  // a single colon at the end
      if text[index] == UInt8(ascii: ":") {
        guard gap == nil else { return nil }
        gap = count
        index += 1
      }
    }
    // "::" stands for at least one group of zeros.
    guard gap == nil ? count == 8 : count < 8 else { return nil }

    var halves: (high: UInt64, low: UInt64) = (0, 0)
    for position in 0..<8 {
      let group: UInt16
      let head = gap ?? count
      if position < head {
        group = groups[position]
      } else if position >= 8 - (count - head) {
        group = groups[position - (8 - count)]
      } else {
        group = 0
      }
      if position < 4 {
        halves.high = halves.high << 16 | UInt64(group)
      } else {
        halves.low = halves.low << 16 | UInt64(group)
      }
    }
    return IPAddress(v6High: halves.high, low: halves.low, scope: scope)
  }

  private static func hexDigit(_ byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
  }

  private static func parseZone(_ text: Span<UInt8>, from start: Int) -> UInt32? {
    guard start < text.count, text.count - start < 16 else { return nil }
    var name = ""
    for index in start..<text.count {
      guard text[index] > 0x20, text[index] < 0x7F else { return nil }
      name.unicodeScalars.append(Unicode.Scalar(text[index]))
    }
    if let number = UInt32(name) { return number == 0 ? nil : number }
    let index = if_nametoindex(name)
    return index == 0 ? nil : index
  }

  /// The canonical text of RFC 5952: lower case, no leading zeros, the longest run of zeros as `::`.
  public var description: String {
    if let number = v4Number { return IPAddress.dotted(number) }
    let zone = scope == 0 ? "" : "%\(scope)"
    if high == 0, low >> 32 == 0xFFFF {
      return "::ffff:" + IPAddress.dotted(UInt32(truncatingIfNeeded: low)) + zone
    }
    var groups: [UInt16] = []
    for half in [high, low] {
      for shift in [48, 32, 16, 0] {
        groups.append(UInt16(truncatingIfNeeded: half >> UInt64(shift)))
      }
    }
    // The first of the longest runs of at least two zero groups.
    var run = 0..<0
    var index = 0
    while index < 8 {
      var end = index
      while end < 8, groups[end] == 0 { end += 1 }
      if end - index >= 2, end - index > run.count { run = index..<end }
      index = end + 1
    }
    let texts = groups.map { String($0, radix: 16) }
    guard !run.isEmpty else { return texts.joined(separator: ":") + zone }
    return texts[..<run.lowerBound].joined(separator: ":") + "::"
      + texts[run.upperBound...].joined(separator: ":") + zone
  }

  private static func dotted(_ number: UInt32) -> String {
    "\(number >> 24).\(number >> 16 & 255).\(number >> 8 & 255).\(number & 255)"
  }
}
