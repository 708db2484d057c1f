// Who looks after the proxy while clients use it: purges, reloads, starts it again, on a thread of its own, as the admin
// listener would do it.

import Platform
import Proxy

final class Operator {
  private let world: World
  private let clients: ModelClients
  private let subject: Subject
  /// One thing at a time.
  private var isBusy = false

  init(_ world: World, _ clients: ModelClients, _ subject: Subject) {
    self.world = world
    self.clients = clients
    self.subject = subject
  }

  private var machine: Machine { world.machine }

  /// Nothing of its is going on.
  var isDone: Bool { !isBusy }

  func begin() {
    if let seconds = world.scenario.purgeEvery { again(every: seconds) { [self] in purge() } }
    if let seconds = world.scenario.reloadEvery {
      again(every: seconds) { [self] in subject.reload() }
    }
    if let seconds = world.scenario.restartEvery {
      again(every: seconds) { [self] in
        subject.restart(machine.random.pick(Subject.End.allCases))
        clients.mayHaveLostLines()
      }
    }
  }

  /// Does something now and then until the last client has left.
  private func again(every seconds: Int, _ action: @escaping () -> Void) {
    machine.plan(after: Int64(machine.random.below(2 * seconds * 1000)) * 1_000_000) { [self] in
      guard !clients.isDone else { return }
      guard !isBusy else { return again(every: seconds, action) }
      isBusy = true
      machine.begin("operator") { [self] in
        action()
        isBusy = false
        again(every: seconds, action)
      }
    }
  }

  private func purge() {
    guard let server = subject.server else { return }
    let one = machine.random.pick(world.resources)
    let (selection, resources): (StoreAPI.Selection, [Resource]) =
      switch machine.random.below(8) {
      case 0: (.all, world.resources)
      case 1, 2:
        (.prefix(Array("http://\(one.host)/".utf8)), world.resources.filter { $0.host == one.host })
      default: (.exact(Array("http://\(one.host)\(one.path)".utf8)), [one])
      }
    let begin = machine.now
    world.count("purges")
    guard (try? StoreAPI.purge(server.store, selection)) != nil else {
      if world.scenario.diskFaults == 0 { world.violation("a purge failed") }
      return
    }
    for resource in resources {
      resource.expect(since: begin, now: machine.now, because: "a purge", isPurge: true)
    }
  }
}
