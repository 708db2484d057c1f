// The kernel's own words about real resets.

import Glibc
import Platform
import TestNetwork
import Testing

@testable import KernelSensors

/// Why tracepoints cannot be watched here; nil where they can.
private let obstacle: Comment? = {
  if let obstacle = Host.obstacle { return obstacle }
  do {
    try ResetTracer.start().stop()
    return nil
  } catch {
    return "\(error)"
  }
}()

@Suite(
  "Watching tracepoints", .timeLimit(.minutes(2)), .serialized,
  .enabled(if: obstacle == nil, obstacle)
)
struct ResetTracerTests {
  private func report(_ tracer: ResetTracer, _ question: ResetTracer.Question) throws -> TraceReport
  {
    let outcome = Answer<TraceReport?>()
    tracer.report(question) { outcome.set($0) }
    return try #require(outcome.wait())
  }

  /// Two ends of a connection in a namespace.
  private struct Pair {
    let listener: Int32
    let client: Int32
    let server: Int32
    let local: SocketAddress
    let peer: SocketAddress

    init(_ host: Host, _ text: String) throws {
      listener = try host.listen(text)
      client = try host.connect(text)
      server = try accept(listener)
      local = try Socket.localAddress(client)
      peer = try #require(SocketAddress(text))
    }
  }

  @Test("whatever is asked while it ends is answered")
  func endings() throws {
    let address = try #require(SocketAddress("127.0.0.1:1"))
    for _ in 0..<20 {
      let tracer = try ResetTracer.start()
      let answered = Monitor(0)
      let isAsking = Monitor(false)
      let asker = try WorkerThread.start(name: "asker") {
        for number in 0..<100_000 {
          let question = ResetTracer.Question(
            local: address, peer: address, cookie: nil, since: Instant.precise())
          tracer.report(question) { _ in answered.withLock { $0 += 1 } }
          if number == 100 {
            isAsking.withLock { $0 = true }
            isAsking.wakeAll()
          }
        }
      }
      isAsking.wait { $0 ? () : nil }
      tracer.stop()
      asker.join()
      #expect(answered.withLock { $0 } == 100_000)
    }
  }

  @Test(
    "an abort is told with the sender's reason, and by the cookie of who believed it",
    arguments: ["127.0.0.1:80", "[::1]:80"])
  func abort(text: String) throws {
    let host = try Host()
    let tracer = try ResetTracer.start()
    let start = Instant.precise()
    let pair = try Pair(host, text)
    let cookie = Socket.cookie(pair.client)
    Socket.abort(raw: pair.server)
    #expect(try receive(pair.client) == .failed(.connectionReset))
    let report = try report(
      tracer, .init(local: pair.local, peer: pair.peer, cookie: cookie, since: start))
    #expect(report.received != nil)
    #expect(report.sent == nil)
    if tracer.tellsReasons {
      #expect(report.sentByPeer?.reason == "TCP_STATE")
    } else {
      #expect(report.sentByPeer != nil)
    }
    // From the other end it is the other way round.
    let other = try self.report(
      tracer, .init(local: pair.peer, peer: pair.local, cookie: nil, since: start))
    #expect(other.sent != nil && other.sentByPeer == nil)
    tracer.stop()
    close(pair.client, pair.listener)
  }

  @Test("data that nobody wants is refused for that reason, with a socket and without one")
  func unwanted() throws {
    let host = try Host()
    let tracer = try ResetTracer.start()
    let start = Instant.precise()
    let pair = try Pair(host, "127.0.0.1:80")
    close(pair.server)
    #expect(try receive(pair.client) == .endOfStream)
    try send(pair.client, "more")
    // The answer may come somewhat later. That it has come is told whatever is asked for.
    try waitUntilReady(pair.client, [])
    let report = try report(
      tracer,
      .init(local: pair.local, peer: pair.peer, cookie: Socket.cookie(pair.client), since: start))
    #expect(report.sentByPeer != nil)
    if tracer.tellsReasons {
      let reason = try #require(report.sentByPeer?.reason)
      #expect(["TCP_ABORT_ON_DATA", "TCP_TIMEWAIT_SOCKET", "NO_SOCKET"].contains(reason))
      // Nobody listens at all.
      close(pair.listener)
      let refused = try host.run {
        try Socket.connect(to: SocketAddress(.loopbackV4, port: 81)).release()
      }
      #expect(try receive(refused) == .failed(.connectionRefused))
      let answer = try self.report(
        tracer,
        .init(
          local: try Socket.localAddress(refused), peer: SocketAddress(.loopbackV4, port: 81),
          cookie: nil, since: start))
      #expect(answer.sentByPeer?.reason == "NO_SOCKET")
      close(refused)
    } else {
      close(pair.listener)
    }
    tracer.stop()
    close(pair.client)
  }

  @Test("of 23 resets 23 are told, and none is lost")
  func calibration() throws {
    let host = try Host()
    let tracer = try ResetTracer.start()
    let start = Instant.precise()
    let listener = try host.listen("127.0.0.1:80")
    var ends: [(Int32, SocketAddress)] = []
    for number in 0..<46 {
      let client = try host.connect("127.0.0.1:80")
      let server = try accept(listener)
      if number % 2 == 0 { Socket.abort(raw: server) } else { close(server) }
      _ = try receive(client)
      ends.append((client, try Socket.localAddress(client)))
    }
    // The machine's other connections are seen too, so these are counted one by one.
    let peer = SocketAddress(.loopbackV4, port: 80)
    let reports = try ends.map { client, local in
      try report(
        tracer, .init(local: local, peer: peer, cookie: Socket.cookie(client), since: start))
    }
    #expect(reports.count { $0.received != nil } == 23)
    #expect(reports.count { $0.sentByPeer != nil } == 23)
    #expect(reports.count { $0.sent != nil } == 0)
    #expect(tracer.statistics.lost == 0)
    tracer.stop()
    for (client, _) in ends { close(client) }
    close(listener)
  }

  @Test("what is dropped, and what is sent again")
  func drops() throws {
    let host = try Host()
    let tracer = try ResetTracer.start()
    let start = Instant.precise()
    try host.command("iptables -A INPUT -p tcp --dport 80 -j DROP")
    let peer = SocketAddress(.loopbackV4, port: 80)
    let client = try host.run { try Socket.connect(to: peer).release() }
    #expect(tracer.wait { ($0.counts[.retransmitted] ?? 0) > 0 })
    let question = ResetTracer.Question(
      local: try Socket.localAddress(client), peer: peer, cookie: Socket.cookie(client),
      since: start)
    // Other connections of the machine may be the ones that were waited for.
    var report = TraceReport()
    while report.retransmissions == 0 { report = try self.report(tracer, question) }
    if tracer.kinds.contains(.dropped) {
      #expect((report.machineDrops["NETFILTER_DROP"] ?? 0) > 0)
    }
    tracer.stop()
    close(client)
  }
}
