// CONNECT: bytes both ways between a client and the host it named, none of them looked at (RFC 9110 §9.3.6).
// Each direction ends for itself: a FIN is passed on once everything before it is, and the other direction
// goes on (half-close); a RST on either side is passed on as RST.
//
//   connecting ─▶ open ─▶ one direction finished ─▶ closed
//        └─ failed: an answer that says why

import HTTP
import IO
import Platform
import Telemetry

final class Tunnel: LoopObject, HostLookupDelegate, ConnectorDelegate, Throttled {
  private let worker: Worker
  private let client: ClientConnection
  private let authority: Authority
  private var record: AccessRecord
  private var lookup: HostLookup?
  private var connector: Connector?
  private var near: TunnelEnd?
  private var far: TunnelEnd?
  /// For what goes to the client; it is held up by not reading the other side.
  private var throttle: Throttle?
  private var isOver = false
  fileprivate var lastActive: Instant

  init(worker: Worker, client: ClientConnection, authority: Authority, record: AccessRecord) {
    self.worker = worker
    self.client = client
    self.authority = authority
    self.record = record
    lastActive = worker.loop.now
    super.init(loop: worker.loop)
  }

  /// The client's address.
  var peer: SocketAddress { record.client }

  // MARK: Connecting

  func start() {
    lookup = HostLookup(
      loop: loop, resolver: worker.resolver, host: authority.bareHost,
      timeout: worker.settings.upstream.connectTimeout, delegate: self)
  }

  func lookup(
    _ lookup: HostLookup, of host: String, found result: Result<[IPAddress], Resolver.Failure>
  ) {
    self.lookup = nil
    guard !isOver else { return }
    switch result {
    case .failure(let failure):
      worker.metrics.add(.upstreamConnectFailures, .resolution)
      if failure == .timedOut { worker.metrics.add(.timeouts, .connect) }
      fail(.resolving(host, failure))
    case .success(let addresses):
      do throws(ProxyError) {
        let permitted = try worker.permitted(
          addresses, of: host, port: authority.port, isConfigured: false)
        connector = Connector(
          loop: loop, addresses: permitted, timeout: worker.settings.upstream.connectTimeout,
          delegate: self)
      } catch {
        worker.metrics.add(.upstreamConnectFailures, .forbidden)
        fail(error)
      }
    }
  }

  func connector(
    _ connector: Connector, connected socket: consuming FileDescriptor, to address: SocketAddress,
    attempts: [ConnectionRace.Attempt]
  ) {
    self.connector = nil
    guard !isOver else { return }
    worker.metrics.add(.upstreamConnects)
    open(socket.release())
  }

  func connector(_ connector: Connector, failed attempts: [ConnectionRace.Attempt]) {
    self.connector = nil
    let failure = ConnectFailure(attempts)
    worker.metrics.add(.upstreamConnectFailures, failure)
    if failure == .timeout { worker.metrics.add(.timeouts, .connect) }
    fail(.connecting("\(authority)", attempts))
  }

  private func fail(_ error: ProxyError) {
    guard !isOver else { return }
    isOver = true
    record.error = error
    record.status = error.status
    unregister()
    client.tunnelFailed(error, record)
  }

  /// The client is gone before there is a tunnel.
  func clientLeft() {
    guard !isOver else { return }
    isOver = true
    lookup?.cancel()
    connector?.cancel()
    record.ending = .clientLeft
    worker.log(record)
    unregister()
  }

  private func open(_ farDescriptor: Int32) {
    // Before the connection is gone from the worker, so that at no time there seems to be nothing left.
    worker.tunnelOpened(self)
    let (nearDescriptor, unread) = client.surrender()
    let near = TunnelEnd(tunnel: self, loop: loop, descriptor: nearDescriptor)
    let far = TunnelEnd(tunnel: self, loop: loop, descriptor: farDescriptor)
    self.near = near
    self.far = far
    near.other = far
    far.other = near
    record.status = .ok
    makeThrottle()
    guard near.start(), far.start() else {
      close(aborting: true)
      return
    }
    "HTTP/1.1 200 Connection established\r\n\r\n".withUTF8Bytes { near.send($0) }
    if !isOver, !unread.isEmpty { unread.withUnsafeBytes { far.send($0) } }
    loop.arm(self, after: worker.settings.tunnelTimeout)
  }

  // MARK: Bandwidth

  private func makeThrottle() {
    throttle?.end()
    let isRated = worker.settings.isRated || worker.settings.isUpstreamRated
    throttle =
      isRated
      ? Throttle(
        worker: worker, client: record.client.ip, includesUpstream: true, owner: self) : nil
  }

  func ratesChanged() {
    guard !isOver else { return }
    makeThrottle()
    far?.updateInterest()
  }

  func throttleOpened() { far?.updateInterest() }

  /// How many bytes may be read from this end now.
  fileprivate func allowance(_ count: Int, from end: TunnelEnd) -> Int {
    guard end === far, let throttle else { return count }
    return min(count, throttle.allowance())
  }

  // MARK: Passing on

  fileprivate func passed(_ count: Int, from end: TunnelEnd) {
    lastActive = loop.now
    if end === far { throttle?.spent(count) }
    if end === near {
      record.upstreamBytes &+= UInt64(count)
      worker.metrics.add(.tunnelBytes, .toUpstream, UInt64(count))
    } else {
      record.sentBytes &+= UInt64(count)
      worker.metrics.add(.tunnelBytes, .toDownstream, UInt64(count))
    }
  }

  override func timerFired() {
    guard !isOver else { return }
    let limit = worker.settings.limits.tunnelTimeout
    let idle = loop.now - lastActive
    if idle >= limit {
      worker.metrics.add(.timeouts, .tunnel)
      record.ending = .clientStalled
      close(aborting: false)
    } else {
      loop.arm(self, at: lastActive + limit)
    }
  }

  fileprivate func ended() {
    if near?.isDone == true, far?.isDone == true { close(aborting: false) }
  }

  fileprivate func broke() { close(aborting: true) }

  override func loopEnding() {
    record.ending = .shutdown
    close(aborting: true)
  }

  private func close(aborting: Bool) {
    guard !isOver else { return }
    isOver = true
    throttle?.end()
    throttle = nil
    near?.close(aborting: aborting)
    far?.close(aborting: aborting)
    worker.log(record)
    worker.tunnelClosed(self)
    unregister()
  }
}

/// One socket of a tunnel: what is read from it goes to the other one.
private final class TunnelEnd: LoopObject {
  /// Bytes waiting for this socket, above which the other one is not read.
  private static let limit = 256 << 10

  private unowned(unsafe) let tunnel: Tunnel
  unowned(unsafe) var other: TunnelEnd!
  private let descriptor: Int32
  private var output = ByteQueue()
  private var isOpen = true
  /// The peer has sent its FIN.
  private var hasFinished = false
  /// Our FIN follows what waits in `output`.
  private var finishesAfterOutput = false
  private var isShut = false

  init(tunnel: Tunnel, loop: EventLoop, descriptor: Int32) {
    self.tunnel = tunnel
    self.descriptor = descriptor
    super.init(loop: loop)
  }

  func start() -> Bool { (try? loop.watch(descriptor, self, .read)) != nil }

  var isDone: Bool { hasFinished && isShut }

  override func ready(_ readiness: Readiness) {
    if readiness.contains(.write), !output.isEmpty { flush() }
    guard isOpen else { return }
    if readiness.contains(.error) {
      tunnel.broke()
      return
    }
    if isDone, readiness.contains(.hangUp) {
      // Nothing is left to be done here, but the kernel says so again and again, while the other side takes
      // its time over what it was sent.
      loop.unwatch(self)
      return
    }
    guard !hasFinished, !readiness.isDisjoint(with: [.read, .peerFinish, .hangUp]) else { return }
    let allowed = tunnel.allowance(loop.receiveBuffer.count, from: self)
    guard allowed > 0 else {
      updateInterest()
      return
    }
    let buffer = UnsafeMutableRawBufferPointer(rebasing: loop.receiveBuffer[0..<allowed])
    switch Socket.receive(descriptor, into: buffer) {
    case .bytes(let count):
      tunnel.passed(count, from: self)
      other.send(UnsafeRawBufferPointer(rebasing: buffer[0..<count]))
    case .wouldBlock:
      return
    case .endOfStream:
      hasFinished = true
      other.finish()
    case .failed:
      tunnel.broke()
      return
    }
    if isOpen { updateInterest() }
  }

  func send(_ bytes: UnsafeRawBufferPointer) {
    guard isOpen else { return }
    if !output.isEmpty {
      output.append(bytes)
    } else {
      switch Socket.send(descriptor, bytes) {
      case .bytes(let count):
        if count < bytes.count { output.append(UnsafeRawBufferPointer(rebasing: bytes[count...])) }
      case .wouldBlock:
        output.append(bytes)
      case .endOfStream, .failed:
        tunnel.broke()
        return
      }
    }
    updateInterest()
  }

  private func flush() {
    while !output.isEmpty {
      switch Socket.send(descriptor, output.bytes) {
      case .bytes(let count):
        output.consume(count)
      case .wouldBlock:
        return
      case .endOfStream, .failed:
        tunnel.broke()
        return
      }
    }
    if finishesAfterOutput { shut() }
    guard isOpen else { return }
    updateInterest()
    other.updateInterest()
  }

  /// The other side has finished: so do we, behind what waits.
  func finish() {
    finishesAfterOutput = true
    if output.isEmpty { shut() }
  }

  private func shut() {
    guard !isShut else { return }
    isShut = true
    Socket.shutdownWrite(descriptor)
    tunnel.ended()
  }

  func updateInterest() {
    guard isOpen else { return }
    var interest: Interest = []
    if !hasFinished, other.output.count < Self.limit, tunnel.allowance(1, from: self) > 0 {
      interest.insert(.read)
    }
    if !output.isEmpty { interest.insert(.write) }
    loop.setInterest(self, interest)
  }

  func close(aborting: Bool) {
    guard isOpen else { return }
    isOpen = false
    unregister()
    if aborting {
      Socket.abort(raw: descriptor)
    } else {
      FileDescriptor.close(raw: descriptor)
    }
  }

  override func loopEnding() { close(aborting: true) }
}

extension String {
  fileprivate func withUTF8Bytes(_ body: (UnsafeRawBufferPointer) -> Void) {
    var text = self
    text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
  }
}
