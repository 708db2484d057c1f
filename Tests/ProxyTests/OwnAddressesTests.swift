// Which targets lead back here.

import Platform
import Testing

@testable import Proxy

@Suite struct OwnAddressesTests {
  @Test(
    "a target leads back if it is where we listen, in any spelling",
    arguments: [
      ("127.0.0.1", ["127.0.0.1"], true), ("127.0.0.2", ["127.0.0.1"], false),
      ("0.0.0.0", ["127.0.0.1"], true), ("::", ["127.0.0.1"], true), ("::", ["::1"], true),
      ("::ffff:127.0.0.1", ["127.0.0.1"], true), ("::1", ["127.0.0.1"], false),
      ("127.9.9.9", ["0.0.0.0"], true), ("192.0.2.1", ["0.0.0.0"], true),
      ("::ffff:192.0.2.1", ["0.0.0.0"], true), ("192.0.2.2", ["0.0.0.0"], false),
      ("2001:db8::1", ["0.0.0.0"], false), ("2001:db8::1", ["::"], true),
      ("192.0.2.1", ["::"], false), ("fe80::1", ["::"], true), ("fe80::2", ["::"], false),
      ("192.0.2.1", ["127.0.0.1", "192.0.2.1"], true), ("0.0.0.0", ["192.0.2.1"], false),
      ("192.0.2.1", [], false),
    ])
  func leads(target: String, listening: [String], expected: Bool) throws {
    let machine = try ["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1", "fe80::1"].map {
      try #require(IPAddress($0))
    }
    let leads = OwnAddresses.leads(
      try #require(IPAddress(target)), to: try listening.map { try #require(IPAddress($0)) }
    ) { machine }
    #expect(leads == expected)
  }

  @Test("only the ports that are listened on matter")
  func ports() {
    let own = OwnAddresses()
    own.add([SocketAddress(.anyV4, port: 3128)])
    #expect(own.contains(SocketAddress(.loopbackV4, port: 3128)))
    #expect(!own.contains(SocketAddress(.loopbackV4, port: 3127)))
  }

  @Test("the interfaces tell their addresses")
  func interfaces() {
    #expect(IPAddress.ofInterfaces().contains(.loopbackV4))
  }
}
