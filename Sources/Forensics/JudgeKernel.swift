// The rules that rest on the kernel's own word: the connection table of whoever translates, counters that only one thing
// makes grow, and the reason that a kernel gave for its reset. Each proves one cause, or says nothing.

import Platform

extension Case {
  private var proven: Case {
    var copy = self
    copy.isProven = true
    return copy
  }

  /// What the kernel says to a verdict that rests on something else.
  func words(for cause: Cause) -> [String] {
    guard let kernel, means == .reset || cause == .undnatHere else { return [] }
    var words: [String] = []
    if let reason = kernel.sentByPeer?.reason {
      words.append("the peer's kernel, which is this machine's, says \(reason)")
    }
    if side == .upstream, kernel.entry?.state == "established", kernel.hadEntry == true,
      cause != .undnatHere
    {
      words.append("the connection table has not seen this reset pass")
    }
    return words
  }

  /// Our kernel reset the real origin, and said so itself.
  func toldStray(_ reasons: [String] = []) -> Verdict? {
    guard let kernel, let stray = kernel.stray else { return nil }
    var reasons = reasons
    if reasons.isEmpty {
      reasons = [
        "the connection table says that the Service leads to \(stray)",
        "our kernel reset \(stray), with which no socket is connected",
      ]
    }
    if kernel.hasForgotten {
      reasons.append("the connection's entry in the table is gone")
    } else if (kernel.invalidPackets ?? 0) > 0 || hasSeenInvalid {
      reasons.append("the connection table has called packets invalid meanwhile")
    }
    return proven.make(.undnatHere, reasons)
  }

  /// Without packets, what the peer's kernel gave as its reason, and what the table says.
  func toldReset() -> Verdict? {
    guard let kernel else { return nil }
    if side == .upstream, let verdict = switched() { return verdict }
    if side == .downstream, socket.errorBehindEnd == nil, kernel.shape == nil,
      let verdict = unseenByTable()
    {
      return verdict
    }
    guard let (shape, peerFinished) = kernel.shape else { return nil }
    var packets = PacketEvidence()
    packets.peerFinished = peerFinished
    return shape == .active
      ? proven.active(packets)
      : proven.passive(PacketEvidence.Reset(.passive, isOutgoing: false), packets)
  }

  /// The entry that led to the origin was replaced by one that leads elsewhere.
  func switched() -> Verdict? {
    guard let kernel, let old = kernel.switchedFrom else { return nil }
    let now = kernel.realPeer.map { " to \($0)" } ?? " elsewhere"
    return proven.make(
      .backendSwitched,
      ["the connection was made to \(old), and its entry in the connection table leads\(now) now"])
  }

  /// A reset that really passed would have closed the entry.
  func unseenByTable() -> Verdict? {
    guard let kernel, kernel.entry?.state == "established" else { return nil }
    var reasons = [
      "the client's connection is established in the connection table: this reset has not passed as part of it"
    ]
    if let real = kernel.realPeer { reasons.append("the client is \(real) there") }
    if hasSeenInvalid {
      reasons.append("the connection table has called packets invalid meanwhile")
    }
    return proven.make(.undnatThere, reasons)
  }

  /// The table had lost the entry of a connection that was idle.
  func forgottenByTable() -> Verdict? {
    // Where nothing is translated, and connections are picked up in the middle, it does no harm.
    guard let kernel, kernel.hasForgotten,
      kernel.isTranslated(from: socket.peer) || kernel.settings?.isLoose == false
    else { return nil }
    let idle = "it had been idle for \(connection.idle.inSeconds)"
    if let timeout = kernel.settings?.establishedTimeout, connection.idle >= timeout {
      return proven.make(
        .natIdleExpired,
        [
          idle,
          "the connection table forgets idle connections after \(timeout.inSeconds), and had no entry of this one any more",
        ])
    }
    return proven.make(
      .natIdleExpired, most: 85,
      [idle, "the connection table has lost the entry of this connection"],
      against: [
        "so soon it does not forget by itself: somebody has deleted it, or room was needed"
      ],
      also: [.originLostState])
  }

  /// The origin's listener had no room, and its kernel counts that.
  func overflowing() -> Verdict? {
    guard hasOverflowed else { return nil }
    // A count of all listeners there, of which ours may not be the one, unless the kernel has also reset a handshake
    // (`tcp_abort_on_overflow`) just as this connection was made.
    let hasReset = (kernel?.counters["EmbryonicRsts"] ?? 0) > 0
    return proven.make(
      .originAcceptOverflow, most: hasReset && connection.age <= .seconds(1) ? 99 : 70,
      ["a listener of the origin's network had no room for a connection"]
        + (hasReset ? ["its kernel reset a handshake that was not complete"] : []),
      also: hasReset ? [] : [.originLostState])
  }

  var hasOverflowed: Bool {
    if (kernel?.counters["ListenOverflows"] ?? 0) > 0
      || (kernel?.machineDrops["TCP_LISTEN_OVERFLOW"] ?? 0) > 0
    {
      return true
    }
    // Our own counters are the origin's where it runs here.
    let isHere = socket.peer?.ip.isLoopback == true || socket.peer?.ip == socket.local?.ip
    return isHere && (evidence.counters?["ListenOverflows"] ?? 0) > 0
  }

  /// The table was full, and packets were dropped for that.
  func tableOverflowing() -> Verdict? {
    let drops =
      (kernel?.counters["conntrack.drop"] ?? 0) &+ (evidence.counters?["conntrack.drop"] ?? 0)
    // It drops what clashes with another entry too, such as two questions to a name server at once.
    guard drops > 0, let settings = kernel?.settings, settings.isFull else { return nil }
    var reasons = ["the connection table has dropped packets, for it is full"]
    if let count = settings.count, let most = settings.maximum {
      reasons.append("\(count) of \(most) connections are in it")
    }
    // What our own table drops is not seen to leave; another one's may have dropped it then.
    let hasLeft = packets?.steps.contains { $0.isOutgoing && $0.what.hasPrefix("SYN") } == true
    return proven.make(
      .conntrackFull, most: hasLeft ? 75 : 99, reasons, also: [.connectTimeout])
  }

  /// Packets that fit no connection have passed meanwhile, of whomever.
  var hasSeenInvalid: Bool {
    (kernel?.counters["conntrack.invalid"] ?? 0) > 0
      || (evidence.counters?["conntrack.invalid"] ?? 0) > 0
  }
}
