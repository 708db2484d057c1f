import IO
import Platform
import Testing

@testable import Proxy

@Suite struct UpstreamGateTests {
  /// Objects on a loop that is never run: their letters wait in the mailbox.
  private final class Line {
    final class Waiting: LoopObject {
      var isAdmitted = false
      override func receive(_ letter: Letter) { isAdmitted = true }
    }

    let loop: EventLoop
    var members: [Waiting] = []

    init() throws { loop = try EventLoop() }

    func join() -> Follower {
      let waiting = Waiting(loop: loop)
      members.append(waiting)
      return Follower(mailbox: loop.mailbox, id: waiting.id)
    }

    /// Which of them have been told that it is their turn.
    func admitted() -> [Int] {
      loop.turn(waitingAtMost: .zero)
      return members.indices.filter { members[$0].isAdmitted }
    }
  }

  private func origin(_ host: String) -> Origin {
    Origin(isSecure: false, host: host, port: 80, isConfigured: false)
  }

  @Test("as many as an origin may have are let in, the next wait, and the line has an end")
  func perOrigin() throws {
    let line = try Line()
    let gate = UpstreamGate(GateLimits(perOrigin: 2, total: 10, waitingPerOrigin: 2))
    #expect(gate.enter(origin("a"), line.join()) == .admitted)
    #expect(gate.enter(origin("a"), line.join()) == .admitted)
    #expect(gate.enter(origin("a"), line.join()) == .waiting)
    #expect(gate.enter(origin("a"), line.join()) == .waiting)
    #expect(gate.enter(origin("a"), line.join()) == .full)
    #expect(gate.enter(origin("b"), line.join()) == .admitted)
    gate.leave(origin("a"))
    #expect(line.admitted() == [2])
    gate.leave(origin("a"))
    #expect(line.admitted() == [2, 3])
    for _ in 0..<2 { gate.leave(origin("a")) }
    gate.leave(origin("b"))
    #expect(gate.counts == (0, 0))
    #expect(gate.enter(origin("a"), line.join()) == .admitted)
  }

  @Test("an origin whose requests are refused leaves nothing behind", arguments: [0, 1])
  func refused(waiting: Int) throws {
    let line = try Line()
    let gate = UpstreamGate(GateLimits(perOrigin: 2, total: 1, waitingPerOrigin: waiting))
    #expect(gate.enter(origin("a"), line.join()) == .admitted)
    for number in 0..<100 where waiting == 0 {
      #expect(gate.enter(origin("\(number)"), line.join()) == .full)
    }
    #expect(gate.enter(origin("b"), line.join()) == (waiting == 0 ? .full : .waiting))
    #expect(gate.remembered == (1 + waiting, waiting))
    gate.leave(origin("a"))
    if waiting > 0 { gate.leave(origin("b")) }
    #expect(gate.remembered == (0, 0))
    #expect(gate.counts == (0, 0))
  }

  @Test("those who waited for a place of the proxy and gave up leave nothing behind either")
  func gaveUp() throws {
    let line = try Line()
    let gate = UpstreamGate(GateLimits(perOrigin: 1, total: 1, waitingPerOrigin: 2))
    #expect(gate.enter(origin("a"), line.join()) == .admitted)
    for number in 0..<100 {
      let follower = line.join()
      #expect(gate.enter(origin("\(number)"), follower) == .waiting)
      #expect(gate.giveUp(origin("\(number)"), follower.id))
    }
    #expect(gate.remembered == (1, 0))
    gate.leave(origin("a"))
    #expect(gate.remembered == (0, 0))
  }

  @Test("with all places of the proxy taken, the lines take turns")
  func total() throws {
    let line = try Line()
    let gate = UpstreamGate(GateLimits(perOrigin: 2, total: 2, waitingPerOrigin: 10))
    _ = gate.enter(origin("a"), line.join())
    _ = gate.enter(origin("a"), line.join())
    // Three at `a`, of which two could not go on anyway, then one each at `b` and `c`.
    for host in ["a", "a", "a", "b", "c"] {
      #expect(gate.enter(origin(host), line.join()) == .waiting)
    }
    var order: [Int] = []
    func note() {
      for member in line.admitted() where !order.contains(member) { order.append(member) }
    }
    gate.leave(origin("a"))
    note()
    gate.leave(origin("a"))
    note()
    gate.leave(origin("b"))
    note()
    gate.leave(origin("c"))
    note()
    #expect(Set(order) == [2, 3, 5, 6])
    #expect(order.firstIndex(of: 5) ?? .max < 2, "b waits no longer than the second turn: \(order)")
    gate.leave(origin("a"))
    note()
    #expect(order.last == 4)
    gate.leave(origin("a"))
    gate.leave(origin("a"))
    #expect(gate.counts == (0, 0))
  }

  @Test("who gives up is passed over; who was let in at that moment is told so")
  func givingUp() throws {
    let line = try Line()
    let gate = UpstreamGate(GateLimits(perOrigin: 1, total: 1, waitingPerOrigin: 10))
    _ = gate.enter(origin("a"), line.join())
    let first = line.join()
    let second = line.join()
    _ = gate.enter(origin("a"), first)
    _ = gate.enter(origin("a"), second)
    #expect(gate.giveUp(origin("a"), first.id))
    gate.leave(origin("a"))
    #expect(line.admitted() == [2])
    #expect(!gate.giveUp(origin("a"), second.id))
    gate.leave(origin("a"))
    #expect(gate.counts == (0, 0))
  }

  @Test("wider bounds let in who waits, narrower ones turn nobody out")
  func change() throws {
    let line = try Line()
    let gate = UpstreamGate(GateLimits(perOrigin: 1, total: 10, waitingPerOrigin: 10))
    for _ in 0..<4 { _ = gate.enter(origin("a"), line.join()) }
    gate.change(GateLimits(perOrigin: 3, total: 10, waitingPerOrigin: 10))
    #expect(line.admitted() == [1, 2])
    gate.change(GateLimits(perOrigin: 1, total: 1, waitingPerOrigin: 10))
    #expect(gate.counts == (3, 1))
    gate.leave(origin("a"))
    gate.leave(origin("a"))
    #expect(line.admitted() == [1, 2])
    gate.leave(origin("a"))
    #expect(line.admitted() == [1, 2, 3])
  }

  /// Any order of coming, leaving and giving up: never more inside than the bounds, and nobody is forgotten.
  @Test(
    "no order of events breaks the bounds or loses a place",
    arguments: 1...20 as ClosedRange<UInt64>)
  func anyOrder(seed: UInt64) throws {
    var state = seed &* 0x9E37_79B9_7F4A_7C15
    func random(_ bound: Int) -> Int {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Int(state % UInt64(bound))
    }
    let line = try Line()
    let gate = UpstreamGate(GateLimits(perOrigin: 3, total: 5, waitingPerOrigin: 4))
    let hosts = ["a", "b", "c", "d"]
    var inside: [(host: String, member: Int)] = []
    var waiting: [(host: String, member: Int, follower: Follower)] = []
    for _ in 0..<400 {
      switch random(3) {
      case 0:
        let host = hosts[random(hosts.count)]
        let follower = line.join()
        let member = line.members.count - 1
        switch gate.enter(origin(host), follower) {
        case .admitted: inside.append((host, member))
        case .waiting: waiting.append((host, member, follower))
        case .full: break
        }
      case 1 where !inside.isEmpty:
        gate.leave(origin(inside.remove(at: random(inside.count)).host))
      case 2 where !waiting.isEmpty:
        let one = waiting.remove(at: random(waiting.count))
        if !gate.giveUp(origin(one.host), one.follower.id) { inside.append((one.host, one.member)) }
      default: break
      }
      let admitted = Set(line.admitted())
      inside += waiting.filter { admitted.contains($0.member) }.map { ($0.host, $0.member) }
      waiting.removeAll { admitted.contains($0.member) }
      #expect(gate.counts == (inside.count, waiting.count))
      #expect(inside.count <= 5)
      for host in hosts { #expect(inside.count { $0.host == host } <= 3) }
      // Nobody waits who could go on.
      if inside.count < 5 {
        for one in waiting { #expect(inside.count { $0.host == one.host } == 3) }
      }
    }
    while !inside.isEmpty || !waiting.isEmpty {
      if let one = inside.popLast() { gate.leave(origin(one.host)) }
      let admitted = Set(line.admitted())
      inside += waiting.filter { admitted.contains($0.member) }.map { ($0.host, $0.member) }
      waiting.removeAll { admitted.contains($0.member) }
      if inside.isEmpty { break }
    }
    #expect(gate.counts == (0, 0))
    #expect(waiting.isEmpty)
  }
}
