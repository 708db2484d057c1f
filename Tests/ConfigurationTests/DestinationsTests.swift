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
      ("[2001:db8::1]", "2001:DB8::1", true), ("192.0.2.7", "::ffff:192.0.2.7", true),
      ("192.0.2.7", "64:ff9b::c000:207", true), ("::ffff:192.0.2.7", "192.0.2.7", true),
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

  @Test(
    "an IPv4 address inside an IPv6 one is judged as what it is",
    arguments: [
      ("::ffff:127.0.0.1", false), ("::127.0.0.1", false), ("64:ff9b::127.0.0.1", false),
      ("64:ff9b::8.8.8.8", true), ("::ffff:0:127.0.0.1", false), ("2002:7f00:1::", false),
      ("2002:a00:1::1", false), ("2002:808:808::1", true), ("2001:0:102:304::1", false),
      ("2001:0:808:808:0:0:f7f7:f7f7", false), ("fe80::5efe:10.0.0.1", false),
      ("2606:4700::200:5efe:10.0.0.1", false), ("64:ff9b:1::1", false),
      ("fd00::5efe:8.8.8.8", false), ("fe80::5efe:8.8.8.8", false), ("fec0::5efe:8.8.8.8", false),
      ("ff02::5efe:8.8.8.8", false), ("2606:4700::5efe:8.8.8.8", true),
    ])
  func embedded(text: String, allowed: Bool) throws {
    #expect(try Destinations().allows(address: #require(IPAddress(text))) == allowed)
  }

  @Test(
    "what is nobody's server on the Internet is refused",
    arguments: [
      "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1",
      "100.127.255.255", "169.254.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.0.0.8",
      "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1",
      "fe80::1", "fc00::1", "fdff::1", "fec0::1", "ff02::1", "100::1",
    ])
  func notPublic(text: String) throws {
    #expect(try !Destinations().allows(address: #require(IPAddress(text))))
  }

  @Test(
    "a network that is opened does not open the metadata service in it",
    arguments: [
      "169.254.169.254", "::ffff:169.254.169.254", "169.254.170.2", "100.100.100.200",
      "fd00:ec2::254", "168.63.129.16",
    ])
  func metadata(text: String) throws {
    let address = try #require(IPAddress(text))
    var destinations = Destinations()
    #expect(!destinations.allows(address: address))
    destinations.privateNetworks = try ["0.0.0.0/0", "::/0", "169.254.0.0/16"].map {
      try IPNetwork(reading: $0)
    }
    #expect(!destinations.allows(address: address))
    destinations.privateNetworks = [try IPNetwork(reading: "\(address.unwrapped)")]
    #expect(destinations.allows(address: address))
  }

  @Test(
    "hosts that are addresses, and names for this machine, are judged before they are resolved",
    arguments: [
      ("127.0.0.1", false), ("::1", false), ("10.8.0.1", true), ("10.9.0.1", false),
      ("localhost", false), ("LOCALHOST.", false), ("a.localhost", false),
      ("localhost.example.org", true), ("notlocalhost", true), ("example.org", true),
      ("8.8.8.8", true),
    ])
  func unresolved(host: String, allowed: Bool) throws {
    var destinations = Destinations()
    destinations.privateNetworks = [try IPNetwork(reading: "10.8.0.0/16")]
    #expect(destinations.allows(unresolved: host) == allowed)
    destinations.privateNetworks += IPNetwork.loopback
    #expect(destinations.allows(unresolved: "a.localhost."))
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
