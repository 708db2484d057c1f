// Happy Eyeballs: the decisions on virtual time, and the real thing against a black hole, a closed door and an open one.

import Platform
import Testing

@testable import IO

@Suite("Connection race")
struct ConnectionRaceTests {
  private static func address(_ text: String) -> SocketAddress {
    SocketAddress(text) ?? SocketAddress(.anyV4, port: 0)
  }

  static let four = (1...3).map { address("192.0.2.\($0):80") }
  static let six = (1...3).map { address("[2001:db8::\($0)]:80") }
  private let start = Instant(nanoseconds: 1_000_000_000)

  private func after(_ milliseconds: Int) -> Instant { start + .milliseconds(milliseconds) }

  private func race(_ addresses: [SocketAddress]) -> ConnectionRace {
    ConnectionRace(addresses, now: start, timeout: .seconds(10))
  }

  @Test("families alternate, beginning with the preferred one, and keep their order")
  func interleaves() {
    let (a, b, c) = (Self.six[0], Self.six[1], Self.six[2])
    let (x, y) = (Self.four[0], Self.four[1])
    #expect(ConnectionRace.interleaved([a, b, c, x, y]) == [a, x, b, y, c])
    #expect(ConnectionRace.interleaved([x, a, b, c]) == [x, a, b, c])
    #expect(ConnectionRace.interleaved([a, b]) == [a, b])
    #expect(ConnectionRace.interleaved([]) == [])
  }

  @Test("the next address begins after the head start, and the first to answer wins")
  func headStart() {
    var race = race([Self.six[0], Self.four[0]])
    #expect(race.step(start) == .begin(0))
    #expect(race.step(start) == .wait(until: after(250)))
    #expect(race.step(after(249)) == .wait(until: after(250)))
    #expect(race.step(after(250)) == .begin(1))
    #expect(race.step(after(250)) == .wait(until: after(10_000)))
    race.connected(1, after(260))
    #expect(race.step(after(260)) == .won(1))
    #expect(race.attempts.map(\.outcome) == [.abandoned, .connected])
    #expect(
      race.attempts[1].began == .milliseconds(250) && race.attempts[1].ended == .milliseconds(260))
  }

  @Test("an attempt begun earlier may still win")
  func lateWinner() {
    var race = race([Self.six[0], Self.four[0]])
    #expect(race.step(start) == .begin(0))
    #expect(race.step(after(250)) == .begin(1))
    race.connected(0, after(300))
    race.connected(1, after(301))
    #expect(race.step(after(301)) == .won(0))
  }

  @Test(
    "no more than four go on side by side: the one that has had longest makes room for the next")
  func crowd() {
    var race = race((1...6).map { Self.address("192.0.2.\($0):80") })
    for number in 0..<4 {
      #expect(race.step(after(250 * number)) == .begin(number))
    }
    #expect(race.step(after(999)) == .wait(until: after(1000)))
    #expect(race.step(after(1000)) == .abandon(0))
    #expect(race.step(after(1000)) == .begin(4))
    // One that failed has made room already.
    race.failed(2, .connectionRefused, after(1100))
    #expect(race.step(after(1100)) == .begin(5))
    #expect(race.step(after(1100)) == .wait(until: after(10_000)))
    race.connected(0, after(1200))
    race.connected(1, after(1200))
    #expect(race.step(after(1200)) == .won(1))
  }

  @Test("a failure lets the next address begin at once")
  func failure() {
    var race = race(Self.four)
    #expect(race.step(start) == .begin(0))
    race.failed(0, .connectionRefused, after(1))
    #expect(race.step(after(1)) == .begin(1))
    #expect(race.step(after(1)) == .wait(until: after(251)))
    race.failed(1, .networkUnreachable, after(2))
    #expect(race.step(after(2)) == .begin(2))
    race.failed(2, .hostUnreachable, after(3))
    #expect(race.step(after(3)) == .lost)
    #expect(
      race.attempts.map(\.outcome) == [
        .failed(.connectionRefused), .failed(.networkUnreachable), .failed(.hostUnreachable),
      ])
  }

  @Test("with all addresses begun, the race waits for the last one, until the time is over")
  func deadline() {
    var race = race([Self.four[0]])
    #expect(race.step(start) == .begin(0))
    #expect(race.step(after(1)) == .wait(until: after(10_000)))
    #expect(race.step(after(10_000)) == .lost)
    #expect(race.attempts[0].outcome == .abandoned)
    race.connected(0, after(10_001))
    #expect(race.step(after(10_001)) == .lost)
  }

  @Test("addresses that were never tried say so")
  func untried() {
    var race = ConnectionRace(Self.four, now: start, timeout: .milliseconds(100))
    #expect(race.step(start) == .begin(0))
    #expect(race.step(start) == .wait(until: after(100)))
    #expect(race.step(after(100)) == .lost)
    #expect(race.attempts.map(\.outcome) == [.abandoned, .notTried, .notTried])
  }

  @Test("no addresses, no race")
  func none() {
    var race = race([])
    #expect(race.step(start) == .lost)
  }
}

@Suite("Connector")
struct ConnectorTests {
  private final class Waiter: ConnectorDelegate {
    var address: SocketAddress?
    var socket: Int32 = -1
    var attempts: [ConnectionRace.Attempt] = []
    var told = 0

    func connector(
      _ connector: Connector, connected socket: consuming FileDescriptor, to address: SocketAddress,
      attempts: [ConnectionRace.Attempt]
    ) {
      told += 1
      self.socket = socket.release()
      self.address = address
      self.attempts = attempts
    }

    func connector(_ connector: Connector, failed attempts: [ConnectionRace.Attempt]) {
      told += 1
      self.attempts = attempts
    }

    deinit {
      if socket >= 0 { FileDescriptor.close(raw: socket) }
    }
  }

  /// An address that answers nothing: a listener whose queue is full drops what knocks.
  private final class BlackHole {
    let address: SocketAddress
    private let listener: FileDescriptor
    private var fillers: [Int32] = []

    init() throws {
      let listener = try Socket.listen(on: SocketAddress(.loopbackV4, port: 0), backlog: 0)
      address = try Socket.localAddress(listener.rawValue)
      self.listener = listener
      for _ in 0..<4 { fillers.append(try Socket.connect(to: address).release()) }
    }

    deinit {
      for filler in fillers { FileDescriptor.close(raw: filler) }
    }
  }

  @Test("the only address connects")
  func connects() throws {
    let (loop, waiter) = (try EventLoop(), Waiter())
    let listener = try Socket.listen(on: SocketAddress(.loopbackV6, port: 0))
    let address = try Socket.localAddress(listener.rawValue)
    _ = Connector(loop: loop, addresses: [address], timeout: .seconds(60), delegate: waiter)
    #expect(waiter.told == 0)
    loop.run { waiter.told > 0 }
    #expect(waiter.address == address)
    #expect(try Socket.peerAddress(waiter.socket) == address)
    #expect(waiter.attempts.map(\.outcome) == [.connected])
    loop.turn(waitingAtMost: .zero)
    #expect(loop.objectCount == 0 && waiter.told == 1)
  }

  @Test("an address that swallows everything costs a head start and no more")
  func blackHole() throws {
    let (loop, waiter, hole) = (try EventLoop(), Waiter(), try BlackHole())
    let listener = try Socket.listen(on: SocketAddress(.loopbackV6, port: 0))
    let address = try Socket.localAddress(listener.rawValue)
    _ = Connector(
      loop: loop, addresses: [hole.address, address], headStart: .milliseconds(10),
      timeout: .seconds(60),
      delegate: waiter)
    loop.run { waiter.told > 0 }
    #expect(waiter.address == address)
    #expect(waiter.attempts.map(\.outcome) == [.abandoned, .connected])
    loop.turn(waitingAtMost: .zero)
    #expect(loop.objectCount == 0)
  }

  @Test("an address that refuses is passed over without waiting for the head start")
  func refused() throws {
    let (loop, waiter) = (try EventLoop(), Waiter())
    let listener = try Socket.listen(on: SocketAddress(.loopbackV4, port: 0))
    let address = try Socket.localAddress(listener.rawValue)
    let closed = try ClosedDoor()
    // A head start of an hour: whoever waits for it hangs.
    _ = Connector(
      loop: loop, addresses: [closed.address, address], headStart: .seconds(3600),
      timeout: .seconds(7200),
      delegate: waiter)
    loop.run { waiter.told > 0 }
    #expect(waiter.address == address)
    #expect(waiter.attempts.map(\.outcome) == [.failed(.connectionRefused), .connected])
  }

  @Test("when nobody answers, the delegate learns what became of each address")
  func nobody() throws {
    let (loop, waiter, hole) = (try EventLoop(), Waiter(), try BlackHole())
    let closed = try ClosedDoor()
    _ = Connector(
      loop: loop, addresses: [closed.address, hole.address], timeout: .milliseconds(30),
      delegate: waiter)
    loop.run { waiter.told > 0 }
    #expect(waiter.address == nil)
    #expect(waiter.attempts.map(\.address) == [closed.address, hole.address])
    #expect(waiter.attempts.map(\.outcome) == [.failed(.connectionRefused), .abandoned])
    loop.turn(waitingAtMost: .zero)
    #expect(loop.objectCount == 0)
  }

  @Test("a cancelled connector tells nothing and leaves nothing behind")
  func cancelled() throws {
    let (loop, waiter, hole) = (try EventLoop(), Waiter(), try BlackHole())
    let connector = Connector(
      loop: loop, addresses: [hole.address], timeout: .seconds(60), delegate: waiter)
    loop.turn()
    #expect(loop.objectCount == 2)
    connector.cancel()
    loop.turn(waitingAtMost: .zero)
    #expect(loop.objectCount == 0 && waiter.told == 0)
  }

  @Test("a loop that ends takes its connectors along")
  func loopEnds() throws {
    let (waiter, hole) = (Waiter(), try BlackHole())
    do {
      let loop = try EventLoop()
      _ = Connector(loop: loop, addresses: [hole.address], timeout: .seconds(60), delegate: waiter)
      loop.turn()
      loop.stop()
      loop.run()
      #expect(loop.objectCount == 0)
    }
    #expect(waiter.told == 0)
  }
}
