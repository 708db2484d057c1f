// Addresses as people and resolvers write them, as access lists judge them, and as we print them.

import Platform
import Testing

@Suite("IP addresses")
struct IPAddressTests {
  @Test(
    "an address reads and prints in its canonical form",
    arguments: [
      ("0.0.0.0", "0.0.0.0"),
      ("127.0.0.1", "127.0.0.1"),
      ("255.255.255.255", "255.255.255.255"),
      ("::", "::"),
      ("::1", "::1"),
      ("1::", "1::"),
      ("2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"),
      ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
      ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
      ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
      ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
      ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
      ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
      ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
      ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
      ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
      ("0001:0002:0003:0004:0005:0006:0007:0008", "1:2:3:4:5:6:7:8"),
      ("fe80::1%7", "fe80::1%7"),
    ])
  func reads(_ text: String, _ canonical: String) throws {
    let address = try #require(IPAddress(text))
    #expect(address.description == canonical)
    #expect(IPAddress(canonical) == address)
  }

  @Test(
    "what some readers take for an address and others do not is refused",
    arguments: [
      "", "1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "0177.1", "127.0.0.01",
      "00.0.0.0",
      "256.0.0.1", "1.2.3", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.4.5", "1.2.3.4 ", " 1.2.3.4",
      "+1.2.3.4",
      "1.2.3.4/8", "１.2.3.4", ":", ":::", "1:", ":1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
      "1::2::3",
      "12345::", "::g", "::1.2.3", "::1.2.3.4.5", "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::",
      "::1.2.3.4:5",
      "[::1]", "::1%", "::1%0", "::1%no-such-interface", "1:2:3:4::5:6:7:8", "::01.2.3.4",
      "localhost",
    ])
  func refuses(_ text: String) {
    #expect(IPAddress(text) == nil)
  }

  @Test("a zone may be named by its interface")
  func zoneByName() throws {
    let address = try #require(IPAddress("fe80::1%lo"))
    #expect(address.scope == 1)
    #expect(address != IPAddress("fe80::1"))
  }

  enum Judgement: String, CaseIterable, Sendable {
    case loopback, linkLocal, privateUse, multicast, unspecified, reserved, global

    static func of(_ address: IPAddress) -> [Judgement] {
      var all: [Judgement] = []
      if address.isLoopback { all.append(.loopback) }
      if address.isLinkLocal { all.append(.linkLocal) }
      if address.isPrivate { all.append(.privateUse) }
      if address.isMulticast { all.append(.multicast) }
      if address.isUnspecified { all.append(.unspecified) }
      if address.isReserved, !address.isUnspecified { all.append(.reserved) }
      return all.isEmpty ? [.global] : all
    }
  }

  @Test(
    "each address is judged by where it leads",
    arguments: [
      ("127.0.0.1", Judgement.loopback), ("127.255.255.254", .loopback),
      ("126.255.255.255", .global),
      ("128.0.0.1", .global), ("10.0.0.1", .privateUse), ("9.255.255.255", .global),
      ("11.0.0.0", .global),
      ("172.15.255.255", .global), ("172.16.0.0", .privateUse), ("172.31.255.255", .privateUse),
      ("172.32.0.0", .global), ("192.168.0.1", .privateUse), ("192.167.255.255", .global),
      ("192.169.0.0", .global), ("100.63.255.255", .global), ("100.64.0.0", .privateUse),
      ("100.127.255.255", .privateUse), ("100.128.0.0", .global), ("169.254.169.254", .linkLocal),
      ("169.253.255.255", .global), ("224.0.0.1", .multicast), ("239.255.255.255", .multicast),
      ("0.0.0.0", .unspecified), ("0.1.2.3", .reserved), ("240.0.0.1", .reserved),
      ("255.255.255.255", .reserved), ("192.0.0.8", .reserved), ("198.18.0.1", .reserved),
      ("198.20.0.1", .global), ("::1", .loopback), ("::", .unspecified), ("::2", .reserved),
      ("fe80::1", .linkLocal), ("febf::1", .linkLocal), ("fec0::1", .privateUse),
      ("fc00::1", .privateUse),
      ("fdff::1", .privateUse), ("fbff::1", .global), ("fe00::1", .global), ("ff02::1", .multicast),
      ("100::1", .reserved), ("2001:db8::1", .global), ("64:ff9b:1::1", .privateUse),
      ("::ffff:127.0.0.1", .loopback), ("::ffff:10.1.2.3", .privateUse),
      ("::ffff:169.254.169.254", .linkLocal), ("::ffff:0.0.0.0", .unspecified),
      ("::127.0.0.1", .loopback), ("64:ff9b::10.0.0.1", .privateUse), ("64:ff9b::8.8.8.8", .global),
      ("::ffff:8.8.8.8", .global),
    ])
  func judges(_ text: String, _ judgement: Judgement) throws {
    #expect(Judgement.of(try #require(IPAddress(text))) == [judgement])
  }
}

@Suite("IP networks")
struct IPNetworkTests {
  @Test(
    "an address is inside or outside",
    arguments: [
      ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false),
      ("10.1.2.3/8", "10.9.9.9", true), ("0.0.0.0/0", "203.0.113.9", true),
      ("0.0.0.0/0", "::1", false),
      ("::/0", "203.0.113.9", false), ("::/0", "2001:db8::1", true),
      ("192.0.2.1", "192.0.2.1", true),
      ("192.0.2.1", "192.0.2.2", false), ("192.0.2.128/25", "192.0.2.127", false),
      ("192.0.2.128/25", "192.0.2.129", true), ("2001:db8::/32", "2001:db8:ffff::1", true),
      ("2001:db8::/32", "2001:db9::", false), ("2001:db8::/65", "2001:db8::7fff:0:0:1", true),
      ("2001:db8::/65", "2001:db8::8000:0:0:1", false), ("::1", "::1", true),
      ("::1/127", "::", true),
      ("127.0.0.0/8", "::ffff:127.0.0.1", true), ("fe80::/10", "fe80::1%1", true),
    ])
  func contains(_ network: String, _ address: String, _ expected: Bool) throws {
    let network = try #require(IPNetwork(network))
    #expect(network.contains(try #require(IPAddress(address))) == expected)
  }

  @Test(
    "a network prints with the bits behind its prefix cleared",
    arguments: [
      ("10.1.2.3/8", "10.0.0.0/8"), ("192.0.2.1", "192.0.2.1/32"),
      ("2001:db8:1::/33", "2001:db8::/33"),
      ("::1", "::1/128"), ("1.2.3.4/0", "0.0.0.0/0"),
    ])
  func prints(_ text: String, _ canonical: String) throws {
    #expect(try #require(IPNetwork(text)).description == canonical)
  }

  @Test(
    "nonsense is refused",
    arguments: [
      "", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8/8",
      "10/8", "10.0.0.0/+8",
    ])
  func refuses(_ text: String) {
    #expect(IPNetwork(text) == nil)
  }
}

@Suite("Socket addresses")
struct SocketAddressTests {
  @Test(
    "an address with a port reads, prints and survives the kernel's form",
    arguments: [
      "127.0.0.1:3128", "[::1]:80", "0.0.0.0:0", "[fe80::1%1]:65535", "[2001:db8::1]:443",
    ])
  func roundTrip(_ text: String) throws {
    let address = try #require(SocketAddress(text))
    #expect(address.description == text)
    let back = address.withSockaddr { SocketAddress($0, length: $1) }
    #expect(back == address)
  }

  @Test(
    "what is not an address with a port is refused",
    arguments: [
      "", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:080", "127.0.0.1:+80",
      "127.0.0.1:-1", "::1:80",
      "[::1]", "[127.0.0.1]:80", "[::1:80", "::1]:80", "localhost:80", ":80", "127.0.0.1:8 0",
    ])
  func refuses(_ text: String) {
    #expect(SocketAddress(text) == nil)
  }
}
