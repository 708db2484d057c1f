// A server in the foreground, as `holdfast serve` runs it: the calling thread's loop watches for signals and
// answers the admin listener until there is nothing left to do.
//
//   SIGHUP            reads the configuration again
//   SIGTERM, SIGINT   drains: accepts nothing more, finishes what is begun, then ends
//   a second one      ends at once

import Configuration
import IO
import Logging
import Platform

package enum Runner {
  /// Runs until it is told to end.
  /// - Parameters:
  ///   - reload: reads the configuration again; nil when it is wrong, which the caller has said by then.
  ///   - started: called once, when every listener accepts, with the configuration as it came to be: ports
  ///     that were left to the kernel are filled in. And what can be seen beside the sockets.
  package static func run(
    _ configuration: Configuration, logger: Logger, reload: @escaping () -> Configuration?,
    handler: @escaping (Server) -> AdminHandler,
    started: (Configuration, [SensorState]) -> Void
  ) throws {
    // Before any thread is started, so that all of them leave the signals to this one.
    let signals = try Signals()
    // Before descriptors are counted, and not by every server of a process: a simulated one must do what it does
    // alone.
    _ = KernelTLS.found
    let server = try Server.start(configuration, logger: logger)
    defer { server.stop() }
    let loop = try EventLoop()
    var admin: AdminListener?
    if let settings = configuration.admin {
      let address = settings.address
      do throws(Errno) {
        admin = try AdminListener(
          loop: loop, socket: Socket.listen(on: address), server: server, handler: handler(server))
        admin?.access = AdminAccess(settings)
      } catch {
        throw StartFailure(
          description: "cannot listen on \(address) for the admin interface: \(error.message)."
            + " Choose another address with `admin:`, or `admin: none`")
      }
    }
    if let admin { server.protect(admin: admin.address) }
    let keeper = Housekeeper(
      loop: loop, server: server, admin: admin, signals: signals, logger: logger, reload: reload)
    try keeper.start()
    started(bound(configuration, server, admin), server.sensors)
    loop.run()
  }

  private static func bound(
    _ configuration: Configuration, _ server: Server, _ admin: AdminListener?
  ) -> Configuration {
    var configuration = configuration
    for (index, address) in zip(configuration.listeners.indices, server.addresses) {
      configuration.listeners[index].address = address
    }
    if let admin { configuration.admin?.address = admin.address }
    return configuration
  }
}

/// Listens to signals, and looks after the server now and then.
private final class Housekeeper: LoopObject {
  private let server: Server
  private let admin: AdminListener?
  private let signals: Signals
  private let logger: Logger
  private let reload: () -> Configuration?
  private var drainEnds: Instant?

  init(
    loop: EventLoop, server: Server, admin: AdminListener?, signals: consuming Signals,
    logger: Logger,
    reload: @escaping () -> Configuration?
  ) {
    self.server = server
    self.admin = admin
    self.signals = signals
    self.logger = logger
    self.reload = reload
    super.init(loop: loop)
  }

  func start() throws(Errno) {
    try loop.watch(signals.rawValue, self, .read)
    loop.arm(self, after: .seconds(1))
  }

  override func ready(_ readiness: Readiness) {
    while let signal = signals.next() {
      switch signal {
      case .hangUp: readAgain()
      case .interrupt, .terminate: end(signal)
      }
    }
  }

  private func readAgain() {
    guard let configuration = reload() else {
      server.registry.shared.addShared(.configurationReloads, .failed)
      return
    }
    let kept = server.apply(configuration)
    if let settings = configuration.admin { admin?.access = AdminAccess(settings) }
    server.registry.shared.addShared(.configurationReloads, .succeeded)
    logger.notice("configuration read again")
    if !kept.isEmpty {
      logger.warning("\(kept.joined(separator: ", ")): what changed there takes a restart")
    }
  }

  private func end(_ signal: Signals.Signal) {
    guard drainEnds == nil else {
      logger.notice("ending now")
      loop.stop()
      return
    }
    let limit = server.settings.limits.drainTimeout
    logger.notice(
      "finishing what is begun, for at most \(limit.inWords); signal again to end at once")
    drainEnds = loop.now + limit
    admin?.isDraining = true
    server.drain()
    loop.arm(self, after: .milliseconds(20))
  }

  override func timerFired() {
    if let drainEnds {
      if server.isDrained || loop.now >= drainEnds {
        if !server.isDrained { logger.warning("some connections were still open; they are cut") }
        loop.stop()
        return
      }
      loop.arm(self, after: .milliseconds(20))
    } else {
      server.renewTicketKeys()
      for sentence in server.storeTroubles() { logger.warning("\(sentence)") }
      loop.arm(self, after: .seconds(1))
    }
  }
}
