// Where connections may go, and what is remembered of it for hits.

import Configuration
import Platform
import Testing

@testable import Proxy

@Suite struct DestinationGuardTests {
  private func permitted(
    _ addresses: [String], isConfigured: Bool = false, listening: [SocketAddress] = []
  ) throws -> Result<[String], ProxyError> {
    var destinations = Destinations()
    destinations.privateNetworks = [try #require(IPNetwork("127.0.0.0/8"))]
    let own = OwnAddresses()
    own.add(listening)
    do throws(ProxyError) {
      let found = try DestinationGuard.permitted(
        addresses.compactMap { IPAddress($0) }, of: "a.example.org", port: 80,
        isConfigured: isConfigured, by: destinations, own: own)
      return .success(found.map(\.description))
    } catch {
      return .failure(error)
    }
  }

  @Test("of the addresses of a host those are tried that are allowed, in their order")
  func filter() throws {
    #expect(
      try permitted(["10.0.0.1", "192.0.2.9", "::1", "127.0.0.1"]).get()
        == ["192.0.2.9:80", "127.0.0.1:80"])
    #expect(try permitted(["10.0.0.1"], isConfigured: true).get() == ["10.0.0.1:80"])
  }

  @Test("with no address allowed, or only our own, the request is refused and says which")
  func refusals() throws {
    let here = SocketAddress(.loopbackV4, port: 80)
    for (addresses, isConfigured, type) in [
      (["10.0.0.1"], false, "destination_ip_prohibited"),
      (["127.0.0.1"], false, "proxy_loop_detected"), (["127.0.0.1"], true, "proxy_loop_detected"),
      (["10.0.0.1", "0.0.0.0"], true, "none"),
    ] {
      let outcome = try permitted(addresses, isConfigured: isConfigured, listening: [here])
      switch outcome {
      case .success(let found): #expect(type == "none" && found == ["10.0.0.1:80"])
      case .failure(let error): #expect(error.type.rawValue == type)
      }
    }
  }

  @Test(
    "a hit for a host that is an address follows the rules, whatever was let through before",
    arguments: [
      ("http://example.org/", true), ("http://10.8.0.1/a", true), ("http://10.8.0.1:8080/a", true),
      ("http://10.8.0.12/a", false), ("http://10.9.0.1/a", false), ("http://3.example.org/", true),
      ("http://[::1]/", false), ("http://[fd00::1]:80/", true), ("http://[fd00::1", false),
      ("https://10.8.0.1/", true), ("https://10.9.0.1/", false), ("http://10.8.0.1?q", true),
      ("http://8.8.8.8/", true), ("http://", false),
    ])
  func hosts(key: String, expected: Bool) throws {
    var destinations = Destinations()
    destinations.privateNetworks = try ["10.8.0.1/32", "fd00::/8"].map {
      try #require(IPNetwork($0))
    }
    let hosts = AddressHosts()
    for before in ["http://10.8.0.1/x", "http://[fd00::1]/", key, key] {
      _ = Array(before.utf8).withUnsafeBytes { hosts.permits($0, by: destinations) }
    }
    let permits = Array(key.utf8).withUnsafeBytes { hosts.permits($0, by: destinations) }
    #expect(permits == expected)
  }
}
