// Cutting a connection without taking back what was sent before the cut. RST makes the kernel drop all that the peer has
// not confirmed, and that may be an earlier answer that was whole, or the beginning of one that the client will want to
// go on from. So nothing more is read or said, and RST follows when the peer has confirmed the rest: as long as it takes
// some of it every few seconds, for a bounded number of connections, and at once where nothing is on the way.
//
//   flushing ─▶ waiting for confirmation ─▶ RST        (from anywhere: RST at once when the peer is gone or time is up)

import IO
import Platform

final class Severance: LoopObject {
  /// How long the peer may take nothing, and how long it has in all.
  private static let patience: Duration = .seconds(5)
  private static let limit: Duration = .seconds(60)
  /// Nobody tells of confirmations: it is asked for them, at first after so long, then less and less often.
  private static let firstLook: Duration = .milliseconds(1)
  private static let longestLook: Duration = .milliseconds(50)

  private unowned(unsafe) let worker: Worker
  private var stream: SocketStream
  private var unsent: ByteQueue
  /// Of all that is not confirmed, the least so far, and since when it is that.
  private var left = Int.max
  private var since: Instant
  private let deadline: Instant
  private var pause = Severance.firstLook

  /// Takes the connection over, which nobody watches any more.
  /// - Parameter unsent: what was to be sent and has not gone yet.
  static func cut(_ stream: SocketStream, unsent: consuming ByteQueue, worker: Worker) {
    let isDelivered = Self.left(stream, unsent.count) == 0
    guard !isDelivered, worker.farewells < worker.settings.budget.farewells else {
      Socket.abort(raw: stream.descriptor)
      return
    }
    Severance(stream, unsent, worker).begin()
  }

  private init(_ stream: SocketStream, _ unsent: consuming ByteQueue, _ worker: Worker) {
    self.worker = worker
    self.stream = stream
    self.unsent = unsent
    since = worker.loop.now
    deadline = worker.loop.now + Self.limit
    super.init(loop: worker.loop)
    worker.farewells += 1
  }

  private func begin() {
    // Without an interest the kernel still tells of errors.
    guard (try? loop.watch(stream.descriptor, self, unsent.isEmpty ? [] : .write)) != nil else {
      end()
      return
    }
    lookAgain()
  }

  override func ready(_ readiness: Readiness) {
    guard readiness.isDisjoint(with: [.error, .hangUp]) else { return end() }
    while !unsent.isEmpty {
      switch stream.send(unsent.bytes) {
      case .bytes(let count): unsent.consume(count)
      case .wouldBlock: return
      case .endOfStream, .failed: return end()
      }
    }
    loop.setInterest(self, [])
  }

  override func timerFired() {
    let left = Self.left(stream, unsent.count)
    if left < self.left {
      self.left = left
      since = loop.now
    }
    if left == 0 || loop.now >= min(since + Self.patience, deadline) { end() } else { lookAgain() }
  }

  /// Bytes that the peer has not confirmed.
  private static func left(_ stream: SocketStream, _ unsent: Int) -> Int {
    unsent + (Socket.unconfirmed(stream.descriptor) ?? 0)
  }

  private func lookAgain() {
    loop.arm(self, at: loop.now + pause)
    pause = min(pause + pause, Self.longestLook)
  }

  override func loopEnding() { end() }

  private func end() {
    guard isRegistered else { return }
    unregister()
    Socket.abort(raw: stream.descriptor)
    worker.farewells -= 1
  }
}
