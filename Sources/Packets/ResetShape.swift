// What a reset looks like, compared with the flow it ends. A pure function of what was seen: who may have sent it and
// why is for others to conclude.
//
// Linux makes three kinds, told apart by what is in them; who writes one by hand seldom gets all of it right:
//
//                 flags     seq              ack         window    options        IPv4 id    DF
//   active        RST+ACK   its snd_nxt      rcv_nxt     as ever   as ever        the next   as ever
//   passive       RST       trigger's ack    0           0         none           0          set
//   to a SYN      RST+ACK   0                SYN + 1     0         none           0          set
//
// Active: a program aborted a connection that lived. Passive: a segment came for which there is no connection; the
// kernel that says so may be the peer's or that of a box in between (REJECT makes the same shape, with its own hop
// limit). Other systems number their packets otherwise, which is why an odd number alone speaks against a reset only
// where the sender has been counting.

import Platform

/// The kind of a reset.
package enum ResetShape: String, Hashable, Sendable, CaseIterable {
  /// A live connection was aborted.
  case active
  /// No connection belonged to what came in.
  case passive
  /// Nobody listens.
  case replyToSYN = "reply-to-syn"
  /// None of these: see `ResetFacts.oddities`.
  case handMade = "hand-made"
}

/// What does not fit the kind that a reset otherwise would be.
package enum ResetOddity: String, Hashable, Sendable, CaseIterable {
  case acknowledgementWithoutFlag = "acknowledgement-without-flag"
  case windowInPassive = "window-in-passive"
  case optionsInPassive = "options-in-passive"
  case timestampsMissing = "timestamps-missing"
  case timestampsUnexpected = "timestamps-unexpected"
  case identificationOutOfStep = "identification-out-of-step"
  case identificationInPassive = "identification-in-passive"
  case mayBeFragmented = "may-be-fragmented"
  case malformedOptions = "malformed-options"
  case unusualFlags = "unusual-flags"

  /// About the number of an IPv4 packet, which by itself proves nothing.
  var isAboutNumber: Bool {
    self == .identificationOutOfStep || self == .identificationInPassive
  }

  package var sentence: String {
    switch self {
    case .acknowledgementWithoutFlag: "it has an acknowledgement number and no ACK flag"
    case .windowInPassive: "it answers for want of a connection and yet has a window"
    case .optionsInPassive: "it answers for want of a connection and yet has options"
    case .timestampsMissing: "the connection has time stamps and it has none"
    case .timestampsUnexpected: "it has time stamps and the connection none"
    case .identificationOutOfStep: "its IPv4 identification does not follow the sender's last one"
    case .identificationInPassive:
      "it answers for want of a connection and yet has an IPv4 identification"
    case .mayBeFragmented: "it lacks the DF flag that the sender sets"
    case .malformedOptions: "its options are malformed"
    case .unusualFlags: "its flags never come with a reset"
    }
  }
}

/// How a reset's sequence number relates to where the flow was. A receiver honours it at exactly the place it expects
/// (RFC 5961 §3.2), answers one within its window with a question, and ignores others.
package enum SequenceFit: Hashable, Sendable {
  case exact
  /// So far ahead of what the receiver expects.
  case ahead(UInt32)
  /// So far behind.
  case behind(UInt32)
  case unknown

  /// A receiver honours it, for all that is known.
  package var isEffective: Bool {
    switch self {
    case .exact, .unknown: true
    case .ahead, .behind: false
    }
  }
}

/// Everything that a reset tells by its looks.
package struct ResetFacts: Hashable, Sendable {
  package enum Identification: String, Hashable, Sendable {
    case zero
    /// The one after the sender's last.
    case next
    case outOfStep = "out-of-step"
    /// IPv6, or nothing to compare with.
    case unknown
  }

  package var shape: ResetShape
  package var oddities: [ResetOddity]
  package var sequence: SequenceFit
  package var hopLimit: UInt8
  /// What the sender's packets had before; nil when none was seen.
  package var hopLimitBaseline: UInt8?
  package var identification: Identification
  package var hasTimestamps: Bool
  package var window: UInt16
  /// The packet that it most likely answers.
  package var trigger: RecordedPacket?
  /// Nanoseconds since then.
  package var afterTrigger: Int64?
  /// Nanoseconds in which the flow had been silent before the trigger. Nil in lite mode, or when nothing was seen before.
  package var silenceBeforeTrigger: Int64?
  /// It answers a segment, and came sooner than half a round trip after the first one that it may answer. Nil when that
  /// cannot be told, as where a round trip takes less than a millisecond, or the program aborted, which answers nothing.
  package var isTooSoon: Bool?
  /// Its hop limit is larger than the sender's packets had, and that is the way's doing: it is little more, and larger
  /// than that of the handshake too. A program may set its own hop limit (`IP_TTL`), and its kernel, where it knows no
  /// socket, has the usual one.
  package var isShorterWay: Bool
  /// Somebody nearer than the peer sent it: it came sooner than the peer could have answered, or has come a shorter
  /// way than the peer's packets. Nil when neither can be told; equal hop limits prove nothing.
  package var isNearer: Bool?

  /// More routers passed (negative) or fewer (positive) than by the sender's packets before.
  package var hopLimitDifference: Int? {
    hopLimitBaseline.map { Int(hopLimit) - Int($0) }
  }
}

extension ResetFacts {
  /// - Parameters:
  ///   - reset: the packet, what its two ends had been like, and what may have provoked it. In lite mode only the
  ///     handshake is known, and what needs more is left out.
  ///   - mode: what had been recorded.
  ///   - minimumRoundTrip: nanoseconds that the way to the peer and back takes at least (`tcpi_min_rtt`), if known.
  package init?(_ reset: ResetSighting, mode: PacketFilter.Mode, minimumRoundTrip: Int64? = nil) {
    let header = reset.packet.header
    guard let tcp = header.tcp, tcp.isReset else { return nil }
    let sender = reset.sender
    let receiver = reset.receiver

    trigger = ResetFacts.trigger(
      of: tcp, at: reset.packet.time, among: reset.candidates, roundTrip: minimumRoundTrip)
    afterTrigger = trigger.map { reset.packet.time &- $0.time }
    hopLimit = header.hopLimit
    hopLimitBaseline = sender.hopLimit ?? sender.handshakeHopLimit
    hasTimestamps = tcp.timestamps != nil
    window = tcp.window
    sequence = ResetFacts.fit(tcp, sender: sender, receiver: receiver, mode: mode)

    switch header.identification {
    case nil: identification = .unknown
    case 0: identification = .zero
    case let number?:
      // In lite mode packets in between have not been seen.
      if mode == .full, sender.identificationsFollow == true,
        let isNext = sender.isNextIdentification(number)
      {
        identification = isNext ? .next : .outOfStep
      } else {
        identification = .unknown
      }
    }

    let usesTimestamps: Bool? =
      if sender.offersTimestamps == false || receiver.offersTimestamps == false {
        false
      } else if sender.timestamps != nil, receiver.timestamps != nil {
        true
      } else {
        nil
      }
    var odd: [ResetOddity] = []
    if !tcp.flags.isDisjoint(with: [.synchronise, .finish, .urgent, .push]) {
      odd.append(.unusualFlags)
    }
    if tcp.optionsAreMalformed { odd.append(.malformedOptions) }

    let likely: ResetShape
    if !tcp.acknowledges {
      likely = .passive
      if tcp.acknowledgement.rawValue != 0 { odd.append(.acknowledgementWithoutFlag) }
    } else if tcp.sequence.rawValue == 0, ResetFacts.isRefusal(tcp, trigger: trigger, receiver) {
      likely = .replyToSYN
    } else {
      likely = .active
    }
    switch likely {
    case .passive, .replyToSYN:
      if tcp.window != 0 { odd.append(.windowInPassive) }
      if tcp.hasOptions { odd.append(.optionsInPassive) }
      if let number = header.identification, number != 0 { odd.append(.identificationInPassive) }
    default:
      if usesTimestamps == true, tcp.timestamps == nil { odd.append(.timestampsMissing) }
      if usesTimestamps == false, tcp.timestamps != nil { odd.append(.timestampsUnexpected) }
      // 0 is no exception: a socket counts on.
      let isZero = identification == .zero && sender.identificationsFollow == true && mode == .full
      if identification == .outOfStep || isZero && sender.isNextIdentification(0) == false {
        odd.append(.identificationOutOfStep)
      }
    }
    if header.identification != nil, !header.doNotFragment, sender.setsDoNotFragment != false {
      odd.append(.mayBeFragmented)
    }
    oddities = odd
    isShorterWay = Self.isShorterWay(header.hopLimit, sender)
    let difference = hopLimitBaseline.map { Int(header.hopLimit) - Int($0) } ?? 0
    // A strange number and a strange way besides are two things that a kernel does not do.
    let isStrange = odd.contains { !$0.isAboutNumber } || difference != 0 && !isShorterWay
    shape = odd.isEmpty || !isStrange ? likely : .handMade

    if likely == .passive, mode == .full, let minimumRoundTrip,
      minimumRoundTrip >= Self.tellingRoundTrip, let trigger,
      trigger.header.tcp?.acknowledgement == receiver.acknowledged, receiver.initialSequence != nil
    {
      // Of all segments with this number the first: any of them may be what is answered.
      let soon = reset.packet.time &- receiver.acknowledgedSince < minimumRoundTrip / 2
      isTooSoon = soon ? true : afterTrigger.flatMap { $0 < minimumRoundTrip / 2 ? nil : false }
    }
    if mode == .full, let trigger {
      let before =
        reset.candidates.map(\.time).filter { $0 < trigger.time }
        + (sender.segments > 0 && sender.lastTime <= trigger.time ? [sender.lastTime] : [])
      silenceBeforeTrigger = before.max().map { trigger.time &- $0 }
    }
    // A longer way, or the same, proves nothing; only time can say that it was not nearer.
    isNearer = isShorterWay || isTooSoon == true ? true : isTooSoon
  }

  /// Between hosts side by side a few packets have a round trip that tells more of how busy they were than of the way.
  private static let tellingRoundTrip: Int64 = 1_000_000

  /// Whether a larger hop limit tells of a shorter way: systems begin with 64, 128 or 255.
  private static func isShorterWay(_ hopLimit: UInt8, _ sender: FlowBaseline) -> Bool {
    let before = [sender.hopLimit, sender.handshakeHopLimit].compactMap(\.self)
    guard let most = before.max(), let least = before.min() else { return false }
    return hopLimit > most && Int(hopLimit) - Int(least) <= Self.longestWay
      && Self.initialHopLimit(hopLimit) == Self.initialHopLimit(least)
  }

  /// Routers between a peer and somebody nearer, at most; a larger difference is more likely somebody's setting.
  private static let longestWay = 16

  private static func initialHopLimit(_ hopLimit: UInt8) -> UInt8 {
    hopLimit <= 64 ? 64 : hopLimit <= 128 ? 128 : 255
  }

  /// What is older was answered before, or never will be.
  private static let longestAnswer: Int64 = 1_000_000_000

  /// The packet of the receiver that most likely drew the reset: of those that explain its numbers the last one that
  /// the peer can have answered by then, and if it can have answered none, the first.
  private static func trigger(
    of reset: TCPHeader, at time: Int64, among candidates: [RecordedPacket], roundTrip: Int64?
  ) -> RecordedPacket? {
    let explaining = candidates.filter { candidate in
      guard let tcp = candidate.header.tcp, !tcp.isReset, candidate.time <= time else {
        return false
      }
      // For want of a connection: the answer has the place from the question (RFC 9293 §3.10.7.1).
      if !reset.acknowledges { return tcp.acknowledges && tcp.acknowledgement == reset.sequence }
      if reset.sequence.rawValue == 0, !tcp.acknowledges {
        return tcp.nextSequence == reset.acknowledgement
      }
      // Of a live connection: whatever came last and reached no further than what it acknowledges.
      return tcp.sequence - reset.acknowledgement <= 0
    }
    guard let roundTrip, !reset.acknowledges else { return explaining.first }
    let recent = explaining.filter {
      time &- $0.time <= max(roundTrip, 0) &+ Self.longestAnswer
    }
    return recent.first { time &- $0.time >= roundTrip } ?? recent.last ?? explaining.first
  }

  private static func isRefusal(
    _ reset: TCPHeader, trigger: RecordedPacket?, _ receiver: FlowBaseline
  ) -> Bool {
    if let tcp = trigger?.header.tcp, !tcp.acknowledges { return true }
    // The SYN may have been seen and be no candidate any more.
    return receiver.initialSequence.map { $0 + 1 == reset.acknowledgement } ?? false
  }

  /// The same of what has not been told apart by mode: in lite mode no segment is seen that offers a window.
  static func fit(
    _ reset: TCPHeader, sender: FlowBaseline, receiver: FlowBaseline
  ) -> SequenceFit {
    fit(
      reset, sender: sender, receiver: receiver, mode: receiver.windowEnd == nil ? .lite : .full)
  }

  private static func fit(
    _ reset: TCPHeader, sender: FlowBaseline, receiver: FlowBaseline, mode: PacketFilter.Mode
  ) -> SequenceFit {
    // A connection that is being made accepts what acknowledges its SYN (RFC 9293 §3.10.7.3).
    if sender.nextSequence == nil, let initial = receiver.initialSequence, reset.acknowledges {
      let distance = reset.acknowledgement - (initial + 1)
      if distance == 0 { return .exact }
      // With content in the SYN more is confirmed (RFC 7413).
      if let next = receiver.nextSequence, reset.acknowledgement.isBetween(initial + 1, next) {
        return .exact
      }
      return distance > 0
        ? .ahead(UInt32(distance))
        : .behind(reset.acknowledgement.rawValue.distance(to: initial + 1))
    }
    guard mode == .full else { return .unknown }
    // What the receiver has confirmed is a place it was at; it may be further, up to all that was sent.
    let expected: SequenceNumber
    switch (receiver.acknowledged, sender.nextSequence) {
    case (let confirmed?, let sent?):
      if reset.sequence.isBetween(confirmed, confirmed.later(sent)) { return .exact }
      expected = confirmed.later(sent)
    case (let confirmed?, nil): expected = confirmed
    case (nil, let sent?): expected = sent
    case (nil, nil): return .unknown
    }
    let distance = reset.sequence - expected
    if distance == 0 { return .exact }
    return distance > 0
      ? .ahead(UInt32(distance)) : .behind(reset.sequence.rawValue.distance(to: expected))
  }
}

extension UInt32 {
  fileprivate func distance(to later: SequenceNumber) -> UInt32 { later.rawValue &- self }
}
