// The counters that tell something about how connections end. The kernel has hundreds; most count traffic and would be
// in every record without saying anything.

/// One counter of the kernel's.
package struct KernelCounter: Hashable, Sendable {
  package enum Source: Hashable, Sendable {
    /// A line of `/proc/net/snmp` or `/proc/net/netstat`, by its first word.
    case group(String)
    /// A column of `/proc/net/stat/nf_conntrack`.
    case connectionTable
  }

  package let source: Source
  /// As the kernel calls it.
  let field: String
  /// As records call it.
  package let name: String
  /// What it counts.
  package let meaning: String

  /// All, in the order snapshots have them.
  package static let all: [KernelCounter] =
    tcp.map { KernelCounter(source: .group("Tcp"), field: $0.0, name: $0.0, meaning: $0.1) }
    + extended.map {
      KernelCounter(source: .group("TcpExt"), field: $0.0, name: $0.0, meaning: $0.1)
    }
    + connectionTable.map {
      KernelCounter(
        source: .connectionTable, field: $0.0, name: "conntrack." + $0.0, meaning: $0.1)
    }

  /// Places in `all`, by source and the kernel's name.
  static let places: [Source: [String: Int]] = {
    var places: [Source: [String: Int]] = [:]
    for (place, counter) in all.enumerated() {
      places[counter.source, default: [:]][counter.field] = place
    }
    return places
  }()

  /// Places in `all`, by the name in records.
  static let placesByName: [String: Int] = {
    var places: [String: Int] = [:]
    for (place, counter) in all.enumerated() { places[counter.name] = place }
    return places
  }()

  // RFC 4022 and net/ipv4/proc.c.
  private static let tcp: [(String, String)] = [
    ("AttemptFails", "connections that were refused"),
    ("EstabResets", "established connections that ended by a reset, either side's"),
    ("OutRsts", "resets that the kernel sent, also those that a firewall dropped then"),
    ("RetransSegs", "segments sent again"),
    ("InErrs", "segments that were damaged"),
    ("InCsumErrors", "segments with a wrong checksum"),
  ]

  // snmp_counter.rst and net/ipv4/proc.c.
  private static let extended: [(String, String)] = [
    ("SyncookiesSent", "answers to SYN without keeping state, because the queue was full"),
    ("SyncookiesFailed", "such answers that came back wrong"),
    ("EmbryonicRsts", "connections reset before they were established"),
    ("OutOfWindowIcmps", "ICMP errors that fit no connection"),
    ("LockDroppedIcmps", "ICMP errors that came while their socket was busy"),
    ("PAWSActive", "SYN answers thrown away for their timestamp"),
    ("PAWSEstab", "segments thrown away for their timestamp"),
    ("BeyondWindow", "segments beyond the window, as untranslated or forged ones are"),
    ("ListenOverflows", "connections that found the queue of a listener full"),
    ("ListenDrops", "connections that a listener dropped for any reason"),
    ("TCPTimeouts", "retransmission timers that ran out"),
    ("TCPSynRetrans", "SYNs sent again"),
    ("TcpTimeoutRehash", "paths changed because of a timeout"),
    ("TCPAbortOnData", "aborts with linger 0, and data for sockets that were closed"),
    ("TCPAbortOnClose", "sockets closed with data unread, which sends a reset"),
    ("TCPAbortOnMemory", "connections aborted for want of memory"),
    ("TCPAbortOnTimeout", "connections given up after a timeout"),
    ("TCPAbortOnLinger", "connections aborted while they lingered"),
    ("TCPAbortFailed", "resets that could not be sent"),
    ("TCPMemoryPressures", "times that TCP ran short of memory"),
    ("TCPChallengeACK", "resets and SYNs that were doubted and not believed"),
    ("TCPSYNChallenge", "SYNs in an established connection"),
    ("TCPReqQFullDrop", "SYNs dropped because the queue was full"),
    ("TCPReqQFullDoCookies", "SYNs answered by cookie because the queue was full"),
    ("TCPBacklogDrop", "segments dropped because their socket was busy for too long"),
    ("TCPRcvQDrop", "segments dropped because their receiver had no room"),
    ("TCPZeroWindowDrop", "segments for a window that was closed"),
    ("TCPMinTTLDrop", "segments with too few hops left"),
    ("TCPMD5Failure", "segments with a wrong signature"),
  ]

  // nf_conntrack_standalone.c
  private static let connectionTable: [(String, String)] = [
    ("invalid", "packets that fit no connection and are not translated"),
    ("insert_failed", "connections that could not be entered into the table"),
    ("drop", "packets dropped because the table was full"),
    ("early_drop", "connections thrown out to make room in the table"),
  ]
}
