// The PROXY protocol: what is a header, what is none, and that it makes no difference in which pieces it comes.

import Platform
import SeededRandom
import Testing

@testable import IO

@Suite struct ProxyProtocolTests {
  static func parse(_ bytes: [UInt8]) -> ProxyProtocol.Outcome { ProxyProtocol.parse(bytes.span) }

  private static func address(_ text: String) -> SocketAddress? { SocketAddress(text) }

  /// A version 2 header around addresses and TLVs.
  static func header(
    _ versionAndCommand: UInt8 = 0x21, _ family: UInt8 = 0x11, _ rest: [UInt8]
  ) -> [UInt8] {
    let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]
    return signature
      + [versionAndCommand, family, UInt8(rest.count >> 8), UInt8(rest.count & 255)] + rest
  }

  static let v4: [UInt8] = [192, 0, 2, 7, 192, 0, 2, 1, 0xDC, 0x04, 0x0C, 0x38]
  static let v6: [UInt8] =
    [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [7]
    + [UInt8](repeating: 0, count: 15) + [1] + [0xDC, 0x04, 0x0C, 0x38]

  /// With its checksum in place.
  static func checked(_ rest: [UInt8]) -> [UInt8] {
    var bytes = header(0x21, 0x11, rest + [3, 0, 4, 0, 0, 0, 0])
    var crc = CRC32C()
    for byte in bytes { crc.update(byte) }
    for index in 0..<4 {
      bytes[bytes.count - 4 + index] = UInt8(truncatingIfNeeded: crc.value >> (24 - 8 * index))
    }
    return bytes
  }

  static let headers: [(bytes: [UInt8], client: String?)] = [
    (Array("PROXY TCP4 192.0.2.7 192.0.2.1 56324 3128\r\n".utf8), "192.0.2.7:56324"),
    (
      Array("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".utf8),
      "255.255.255.255:65535"
    ),
    (Array("PROXY TCP6 2001:db8::7 ::1 56324 3128\r\n".utf8), "[2001:db8::7]:56324"),
    (Array("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 0\r\n".utf8), "[::ffff:192.0.2.7]:1"),
    (Array("PROXY UNKNOWN\r\n".utf8), nil),
    (Array("PROXY UNKNOWN ffff:f...f:ffff whatever 65535 65535\r\n".utf8), nil),
    (header(0x21, 0x11, v4), "192.0.2.7:56324"), (header(0x21, 0x21, v6), "[2001:db8::7]:56324"),
    (header(0x20, 0x00, []), nil), (header(0x20, 0x11, v4), nil),
    (header(0x20, 0x77, [1, 2]), nil),
    (header(0x21, 0x00, []), nil), (header(0x21, 0x31, [UInt8](repeating: 0, count: 216)), nil),
    (header(0x21, 0x11, v4 + [0xE0, 0, 0] + [4, 0, 2, 9, 9]), "192.0.2.7:56324"),
    (checked(v4), "192.0.2.7:56324"), (checked(v4 + [1, 0, 2, 0x68, 0x32]), "192.0.2.7:56324"),
  ]

  @Test("a header names the client", arguments: headers.indices)
  func complete(index: Int) {
    let (bytes, client) = Self.headers[index]
    let expected = ProxyProtocol.Outcome.complete(
      bytes.count, client: client.flatMap { SocketAddress($0) })
    #expect(Self.parse(bytes) == expected)
    #expect(Self.parse(bytes + Array("GET / HTTP/1.1\r\n".utf8)) == expected)
  }

  @Test("every beginning of a header waits for the rest", arguments: headers.indices)
  func beginnings(index: Int) {
    let bytes = Self.headers[index].bytes
    for count in 0..<bytes.count {
      #expect(Self.parse(Array(bytes[..<count])) == .needsMoreBytes, "\(count) bytes")
    }
  }

  @Test(
    "what is no header is refused",
    arguments: [
      "GET / HTTP/1.1\r\n", "PROXY\r\n", "PROXY \r\n", "proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
      "PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n", "PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n",
      "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n", "PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
      "PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n", "PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
      "PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n",
      "PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n", "PROXY TCP6 fe80::1%1 ::1 1 2\r\n",
      "PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n", "PROXY TCP4 192.0.2.7\t192.0.2.1 1 2\r\n",
      "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\rX", "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n\r\n",
      "PROXY UNKNOWN \(String(repeating: "a", count: 100))\r\n",
      "PROXY TCP4 \(String(repeating: "1", count: 200))", "\r\nGET / HTTP/1.1\r\n",
    ])
  func refusedText(text: String) {
    guard case .refused = Self.parse(Array(text.utf8)) else {
      Issue.record("taken for a header: \(text)")
      return
    }
  }

  static let wrong: [[UInt8]] = [
    header(0x11, 0x11, v4), header(0x22, 0x11, v4), header(0x31, 0x11, v4),
    header(0x21, 0x12, v4), header(0x21, 0x22, v6), header(0x21, 0x41, v4),
    header(0x21, 0x13, v4), header(0x21, 0x11, Array(v4.dropLast())), header(0x21, 0x21, v4),
    header(0x21, 0x11, v4 + [1]), header(0x21, 0x11, v4 + [1, 0, 1]),
    header(0x21, 0x11, v4 + [1, 255, 255, 0]), header(0x21, 0x11, v4 + [3, 0, 4, 0, 0, 0, 0]),
    header(0x21, 0x11, v4 + [3, 0, 3, 0, 0, 0]), Array(header(0x21, 0x11, v4).dropFirst()),
    Array(header(0x21, 0x11, [UInt8](repeating: 0, count: 5000)).prefix(16)),
  ]

  @Test("a binary header that is wrong in any way is refused", arguments: wrong)
  func refusedBinary(bytes: [UInt8]) {
    guard case .refused = Self.parse(bytes) else {
      Issue.record("taken for a header: \(bytes)")
      return
    }
  }

  @Test("the checksum is CRC-32C")
  func checksum() {
    // The check value of the Rocksoft model, as published for CRC-32/ISCSI.
    var crc = CRC32C()
    for byte in "123456789".utf8 { crc.update(byte) }
    #expect(crc.value == 0xE306_9283)
  }

  @Test("any byte of the addresses changed under a checksum is noticed, and any of the checksum")
  func flips() {
    let bytes = Self.checked(Self.v4)
    for index in Array(16..<28) + Array(bytes.count - 4..<bytes.count) {
      var changed = bytes
      changed[index] ^= 0x10
      guard case .refused = Self.parse(changed) else {
        Issue.record("byte \(index) is not noticed")
        continue
      }
    }
  }

  @Test("no bytes whatever are a trap, and a verdict stands whatever follows")
  func anything() {
    var random = SeededGenerator(seed: 20)
    for round in 0..<3000 {
      var bytes = Self.headers[round % Self.headers.count].bytes
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
      }
      let whole = Self.parse(bytes)
      for count in 0...bytes.count {
        switch Self.parse(Array(bytes[..<count])) {
        case .needsMoreBytes: continue
        case .complete(let used, let client):
          #expect(used <= count)
          #expect(whole == .complete(used, client: client), "\(bytes)")
        case .refused(let sentence):
          #expect(whole == .refused(sentence), "\(bytes)")
        }
        break
      }
    }
  }
}
