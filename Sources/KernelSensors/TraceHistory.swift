// The last thousands of events about resets on this machine, of all its network namespaces, to be asked about one flow.

import Platform

/// What the kernel has said about one flow.
package struct TraceReport: Hashable, Sendable {
  package struct Reset: Hashable, Sendable {
    package var reason: String?
    package var state: String?
    package var time: Instant
  }

  /// Our kernel reset the peer, in this flow's name.
  package var sent: Reset?
  /// Our kernel reset who is behind the translation, for it knew no connection with him.
  package var stray: SocketAddress?
  /// The peer's kernel, which is this one, sent the reset: seen only where both run on one machine.
  package var sentByPeer: Reset?
  /// When our kernel believed a reset of the peer's.
  package var received: Instant?
  /// Segments sent again.
  package var retransmissions = 0
  /// Packets of this flow that the kernel threw away, by reason.
  package var drops: [String: Int] = [:]
  /// The same of all flows of the machine, for reasons that have none: connections that a listener had no room for.
  package var machineDrops: [String: Int] = [:]

  package init() {}

  package var isEmpty: Bool {
    sent == nil && sentByPeer == nil && received == nil && retransmissions == 0 && drops.isEmpty
  }
}

struct TraceHistory {
  /// Of each kind.
  static let limit = 2048
  private var events: [TraceEvent.Kind: [TraceEvent]] = [:]
  private(set) var counts: [TraceEvent.Kind: UInt64] = [:]

  mutating func add(_ event: TraceEvent) {
    counts[event.kind, default: 0] &+= 1
    var list = events.removeValue(forKey: event.kind) ?? []
    if list.count >= Self.limit * 2 { list.removeFirst(list.count - Self.limit) }
    list.append(event)
    events[event.kind] = list
  }

  /// - Parameters:
  ///   - flows: our address and the peer's, in every way in which packets of the flow may look on this machine.
  ///   - stray: who is behind the translation, if there is one.
  ///   - since: what was before belongs to another connection with the same ports.
  ///   - until: what was after is no cause of what is asked about.
  func report(
    _ flows: [ConntrackTuple], stray: SocketAddress? = nil, cookie: UInt64?, since: Instant,
    until: Instant = .distantFuture
  ) -> TraceReport {
    var report = TraceReport()
    let ours = Set(flows)
    let theirs = Set(flows.map(\.reversed))
    func tuple(_ event: TraceEvent) -> ConntrackTuple? {
      guard let local = event.local, let remote = event.remote else { return nil }
      return ConntrackTuple(source: local, destination: remote)
    }
    func recent(_ kind: TraceEvent.Kind) -> some Sequence<TraceEvent> {
      (events[kind] ?? []).reversed().prefix { $0.time >= since }.lazy.filter { $0.time <= until }
    }

    var sockets: Set<UInt64> = []
    var packets: Set<UInt64> = []
    for event in recent(.resetSent) {
      guard let tuple = tuple(event) else { continue }
      // From our own address as the socket has it, and without a socket.
      if let stray, event.socket == 0, tuple.destination == stray,
        tuple.source == flows.first?.source
      {
        report.stray = stray
        continue
      }
      let reset = TraceReport.Reset(reason: event.reason, state: event.state, time: event.time)
      // The first one of each: later ones answer what came after.
      if ours.contains(tuple) {
        report.sent = reset
      } else if theirs.contains(tuple) {
        report.sentByPeer = reset
      } else {
        continue
      }
      packets.insert(event.packet)
    }
    for event in recent(.resetReceived) {
      guard
        event.cookie != nil && event.cookie == cookie || tuple(event).map(ours.contains) == true
      else { continue }
      report.received = event.time
      sockets.insert(event.socket)
    }
    for event in recent(.retransmitted) {
      guard let tuple = tuple(event), ours.contains(tuple) else { continue }
      report.retransmissions += 1
      sockets.insert(event.socket)
    }
    sockets.remove(0)
    packets.remove(0)
    for event in recent(.dropped) {
      guard let reason = event.reason else { continue }
      if sockets.contains(event.socket) || packets.contains(event.packet) {
        report.drops[reason, default: 0] += 1
      } else if event.socket == 0 || reason == "TCP_LISTEN_OVERFLOW" {
        report.machineDrops[reason, default: 0] += 1
      }
    }
    return report
  }
}
