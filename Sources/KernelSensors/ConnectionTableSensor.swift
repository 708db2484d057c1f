// What a network namespace's connection table says about flows of ours, asked by a thread of its own: when a
// connection is made, to know where it really leads, and when it has ended, to know what became of its entry. It hears
// of entries that are made and deleted in between, and of packets that a rule calls invalid if it is told a group.
//
//   watch, report ─▶ queue ─▶ this thread ─▶ query socket            entry, settings
//                                    ▲────── event socket            made, deleted
//                                    └────── NFLOG socket            invalid packets
//
// The namespace is that which translates: a node's, not that of a pod behind it. In one that follows no connections
// nothing is known of any, and nothing is said.

import CKernelSensors
import Platform
import Synchronization

package final class ConnectionTableSensor: Sendable {
  package struct Options: Sendable {
    /// Nil for the program's own.
    package var namespacePath: String?
    /// NFLOG's group that a rule about invalid packets uses.
    package var logGroup: UInt16?

    package init(namespacePath: String? = nil, logGroup: UInt16? = nil) {
      self.namespacePath = namespacePath
      self.logGroup = logGroup
    }
  }

  /// What is known of a flow that has ended.
  package struct Report: Sendable {
    /// Its entry when it was established; nil when there was none, or nobody had asked.
    package var first: ConntrackEntry?
    /// Its entry now.
    package var now: ConntrackEntry?
    /// Whether there is one; nil when the table has not said.
    package var hasEntry: Bool?
    /// The first one as it was when it was deleted.
    package var lost: ConntrackEntry?
    /// What took its place, which may be gone again.
    package var successor: ConntrackEntry?
    package var settings = ConntrackSettings()
    /// Invalid packets of it; nil where no rule tells of them.
    package var invalidPackets: Int?

    package init() {}
  }

  package struct Statistics: Hashable, Sendable {
    /// Flows that were asked for when they were established, and had an entry.
    package var watched: UInt64 = 0
    /// Entries of which it was told that they were made or deleted.
    package var events: UInt64 = 0
    /// How often events or packets were lost, because they came too fast.
    package var overruns: UInt64 = 0
    /// Flows that were not asked for, because too many were waiting.
    package var skipped: UInt64 = 0
    /// Packets that a rule called invalid.
    package var invalidPackets: UInt64 = 0
    /// Questions without an answer.
    package var failures: UInt64 = 0

    package init() {}
  }

  private enum Question: Sendable {
    case watch(ConntrackTuple)
    case report(ConntrackTuple, @Sendable (Report?) -> Void)
  }

  private struct State {
    var questions: [Question] = []
    var statistics = Statistics()
    var isStopping = false
    var isRunning = false
    var hearsEvents = false
  }

  private static let mostQuestions = 4096
  /// What one question may take. Milliseconds.
  private static let patience = 200
  private static let eventBuffer = 1 << 20
  /// Between two readings of events, so that a flood of them takes no more than a part of one processor.
  private static let pause: Duration = .milliseconds(2)

  package let options: Options
  private let state = Mutex(State())
  private let wake: EventFD
  private let thread = Mutex<WorkerThread?>(nil)

  /// Opens everything on a thread inside the namespace, and returns when it can be asked.
  package static func start(
    _ options: Options = Options()
  ) throws(KernelSensorError) -> ConnectionTableSensor {
    let started = Monitor<Result<Void, KernelSensorError>?>(nil)
    let sensor: ConnectionTableSensor
    let thread: WorkerThread
    do {
      sensor = ConnectionTableSensor(options, wake: try EventFD())
      thread = try WorkerThread.start(name: "conntrack") {
        sensor.run { result in
          started.withLock { $0 = result }
          started.wakeAll()
        }
      }
    } catch {
      throw .failed(step: "starting the connection table's thread", error)
    }
    sensor.thread.withLock { $0 = thread }
    switch started.wait(for: { $0 }) {
    case .success: return sensor
    case .failure(let error):
      sensor.stop()
      throw error
    }
  }

  private init(_ options: Options, wake: consuming EventFD) {
    self.options = options
    self.wake = wake
  }

  /// A connection was established: remembers where it leads. Never waits; where too many do, it is skipped and counted.
  package func watch(local: SocketAddress, peer: SocketAddress) {
    let isTaken = state.withLock { state in
      guard state.isRunning else { return false }
      guard state.questions.count < Self.mostQuestions else {
        state.statistics.skipped &+= 1
        return false
      }
      state.questions.append(.watch(ConntrackTuple(source: local, destination: peer)))
      return true
    }
    if isTaken { wake.signal() }
  }

  /// A connection has ended: tells what is known of it.
  /// - Parameter answer: called once, on the sensor's thread, or at once with nil when it cannot be asked. It should
  ///   hand on and return.
  package func report(
    local: SocketAddress, peer: SocketAddress, _ answer: @escaping @Sendable (Report?) -> Void
  ) {
    let isTaken = state.withLock { state in
      guard state.isRunning, state.questions.count < Self.mostQuestions * 2 else { return false }
      state.questions.append(.report(ConntrackTuple(source: local, destination: peer), answer))
      return true
    }
    if isTaken { wake.signal() } else { answer(nil) }
  }

  package var statistics: Statistics { state.withLock { $0.statistics } }
  /// Whether it can be asked.
  package var isActive: Bool { state.withLock { $0.isRunning } }
  /// Whether it is told of entries that are made and deleted.
  package var hearsEvents: Bool { state.withLock { $0.hearsEvents } }

  /// Answers what was asked, and ends.
  package func stop() {
    state.withLock { $0.isStopping = true }
    wake.signal()
    let thread = self.thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    thread?.join()
  }

  // MARK: The thread

  /// What it has open, and what it remembers.
  private struct Desk: ~Copyable {
    var query: NetlinkSocket
    var events: NetlinkSocket
    var log: NetlinkSocket
    let epoll: Epoll
    var flows = FlowWatch()
    var packets = InvalidPacketLog()
    var settings = ConntrackSettings()
    var settingsTime: Instant?
  }

  private func run(_ started: (Result<Void, KernelSensorError>) -> Void) {
    do throws(KernelSensorError) {
      try NetworkHome.enter(options.namespacePath)
      var desk = try open()
      state.withLock { $0.isRunning = true }
      started(.success(()))
      serve(&desk)
    } catch {
      started(.failure(error))
    }
  }

  private func openSockets() throws(Errno) -> Desk {
    let desk = Desk(
      query: try NetlinkSocket(waiting: Self.patience),
      events: try NetlinkSocket(waiting: Self.patience),
      log: try NetlinkSocket(waiting: Self.patience), epoll: try Epoll(capacity: 4))
    try desk.epoll.add(wake.rawValue, .read, token: 0)
    try desk.epoll.add(desk.events.rawValue, .read, token: 1)
    try desk.epoll.add(desk.log.rawValue, .read, token: 2)
    return desk
  }

  private func open() throws(KernelSensorError) -> Desk {
    var opened: Desk
    do {
      opened = try openSockets()
    } catch {
      throw error == .notPermitted ? .lacksAdmin(error) : .noConnectionTable(error)
    }
    try probe(&opened.query)
    // Without events it knows less, and works.
    opened.events.enlarge(to: Self.eventBuffer)
    let hears =
      (try? opened.events.join(ConntrackMessage.createdGroup)) != nil
      && (try? opened.events.join(ConntrackMessage.deletedGroup)) != nil
    state.withLock { $0.hearsEvents = hears }
    if let group = options.logGroup { try bind(&opened.log, group) }
    return opened
  }

  /// Asks for a flow that cannot be: "there is none" is what is wanted to hear.
  private func probe(_ socket: inout NetlinkSocket) throws(KernelSensorError) {
    let nowhere = SocketAddress(IPAddress(v4: 0), port: 0)
    do {
      _ = try lookUp(ConntrackTuple(source: nowhere, destination: nowhere), &socket)
    } catch {
      switch error {
      case .notPermitted, .accessDenied: throw .lacksAdmin(error)
      default: throw .noConnectionTable(error)
      }
    }
  }

  private func bind(_ socket: inout NetlinkSocket, _ group: UInt16) throws(KernelSensorError) {
    do throws(Errno) {
      socket.enlarge(to: Self.eventBuffer)
      let first = socket.nextSequence()
      try socket.ask(LogMessage.bind(group, sequence: first), first)
      let second = socket.nextSequence()
      try socket.ask(LogMessage.mode(group, sequence: second), second)
    } catch {
      throw .logGroup(group, error)
    }
  }

  private func serve(_ desk: inout Desk) {
    while true {
      _ = try? desk.epoll.wait(milliseconds: -1)
      wake.clear()
      let (questions, isStopping) = state.withLock { state in
        defer { state.questions = [] }
        if state.isStopping { state.isRunning = false }
        return (state.questions, state.isStopping)
      }
      // Events that came before a question are older than it.
      let any = readEvents(&desk)
      for question in questions { answer(question, &desk) }
      if isStopping { return }
      if any { sleepThread(Self.pause) }
    }
  }

  private func answer(_ question: Question, _ desk: inout Desk) {
    switch question {
    case .watch(let tuple):
      guard let entry = ask(tuple, &desk), let entry else { return }
      desk.flows.watch(tuple, entry)
      state.withLock { $0.statistics.watched &+= 1 }
    case .report(let tuple, let answer):
      var report = Report()
      if let entry = ask(tuple, &desk) {
        report.now = entry
        report.hasEntry = entry != nil
      }
      // What has happened to it by now has been told before the table answered.
      _ = readEvents(&desk)
      let flow = desk.flows.flow(tuple)
      report.first = flow?.first
      report.lost = flow?.lost
      report.successor = flow?.successor
      report.settings = settings(&desk)
      if options.logGroup != nil {
        var sights: Set<ConntrackTuple> = [tuple]
        for entry in [report.first, report.now, report.successor] {
          if let entry { sights.formUnion([entry.original, entry.reply]) }
        }
        report.invalidPackets = desk.packets.count(of: sights)
      }
      answer(report)
    }
  }

  /// - Returns: nil when the table does not answer.
  private func ask(_ tuple: ConntrackTuple, _ desk: inout Desk) -> ConntrackEntry?? {
    do {
      return .some(try lookUp(tuple, &desk.query))
    } catch {
      state.withLock { $0.statistics.failures &+= 1 }
      return nil
    }
  }

  private func lookUp(
    _ tuple: ConntrackTuple, _ socket: inout NetlinkSocket
  ) throws(Errno) -> ConntrackEntry? {
    // The families differ where a translator between them stands in the way, which no entry shows.
    guard tuple.source.ip.family == tuple.destination.ip.family else { return nil }
    let sequence = socket.nextSequence()
    var entry: ConntrackEntry?
    do {
      try socket.ask(ConntrackMessage.query(tuple, sequence: sequence), sequence) {
        entry = entry ?? ConntrackMessage.entry($0)
      }
    } catch {
      if error == .noSuchFile { return nil }
      throw error
    }
    return entry
  }

  /// Read once a second at most, however many ask.
  private func settings(_ desk: inout Desk) -> ConntrackSettings {
    let now = Instant.precise()
    if let time = desk.settingsTime, now - time < .seconds(1) { return desk.settings }
    desk.settings = ConntrackSettings.read()
    desk.settingsTime = now
    return desk.settings
  }

  /// - Returns: whether there were any.
  private func readEvents(_ desk: inout Desk) -> Bool {
    var counted = Statistics()
    // Bounded, so that questions are answered in a flood of events too.
    reading: for _ in 0..<512 {
      switch desk.events.receive() {
      case .messages(let bytes):
        for message in NetlinkMessages(bytes[...]) {
          counted.events &+= 1
          guard let entry = ConntrackMessage.entry(message) else { continue }
          if message.type == ConntrackMessage.deleted {
            desk.flows.deleted(entry)
          } else if message.type == ConntrackMessage.created {
            desk.flows.created(entry)
          }
        }
      case .overrun: counted.overruns &+= 1
      case .nothing: break reading
      case .failed:
        // It may fail again at once: counted as lost, which also makes the thread pause.
        counted.overruns &+= 1
        break reading
      }
    }
    reading: for _ in 0..<512 {
      switch desk.log.receive() {
      case .messages(let bytes):
        for message in NetlinkMessages(bytes[...]) where message.type == LogMessage.packet {
          counted.invalidPackets &+= 1
          if let packet = LogMessage.invalidPacket(message, at: Instant.precise()) {
            desk.packets.add(packet)
          }
        }
      case .overrun: counted.overruns &+= 1
      case .nothing: break reading
      case .failed:
        // It may fail again at once: counted as lost, which also makes the thread pause.
        counted.overruns &+= 1
        break reading
      }
    }
    guard counted != Statistics() else { return false }
    state.withLock { state in
      state.statistics.events &+= counted.events
      state.statistics.overruns &+= counted.overruns
      state.statistics.invalidPackets &+= counted.invalidPackets
    }
    return true
  }
}
