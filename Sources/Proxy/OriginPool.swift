// Kept connections to origins, per worker: taken youngest first, so that the oldest fall idle and go.
// An idle connection is watched; whatever it says (data nobody asked for, FIN, RST) ends it at once, so
// that no request is ever sent into a connection known to be dead.

import Forensics
import IO
import Platform
import TLS
import Telemetry

/// One connection to an origin: lent to an exchange, or idle in the pool.
final class OriginConnection: LoopObject {
  let worker: Worker
  let origin: Origin
  let peer: SocketAddress
  /// Whom its events are for; nil while it is idle.
  var exchange: Exchange?
  /// Requests sent on it, this one included.
  var requests = 0
  let establishedAt: Instant
  /// Since when it has been idle; for how long it was, before the request that it has now.
  var idleSince: Instant
  private(set) var idleBefore: Duration = .zero
  /// What the kernel knew of it before an error was taken, which clears some of that.
  private(set) var lastInformation: TCPInfo?
  /// Its kernel is asked whether it is still there.
  private(set) var isProbed = false
  /// The error that sending has met.
  private(set) var sendFailure: Errno?
  /// Its packets are watched for a sign that it is lost.
  private var watch: PacketWatch?
  /// Our own kernel has reset what is behind it: nothing will come any more, and its socket does not know.
  private(set) var stray: StrayNews?
  /// How many were put into the pool before it: the smallest number is idle for longest.
  var idleNumber: UInt64 = 0
  private var isOpen = true
  private(set) var isWatched = false
  private var stream: SocketStream
  /// Which trust its certificate was judged by, of those that a worker has gone by one after the other.
  private var trust = 0

  /// - Parameter stream: in TLS already where it leads through a parent that is asked over TLS.
  init(worker: Worker, origin: Origin, peer: SocketAddress, stream: SocketStream) {
    self.worker = worker
    self.origin = origin
    self.peer = peer
    self.stream = stream
    establishedAt = worker.loop.now
    idleSince = worker.loop.now
    super.init(loop: worker.loop)
    worker.metrics.add(.connectionsOpen, .upstream)
  }

  /// It is taken from the pool.
  func endIdling() { idleBefore = loop.now - idleSince }

  /// - Returns: false when the kernel refuses to watch the descriptor; the connection is closed then.
  func open() -> Bool {
    watchAgain()
    if !isWatched { close() }
    if isWatched, let packets = worker.shared.packets {
      watch = packets.watch(descriptor, peer: peer, for: self)
    }
    if isWatched { worker.shared.kernel?.watch(descriptor, peer: peer) }
    return isWatched
  }

  override func receive(_ letter: Letter) {
    guard letter.subject == LetterSubject.stray.rawValue,
      let news = letter.payload as? StrayNews, isOpen, news.isOf(descriptor)
    else { return }
    stray = news
    if let exchange { exchange.connectionDoomed() } else { worker.pool.drop(self, nil) }
  }

  private func stopWatchingPackets() {
    if let watch { worker.shared.packets?.unwatch(watch) }
    watch = nil
  }

  /// An error is told as long as the descriptor is watched; whoever is not reading does not want that.
  func stopWatching() {
    guard isWatched else { return }
    isWatched = false
    loop.unwatch(self)
  }

  func watchAgain() {
    guard isOpen, !isWatched else { return }
    isWatched = (try? loop.watch(descriptor, self, .read)) != nil
  }

  override func ready(_ events: Readiness) {
    if let exchange {
      if events.contains(.error) {
        lastInformation = Socket.information(descriptor).flatMap(TCPInfo.init)
      }
      exchange.connectionReady(events)
    } else if tls == nil || !isSilent || wantsRoomToRead {
      // Over TLS it may have been a ticket, which is welcome. Who asks for answers and takes none is not.
      worker.pool.drop(self, events.contains(.error) ? .idleReset : .idleFinish)
    }
  }

  func beginProbing(_ probing: PathProbing, sendsContent: Bool) {
    isProbed = true
    probing.begin(descriptor, sendsContent: sendsContent)
  }

  /// Idle, it is let be: how long connections survive that is worth knowing.
  func endProbing() {
    guard isProbed else { return }
    isProbed = false
    PathProbing.end(descriptor)
  }

  // MARK: Bytes

  /// Begins TLS: `handshake` goes on with it.
  func secure() throws(ProxyError) {
    let settings = worker.settings.upstreamTLS
    let context = try settings.context()
    trust = worker.trust
    do throws(TLSFailure) {
      stream.secure(
        try TLSSession(
          client: context, descriptor: descriptor, host: origin.host,
          isAddress: IPAddress(origin.host) != nil, verifies: settings.verifies(origin.host),
          ticket: worker.tickets.take(origin), over: stream.tls))
    } catch {
      throw .tls(origin.name, error)
    }
  }

  func handshake() -> TLSSession.Progress { stream.tls?.handshake() ?? .done }

  func receive(into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
    stream.receive(into: buffer)
  }

  func send(_ bytes: UnsafeRawBufferPointer) -> Transfer {
    let sent = stream.send(bytes)
    // The kernel tells an error once, to whoever is first to ask; who reads finds nothing but the end then.
    if case .failed(let errno) = sent, sendFailure == nil, errno != .brokenPipe {
      sendFailure = errno
    }
    return sent
  }

  var tlsFailure: TLSFailure? { stream.tlsFailure }
  var wantsRoomToRead: Bool { stream.wantsRoomToRead }
  var hasUnread: Bool { stream.hasUnread }

  override func turnEnded() {
    guard isOpen, hasUnread else { return }
    exchange?.connectionReady(.read)
  }

  /// Idle for as long as the pool keeps connections.
  override func timerFired() {
    if exchange == nil { worker.pool.drop(self) }
  }

  /// Nothing lies there to be read, neither bytes nor an end.
  var isSilent: Bool {
    var byte: UInt8 = 0
    let looked = withUnsafeMutableBytes(of: &byte) { buffer in
      // Over TLS what is no content (tickets, key updates) has to be taken to be seen.
      tls == nil ? Socket.peek(descriptor, into: buffer) : receive(into: buffer)
    }
    return looked == .wouldBlock
  }

  var descriptor: Int32 { stream.descriptor }
  var tls: TLSSession? { stream.tls }

  /// - Parameter how: in order; nil where there is, or may be, a record of it.
  func close(_ how: HealthyEnding? = nil) {
    guard isOpen else { return }
    isOpen = false
    if let how { worker.metrics.add(.healthyEndings, .upstream, how) }
    exchange = nil
    unregister()
    stopWatchingPackets()
    keepTicket()
    tls?.finish()
    FileDescriptor.close(raw: descriptor)
    worker.metrics.subtract(.connectionsOpen, .upstream)
  }

  /// Gives the socket away.
  func surrender() -> SocketStream {
    endProbing()
    isOpen = false
    exchange = nil
    unregister()
    stopWatchingPackets()
    worker.metrics.subtract(.connectionsOpen, .upstream)
    return stream
  }

  /// The next handshake with this origin is shorter with it.
  func keepTicket() {
    guard isTrusted else { return }
    if let ticket = tls?.takeTicket() { worker.tickets.put(ticket, for: origin) }
    if let ticket = tls?.carrier?.takeTicket(), let parent = origin.parent {
      worker.tickets.put(ticket, for: Origin(parent))
    }
  }

  /// Its certificate was judged as one would be judged now. With a ticket none is looked at again.
  var isTrusted: Bool { tls == nil || trust == worker.trust }

  override func loopEnding() { close() }
}

final class OriginPool {
  // A worker owns its pool.
  private unowned(unsafe) let worker: Worker
  private var idle: [Origin: [OriginConnection]] = [:]
  private(set) var idleCount = 0
  private var puts: UInt64 = 0

  init(worker: Worker) {
    self.worker = worker
  }

  func take(_ origin: Origin) -> OriginConnection? {
    while let connection = idle[origin]?.popLast() {
      if idle[origin]?.isEmpty == true { idle[origin] = nil }
      idleCount -= 1
      // What came since epoll was last asked would be taken for the answer to a request not yet sent.
      if connection.isSilent {
        worker.loop.disarm(connection)
        connection.endIdling()
        return connection
      }
      connection.close(.idleFinish)
    }
    return nil
  }

  func put(_ connection: OriginConnection) {
    connection.exchange = nil
    connection.keepTicket()
    let limits = worker.settings.upstream
    guard !worker.isDraining, isPermitted(connection), connection.isTrusted,
      idle[connection.origin, default: []].count < limits.maxIdle
    else {
      connection.close(.idleClose)
      return
    }
    if idleCount >= limits.maxIdleTotal { dropOldest() }
    connection.endProbing()
    puts &+= 1
    connection.idleNumber = puts
    connection.idleSince = worker.loop.now
    idle[connection.origin, default: []].append(connection)
    idleCount += 1
    worker.loop.setInterest(connection, .read)
    worker.loop.arm(connection, after: worker.settings.poolTimeout)
  }

  /// - Parameter how: nil where it was not in order.
  func drop(_ connection: OriginConnection, _ how: HealthyEnding? = .idleClose) {
    if var kept = idle[connection.origin], let index = kept.firstIndex(where: { $0 === connection })
    {
      kept.remove(at: index)
      idle[connection.origin] = kept.isEmpty ? nil : kept
      idleCount -= 1
    }
    connection.close(how)
  }

  /// The rules may have changed since it was made.
  private func isPermitted(_ connection: OriginConnection) -> Bool {
    connection.origin.isConfigured || connection.origin.parent != nil
      || worker.settings.destinations.allows(address: connection.peer.ip)
  }

  /// Lets go of connections to addresses that may no longer be reached.
  func dropForbidden() {
    for connection in idle.values.joined() where !isPermitted(connection) { drop(connection) }
  }

  /// Makes room for one that was used just now.
  private func dropOldest() {
    let oldest = idle.values.compactMap(\.first).min { $0.idleNumber < $1.idleNumber }
    if let oldest { drop(oldest) }
  }

  func dropAll() {
    for connection in idle.values.joined() { connection.close(.idleClose) }
    idle = [:]
    idleCount = 0
  }
}
