// What the kernel itself said of one connection, where it may be asked: the connection table of whoever translates, and
// the tracepoints. Each fact is nil, or empty, where nobody could be asked for it.

import Platform

public struct KernelEvidence: Sendable {
  /// An entry of the connection table.
  public struct Entry: Sendable, Equatable {
    /// In nf_conntrack's words, such as `established`.
    public var state: String?
    public var status: [String] = []
    /// Seconds until it is forgotten.
    public var timeout: Int64?
    public var mark: Int64?
    public var zone: Int64?

    public init() {}
  }

  /// How the table is set.
  public struct Settings: Sendable, Equatable {
    /// Packets outside of the window are translated all the same.
    public var isLiberal: Bool?
    /// Connections that are met in the middle are picked up.
    public var isLoose: Bool?
    public var ignoresInvalidResets: Bool?
    /// For how long an idle connection is remembered.
    public var establishedTimeout: Duration?
    public var count: Int64?
    public var maximum: Int64?

    public init() {}

    /// New connections find no room, or soon none will.
    public var isFull: Bool {
      guard let count, let maximum, maximum > 0 else { return false }
      return count >= maximum - maximum / 50
    }
  }

  /// A reset that the kernel told of.
  public struct Reset: Sendable, Equatable {
    /// The kernel's name for why it was sent; nil before Linux 6.10.
    public var reason: String?
    /// The state of the sender's socket, if there was one.
    public var state: String?

    public init(reason: String? = nil, state: String? = nil) {
      self.reason = reason
      self.state = state
    }
  }

  // The connection table.

  /// There was an entry when the connection was established; nil when nobody had asked.
  public var hadEntry: Bool?
  /// There is one now.
  public var hasEntry: Bool?
  public var entry: Entry?
  /// The first one was deleted while the connection was established.
  public var isEntryLost = false
  /// Where the flow really leads, behind a Service; of a client's connection, where it really comes from.
  public var realPeer: SocketAddress?
  /// It led elsewhere when it was established.
  public var switchedFrom: SocketAddress?
  /// What our end looks like to the other, where it is not what it is.
  public var translatedSource: SocketAddress?
  public var settings: Settings?
  /// Packets of this flow that a rule called INVALID; nil where none tells of them.
  public var invalidPackets: Int?
  /// By how much counters of the translator's namespace have grown, where that is another one.
  public var counters: [String: Int64] = [:]

  // The tracepoints.

  /// Our kernel reset the peer.
  public var sent: Reset?
  /// Our kernel reset the real origin, which is not whom the socket is connected to.
  public var stray: SocketAddress?
  /// The peer's kernel, which is this machine's too, reset us.
  public var sentByPeer: Reset?
  /// Our kernel believed a reset of the peer's.
  public var isResetBelieved = false
  /// Segments sent again, as the tracepoint counts.
  public var retransmissions = 0
  /// Packets of this flow that the kernel threw away, by its reason.
  public var drops: [String: Int] = [:]
  /// The same of the whole machine, for reasons that no flow is named with.
  public var machineDrops: [String: Int] = [:]

  public init() {}

  /// The kernel's name for why a reset was sent.
  public var reason: String? { sentByPeer?.reason ?? sent?.reason }

  /// It knows anything of this connection.
  public var isTelling: Bool {
    hadEntry == true || hasEntry == true || switchedFrom != nil || realPeer != nil || stray != nil
      || sent != nil || sentByPeer != nil || isResetBelieved || (invalidPackets ?? 0) > 0
  }

  /// Its entry is gone, though the connection had one and no reset that passed had closed it.
  public var hasForgotten: Bool { hadEntry == true && (isEntryLost || hasEntry == false) }

  /// Addresses of the flow are not the same on both sides of the table.
  func isTranslated(from peer: SocketAddress?) -> Bool {
    guard translatedSource == nil, let realPeer else { return translatedSource != nil }
    return realPeer != peer.map { SocketAddress($0.ip.unmapped, port: $0.port) }
  }

  /// How the peer's kernel made its reset, by its own reason (include/net/rstreason.h).
  var shape: (PacketEvidence.Shape, peerFinished: Bool)? {
    switch sentByPeer?.reason {
    case "TCP_ABORT_ON_CLOSE"?, "TCP_ABORT_ON_LINGER"?, "TCP_ABORT_ON_MEMORY"?, "TCP_STATE"?,
      "TCP_KEEPALIVE_TIMEOUT"?, "TCP_DISCONNECT_WITH_DATA"?:
      (.active, false)
    // A socket that is in TIME_WAIT, or that gets data after it was closed, has said FIN.
    case "TCP_TIMEWAIT_SOCKET"?, "TCP_ABORT_ON_DATA"?: (.passive, true)
    default: nil
    }
  }
}

extension [String: Int64] {
  /// Of the growth of counters: resets that the kernel sent for want of a socket. Aborts of programs, ours among them,
  /// are counted on their own and taken away; a little too much of them perhaps, and never too little.
  public var socketlessResets: Int64 {
    let aborts = ["TCPAbortOnData", "TCPAbortOnClose", "TCPAbortOnTimeout", "TCPAbortOnMemory"]
      .reduce(Int64(0)) { $0 &+ (self[$1] ?? 0) }
    return Swift.max(0, (self["OutRsts"] ?? 0) &- aborts)
  }
}
