// Where endings come in, from all workers: each gets a record with a name, is judged, counted, kept for a while for who
// asks (`/api/resets`), and given to the log if there is one. Endings that are faults are rare, or else everything is
// lost anyway, so a lock will do; what is in order is only counted, per worker, and never comes here.
//
//   report ─▶ provisional line, and the judge listens on ─▶ final line     (1.5 s, and until a healing has come to its end)
//
// In a burst there may be no room for all that wait: the oldest are final as they are then. None ends without its line.

import Configuration
import Forensics
import Platform
import Synchronization
import Telemetry

final class EndingDesk: Sendable {
  /// Records that are kept in memory.
  private static let kept = 2000
  /// What the peer does in this time belongs to the evidence. In microseconds.
  private static let window: Int64 = 1_500_000
  /// No record waits longer for what becomes of its download.
  private static let longestWait: Int64 = 60_000_000
  /// Records that wait to be final; beyond them they are so at once.
  private static let mostWaiting = 1500

  fileprivate struct State {
    var records: [RecordID: EndingRecord] = [:]
    /// Names in `records`, oldest first.
    var order: [RecordID] = []
    /// Those that are not final yet, oldest first.
    var waiting: [RecordID] = []
    /// Downloads that go on, and whose outcome their records wait for.
    var healing: Set<RecordID> = []
    var counts: [EndingCount: UInt64] = [:]
    var resumptions: [EndingRecord.Resumption.Outcome: UInt64] = [:]
    var incidents = Incidents()
    var idling = IdleTable()
  }

  private let state = Mutex(State())
  /// Nil when no file is wanted.
  let log: EndingLog?
  /// Nil when nothing is looked at but sockets.
  let sensors: Sensors?

  init(log: EndingLog?, sensors: Sensors? = nil) {
    self.log = log
    self.sensors = sensors
  }

  /// Takes an ending in.
  /// - Returns: its name, for the client and the access log.
  /// - Parameter isHealing: `resumed` will be called with what became of the download.
  func report(
    _ evidence: Evidence, _ transaction: EndingRecord.Transaction, isHealing: Bool = false
  ) -> RecordID {
    let now = Self.microseconds
    let id = RecordID(
      milliseconds: now / 1000, random: (Randomness.word(), Randomness.word()))
    // Before anybody can know of the record, so that whoever waits for it waits for the kernel too.
    sensors?.kernel?.look(at: evidence, of: id)
    var evidence = evidence
    let (record, displaced) = state.withLock { state in
      if evidence.ending.side == .upstream {
        evidence.idleSurvival = state.idling.learn(from: evidence, at: transaction.server)
      }
      var record = EndingRecord(id: id, time: now, evidence: evidence, transaction: transaction)
      record.incident = state.incidents.add(record)
      let displaced = state.keep(record, limit: Self.kept)
      if isHealing { state.healing.insert(id) }
      state.waiting.append(id)
      return (record, displaced)
    }
    if let displaced { write(displaced) }
    write(record)
    return id
  }

  /// Makes those final whose time is up, on the sensors' thread if there is one. Called about once a second.
  func finishDue() {
    guard let sensors, sensors.submit({ self.finish() }) else { return finish() }
  }

  /// Makes those final whose time is up.
  func finish(now: Int64 = EndingDesk.microseconds, all: Bool = false) {
    let due = state.withLock {
      $0.takeDue(now: now, all: all, Self.window, Self.longestWait, Self.mostWaiting)
    }
    for var record in due {
      record.verdict = Judge.judge(record.evidence)
      sensors?.complete(&record)
      let final = state.withLock { $0.finish(record) }
      write(final)
    }
  }

  /// Judges what waits for good, and writes it.
  func close() {
    sensors?.stop()
    finish(all: true)
    log?.close()
  }

  var isAnyWaiting: Bool { state.withLock { !$0.waiting.isEmpty } }

  static var microseconds: Int64 {
    let now = WallTime.now()
    return now.seconds &* 1_000_000 &+ Int64(now.nanoseconds / 1000)
  }

  private func write(_ record: EndingRecord) {
    guard let log else { return }
    log.submit(record.line, isFinal: record.stage == .final)
  }

  /// `resumed` will be called with what became of the download.
  func isHealing(_ id: RecordID) {
    state.withLock { state in
      if state.records[id]?.stage == .provisional { state.healing.insert(id) }
    }
  }

  /// A connection to an origin that had been idle has answered.
  func survived(_ idle: Duration, at server: String) {
    state.withLock { $0.idling.survived(idle, at: server) }
  }

  /// What became of the download.
  func resumed(_ id: RecordID, _ resumption: EndingRecord.Resumption) {
    state.withLock { state in
      state.records[id]?.resumption = resumption
      state.healing.remove(id)
      state.resumptions[resumption.outcome, default: 0] &+= 1
    }
  }

  // MARK: Asking

  /// Youngest first.
  func recent(_ count: Int) -> [EndingRecord] {
    state.withLock { state in
      state.order.suffix(max(0, count)).reversed().compactMap { state.records[$0] }
    }
  }

  func record(_ id: RecordID) -> EndingRecord? { state.withLock { $0.records[id] } }

  var counts: [EndingCount: UInt64] { state.withLock { $0.counts } }

  var resumptions: [EndingRecord.Resumption.Outcome: UInt64] {
    state.withLock { $0.resumptions }
  }
}

extension EndingRecord.Transaction {
  /// What a client's request was about.
  init(_ record: AccessRecord) {
    self.init()
    client = record.client
    method = String(decoding: record.method, as: UTF8.self)
    url = String(decoding: record.target, as: UTF8.self)
    status = record.status.rawValue == 0 ? nil : Int(record.status.rawValue)
  }
}

extension EndingRecord {
  /// As it is written down and shown.
  var line: [UInt8] { line(timestamp: Self.timestamp(time)) }

  /// Microseconds since 1970 as RFC 3339 has them.
  static func timestamp(_ time: Int64) -> String {
    let (seconds, rest) = time.quotientAndRemainder(dividingBy: 1_000_000)
    let text = [UInt8](unsafeUninitializedCapacity: 20) { buffer, count in
      InternetTime.write(seconds, into: UnsafeMutableRawBufferPointer(buffer))
      count = 20
    }
    let micros = String(max(0, rest))
    let fraction = String(repeating: "0", count: max(0, 6 - micros.utf8.count)) + micros
    return String(decoding: text.dropLast(), as: UTF8.self) + "." + fraction + "Z"
  }
}

extension EndingDesk.State {
  fileprivate mutating func takeDue(
    now: Int64, all: Bool, _ window: Int64, _ longestWait: Int64, _ mostWaiting: Int
  ) -> [EndingRecord] {
    var due: [EndingRecord] = []
    var surplus = waiting.count - mostWaiting
    waiting.removeAll { id in
      guard let record = records[id] else { return true }
      let age = now - record.time
      let isDue = age >= window && !healing.contains(id) || age >= longestWait || age < 0
      guard isDue || all || surplus > 0 else { return false }
      surplus -= 1
      healing.remove(id)
      due.append(record)
      return true
    }
    return due
  }

  /// Takes back a record that has been judged for good.
  fileprivate mutating func finish(_ judged: EndingRecord) -> EndingRecord {
    var record = judged
    record.stage = .final
    // It may have been told meanwhile.
    record.resumption = records[record.id]?.resumption ?? record.resumption
    counts[EndingCount(record), default: 0] &+= 1
    if records[record.id] != nil { records[record.id] = record }
    return record
  }

  /// - Returns: the record that there is no more room for, if it has waited until now: what it says is final.
  fileprivate mutating func keep(_ record: EndingRecord, limit: Int) -> EndingRecord? {
    if order.count >= limit * 2 { order.removeFirst(order.count - limit) }
    records[record.id] = record
    order.append(record.id)
    guard order.count > limit else { return nil }
    let oldest = order[order.count - 1 - limit]
    let displaced = records.removeValue(forKey: oldest)
    // Both lists are in the order of endings, and nothing older is left. What is being judged at this moment waits no more.
    guard let displaced, waiting.first == oldest else { return nil }
    waiting.removeFirst()
    healing.remove(oldest)
    return finish(displaced)
  }
}

/// By what faults are counted.
struct EndingCount: Hashable, Sendable {
  let ending: Ending
  let cause: Cause

  init(_ record: EndingRecord) {
    ending = record.evidence.ending
    cause = record.verdict.cause
  }
}
