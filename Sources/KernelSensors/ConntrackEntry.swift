// An entry of the kernel's table of connections (conntrack): what netfilter knows about a flow that it follows, and
// where it really leads when addresses are translated.

import Platform

/// Between whom packets of one direction go, as they look before anything is translated.
package struct ConntrackTuple: Hashable, Sendable {
  package var source: SocketAddress
  package var destination: SocketAddress

  /// IPv4 addresses in their IPv6 form are taken for what they are on the wire.
  package init(source: SocketAddress, destination: SocketAddress) {
    self.source = SocketAddress(source.ip.unmapped, port: source.port)
    self.destination = SocketAddress(destination.ip.unmapped, port: destination.port)
  }

  package var reversed: ConntrackTuple { ConntrackTuple(source: destination, destination: source) }
}

extension ConntrackTuple: CustomStringConvertible {
  package var description: String { "\(source) > \(destination)" }
}

package struct ConntrackEntry: Hashable, Sendable {
  /// enum ip_conntrack_status.
  package struct Status: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let seenReply = Status(rawValue: 2)
    package static let assured = Status(rawValue: 4)
    package static let confirmed = Status(rawValue: 8)
    package static let sourceNAT = Status(rawValue: 16)
    package static let destinationNAT = Status(rawValue: 32)
    package static let dying = Status(rawValue: 512)

    /// In words, for records.
    package var names: [String] {
      [
        (Status.seenReply, "seen-reply"), (.assured, "assured"), (.confirmed, "confirmed"),
        (.sourceNAT, "snat"), (.destinationNAT, "dnat"), (.dying, "dying"),
      ].filter { contains($0.0) }.map(\.1)
    }
  }

  /// enum tcp_conntrack.
  package enum TCPState: UInt8, Hashable, Sendable {
    case none, synSent, synReceived, established, finWait, closeWait, lastAck, timeWait, close,
      synSent2

    package var name: String {
      switch self {
      case .none: "none"
      case .synSent: "syn_sent"
      case .synReceived: "syn_recv"
      case .established: "established"
      case .finWait: "fin_wait"
      case .closeWait: "close_wait"
      case .lastAck: "last_ack"
      case .timeWait: "time_wait"
      case .close: "close"
      case .synSent2: "syn_sent2"
      }
    }
  }

  /// Of who spoke first, as it sent.
  package var original: ConntrackTuple
  /// Of the answers, as they are expected: from the real server, to what the first one looks like to it.
  package var reply: ConntrackTuple
  package var status: Status = []
  package var state: TCPState?
  /// Seconds until it is forgotten, if nothing comes.
  package var timeout: UInt32?
  package var mark: UInt32?
  package var zone: UInt16?
  package var id: UInt32?

  package init(original: ConntrackTuple, reply: ConntrackTuple) {
    self.original = original
    self.reply = reply
  }

  /// Who really is at the other end of a flow that looks like `tuple` here (our address first); nil if it is not this
  /// entry's.
  package func realPeer(of tuple: ConntrackTuple) -> SocketAddress? {
    if original == tuple { return reply.source }
    if reply == tuple { return original.source }
    return nil
  }

  /// What our end looks like to the other, when that is not what it is.
  package func translatedSource(of tuple: ConntrackTuple) -> SocketAddress? {
    let seen =
      original == tuple ? reply.destination : reply == tuple ? original.destination : tuple.source
    return seen == tuple.source ? nil : seen
  }
}
