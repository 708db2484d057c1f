// The server of a probe: accepts connections, and writes segments into them that connection tracking may not like. It writes
// into its own connections only, of which it has few, briefly, and counted.
//
//   client                                     server
//     holdfast-probe 2 test KIND TOKEN   ──▶
//                                        ◀──     ready SERVER LOCAL PEER
//     go CLOCK                           ──▶                                what its segments should show (`ProbeClock`), or -
//                                        ◀──     injecting                  confirms what was sent so far
//                                                (injects, listens)
//                                        ◀──     done exact-resets=… …      if the connection lives
//     holdfast-probe 2 report SERVER TOKEN ─▶                               on another one if not
//                                        ◀──     report exact-resets=… …

import Glibc
import Lab
import Platform
import Synchronization

package final class ProbeServer: Sendable {
  package struct Limits: Sendable {
    /// Connections at a time, and in all.
    package var atOnce = 32
    package var inAll = 10_000
    package var patience: Duration = .seconds(5)
    /// How long answers to injected segments are listened for.
    package var listening: Duration = .milliseconds(600)
    /// Each segment is sent so often: one may be lost.
    package var copies = 3

    package init() {}
  }

  private struct State {
    var current = 0
    var total = 0
    var reports: [String: String] = [:]
  }

  private let listeners: [Int32]
  package let addresses: [SocketAddress]
  private let limits: Limits
  /// Behind a Service there may be several of us.
  private let identity = String(Randomness.word(), radix: 36)
  private let state = Mutex(State())
  private let told: @Sendable (String) -> Void

  /// Begins to listen.
  /// - Parameter told: hears a line about each test.
  package init(
    on addresses: [SocketAddress], limits: Limits = Limits(),
    told: @escaping @Sendable (String) -> Void = { _ in }
  ) throws(ProbeError) {
    try SegmentWatch.check()
    var sockets: [Int32] = []
    var bound: [SocketAddress] = []
    for address in addresses {
      do {
        let socket = try Socket.listen(on: address, backlog: 64)
        bound.append(try Socket.localAddress(socket.rawValue))
        sockets.append(socket.release())
      } catch {
        for fd in sockets { FileDescriptor.close(raw: fd) }
        throw .cannotListen(address, error)
      }
    }
    listeners = sockets
    self.addresses = bound
    self.limits = limits
    self.told = told
  }

  deinit { for fd in listeners { FileDescriptor.close(raw: fd) } }

  /// Serves until the time is over, or as many connections as it is for.
  package func run(for duration: Duration) {
    let end = Instant.now() + duration
    while Instant.now() < end {
      if state.withLock({ $0.total }) >= limits.inAll { return }
      var entries = listeners.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      // Not longer, to notice the end.
      guard poll(&entries, nfds_t(entries.count), 200) > 0 else { continue }
      for entry in entries where entry.revents != 0 {
        switch Socket.accept(entry.fd) {
        case .accepted(let fd, _): accept(FileDescriptor(owning: fd))
        case .wouldBlock: continue
        // Without descriptors it would be asked again and again.
        case .failed: sleepThread(.milliseconds(50))
        }
      }
    }
  }

  private func accept(_ socket: consuming FileDescriptor) {
    let isWelcome = state.withLock { state in
      guard state.current < limits.atOnce else { return false }
      state.current += 1
      state.total += 1
      return true
    }
    guard isWelcome else { return }
    let fd = socket.release()
    let thread = try? WorkerThread.start(name: "probe") {
      let connection = try? ProbeConnection(FileDescriptor(owning: fd))
      if let connection { self.serve(connection) }
      // Before its peer hears of the end, who may come back at once.
      self.state.withLock { $0.current -= 1 }
      withExtendedLifetime(connection) {}
    }
    if thread == nil {
      FileDescriptor.close(raw: fd)
      state.withLock { $0.current -= 1 }
    }
  }

  private func serve(_ connection: ProbeConnection) {
    guard case .line(let line) = connection.read(within: limits.patience) else { return }
    let words = line.split(separator: " ").map(String.init)
    guard words.count == 5, words[0] == "holdfast-probe", words[1] == "2" else {
      connection.send("error this is a probe of holdfast, version 2")
      return
    }
    switch (words[2], ProbeKind(rawValue: words[3])) {
    case ("test", let kind?): test(kind, token: words[4], connection)
    case ("report", _):
      let report = state.withLock { words[3] == identity ? $0.reports[words[4]] : nil }
      connection.send(report.map { "report \($0)" } ?? "unknown")
    default: connection.send("error no such test: \(words[2]) \(words[3].prefix(40))")
    }
  }

  private func test(_ kind: ProbeKind, token: String, _ connection: ProbeConnection) {
    let (local, peer) = (connection.local, connection.peer)
    do {
      let watch = try SegmentWatch(from: peer.ip, to: local.ip)
      connection.send("ready \(identity) \(local) \(peer)")
      guard case .line(let line) = connection.read(within: limits.patience) else { return }
      let words = line.split(separator: " ")
      guard words.count == 2, words[0] == "go", words[1] == "-" || UInt32(words[1]) != nil else {
        connection.send("error expected go and a clock")
        return
      }
      // Its acknowledgement with it: a client that had to repeat something would learn of the end by that.
      connection.send("injecting")
      guard let last = place(connection, watch) else {
        connection.send("error the connection's own segments could not be seen")
        return
      }
      try inject(kind, after: last.place, connection)
      var sighting = listen(after: last.place, connection, watch)
      sighting.clock = ProbeClock(said: UInt32(words[1]), seen: last.clock)
      state.withLock { state in
        // Whoever asks does so at once.
        if state.reports.count > 1000 { state.reports.removeAll() }
        state.reports[token] = sighting.line
      }
      told("\(kind.rawValue) with \(peer): \(sighting.line)")
      if !sighting.socketIsDead {
        connection.send("done \(sighting.line)")
        _ = connection.read(within: limits.patience)
      }
    } catch {
      connection.send("error \(error)")
    }
  }

  /// Where the connection stands: what it sends next, and what it expects; and its client's clock.
  private func place(_ connection: ProbeConnection, _ watch: SegmentWatch) -> (
    place: (sends: UInt32, expects: UInt32), clock: UInt32?
  )? {
    // Nothing may be under way, so that what was confirmed last is all.
    let end = Instant.now() + limits.patience
    while Socket.unconfirmed(connection.descriptor) ?? 0 > 0 {
      guard Instant.now() < end else { return nil }
      sleepThread(.milliseconds(2))
    }
    let seen = watch.take(from: connection.peer.port, to: connection.local.port)
    guard let last = seen.last(where: { !$0.isReset && !$0.isSynchronising }) else { return nil }
    return (
      (last.acknowledgement, last.sequence &+ UInt32(truncatingIfNeeded: last.contentLength)),
      last.timestamp
    )
  }

  private func inject(
    _ kind: ProbeKind, after place: (sends: UInt32, expects: UInt32), _ connection: ProbeConnection
  ) throws {
    var segment = Segment(
      from: connection.local, to: connection.peer, sequence: place.sends,
      acknowledgement: place.expects, flags: Segment.pushAcknowledge)
    switch kind {
    case .control: return
    case .aboveWindow:
      segment.sequence = place.sends &+ 10_000_000
      segment.content = [0x2A]
    case .belowWindow:
      segment.sequence = place.sends &- 100_000
      segment.content = [0x2A]
    case .acknowledgementBeyond: segment.acknowledgement = place.expects &+ 10_000_000
    case .acknowledgementBehind: segment.acknowledgement = place.expects &- 1_000_000_000
    case .noFlags: segment.flags = 0
    }
    for copy in 0..<limits.copies {
      if copy > 0 { sleepThread(.milliseconds(20)) }
      try segment.send(as: "the server")
    }
  }

  private func listen(
    after place: (sends: UInt32, expects: UInt32), _ connection: ProbeConnection,
    _ watch: SegmentWatch
  ) -> ServerSighting {
    // The client says nothing now, so what there is to hear is the connection's end.
    let answer = connection.read(within: limits.listening)
    var sighting = ServerSighting()
    if case .reset = answer {
      sighting.socketIsDead = true
      // What else was drawn comes at once.
      sleepThread(.milliseconds(50))
    }
    for segment in watch.take(from: connection.peer.port, to: connection.local.port) {
      if segment.isReset {
        if segment.sequence == place.expects {
          sighting.exactResets += 1
        } else {
          sighting.otherResets += 1
        }
      } else {
        sighting.answers += 1
      }
    }
    return sighting
  }
}
