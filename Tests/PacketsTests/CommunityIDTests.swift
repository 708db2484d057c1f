// Names of flows, against what other implementations compute.

import Platform
import Testing

@testable import Packets

@Suite("Community IDs")
struct CommunityIDTests {
  @Test(
    "a connection has the name that other tools give it, from both sides",
    arguments: [
      ("128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
      (
        "[2001:db8:0:1:2:3:4:5]:57600", "[2001:db8::9]:443", "1:2rVlv8XEl9WygpKn3L6jxuxWmiw="
      ),
    ])
  func known(one: String, other: String, id: String) throws {
    let one = try #require(SocketAddress(one))
    let other = try #require(SocketAddress(other))
    #expect(CommunityID.of(one, other) == id)
    #expect(CommunityID.of(other, one) == id)
    #expect(CommunityID.of(one, other, seed: 1) != id)
  }

  @Test("IPv4 inside IPv6 is the same host")
  func mapped() throws {
    let plain = try #require(SocketAddress("10.0.0.1:80"))
    let mapped = try #require(SocketAddress("[::ffff:10.0.0.1]:80"))
    let other = try #require(SocketAddress("10.0.0.2:81"))
    #expect(CommunityID.of(plain, other) == CommunityID.of(mapped, other))
    #expect(CommunityID.of(other, try #require(SocketAddress("[2001:db8::1]:1"))) == nil)
  }

  @Test(
    "SHA-1 is that of the standard",
    arguments: [
      ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
      ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
      ),
      (
        String(
          repeating: "0123456701234567012345670123456701234567012345670123456701234567", count: 10),
        "dea356a2cddd90c7a7ecedc5ebb563934f460452"
      ),
    ])
  func sha1(text: String, hex: String) {
    let digest = SHA1.digest(Array(text.utf8))
    #expect(digest.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() == hex)
  }
}
