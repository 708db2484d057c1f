// Whether a SYN begins another connection between ends that had one before. What was seen of an earlier one (its resets
// above all) must not be taken for what has ended a later one; and a SYN that anybody may have written must not wipe out
// what is known of a connection that lives.

/// What a segment with SYN is to the flow that is known between its ends.
enum ConnectionBeginning: Hashable {
  /// Part of it: its first, its answer, or one of these sent again.
  case same
  /// The first of another connection.
  case another
  /// In the name of the peer of a connection that lives. Our own kernel's answer will say what it was.
  case strange

  /// - Parameters:
  ///   - sender: what its sender has been like in the flow, and its receiver.
  ///   - isEnded: the flow has seen a reset, or a FIN of both.
  ///   - isOurs: our own kernel has sent it.
  init(
    _ tcp: TCPHeader, sender: FlowBaseline, receiver: FlowBaseline, isEnded: Bool, isOurs: Bool
  ) {
    let isFirst = sender.isEmpty && receiver.isEmpty
    // A SYN that is sent again has the same number, and that of another connection has not (RFC 6528).
    guard !isFirst, tcp.flags.contains(.synchronise), sender.initialSequence != tcp.sequence else {
      self = .same
      return
    }
    if tcp.acknowledges {
      // The answer to the SYN that this connection began with; one made without state may be another each time.
      if let first = receiver.initialSequence, first + 1 == tcp.acknowledgement {
        self = .same
        return
      }
    } else if sender.initialSequence == nil, receiver.initialSequence != nil {
      // Its answer was seen before it, or both begin at a time (RFC 9293 §3.5).
      let isAnswered = receiver.acknowledged == tcp.sequence + 1
      let isMutual = receiver.acknowledged == nil && sender.isEmpty
      if isAnswered || isMutual {
        self = .same
        return
      }
    }
    self = isEnded || isOurs ? .another : .strange
  }
}

extension FlowBaseline {
  fileprivate var isEmpty: Bool { segments == 0 && resets == 0 }
}
