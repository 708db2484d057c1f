// From the packets of a flow to evidence: which reset ended it, what it looked like beside the flow's other packets, and
// what came afterwards.

import Forensics
import Packets
import Platform

/// What the packets of a flow say of its ending.
struct PacketFindings {
  var evidence: PacketEvidence
  /// What is worth a comment in a capture, by the time of the packet.
  var marks: [Int64: String]
  /// Packets that belong to the story and not to the flow: a stray and what drew it.
  var others: [RecordedPacket] = []
}

extension PacketSensor {
  /// Packets of the time line.
  private static let steps = 16
  /// A flow that was silent for so long before the segment that a reset answers had been idle.
  private static let idle: Int64 = 10_000_000_000
  /// Resets that follow each other sooner have one cause.
  private static let together: Int64 = 1_000_000_000

  func evidence(of flow: FlowPackets, in record: EndingRecord) -> PacketFindings {
    let about = record.evidence
    var found = PacketEvidence()
    var marks: [Int64: String] = [:]
    let life = ConnectionLife(record)
    let mode = filter.mode(ofPort: flow.local.port)
    let place = SocketPlace(about.socket.info, flow)
    if let stray = about.packets?.stray {
      // The socket itself has said that it was at this place.
      found.stray = stray
      found.isStrayExact = about.packets?.isStrayExact ?? true
    } else if let stray = stray(about, life) {
      let isThere = stray.header.tcp.flatMap { place.has($0.sequence) }
      // A number that was nowhere near is a stranger's.
      if isThere != false || stray.certainty == .sequenceFits {
        found.stray = stray.origin
        found.isStrayExact = isThere == true
      }
    }
    found.peerFinished = Self.hasFinished(flow, place)
    found.unreachable = flow.unreachable(
      in: life.times(from: life.beginning), outstanding: place.outstanding, mode: mode
    ).flatMap(Self.message)
    found.finish = Self.finish(flow.received)
    found.lost = lost(life)
    let roundTrip = about.socket.info?.confirmedRoundTripTime.map { Int64($0) * 1000 }
    let resets = flow.resets.compactMap { sighting in
      ResetFacts(sighting, mode: mode, minimumRoundTrip: roundTrip).map {
        (sighting, Self.placed($0, sighting, place, in: flow))
      }
    }
    for (sighting, facts) in resets {
      marks[sighting.packet.time] = "reset, \(facts.shape.rawValue)"
      if facts.hasCause, let trigger = facts.trigger {
        marks[trigger.time] = "what the reset answers"
      }
    }
    let received = resets.filter {
      flow.direction(of: $0.0) == .received && $0.0.packet.time >= life.beginning
    }
    if let (sighting, facts) = Self.telling(received, life) {
      found.reset = Self.reset(facts)
      // A reset of our own for want of a socket answers a segment, whether that was recorded or not: the peer's, if it
      // says where the connection was.
      let answered = resets.contains {
        flow.direction(of: $0.0) == .sent && $0.1.shape == .passive
          && $0.0.packet.time > sighting.packet.time
          && $0.0.packet.header.tcp.flatMap { place.has($0.sequence) } != false
      }
      // Where only beginnings and ends are recorded, silence means nothing.
      found.peerAliveAfter =
        flow.segmentsAfter(sighting) > 0 || answered ? true : mode == .full ? false : nil
      if let reason = Self.content(sighting.packet) { found.reset?.looks.content = reason }
    }
    found.losesLargeOnly = mode == .full && flow.losesLargeOnly
    var others: [RecordedPacket] = []
    var steps = flow.packets.map { Self.step($0, in: flow, marks) }
    if let origin = found.stray,
      let astray = self.flow(local: flow.local, peer: origin, at: .max)?.since(life.beginning)
    {
      for reset in astray.resets { marks[reset.packet.time] = "our kernel knows nobody there" }
      for packet in astray.packets where astray.direction(of: packet) == .received {
        marks[packet.time] = "untranslated"
      }
      others = astray.packets
      steps += others.map {
        var step = Self.step($0, in: astray, marks)
        step.what += step.isOutgoing ? " to \(origin)" : " from \(origin)"
        step.sequence = nil
        step.acknowledgement = nil
        return step
      }
    }
    found.steps = Array(steps.sorted { $0.time < $1.time }.suffix(Self.steps))
    return PacketFindings(evidence: found, marks: marks, others: others)
  }

  /// Which of the resets that came has ended the connection. The receiver takes one at exactly its place; others ended
  /// nothing. Whoever aborts draws more of them with what was on its way to him, so of those that came together the
  /// first one counts. Where places are not known, the last one before the ending is as good a guess as any.
  static func telling(
    _ received: [(ResetSighting, ResetFacts)], _ life: ConnectionLife
  ) -> (ResetSighting, ResetFacts)? {
    let effective = received.filter { $0.1.sequence.isEffective }
    let exact = effective.filter { $0.1.sequence == .exact }
    let before = (exact.isEmpty ? effective : exact).filter { $0.0.packet.time <= life.ending }
    guard var telling = before.last else { return exact.first ?? effective.first }
    guard !exact.isEmpty else { return telling }
    for earlier in before.reversed()
    where telling.0.packet.time &- earlier.0.packet.time <= together { telling = earlier }
    return telling
  }

  /// The facts of a reset that came, with its place as the socket knows it.
  private static func placed(
    _ facts: ResetFacts, _ sighting: ResetSighting, _ place: SocketPlace, in flow: FlowPackets
  ) -> ResetFacts {
    var facts = facts
    if flow.direction(of: sighting) == .received, let tcp = sighting.packet.header.tcp {
      facts.sequence = place.fit(tcp, facts.sequence, sender: sighting.sender)
    }
    return facts
  }

  /// Whether a FIN of the peer was seen that our kernel has taken: anybody can write one elsewhere.
  static func hasFinished(_ flow: FlowPackets, _ place: SocketPlace) -> Bool {
    guard let finish = flow.received.finish else { return false }
    return place.expected.map { $0 - finish.next >= 0 } ?? true
  }

  private static func finish(_ peer: FlowBaseline) -> PacketEvidence.Finish? {
    peer.finish.map { finish in
      var found = PacketEvidence.Finish()
      found.hopDifference = finish.hopLimitBefore.map { Int(finish.hopLimit) - Int($0) } ?? 0
      found.isOdd = finish.lacksDoNotFragment || finish.isOutOfStep
      found.hasGoneOn = peer.hasGoneOn
      return found
    }
  }

  private static func reset(_ facts: ResetFacts) -> PacketEvidence.Reset {
    var reset = PacketEvidence.Reset(
      PacketEvidence.Shape(facts.shape), isOutgoing: false)
    reset.isExact = facts.sequence == .unknown ? nil : facts.sequence.isEffective
    reset.hopDifference = facts.hopLimitDifference ?? 0
    reset.isShorterWay = facts.isShorterWay
    reset.isOdd = !facts.oddities.isEmpty
    reset.isNear = facts.isTooSoon == true
    reset.isAfterIdle = (facts.silenceBeforeTrigger ?? 0) >= idle
    reset.looks.hopLimit = facts.hopLimit
    reset.looks.hopLimitBefore = facts.hopLimitBaseline
    reset.looks.identification = facts.identification.rawValue
    reset.looks.window = facts.window
    reset.looks.hasTimestamps = facts.hasTimestamps
    reset.looks.oddities = facts.oddities.map(\.sentence)
    if facts.hasCause {
      reset.looks.trigger = facts.trigger.map { Self.words($0) }
      reset.looks.afterTrigger = facts.afterTrigger.map { .nanoseconds($0) }
    }
    return reset
  }

  private static func message(
    _ sender: IPAddress, _ error: ICMPError
  ) -> (sender: IPAddress, isPort: Bool, isProhibited: Bool)? {
    switch (error.family, error.type, error.code) {
    case (.v4, 3, 3), (.v6, 1, 4): (sender, true, false)
    case (.v4, 3, 9), (.v4, 3, 10), (.v4, 3, 13), (.v6, 1, 1), (.v6, 1, 5), (.v6, 1, 6):
      (sender, false, true)
    // A packet that was too large, or whose way was too long, is told for its own sake.
    case (.v4, 3, 4), (.v6, 2, _), (_, 11, _), (.v6, 3, _): nil
    default: (sender, false, false)
    }
  }

  private static func step(
    _ packet: RecordedPacket, in flow: FlowPackets, _ marks: [Int64: String]
  ) -> PacketEvidence.Step {
    let isOutgoing = flow.direction(of: packet) == .sent
    let time = packet.time / 1000
    let note = marks[packet.time]
    guard let tcp = packet.header.tcp else {
      return PacketEvidence.Step(
        time: time, isOutgoing: false,
        what: packet.header.icmp.map { "ICMP: \($0), says \(packet.header.endpoints.source.ip)" }
          ?? "?",
        note: note)
    }
    let (sender, receiver) = isOutgoing ? (flow.sent, flow.received) : (flow.received, flow.sent)
    let number = tcp.sequence.rawValue &- (sender.initialSequence?.rawValue ?? 0)
    let acknowledgement =
      tcp.acknowledges
      ? tcp.acknowledgement.rawValue &- (receiver.initialSequence?.rawValue ?? 0) : nil
    return PacketEvidence.Step(
      time: time, isOutgoing: isOutgoing, what: "\(tcp.flags)", sequence: number,
      acknowledgement: acknowledgement, length: tcp.contentLength, note: note)
  }

  private static func words(_ packet: RecordedPacket) -> String {
    guard let tcp = packet.header.tcp else { return "ICMP" }
    return "\(tcp.flags)" + (tcp.contentLength > 0 ? ", \(tcp.contentLength) bytes" : "")
  }

  /// A reason in words that the sender of a reset gives, made harmless.
  private static func content(_ packet: RecordedPacket) -> String? {
    let bytes = packet.content.prefix(64)
    guard !bytes.isEmpty else { return nil }
    return String(decoding: bytes.map { (0x20...0x7E).contains($0) ? $0 : 0x2E }, as: UTF8.self)
  }
}

extension ResetFacts {
  /// It is an answer to a segment; who aborts needs none.
  fileprivate var hasCause: Bool { shape != .active }
}

extension PacketEvidence.Shape {
  init(_ shape: ResetShape) {
    self =
      switch shape {
      case .active: .active
      case .passive: .passive
      case .replyToSYN: .refusal
      case .handMade: .handmade
      }
  }
}

extension FlowPackets {
  /// Small segments of ours were confirmed, and large ones are sent again and again.
  var losesLargeOnly: Bool {
    guard let confirmed = received.acknowledged else { return false }
    let mine = packets.filter { direction(of: $0) == .sent }.compactMap(\.header.tcp)
      .filter { $0.contentLength > 0 }
    let isConfirmed = { (tcp: TCPHeader) in tcp.nextSequence - confirmed <= 0 }
    let lost = mine.filter { !isConfirmed($0) }
    let small: UInt32 = 536
    // The same place, several times, and never a small segment among them.
    guard lost.count >= 3, let first = lost.first, lost.allSatisfy({ $0.contentLength > small }),
      lost.count(where: { $0.sequence == first.sequence }) >= 2
    else { return false }
    return sent.contentBytes > 0 && mine.contains { isConfirmed($0) && $0.contentLength <= small }
  }
}
