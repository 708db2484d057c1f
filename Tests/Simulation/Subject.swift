// The proxy of a run as a process: it is started, ends in the ways a process can end, and is started again on what it
// left on the disk.

import Configuration
import IO
import Logging
import Platform
import Proxy

final class Subject {
  enum End: CaseIterable {
    /// Waits for those who are connected, for a while.
    case stop
    /// SIGKILL, in front of some call on a file: what was written is there.
    case kill
    /// The machine stops: what was not synced is lost in part.
    case powerCut
  }

  let world: World
  let path: String
  let log: String
  private(set) var server: Server?
  private weak var remembered: Server?
  private(set) var failure: String?
  /// Where clients find it, and behind the balancer.
  private(set) var addresses: [SocketAddress] = []
  private var rates: Rates

  init(_ world: World, path: String, log: String) {
    self.world = world
    self.path = path
    self.log = log
    rates = world.scenario.rates
  }

  private var machine: Machine { world.machine }

  // All of what follows is called on a thread of the machine.

  func start() {
    let faults = machine.faults
    machine.faults = Machine.Faults()
    defer { machine.faults = faults }
    do {
      let server = try Server.start(
        configuration(),
        logger: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() },
        lookup: Self.lookup(machine, world.scenario))
      self.server = server
      addresses = server.addresses
    } catch {
      failure = "the proxy did not start: \(error)"
    }
  }

  /// Has it read its configuration again, which has other rates now.
  func reload() {
    guard let server else { return }
    rates = machine.random.oneIn(3) ? Rates() : Rates(&machine.random)
    world.count("reloads")
    let kept = server.apply(configuration())
    if !kept.isEmpty { world.violation("a reload would take a restart for \(kept)") }
  }

  /// - Returns: when nobody holds anything of it any more.
  func stop() {
    guard let server else { return }
    self.server = nil
    server.stop()
    remembered = server
  }

  /// Ends it and starts it again.
  func restart(_ end: End) {
    guard server != nil else { return }
    world.count("restarts: \(end)")
    world.interruptionBegins()
    switch end {
    case .stop:
      let patience = machine.random.pick([0, 200, 30_000])
      drain(until: machine.now + Int64(patience) * 1_000_000)
    case .kill, .powerCut:
      machine.kill(afterCalls: machine.random.below(machine.random.oneIn(2) ? 5 : 100))
      let limit = machine.now + 300_000_000
      while !machine.isDead, machine.now < limit { machine.sleep(nanoseconds: 1_000_000) }
      machine.die()
    }
    let died = machine.now
    stop()
    // Threads that were told to end do.
    machine.sleep(nanoseconds: 1_000_000_000)
    machine.forgetProcess()
    if end == .powerCut, let lost = machine.disk?.cutPower(in: path, &machine.random) {
      if lost > 0 { world.count("power cuts that lost something") }
    }
    world.forget(after: end, at: died)
    start()
    world.interruptionEnds()
    if let failure { world.violation(failure) }
  }

  private func drain(until limit: Int64) {
    guard let server else { return }
    server.drain()
    while !server.isDrained, machine.now < limit { machine.sleep(nanoseconds: 1_000_000) }
  }

  private func stopAndCheck() {
    stop()
    // Threads that were told to end do.
    machine.sleep(nanoseconds: 1_000_000_000)
    if remembered != nil { world.violation("somebody holds the server") }
    if let leaks = machine.leaks { world.violation(leaks) }
  }

  /// The last time.
  func end() {
    guard server != nil else { return }
    drain(until: .max)
    checkGauges()
    stopAndCheck()
  }

  private func checkGauges() {
    guard let registry = server?.registry else { return }
    for (name, value) in [
      ("clients", registry.value(.connectionsOpen, .downstream)),
      ("connections to origins", registry.value(.connectionsOpen, .upstream)),
      ("fills", registry.value(.fillsRunning)), ("tunnels", registry.value(.tunnelsOpen)),
    ] where value != 0 {
      world.violation("\(value) \(name) after draining")
    }
  }

  // MARK: Configuration

  private func configuration() -> Configuration {
    let scenario = world.scenario
    var configuration = Configuration()
    configuration.listeners = [ListenerSettings(address: .loopback(port: 0))]
    if scenario.hasBalancer {
      configuration.listeners.append(
        ListenerSettings(address: .loopback(port: 0), proxyProtocol: .on))
    }
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
    rates.apply(to: &configuration)
    configuration.log.access = .file(log)
    configuration.resets.path = .none
    configuration.resets.sensors = .off
    configuration.resets.kernel = .off
    configuration.resets.captures = nil
    // Half of the runs heal what breaks.
    configuration.upstream.retries = scenario.resources % 2 == 0 ? 3 : 0
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
}
