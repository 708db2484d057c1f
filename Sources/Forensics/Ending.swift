// How a connection or what went on on it ended, in three words: whose side, in which phase, by what means. This is the
// closed table that the access log, the metrics and the records of faults share; whatever ends, ends as one row of it.

import Telemetry

/// What the connection was doing.
public enum Phase: UInt8, CaseIterable, Sendable {
  /// Not established yet.
  case connect
  /// In the handshake of TLS.
  case tls
  /// Kept, with nothing asked.
  case idle
  /// A request is on its way.
  case request
  /// It has been sent, and nothing of its answer has come.
  case head
  /// The answer is on its way.
  case content
  /// Bytes pass both ways, and nobody looks at them.
  case tunnel
}

/// What ended it. The words are those of tcp(7): a reset is received, an abort is ours.
public enum Means: UInt8, CaseIterable, Sendable {
  /// The peer said FIN.
  case finish
  /// The peer, or whoever spoke in its name, said RST.
  case reset
  /// We broke it off, or closed it because of a limit of ours.
  case abort
  /// Nobody said anything: the kernel gave up, or a limit of ours was reached.
  case timeout
  /// A message of a router or a firewall said that there is no way.
  case icmp
  /// Somebody on this machine destroyed the socket.
  case killed
  /// A TLS alert.
  case alert
  /// What came was no proper message.
  case malformed
  /// This machine could not go on: descriptors, memory, ports, or a route.
  case exhausted
}

public struct Ending: Hashable, Sendable {
  public let side: Side
  public let phase: Phase
  public let means: Means

  public init(_ side: Side, _ phase: Phase, _ means: Means) {
    self.side = side
    self.phase = phase
    self.means = means
  }
}

extension Ending: CustomStringConvertible {
  public var description: String { "\(side) \(phase) \(means)" }
}
