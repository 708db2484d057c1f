// What the kernel knows of a TCP connection (`TCP_INFO`, tcp(7)), read by offset and by the length that the kernel
// returned: older kernels return less, and what they do not return is nil and not 0.

import Platform

public struct TCPInfo: Sendable, Equatable {
  /// RFC 9293 §3.3.2, as the kernel numbers it.
  public enum State: UInt8, Sendable {
    case established = 1
    case synSent, synReceived, finWait1, finWait2, timeWait, closed, closeWait, lastAck, listen,
      closing, newSynReceived
  }

  private let bytes: [UInt8]
  /// The connection has been established. Of one that never was, the times of the last segments are those since the
  /// machine's start.
  private var hasTimes = true

  /// - Parameter bytes: what `getsockopt` gave, cut to the length it returned. Nil if that is too little to say anything.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count >= 104 else { return nil }
    self.bytes = bytes
  }

  /// Of a connection that has not been established.
  public var ofAttempt: TCPInfo {
    var info = self
    info.hasTimes = false
    return info
  }

  /// How much the kernel returned: it tells its age (232 bytes in 5.4, 240 in 6.2, 248 in 6.7).
  public var length: Int { bytes.count }

  private func byte(_ offset: Int) -> UInt8 { offset < bytes.count ? bytes[offset] : 0 }

  private func word(_ offset: Int) -> UInt32? {
    guard offset + 4 <= bytes.count else { return nil }
    return (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
  }

  private func long(_ offset: Int) -> UInt64? {
    guard let low = word(offset), let high = word(offset + 4) else { return nil }
    return UInt64(high) << 32 | UInt64(low)
  }

  public var state: State? { State(rawValue: byte(0)) }
  /// Timeouts of the retransmission timer in a row, now.
  public var retransmits: UInt8 { byte(2) }
  /// Keepalive or zero-window probes that are unanswered.
  public var probes: UInt8 { byte(3) }
  public var backoff: UInt8 { byte(4) }
  public var hasTimestamps: Bool { byte(5) & 1 != 0 }
  /// Microseconds.
  public var retransmissionTimeout: UInt32 { word(8) ?? 0 }
  public var sendSegmentSize: UInt32 { word(16) ?? 0 }
  /// Segments that are sent and not confirmed.
  public var unacknowledged: UInt32 { word(24) ?? 0 }
  public var lost: UInt32 { word(32) ?? 0 }
  /// Milliseconds ago.
  public var lastDataSent: UInt32? { hasTimes ? word(44) : nil }
  /// Milliseconds ago; nil where nothing ever came.
  public var lastDataReceived: UInt32? { hasTimes ? word(52) : nil }
  /// Milliseconds ago: any segment that confirms, with or without content.
  public var lastConfirmationReceived: UInt32? { hasTimes ? word(56) : nil }
  /// Whether the peer's kernel has answered after the last content of either side, as it answers keepalive probes.
  public var isHeardInSilence: Bool? {
    guard let sent = lastDataSent, let received = lastDataReceived,
      let confirmed = lastConfirmationReceived
    else { return nil }
    // What confirms the last content comes with it, or as much later as a kernel may wait for more.
    return confirmed < min(sent, received) / 2
  }
  public var pathMTU: UInt32 { word(60) ?? 0 }
  /// Microseconds.
  public var roundTripTime: UInt32 { word(68) ?? 0 }
  public var totalRetransmits: UInt32 { word(100) ?? 0 }
  /// Our SYN counts as one (RFC 9293 §3.4), once it is confirmed.
  public var bytesAcknowledged: UInt64? { long(120) }
  /// The peer's FIN counts as one.
  public var bytesReceived: UInt64? { long(128) }
  public var segmentsOut: UInt32? { word(136) }
  public var segmentsIn: UInt32? { word(140) }
  public var unsentBytes: UInt32? { word(144) }
  /// Microseconds; nil where it has never been measured.
  public var minimumRoundTripTime: UInt32? { word(148).flatMap { $0 == .max ? nil : $0 } }
  /// The same once the peer has confirmed content too. Of a handshake alone nothing follows: its SYN-ACK may have been
  /// lost, or have waited for a busy kernel, and every answer is quick beside that.
  public var confirmedRoundTripTime: UInt32? {
    (bytesAcknowledged ?? 0) > 1 ? minimumRoundTripTime : nil
  }
  public var bytesSent: UInt64? { long(200) }
  public var bytesRetransmitted: UInt64? { long(208) }
  /// Whether the peer has confirmed every byte that was sent; nil where the kernel does not count them.
  public var isAllConfirmed: Bool? {
    guard let sent = bytesSent, let again = bytesRetransmitted, let confirmed = bytesAcknowledged
    else { return nil }
    // The SYN counts among what is confirmed, and not among what was sent.
    return sent >= again && confirmed > sent - again
  }

  /// All that is known, by the kernel's own names, for a record.
  public var fields: [(name: String, value: Int64)] {
    var fields: [(String, Int64)] = [
      ("state", Int64(byte(0))), ("ca_state", Int64(byte(1))), ("retransmits", Int64(byte(2))),
      ("probes", Int64(byte(3))), ("backoff", Int64(byte(4))), ("options", Int64(byte(5))),
    ]
    for (index, name) in Self.words.enumerated() where hasTimes || !name.hasPrefix("last_") {
      if let value = word(8 + 4 * index) { fields.append((name, Int64(value))) }
    }
    for (name, offset) in Self.later {
      if let value = word(offset) { fields.append((name, Int64(value))) }
    }
    for (name, offset) in Self.longs {
      if let value = long(offset) { fields.append((name, Int64(clamping: value))) }
    }
    return fields
  }

  private static let words = [
    "rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets",
    "last_data_sent", "last_ack_sent", "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh",
    "rtt", "rttvar", "snd_ssthresh", "snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space",
    "total_retrans",
  ]
  private static let later = [
    ("segs_out", 136), ("segs_in", 140), ("notsent_bytes", 144), ("min_rtt", 148),
    ("data_segs_in", 152), ("data_segs_out", 156), ("delivered", 192), ("delivered_ce", 196),
    ("dsack_dups", 216), ("reord_seen", 220), ("rcv_ooopack", 224), ("snd_wnd", 228),
    ("rcv_wnd", 232), ("rehash", 236),
  ]
  private static let longs = [
    ("pacing_rate", 104), ("max_pacing_rate", 112), ("bytes_acked", 120), ("bytes_received", 128),
    ("delivery_rate", 160), ("busy_time", 168), ("rwnd_limited", 176), ("sndbuf_limited", 184),
    ("bytes_sent", 200), ("bytes_retrans", 208),
  ]
}
