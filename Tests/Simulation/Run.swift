// One run: a whole proxy on a machine of its own, clients and origins around it, and what has to be true at the end.

import Configuration
import Glibc
import IO
import Logging
import Platform
import Proxy
import Telemetry

/// What a run found.
package struct RunReport: Sendable {
  package let seed: UInt64
  package let scenario: String
  /// Requests that were made.
  package let transactions: Int
  package let violations: [String]
  package let trace: UInt64
  package let virtualSeconds: Double
  package let tallies: [String: Int]
}

package enum Run {
  /// Runs the scenario that a seed stands for.
  /// - Parameter directory: an existing one, for the store; faster in memory.
  package static func perform(
    seed: UInt64, kind: Scenario.Kind? = nil, transactions: Int = 1000,
    hasSmallWindows: Bool = false, directory: String
  ) -> RunReport {
    let machine = Machine(seed: seed)
    machine.hasSmallWindows = hasSmallWindows
    let chosen = machine.random.pick(Scenario.Kind.allCases)
    let scenario = Scenario(kind: kind ?? chosen, transactions: transactions, &machine.random)
    let world = World(machine, scenario)
    ModelOrigin.serve(world)
    TunnelSide.serve(world)
    let path = directory + "/\(seed)"
    let log = path + ".log"
    defer {
      if getenv("HOLDFAST_KEEP") == nil {
        try? File.removeTree(path)
        try? File.unlink(log)
      }
    }
    let server = Holder()
    machine.begin("main") {
      do {
        server.server = try Server.start(
          configuration(scenario, path, log), logger: quiet, lookup: lookup(machine, scenario))
      } catch {
        world.violation("the proxy did not start: \(error)")
      }
    }
    _ = machine.run(atMost: 60) { server.server != nil || !world.violations.isEmpty }
    if let address = server.server?.addresses.first {
      setFaults(machine, scenario)
      let everybody = ModelClients(world, address)
      everybody.begin()
      let operations = Operator(world, everybody) { server.server }
      operations.begin()
      // Stuck is who is not done an hour after the last could have been.
      let before = machine.switches
      if !machine.run(
        atMost: Int64(transactions) * 10 + 3600, turns: 100_000 + transactions * 200,
        until: { everybody.isDone && operations.isDone })
      {
        world.violation(
          "\(everybody.open) clients are stuck after \(machine.switches - before) turns and"
            + " \(machine.now / 1_000_000_000) s")
      }
      end(machine, world, server)
      if let spinning = machine.spinning { world.violation("\(spinning)") }
      // A line that the disk did not take is lost, and nothing else is.
      if scenario.diskFaults == 0 { AccountCheck.check(everybody.accounts, log: log, world) }
    }
    return RunReport(
      seed: seed, scenario: "\(scenario)",
      transactions: world.tallies["answers", default: 0]
        + world.tallies["cuts", default: 0] + world.tallies["unanswered", default: 0],
      violations: world.violations, trace: machine.trace,
      virtualSeconds: Double(machine.now) / 1e9, tallies: world.tallies)
  }

  private final class Holder {
    var server: Server?
    weak var remembered: Server?
  }

  private static let quiet = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }

  private static func configuration(
    _ scenario: Scenario, _ path: String, _ log: String
  ) -> Configuration {
    var configuration = Configuration()
    configuration.listeners = [ListenerSettings(address: .loopback(port: 0))]
    configuration.admin = nil
    configuration.threads = .fixed(scenario.workers)
    configuration.store.path = path
    configuration.store.size = .mib(scenario.resources % 2 == 0 ? 16 : 64)
    configuration.store.memory = .mib(1)
    // The disk is real, and how full it is must not matter.
    configuration.store.keepFree = .fixed(ByteCount(0))
    let ten = [IPNetwork(IPAddress(v4: 0x0A00_0000), prefixLength: 8)].compactMap(\.self)
    configuration.clients = ten
    configuration.destinations.privateNetworks = ten
    configuration.upstream.connectTimeout = .seconds(3)
    configuration.upstream.readTimeout = .seconds(5)
    configuration.upstream.idleTimeout = .seconds(4)
    configuration.upstream.orphans.finishBelow = ByteCount(Int64(scenario.finishBelow))
    configuration.log.access = .file(log)
    return configuration
  }

  private static func lookup(_ machine: Machine, _ scenario: Scenario) -> Resolver.Lookup {
    { host in
      if machine.random.oneIn(4) {
        machine.sleep(nanoseconds: Int64(machine.random.below(200_000_000)))
      }
      if machine.random.chance(scenario.originFaults / 4) { return .failure(.temporary) }
      guard host.hasPrefix("o"), host.hasSuffix(".test"),
        let number = Int(host.dropFirst().dropLast(5))
      else { return .failure(.notFound) }
      return .success([ModelOrigin.address(of: number).ip])
    }
  }

  private static func setFaults(_ machine: Machine, _ scenario: Scenario) {
    machine.faults.disk = scenario.diskFaults
    machine.faults.descriptors = scenario.descriptorFaults
    machine.faults.cold = 30
  }

  // MARK: The end

  private static func end(_ machine: Machine, _ world: World, _ holder: Holder) {
    // What is still being fetched comes to its end.
    let settled = machine.run(atMost: 300, turns: 1_000_000) {
      holder.server.map {
        gauge($0, .fillsRunning) == 0 && $0.registry.value(.connectionsOpen, .downstream) == 0
      }
        ?? true
    }
    if !settled, let server = holder.server {
      world.violation(
        "when all was said, \(server.registry.value(.fillsRunning)) fills and"
          + " \(server.registry.value(.connectionsOpen, .downstream)) clients were left")
    }
    machine.faults = Machine.Faults()
    machine.begin("end") {
      guard let server = holder.server else { return }
      server.drain()
      while !server.isDrained { machine.sleep(nanoseconds: 1_000_000) }
      check(server, world)
      server.stop()
      holder.remembered = server
      holder.server = nil
    }
    if !machine.run(atMost: 600, turns: 1_000_000, until: { holder.server == nil }) {
      world.violation("the proxy does not end")
      return
    }
    // Threads that were told to end do.
    _ = machine.run(atMost: 600, turns: 1_000_000) { false }
    if machine.threads > 0 { world.violation("\(machine.threads) threads have not ended") }
    if holder.remembered != nil { world.violation("somebody holds the server") }
    if machine.openDescriptors > 0 {
      world.violation("\(machine.openDescriptors) descriptors were not closed")
    }
    if !machine.files.isEmpty { world.violation("\(machine.files.count) files were not closed") }
    if machine.objects != 0 { world.violation("\(machine.objects) objects of loops are left") }
  }

  private static func gauge(_ server: Server, _ scalar: Scalar) -> Int64 {
    server.registry.value(scalar)
  }

  private static func check(_ server: Server, _ world: World) {
    let registry = server.registry
    for (name, value) in [
      ("clients", registry.value(.connectionsOpen, .downstream)),
      ("connections to origins", registry.value(.connectionsOpen, .upstream)),
      ("fills", registry.value(.fillsRunning)), ("tunnels", registry.value(.tunnelsOpen)),
    ] where value != 0 {
      world.violation("\(value) \(name) after draining")
    }
  }
}

/// The access log against what the clients know.
enum AccountCheck {
  static func check(_ accounts: [ClientAccount], log: String, _ world: World) {
    var lines: [String: Int] = [:]
    for line in readLines(log) {
      let parts = line.split(separator: 32, maxSplits: 2)
      if parts.count == 3 { lines[String(decoding: parts[1], as: UTF8.self), default: 0] += 1 }
    }
    for account in accounts {
      let count = lines["\(account.address)"] ?? 0
      if account.isExact
        ? count != account.answered : !(account.answered...account.asked + 1).contains(count)
      {
        world.violation(
          "\(account.address): \(account.asked) requests, \(account.answered) answers,"
            + " \(count) lines in the access log")
      }
    }
  }

  private static func readLines(_ path: String) -> [ArraySlice<UInt8>] {
    guard let file = try? File.open(path), let status = try? File.status(file.rawValue) else {
      return []
    }
    let bytes = [UInt8](unsafeUninitializedCapacity: Int(status.size)) { buffer, count in
      count =
        (try? File.readFully(file.rawValue, into: UnsafeMutableRawBufferPointer(buffer), at: 0))
        ?? 0
    }
    return bytes.split(separator: 10)
  }
}
