// A TCP connection between the program and a model: the model holds the wire, the program its socket. Bytes take time,
// arrive in pieces that the seed chooses, and wait where there is no room for them.
//
//   model ── send ──▶ on the way ──▶ incoming ──▶ recv          at most `receiveLimit` unread
//   model ◀─ unread ◀── on the way ◀───────────── send          at most `window` between the two

import Glibc
import Platform

/// What a model does with a connection. Called on virtual time, never from within a call of the program.
package protocol WireEnd: AnyObject {
  func received(_ wire: Wire, _ bytes: [UInt8])
  /// The program has said all it will say.
  func finished(_ wire: Wire)
  func broken(_ wire: Wire)
}

package final class Wire {
  private unowned let machine: Machine
  package let local: SocketAddress
  package let peer: SocketAddress
  /// Who is at the other end. Not held by anything else.
  package var end: (any WireEnd)?
  var socket: StreamSocket?
  /// A connection of the program that waits for the model to take it (0) or not (an error number).
  var connecting: ((Int32) -> Void)?
  private let baseLatency: Int
  private let pieceLimit: Int
  private let receiveLimit: Int

  // Towards the program.
  private var incoming: [UInt8] = []
  private var incomingStart = 0
  private var waiting: [[UInt8]] = []
  private var arrivesNext: Int64 = 0
  private(set) var isFinishedByActor = false
  private var finishWaits = false
  /// The model takes nothing any more: what comes is answered with RST.
  private var isClosedByActor = false
  private(set) var isReset = false

  // Towards the model.
  let window: Int
  private var outstanding = 0
  private var leavesNext: Int64 = 0
  private var unread: [[UInt8]] = []
  private var finishUnread = false
  private var isOver = false
  private var isClosedByProgram = false
  /// Whether the model takes what arrives.
  package private(set) var isReading = true

  init(_ machine: Machine, local: SocketAddress, peer: SocketAddress) {
    self.machine = machine
    self.local = local
    self.peer = peer
    baseLatency = machine.random.oneIn(3) ? machine.random.below(30_000_000) : 50_000
    pieceLimit =
      machine.random.oneIn(20)
      ? machine.random.within(1...40) : machine.random.within(500...30_000)
    switch machine.hasSmallWindows ? 0 : machine.random.below(24) {
    case 0: window = machine.random.within(100...1000)
    case 1...4: window = machine.random.within(1000...8000)
    default: window = 200_000
    }
    receiveLimit = machine.random.within(4000...300_000)
  }

  func latency() -> Int64 {
    Int64(baseLatency + machine.random.below(baseLatency / 4 + 1000))
  }

  // MARK: The model's side

  /// Takes the connection that the program makes, or refuses it with an error number.
  package func accept(refusing error: Int32 = 0) {
    connecting?(error)
    connecting = nil
  }

  package func send(_ bytes: [UInt8]) {
    guard !isReset, !isOver else { return }
    var start = 0
    // Very small pieces of very much would be all that a run does.
    let pieceLimit = max(self.pieceLimit, bytes.count / 100)
    while start < bytes.count {
      // A piece ends anywhere, also within a head or a chunk's size.
      let count = min(bytes.count - start, machine.random.within(1...pieceLimit))
      let piece = Array(bytes[start..<start + count])
      start += count
      arrive { $0.arrived(piece) }
    }
  }

  /// FIN. Unless `closing`, the model goes on taking what the program sends.
  package func finish(closing: Bool = true) {
    guard !isReset, !isOver else { return }
    if closing { isClosedByActor = true }
    arrive { wire in
      wire.finishWaits = true
      wire.moveWaiting()
    }
  }

  /// RST: bytes on the way may be lost.
  package func reset() {
    guard !isOver else { return }
    isOver = true
    end = nil
    if machine.random.oneIn(2) {
      arrive { $0.resetArrived() }
    } else {
      machine.plan(after: latency()) { [self] in resetArrived() }
    }
  }

  package func pauseReading() { isReading = false }

  package func resumeReading() {
    guard !isReading else { return }
    isReading = true
    let pieces = unread
    unread = []
    for piece in pieces { deliver(piece) }
    if finishUnread, !isOver {
      finishUnread = false
      end?.finished(self)
    }
  }

  private func arrive(_ action: @escaping (Wire) -> Void) {
    arrivesNext = max(arrivesNext + 1000, machine.now + latency())
    machine.plan(at: arrivesNext) { [self] in
      if !isReset { action(self) }
    }
  }

  private func arrived(_ piece: [UInt8]) {
    guard !isClosedByProgram else {
      // Nobody is there any more.
      resetByProgram()
      return
    }
    waiting.append(piece)
    moveWaiting()
  }

  private func moveWaiting() {
    while let first = waiting.first, incoming.count - incomingStart < receiveLimit {
      incoming.append(contentsOf: first)
      waiting.removeFirst()
    }
    if waiting.isEmpty, finishWaits { isFinishedByActor = true }
    socket?.touch(machine)
  }

  private func resetArrived() {
    guard !isReset else { return }
    isReset = true
    waiting = []
    if let socket {
      socket.error = ECONNRESET
      if socket.state == .connecting {
        socket.state = .failed
        socket.error = ECONNREFUSED
      }
      socket.touch(machine)
    }
  }

  // MARK: The program's side

  var hasIncoming: Bool { incoming.count > incomingStart }
  var room: Int { max(0, window - outstanding) }

  func takeIncoming(_ buffer: UnsafeMutableRawBufferPointer, peeking: Bool) -> Int {
    let count = min(buffer.count, incoming.count - incomingStart)
    incoming.withUnsafeBytes { bytes in
      buffer.copyMemory(
        from: UnsafeRawBufferPointer(rebasing: bytes[incomingStart..<incomingStart + count]))
    }
    guard !peeking else { return count }
    incomingStart += count
    if incomingStart == incoming.count || incomingStart > 1 << 16 {
      incoming.removeFirst(incomingStart)
      incomingStart = 0
    }
    if !waiting.isEmpty { moveWaiting() }
    return count
  }

  func sendFromProgram(_ bytes: [UInt8]) {
    outstanding += bytes.count
    leave { wire in
      if wire.isClosedByActor, wire.end == nil {
        wire.resetArrived()
      } else if wire.isReading {
        wire.deliver(bytes)
      } else {
        wire.unread.append(bytes)
      }
    }
  }

  private func deliver(_ bytes: [UInt8]) {
    guard !isOver else { return }
    outstanding -= bytes.count
    socket?.touch(machine)
    end?.received(self, bytes)
  }

  func finishByProgram() {
    leave { wire in
      if wire.isReading {
        wire.end?.finished(wire)
      } else {
        wire.finishUnread = true
      }
    }
  }

  func closeByProgram(isFinished: Bool) {
    isClosedByProgram = true
    if !isFinished { finishByProgram() }
  }

  func resetByProgram() {
    isClosedByProgram = true
    let action: () -> Void = { [self] in
      guard !isOver else { return }
      isOver = true
      let end = self.end
      self.end = nil
      end?.broken(self)
    }
    // Bytes on the way are lost, or are not.
    if machine.random.oneIn(2) {
      machine.plan(after: latency(), action)
    } else {
      leave { _ in action() }
    }
  }

  private func leave(_ action: @escaping (Wire) -> Void) {
    leavesNext = max(leavesNext + 1000, machine.now + latency())
    machine.plan(at: leavesNext) { [self] in
      if !isOver { action(self) }
    }
  }
}
