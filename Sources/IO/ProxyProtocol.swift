// The PROXY protocol, versions 1 and 2, as HAProxy's specification (proxy-protocol.txt) defines it: a load
// balancer says in front of the client's first byte whose connection it passes on. Reads bytes that may come
// in any pieces and says whether the header is complete, or what is wrong with it; touches no socket.
//
//   v1   PROXY TCP4 192.0.2.7 192.0.2.1 56324 3128\r\n           at most 107 bytes of text
//   v2   signature (12)  version|command  family|transport  length (2)  addresses  TLVs
//
// Nothing is guessed: what the specification lets a sender write and no other way. A CRC32C among the TLVs
// is checked, all other TLVs are skipped once their lengths add up. Version 2 headers are read up to 4 KiB,
// although their length field could say 64: what load balancers add takes a few hundred bytes.

import Platform

package enum ProxyProtocol {
  /// Longest header that is read.
  package static let largest = 4096
  private static let longestLine = 107
  private static let signature: [UInt8] = [
    0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
  ]

  package enum Outcome: Equatable, Sendable {
    /// All that came so far belongs to the header, and more of it has to come.
    case needsMoreBytes
    /// The header ends after so many bytes.
    /// - client: whose connection it is; nil when the sender speaks for itself (`LOCAL`, as in its health
    ///   checks) or does not know, and then it is whoever connected.
    case complete(Int, client: SocketAddress?)
    /// Not a header; a sentence for the log.
    case refused(String)
  }

  /// Reads the header at the start of `bytes`.
  package static func parse(_ bytes: borrowing Span<UInt8>) -> Outcome {
    guard bytes.count > 0 else { return .needsMoreBytes }
    switch bytes[0] {
    case UInt8(ascii: "P"): return parseText(bytes)
    case 0x0D: return parseBinary(bytes)
    default: return .refused("the connection does not begin with a PROXY header")
    }
  }

  // MARK: Version 1

  private static func parseText(_ bytes: borrowing Span<UInt8>) -> Outcome {
    let start = "PROXY "
    var at = 0
    for byte in start.utf8 {
      if at == bytes.count { return .needsMoreBytes }
      if bytes[at] != byte {
        return .refused("the connection does not begin with a PROXY header")
      }
      at += 1
    }
    while at < bytes.count, bytes[at] != 0x0D {
      if bytes[at] < 0x20 || bytes[at] > 0x7E {
        return .refused("the PROXY line has a control byte in it")
      }
      at += 1
      if at > longestLine - 2 { return .refused("the PROXY line is too long") }
    }
    guard at + 1 < bytes.count else { return .needsMoreBytes }
    guard bytes[at + 1] == 0x0A else { return .refused("the PROXY line does not end in CR LF") }
    var line: [UInt8] = []
    for index in start.utf8.count..<at { line.append(bytes[index]) }
    let words = String(decoding: line, as: UTF8.self).split(
      separator: " ", omittingEmptySubsequences: false)
    // What follows UNKNOWN is to be ignored, and says nothing about the client.
    if words[0] == "UNKNOWN" { return .complete(at + 2, client: nil) }
    let family: IPAddress.Family
    switch words[0] {
    case "TCP4": family = .v4
    case "TCP6": family = .v6
    default: return .refused("the PROXY line is about something else than TCP4, TCP6 or UNKNOWN")
    }
    guard words.count == 5, let client = address(words[1], family),
      address(words[2], family) != nil, let port = port(words[3]), self.port(words[4]) != nil
    else { return .refused("the PROXY line has no two addresses and two ports") }
    return .complete(at + 2, client: SocketAddress(client, port: port))
  }

  private static func address(_ word: Substring, _ family: IPAddress.Family) -> IPAddress? {
    // A zone means something on the sender's machine only.
    guard let address = IPAddress(String(word)), address.family == family, address.scope == 0
    else { return nil }
    return address
  }

  private static func port(_ word: Substring) -> UInt16? {
    let digits = word.utf8
    guard (1...5).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
      digits.count == 1 || digits.first != 0x30
    else { return nil }
    return UInt16(word)
  }

  // MARK: Version 2

  private static func parseBinary(_ bytes: borrowing Span<UInt8>) -> Outcome {
    for index in 0..<min(bytes.count, signature.count) where bytes[index] != signature[index] {
      return .refused("the connection does not begin with a PROXY header")
    }
    guard bytes.count >= 16 else {
      // What has come may be wrong already.
      if bytes.count > 12, let fault = fault(bytes[12]) { return .refused(fault) }
      return .needsMoreBytes
    }
    if let fault = fault(bytes[12]) { return .refused(fault) }
    let length = Int(bytes[14]) << 8 | Int(bytes[15])
    let end = 16 + length
    guard end <= largest else {
      return .refused("the PROXY header is longer than \(largest) bytes")
    }
    let addressLength: Int
    switch (bytes[12] & 0x0F, bytes[13]) {
    // LOCAL: whatever follows, addresses or not, is to be thrown away.
    case (0, _): return bytes.count < end ? .needsMoreBytes : .complete(end, client: nil)
    case (_, 0x00): addressLength = 0
    case (_, 0x11): addressLength = 12
    case (_, 0x21): addressLength = 36
    case (_, 0x31): addressLength = 216
    default: return .refused("the PROXY header is about something else than a TCP connection")
    }
    guard length >= addressLength else {
      return .refused("the PROXY header is too short for its addresses")
    }
    guard bytes.count >= end else { return .needsMoreBytes }
    if let fault = checkTLVs(bytes, from: 16 + addressLength, to: end) { return .refused(fault) }
    switch bytes[13] {
    case 0x11:
      let number = word(bytes, 16)
      return .complete(
        end, client: SocketAddress(IPAddress(v4: number), port: half(bytes, 24)))
    case 0x21:
      let high = UInt64(word(bytes, 16)) << 32 | UInt64(word(bytes, 20))
      let low = UInt64(word(bytes, 24)) << 32 | UInt64(word(bytes, 28))
      return .complete(
        end,
        client: SocketAddress(IPAddress(v6High: high, low: low), port: half(bytes, 48)))
    default:
      // Unspecified, or a UNIX socket: nothing that `clients` could judge.
      return .complete(end, client: nil)
    }
  }

  private static func fault(_ versionAndCommand: UInt8) -> String? {
    if versionAndCommand >> 4 != 2 { return "the PROXY header is of a version that is not known" }
    return versionAndCommand & 0x0F > 1 ? "the PROXY header has a command that is not known" : nil
  }

  private static func half(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt16 {
    UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
  }

  private static func word(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt32 {
    UInt32(half(bytes, at)) << 16 | UInt32(half(bytes, at + 2))
  }

  /// Type, length, value, until the end. PP2_TYPE_CRC32C (3) is the CRC of the whole header with the four
  /// bytes of the value taken as zero.
  private static func checkTLVs(_ bytes: borrowing Span<UInt8>, from start: Int, to end: Int)
    -> String?
  {
    var at = start
    while at < end {
      guard end - at >= 3 else { return "the PROXY header ends in the middle of a TLV" }
      let length = Int(half(bytes, at + 1))
      guard end - at - 3 >= length else { return "the PROXY header ends in the middle of a TLV" }
      if bytes[at] == 3 {
        guard length == 4 else { return "the PROXY header has a checksum of the wrong length" }
        let value = at + 3
        var crc = CRC32C()
        for index in 0..<end {
          crc.update((value..<value + 4).contains(index) ? 0 : bytes[index])
        }
        guard crc.value == word(bytes, value) else {
          return "the PROXY header does not match its checksum"
        }
      }
      at += 3 + length
    }
    return nil
  }
}

/// CRC-32C (Castagnoli), bit by bit: for a few hundred bytes per connection.
struct CRC32C {
  private var state: UInt32 = .max

  mutating func update(_ byte: UInt8) {
    state ^= UInt32(byte)
    for _ in 0..<8 { state = state >> 1 ^ (state & 1 == 1 ? 0x82F6_3B78 : 0) }
  }

  var value: UInt32 { ~state }
}
