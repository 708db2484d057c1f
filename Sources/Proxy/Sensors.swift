// What can be seen beside the sockets, and the thread that looks into it. Sensors lose sight of things at worst: nothing
// here is waited for by a connection, and one that cannot start is a sentence at the start and in `/api/status`.
//
//   EndingDesk ── records whose time has come ─▶ this thread ─▶ evidence of packets, capture ─▶ judged for good

import Configuration
import Forensics
import Logging
import Packets
import Platform
import Synchronization
import Telemetry

/// What a sensor is doing, for people.
package struct SensorState: Sendable {
  /// `packets`, `counters`, `conntrack`, `tracepoints`.
  package let name: String
  package let isActive: Bool
  /// What it sees; or why it does not, and what it would take.
  package let text: String

  var json: JSONObject {
    var sensor = JSONObject()
    sensor.add("name", name)
    sensor.add("active", isActive)
    sensor.add("text", text)
    return sensor
  }
}

final class Sensors: Sendable {
  /// Nil where packets are not looked at.
  let packets: PacketSensor?
  /// Nil where the kernel is not asked.
  let kernel: KernelSensor?
  let captures: CaptureDirectory?
  let states: [SensorState]
  /// Looks into what has ended; nil when there is no sensor, or no thread.
  private let thread: SensorThread?

  /// Starts what the configuration asks for and the system permits.
  init(_ settings: ResetSettings, listeners: [UInt16], logger: Logger) {
    var states: [SensorState] = []
    packets = PacketSensor.start(settings.sensors, listeners: listeners, &states)
    kernel = KernelSensor.start(settings, &states)
    var captures: CaptureDirectory?
    if packets != nil, let path = settings.captures {
      captures = CaptureDirectory(path, settings, logger: logger)
    }
    self.captures = captures
    thread = packets == nil && kernel == nil ? nil : try? SensorThread()
    self.states = states
  }

  /// What they are doing now: one may have ended since.
  var current: [SensorState] {
    states.map { state in
      guard state.name == "packets", let packets else {
        guard let trouble = kernel?.trouble(state.name) else { return state }
        return SensorState(
          name: state.name, isActive: state.isActive, text: "\(state.text); \(trouble)")
      }
      if let ending = packets.ending {
        return SensorState(name: state.name, isActive: false, text: ending)
      }
      let lost = packets.statistics.dropped
      return SensorState(
        name: state.name, isActive: true,
        text: state.text + (lost > 0 ? "; \(lost) \(lost == 1 ? "was" : "were") lost" : ""))
    }
  }

  /// Runs a job on the sensors' thread.
  /// - Returns: false where there is none, and the caller may do it himself: it will be short.
  func submit(_ job: @escaping @Sendable () -> Void) -> Bool { thread?.submit(job) ?? false }

  /// Adds what the sensors have seen to a record whose time has come, and judges it by that.
  func complete(_ record: inout EndingRecord) {
    kernel?.complete(&record.evidence, of: record.id)
    var seen: (flow: FlowPackets, findings: PacketFindings)?
    if let local = record.evidence.socket.local, let peer = record.evidence.socket.peer {
      record.communityID = CommunityID.of(local, peer)
      if let packets,
        let flow = packets.flow(local: local, peer: peer, at: ConnectionLife(record).known)
      {
        let findings = packets.evidence(of: flow, in: record)
        record.evidence.packets = findings.evidence
        seen = (flow, findings)
      }
    }
    record.verdict = Judge.judge(record.evidence)
    if let packets, let captures, let (flow, findings) = seen {
      record.capture = captures.write(
        Capture(flow: flow, findings: findings, record: record, packets).bytes(captures.fileSize),
        name: record.id.text)
    }
  }

  /// Ends all threads.
  func stop() {
    thread?.stop()
    packets?.stop()
    kernel?.stop()
  }
}

/// A thread with a list of things to do.
private final class SensorThread: Sendable {
  private struct State {
    var jobs: [@Sendable () -> Void] = []
    var isStopping = false
  }

  /// More than that wait only when something is very wrong.
  private static let limit = 64

  private let state = Monitor(State())
  private let thread: WorkerThread

  init() throws(Errno) {
    let state = self.state
    thread = try WorkerThread.start(name: "sensors") {
      while true {
        let (jobs, isStopping) = state.wait { state -> ([@Sendable () -> Void], Bool)? in
          guard !state.jobs.isEmpty || state.isStopping else { return nil }
          defer { state.jobs = [] }
          return (state.jobs, state.isStopping)
        }
        for job in jobs { job() }
        if isStopping { return }
      }
    }
  }

  func submit(_ job: @escaping @Sendable () -> Void) -> Bool {
    let isTaken = state.withLock { state in
      guard !state.isStopping, state.jobs.count < Self.limit else { return false }
      state.jobs.append(job)
      return true
    }
    if isTaken { state.wakeAll() }
    return isTaken
  }

  func stop() {
    state.withLock { $0.isStopping = true }
    state.wakeAll()
    thread.join()
  }
}
