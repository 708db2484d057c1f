// Reads the headers of a captured frame. What stands in a packet was written by strangers, and the capture cuts it off
// after 128 bytes: every read is checked, whatever is missing makes the answer poorer (`.other`, an absent option), and
// nothing traps.
//
//   [Ethernet 14][tag 4]… [IPv4 20–60 | IPv6 40, extensions…] [TCP 20–60 | ICMP 8, quoted packet]

import Platform

/// What a frame begins with. Raw values are the link types of capture files.
package enum LinkType: UInt16, Sendable {
  case ethernet = 1
  /// The IP header itself: tunnels.
  case rawIP = 101

  /// From what the kernel calls the kind of an interface (ARPHRD_*); nil for kinds that are not looked into.
  package init?(hardware: UInt16) {
    switch hardware {
    // Ethernet, which veth and bridges are too; loopback.
    case 1, LinkType.loopbackHardware: self = .ethernet
    // NONE (tun, WireGuard), TUNNEL, TUNNEL6, SIT.
    case 0xFFFE, 768, 769, 776: self = .rawIP
    default: return nil
    }
  }

  static let loopbackHardware: UInt16 = 772
}

package enum PacketParser {
  // At most so many tags and extension headers are followed.
  private static let maximumTags = 2
  private static let maximumExtensions = 8

  /// Reads the headers of a frame.
  /// - Parameters:
  ///   - frame: what was captured of it.
  ///   - length: how long it was on the wire, which counts where an IP header does not say (large segments that are
  ///     cut up by hardware may have 0 there).
  /// - Returns: nil for what is no IP packet or has no whole IP header.
  package static func parse(
    _ frame: Span<UInt8>, link: LinkType, length: Int
  ) -> PacketHeader? {
    var offset = 0
    if link == .ethernet {
      offset = 14
      var type = frame.u16(12)
      for _ in 0..<maximumTags where type == 0x8100 || type == 0x88A8 {
        type = frame.u16(offset + 2)
        offset += 4
      }
      guard type == 0x0800 || type == 0x86DD else { return nil }
    }
    let available = max(length, frame.count) - offset
    switch frame.u8(offset).map({ $0 >> 4 }) {
    case 4: return parseV4(frame, at: offset, available: available)
    case 6: return parseV6(frame, at: offset, available: available)
    default: return nil
    }
  }

  // MARK: IP

  private static func parseV4(_ frame: Span<UInt8>, at start: Int, available: Int) -> PacketHeader?
  {
    guard let first = frame.u8(start), first & 0xF >= 5,
      let total = frame.u16(start + 2), let identification = frame.u16(start + 4),
      let fragment = frame.u16(start + 6), let hopLimit = frame.u8(start + 8),
      let number = frame.u8(start + 9), let source = frame.u32(start + 12),
      let destination = frame.u32(start + 16)
    else { return nil }
    let headerLength = Int(first & 0xF) * 4
    let length = total == 0 ? max(0, available) : Int(total)
    var header = PacketHeader(
      endpoints: PacketEndpoints(
        family: .v4, source: (0, UInt64(source)), destination: (0, UInt64(destination))),
      hopLimit: hopLimit, identification: identification, doNotFragment: fragment & 0x4000 != 0,
      isFragment: fragment & 0x3FFF != 0, length: UInt32(clamping: length),
      content: .other(protocol: number))
    // Only the first fragment has the header of what is inside.
    if fragment & 0x1FFF == 0 {
      parseContent(
        frame, at: start + headerLength, protocol: number, length: length - headerLength,
        into: &header)
    }
    return header
  }

  private static func parseV6(_ frame: Span<UInt8>, at start: Int, available: Int) -> PacketHeader?
  {
    guard let payload = frame.u16(start + 4), let next = frame.u8(start + 6),
      let hopLimit = frame.u8(start + 7),
      let sourceHigh = frame.u64(start + 8), let sourceLow = frame.u64(start + 16),
      let destinationHigh = frame.u64(start + 24), let destinationLow = frame.u64(start + 32)
    else { return nil }
    // 0 is also what a jumbogram has (RFC 2675).
    let length = payload == 0 ? max(0, available) : Int(payload) + 40
    var header = PacketHeader(
      endpoints: PacketEndpoints(
        family: .v6, source: (sourceHigh, sourceLow),
        destination: (destinationHigh, destinationLow)),
      hopLimit: hopLimit, identification: nil, doNotFragment: true, isFragment: false,
      length: UInt32(clamping: length), content: .other(protocol: next))
    let upper = skipExtensions(frame, at: start + 40, first: next)
    header.isFragment = upper.isFragment
    header.content = .other(protocol: upper.protocol)
    if upper.isWhole {
      parseContent(
        frame, at: upper.offset, protocol: upper.protocol, length: length - (upper.offset - start),
        into: &header)
    }
    return header
  }

  /// What follows the extension headers of IPv6 (RFC 8200 §4); not whole when it is elsewhere or was cut off.
  private static func skipExtensions(
    _ frame: Span<UInt8>, at start: Int, first: UInt8
  ) -> (offset: Int, protocol: UInt8, isFragment: Bool, isWhole: Bool) {
    var offset = start
    var next = first
    var isFragment = false
    for _ in 0..<maximumExtensions {
      switch next {
      case 0, 43, 60, 135:  // hop-by-hop, routing, destination options, mobility
        guard let following = frame.u8(offset), let units = frame.u8(offset + 1) else {
          return (offset, next, isFragment, false)
        }
        next = following
        offset += (Int(units) + 1) * 8
      case 51:  // authentication, which counts otherwise (RFC 4302 §2.2)
        guard let following = frame.u8(offset), let units = frame.u8(offset + 1) else {
          return (offset, next, isFragment, false)
        }
        next = following
        offset += (Int(units) + 2) * 4
      case 44:
        guard let following = frame.u8(offset), let place = frame.u16(offset + 2) else {
          return (offset, next, true, false)
        }
        isFragment = true
        next = following
        offset += 8
        if place & 0xFFF8 != 0 { return (offset, next, true, false) }
      default:
        return (offset, next, isFragment, true)
      }
    }
    return (offset, next, isFragment, false)
  }

  private static func parseContent(
    _ frame: Span<UInt8>, at offset: Int, protocol number: UInt8, length: Int,
    into header: inout PacketHeader
  ) {
    switch (number, header.endpoints.family) {
    case (6, _):
      guard let tcp = parseTCP(frame, at: offset, length: length),
        let source = frame.u16(offset), let destination = frame.u16(offset + 2)
      else { return }
      header.endpoints.sourcePort = source
      header.endpoints.destinationPort = destination
      header.contentOffset = UInt16(clamping: offset + Int(tcp.headerLength))
      header.content = .tcp(tcp)
    case (1, .v4), (58, .v6):
      if let error = parseICMP(frame, at: offset, family: header.endpoints.family) {
        header.content = .icmp(error)
      }
    default: break
    }
  }

  // MARK: TCP

  private static func parseTCP(_ frame: Span<UInt8>, at start: Int, length: Int) -> TCPHeader? {
    guard let sequence = frame.u32(start + 4), let acknowledgement = frame.u32(start + 8),
      let dataOffset = frame.u8(start + 12), let flags = frame.u8(start + 13),
      let window = frame.u16(start + 14), frame.u32(start + 16) != nil
    else { return nil }
    let headerLength = Int(dataOffset >> 4) * 4
    guard headerLength >= 20 else { return nil }
    var header = TCPHeader(
      flags: TCPFlags(rawValue: flags), sequence: SequenceNumber(sequence),
      acknowledgement: SequenceNumber(acknowledgement), window: window)
    header.headerLength = UInt8(clamping: headerLength)
    header.contentLength = UInt32(clamping: max(0, length - headerLength))
    parseOptions(frame, from: start + 20, to: start + headerLength, into: &header)
    return header
  }

  private static func parseOptions(
    _ frame: Span<UInt8>, from start: Int, to end: Int, into header: inout TCPHeader
  ) {
    var offset = start
    while offset < end, let kind = frame.u8(offset) {
      if kind == 0 { return }
      if kind == 1 {
        offset += 1
        continue
      }
      // The capture may end here; the option then is not malformed, only unknown.
      guard offset + 1 < end else {
        header.optionsAreMalformed = true
        return
      }
      guard let count = frame.u8(offset + 1).map(Int.init) else { return }
      guard count >= 2, offset + count <= end else {
        header.optionsAreMalformed = true
        return
      }
      switch (kind, count) {
      case (2, 4): header.maximumSegmentSize = frame.u16(offset + 2)
      case (3, 3): header.windowScale = frame.u8(offset + 2)
      case (4, 2): header.permitsSelectiveAcknowledgement = true
      case (8, 10):
        if let value = frame.u32(offset + 2), let echo = frame.u32(offset + 6) {
          header.timestamps = TCPHeader.Timestamps(value: value, echo: echo)
        }
      default: break
      }
      offset += count
    }
  }

  // MARK: ICMP

  private static func parseICMP(
    _ frame: Span<UInt8>, at start: Int, family: IPAddress.Family
  ) -> ICMPError? {
    guard let type = frame.u8(start), let code = frame.u8(start + 1) else { return nil }
    var error = ICMPError(family: family, type: type, code: code)
    switch (family, type) {
    case (.v4, 3):
      if code == 4 { error.maximumPacket = frame.u16(start + 6).map(UInt32.init) }
    case (.v6, 2):
      error.maximumPacket = frame.u32(start + 4)
    case (.v4, 4), (.v4, 11), (.v4, 12), (.v6, 1), (.v6, 3), (.v6, 4): break
    default: return nil
    }
    error.quotation = parseQuotation(frame, at: start + 8, family: family)
    return error
  }

  private static func parseQuotation(
    _ frame: Span<UInt8>, at start: Int, family: IPAddress.Family
  ) -> ICMPError.Quotation? {
    var endpoints: PacketEndpoints
    let number: UInt8
    let upper: Int
    switch family {
    case .v4:
      guard let first = frame.u8(start), first >> 4 == 4, first & 0xF >= 5,
        let fragment = frame.u16(start + 6), fragment & 0x1FFF == 0,
        let inner = frame.u8(start + 9), let source = frame.u32(start + 12),
        let destination = frame.u32(start + 16)
      else { return nil }
      number = inner
      upper = start + Int(first & 0xF) * 4
      endpoints = PacketEndpoints(
        family: .v4, source: (0, UInt64(source)), destination: (0, UInt64(destination)))
    case .v6:
      guard let first = frame.u8(start), first >> 4 == 6, let next = frame.u8(start + 6),
        let sourceHigh = frame.u64(start + 8), let sourceLow = frame.u64(start + 16),
        let destinationHigh = frame.u64(start + 24), let destinationLow = frame.u64(start + 32)
      else { return nil }
      let inner = skipExtensions(frame, at: start + 40, first: next)
      guard inner.isWhole else { return nil }
      number = inner.protocol
      upper = inner.offset
      endpoints = PacketEndpoints(
        family: .v6, source: (sourceHigh, sourceLow),
        destination: (destinationHigh, destinationLow))
    }
    // TCP and UDP have their ports in the same place.
    guard number == 6 || number == 17, let sourcePort = frame.u16(upper),
      let destinationPort = frame.u16(upper + 2)
    else { return nil }
    endpoints.sourcePort = sourcePort
    endpoints.destinationPort = destinationPort
    return ICMPError.Quotation(
      endpoints: endpoints, protocol: number,
      sequence: number == 6 ? frame.u32(upper + 4).map { SequenceNumber($0) } : nil)
  }
}

// MARK: - Checked reads, in network order

extension Span<UInt8> {
  @inline(__always)
  fileprivate func u8(_ offset: Int) -> UInt8? {
    offset >= 0 && offset < count ? self[offset] : nil
  }

  @inline(__always)
  fileprivate func u16(_ offset: Int) -> UInt16? {
    guard offset >= 0, offset <= count - 2 else { return nil }
    return UInt16(self[offset]) << 8 | UInt16(self[offset + 1])
  }

  @inline(__always)
  fileprivate func u32(_ offset: Int) -> UInt32? {
    guard offset >= 0, offset <= count - 4 else { return nil }
    return bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self).bigEndian
  }

  @inline(__always)
  fileprivate func u64(_ offset: Int) -> UInt64? {
    guard offset >= 0, offset <= count - 8 else { return nil }
    return bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self).bigEndian
  }
}
