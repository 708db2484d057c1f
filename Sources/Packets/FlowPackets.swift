// What the index knows about a flow, as a value to be read at leisure: asked for once something has ended.

import Platform

/// A reset as it was seen, with what was known about the flow when it came.
package struct ResetSighting: Hashable, Sendable {
  package var packet: RecordedPacket
  /// What its sender had been like, and its receiver, before this packet.
  package var sender: FlowBaseline
  package var receiver: FlowBaseline
  /// The last packets that the receiver had sent before, newest first: one of them may have provoked it.
  package var candidates: [RecordedPacket]

  package init(
    packet: RecordedPacket, sender: FlowBaseline, receiver: FlowBaseline,
    candidates: [RecordedPacket]
  ) {
    self.packet = packet
    self.sender = sender
    self.receiver = receiver
    self.candidates = candidates
  }

  /// At most so many packets are looked at as possible triggers.
  static let maximumCandidates = 4
}

/// The last packets of a flow and what its sides were like, seen from one of them.
package struct FlowPackets: Hashable, Sendable {
  package enum Direction: Sendable {
    case sent
    case received
  }

  package var local: SocketAddress
  package var peer: SocketAddress
  /// When its first SYN was seen, in nanoseconds since 1970; nil where it had begun before.
  package var began: Int64?
  /// What the local side sent, and what came in the peer's name.
  package var sent: FlowBaseline
  package var received: FlowBaseline
  /// The last ones, oldest first: TCP, and ICMP errors about the flow.
  package var packets: [RecordedPacket]
  /// How many there were in all; those that are not in `packets` have been forgotten.
  package var total: UInt64
  /// The resets in both directions, oldest first: the first two and the last two, so that no later packet displaces them.
  /// Of a flood of them the first four; `FlowBaseline.resets` counts all.
  package var resets: [ResetSighting]

  /// Whether a packet of this flow was sent by the local side. An ICMP error is received by whom it quotes.
  package func direction(of packet: RecordedPacket) -> Direction {
    let source =
      packet.header.icmp?.quotation?.endpoints.destination ?? packet.header.endpoints.source
    return source == local ? .sent : .received
  }

  /// The last ICMP error about what the local side sent, and who says so.
  /// - Parameters:
  ///   - times: nanoseconds since 1970.
  ///   - outstanding: what the socket has sent and nobody has confirmed; nil where only packets tell.
  ///   - mode: what was recorded of this flow.
  package func unreachable(
    in times: ClosedRange<Int64>, outstanding: Outstanding? = nil, mode: PacketFilter.Mode
  ) -> (sender: IPAddress, error: ICMPError)? {
    for packet in packets.reversed() where times.contains(packet.time) {
      if let error = packet.header.icmp, direction(of: packet) == .received,
        quotesUs(error, outstanding ?? self.outstanding(mode))
      {
        return (packet.header.endpoints.source.ip, error)
      }
    }
    return nil
  }

  /// Places that have been sent and not been confirmed: from the first one up to the one that follows the last.
  package struct Outstanding: Hashable, Sendable {
    package var first: SequenceNumber
    package var next: SequenceNumber

    package init(first: SequenceNumber, next: SequenceNumber) {
      self.first = first
      self.next = next
    }
  }

  /// As packets tell it. Nil where they do not: content is not seen in lite mode, and there is none before the peer has
  /// answered.
  private func outstanding(_ mode: PacketFilter.Mode) -> Outstanding? {
    guard mode == .full || received.segments == 0, let next = sent.nextSequence,
      let first = received.acknowledged ?? sent.initialSequence
    else { return nil }
    return Outstanding(first: first, next: next)
  }

  /// Whether an ICMP error is about a segment that is on its way yet. The kernel asks for no less (RFC 5927 §4.1), for who
  /// only guesses ports does not know numbers; and where the segment was confirmed since, the way is open.
  func quotesUs(_ error: ICMPError, _ outstanding: Outstanding?) -> Bool {
    guard let quoted = error.quotation?.sequence, let outstanding,
      outstanding.first != outstanding.next
    else { return false }
    return quoted != outstanding.next && quoted.isBetween(outstanding.first, outstanding.next)
  }

  /// The same, without what was before.
  /// - Parameter time: nanoseconds since 1970.
  package func since(_ time: Int64) -> FlowPackets {
    var flow = self
    flow.packets.removeAll { $0.time < time }
    flow.resets.removeAll { $0.packet.time < time }
    return flow
  }

  package func direction(of reset: ResetSighting) -> Direction { direction(of: reset.packet) }

  /// How many segments, other than resets, have come from a reset's sender since: somebody who aborted sends none.
  package func segmentsAfter(_ reset: ResetSighting) -> UInt32 {
    let now = direction(of: reset) == .sent ? sent : received
    return now.segments &- reset.sender.segments
  }
}
