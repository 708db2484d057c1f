// Who may be reached.

import Platform
import Testing

@testable import Configuration

@Suite("Destinations")
struct DestinationsTests {
  @Test(
    "patterns match whole labels, in any case",
    arguments: [
      ("*", "anything.example.org", true), ("example.org", "EXAMPLE.org", true),
      ("example.org", "example.org.", true), ("example.org", "a.example.org", false),
      ("*.example.org", "a.example.org", true), ("*.example.org", "a.b.example.org", true),
      ("*.example.org", "example.org", false), ("*.example.org", "badexample.org", false),
      ("*.example.org", ".example.org", false), ("::1", "0:0::1", true),
      ("[2001:db8::1]", "2001:DB8::1", true),
    ])
  func patterns(pattern: String, host: String, matches: Bool) throws {
    var destinations = Destinations()
    destinations.allow = [try HostPattern(reading: pattern)]
    #expect(destinations.allows(host: host) == matches)
  }

  @Test("deny wins over allow")
  func deny() throws {
    var destinations = Destinations()
    destinations.deny = [try HostPattern(reading: "*.example.org")]
    #expect(destinations.allows(host: "example.org"))
    #expect(!destinations.allows(host: "a.example.org"))
  }

  @Test(
    "a pattern that cannot be one is refused",
    arguments: [
      "a.*.org", "*example.org", "http://a/", "a/b", "a:80", "", "a..b", "-a", "a b", "*.",
    ])
  func wrongPatterns(text: String) {
    #expect(throws: Misreading.self) { try HostPattern(reading: text) }
  }

  @Test(
    "addresses that are not public are refused unless a network allows them",
    arguments: [
      ("93.184.215.14", true), ("2606:2800:21f:cb07::1", true), ("127.0.0.1", false),
      ("::1", false), ("10.1.2.3", false), ("10.8.2.3", true), ("169.254.169.254", false),
      ("::ffff:10.1.2.3", false), ("::ffff:10.8.2.3", true), ("fd00::1", false), ("0.0.0.0", false),
      ("224.0.0.1", false), ("100.64.0.1", false),
    ])
  func addresses(text: String, allowed: Bool) throws {
    var destinations = Destinations()
    destinations.privateNetworks = [try IPNetwork(reading: "10.8.0.0/16")]
    let address = try #require(IPAddress(text))
    #expect(destinations.allows(address: address) == allowed)
  }

  @Test("tunnels go to the listed ports only")
  func ports() throws {
    var destinations = Destinations()
    #expect(destinations.allows(connectPort: 443))
    #expect(!destinations.allows(connectPort: 22))
    destinations.connectPorts = [try PortRange(reading: "8000-8001")]
    #expect(destinations.allows(connectPort: 8001))
    #expect(!destinations.allows(connectPort: 443))
  }

  @Test(
    "a port is 1 to 65535", arguments: ["0", "65536", "-1", "1-", "-", "a", "5-4", "1-2-3", ""])
  func wrongPorts(text: String) {
    #expect(throws: Misreading.self) { try PortRange(reading: text) }
  }
}
