// Finds the connection that is about to be lost before its socket knows. Where a Service's address is translated, a reply
// may reach us untranslated: it comes from the origin's real address, our kernel knows no such connection and answers it
// with a reset. The origin's socket dies of that, ours waits for content that never comes.
//
//   Service 10.96.0.10:80 ◀──── our socket, port 40000, alive
//   origin 10.1.2.3:8080 ────▶ port 40000: no socket ────▶ RST to 10.1.2.3:8080     this is what is looked for
//
// So: a reset that we send, without ACK (our own aborts have one), from the port of a registered flow, to somebody who
// is not its peer, at a sequence number that the flow has been at. Where it goes is the real origin, known without
// looking into the translator's tables.
//
// What is found here is a suspicion. Who is told of it asks the socket whether it was at that place before he believes it
// (`StrayNews.isOf`): in lite mode a stranger who sends to a port of ours at random fits one time in 256.
//
// Blind spots: with a rule that drops our resets, nothing is seen. In lite mode a stray that confirms more than 16 MiB of a
// request goes unseen.

import Platform
import Synchronization

/// A reset that our own kernel sent to a flow's real origin.
package struct Stray: Hashable, Sendable {
  package enum Certainty: Hashable, Sendable {
    /// The flow was at this sequence number.
    case sequenceFits
    /// It may have been there, going by the handshake.
    case sequencePlausible
    /// Only the port is known to fit, and so many registered flows have it.
    case portAlone(candidates: Int)
  }

  /// Whatever the flow was registered with.
  package var token: UInt64
  package var local: SocketAddress
  /// Whom the flow is connected to, as its socket says.
  package var peer: SocketAddress
  /// Where the reset went: the address and port behind the translation.
  package var origin: SocketAddress
  package var certainty: Certainty
  /// Where the flow began, our side of it: with that the socket itself can say whether it was at this place.
  package var initialSequence: SequenceNumber?
  package var sighting: PacketSighting
  package var header: PacketHeader
}

/// Knows the flows that are to be watched over. Flows are registered from any thread; packets are shown to it by the
/// recorder's.
package final class StrayDetector: Sendable {
  private struct Flow {
    var local: SocketAddress
    var peer: SocketAddress
    var token: UInt64
  }

  /// In lite mode, how far behind the handshake a reset may be.
  static let plausibleDistance: Int32 = 16 << 20

  private let index: FlowIndex
  private let flows = Mutex<[UInt16: [Flow]]>([:])
  private let found = Atomic<UInt64>(0)
  private let onStray: @Sendable (Stray) -> Void

  /// - Parameter onStray: called on the recorder's thread, as soon as the packet is read. It should hand on and return.
  package init(index: FlowIndex, onStray: @escaping @Sendable (Stray) -> Void) {
    self.index = index
    self.onStray = onStray
  }

  /// Begins to watch over a connection.
  /// - Parameters:
  ///   - local: its end here, as `Socket.localAddress` tells.
  ///   - peer: whom it is connected to.
  ///   - token: comes back with a stray.
  package func register(local: SocketAddress, peer: SocketAddress, token: UInt64) {
    let flow = Flow(
      local: SocketAddress(local.ip.unmapped, port: local.port),
      peer: SocketAddress(peer.ip.unmapped, port: peer.port), token: token)
    flows.withLock { $0[local.port, default: []].append(flow) }
  }

  /// Ends it.
  package func unregister(local: SocketAddress, token: UInt64) {
    flows.withLock { flows in
      guard let slot = flows.index(forKey: local.port) else { return }
      flows.values[slot].removeAll { $0.token == token }
      if flows.values[slot].isEmpty { flows.remove(at: slot) }
    }
  }

  /// How many flows are watched over.
  package var count: Int { flows.withLock { $0.values.reduce(0) { $0 + $1.count } } }

  /// How many strays have been told of.
  package var strays: UInt64 { found.load(ordering: .relaxed) }

  /// Judges a packet; nothing happens for all but our own resets.
  package func look(_ sighting: PacketSighting, _ header: PacketHeader) {
    guard sighting.isOutgoing, let tcp = header.tcp, tcp.isReset, !tcp.acknowledges else { return }
    let local = header.endpoints.source
    let target = header.endpoints.destination
    let sharing = flows.withLock { $0[local.port] ?? [] }
      .filter { $0.local.port == local.port && isSame($0.local.ip, local.ip) }
    // A reset to the peer of a flow is that flow's own affair.
    guard !sharing.isEmpty, !sharing.contains(where: { isSame($0.peer, target) }) else { return }

    var plausible: [(flow: Flow, certainty: Stray.Certainty)] = []
    var unknown: [Flow] = []
    for flow in sharing {
      switch fit(tcp.sequence, flow) {
      case .some(let certainty?): plausible.append((flow, certainty))
      case .some(nil): break
      case nil: unknown.append(flow)
      }
    }
    if plausible.isEmpty {
      plausible = unknown.map { ($0, .portAlone(candidates: unknown.count)) }
    }
    for (flow, certainty) in plausible {
      found.add(1, ordering: .relaxed)
      onStray(
        Stray(
          token: flow.token, local: flow.local, peer: flow.peer, origin: target,
          certainty: certainty, initialSequence: initialSequence(of: flow), sighting: sighting,
          header: header))
    }
  }

  private func initialSequence(of flow: Flow) -> SequenceNumber? {
    PacketEndpoints(source: flow.local, destination: flow.peer)
      .flatMap { index.baseline(of: $0) }?.initialSequence
  }

  /// How well a sequence number fits a flow: nil when nothing is known, `.some(nil)` when it cannot be.
  private func fit(_ sequence: SequenceNumber, _ flow: Flow) -> Stray.Certainty?? {
    guard let endpoints = PacketEndpoints(source: flow.local, destination: flow.peer),
      let sent = index.baseline(of: endpoints)
    else { return .none }
    switch index.mode {
    case .full:
      // The other side's acknowledgements say from where on, ours what has been sent (snd_una, snd_nxt).
      guard let next = sent.nextSequence,
        let unacknowledged = index.baseline(of: endpoints.reversed)?.acknowledged
          ?? sent.initialSequence
      else { return .none }
      return sequence.isBetween(unacknowledged, next) ? .some(.sequenceFits) : .some(nil)
    case .lite:
      guard let initial = sent.initialSequence else { return .none }
      let distance = sequence - initial
      return distance >= 0 && distance <= StrayDetector.plausibleDistance
        ? .some(.sequencePlausible) : .some(nil)
    }
  }

  private func isSame(_ left: SocketAddress, _ right: SocketAddress) -> Bool {
    left.port == right.port && isSame(left.ip, right.ip)
  }

  // The zone of a link-local address is the socket's knowledge; packets have none.
  private func isSame(_ left: IPAddress, _ right: IPAddress) -> Bool {
    left.withoutScope == right.withoutScope
  }
}
