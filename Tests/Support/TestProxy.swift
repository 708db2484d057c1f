// A whole proxy in this process, on a port and in a store of its own.
//
// Names that end in `.test` lead to 127.0.0.1, others nowhere, unless the test says otherwise; no name
// server is asked. Loopback addresses may be reached, as `destinations.private` would allow.

import Configuration
import Glibc
import IO
import Logging
import Platform
import Proxy
import Storage
import Telemetry

package final class TestProxy: @unchecked Sendable {
  package typealias Lookup = Resolver.Lookup

  package let script: Script
  package private(set) var server: Server
  package private(set) var configuration: Configuration
  /// What it has logged of some weight.
  package let warnings = Warnings()
  private let lookup: Lookup
  private let directory: String
  private var clients: [WireClient] = []
  private var reloads = 0

  /// Configured for tests: a port of the kernel's choice, no log, one worker, long time-outs.
  package static func configuration() -> Configuration {
    var configuration = Configuration()
    configuration.listeners = [ListenerSettings(address: .loopback(port: 0))]
    configuration.admin = nil
    configuration.threads = .fixed(1)
    configuration.store.size = .mib(256)
    configuration.store.memory = .mib(8)
    // How full the disk of this machine is, is nobody's business here.
    configuration.store.keepFree = .fixed(ByteCount(0))
    configuration.destinations.privateNetworks = IPNetwork.loopback
    configuration.destinations.connectPorts = [PortRange(1...65535)]
    configuration.log.access = .none
    configuration.resets.path = .none
    configuration.resets.sensors = .off
    configuration.resets.kernel = .off
    configuration.resets.captures = nil
    // What an origin does is what a client sees, unless a test is about healing.
    configuration.upstream.retries = 0
    return configuration
  }

  package static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  package static let testNames: Lookup = { host in
    host.hasSuffix(".test") ? .success([.loopbackV4]) : .failure(.notFound)
  }

  /// - Parameter inMemory: the store lies in memory if there is enough: for tests with many proxies, each of which
  ///   waits for the disk as it ends.
  package init(
    _ script: Script, _ configuration: Configuration = TestProxy.configuration(),
    lookup: @escaping Lookup = TestProxy.testNames, inMemory: Bool = false
  ) throws {
    self.script = script
    self.lookup = lookup
    let memory = (try? File.space(at: "/dev/shm").available) ?? 0
    directory = try File.makeTemporaryDirectory(
      prefix: "holdfast-wire-", in: inMemory && memory > 1 << 30 ? "/dev/shm" : "/tmp")
    var configuration = configuration
    configuration.store.path = directory + "/store"
    self.configuration = configuration
    do {
      server = try Server.start(configuration, logger: warnings.logger, lookup: lookup)
    } catch {
      try? File.removeTree(directory)
      throw error
    }
  }

  deinit {
    server.stop()
    try? File.removeTree(directory)
  }

  /// A directory that goes with the proxy.
  package var scratchDirectory: String { directory }

  package var address: SocketAddress { server.addresses[0] }

  /// A new client, at the listener with this number.
  package func connect(
    listener: Int = 0, file: String = #fileID, line: UInt = #line
  ) throws -> WireClient {
    let client = try WireClient(
      script, to: server.addresses[listener], name: "client \(clients.count + 1)", file: file,
      line: line)
    clients.append(client)
    return client
  }

  /// Cuts what is open, ends the process as far as a process can be ended here, and starts anew on the
  /// same store.
  /// - Parameter meanwhile: what happens to the store while nothing runs on it.
  package func restart(_ meanwhile: () throws -> Void = {}) throws {
    server.stop()
    try meanwhile()
    server = try Server.start(configuration, logger: warnings.logger, lookup: lookup)
    server.store.waitUntilRecovered()
  }

  /// Changes the configuration while the proxy runs, as SIGHUP does.
  @discardableResult
  package func reload(_ change: (inout Configuration) -> Void) -> [String] {
    change(&configuration)
    return server.apply(configuration)
  }

  /// The same, and waits until every worker goes by it. (With one worker; who has more asks more often.)
  package func reloadAndWait(
    file: String = #fileID, line: UInt = #line, _ change: (inout Configuration) -> Void
  ) throws {
    reloads += 1
    let name = "reload-\(reloads)"
    let url = try OriginURL(reading: "http://reload.test/")
    reload {
      change(&$0)
      $0.mirrors.set(Mirror(name: name, url: url))
    }
    // A path that climbs is 400 below a mirror and 404 elsewhere.
    let client = try connect(file: file, line: line)
    try script.wait("the proxy", for: "the new settings", .here(file, line)) {
      (try? client.get("/\(name)/../x").expectAnyResponse().status) == 400
    }
    client.close()
  }

  #if DEBUG
    /// Moves the wall clock of the proxy by whole days, and waits until it goes by it. (With one worker.)
    package func stepClock(days: Int, file: String = #fileID, line: UInt = #line) throws {
      let client = try connect(file: file, line: line)
      func day() throws -> String {
        String(try client.get("/../").expectAnyResponse()["Date"]?.prefix(16) ?? "")
      }
      let before = try day()
      server.stepClock(by: days * 86_400)
      try script.wait("the proxy", for: "another day", .here(file, line)) {
        (try? day()) != before
      }
      client.close()
    }
  #endif

  // MARK: Meeting points

  package var registry: MetricRegistry { server.registry }

  /// Waits until something holds that the proxy counts.
  package func expect(
    _ what: String, file: String = #fileID, line: UInt = #line,
    _ condition: (MetricRegistry) -> Bool
  ) throws {
    try script.wait("the proxy", for: what, .here(file, line)) { condition(registry) }
  }

  /// Sends the pieces one after the other, each once the proxy has read the one before. Nothing else may
  /// be under way on that side of the proxy.
  package func send(
    _ pieces: [[UInt8]], from peer: WirePeer, file: String = #fileID, line: UInt = #line
  ) throws {
    let counter: Scalar = peer is WireClient ? .downstreamReceived : .upstreamReceived
    for piece in pieces where !piece.isEmpty {
      let before = registry.value(counter)
      try peer.send(piece, file: file, line: line)
      try expect("\(piece.count) more bytes to be read", file: file, line: line) {
        $0.value(counter) >= before + Int64(piece.count)
      }
    }
  }

  /// Waits until everything fetched so far is in the store. A client may have the last byte of an answer a
  /// moment before.
  package func expectStored(file: String = #fileID, line: UInt = #line) throws {
    try expect("running fills to end", file: file, line: line) { $0.value(.fillsRunning) == 0 }
  }

  /// Waits until nothing waits for a disk thread any more, and the log has what was saved.
  package func settleDisk() {
    server.settleDisk()
    server.store.flush()
  }

  /// Waits until no client is connected, nothing is being fetched and no tunnel is open.
  package func expectQuiet(file: String = #fileID, line: UInt = #line) throws {
    for client in clients { client.close() }
    clients = []
    try expect("all to have ended: \(counts)", file: file, line: line) {
      $0.value(.connectionsOpen, .downstream) == 0 && $0.value(.fillsRunning) == 0
        && $0.value(.tunnelsOpen) == 0 && server.upstreamCounts == (0, 0) && server.orphanCount == 0
    }
  }

  private var counts: String {
    "\(registry.value(.connectionsOpen, .downstream)) clients,"
      + " \(registry.value(.connectionsOpen, .upstream)) connections to origins,"
      + " \(registry.value(.fillsRunning)) fills, \(registry.value(.tunnelsOpen)) tunnels"
  }

  /// Waits until no connection to an origin is open either. The origins have to be closed.
  package func expectNoOrigins(file: String = #fileID, line: UInt = #line) throws {
    try expect("connections to origins to end: \(counts)", file: file, line: line) {
      $0.value(.connectionsOpen, .upstream) == 0
    }
  }
}
