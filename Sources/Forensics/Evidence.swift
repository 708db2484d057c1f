// All that was observed of one ending, as values: what the sockets said, what the transaction had come to, and whatever
// the sensors that were at work have seen. A sensor that was not there is nil, which is not the same as having seen
// nothing. Observation is here, judgement in Judge.swift.

import Platform

/// Which call told.
public enum Syscall: String, Sendable {
  case connect, recv, send, sendfile, accept, epoll
}

/// How much could be seen: sockets only, counters of the kernel too, packets too, the kernel's own reasons too.
public enum Tier: Int, Comparable, CaseIterable, Sendable {
  case sockets, counters, packets, kernel

  public static func < (left: Tier, right: Tier) -> Bool { left.rawValue < right.rawValue }

  /// One letter, for records and tables.
  public var letter: String {
    switch self {
    case .sockets: "S"
    case .counters: "C"
    case .packets: "P"
    case .kernel: "K"
    }
  }
}

/// What the socket said when it ended.
public struct SocketEvidence: Sendable {
  public var local: SocketAddress?
  /// Of the socket: behind a Service that is the Service's address.
  public var peer: SocketAddress?
  /// Taken before the error was, because taking it clears some of it.
  public var info: TCPInfo?
  public var errno: Errno?
  public var syscall: Syscall?
  /// What a call after the end of the stream said of it: the kernel tells EPIPE where a RST followed the FIN.
  public var errorBehindEnd: Errno?
  /// Bytes that the peer has not confirmed (`SIOCOUTQ`).
  public var unconfirmed: Int?
  /// What distinguishes it from all others of the machine's (`SO_COOKIE`).
  public var cookie: UInt64?
  /// The last message of a router, which does not end an established connection.
  public var softError: Errno?
  /// connect(2) itself has said `errno`, and not a packet was sent: there is no way from this machine.
  public var hasNoWay = false

  public init() {}
}

/// The connection's life so far.
public struct ConnectionFacts: Sendable {
  /// Since it was established, or since the attempt began.
  public var age: Duration = .zero
  /// Requests that were sent on it, the last one included.
  public var requests = 0
  /// For how long it had been idle before the last request.
  public var idle: Duration = .zero
  /// It had answered a request before.
  public var isReused: Bool { requests > 1 }
  /// What the origin said it keeps idle connections for (`Keep-Alive: timeout`).
  public var announcedIdle: Duration?

  public init() {}
}

/// What was on its way.
public struct ContentFacts: Sendable {
  /// By framing; nil where only the end tells. Of a client's connection, of the answer with its head.
  public var expected: Int64?
  public var received: Int64 = 0
  /// Bytes of the answer, its head and framing included, that the client's socket took; nil where it is not one client's.
  public var delivered: Int64?
  /// Of these, those that the client's kernel has. Nil where nobody knows.
  public var confirmed: Int64?
  /// A whole head has come.
  public var hasHead = false
  /// Bytes of the answer that came on this connection, its head included.
  public var answerBytes: Int64 = 0
  /// Of the request, some had not been sent or not been confirmed.
  public var hasUnsentRequest = false
  /// Of the answer.
  public var status: Int?

  public init() {}
}

/// Why we ended it ourselves.
public enum OwnReason: String, Sendable, CaseIterable {
  /// A limit in time: its key is in the record.
  case deadline
  /// Less came than `min-progress` demands.
  case progress
  case shutdown
  /// The other side of the same download, or tunnel, had ended.
  case otherSide
  /// It could not be completed, and must not look whole.
  case cut
  case limit
  case malformed
  /// Its certificate, or what it can speak, is not what we accept.
  case tls
}

/// What packets showed.
public struct PacketEvidence: Sendable {
  /// How a RST was made.
  public enum Shape: String, Sendable {
    /// A socket that lives, or lived, said it.
    case active
    /// A kernel said it for want of a socket.
    case passive
    /// To a SYN.
    case refusal
    /// Not as a kernel makes them.
    case handmade
  }

  public struct Reset: Sendable {
    public var shape: Shape
    public var isOutgoing: Bool
    /// Exactly where the receiver expects it; nil where nobody knows.
    public var isExact: Bool? = true
    /// The packet's TTL minus the flow's; 0 proves nothing.
    public var hopDifference = 0
    /// If that is larger, a shorter way explains it; otherwise somebody may have set it.
    public var isShorterWay = true
    /// Something about it is not as it should be, if not enough to call it made by hand.
    public var isOdd = false
    /// It came too soon after what triggered it to have come from the peer.
    public var isNear = false
    /// It was an answer to the first segment after the connection had been idle.
    public var isAfterIdle = false
    /// How it looked, for the record.
    public var looks = Looks()

    public init(_ shape: Shape, isOutgoing: Bool) {
      self.shape = shape
      self.isOutgoing = isOutgoing
    }
  }

  /// The peer's FIN beside its other packets.
  public struct Finish: Sendable {
    public var hopDifference = 0
    /// It is numbered, or marked, otherwise than they are.
    public var isOdd = false
    /// The peer sent content behind it, which nobody does who has sent the FIN.
    public var hasGoneOn = false

    public init() {}

    var isForeign: Bool { hopDifference != 0 || isOdd || hasGoneOn }
  }

  /// What a RST looked like: told, and not judged by.
  public struct Looks: Sendable {
    public var hopLimit: UInt8 = 0
    /// Of the sender's packets before.
    public var hopLimitBefore: UInt8?
    /// How its IPv4 identification follows from them: `zero`, `next`, `out-of-step` or `unknown`.
    public var identification = ""
    public var window: UInt16 = 0
    public var hasTimestamps = false
    /// What was wrong with it, in sentences.
    public var oddities: [String] = []
    /// What it most likely answers, and how much later it came.
    public var trigger: String?
    public var afterTrigger: Duration?
    /// What its sender wrote into it, which nobody vouches for.
    public var content: String?

    public init() {}
  }

  /// One packet of the flow, for the time line.
  public struct Step: Sendable {
    /// Microseconds since 1970.
    public var time: Int64
    /// From this machine.
    public var isOutgoing: Bool
    /// `PSH+ACK`, or what an ICMP message says.
    public var what: String
    /// Relative to the first that is known of its sender; nil for ICMP.
    public var sequence: UInt32?
    public var acknowledgement: UInt32?
    /// Bytes of content.
    public var length: UInt32
    /// Why it is of interest.
    public var note: String?

    public init(
      time: Int64, isOutgoing: Bool, what: String, sequence: UInt32? = nil,
      acknowledgement: UInt32? = nil, length: UInt32 = 0, note: String? = nil
    ) {
      self.time = time
      self.isOutgoing = isOutgoing
      self.what = what
      self.sequence = sequence
      self.acknowledgement = acknowledgement
      self.length = length
      self.note = note
    }
  }

  /// The RST that ended it, if one was seen.
  public var reset: Reset?
  /// The peer's FIN was seen on this flow.
  public var peerFinished = false
  /// What that looked like.
  public var finish: Finish?
  /// The peer went on with the flow after the reset: nil until the time to listen is over.
  public var peerAliveAfter: Bool?
  /// Our kernel reset somebody who is not the peer, and meant this flow: an answer that nobody had translated back.
  public var stray: SocketAddress?
  /// The socket itself was at its place in the flow; otherwise a stranger may have drawn it.
  public var isStrayExact = true
  /// Where the Service led, then.
  public var provenStray: SocketAddress? { isStrayExact ? stray : nil }
  /// A router's or firewall's message about this flow, and who sent it.
  public var unreachable: (sender: IPAddress, isPort: Bool, isProhibited: Bool)?
  /// Small segments pass and large ones do not.
  public var losesLargeOnly = false
  /// Packets that the sensor lost while this flow lived.
  public var lost: UInt64 = 0
  /// The last packets, oldest first.
  public var steps: [Step] = []

  public init() {}
}

public struct Evidence: Sendable {
  public var ending: Ending
  public var socket = SocketEvidence()
  public var connection = ConnectionFacts()
  public var content = ContentFacts()
  public var own: OwnReason?
  /// What the origin's other connections have told about idling.
  public var idleSurvival = IdleSurvival()
  /// The TLS alert's name (RFC 8446 §6), where there was one.
  public var alert: String?
  /// What we did not accept, or could not do, in words.
  public var complaint: String?
  /// By how much counters of this network namespace have grown since just before.
  public var counters: [String: Int64]?
  public var packets: PacketEvidence?
  public var kernel: KernelEvidence?

  public init(_ ending: Ending) { self.ending = ending }

  /// The peer's kernel has confirmed all that was sent, and so took the request before anything that it sent afterwards.
  /// A kernel whose program has closed the connection confirms no more: it resets.
  public var isRequestConfirmed: Bool {
    guard socket.errorBehindEnd == nil, !content.hasUnsentRequest else { return false }
    return socket.info?.isAllConfirmed == true
  }

  /// What was at work. The kernel's word adds to packets; without them it counts where a rule rests on it.
  public var tier: Tier {
    if packets != nil { return kernel?.isTelling == true ? .kernel : .packets }
    return counters == nil ? .sockets : .counters
  }
}
