// What one side of a connection has been like so far: the facts that a packet in its name is later compared with.
// Kept up packet by packet, and by everything but resets, which are what is to be judged, and segments that the kernel
// throws away, which anybody may have written.

import Platform

/// What is known about the packets of one sender in one flow.
package struct FlowBaseline: Hashable, Sendable {
  /// A segment with FIN, and what the sender was like before it.
  package struct Finish: Hashable, Sendable {
    /// What follows it.
    package var next: SequenceNumber
    package var hopLimit: UInt8
    package var hopLimitBefore: UInt8?
    /// It lacks the DF that the sender sets.
    package var lacksDoNotFragment: Bool
    /// Its sender had been counting, and its IPv4 identification does not follow.
    package var isOutOfStep: Bool
  }

  /// Segments but resets, and their content in bytes, retransmissions included.
  package var segments: UInt32 = 0
  package var contentBytes: UInt64 = 0
  package var resets: UInt32 = 0
  /// When the last segment that was no reset went by; nanoseconds since 1970.
  package var lastTime: Int64 = 0

  /// The sequence number of its SYN.
  package var initialSequence: SequenceNumber?
  /// What follows all it was seen to send: its snd_nxt, if nothing went unseen.
  package var nextSequence: SequenceNumber?
  /// The furthest it has acknowledged: its rcv_nxt, and the other side's snd_una.
  package var acknowledged: SequenceNumber?
  /// When it first did so.
  package var acknowledgedSince: Int64 = 0
  /// Where the window ends that it has offered. Nil in lite mode, where no segment is seen that offers one.
  package var windowEnd: SequenceNumber?
  /// Its first FIN.
  package var finish: Finish?
  /// It has sent a FIN.
  package var hasFinished: Bool { finish != nil }
  /// It has sent content behind its FIN, which nobody does who has sent the FIN himself.
  package var hasGoneOn = false

  /// Of its SYN or SYN-ACK, which are made by its kernel and nobody in between.
  package var handshakeHopLimit: UInt8?
  /// Of its last segment.
  package var hopLimit: UInt8?
  /// Its last segment had DF; nil when none was seen, and for IPv6.
  package var setsDoNotFragment: Bool?

  /// Of its last IPv4 segment.
  package var identification: UInt16?
  /// How far ahead the next one may be: a segment that hardware or the kernel cuts up takes as many as it has pieces.
  package var identificationStride: UInt16 = 1
  /// How often a packet's number followed from the one before, and how often not.
  package var identificationsInStep: UInt32 = 0
  package var identificationsOutOfStep: UInt32 = 0

  /// Whether its SYN had time stamps; nil when the SYN was not seen.
  package var offersTimestamps: Bool?
  /// The last ones it sent.
  package var timestamps: TCPHeader.Timestamps?
  package var windowScale: UInt8?
  package var maximumSegmentSize: UInt16?
  package var permitsSelectiveAcknowledgement = false
  /// As its last segment had it, not scaled.
  package var window: UInt16 = 0

  package init() {}

  /// Whether numbers of IPv4 packets follow each other here. Nil when too few have been seen to say.
  package var identificationsFollow: Bool? {
    let seen = UInt64(identificationsInStep) + UInt64(identificationsOutOfStep)
    // Some systems number each packet at random, or per machine; then nothing follows from a jump.
    return seen < 2 ? nil : identificationsInStep > identificationsOutOfStep
  }

  /// Whether `number` may be the one after the last.
  package func isNextIdentification(_ number: UInt16) -> Bool? {
    guard let identification else { return nil }
    let ahead = number &- identification
    return ahead >= 1 && ahead <= identificationStride
  }

  /// Takes in a segment that is no reset.
  /// - Parameters:
  ///   - receiver: what the other side has been like.
  ///   - isOurs: our own kernel has sent it, and nobody in its name.
  mutating func observe(
    _ header: PacketHeader, _ tcp: TCPHeader, at time: Int64, receiver: FlowBaseline, isOurs: Bool
  ) {
    guard isOurs || isAcceptable(tcp, to: receiver) else { return }
    let isSYN = tcp.flags.contains(.synchronise)
    segments &+= 1
    contentBytes &+= UInt64(tcp.contentLength)
    lastTime = max(lastTime, time)
    if tcp.flags.contains(.finish), !hasFinished { noteFinish(header, tcp) }
    if let finish, tcp.contentLength > 0, tcp.nextSequence - finish.next > 0 { hasGoneOn = true }
    // Where the place of a FIN is not known it may be anybody's.
    let isKnown = isOurs || isSYN || receiver.windowEnd != nil || !tcp.flags.contains(.finish)
    if isKnown {
      hopLimit = header.hopLimit
      if header.identification != nil { setsDoNotFragment = header.doNotFragment }
    }
    window = tcp.window
    if isSYN {
      initialSequence = tcp.sequence
      handshakeHopLimit = header.hopLimit
      offersTimestamps = tcp.timestamps != nil
      windowScale = tcp.windowScale
      maximumSegmentSize = tcp.maximumSegmentSize
      permitsSelectiveAcknowledgement = tcp.permitsSelectiveAcknowledgement
      // What came before it, in its sender's name, was of an earlier connection.
      nextSequence = tcp.nextSequence
      acknowledged = nil
      windowEnd = nil
      finish = nil
      hasGoneOn = false
    } else {
      nextSequence = nextSequence?.later(tcp.nextSequence) ?? tcp.nextSequence
    }
    if tcp.acknowledges { noteAcknowledgement(tcp, at: time) }
    if let stamps = tcp.timestamps { timestamps = stamps }
    observeIdentification(header, tcp, receiver)
  }

  /// Whether a receiver takes a segment in, for all that is known: in its window, and without confirming what was never
  /// sent (RFC 9293 §3.10.7.4, RFC 5961 §5.2).
  private func isAcceptable(_ tcp: TCPHeader, to receiver: FlowBaseline) -> Bool {
    if tcp.flags.contains(.synchronise) {
      // One that is sent again says nothing new, and behind the beginning none is part of the connection.
      return initialSequence == nil || receiver.acknowledged == nil
    }
    // Nothing but SYNs and FINs has been seen of the receiver.
    guard let end = receiver.windowEnd, let confirmed = receiver.acknowledged else { return true }
    if tcp.acknowledges, let next = receiver.nextSequence {
      let behind = next - tcp.acknowledgement
      guard behind >= 0, behind <= Self.oldestAcknowledgement else { return false }
    }
    // A keepalive probe is one behind.
    return tcp.sequence - end <= 0 && tcp.nextSequence - confirmed >= -1
  }

  /// How far behind an acknowledgement may be, and how far a window reaches at least: more than kernels are strict about,
  /// and little beside all numbers there are.
  private static let oldestAcknowledgement: Int32 = 1 << 26
  private static let smallestWindow: UInt32 = 1 << 20
  /// For want of the SYN that said it.
  private static let usualWindowScale: UInt8 = 10

  private mutating func noteAcknowledgement(_ tcp: TCPHeader, at time: Int64) {
    if acknowledged.map({ tcp.acknowledgement - $0 > 0 }) ?? true {
      acknowledged = tcp.acknowledgement
      acknowledgedSince = time
    }
    guard tcp.flags.isDisjoint(with: [.synchronise, .finish]) else { return }
    let scale = initialSequence == nil ? Self.usualWindowScale : min(windowScale ?? 0, 14)
    let end = tcp.acknowledgement + max(UInt32(tcp.window) << UInt32(scale), Self.smallestWindow)
    windowEnd = windowEnd?.later(end) ?? end
  }

  private mutating func noteFinish(_ header: PacketHeader, _ tcp: TCPHeader) {
    finish = Finish(
      next: tcp.nextSequence, hopLimit: header.hopLimit, hopLimitBefore: hopLimit,
      lacksDoNotFragment: setsDoNotFragment == true && !header.doNotFragment,
      isOutOfStep: windowEnd != nil && identificationsFollow == true
        && header.identification.flatMap(isNextIdentification) == false)
  }

  private mutating func observeIdentification(
    _ header: PacketHeader, _ tcp: TCPHeader, _ receiver: FlowBaseline
  ) {
    guard let number = header.identification else { return }
    // A SYN-ACK is sent before there is a socket to count (Linux: always 0), so counting begins behind it.
    guard !tcp.flags.contains(.synchronise) else { return }
    if let isNext = isNextIdentification(number) {
      if isNext {
        identificationsInStep &+= 1
      } else {
        identificationsOutOfStep &+= 1
      }
    }
    identification = number
    // Pieces are as large as both sides and the way permit, which may be less than either says: twice as many will do.
    let options = UInt32(tcp.headerLength) &- min(UInt32(tcp.headerLength), 20)
    let most = UInt32(min(maximumSegmentSize ?? 536, receiver.maximumSegmentSize ?? 1460))
    let size = UInt64(max(most > options ? most - options : 1, 64))
    let pieces = max(1, (UInt64(tcp.contentLength) + size - 1) / size)
    identificationStride = UInt16(clamping: pieces * 2 + 1)
  }
}
