// One run: a whole proxy on a machine of its own, clients and origins around it, and what has to be true at the end.

import Glibc
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
    if scenario.restartEvery != nil { machine.disk = DiskJournal() }
    let subject = Subject(world, path: path, log: log)
    machine.begin("main") { subject.start() }
    _ = machine.run(atMost: 60) { subject.server != nil || subject.failure != nil }
    if let failure = subject.failure { world.violation(failure) }
    if subject.server != nil {
      setFaults(machine, scenario)
      let everybody = ModelClients(world, subject)
      everybody.begin()
      let operations = Operator(world, everybody, subject)
      operations.begin()
      // Stuck is who is not done an hour after the last could have been.
      let before = machine.switches
      if !machine.run(
        atMost: Int64(transactions) * 10 + 3600, turns: 100_000 + transactions * 200,
        until: { everybody.isDone && operations.isDone })
      {
        world.violation(
          "\(everybody.open) clients are stuck after \(machine.switches - before) turns and"
            + " \(machine.now / 1_000_000_000) s; the operator \(operations.isDone ? "is not" : "is too")"
        )
      }
      end(machine, world, subject)
      if let spinning = machine.spinning { world.violation(spinning) }
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

  private static func setFaults(_ machine: Machine, _ scenario: Scenario) {
    machine.faults.disk = scenario.diskFaults
    machine.faults.descriptors = scenario.descriptorFaults
    machine.faults.cold = 30
  }

  // MARK: The end

  private static func end(_ machine: Machine, _ world: World, _ subject: Subject) {
    // What is still being fetched comes to its end.
    let settled = machine.run(atMost: 300, turns: 1_000_000) {
      subject.server.map {
        $0.registry.value(.fillsRunning) == 0
          && $0.registry.value(.connectionsOpen, .downstream) == 0
      } ?? true
    }
    if !settled, let server = subject.server {
      world.violation(
        "when all was said, \(server.registry.value(.fillsRunning)) fills and"
          + " \(server.registry.value(.connectionsOpen, .downstream)) clients were left")
    }
    machine.faults = Machine.Faults()
    var hasEnded = false
    machine.begin("end") {
      subject.end()
      hasEnded = true
    }
    if !machine.run(atMost: 600, turns: 1_000_000, until: { hasEnded }) {
      world.violation("the proxy does not end")
      return
    }
    _ = machine.run(atMost: 600, turns: 1_000_000) { false }
    if machine.threads > 0 { world.violation("\(machine.threads) threads have not ended") }
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
        ? count != account.answered
        : !((account.mayLoseLines ? 0 : account.answered)...account.asked + 1).contains(count)
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
