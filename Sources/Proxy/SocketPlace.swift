// Where a connection is by what its own socket counts, in the numbers that packets have. Packets may be missed, or be
// written by anybody; a socket's counts are what its kernel has believed. So what packets suggest is held against them.

import Forensics
import Packets

/// The places of a socket of ours (RFC 9293 §3.3.1). Nil where the kernel does not count, or the beginning was not seen.
struct SocketPlace: Equatable {
  /// SND.UNA and SND.NXT.
  private(set) var outstanding: FlowPackets.Outstanding?
  /// RCV.NXT.
  private(set) var expected: SequenceNumber?

  /// - Parameters:
  ///   - ours: the number of our SYN.
  ///   - theirs: that of the peer's.
  init(_ info: TCPInfo?, ours: SequenceNumber?, theirs: SequenceNumber? = nil) {
    guard let info else { return }
    if let ours, let confirmed = info.bytesAcknowledged, let sent = info.bytesSent,
      let again = info.bytesRetransmitted
    {
      let first = ours + UInt32(truncatingIfNeeded: confirmed)
      // The SYN is a place and no byte; so is our FIN, which is counted once it is confirmed.
      let next = ours + 1 + UInt32(truncatingIfNeeded: sent &- again)
      let isFinishing = first - next > 0 || info.state.map(Self.hasFinished) ?? false
      outstanding = FlowPackets.Outstanding(first: first, next: isFinishing ? next + 1 : next)
    }
    if let theirs, let received = info.bytesReceived {
      // The peer's FIN counts as a byte.
      expected = theirs + 1 + UInt32(truncatingIfNeeded: received)
    }
  }

  /// - Parameter flow: seen from the socket.
  init(_ info: TCPInfo?, _ flow: FlowPackets) {
    self.init(info, ours: flow.sent.initialSequence, theirs: flow.received.initialSequence)
  }

  private static func hasFinished(_ state: TCPInfo.State) -> Bool {
    switch state {
    case .finWait1, .finWait2, .closing, .lastAck: true
    default: false
    }
  }

  /// Whether somebody at the other end may have said that this comes next. Nil where nobody can tell.
  func has(_ number: SequenceNumber) -> Bool? {
    outstanding.map { number.isBetween($0.first, $0.next) }
  }

  /// How a reset's place fits what the socket had taken when it ended, which is what its kernel has gone by.
  /// - Parameters:
  ///   - seen: how it fits by packets.
  ///   - sender: what the reset's sender had been like.
  func fit(_ reset: TCPHeader, _ seen: SequenceFit, sender: FlowBaseline) -> SequenceFit {
    // A SYN is answered by what it says and not by a place.
    guard let expected, sender.initialSequence != nil else { return seen }
    let distance = reset.sequence - expected
    if distance == 0 { return .exact }
    // Behind a FIN the one before it will do. So does the end of what has come out of order (RFC 5961 §3.2).
    if distance == -1, sender.hasFinished { return .exact }
    if distance > 0 {
      return seen == .exact && reset.sequence == sender.nextSequence
        ? .exact : .ahead(UInt32(distance))
    }
    return .behind(UInt32(expected.rawValue &- reset.sequence.rawValue))
  }
}
