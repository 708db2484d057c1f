// One of the two sockets of a tunnel: what is read from it goes to the other one. It is read as long as the other one
// takes what comes, its rate allows it, and it has not finished.

import IO
import Platform
import TLS

final class TunnelEnd: LoopObject {
  /// Bytes waiting for this socket, above which the other one is not read.
  private static let limit = 256 << 10

  private unowned(unsafe) let tunnel: Tunnel
  /// The socket's peer as it was when the tunnel was opened: once a RST has come, the kernel no longer says (ENOTCONN).
  let peer: SocketAddress?
  unowned(unsafe) var other: TunnelEnd!
  private var stream: SocketStream
  private var output = ByteQueue()
  private(set) var isOpen = true
  private var isWatched = false
  /// The rate does not allow to read now.
  private var isThrottled = false
  /// The peer has sent its FIN.
  private(set) var hasFinished = false
  /// Our FIN follows what waits in `output`.
  private var finishesAfterOutput = false
  private var isShut = false
  /// What our end says to its peer, and no content: FIN counts as a byte, and TLS takes leave before it.
  private var farewell = 0
  /// What this side says, should it be TLS.
  private var records = TLSRecordWatch()
  /// Its packets are watched for a sign that it is lost.
  private var watch: (sensor: PacketSensor, PacketWatch)?

  init(tunnel: Tunnel, loop: EventLoop, stream: SocketStream, peer: SocketAddress?) {
    self.tunnel = tunnel
    self.stream = stream
    self.peer = peer
    super.init(loop: loop)
  }

  /// - Returns: false when the kernel refuses to watch the descriptor.
  func start() -> Bool {
    isWatched = (try? loop.watch(descriptor, self, .read)) != nil
    return isWatched
  }

  /// Lets packets be looked at for a sign that our own kernel has reset what is behind this end, and the kernel remember
  /// where it leads.
  func watch(_ packets: PacketSensor?, _ kernel: KernelSensor?) {
    guard isOpen, let peer else { return }
    if let packets {
      watch = packets.watch(descriptor, peer: peer, for: self).map { (packets, $0) }
    }
    kernel?.watch(descriptor, peer: peer)
  }

  private func stopWatchingPackets() {
    if let (sensor, watch) = watch { sensor.unwatch(watch) }
    watch = nil
  }

  override func receive(_ letter: Letter) {
    guard letter.subject == LetterSubject.stray.rawValue,
      let news = letter.payload as? StrayNews, isOpen, news.isOf(descriptor)
    else { return }
    // What had come before it is passed on.
    ready(.read)
    if isOpen { tunnel.doomed(self, news) }
  }

  /// The alert by which this side has ended its handshake.
  var alert: TLSRecordWatch.Sighting? { records.sighting }

  /// What was read of this side elsewhere.
  func hasSaid(_ bytes: UnsafeRawBufferPointer) { records.take(bytes) }

  var isDone: Bool { hasFinished && isShut }

  private var mayRead: Bool { !hasFinished && !isThrottled && other.output.count < Self.limit }

  override func ready(_ readiness: Readiness) {
    let isBroken = readiness.contains(.error)
    if isBroken, hasFinished {
      tunnel.broke(self, Socket.pendingError(descriptor))
      return
    }
    if readiness.contains(.write), !output.isEmpty, !isBroken { flush() }
    guard isOpen else { return }
    // What came before a RST can still be read, and is the other side's.
    if mayRead,
      stream.wantsRoomToRead || !readiness.isDisjoint(with: [.read, .peerFinish, .hangUp, .error])
    {
      read()
    }
    guard isOpen else { return }
    if !mayRead, isBroken || readiness.contains(.hangUp) && output.isEmpty {
      // Both directions have ended, which the kernel tells again and again, whatever it is asked for, until what came
      // before the end is read. `updateInterest` comes back to it.
      isWatched = false
      loop.unwatch(self)
      return
    }
    updateInterest()
  }

  private func read() {
    let allowed = tunnel.allowance(loop.receiveBuffer.count, from: self)
    guard allowed > 0 else {
      isThrottled = true
      return
    }
    let buffer = UnsafeMutableRawBufferPointer(rebasing: loop.receiveBuffer[0..<allowed])
    switch stream.receive(into: buffer) {
    case .bytes(let count):
      tunnel.passed(count, from: self)
      if count < allowed { tunnel.rests(self) }
      let bytes = UnsafeRawBufferPointer(rebasing: buffer[0..<count])
      if !records.isOver { records.take(bytes) }
      other.send(bytes)
    case .wouldBlock:
      tunnel.rests(self)
    case .endOfStream:
      tunnel.rests(self)
      hasFinished = true
      other.finish()
    case .failed(let errno):
      tunnel.broke(self, errno)
    }
  }

  /// The rate allows to read again, as far as the tunnel knows.
  func readAgain() {
    isThrottled = false
    updateInterest()
  }

  func send(_ bytes: UnsafeRawBufferPointer) {
    guard isOpen else { return }
    if !output.isEmpty {
      output.append(bytes)
    } else {
      switch stream.send(bytes) {
      case .bytes(let count):
        if count < bytes.count { output.append(UnsafeRawBufferPointer(rebasing: bytes[count...])) }
      case .wouldBlock:
        output.append(bytes)
      case .endOfStream:
        tunnel.broke(self, nil)
        return
      case .failed(let errno):
        tunnel.broke(self, errno)
        return
      }
    }
    updateInterest()
  }

  private func flush() {
    while !output.isEmpty {
      switch stream.send(output.bytes) {
      case .bytes(let count):
        output.consume(count)
      case .wouldBlock:
        return
      case .endOfStream:
        tunnel.broke(self, nil)
        return
      case .failed(let errno):
        tunnel.broke(self, errno)
        return
      }
    }
    if finishesAfterOutput { shut() }
    guard isOpen else { return }
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
    let before = stream.tls == nil ? nil : Socket.unconfirmed(descriptor)
    stream.finish()
    farewell = max(1, before.map { (Socket.unconfirmed(descriptor) ?? 0) - $0 } ?? 1)
    tunnel.ended()
  }

  override func turnEnded() {
    guard isOpen, mayRead, stream.hasUnread else { return }
    read()
    updateInterest()
  }

  var descriptor: Int32 { stream.descriptor }

  private func updateInterest() {
    guard isOpen else { return }
    if mayRead, stream.hasUnread { loop.afterTurn(self) }
    var interest: Interest = []
    if mayRead { interest.insert(.read) }
    if !output.isEmpty { interest.insert(.write) }
    // The kernel would tell again and again of what cannot be read yet.
    if mayRead, stream.wantsRoomToRead { interest = .write }
    guard !isWatched else {
      loop.setInterest(self, interest)
      return
    }
    guard !interest.isEmpty else { return }
    isWatched = (try? loop.watch(descriptor, self, interest)) != nil
    if !isWatched { tunnel.broke(self, nil) }
  }

  /// Something has come from this end's peer, and was not read.
  var hasUnread: Bool {
    if stream.hasUnread { return true }
    return withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) { byte in
      if case .bytes = Socket.peek(descriptor, into: byte) { true } else { false }
    }
  }

  /// Something waits for this end's peer.
  var hasOutput: Bool { !output.isEmpty }

  /// Something of what was passed on waits for this end's peer, or has not been confirmed by it.
  var isOwed: Bool { hasOutput || (Socket.unconfirmed(descriptor) ?? 0) > farewell }

  func close(_ how: Closing) {
    guard isOpen else { return }
    isOpen = false
    unregister()
    stopWatchingPackets()
    switch how {
    case .finished: FileDescriptor.close(raw: descriptor)
    case .aborted: Socket.abort(raw: descriptor)
    case .severed(let worker):
      var unsent = ByteQueue()
      swap(&unsent, &output)
      Severance.cut(stream, unsent: unsent, worker: worker)
    }
  }

  enum Closing {
    /// All is said.
    case finished
    /// By RST, now.
    case aborted
    /// By RST, behind what its peer was sent.
    case severed(Worker)
  }

  override func loopEnding() { close(.aborted) }
}
