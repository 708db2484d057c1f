// The kernel sensors as the proxy uses them: connections with origins are made known when they are established, and each
// ending is asked about at once, because entries of the connection table last seconds and counters grow on. Answers
// come from the sensors' own threads, and wait here until the record's time has come.
//
//   an ending ─▶ counters ─▶ connection table ─▶ its counters ─▶ tracepoints ─▶ findings ─▶ the record, when it is final

import Configuration
import Forensics
import KernelSensors
import Platform
import Synchronization

final class KernelSensor: Sendable {
  /// What was said of one ending.
  struct Findings: Sendable {
    var growth: CounterSensor.Growth?
    var table: ConnectionTableSensor.Report?
    /// Of the table's network namespace, where it is another one.
    var tableGrowth: CounterSensor.Growth?
    var trace: TraceReport?
  }

  private struct State {
    var findings: [RecordID: Findings] = [:]
    /// Asked, and not answered yet.
    var pending = 0
  }

  /// Findings that wait; each is some kilobytes at most.
  private static let limit = 4096
  /// So long before an ending is "just before": what ended it has not been counted then.
  private static let before: Duration = .milliseconds(300)
  /// What is counted longer ago says nothing about it.
  private static let longest: Duration = .seconds(120)

  private let counters: CounterSensor?
  private let table: ConnectionTableSensor?
  private let tableCounters: CounterSensor?
  private let tracer: ResetTracer?
  private let state = Monitor(State())

  /// - Returns: nil where nothing is asked, which `states` tells then.
  static func start(_ settings: ResetSettings, _ states: inout [SensorState]) -> KernelSensor? {
    guard settings.kernel != .off else {
      states.append(
        SensorState(name: "kernel", isActive: false, text: "not asked (resets.kernel: off)"))
      return nil
    }
    let sensor = KernelSensor(settings, &states)
    return sensor.counters == nil && sensor.table == nil && sensor.tracer == nil ? nil : sensor
  }

  private init(_ settings: ResetSettings, _ states: inout [SensorState]) {
    func attempt<Sensor>(
      _ name: String, _ what: String, _ start: () throws(KernelSensorError) -> Sensor
    ) -> Sensor? {
      do throws(KernelSensorError) {
        let sensor = try start()
        states.append(SensorState(name: name, isActive: true, text: what))
        return sensor
      } catch {
        states.append(SensorState(name: name, isActive: false, text: "\(error)"))
        return nil
      }
    }
    let elsewhere = settings.namespace.map { " in \($0)" } ?? ""
    counters = attempt("counters", "what the kernel counts of TCP, for the whole network namespace")
    { () throws(KernelSensorError) in
      try CounterSensor.start()
    }
    guard settings.kernel == .auto else {
      (table, tableCounters, tracer) = (nil, nil, nil)
      return
    }
    let group = UInt16(exactly: settings.nflog).flatMap { $0 == 0 ? nil : $0 }
    table = attempt(
      "conntrack",
      "where translated connections\(elsewhere) really lead, and what becomes of their entries"
        + (group.map { "; invalid packets by NFLOG's group \($0)" } ?? "")
    ) { () throws(KernelSensorError) in
      try ConnectionTableSensor.start(
        .init(namespacePath: settings.namespace, logGroup: group))
    }
    // Where the table was found its counters are too.
    tableCounters =
      table != nil && settings.namespace != nil
      ? try? CounterSensor.start(namespacePath: settings.namespace) : nil
    tracer = attempt(
      "tracepoints", "resets of the whole machine, and the kernel's reasons for them"
    ) { () throws(KernelSensorError) in
      try ResetTracer.start()
    }
  }

  /// What has gone wrong since the start, by the name of the sensor.
  func trouble(_ name: String) -> String? {
    switch name {
    case "conntrack":
      guard let statistics = table?.statistics else { return nil }
      let lost = statistics.overruns &+ statistics.skipped
      return lost > 0 ? "\(lost) times something was missed" : nil
    case "tracepoints":
      guard let lost = tracer?.statistics.lost, lost > 0 else { return nil }
      return "\(lost) were lost"
    default: return nil
    }
  }

  /// Ends all threads. What was asked is answered.
  func stop() {
    counters?.stop()
    table?.stop()
    tableCounters?.stop()
    tracer?.stop()
  }

  /// A connection with an origin has been established.
  func watch(_ descriptor: Int32, peer: SocketAddress) {
    guard let table, let local = try? Socket.localAddress(descriptor) else { return }
    table.watch(local: local, peer: peer)
  }

  // MARK: Asking

  /// Asks about an ending. Returns at once.
  /// - Parameter id: of its record, which `complete` will ask by.
  func look(at evidence: Evidence, of id: RecordID) {
    let isTaken = state.withLock { state in
      guard state.pending < Self.limit else { return false }
      // More than there are records that wait: nobody will come for them.
      if state.findings.count >= Self.limit { state.findings = [:] }
      state.pending += 1
      return true
    }
    guard isTaken else { return }
    let now = Instant.precise()
    let since = Instant(
      nanoseconds: now.nanoseconds &- Self.window(evidence).wholeNanoseconds)
    askCounters(counters, since) { growth in
      self.askTable(evidence) { report in
        self.askCounters(self.tableCounters, since) { tableGrowth in
          self.askTracer(evidence, report, now) { trace in
            self.found(
              id,
              Findings(growth: growth, table: report, tableGrowth: tableGrowth, trace: trace))
          }
        }
      }
    }
  }

  /// How far back what ended it may lie: a stall has begun when the last was heard of the peer.
  static func window(_ evidence: Evidence) -> Duration {
    guard evidence.ending.means == .timeout else { return before }
    let silence =
      evidence.ending.phase == .connect
      ? evidence.connection.age
      : evidence.socket.info?.lastDataReceived.map { .milliseconds($0) } ?? before
    return min(longest, max(before, silence + before))
  }

  private func askCounters(
    _ sensor: CounterSensor?, _ since: Instant,
    _ next: @escaping @Sendable (CounterSensor.Growth?) -> Void
  ) {
    guard let sensor else { return next(nil) }
    sensor.growth(since: since, next)
  }

  private func askTable(
    _ evidence: Evidence, _ next: @escaping @Sendable (ConnectionTableSensor.Report?) -> Void
  ) {
    let socket = evidence.socket
    guard let table, let local = socket.local, let peer = socket.peer else { return next(nil) }
    table.report(local: local, peer: peer, next)
  }

  private func askTracer(
    _ evidence: Evidence, _ report: ConnectionTableSensor.Report?, _ now: Instant,
    _ next: @escaping @Sendable (TraceReport?) -> Void
  ) {
    let socket = evidence.socket
    guard let tracer, let local = socket.local, let peer = socket.peer else { return next(nil) }
    let age = evidence.connection.age + Self.before
    var question = ResetTracer.Question(
      local: local, peer: peer, cookie: socket.cookie,
      since: Instant(nanoseconds: now.nanoseconds &- age.wholeNanoseconds))
    question.until = now
    let tuple = ConntrackTuple(source: local, destination: peer)
    if let entry = report?.first ?? report?.now, let real = entry.realPeer(of: tuple) {
      question.alias = (entry.translatedSource(of: tuple) ?? local, real)
      // A stray comes to our own address from the origin's.
      question.stray = real == tuple.destination ? nil : real
    }
    tracer.report(question, next)
  }

  private func found(_ id: RecordID, _ findings: Findings) {
    state.withLock { state in
      state.pending -= 1
      state.findings[id] = findings
    }
    state.wakeAll()
  }

  // MARK: Answers

  /// Waits until everything that was asked is answered. Not for a loop.
  func settle() { state.wait { $0.pending == 0 ? () : nil } }

  /// Adds what was said to a record whose time has come.
  func complete(_ evidence: inout Evidence, of id: RecordID) {
    guard let findings = state.withLock({ $0.findings.removeValue(forKey: id) }) else { return }
    if let growth = findings.growth { evidence.counters = growth.counters }
    guard table != nil || tracer != nil else { return }
    let kernel = KernelEvidence(findings, evidence.socket)
    // Nobody who was asked knew anything is not the same as nobody could be asked; but it is told the same way.
    if kernel.isTelling || !kernel.counters.isEmpty || !kernel.machineDrops.isEmpty
      || kernel.settings?.isFull == true
    {
      evidence.kernel = kernel
    }
  }
}

extension KernelEvidence {
  /// What the sensors said, in the judge's terms.
  init(_ findings: KernelSensor.Findings, _ socket: SocketEvidence) {
    self.init()
    if let growth = findings.tableGrowth { counters = growth.counters }
    if let report = findings.table, let local = socket.local, let peer = socket.peer {
      add(report, ConntrackTuple(source: local, destination: peer))
    }
    guard let trace = findings.trace else { return }
    sent = trace.sent.map { Reset(reason: $0.reason, state: $0.state) }
    sentByPeer = trace.sentByPeer.map { Reset(reason: $0.reason, state: $0.state) }
    isResetBelieved = trace.received != nil
    retransmissions = trace.retransmissions
    drops = trace.drops
    machineDrops = trace.machineDrops
    stray = trace.stray
  }

  private mutating func add(
    _ report: ConnectionTableSensor.Report, _ tuple: ConntrackTuple
  ) {
    hadEntry = report.first.map { _ in true }
    hasEntry = report.hasEntry
    invalidPackets = report.invalidPackets
    // One that was closed in order goes away by itself.
    isEntryLost = report.lost.map { $0.state == nil || $0.state == .established } ?? false
    let first = report.first?.realPeer(of: tuple)
    let latest = (report.now ?? report.successor)?.realPeer(of: tuple)
    realPeer = latest ?? first
    if let first, let latest, first != latest { switchedFrom = first }
    translatedSource = (report.now ?? report.first)?.translatedSource(of: tuple)
    if let now = report.now {
      var entry = Entry()
      entry.state = now.state?.name
      entry.status = now.status.names
      entry.timeout = now.timeout.map(Int64.init)
      entry.mark = now.mark.map(Int64.init)
      entry.zone = now.zone.map(Int64.init)
      self.entry = entry
    }
    var settings = Settings()
    settings.isLiberal = report.settings.isLiberal
    settings.isLoose = report.settings.isLoose
    settings.ignoresInvalidResets = report.settings.ignoresInvalidResets
    settings.establishedTimeout = report.settings.establishedTimeout.map { .seconds($0) }
    settings.count = report.settings.count
    settings.maximum = report.settings.maximum
    self.settings = settings
  }
}
