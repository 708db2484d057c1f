// What `check` says of a configuration.

import ArgumentParser
import Configuration
import Foundation
import Testing

@testable import CLI

@Suite("holdfast check")
struct CheckCommandTests {
  func loaded(_ text: String) throws -> ConfigurationLoader.Loaded {
    try ConfigurationLoader.read(text: text, file: "a.yaml")
  }

  @Test("the defaults open the proxy to this machine only")
  func defaults() throws {
    let report = CheckReport.text(try loaded(""), file: nil, style: .plain)
    #expect(report.hasPrefix("the built-in configuration: no mistakes\n"))
    #expect(
      report.contains("clients connect to      http://127.0.0.1:3128  proxy, mirrors, tunnels"))
    #expect(report.contains("clients may come from   this machine only"))
    #expect(report.contains("private networks        refused"))
    #expect(!report.contains("\u{1B}"))
  }

  @Test("listeners, mirrors and networks are told in full")
  func full() throws {
    let text = """
      listen: [0.0.0.0:3128, { address: 127.0.0.1:80, origin: "http://app:8000" }]
      clients: [10.0.0.0/8, 127.0.0.1]
      destinations: { allow: ["*.example.org"], deny: [a.example.org], private: [10.8.0.0/16] }
      mirrors: { debian: http://deb.example.org/debian }
      """
    let report = CheckReport.text(try loaded(text), file: "a.yaml", style: .plain)
    for line in [
      "http://127.0.0.1:80  reverse proxy for http://app:8000/", "10.0.0.0/8\n",
      "127.0.0.1/32  (this machine)", "*.example.org\n", "but not a.example.org",
      "10.8.0.0/16; all others are refused",
      "clients have to show    nothing", "clients are served at   not limited",
      "own addresses and cloud metadata are refused always",
      "http://127.0.0.1:3128/debian/  from  http://deb.example.org/debian/",
    ] {
      #expect(report.contains(line), "\(line) in\n\(report)")
    }
  }

  @Test("rules are told in their order, and being offline is said")
  func rulesAndOffline() throws {
    let text = """
      rules:
        - { match: "/**/*.whl", class: immutable }
        - { match: "a.example.org/simple/**", fresh: 10m, negative: 30s }
      offline: true
      """
    let report = CheckReport.text(try loaded(text), file: "a.yaml", style: .plain)
    for line in [
      "/**/*.whl  class: immutable\n", "a.example.org/simple/**  fresh: 10m, negative: 30s\n",
      "left alone (offline: true)",
    ] {
      #expect(report.contains(line), "\(line) in\n\(report)")
    }
  }

  @Test("what clients have to show and how fast they are served is told")
  func access() throws {
    let text = """
      listen:
        - { address: 127.0.0.1:3128, proxy-protocol: [10.0.0.5] }
        - { address: 127.0.0.1:3130, proxy-protocol: true }
      auth: { file: /etc/holdfast/users }
      admin: { address: 127.0.0.1:3129, token-file: /etc/holdfast/token, hosts: [holdfast.example.org] }
      rate: { connection: 10MiB/s, client: 50MiB/s, total: 500MiB/s }
      upstream: { rate: 200MiB/s }
      """
    let report = CheckReport.text(try loaded(text), file: "a.yaml", style: .plain)
    for line in [
      "PROXY protocol from 10.0.0.5/32", "every connection names its client by PROXY protocol",
      "name and password of 0 users in /etc/holdfast/users", "for who shows the token",
      "10MiB/s for each connection", "50MiB/s for each client", "500MiB/s in all",
      "200MiB/s from origins",
    ] {
      #expect(report.contains(line), "\(line) in\n\(report)")
    }
  }

  @Test("warnings are counted and shown")
  func warnings() throws {
    let report = CheckReport.text(try loaded("clients: []"), file: "a.yaml", style: .plain)
    #expect(report.hasPrefix("a.yaml: can be used, with 1 warning\n"))
    #expect(report.contains("a.yaml:1:10: warning: clients: is empty"))
  }

  @Test("JSON has every key, and findings with their places")
  func json() throws {
    let loaded = try loaded("clients: []")
    let text = CheckReport.json(loaded.configuration, loaded.warnings)
    let object = try #require(
      try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    #expect(object["usable"] as? Bool == true)
    let values = try #require(object["configuration"] as? [String: String])
    #expect(Set(values.keys) == Set(Reference.settings.map(\.key)))
    let findings = try #require(object["findings"] as? [[String: Any]])
    #expect(findings.first?["line"] as? Int == 1)
    #expect(findings.first?["severity"] as? String == "warning")
  }

  @Test("every option of serve reaches its key")
  func options() throws {
    let parsed = try Holdfast.parseAsRoot([
      "serve", "--listen", "127.0.0.1:1", "--listen", "127.0.0.1:2", "--admin", "none", "--store",
      "/s", "--store-size", "1GiB", "--client", "10.0.0.0/8", "--allow-private", "10.0.0.0/8",
      "--mirror", "a=http://a.example.org/", "--threads", "3", "--log-format", "json",
      "--access-log", "none", "--log-level", "debug",
    ])
    let serve = try #require(parsed as? ServeCommand)
    let configuration = try serve.options.load().configuration
    #expect(configuration.listeners.map(\.address.port) == [1, 2])
    #expect(configuration.admin == nil)
    #expect(configuration.store.path == "/s")
    #expect(configuration.store.size == .gib(1))
    #expect(configuration.clients.count == 3)
    #expect(configuration.destinations.privateNetworks.map(\.description) == ["10.0.0.0/8"])
    #expect(configuration.mirrors.all.map(\.name) == ["a"])
    #expect(configuration.threads == .fixed(3))
    #expect(configuration.log.format == .json)
    #expect(configuration.log.access == .none)
    #expect(configuration.log.level == .debug)
  }
}
