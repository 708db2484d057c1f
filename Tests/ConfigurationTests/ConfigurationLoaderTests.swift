// Whole files in, configurations or findings out.

import Platform
import Testing

@testable import Configuration

/// Everything that is said about `text`.
func findings(_ text: String, overrides: [Override] = []) -> [String] {
  do throws(Diagnostics) {
    let loaded = try ConfigurationLoader.read(text: text, file: "a.yaml", overrides: overrides)
    return loaded.warnings.all.map(shown)
  } catch {
    return error.all.map(shown)
  }
}

private func shown(_ diagnostic: Diagnostic) -> String {
  let place =
    switch diagnostic.place {
    case .file(let line, let column): "\(line):\(column)"
    case .option(let option): option
    case .whole: "-"
    }
  return "\(place) \(diagnostic.key): \(diagnostic.message)"
}

@Suite("Reading a configuration")
struct ConfigurationLoaderTests {
  @Test(
    "nothing at all means the defaults", arguments: ["", "# only a comment\n", "---\n", "store:\n"])
  func defaults(text: String) throws {
    let loaded = try ConfigurationLoader.read(text: text, file: nil)
    #expect(loaded.configuration == Configuration())
    #expect(loaded.warnings.all.isEmpty)
  }

  @Test("every key of a full file arrives where it belongs")
  func full() throws {
    let text = """
      listen:
        - address: 127.0.0.1:3128
        - { address: "[::1]:8080", origin: "http://127.0.0.1:8000" }
        - 127.0.0.1:9090
      admin: none
      threads: 2
      store: { path: /srv/cache, size: 50GiB, memory: 256MiB }
      clients: [127.0.0.0/8, "::1", 10.0.0.0/8]
      destinations: { allow: ["*"], deny: [Tracker.Example.org.], private: [10.8.0.0/16], connect-ports: [443, 8000-8999] }
      mirrors:
        debian: { url: "http://DEB.example.org:80/debian" }
        py: http://index.example.org/simple/
      upstream: { connect-timeout: 5s, read-timeout: 1m, idle-timeout: 10s, max-idle: 4 }
      limits:
        request-line: 8KiB
        head: 32KiB
        fields: 64
        content: none
        header-timeout: 10s
        content-timeout: 20s
        idle-timeout: 5m
        write-timeout: 40s
        tunnel-timeout: 1h
        connections: 100
        drain-timeout: 0s
      log: { format: json, access: /var/log/access.log, level: debug }
      """
    let configuration = try ConfigurationLoader.read(text: text, file: "a.yaml").configuration
    var expected = Configuration()
    let loopback6 = try #require(SocketAddress("[::1]:8080"))
    expected.listeners = [
      ListenerSettings(address: .loopback(port: 3128)),
      ListenerSettings(
        address: loopback6, origin: try OriginURL(reading: "http://127.0.0.1:8000/")),
      ListenerSettings(address: .loopback(port: 9090)),
    ]
    expected.admin = nil
    expected.threads = .fixed(2)
    expected.store.path = "/srv/cache"
    expected.store.size = .gib(50)
    expected.store.memory = .mib(256)
    expected.clients = IPNetwork.loopback + [try IPNetwork(reading: "10.0.0.0/8")]
    expected.destinations.deny = [.exact("tracker.example.org")]
    expected.destinations.privateNetworks = [try IPNetwork(reading: "10.8.0.0/16")]
    expected.destinations.connectPorts = [PortRange(443...443), PortRange(8000...8999)]
    expected.mirrors = Mirrors([
      Mirror(name: "debian", url: try OriginURL(reading: "http://deb.example.org/debian/")),
      Mirror(name: "py", url: try OriginURL(reading: "http://index.example.org/simple/")),
    ])
    expected.upstream.connectTimeout = .seconds(5)
    expected.upstream.readTimeout = .seconds(60)
    expected.upstream.idleTimeout = .seconds(10)
    expected.upstream.maxIdle = 4
    expected.limits.requestLine = .kib(8)
    expected.limits.head = .kib(32)
    expected.limits.fields = 64
    expected.limits.content = nil
    expected.limits.headerTimeout = .seconds(10)
    expected.limits.contentTimeout = .seconds(20)
    expected.limits.idleTimeout = .seconds(300)
    expected.limits.writeTimeout = .seconds(40)
    expected.limits.tunnelTimeout = .seconds(3600)
    expected.limits.connections = 100
    expected.limits.drainTimeout = .zero
    expected.log.format = .json
    expected.log.access = .file("/var/log/access.log")
    expected.log.level = .debug
    #expect(configuration == expected)
  }

  @Test(
    "each mistake is found at its line and column, with what would be right",
    arguments: [
      ("stor: { size: 1GiB }", "1:1 stor: is not known at the top level; did you mean store?"),
      ("store:\n  siez: 1GiB", "2:3 store.siez: is not known in store; did you mean size?"),
      ("size: 1GiB", "1:1 size: is not known at the top level; did you mean store.size?"),
      (
        "log:\n  colour: yes",
        "2:3 log.colour: is not known in log; the keys here are access, format, level"
      ),
      (
        "store:\n  size: 50 gigs",
        "2:9 store.size: \"50 gigs\" has a space before its unit; write 50gigs"
      ),
      ("store:\n  size: 1MiB", "2:9 store.size: 1MiB is too small; write 16MiB or more"),
      (
        "threads: 0",
        "1:10 threads: \"0\" is not a number of threads; write 1 to 1024, or auto for one per core"
      ),
      (
        "threads: [2]", "1:10 threads: a list stands where a whole number or auto is needed, like 2"
      ),
      (
        "threads:",
        "1:9 threads: has no value; write a whole number or auto, like 2, or leave the line out"
      ),
      (
        "store: big",
        "1:8 store: \"big\" is not a section; write its keys below it, each on a line of its own"
      ),
      ("clients: 10.0.0.0/8", "1:10 clients: \"10.0.0.0/8\" is not a list; write [10.0.0.0/8]"),
      ("clients:", "1:9 clients: has no value; an empty list is written []"),
      (
        "clients: [10.0.0.1/8]",
        "1:11 clients[0]: \"10.0.0.1/8\" has bits set behind its prefix; write 10.0.0.0/8"
      ),
      (
        "clients: [ten]",
        "1:11 clients[0]: \"ten\" is not a network; write one like 10.0.0.0/8, fd00::/8 or 192.0.2.7"
      ),
      (
        "admin: 3129",
        "1:8 admin: \"3129\" has no address; write 127.0.0.1:3129 for this machine only, or 0.0.0.0:3129 for all"
      ),
      (
        "admin: 127.0.0.1",
        "1:8 admin: \"127.0.0.1\" has no port; write 127.0.0.1:3128, for example"
      ),
      (
        "admin: localhost:3129",
        "1:8 admin: \"localhost:3129\" is a name; write the address: 127.0.0.1:3129"
      ),
      (
        "listen:\n  - origin: http://a.example.org",
        "2:5 listen[0]: has no address; write address: 127.0.0.1:3128"
      ),
      (
        "listen:\n  - { adress: 127.0.0.1:1 }",
        "2:7 listen[0].adress: is not known in listen[0]; did you mean address?"
      ),
      (
        "mirrors: { a.b: { url: http://x/ } }",
        "1:12 mirrors: \"a.b\" cannot name a mirror: with a dot or a colon it would be taken for a host; use a word like a"
      ),
      (
        "mirrors: { https: http://x/ }",
        "1:12 mirrors: \"https\" cannot name a mirror: it is the name of a scheme or of this program"
      ),
      (
        "mirrors:\n  debian: {}",
        "2:11 mirrors.debian: has no url; write url: http://deb.example.org/debian/"
      ),
      (
        "mirrors:\n  debian: { url: deb.example.org }",
        "2:18 mirrors.debian.url: \"deb.example.org\" is not a URL; write one like http://deb.example.org/debian/"
      ),
      (
        "upstream: { unverified-hosts: [\"*\"] }",
        "1:31 upstream.unverified-hosts: * would trust every host blindly; name the hosts, or have upstream.ca name their authority"
      ),
      ("log: { format: jsn }", "1:16 log.format: \"jsn\" is not known; did you mean json?"),
      ("log: { access: stdot }", "1:16 log.access: \"stdot\" is not known; did you mean stdout?"),
      (
        "log: { access: requests.log }",
        "1:16 log.access: \"requests.log\" is not known; write stdout, stderr, none, or a file with its directory: ./requests.log"
      ),
      (
        "upstream: { max-idle: many }",
        "1:23 upstream.max-idle: \"many\" is not a whole number; write digits only, like 3"
      ),
      (
        "destinations: { allow: [http://a/] }",
        "1:25 destinations.allow[0]: \"http://a/\" is a URL; write only its host, like registry.example.org"
      ),
      (
        "destinations: { connect-ports: [99-1] }",
        "1:33 destinations.connect-ports[0]: \"99-1\" begins after its end; write 1-99"
      ),
      (
        "- a\n- b",
        "1:1 : a list is not a section; write its keys below it, each on a line of its own"
      ),
    ])
  func mistakes(text: String, finding: String) {
    #expect(findings(text) == [finding])
  }

  @Test("all mistakes of a file are reported at once, in its order")
  func several() {
    let text = """
      threads: none
      log: { level: loud }
      store:
        size: 5
        path: /x
      listne: []
      """
    #expect(
      findings(text).map { $0.split(separator: " ").first ?? "" } == ["1:10", "2:15", "4:9", "6:1"])
  }

  @Test("a key written twice is refused at its second place")
  func duplicate() {
    let text = "threads: 1\nstore:\n  size: 1GiB\n  size: 2GiB\n"
    #expect(findings(text) == ["4:3 size: is written twice in the same section; keep one of them"])
  }

  @Test(
    "what is no YAML is reported at its place",
    arguments: [
      ("a: [1", "is not YAML"), ("store:\n\tsize: 1GiB", "tab"), ("a: b: c", "is not YAML"),
    ])
  func notYAML(text: String, message: String) {
    let found = findings(text)
    #expect(found.count == 1)
    #expect(found.first?.contains(message) == true, "\(found)")
  }

  @Test("options win over the file and are named in their own mistakes")
  func overrides() throws {
    let overrides = [
      Override(option: "--threads", key: "threads", values: ["3"]),
      Override(option: "--listen", key: "listen", values: ["127.0.0.1:1", "127.0.0.1:2"]),
      Override(
        option: "--mirror", key: "mirrors",
        values: ["a=http://new.example.org/", "b=http://b.example.org"]),
    ]
    let loaded = try ConfigurationLoader.read(
      text: "threads: 1\nmirrors: { a: http://old.example.org/, c: http://c.example.org/ }",
      file: "a.yaml", overrides: overrides)
    #expect(loaded.configuration.threads == .fixed(3))
    #expect(loaded.configuration.listeners.map(\.address.port) == [1, 2])
    #expect(loaded.configuration.mirrors.all.map(\.name) == ["a", "c", "b"])
    #expect(loaded.configuration.mirrors["a"]?.url.host == "new.example.org")

    #expect(
      findings("", overrides: [Override(option: "--threads", key: "threads", values: ["x"])])
        == [
          "--threads threads: \"x\" is not a number of threads; write 1 to 1024, or auto for one per core"
        ])
    #expect(
      findings("", overrides: [Override(option: "--mirror", key: "mirrors", values: ["debian"])])
        == [
          "--mirror : \"debian\" is not a mirror; write NAME=URL, like debian=http://deb.example.org/debian/"
        ])
  }

  @Test("relative paths in the file count from its directory")
  func relativePaths() throws {
    let loaded = try ConfigurationLoader.read(
      text: "store: { path: cache }\nlog: { access: ../log/access.log }", file: "a.yaml",
      directory: "/srv/holdfast")
    #expect(loaded.configuration.store.path == "/srv/holdfast/cache")
    #expect(loaded.configuration.log.access == .file("/srv/log/access.log"))
  }

  @Test("a file that is not there is named with the reason")
  func missingFile() {
    #expect { try ConfigurationLoader.load(file: "no/such/file.yaml") } throws: { error in
      (error as? Diagnostics)?.description
        == "no/such/file.yaml: error: cannot be read: No such file or directory"
    }
  }

  @Test("a finding shows the line and points at the column")
  func excerpt() {
    #expect {
      try ConfigurationLoader.read(text: "store:\n  size: much\n", file: "a.yaml")
    } throws: {
      ($0 as? Diagnostics)?.description == """
        a.yaml:2:9: error: store.size: "much" is not a size; write a number and a unit, like 50GiB
            2 |   size: much
              |         ^
        """
    }
  }
}
