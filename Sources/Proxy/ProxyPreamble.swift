// A connection that has yet to say whose it is: waits for the PROXY header (ProxyProtocol.swift), takes
// exactly its bytes from the socket, and hands the connection to the worker with the client's address. What
// follows the header stays in the socket for whoever reads requests.

import IO
import Platform
import Telemetry

final class ProxyPreamble: LoopObject {
  private let worker: Worker
  private let use: ListenerUse
  private let peer: SocketAddress
  private let descriptor: Int32
  private var header: [UInt8] = []

  init(worker: Worker, use: ListenerUse, peer: SocketAddress, descriptor: Int32) {
    self.worker = worker
    self.use = use
    self.peer = peer
    self.descriptor = descriptor
    super.init(loop: worker.loop)
  }

  /// - Returns: false when the kernel refuses to watch the descriptor; it is closed then.
  func start() -> Bool {
    guard (try? loop.watch(descriptor, self, .read)) != nil else {
      unregister()
      FileDescriptor.close(raw: descriptor)
      return false
    }
    loop.arm(self, after: worker.settings.headerTimeout)
    return true
  }

  override func ready(_ events: Readiness) {
    let room = ProxyProtocol.largest - header.count
    let buffer = UnsafeMutableRawBufferPointer(rebasing: loop.receiveBuffer[0..<room])
    switch Socket.peek(descriptor, into: buffer) {
    case .bytes(let count):
      looked(at: UnsafeRawBufferPointer(rebasing: buffer[0..<count]))
    case .wouldBlock:
      return
    case .endOfStream, .failed:
      // A port scan or a health check that only connects: nothing was said, nothing is wrong.
      if header.isEmpty { end() } else { refuse() }
    }
  }

  private func looked(at bytes: UnsafeRawBufferPointer) {
    let before = header.count
    header.append(contentsOf: bytes)
    switch ProxyProtocol.parse(header.span) {
    case .needsMoreBytes:
      // All of them belong to the header; left in the socket they would be told again and again.
      take(bytes.count)
    case .complete(let count, let client):
      guard take(count - before) else { return }
      unregister()
      worker.preambleEnded(self)
      worker.admit(descriptor, peer: client ?? peer, socketPeer: peer, use)
    case .refused:
      refuse()
    }
  }

  /// Takes bytes off the socket that were looked at; they are there, though perhaps not in one piece.
  @discardableResult
  private func take(_ count: Int) -> Bool {
    var left = count
    while left > 0 {
      let buffer = UnsafeMutableRawBufferPointer(rebasing: loop.receiveBuffer[0..<left])
      guard case .bytes(let taken) = Socket.receive(descriptor, into: buffer) else {
        end()
        return false
      }
      left -= taken
    }
    return true
  }

  /// No answer: who speaks the protocol wrongly does not speak HTTP either.
  private func refuse() {
    worker.metrics.add(.connectionsRefused, .preamble)
    end()
  }

  override func timerFired() {
    worker.metrics.add(.timeouts, .requestHead)
    refuse()
  }

  override func loopEnding() { end() }

  /// Ends it without a word.
  func end() {
    guard isRegistered else { return }
    unregister()
    worker.preambleEnded(self)
    FileDescriptor.close(raw: descriptor)
  }
}

/// From whom a listener takes PROXY headers.
enum ProxyProtocolTrust: Sendable {
  case nobody
  case everybody
  case networks([IPNetwork])

  /// Whether a connection from there begins with a header.
  func expectsHeader(from peer: IPAddress) -> Bool {
    switch self {
    case .nobody: false
    case .everybody: true
    case .networks(let networks): networks.contains { $0.contains(peer) }
    }
  }
}
