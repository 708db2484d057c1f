// The buckets that connections share.

import Configuration
import Platform
import Testing

@testable import Proxy

@Suite struct RateLimitsTests {
  private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

  @Test(
    "a client is an IPv4 address, in any clothes, or an IPv6 network of 64 bits",
    arguments: [
      ("192.0.2.1", "::ffff:192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
      ("2001:db8::1", "2001:db8::2", true), ("2001:db8::1", "2001:db8:0:1::1", false),
      ("fe80::1", "fe80::2", true), ("2001:db8::5efe:192.0.2.1", "2001:db8::5efe:192.0.2.2", true),
      ("2001:db8::5efe:192.0.2.1", "192.0.2.1", false),
    ])
  func clients(left: String, right: String, same: Bool) throws {
    #expect((RateLimits.key(try address(left)) == RateLimits.key(try address(right))) == same)
  }

  @Test("connections of one client share a bucket, and it goes with the last of them")
  func sharing() throws {
    let limits = RateLimits()
    var settings = RateSettings()
    settings.client = .perSecond(.mib(1))
    limits.apply(settings, upstream: nil)
    let client = try address("192.0.2.1")
    let first = limits.join(client)
    let second = limits.join(client)
    #expect(first.count == 1 && first[0] === second[0])
    #expect(limits.join(try address("192.0.2.2"))[0] !== first[0])
    limits.leave(client)
    #expect(limits.clientCount == 2)
    limits.leave(client)
    limits.leave(client)
    #expect(limits.clientCount == 1)
    // Another rate holds for those that are there.
    settings.client = .perSecond(.mib(2))
    settings.total = .perSecond(.mib(3))
    limits.apply(settings, upstream: .perSecond(.mib(4)))
    let third = limits.join(try address("192.0.2.2"))
    #expect(third.map(\.rate) == [2 << 20, 3 << 20])
    #expect(limits.upstream?.rate == 4 << 20)
    limits.apply(RateSettings(), upstream: nil)
    #expect(limits.join(client).isEmpty && limits.upstream == nil)
  }
}
