// What the kernel itself says about resets: why it sent one, which it believed, what it sent again and what it threw
// away. Watched by perf events, which end with this process whatever becomes of it. Of all network namespaces of the
// machine, so that where client, proxy or origin share it, the other side's reason is known too.
//
//   processor 0 ─ ring for resets, ring for the rest ─┐
//   processor 1 ─ …                                   ├─▶ this thread ─▶ TraceHistory ◀── who asks after an ending
//
// Resets have a ring of their own, so that a flood of drops does not push them out.

import CKernelSensors
import Platform
import Synchronization

package final class ResetTracer: Sendable {
  package struct Statistics: Hashable, Sendable {
    package var counts: [TraceEvent.Kind: UInt64] = [:]
    /// Records that found no room.
    package var lost: UInt64 = 0

    package init() {}
  }

  /// One ending to be asked about.
  package struct Question: Sendable {
    package var local: SocketAddress
    package var peer: SocketAddress
    /// The same where addresses are translated.
    package var alias: (local: SocketAddress, peer: SocketAddress)?
    /// Who is behind the translation, if somebody else than the peer is: a reset of ours to him has killed his side.
    package var stray: SocketAddress?
    package var cookie: UInt64?
    package var since: Instant
    /// What comes after an ending is not its cause.
    package var until: Instant = .distantFuture

    package init(local: SocketAddress, peer: SocketAddress, cookie: UInt64?, since: Instant) {
      self.local = local
      self.peer = peer
      self.cookie = cookie
      self.since = since
    }
  }

  private struct State {
    var questions: [(Question, @Sendable (TraceReport?) -> Void)] = []
    var statistics = Statistics()
    var isStopping = false
    var isRunning = false
  }

  private static let mostQuestions = 4096
  /// Between two readings, so that a flood of drops takes no more than a part of one processor.
  private static let pause: Duration = .milliseconds(2)
  /// Drops that say something about how connections end. Those of each reset that was believed, and of each packet
  /// for a closed port, do not.
  private static let drops = [
    "NETFILTER_DROP", "TCP_LISTEN_OVERFLOW", "TCP_OVERWINDOW", "TCP_CSUM", "IP_RPFILTER",
    "SOCKET_RCVBUFF", "SOCKET_BACKLOG", "PROTO_MEM", "TCP_RFC7323_PAWS", "TCP_INVALID_SEQUENCE",
  ]

  /// What is watched.
  package let kinds: [TraceEvent.Kind]
  /// Whether the kernel gives reasons for resets (Linux 6.10).
  package let tellsReasons: Bool

  private let points: [Tracepoint]
  private let state = Monitor(State())
  private let wake: EventFD
  private let thread = Mutex<WorkerThread?>(nil)

  /// Opens everything, and returns when it watches.
  package static func start() throws(KernelSensorError) -> ResetTracer {
    let points = try findPoints()
    let started = Monitor<Result<Void, KernelSensorError>?>(nil)
    let tracer: ResetTracer
    let thread: WorkerThread
    do {
      tracer = ResetTracer(points, wake: try EventFD())
      thread = try WorkerThread.start(name: "tracepoints") {
        tracer.run { result in
          started.withLock { $0 = result }
          started.wakeAll()
        }
      }
    } catch {
      throw .failed(step: "starting the tracepoints' thread", error)
    }
    tracer.thread.withLock { $0 = thread }
    switch started.wait(for: { $0 }) {
    case .success: return tracer
    case .failure(let error):
      tracer.stop()
      throw error
    }
  }

  private init(_ points: [Tracepoint], wake: consuming EventFD) {
    self.points = points
    kinds = points.map(\.kind)
    tellsReasons = points.contains {
      $0.kind == .resetSent && $0.format.fields["reason"] != nil
    }
    self.wake = wake
  }

  /// Tells what the kernel has said about a flow by now.
  /// - Parameter answer: called once, on the tracer's thread, or at once with nil where it does not watch. It should
  ///   hand on and return.
  package func report(_ question: Question, _ answer: @escaping @Sendable (TraceReport?) -> Void) {
    let isTaken = state.withLock { state in
      guard state.isRunning, state.questions.count < Self.mostQuestions else { return false }
      state.questions.append((question, answer))
      return true
    }
    if isTaken { wake.signal() } else { answer(nil) }
  }

  package var statistics: Statistics { state.withLock { $0.statistics } }
  /// Whether it watches.
  package var isActive: Bool { state.withLock { $0.isRunning } }

  /// Waits until `condition` holds for what was counted, or the tracer has ended.
  /// - Returns: whether it holds.
  package func wait(until condition: (Statistics) -> Bool) -> Bool {
    state.wait { state in
      if condition(state.statistics) { return true }
      return state.isRunning ? nil : false
    }
  }

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

  // MARK: Finding them

  private static func findPoints() throws(KernelSensorError) -> [Tracepoint] {
    var trouble = Errno.noSuchFile
    for directory in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
      do {
        _ = try KernelFile.read(directory + "/events/header_page")
      } catch {
        if error != .noSuchFile { trouble = error }
        continue
      }
      let points = TraceEvent.Kind.allCases.compactMap { point($0, in: directory) }
      guard points.contains(where: { $0.kind == .resetSent || $0.kind == .resetReceived }) else {
        throw .noTracepoints
      }
      return points
    }
    throw .noTraceFiles(trouble)
  }

  private static func point(_ kind: TraceEvent.Kind, in directory: String) -> Tracepoint? {
    guard let text = KernelFile.text("\(directory)/events/\(kind.path)/format"),
      let format = TraceFormat(text)
    else { return nil }
    if kind == .dropped {
      // Without reasons a drop says nothing.
      guard let filter = filter(format) else { return nil }
      return Tracepoint(kind: kind, format: format, filter: filter)
    }
    return Tracepoint(kind: kind, format: format)
  }

  /// The drops that are wanted, in the numbers of this kernel.
  static func filter(_ format: TraceFormat) -> String? {
    guard let names = format.symbols["reason"], format.fields["protocol"] != nil else { return nil }
    let numbers = names.filter { drops.contains($0.value) }.keys.sorted()
    guard !numbers.isEmpty else { return nil }
    let reasons = numbers.map { "reason == \($0)" }.joined(separator: " || ")
    return "(protocol == 0x800 || protocol == 0x86dd) && (\(reasons))"
  }

  /// `0-3,8` to its numbers.
  static func processors(_ text: String) -> [Int32] {
    var processors: [Int32] = []
    for part in text.split(whereSeparator: { $0 == "," || $0.isWhitespace }) {
      let ends = part.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map {
        Int32($0)
      }
      guard let first = ends.first ?? nil, let last = ends.last ?? nil, first >= 0,
        last >= first, last < 8192
      else { continue }
      processors += Array(first...last)
    }
    return processors
  }

  // MARK: The thread

  /// What cannot be kept in an array.
  private final class Ring {
    var ring: TraceRing
    init(_ ring: consuming TraceRing) { self.ring = ring }
  }

  private func run(_ started: (Result<Void, KernelSensorError>) -> Void) {
    do throws(KernelSensorError) {
      let rings = try open()
      let epoll = try watch(rings)
      state.withLock { $0.isRunning = true }
      started(.success(()))
      trace(rings, epoll)
    } catch {
      started(.failure(error))
    }
    state.wakeAll()
  }

  private func open() throws(KernelSensorError) -> [Ring] {
    var rings: [Ring] = []
    let online = Self.processors(KernelFile.text("/sys/devices/system/cpu/online") ?? "0")
    let groups = [
      points.filter { $0.kind == .resetSent || $0.kind == .resetReceived },
      points.filter { $0.kind == .retransmitted || $0.kind == .dropped },
    ].filter { !$0.isEmpty }
    do throws(Errno) {
      for processor in online.isEmpty ? [0] : online {
        for group in groups { rings.append(Ring(try TraceRing(processor: processor, group))) }
      }
    } catch {
      switch error {
      case .notPermitted, .accessDenied: throw .lacksPerfmon(error)
      case .notImplemented, .noSuchFile, .notSupported: throw .noPerfEvents(error)
      default: throw .failed(step: "watching tracepoints", error)
      }
    }
    return rings
  }

  private func watch(_ rings: [Ring]) throws(KernelSensorError) -> Epoll {
    do {
      let epoll = try Epoll(capacity: 64)
      try epoll.add(wake.rawValue, .read, token: 0)
      for ring in rings { try epoll.add(ring.ring.rawValue, .read, token: 1) }
      return epoll
    } catch {
      throw .failed(step: "watching tracepoints", error)
    }
  }

  private func trace(_ rings: [Ring], _ epoll: borrowing Epoll) {
    var history = TraceHistory()
    var lost: UInt64 = 0
    let byID = Dictionary(points.map { ($0.format.id, $0) }) { first, _ in first }
    while true {
      _ = try? epoll.wait(milliseconds: -1)
      wake.clear()
      var (questions, isStopping) = state.withLock { state in
        defer { state.questions = [] }
        return (state.questions, state.isStopping)
      }
      for ring in rings { lost &+= read(ring, byID, &history) }
      state.withLock { state in
        state.statistics.counts = history.counts
        state.statistics.lost = lost
        guard isStopping else { return }
        // From now on none is taken, and what was taken meanwhile is answered.
        state.isRunning = false
        questions += state.questions
        state.questions = []
      }
      state.wakeAll()
      for (question, answer) in questions { answer(Self.report(question, history)) }
      if isStopping { return }
      sleepThread(Self.pause)
    }
  }

  /// - Returns: how many records were lost.
  private func read(
    _ ring: Ring, _ points: [Int: Tracepoint], _ history: inout TraceHistory
  ) -> UInt64 {
    var lost: UInt64 = 0
    // Bounded: in a flood the others have their turn too.
    for _ in 0..<4096 {
      switch ring.ring.next() {
      case nil: return lost
      case .lost(let count)?: lost &+= count
      case .sample(let time, let record)?:
        guard let id = record.native16(0), let point = points[Int(id)],
          let event = TraceEvent(point.kind, point.format, record, time: time)
        else {
          lost &+= 1
          continue
        }
        history.add(event)
      }
    }
    return lost
  }

  private static func report(_ question: Question, _ history: TraceHistory) -> TraceReport {
    var flows = [ConntrackTuple(source: question.local, destination: question.peer)]
    if let alias = question.alias {
      flows.append(ConntrackTuple(source: alias.local, destination: alias.peer))
    }
    return history.report(
      flows, stray: question.stray, cookie: question.cookie, since: question.since,
      until: question.until)
  }
}
