// Turning a connection away so that the client gets to know why. To close a socket while a request lies in it unread
// makes the kernel send RST, which takes the answer out of the client's hands (RFC 9112 §9.6). So the answer is sent,
// our side is shut, and what comes is thrown away until the client has closed too: for a short while, for a
// bounded number of clients, and not at all when descriptors are what is short.

import IO
import Platform

final class Farewell: LoopObject {
  /// Clients that one worker says farewell to at a time; the others are closed at once.
  static let limit = 128
  /// How long it waits for the client.
  private static let patience = TimeoutClass(.seconds(2))
  /// Bytes thrown away, at most.
  private static let discardLimit = 64 << 10

  private unowned(unsafe) let worker: Worker
  private let descriptor: Int32
  private var discarded = 0

  /// Sends `answer` and takes the descriptor over.
  init(worker: Worker, descriptor: Int32, answer: [UInt8]) {
    self.worker = worker
    self.descriptor = descriptor
    super.init(loop: worker.loop)
    worker.farewells += 1
    // The few bytes always fit into a new socket's buffer.
    _ = answer.withUnsafeBytes { Socket.send(descriptor, $0) }
    Socket.shutdownWrite(descriptor)
    guard (try? loop.watch(descriptor, self, .read)) != nil else {
      end()
      return
    }
    loop.arm(self, after: Self.patience)
  }

  /// The same for a client that cannot be waited for: what lies there already is read, and that is all.
  static func brief(
    _ descriptor: Int32, answer: [UInt8], into buffer: UnsafeMutableRawBufferPointer
  ) {
    _ = Socket.receive(descriptor, into: buffer)
    _ = answer.withUnsafeBytes { Socket.send(descriptor, $0) }
    Socket.shutdownWrite(descriptor)
    _ = Socket.receive(descriptor, into: buffer)
    FileDescriptor.close(raw: descriptor)
  }

  override func ready(_ readiness: Readiness) {
    switch Socket.receive(descriptor, into: loop.receiveBuffer) {
    case .bytes(let count):
      discarded += count
      if discarded > Self.discardLimit { end() }
    case .wouldBlock: return
    case .endOfStream, .failed: end()
    }
  }

  override func timerFired() { end() }

  override func loopEnding() { end() }

  private func end() {
    guard isRegistered else { return }
    unregister()
    FileDescriptor.close(raw: descriptor)
    worker.farewells -= 1
  }
}
