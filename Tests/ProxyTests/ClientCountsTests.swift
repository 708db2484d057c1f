import Platform
import Testing

@testable import Proxy

@Suite struct ClientCountsTests {
  private func address(_ text: String) throws -> IPAddress {
    guard let address = IPAddress(text) else { throw Unusable() }
    return address
  }

  @Test(
    "an IPv6 network of 64 bits is one client, an IPv4 address another each",
    arguments: [
      ("2001:db8::1", "2001:db8::ffff:1", true),
      ("2001:db8::1", "2001:db8:0:1::1", false),
      ("192.0.2.1", "192.0.2.1", true),
      ("192.0.2.1", "192.0.2.2", false),
      ("192.0.2.1", "::ffff:192.0.2.1", true),
      ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
    ])
  func sameClient(first: String, second: String, isSame: Bool) throws {
    let counts = ClientCounts()
    #expect(counts.enter(try address(first), limit: 1))
    #expect(counts.enter(try address(second), limit: 1) == !isSame)
  }

  @Test("what is given back is free, and nobody is remembered who has nothing")
  func leaving() throws {
    let counts = ClientCounts()
    let client = try address("192.0.2.1")
    for _ in 0..<3 { #expect(counts.enter(client, limit: 3)) }
    #expect(!counts.enter(client, limit: 3))
    counts.keep(client)
    #expect(counts.clients == 1)
    for _ in 0..<4 { counts.leave(client) }
    #expect(counts.clients == 0)
    // Once too often does no harm.
    counts.leave(client)
    #expect(counts.enter(client, limit: 1))
  }
}
