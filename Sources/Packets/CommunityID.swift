// Community ID, version 1 (https://github.com/corelight/community-id-spec): a name for a flow that other tools compute
// alike, so that a record here is found in a flow log elsewhere.
//
//   "1:" + base64(SHA-1(seed, lower address, higher address, protocol, 0, lower port, higher port))

import Platform

package enum CommunityID {
  /// The name of a TCP connection, the same from both sides.
  /// - Parameter seed: what a site may agree on to keep its names apart.
  /// - Returns: nil when one address is IPv4 and the other IPv6.
  package static func of(_ one: SocketAddress, _ other: SocketAddress, seed: UInt16 = 0) -> String?
  {
    guard let flow = PacketEndpoints(source: one, destination: other)?.canonical else { return nil }
    var bytes: [UInt8] = []
    bytes.append(bigEndian: seed)
    bytes += flow.sourceAddressBytes
    bytes += flow.destinationAddressBytes
    bytes += [6, 0]
    bytes.append(bigEndian: flow.sourcePort)
    bytes.append(bigEndian: flow.destinationPort)
    return "1:" + base64(SHA1.digest(bytes))
  }

  /// RFC 4648 §4.
  private static func base64(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let group = bytes[start..<min(start + 3, bytes.count)]
      let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
      for place in 0..<4 {
        text.append(
          place <= group.count
            ? alphabet[Int(bits >> UInt32(18 - 6 * place) & 63)] : UInt8(ascii: "="))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }
}

extension PacketEndpoints {
  /// As they are on the wire: 4 or 16 bytes.
  var sourceAddressBytes: [UInt8] { addressBytes(sourceHigh, sourceLow) }
  var destinationAddressBytes: [UInt8] { addressBytes(destinationHigh, destinationLow) }

  private func addressBytes(_ high: UInt64, _ low: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    if family == .v6 {
      bytes.append(bigEndian: high)
      bytes.append(bigEndian: low)
    } else {
      bytes.append(bigEndian: UInt32(truncatingIfNeeded: low))
    }
    return bytes
  }
}

extension [UInt8] {
  mutating func append<Number: FixedWidthInteger>(bigEndian number: Number) {
    Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
  }

  mutating func append<Number: FixedWidthInteger>(littleEndian number: Number) {
    Swift.withUnsafeBytes(of: number.littleEndian) { append(contentsOf: $0) }
  }
}
