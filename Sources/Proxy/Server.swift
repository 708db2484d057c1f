// The running program: opens the store, binds the listeners, starts a thread for each worker, and ends all
// of that in order. The thread that starts it has a loop of its own, for signals and the admin listener.

import Caching
import Configuration
import Forensics
import HTTP
import IO
import Logging
import Platform
import Storage
import Synchronization
import Telemetry

/// Why the proxy did not start, in a sentence for whoever started it.
package struct StartFailure: Error, CustomStringConvertible {
  package let description: String
}

/// A running proxy.
package final class Server: Sendable {
  private struct Member: Sendable {
    let thread: LoopThread
    let worker: ObjectID
  }

  package let store: Store
  package let registry: MetricRegistry
  /// Where it listens, in the order of the configuration; ports the kernel chose are filled in.
  package let addresses: [SocketAddress]
  let shared: Shared
  private let members: [Member]
  private let current: Mutex<Settings>
  /// The configuration as it was at the start, for what is bound to that.
  private let started: Configuration
  /// Descriptors that are open while nobody is connected.
  private let ownDescriptors: Int
  private let drained = Monitor(0)
  private let isStopped = Atomic<Bool>(false)
  private let startedAt = WallTime.now()

  // MARK: Starting

  /// Starts all threads and returns once every listener accepts.
  package static func start(
    _ configuration: Configuration, logger: Logger, lookup: Resolver.Lookup? = nil
  ) throws(StartFailure) -> Server {
    try Server(configuration, logger: logger, lookup: lookup)
  }

  private init(
    _ configuration: Configuration, logger: Logger, lookup: Resolver.Lookup?
  ) throws(StartFailure) {
    started = configuration
    _ = try? ProcessLimits.raiseDescriptors()
    let store: Store
    do {
      var options = StoreOptions(
        path: configuration.store.path, size: configuration.store.size.bytes,
        memory: Int(clamping: configuration.store.memory.bytes))
      options.openBlobs = DescriptorBudget.openBlobs(limit: ProcessLimits.maximumDescriptors())
      options.keepFree = KeepFree(configuration.store.keepFree)
      options.targets = TargetedFields(configuration.cache.targetedFields.map(\.name))
      store = try Store.open(options)
    } catch {
      throw StartFailure(description: "\(error)")
    }
    self.store = store
    registry = MetricRegistry()
    let sockets: ListenerSockets
    do throws(StartFailure) {
      sockets = try ListenerSockets(
        configuration.listeners, workers: configuration.threads.resolved)
    } catch {
      store.close()
      throw error
    }
    addresses = sockets.addresses
    let accessLog: AccessLogWriter?
    do throws(StartFailure) {
      accessLog = try AccessLogWriter.open(configuration.log.access, logger: logger)
    } catch {
      store.close()
      throw error
    }
    do {
      let drained = self.drained
      shared = Shared(
        store: store, disk: try DiskPool(),
        resolver: try lookup.map { try Resolver(lookup: $0) } ?? Resolver(), registry: registry,
        accessLog: accessLog,
        endings: EndingDesk(
          log: EndingLog.open(configuration.resets, logger: logger),
          sensors: Sensors(
            configuration.resets, listeners: sockets.addresses.map(\.port), logger: logger)),
        logger: logger,
        via: Self.pseudonym(), gate: UpstreamGate(GateLimits(configuration.upstream)),
        onDrained: {
          drained.withLock { $0 += 1 }
          drained.wakeAll()
        })
    } catch {
      accessLog?.close()
      store.close()
      throw StartFailure(description: "cannot start: \(error)")
    }
    let count = configuration.threads.resolved
    do {
      shared.own.add(addresses)
      shared.authenticator.use(configuration.auth.users)
      shared.rates.apply(configuration.rate, upstream: configuration.upstream.rate)
      // What each worker adds: its loop, and a descriptor in reserve for each of its listeners.
      ownDescriptors =
        ProcessLimits.openDescriptors() + count * (2 + configuration.listeners.count)
      let settings = Self.settings(
        configuration, own: ownDescriptors, shared.logger, isStart: true)
      current = Mutex(settings)
      members = try Self.startWorkers(count, shared, settings, sockets)
    } catch {
      shared.endings.close()
      accessLog?.close()
      store.close()
      throw error
    }
  }

  /// The configuration as workers use it, within what the system grants.
  private static func settings(
    _ configuration: Configuration, own: Int, _ logger: Logger, isStart: Bool = false
  ) -> Settings {
    let workers = configuration.threads.resolved
    let upstream = configuration.upstream
    let limit = ProcessLimits.maximumDescriptors()
    let budget = DescriptorBudget(
      limit: limit, own: own, workers: workers,
      atOrigins: upstream.maxTotal + upstream.maxIdleTotal * workers)
    if budget.clients < configuration.limits.connections {
      let most =
        "with \(limit) file descriptors no more than \(budget.clients) client\(budget.clients == 1 ? "" : "s") can be served at a time"
      // Nobody has asked for the default, and to be told once will do.
      if configuration.limits.connections == Limits().connections {
        if isStart { logger.info("\(most): `ulimit -n` (LimitNOFILE in a unit) raises that") }
      } else {
        logger.warning(
          "limits.connections is \(configuration.limits.connections), but \(most): raise `ulimit -n` (LimitNOFILE in a unit), or lower limits.connections"
        )
      }
    }
    return Settings(configuration, budget: budget)
  }

  private static func startWorkers(
    _ count: Int, _ shared: Shared, _ settings: Settings, _ sockets: ListenerSockets
  ) throws(StartFailure) -> [Member] {
    var members: [Member] = []
    for number in 0..<count {
      let started = Mutex(ObjectID.none)
      do {
        let thread = try LoopThread.start(name: "worker-\(number)") { loop throws(Errno) in
          let worker = Worker(loop: loop, number: number, shared: shared, settings: settings)
          for (socket, use) in sockets.take(number) {
            try worker.listen(FileDescriptor(owning: socket), for: use)
          }
          started.withLock { $0 = worker.id }
        }
        members.append(Member(thread: thread, worker: started.withLock { $0 }))
      } catch {
        for member in members { member.thread.stop() }
        for member in members { member.thread.join() }
        throw StartFailure(description: "cannot start a worker: \(error)")
      }
    }
    return members
  }

  /// Differs between instances, so that two of them one behind the other are no loop.
  private static func pseudonym() -> Via {
    let number = UInt32(truncatingIfNeeded: Randomness.word())
    let digits = String(number, radix: 36)
    guard let via = Via(pseudonym: "holdfast-\(digits)") else {
      preconditionFailure("letters and digits make a token")
    }
    return via
  }

  // MARK: Running

  package var settings: Configuration { current.withLock { $0.configuration } }

  /// Uses another configuration from now on. What is bound to the start (listeners, threads, the store,
  /// the log's place) stays as it is; the names of such settings that differ are returned.
  package func apply(_ configuration: Configuration) -> [String] {
    let kept = Reference.restartKeys(from: started, to: configuration)
    let asked = configuration
    var configuration = configuration
    Reference.keepStart(started, in: &configuration)
    configuration.renewIdentities(from: asked)
    shared.accessLog?.reopen()
    shared.endings.log?.reopen()
    shared.authenticator.use(configuration.auth.users)
    shared.rates.apply(configuration.rate, upstream: configuration.upstream.rate)
    let settings = Self.settings(configuration, own: ownDescriptors, shared.logger)
    let replaced = current.withLock { current in
      defer { current = settings }
      return current
    }
    replaced.forgetTickets()
    store.use(KeepFree(configuration.store.keepFree))
    shared.gate.change(GateLimits(configuration.upstream))
    for member in members {
      member.thread.mailbox.post(
        Letter(to: member.worker, subject: LetterSubject.settings.rawValue, payload: settings))
    }
    return kept
  }

  /// Accepts nothing more and lets what is begun come to its end.
  package func drain() {
    for member in members {
      member.thread.mailbox.post(Letter(to: member.worker, subject: LetterSubject.drain.rawValue))
    }
  }

  /// Replaces what has had its time although nobody asks for it. To be called now and then.
  package func renewTicketKeys() { current.withLock { $0 }.renewTicketKeys(now: .now()) }

  /// Whether every worker has finished draining.
  package var isDrained: Bool { drained.withLock { $0 } >= members.count }

  /// Ends everything: cuts what is still open, writes what is in memory. Blocks; doing so again does
  /// nothing.
  package func stop() {
    guard !isStopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
    for member in members { member.thread.stop() }
    for member in members { member.thread.join() }
    shared.resolver.shutdown()
    shared.authenticator.shutdown()
    // Jobs of the disk threads may wait for the store's start-up scan.
    store.endWaiting()
    shared.disk.shutdown()
    store.close()
    // These may have to wait for whoever reads them.
    shared.endings.close()
    shared.accessLog?.close()
  }

  /// Requests that are at origins now, and such as wait for a place.
  package var upstreamCounts: (inUse: Int, waiting: Int) { shared.gate.counts }

  /// Fills that go on although nobody is left to read them.
  package var orphanCount: Int { shared.orphans.count }

  /// Bytes that pages take which are written anew, and how many wait for some to be free.
  package var pageMemory: (used: Int, waiting: Int) {
    (shared.pages.budget.used, shared.pages.budget.waiting)
  }

  /// Numbers that are looked up when somebody asks for the metrics.
  package func refreshGauges() {
    let upstream = shared.gate.counts
    registry.shared.set(.upstreamRequests, to: UInt64(clamping: upstream.inUse))
    registry.shared.set(.upstreamWaiting, to: UInt64(clamping: upstream.waiting))
    registry.shared.set(.accessLogLost, to: shared.accessLog?.lost ?? 0)
    Gauges.refresh(registry.shared, store: store, startedAt: startedAt)
  }

  /// The admin listener is nobody's destination either.
  package func protect(admin address: SocketAddress) { shared.own.add([address]) }

  /// Turns that the loops of all workers have done, this question's included. Who has the answer knows as well that
  /// what was ready before has been dealt with.
  package func turns() -> UInt64 {
    members.reduce(0) { sum, member in
      let turns = Monitor<UInt64?>(nil)
      let isAsked = member.thread.mailbox.perform { loop in
        turns.withLock { $0 = loop.statistics.turns }
        turns.wakeAll()
      }
      return sum + (isAsked ? turns.wait { $0 } : 0)
    }
  }

  #if DEBUG
    /// Moves the wall clock as all workers see it, as an administrator or NTP may: for tests.
    package func stepClock(by seconds: Int) {
      for member in members {
        member.thread.mailbox.post(
          Letter(to: member.worker, subject: Worker.clockStep, value: seconds))
      }
    }
  #endif

  /// Passwords that were hashed to be compared: what a test counts.
  package var passwordChecks: UInt64 { shared.authenticator.checks }

  /// Runs a job on a thread that may block.
  /// - Returns: false when too many wait already.
  func onPool(_ job: @escaping @Sendable () -> Void) -> Bool { shared.disk.submit(job) }

  /// Waits until everything the disk threads were given so far is done: for tests.
  package func settleDisk() { shared.disk.settle() }

  /// What is wrong with the store, each kind at most once a minute.
  func storeTroubles() -> [String] {
    store.troubles(now: .now()).map { report in
      report.errno.map { "\(report.trouble.sentence) (\($0), \(report.count) times)" }
        ?? "\(report.trouble.sentence) (\(report.count) times)"
    }
  }

  var endings: EndingDesk { shared.endings }

  /// What can be seen beside the sockets, and what not and why.
  package var sensors: [SensorState] { shared.endings.sensors?.current ?? [] }

  /// The youngest records of endings, youngest first.
  package func recentEndings(_ count: Int = 100) -> [EndingRecord] { shared.endings.recent(count) }

  /// Judges for good what waits for more evidence, as time would.
  package func finishEndings() {
    shared.endings.sensors?.packets?.settle()
    shared.endings.sensors?.kernel?.settle()
    shared.endings.finish(all: true)
  }

  /// `/api/status`.
  func statusJSON(isDraining: Bool) -> [UInt8] {
    let statistics = store.statistics
    var disk = JSONObject()
    disk.add("path", settings.store.path)
    disk.add("entries", Int64(statistics.entries))
    disk.add("bytes", statistics.usedBytes)
    disk.add("limit", statistics.limitBytes)
    disk.add("memory", Int64(statistics.hotBytes))
    disk.add("recovered", statistics.isRecovered)
    var status = JSONObject()
    status.add("name", Program.name)
    status.add("version", Program.version)
    status.add("state", isDraining ? "draining" : "serving")
    status.add("offline", current.withLock { $0.isOffline })
    status.add("listen", addresses.map { "\($0)" })
    status.add("connections", Int64(shared.connectionCount.load(ordering: .relaxed)))
    status.add("fills", Int64(shared.fills.running))
    status.add("store", disk)
    status.add("memory", Int64(ProcessLimits.residentMemory()))
    status.add("kernelTLS", "\(KernelTLS.found)")
    status.add("sensors", sensors.map(\.json))
    return status.line
  }
}

extension KeepFree {
  /// As it is configured.
  init(_ floor: FreeSpaceFloor) {
    self =
      switch floor {
      case .automatic: .automatic
      case .fixed(let size): .bytes(size.bytes)
      }
  }
}
