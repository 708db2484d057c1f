// From evidence to a verdict: a pure function, the first rule that matches decides. The rules are ordered by how much
// they can know: what we did ourselves, what the errno says beyond doubt, what packets prove, and last what a socket
// alone suggests, which is never more than a suggestion.

import Platform
import Telemetry

public enum Judge {
  public static func judge(_ evidence: Evidence) -> Verdict {
    let ending = Case(evidence)
    return ending.own() ?? ending.local() ?? ending.stray() ?? ending.messages()
      ?? ending.connecting() ?? ending.silence() ?? ending.finished() ?? ending.reset()
      ?? ending.make(.unexplained)
  }
}

/// One ending under judgement.
struct Case {
  let evidence: Evidence
  /// What the kernel itself has said is all that is needed.
  var isProven = false
  var side: Side { evidence.ending.side }
  private var phase: Phase { evidence.ending.phase }
  var means: Means { evidence.ending.means }
  var socket: SocketEvidence { evidence.socket }
  var content: ContentFacts { evidence.content }
  var connection: ConnectionFacts { evidence.connection }
  var packets: PacketEvidence? { evidence.packets }
  var kernel: KernelEvidence? { evidence.kernel }

  init(_ evidence: Evidence) { self.evidence = evidence }

  /// - Parameters:
  ///   - most: the verdict is no surer than this.
  ///   - bonus: what agreeing sensors add, and contradicting ones take away, in hundredths.
  func make(
    _ cause: Cause, most: Int = 99, bonus: Int = 0, _ reasons: [String] = [],
    against doubts: [String] = [], also: [Cause] = []
  ) -> Verdict {
    var doubts = doubts
    let tier = isProven && kernel != nil ? Tier.kernel : evidence.tier
    // What only the kernel's word makes sure of, nothing else does.
    let column: Tier =
      isProven ? .kernel : tier == .kernel && cause.takesProof ? .packets : tier
    let base = min(cause.confidence(with: column), most)
    if let packets, packets.lost > 0 {
      doubts.append("the packet recorder lost \(packets.lost) packets at that time")
    }
    return Verdict(
      cause: cause,
      confidence: min(99, max(base + bonus, min(base, cause.confidence(with: .sockets)))),
      tier: tier, reasons: reasons + words(for: cause), doubts: doubts, also: also)
  }

  // MARK: Beyond doubt

  /// We closed it.
  func own() -> Verdict? {
    guard let own = evidence.own else { return nil }
    switch own {
    // Our limit ended the wait, but it was the other side that was waited for.
    case .deadline, .progress: return nil
    case .malformed:
      return side == .upstream
        ? make(.originMalformed, [evidence.complaint ?? "what came is no proper answer"])
        : make(.proxyAborted, ["what came is no proper request"])
    case .shutdown: return make(.proxyAborted, ["Holdfast was told to end"])
    case .otherSide: return make(.proxyAborted, ["the other side of it had ended"])
    case .cut:
      return make(.proxyAborted, ["the answer could not be completed and must not look whole"])
    case .limit: return make(.proxyAborted, ["a limit of the configuration was reached"])
    case .tls:
      return make(.tlsRefused, [evidence.complaint ?? "the handshake was ended here"])
    }
  }

  /// What the errno alone says.
  func local() -> Verdict? {
    if means == .killed || socket.errno == .connectionAborted && phase != .connect {
      return make(.killedHere, ["ECONNABORTED has no other cause on an established connection"])
    }
    if phase == .connect, socket.hasNoWay {
      return make(
        .noRouteHere,
        [
          "connect(2) itself said \(socket.errno.map { "\($0)" } ?? "so"), and nothing was sent",
          socket.errno == .addressNotAvailable
            || socket.errno == .addressFamilyNotSupported
            ? "this machine has no address of that family to come from" : nil,
        ].compactMap(\.self))
    }
    guard means == .exhausted || socket.errno.map(Self.isShortage) == true else { return nil }
    // With IPv6 an address that is being tried out yet cannot be come from either (RFC 4862 §5.4).
    let mayBeTentative =
      socket.errno == .addressNotAvailable && socket.peer?.ip.unwrapped.family != .v4
    return make(
      .localResources, most: mayBeTentative ? 75 : 99,
      [socket.errno.map { "\($0)" } ?? evidence.complaint ?? "no descriptor was left"],
      also: mayBeTentative ? [.noRouteHere] : [])
  }

  private static func isShortage(_ errno: Errno) -> Bool {
    errno.isOutOfDescriptors || errno == .noMemory || errno == .noBufferSpace
      || errno == .addressNotAvailable
  }

  /// An alert says what it is about.
  private func alert() -> Verdict? {
    guard let alert = evidence.alert else { return nil }
    return make(.tlsAlert, ["the alert was \(alert)"])
  }

  // MARK: Packets that prove it

  /// Our own kernel reset the origin, because what the origin sent came from an address that it knows nothing of.
  func stray() -> Verdict? {
    guard side == .upstream else { return nil }
    // The backend that a connection has been led away from speaks untranslated too, sooner or later. By then a reset
    // of the one it was led to has ended it.
    if means == .reset, socket.errno == .connectionReset, let old = kernel?.switchedFrom,
      packets?.stray ?? old == old, kernel?.stray ?? old == old, let verdict = switched()
    {
      return verdict
    }
    guard let stray = packets?.stray else { return toldStray() }
    // Anybody can draw a reset of our kernel with a packet to some port.
    if packets?.isStrayExact == false, kernel?.realPeer != stray, kernel?.stray != stray {
      return suspectedStray(stray)
    }
    var reasons = [
      "our kernel sent a reset to \(stray), which is not the peer of any connection of this port",
      "its sequence number lies in this connection",
    ]
    if let real = kernel?.realPeer, real == stray {
      reasons.append("the connection table says that the Service leads to \(real)")
    }
    if kernel?.stray == stray { return toldStray(reasons) }
    return make(.undnatHere, bonus: kernel?.realPeer == stray ? 2 : 0, reasons)
  }

  /// What it is without the stray, which may or may not have meant this connection.
  private func suspectedStray(_ stray: SocketAddress) -> Verdict {
    var without = evidence
    without.packets?.stray = nil
    var verdict = doubtful(
      Judge.judge(without), "our kernel sent a reset to \(stray), which may have meant this")
    if verdict.cause != .undnatHere { verdict.also.append(.undnatHere) }
    return verdict
  }

  /// Something speaks against it that leaves it likely and not sure.
  /// - Parameter least: what it would be without packets, which stays; 0 where they contradict even that.
  private func doubtful(
    _ verdict: Verdict, _ doubt: String, also: [Cause] = [], least: Int? = nil
  ) -> Verdict {
    var verdict = verdict
    if verdict.confidence > Self.unsure {
      let least = least ?? Judge.judge(blind).confidence
      verdict.confidence = min(verdict.confidence, max(Self.unsure, least))
    }
    verdict.doubts.append(doubt)
    verdict.also += also.filter { $0 != verdict.cause && !verdict.also.contains($0) }
    return verdict
  }

  /// Nobody relies on what is no surer than this.
  private static let unsure = 79

  /// What is left where nobody had looked at packets.
  private var blind: Evidence {
    var blind = evidence
    blind.packets = nil
    blind.kernel = nil
    return blind
  }

  /// Routers and firewalls that say so.
  func messages() -> Verdict? {
    if let alert = alert() { return alert }
    guard let message = packets?.unreachable else { return nil }
    let isPeer = message.sender == socket.peer?.ip
    if message.isPort, phase == .connect {
      // No kernel answers a SYN so by itself, it sends a reset: somebody's rule does. Which one it is, of a Service or of
      // a firewall, cannot be seen from here.
      return isPeer
        ? make(
          .pathRejected, most: 75,
          ["the origin's machine says that the port is closed, and a rule says so, not its kernel"],
          also: [.serviceWithoutEndpoints])
        : make(
          .serviceWithoutEndpoints, most: 75,
          [
            "\(message.sender), which is not the address that was asked for, says that the port is closed"
          ], also: [.pathRejected])
    }
    guard mayBeTold, phase == .connect || !isAllConfirmed else { return nil }
    if message.isProhibited {
      return make(.pathRejected, ["\(message.sender) says that a rule forbids it"])
    }
    return make(.unreachable, ["\(message.sender) says that there is no way"])
  }

  /// The socket lives and all that it sent is confirmed, so there is a way. (What has ended forgets what was on its way.)
  private var isAllConfirmed: Bool {
    guard let info = socket.info, let state = info.state, state != .closed else { return false }
    return info.unacknowledged == 0 && info.retransmits == 0
  }

  /// A router's message may have led to this ending. An established connection survives it (RFC 5461 §2), and what ends it
  /// afterwards has a cause of its own.
  private var mayBeTold: Bool {
    if phase == .connect || means == .icmp || means == .timeout { return true }
    switch socket.errno {
    case .hostUnreachable?, .networkUnreachable?, .connectionRefused?, .accessDenied?,
      .notPermitted?, .protocol?:
      return true
    default: return false
    }
  }

  // MARK: Connecting

  func connecting() -> Verdict? {
    guard phase == .connect else { return nil }
    switch socket.errno {
    case .connectionRefused?:
      let shape = packets?.reset?.shape
      if packets != nil, shape == nil {
        return make(
          .originRefused, most: 75, ["ECONNREFUSED"], against: ["no reset to the SYN was seen"],
          also: [.serviceWithoutEndpoints])
      }
      if let shape, shape != .refusal {
        return make(
          .pathRejected, most: 75,
          ["ECONNREFUSED", "the reset that said so answers no SYN that was seen to leave"],
          also: [.originRefused])
      }
      return make(
        // The node of a Service without endpoints looks the same without packets.
        .originRefused, most: packets == nil ? 75 : 97,
        ["ECONNREFUSED"] + (shape == .refusal ? ["a kernel answered the SYN with a reset"] : []),
        also: packets == nil ? [.serviceWithoutEndpoints] : [])
    case .hostUnreachable?, .networkUnreachable?, .networkDown?:
      return make(.unreachable, [socket.errno.map { "\($0)" } ?? ""])
    case .connectionReset?:
      // Established for us as the SYN-ACK came, and reset before the first look.
      if packets?.reset?.shape == .active {
        return make(
          .originListenerClosed, most: 75,
          ["the connection was reset as it was made", "the origin's socket sent the reset"],
          also: [.originAborted])
      }
      if let verdict = overflowing() { return verdict }
      let isPassive = packets?.reset?.shape == .passive
      return make(
        .originAcceptOverflow, most: isPassive ? 60 : 40,
        ["the connection was reset as it was made"]
          + (isPassive ? ["the origin's kernel did not know it"] : []),
        also: [.originListenerClosed])
    default:
      guard means == .timeout else { return nil }
      if let soft = socket.softError, soft == .hostUnreachable || soft == .networkUnreachable {
        return make(.unreachable, ["a router has said \(soft) meanwhile"])
      }
      if let verdict = tableOverflowing() { return verdict }
      let sent = socket.info?.totalRetransmits
      return make(
        .connectTimeout,
        [
          "no answer to the SYN"
            + (sent.map { $0 > 0 ? ", sent \(UInt64($0) + 1) times" : "" } ?? "")
        ],
        also: (kernel?.settings?.isFull == true ? [.conntrackFull] : [])
          + (hasOverflowed ? [.originAcceptOverflow] : []))
    }
  }

  // MARK: Silence

  func silence() -> Verdict? {
    guard means == .timeout || means == .icmp else { return nil }
    let info = socket.info
    let isWaiting = (info?.unacknowledged ?? 0) > 0 || (info?.retransmits ?? 0) > 0
    let soft = socket.softError ?? (means == .icmp ? socket.errno : nil)
    if let soft, !isAllConfirmed,
      soft == .hostUnreachable || soft == .networkUnreachable || soft == .connectionRefused
    {
      return make(.unreachable, ["a router has said \(soft), and nothing is confirmed any more"])
    }
    // Our own limit was first: is it the path, or the program?
    if evidence.own == .deadline || evidence.own == .progress {
      if side == .downstream {
        return make(.proxyAborted, ["the client took, or sent, too little for too long"])
      }
      if isWaiting, (info?.retransmits ?? 0) >= 2 || (info?.backoff ?? 0) >= 2 {
        return lossy(most: 80)
      }
      // Asked, and not answered yet: our limit came before it was certain.
      if (info?.probes ?? 0) > 0, !isWaiting { return silent(most: 79, also: [.originStalled]) }
      return stalled(isWaiting: isWaiting)
    }
    if (info?.probes ?? 0) > 0, !isWaiting { return silent(most: 99) }
    return lossy(most: 99)
  }

  private func silent(most: Int, also: [Cause] = []) -> Verdict {
    let probes = socket.info?.probes ?? 0
    return make(
      .peerSilent, most: most, ["\(probes) keepalive probes were not answered"], also: also)
  }

  /// The path works and nothing comes. A stray reset would look the same here: only packets, or counters that stand
  /// still, rule it out. So would a path that died, unless the origin's kernel has answered while its program was silent.
  private func stalled(isWaiting: Bool) -> Verdict {
    var reasons = ["the connection is established"]
    if !isWaiting { reasons.append("all that was sent is confirmed") }
    // What trickles comes over a path that works.
    if evidence.own == .deadline, socket.info?.isHeardInSilence == false {
      return make(
        .originStalled, most: 70, reasons,
        against: ["nobody has asked whether the path still works: a dead one would look the same"],
        also: [.peerSilent])
    }
    guard packets == nil else { return make(.originStalled, reasons) }
    guard let counters = evidence.counters else {
      return make(
        .originStalled, most: 70, reasons,
        against: ["a stray reset on the path would look the same without counters or packets"])
    }
    guard counters.socketlessResets > 0 else {
      return make(
        .originStalled,
        reasons + ["this machine has sent no reset meanwhile but those of its programs"])
    }
    return make(
      .originStalled, most: 70, reasons,
      against: ["this machine has sent a reset meanwhile that no program had asked for"],
      also: [.undnatHere])
  }

  private func lossy(most: Int) -> Verdict {
    let info = socket.info
    if packets?.losesLargeOnly == true {
      return make(
        .pmtuBlackhole, most: most, ["small segments are answered and large ones are not"])
    }
    var reasons = ["nothing is heard of the peer any more"]
    if let info, info.unacknowledged > 0 {
      reasons.append("\(info.unacknowledged) segments are not confirmed")
    }
    if let info, info.retransmits > 0 {
      reasons.append("the last was sent \(info.retransmits) times more")
    }
    return make(.blackhole, most: most, reasons)
  }

  // MARK: The peer says FIN

  func finished() -> Verdict? {
    guard means == .finish else { return nil }
    // A client may say FIN and wait for its answer; then what came behind it has ended it.
    if side == .downstream, socket.errorBehindEnd != nil, let packets, let reset = packets.reset,
      reset.isForeign
    {
      return shaped(reset, packets)
    }
    if packets?.finish?.isForeign == true { return finishedByWhomever() }
    return finishedByPeer()
  }

  /// The FIN does not look like the peer's other packets, or the peer knows nothing of it. A socket believes every FIN,
  /// so here, and nowhere else, whoever looks is less sure than who does not.
  private func finishedByWhomever() -> Verdict {
    doubtful(
      finishedByPeer(),
      packets?.finish?.hasGoneOn == true
        ? "the peer sent more behind this FIN: somebody on the path may have said it"
        : "this FIN is not like the peer's other packets: somebody on the path may have said it",
      also: [.resetInjected], least: 0)
  }

  private func finishedByPeer() -> Verdict {
    if side == .downstream {
      return make(
        .clientLeft, most: 95,
        ["the client said FIN before it had its whole answer"]
          + (socket.errorBehindEnd == nil ? [] : ["and reset what was sent after it"]))
    }
    if phase == .content {
      return make(
        .originFinishedEarly,
        [
          content.expected.map { "\(content.received) of \($0) bytes had come" }
            ?? "the last chunk had not come"
        ])
    }
    guard connection.isReused, content.answerBytes == 0 else {
      return make(
        .originFinishedEarly, most: content.answerBytes > 0 ? 97 : 80,
        [content.answerBytes > 0 ? "its head was not complete" : "not a byte of an answer had come"]
      )
    }
    let idle = "the connection was idle for \(connection.idle.inSeconds) before the request"
    if evidence.isRequestConfirmed {
      return make(
        .originFinishedEarly, most: 75,
        [
          "not a byte of an answer had come", "the origin had confirmed the request before its FIN",
        ],
        against: [idle], also: [.originClosedIdle])
    }
    return make(.originClosedIdle, [idle, "the origin said FIN"])
  }

  // MARK: A reset

  func reset() -> Verdict? {
    guard means == .reset else { return nil }
    if let packets, let reset = packets.reset { return shaped(reset, packets) }
    if let verdict = toldReset() { return verdict }
    guard packets != nil else { return side == .downstream ? unseenClient() : unseenOrigin() }
    // Who was looked for and not seen is no better known than if nobody had looked.
    var verdict = Judge.judge(blind)
    verdict.doubts.append("the reset itself was not among the packets that were recorded")
    return verdict
  }

  private func shaped(_ reset: PacketEvidence.Reset, _ packets: PacketEvidence) -> Verdict {
    let verdict = placed(reset, packets)
    guard reset.isExact == nil else { return verdict }
    return doubtful(verdict, "whether this reset was at its place is not known")
  }

  private func placed(_ reset: PacketEvidence.Reset, _ packets: PacketEvidence) -> Verdict {
    if reset.shape == .handmade
      || (packets.peerAliveAfter == true && !reset.isNear && reset.hopDifference != 0
        && !reset.isRejection)
    {
      var reasons = reset.shape == .handmade ? ["the reset is not as a kernel makes it"] : []
      if reset.hopDifference != 0 {
        reasons.append(
          "it came from \(abs(reset.hopDifference)) hops elsewhere than the peer's packets")
      }
      if packets.peerAliveAfter == true { reasons.append("the peer went on afterwards") }
      let verdict = make(
        .resetInjected, bonus: packets.peerAliveAfter == false ? -10 : 0, reasons)
      // An abort has the hop limit of its socket, whatever that is.
      guard reset.shape == .passive || reset.shape == .refusal else { return verdict }
      return doubtful(verdict, Self.ownHopLimit, also: [unknownHere])
    }
    if reset.isNear || reset.hopDifference > 0 {
      let verdict = make(
        .pathRejected, bonus: packets.peerAliveAfter == true ? 5 : 0,
        [
          reset.isNear
            ? "the reset came sooner than the peer can answer"
            : "the reset came from nearer than the peer"
        ])
      if reset.isNear ? packets.lost == 0 : reset.isShorterWay { return verdict }
      return doubtful(
        verdict,
        reset.isNear
          ? "what it answers may be among the packets that were lost" : Self.ownHopLimit,
        also: [unknownHere])
    }
    let verdict = reset.shape == .active ? active(packets) : passive(reset, packets)
    guard reset.isOdd else { return verdict }
    return doubtful(
      verdict, reset.looks.oddities.first ?? "it is not quite as a kernel makes it",
      also: [.resetInjected])
  }

  private static let ownHopLimit =
    "a kernel has a hop limit of its own for connections it does not know"

  /// Why a peer's kernel may not know a connection.
  private var unknownHere: Cause { side == .downstream ? .undnatThere : .originLostState }

  /// It has answered, and does not want the rest of the request. Who breaks off in the middle of an answer that all is
  /// well refuses nothing.
  private var isRefusingContent: Bool {
    guard content.hasHead, content.hasUnsentRequest else { return false }
    return (content.status ?? 0) >= 400 || content.expected.map { content.received >= $0 } ?? false
  }

  /// The peer's socket said it.
  func active(_ packets: PacketEvidence) -> Verdict {
    let doubts = packets.peerAliveAfter == true ? ["the peer went on afterwards"] : []
    // Who has said FIN has gone, and what is heard of him afterwards is his kernel.
    let bonus = packets.peerAliveAfter == true && socket.errorBehindEnd == nil ? -20 : 0
    if side == .downstream {
      return make(
        .clientLeft, bonus: bonus, ["the client's socket sent the reset"], against: doubts)
    }
    if isRefusingContent {
      return make(
        .originRefusedContent, bonus: bonus,
        ["its answer had come", "not all of the request had been read"], against: doubts)
    }
    if content.answerBytes == 0, !connection.isReused, (socket.info?.bytesReceived ?? 1) == 0,
      connection.age < .seconds(3), (socket.info?.bytesAcknowledged ?? 2) <= 1
    {
      // So does a program that accepts it and breaks it off before it has read anything.
      return make(
        .originListenerClosed, most: 75,
        ["nothing of the request had been confirmed", "the origin's socket sent the reset"],
        also: [.originAborted])
    }
    // A listener that is closed does that to those in its queue, whose kernel has taken the request already.
    let mayBeQueued =
      content.answerBytes == 0 && !connection.isReused && (socket.info?.bytesReceived ?? 1) == 0
    return make(
      .originAborted, bonus: bonus, ["the origin's socket sent the reset"], against: doubts,
      also: mayBeQueued ? [.originListenerClosed] : [])
  }

  /// The peer's kernel knew no such connection.
  func passive(_ reset: PacketEvidence.Reset, _ packets: PacketEvidence) -> Verdict {
    // EPIPE behind an end tells of a FIN too.
    if packets.peerFinished || socket.errorBehindEnd != nil {
      return side == .downstream
        ? make(
          .clientLeft, ["the client had said FIN, and its kernel reset what was sent after it"])
        : make(
          connection.isReused && content.answerBytes == 0
            ? .originClosedIdle : .originFinishedEarly,
          ["the origin had said FIN, and its kernel reset what was sent after it"])
    }
    if side == .downstream {
      if let verdict = unseenByTable() { return verdict }
      return make(
        .undnatThere,
        bonus: (packets.peerAliveAfter == true ? 23 : 0) + (hasSeenInvalid ? 4 : 0),
        ["the client's kernel knew no such connection, and no FIN had come"]
          + (hasSeenInvalid
            ? ["the connection table has called packets invalid meanwhile"] : [])
          + (packets.peerAliveAfter == true
            ? ["the client went on afterwards: its socket is alive"] : []),
        against: packets.peerAliveAfter == false
          ? ["nothing was heard of the client afterwards"] : [],
        // A firewall on the client's own machine that rejects what belongs to its connections looks the same.
        also: packets.peerAliveAfter == true ? [.pathRejected] : [.clientLeft])
    }
    if isRefusingContent {
      return make(
        .originRefusedContent,
        [
          "its answer had come",
          "its kernel knew no such connection when the rest of the request came",
        ])
    }
    if let verdict = switched() { return verdict }
    if reset.isAfterIdle || connection.isReused && content.answerBytes == 0 { return forgotten() }
    if connection.age < .seconds(3), content.answerBytes == 0, !connection.isReused {
      if let verdict = overflowing() { return verdict }
      return make(
        .originAcceptOverflow,
        ["the connection was young, and the origin's kernel did not know it"],
        also: [.originLostState])
    }
    return make(
      .originLostState, ["the origin's kernel knew no such connection, and no FIN had come"])
  }

  /// Dead on the first segment after idling, and nobody had said FIN.
  func forgotten() -> Verdict {
    let idle = connection.idle
    if let verdict = forgottenByTable() { return verdict }
    if evidence.idleSurvival.isForgetful(at: idle) {
      return make(
        // Restarts of the origin that happen to come after such idling look the same: only the table is sure.
        .natIdleExpired, bonus: packets != nil ? 25 : 0,
        [
          "it had been idle for \(idle.inSeconds)",
          "connections to this origin survive shorter idling, and die of longer",
        ], also: [.originLostState, .originClosedIdle])
    }
    if let whose = IdleSurvival.wellKnown(near: idle) {
      return make(
        // Nobody who remembered it would have answered so.
        .natIdleExpired, bonus: packets != nil ? 10 : 0,
        ["it had been idle for \(idle.inSeconds), after which \(whose) forget a connection"],
        also: [.originClosedIdle, .originLostState])
    }
    return make(
      .originClosedIdle, most: 60, ["it had been idle for \(idle.inSeconds)"],
      against: packets == nil ? [] : ["no FIN of the origin was seen"],
      also: [.originLostState, .natIdleExpired])
  }

  // MARK: A reset, and no packets

  private func unseenClient() -> Verdict {
    make(
      .clientLeft, ["\(socket.errno.map { "\($0)" } ?? "a reset") from the client's address"],
      also: [.undnatThere])
  }

  private func unseenOrigin() -> Verdict {
    let what = socket.errno.map { "\($0)" } ?? "a reset"
    if isRefusingContent {
      return make(
        .originRefusedContent, ["its answer had come", "not all of the request had been sent"])
    }
    if content.answerBytes == 0, connection.isReused {
      // EPIPE behind an end: the FIN was there before the reset.
      if socket.errorBehindEnd != nil {
        return make(
          .originClosedIdle,
          [
            "it had been idle for \(connection.idle.inSeconds)",
            "the origin had said FIN before the reset",
          ])
      }
      return forgotten()
    }
    if content.answerBytes == 0, connection.age < .seconds(3),
      (socket.info?.totalRetransmits ?? 0) > 0
    {
      if let verdict = overflowing() { return verdict }
      return make(
        .originAcceptOverflow,
        ["\(what) from a young connection whose first segments had to be repeated"],
        also: [.originAborted])
    }
    return make(.originAborted, [what], also: [.originLostState, .pathRejected])
  }
}

extension PacketEvidence.Reset {
  /// As a firewall makes it: like that of a kernel for want of a socket, and from nearer than the peer.
  fileprivate var isRejection: Bool {
    hopDifference > 0 && isShorterWay && (shape == .passive || shape == .refusal)
  }

  /// Somebody else than the peer seems to have made it.
  fileprivate var isForeign: Bool { shape == .handmade || isNear || hopDifference != 0 }
}

extension Duration {
  /// `4.2 s`, for sentences.
  var inSeconds: String {
    let (seconds, attoseconds) = components
    let tenths = seconds * 10 + attoseconds / 100_000_000_000_000_000
    return "\(tenths / 10).\(abs(tenths % 10)) s"
  }
}
