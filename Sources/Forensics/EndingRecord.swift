// One ending as it is written down: what was going on, what was observed, what it is judged to be and what can be done.
// A line of JSON. Names are OpenTelemetry's where it has some (`connection.ended` is the event), and kernel names below
// `tcp_info`; docs/records.md explains every one.

import Platform
import Telemetry

public struct EndingRecord: Sendable {
  public enum Stage: String, Sendable {
    /// At once.
    case provisional
    /// After listening for what the peer does next.
    case final
  }

  /// What the connection was used for.
  public struct Transaction: Sendable {
    public var client: SocketAddress?
    public var method = ""
    /// The target URI, without anything secret.
    public var url = ""
    /// The host and port that were asked for, by the name they were asked by.
    public var server = ""
    public var status: Int?

    public init() {}
  }

  /// How the download went on.
  public struct Resumption: Sendable {
    public enum Outcome: String, Sendable, CaseIterable {
      /// From where it had broken off.
      case resumed
      /// From the start, and what had been sent already was the same.
      case compared
      /// From the start, with nothing sent to anybody before.
      case repeated
      /// Not: the client was cut.
      case failed
    }

    public var offset: Int64
    public var outcome: Outcome
    /// From the ending to the first byte after it.
    public var after: Duration
    /// Why not, or what it took.
    public var note: String?

    public init(offset: Int64, outcome: Outcome, after: Duration, note: String? = nil) {
      self.offset = offset
      self.outcome = outcome
      self.after = after
      self.note = note
    }
  }

  public let id: RecordID
  /// Microseconds since 1970.
  public let time: Int64
  public var stage: Stage
  public var evidence: Evidence
  public var transaction: Transaction
  public var verdict: Verdict
  public var resumption: Resumption?
  /// What it belongs to, if to more than itself.
  public var incident: RecordID?
  /// The flow's name in other tools (Community ID).
  public var communityID: String?
  /// The file with its packets.
  public var capture: String?

  public init(id: RecordID, time: Int64, evidence: Evidence, transaction: Transaction) {
    self.id = id
    self.time = time
    stage = .provisional
    self.evidence = evidence
    self.transaction = transaction
    verdict = Judge.judge(evidence)
  }

  /// - Parameter timestamp: of `time`, as RFC 3339 has it.
  package func line(timestamp: String) -> [UInt8] {
    var record = JSONObject()
    record.add("time", timestamp)
    record.add("event.name", "connection.ended")
    record.add("id", id.text)
    record.add("stage", stage.rawValue)
    record.add("side", "\(evidence.ending.side)")
    record.add("phase", "\(evidence.ending.phase)")
    record.add("means", "\(evidence.ending.means)")
    addSocket(to: &record)
    addTransaction(to: &record)
    addConnection(to: &record)
    addSensors(to: &record)
    addVerdict(to: &record)
    return record.line
  }

  private func addSocket(to record: inout JSONObject) {
    let socket = evidence.socket
    if let syscall = socket.syscall { record.add("syscall", syscall.rawValue) }
    if let errno = socket.errno { record.add("errno", errno.name) }
    if let soft = socket.softError { record.add("errno.soft", soft.name) }
    record.add("network.transport", "tcp")
    if let local = socket.local {
      record.add("network.type", local.ip.family == .v4 ? "ipv4" : "ipv6")
      record.add("network.local.address", "\(local.ip)")
      record.add("network.local.port", Int64(local.port))
    }
    if let peer = socket.peer {
      record.add("network.peer.address", "\(peer.ip)")
      record.add("network.peer.port", Int64(peer.port))
    }
  }

  private func addTransaction(to record: inout JSONObject) {
    if let client = transaction.client {
      record.add("client.address", "\(client.ip)")
      record.add("client.port", Int64(client.port))
    }
    if !transaction.server.isEmpty { record.add("server.address", transaction.server) }
    if !transaction.method.isEmpty { record.add("http.request.method", transaction.method) }
    if !transaction.url.isEmpty { record.add("url.full", transaction.url) }
    if let status = transaction.status { record.add("http.response.status_code", Int64(status)) }
  }

  private func addConnection(to record: inout JSONObject) {
    var connection = JSONObject()
    connection.add("age", seconds: evidence.connection.age)
    connection.add("reused", evidence.connection.isReused)
    connection.add("requests", Int64(evidence.connection.requests))
    connection.add("idle", seconds: evidence.connection.idle)
    if let cookie = evidence.socket.cookie { connection.add("cookie", Int64(clamping: cookie)) }
    record.add("connection", connection)
    var content = JSONObject()
    if let expected = evidence.content.expected { content.add("expected", expected) }
    content.add("received", evidence.content.received)
    if let delivered = evidence.content.delivered { content.add("delivered", delivered) }
    if let confirmed = evidence.content.confirmed { content.add("confirmed", confirmed) }
    record.add("content", content)
  }

  private func addSensors(to record: inout JSONObject) {
    if let info = evidence.socket.info {
      var values = JSONObject()
      for field in info.fields { values.add(field.name, field.value) }
      if let unconfirmed = evidence.socket.unconfirmed { values.add("outq", Int64(unconfirmed)) }
      record.add("tcp_info", values)
    }
    if let counters = evidence.counters {
      var values = JSONObject()
      for (name, delta) in counters.sorted(by: { $0.key < $1.key }) where delta != 0 {
        values.add(name, delta)
      }
      record.add("counters", values)
    }
    if let packets = evidence.packets { add(packets, to: &record) }
    if let kernel = evidence.kernel { add(kernel, to: &record) }
    let real: (SocketAddress, String)? =
      (evidence.packets?.provenStray ?? evidence.kernel?.stray).map { ($0, "stray") }
      ?? evidence.kernel?.realPeer.flatMap { $0 == evidence.socket.peer ? nil : ($0, "conntrack") }
    if evidence.ending.side == .upstream, let (address, source) = real {
      var origin = JSONObject()
      origin.add("address", "\(address.ip)")
      origin.add("port", Int64(address.port))
      origin.add("source", source)
      record.add("origin.real", origin)
    }
  }

  private func add(_ packets: PacketEvidence, to record: inout JSONObject) {
    if let stray = packets.provenStray {
      // What killed the origin; resets that follow from it are in the time line.
      var values = JSONObject()
      values.add("direction", "out")
      values.add("shape", PacketEvidence.Shape.passive.rawValue)
      values.add("to", "\(stray)")
      record.add("rst", values)
    } else if let reset = packets.reset {
      var values = JSONObject()
      values.add("direction", reset.isOutgoing ? "out" : "in")
      values.add("shape", reset.shape.rawValue)
      if let isExact = reset.isExact { values.add("seq_exact", isExact) }
      add(reset.looks, to: &values)
      record.add("rst", values)
    }
    if let message = packets.unreachable { record.add("icmp.sender", "\(message.sender)") }
    if let alive = packets.peerAliveAfter { record.add("peer_alive_after", alive) }
    if packets.lost > 0 { record.add("packets_lost", Int64(clamping: packets.lost)) }
    if !packets.steps.isEmpty {
      record.add("packets", packets.steps.map { $0.json(since: time) })
    }
  }

  private func add(_ looks: PacketEvidence.Looks, to values: inout JSONObject) {
    values.add("ttl", Int64(looks.hopLimit))
    if let before = looks.hopLimitBefore { values.add("ttl_baseline", Int64(before)) }
    if !looks.identification.isEmpty { values.add("ip_id", looks.identification) }
    values.add("window", Int64(looks.window))
    values.add("timestamps", looks.hasTimestamps)
    if let trigger = looks.trigger { values.add("trigger", trigger) }
    if let after = looks.afterTrigger {
      values.add(
        "after_trigger_us",
        after.components.seconds &* 1_000_000 &+ after.components.attoseconds / 1_000_000_000_000)
    }
    if !looks.oddities.isEmpty { values.add("odd", looks.oddities) }
    if let content = looks.content { values.add("content_untrusted", content) }
  }

  private func addVerdict(to record: inout JSONObject) {
    var judged = JSONObject()
    judged.add("code", verdict.cause.rawValue)
    judged.add("confidence", hundredths: verdict.confidence)
    judged.add("tier", verdict.tier.letter)
    judged.add("for", verdict.reasons)
    judged.add("against", verdict.doubts)
    judged.add("also", verdict.also.map(\.rawValue))
    record.add("verdict", judged)
    record.add("error.type", verdict.cause.rawValue)
    record.add("remedy", verdict.cause.remedy)
    if let resumption {
      var resume = JSONObject()
      resume.add("offset", resumption.offset)
      resume.add("outcome", resumption.outcome.rawValue)
      resume.add("after", seconds: resumption.after)
      if let note = resumption.note { resume.add("note", note) }
      record.add("resume", resume)
    }
    if let incident { record.add("incident", incident.text) }
    if let capture { record.add("capture", capture) }
    if let communityID { record.add("community_id", communityID) }
  }
}

extension PacketEvidence.Step {
  /// - Parameter start: the ending, in microseconds since 1970.
  fileprivate func json(since start: Int64) -> JSONObject {
    var step = JSONObject()
    step.add("us", time &- start)
    step.add("direction", isOutgoing ? "out" : "in")
    step.add("what", what)
    if let sequence { step.add("seq", Int64(sequence)) }
    if let acknowledgement { step.add("ack", Int64(acknowledgement)) }
    if length > 0 { step.add("len", Int64(length)) }
    if let note { step.add("note", note) }
    return step
  }
}

extension JSONObject {
  /// With milliseconds, and without floating point on the way.
  mutating func add(_ name: String, seconds duration: Duration) {
    let (seconds, attoseconds) = duration.components
    add(name, thousandths: seconds &* 1000 &+ attoseconds / 1_000_000_000_000_000)
  }
}
