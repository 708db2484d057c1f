// Host and port as they stand in a target, a Host field or a CONNECT request.
//
// Only what can be resolved gets through: names of letters, digits, `-`, `_`, `.` and `~`, dotted
// IPv4, bracketed IPv6. RFC 3986 would also allow percent-encoding and sub-delims in a name; none
// of these is ever part of a host on the network, and all of them have been used to make two
// parsers see two hosts. For the same reason a name whose last label is a number is refused unless it is a proper
// IPv4 address: resolvers read `127.1` and `0x7f000001` as addresses too.

/// Where host and port lie in some bytes.
struct AuthorityRange {
  /// With the brackets of an IPv6 address.
  var host: Range<Int>
  /// Nil when there is none, or nothing after the colon.
  var port: UInt16?

  enum Parsed {
    case authority(AuthorityRange)
    case fault(Refusal.Reason)
  }

  /// Parses `host [":" port]`; the host may not be empty.
  static func parse(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> Parsed {
    var at = range.lowerBound
    let end = range.upperBound
    if range.isEmpty { return .fault(.missingAuthority) }
    if bytes[at] == 0x5B {
      at += 1
      while at < end, bytes[at] != 0x5D { at += 1 }
      if at == end { return .fault(fault(bytes, range)) }
      if !isIPv6(bytes, range.lowerBound + 1..<at) { return .fault(fault(bytes, range)) }
      at += 1
    } else {
      var label = at
      while at < end, bytes[at] != 0x3A {
        let byte = bytes[at]
        if byte == 0x2E {
          if at == label { return .fault(.malformedHost) }
          label = at + 1
        } else if !byte.isHostCharacter {
          return .fault(fault(bytes, range))
        }
        at += 1
      }
      if at == range.lowerBound { return .fault(fault(bytes, range)) }
      // A last dot makes the name absolute, which it is here anyway: it is read past, so that one host has one
      // key and one Host field.
      let last = label == at ? lastLabel(bytes, range.lowerBound..<at - 1) : label..<at
      if isNumber(bytes, last), !isIPv4(bytes, range.lowerBound..<at) {
        return .fault(.malformedHost)
      }
    }
    let host = range.lowerBound..<(bytes[at - 1] == 0x2E ? at - 1 : at)
    if host.count > 255 { return .fault(.malformedHost) }
    if at == end { return .authority(AuthorityRange(host: host, port: nil)) }
    if bytes[at] != 0x3A { return .fault(fault(bytes, range)) }
    at += 1
    if at == end { return .authority(AuthorityRange(host: host, port: nil)) }
    if end - at > 5 { return .fault(portFault(bytes, at..<end, range)) }
    var port = 0
    for index in at..<end {
      if !bytes[index].isDigit { return .fault(portFault(bytes, at..<end, range)) }
      port = port &* 10 &+ Int(bytes[index] &- 0x30)
    }
    guard port > 0, let port = UInt16(exactly: port) else { return .fault(.malformedPort) }
    return .authority(AuthorityRange(host: host, port: port))
  }

  /// `user@host` is worth a sentence of its own.
  private static func fault(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>)
    -> Refusal.Reason
  {
    for index in range where bytes[index] == 0x40 { return .userInformation }
    return .malformedHost
  }

  private static func portFault(
    _ bytes: borrowing Span<UInt8>, _ port: Range<Int>, _ range: Range<Int>
  ) -> Refusal.Reason {
    fault(bytes, range) == .userInformation ? .userInformation : .malformedPort
  }

  private static func lastLabel(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>)
    -> Range<Int>
  {
    var start = range.upperBound
    while start > range.lowerBound, bytes[start - 1] != 0x2E { start -= 1 }
    return start..<range.upperBound
  }

  /// Digits only, or what C reads as a hexadecimal number.
  private static func isNumber(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> Bool {
    var range = range
    var isHexadecimal = false
    if range.count >= 2, bytes[range.lowerBound] == 0x30, bytes[range.lowerBound + 1] | 0x20 == 0x78
    {
      range = range.lowerBound + 2..<range.upperBound
      isHexadecimal = true
    }
    for index in range {
      let byte = bytes[index]
      if !(isHexadecimal ? byte.hexadecimalValue != nil : byte.isDigit) { return false }
    }
    return true
  }

  /// Four decimal numbers up to 255 without leading zeros, which some read as octal.
  static func isIPv4(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> Bool {
    var parts = 0
    var digits = 0
    var value = 0
    for index in range {
      let byte = bytes[index]
      if byte == 0x2E {
        if digits == 0 { return false }
        parts += 1
        digits = 0
        value = 0
      } else if byte.isDigit {
        if digits > 0, value == 0 { return false }
        value = value &* 10 &+ Int(byte &- 0x30)
        digits += 1
        if value > 255 { return false }
      } else {
        return false
      }
      if parts > 3 { return false }
    }
    return parts == 3 && digits > 0
  }

  /// RFC 4291 §2.2, without a zone: an address with one means something on one machine only.
  static func isIPv6(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> Bool {
    var groups = 0
    var isCompressed = false
    var at = range.lowerBound
    let end = range.upperBound
    if range.count < 2 { return false }
    if bytes[at] == 0x3A {
      if bytes[at + 1] != 0x3A { return false }
      isCompressed = true
      at += 2
    }
    while at < end {
      let start = at
      while at < end, bytes[at].hexadecimalValue != nil { at += 1 }
      if at < end, bytes[at] == 0x2E {
        if !isIPv4(bytes, start..<end) { return false }
        groups += 2
        break
      }
      if at == start || at - start > 4 { return false }
      groups += 1
      if at == end { break }
      if bytes[at] != 0x3A { return false }
      at += 1
      if at == end { return false }
      if bytes[at] == 0x3A {
        if isCompressed { return false }
        isCompressed = true
        at += 1
      }
    }
    return isCompressed ? groups < 8 : groups == 8
  }
}

extension UInt8 {
  /// What a host name may be made of, beside its dots.
  @inlinable
  var isHostCharacter: Bool {
    isLetter || isDigit || self == 0x2D || self == 0x5F || self == 0x7E
  }
}

/// An owned host and port: where a CONNECT goes, or where an origin is.
public struct Authority: Hashable, Sendable, CustomStringConvertible {
  /// Lower case; an IPv6 address has its brackets.
  public let host: String
  public let port: UInt16

  /// Parses `host:port`. Without a port `defaultPort` is taken, and without that it is refused.
  public static func parse(
    _ bytes: borrowing Span<UInt8>, _ range: Range<Int>, defaultPort: UInt16? = nil
  ) throws(Refusal) -> Authority {
    switch AuthorityRange.parse(bytes, range) {
    case .fault(let reason):
      throw Refusal(reason, .request)
    case .authority(let authority):
      guard let port = authority.port ?? defaultPort else {
        throw Refusal(.malformedPort, .request)
      }
      return Authority(
        host: String(decoding: lowerCased(bytes, authority.host), as: UTF8.self), port: port)
    }
  }

  /// Where a CONNECT request goes. The port must be given (RFC 9110 §9.3.6), and a Host that is not
  /// valid is refused although it has no say (RFC 9112 §3.2).
  public static func ofConnect(
    _ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>
  ) throws(Refusal) -> Authority {
    guard case .authority(let range) = RequestTarget.parse(head, in: bytes) else {
      throw Refusal(.targetFormNotAllowed, .request)
    }
    if let fault = faultOfHost(head, in: bytes) { throw fault }
    return try parse(bytes, range)
  }

  /// What is wrong with a Host field that has no say, because the target or the listener says where the request
  /// goes; it has to be valid all the same (RFC 9112 §3.2). An empty one is what a client sends for a target
  /// without authority.
  public static func faultOfHost(_ head: borrowing ParsedHead, in bytes: borrowing Span<UInt8>)
    -> Refusal?
  {
    guard let host = head.first(.host)?.value, !host.isEmpty,
      case .fault(let reason) = AuthorityRange.parse(bytes, host)
    else { return nil }
    return Refusal(reason, .request)
  }

  /// Parses text as from a configuration; nil when it is not valid.
  public init?(_ text: String, defaultPort: UInt16? = nil) {
    let bytes = Array(text.utf8)
    guard
      let parsed = try? Self.parse(bytes.span, 0..<bytes.count, defaultPort: defaultPort)
    else { return nil }
    self = parsed
  }

  init(host: String, port: UInt16) {
    self.host = host
    self.port = port
  }

  public var description: String { "\(host):\(port)" }

  /// The host without the brackets of an IPv6 address, as a resolver wants it.
  public var bareHost: String {
    host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
  }

  static func lowerCased(_ bytes: borrowing Span<UInt8>, _ range: Range<Int>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(range.count)
    for index in range { result.append(bytes[index].lowercased) }
    return result
  }
}
