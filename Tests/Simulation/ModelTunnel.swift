// One side of a tunnel, at the client's end of it or at the origin's: says what it has to say in portions, ends, and
// judges what comes from the other side. Both sides do the same, so each stream begins with the number of the side
// that sends it; what follows is content that the number determines.

import Glibc
import Platform

final class TunnelSide: WireEnd {
  enum Ending {
    /// FIN behind the last byte, whatever the other side does.
    case finish
    /// FIN behind the last byte, once the other side has finished.
    case afterOther
    /// RST in the middle.
    case reset
  }

  private static let headerLength = 8

  let world: World
  let number: Int
  private let isNear: Bool
  private let total: Int
  private let ending: Ending
  private var wire: Wire?
  private var sent = 0
  private var hasFinished = false
  /// It sent RST: the other side may not get all, and sees a cut.
  private(set) var hasBrokenOff = false
  /// It sent FIN before it had said all.
  private(set) var hasLeft = false
  private var isSaying = false
  private let born: Int64

  private var header: [UInt8] = []
  private weak var other: TunnelSide?
  private var received = 0
  private var otherFinished = false
  private(set) var isOver = false
  /// Told when this side is done.
  var ended: () -> Void = {}

  init(_ world: World, isNear: Bool) {
    self.world = world
    self.isNear = isNear
    let machine = world.machine
    born = machine.now
    total =
      Self.headerLength + machine.random.below(machine.random.oneIn(8) ? 300_000 : 5000)
    ending =
      switch machine.random.below(12) {
      case 0: .reset
      case 1...4: .afterOther
      default: .finish
      }
    number = world.tunnelSides.count
    world.tunnelSides.append(self)
  }

  private var machine: Machine { world.machine }
  private var name: String { "tunnel side \(number)" }

  /// Takes the connections that tunnels lead to.
  static func serve(_ world: World) {
    for origin in 0..<world.scenario.origins {
      let address = SocketAddress(ModelOrigin.address(of: origin).ip, port: 443)
      world.machine.serve(address) { wire in
        let random = world.machine.random.below(1000)
        if random < world.scenario.originFaults / 4 {
          world.count("origin refused or deaf")
          if random % 2 == 0 { wire.accept(refusing: ECONNREFUSED) }
          return
        }
        let side = TunnelSide(world, isNear: false)
        side.begin(on: wire)
        wire.accept()
        side.goOn()
      }
    }
  }

  // MARK: Saying

  /// Has the connection from now on.
  func begin(on wire: Wire) {
    self.wire = wire
    wire.end = self
    if machine.random.oneIn(6) {
      wire.pauseReading()
      machine.plan(after: Int64(machine.random.below(20_000)) * 1_000_000) { wire.resumeReading() }
    }
  }

  /// The next portion of what it has to say.
  func takePortion() -> [UInt8] {
    let count = min(total - sent, machine.random.within(Self.headerLength...40_000))
    defer { sent += count }
    guard sent == 0 else { return Content.bytes(key, sent - Self.headerLength, count) }
    let header = (0..<Self.headerLength).map {
      UInt8(truncatingIfNeeded: number >> (8 * (Self.headerLength - 1 - $0)))
    }
    return header + Content.bytes(key, 0, count - Self.headerLength)
  }

  private var key: UInt64 { UInt64(number) ^ 0x7E11_0000_0000_0000 }

  func goOn() {
    guard !isOver, !isSaying, let wire else { return }
    // Who resets before anything came may be taken for one that refused.
    if ending == .reset, isNear || other != nil, sent * 2 > total {
      world.count("tunnel resets")
      hasBrokenOff = true
      wire.reset()
      return over()
    }
    if sent < total {
      wire.send(takePortion())
      isSaying = true
      let pause =
        machine.random.oneIn(3)
        ? machine.random.below(machine.random.oneIn(8) ? 3_000_000_000 : 200_000_000) : 0
      machine.plan(after: Int64(pause)) { [self] in
        isSaying = false
        goOn()
      }
      return
    }
    finishIfDue()
  }

  private func finishIfDue() {
    guard !hasFinished, sent == total, let other else { return }
    if ending == .reset, !isNear { return goOn() }
    // One of the two has to be the first.
    let waits = ending == .afterOther && (isNear || other.ending != .afterOther)
    guard otherFinished || !waits else { return }
    hasFinished = true
    wire?.finish(closing: false)
    if otherFinished { over() }
  }

  /// Its client is gone, and the connection with it.
  func abandon(byReset: Bool) {
    if byReset { hasBrokenOff = true } else { hasLeft = true }
    over()
  }

  private func over() {
    guard !isOver else { return }
    isOver = true
    wire?.end = nil
    wire = nil
    ended()
  }

  // MARK: Hearing

  func received(_ wire: Wire, _ bytes: [UInt8]) {
    guard !isOver else { return }
    var rest = bytes[...]
    while header.count < Self.headerLength, let byte = rest.popFirst() { header.append(byte) }
    guard header.count == Self.headerLength else { return }
    if other == nil {
      let number = header.reduce(0) { $0 << 8 | Int($1) }
      guard world.tunnelSides.indices.contains(number), world.tunnelSides[number].isNear != isNear
      else {
        world.violation("\(name): the other side says it is \(number)")
        return over()
      }
      other = world.tunnelSides[number]
    }
    guard let other else { return }
    let isRight = Array(rest).withUnsafeBytes { Content.matches(other.key, received, $0) }
    received += rest.count
    if !isRight || received + Self.headerLength > other.sent {
      world.violation(
        "\(name): wrong bytes among the \(rest.count) up to \(received) of side \(other.number)")
    }
    finishIfDue()
  }

  func finished(_ wire: Wire) {
    guard !isOver else { return }
    otherFinished = true
    let isWhole = other.map { $0.hasFinished && received + Self.headerLength == $0.total } ?? false
    let hasLeft = other?.hasLeft ?? (world.scenario.clientFaults > 0)
    if !isWhole, !hasLeft, !world.wasInterrupted(since: born) {
      world.violation(
        "\(name): a proper end after \(received) bytes of side \(other?.number ?? -1), which"
          + " \(other?.hasBrokenOff == true ? "broke off" : "has more to say")")
    }
    if hasFinished { over() } else { finishIfDue() }
  }

  func broken(_ wire: Wire) {
    guard !isOver else { return }
    let isExcused =
      other.map { $0.hasBrokenOff || $0.hasLeft } ?? true || world.wasInterrupted(since: born)
      || world.scenario.mayCut || world.scenario.clientFaults > 0
    if !isExcused {
      world.violation("\(name): cut after \(received) bytes, though nothing failed")
    }
    hasBrokenOff = true
    over()
  }
}
