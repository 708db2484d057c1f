// What one side of a connection has been like so far: the facts that a packet in its name is later compared with.
// Kept up packet by packet, and by everything but resets, which are what is to be judged.

import Platform

/// What is known about the packets of one sender in one flow.
package struct FlowBaseline: Hashable, Sendable {
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
  /// It has sent a FIN.
  package var hasFinished = false

  /// Of its SYN or SYN-ACK, which are made by its kernel and nobody in between.
  package var handshakeHopLimit: UInt8?
  /// Of its last segment.
  package var hopLimit: UInt8?

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
  mutating func observe(_ header: PacketHeader, _ tcp: TCPHeader, at time: Int64) {
    segments &+= 1
    contentBytes &+= UInt64(tcp.contentLength)
    lastTime = max(lastTime, time)
    hopLimit = header.hopLimit
    window = tcp.window
    if tcp.flags.contains(.synchronise) {
      initialSequence = tcp.sequence
      handshakeHopLimit = header.hopLimit
      offersTimestamps = tcp.timestamps != nil
      windowScale = tcp.windowScale
      maximumSegmentSize = tcp.maximumSegmentSize
      permitsSelectiveAcknowledgement = tcp.permitsSelectiveAcknowledgement
      // What came before it, in its sender's name, was of an earlier connection.
      nextSequence = tcp.nextSequence
      acknowledged = nil
      hasFinished = false
    } else {
      nextSequence = nextSequence?.later(tcp.nextSequence) ?? tcp.nextSequence
    }
    if tcp.acknowledges {
      acknowledged = acknowledged?.later(tcp.acknowledgement) ?? tcp.acknowledgement
    }
    if tcp.flags.contains(.finish) { hasFinished = true }
    if let stamps = tcp.timestamps { timestamps = stamps }
    observeIdentification(header, tcp)
  }

  private mutating func observeIdentification(_ header: PacketHeader, _ tcp: TCPHeader) {
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
    let size = UInt32(maximumSegmentSize ?? 536)
    identificationStride = UInt16(
      clamping: max(
        1, (UInt64(tcp.contentLength) + UInt64(max(size, 1)) - 1) / UInt64(max(size, 1))) + 1)
  }
}
