// What the headers of one packet say: IP, and then TCP or an ICMP error. A trivial value without a byte of the packet
// itself; `PacketParser` makes it, everything else in this module judges it.

import Platform

/// The headers of one IP packet.
package struct PacketHeader: Hashable, Sendable {
  package enum Content: Hashable, Sendable {
    case tcp(TCPHeader)
    case icmp(ICMPError)
    /// Any other protocol, a later fragment, an ICMP message that is no error, or headers that were cut short.
    case other(protocol: UInt8)
  }

  /// Ports are 0 unless the content is TCP.
  package var endpoints: PacketEndpoints
  /// IPv4's time to live, IPv6's hop limit.
  package var hopLimit: UInt8
  /// IPv4's identification; IPv6 has none.
  package var identification: UInt16?
  /// IPv4's DF; always true for IPv6, which no router fragments.
  package var doNotFragment: Bool
  /// A piece of a packet, the first one or a later one.
  package var isFragment: Bool
  /// Bytes of the whole IP packet, headers included, however few of them were captured.
  package var length: UInt32
  package var content: Content
  /// Where in the frame the content of a TCP segment begins; 0 for everything else.
  package var contentOffset: UInt16 = 0

  package var tcp: TCPHeader? {
    if case .tcp(let header) = content { header } else { nil }
  }

  package var icmp: ICMPError? {
    if case .icmp(let error) = content { error } else { nil }
  }
}

/// The control bits of TCP (RFC 9293 §3.1).
package struct TCPFlags: OptionSet, Hashable, Sendable {
  package let rawValue: UInt8

  package init(rawValue: UInt8) { self.rawValue = rawValue }

  package static let finish = TCPFlags(rawValue: 0x01)
  package static let synchronise = TCPFlags(rawValue: 0x02)
  package static let reset = TCPFlags(rawValue: 0x04)
  package static let push = TCPFlags(rawValue: 0x08)
  package static let acknowledge = TCPFlags(rawValue: 0x10)
  package static let urgent = TCPFlags(rawValue: 0x20)
  package static let congestionEcho = TCPFlags(rawValue: 0x40)
  package static let congestionReduced = TCPFlags(rawValue: 0x80)
}

extension TCPFlags: CustomStringConvertible {
  /// By the names of the standard, `SYN+ACK`.
  package var description: String {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"]
    let set = names.indices.filter { rawValue & 1 << UInt8($0) != 0 }.map { names[$0] }
    return set.isEmpty ? "none" : set.joined(separator: "+")
  }
}

/// What a TCP header says.
package struct TCPHeader: Hashable, Sendable {
  /// RFC 7323 §3.
  package struct Timestamps: Hashable, Sendable {
    /// The sender's clock (TSval).
    package var value: UInt32
    /// The last one it had from the other side (TSecr).
    package var echo: UInt32

    package init(value: UInt32, echo: UInt32) {
      self.value = value
      self.echo = echo
    }
  }

  package var flags: TCPFlags
  package var sequence: SequenceNumber
  /// Meaningful with ACK only, and there all the same: a reset written by hand may have one without.
  package var acknowledgement: SequenceNumber
  /// As it is in the header, not scaled.
  package var window: UInt16
  /// Bytes of content, as the IP header counts them.
  package var contentLength: UInt32 = 0
  /// Bytes of the header, 20 to 60.
  package var headerLength: UInt8 = 20

  // Options, as far as they were captured.
  package var maximumSegmentSize: UInt16?
  package var windowScale: UInt8?
  package var permitsSelectiveAcknowledgement = false
  package var timestamps: Timestamps?
  /// An option without its full length, or one that leads beyond the header.
  package var optionsAreMalformed = false

  package init(
    flags: TCPFlags, sequence: SequenceNumber, acknowledgement: SequenceNumber = .init(0),
    window: UInt16 = 0
  ) {
    self.flags = flags
    self.sequence = sequence
    self.acknowledgement = acknowledgement
    self.window = window
  }

  package var isReset: Bool { flags.contains(.reset) }
  package var acknowledges: Bool { flags.contains(.acknowledge) }
  package var hasOptions: Bool { headerLength > 20 }

  /// How much of the sequence space this segment takes (RFC 9293 §3.4); resets take none.
  package var sequenceLength: UInt32 {
    if isReset { return 0 }
    return contentLength &+ (flags.contains(.synchronise) ? 1 : 0)
      &+ (flags.contains(.finish) ? 1 : 0)
  }

  /// What follows in the sequence space.
  package var nextSequence: SequenceNumber { sequence + sequenceLength }
}

/// An ICMP or ICMPv6 message that reports an error about another packet, whose beginning it quotes.
package struct ICMPError: Hashable, Sendable {
  /// The packet that met the error.
  package struct Quotation: Hashable, Sendable {
    /// As that packet had them: its source is whom the error is told.
    package var endpoints: PacketEndpoints
    package var `protocol`: UInt8
    /// For TCP: where the segment began.
    package var sequence: SequenceNumber?
  }

  /// Which of the two protocols, and with that which numbers.
  package var family: IPAddress.Family
  package var type: UInt8
  package var code: UInt8
  /// The largest packet that would have passed, where the message is about size (RFC 1191, RFC 4443 §3.2).
  package var maximumPacket: UInt32?
  /// Nil when the quotation is cut before the ports.
  package var quotation: Quotation?
}

extension ICMPError: CustomStringConvertible {
  /// The standards' words for it (RFC 792, RFC 1812 §5.2.7, RFC 4443).
  package var description: String {
    switch (family, type, code) {
    case (.v4, 3, 0): "network unreachable"
    case (.v4, 3, 1): "host unreachable"
    case (.v4, 3, 2): "protocol unreachable"
    case (.v4, 3, 3), (.v6, 1, 4): "port unreachable"
    case (.v4, 3, 4): "fragmentation needed"
    case (.v4, 3, 9): "network administratively prohibited"
    case (.v4, 3, 10): "host administratively prohibited"
    case (.v4, 3, 13), (.v6, 1, 1): "communication administratively prohibited"
    case (.v6, 1, 3): "address unreachable"
    case (.v6, 1, 0): "no route to destination"
    case (.v6, 1, 5): "source address failed policy"
    case (.v6, 1, 6): "route rejected"
    case (.v4, 3, _), (.v6, 1, _): "destination unreachable, code \(code)"
    case (.v6, 2, _): "packet too big"
    case (.v4, 11, 0), (.v6, 3, 0): "hop limit exceeded"
    case (.v4, 11, _), (.v6, 3, _): "reassembly time exceeded"
    case (.v4, 12, _), (.v6, 4, _): "parameter problem"
    case (.v4, 4, _): "source quench"
    default: "ICMP type \(type), code \(code)"
    }
  }
}
