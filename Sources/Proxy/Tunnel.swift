// CONNECT: bytes both ways between a client and the host it named, none of them looked at (RFC 9110 §9.3.6).
// Each direction ends for itself: a FIN is passed on once everything before it is, and the other direction
// goes on (half-close); a RST on either side is passed on as RST. Its sockets are two TunnelEnds.
//
//   connecting ─▶ open ─▶ one direction finished ─▶ closed
//        └─ failed: an answer that says why

import Configuration
import Forensics
import HTTP
import IO
import Platform
import Telemetry

final class Tunnel: LoopObject, HostLookupDelegate, ConnectorDelegate, ParentTunnelDelegate,
  Throttled
{
  /// The answer to a CONNECT that gets what it asks for.
  static let established = Array("HTTP/1.1 200 Connection established\r\n\r\n".utf8)

  private let worker: Worker
  private let client: ClientConnection
  private let authority: Authority
  private var record: AccessRecord
  private var lookup: HostLookup?
  private var connector: Connector?
  /// The proxy between here and the host.
  private let parent: ParentProxy?
  /// Whom the connection towards the host was made with.
  private var farPeer: SocketAddress?
  private var parentTunnel: ParentTunnel?
  private var near: TunnelEnd?
  private var far: TunnelEnd?
  /// For what goes to the client; it is held up by not reading the other side.
  private var throttle: Throttle?
  private var isOver = false
  private var hasReportedAlert = false
  /// Descriptors towards the host that are counted among those that clients leave.
  private var farSides = 0
  private var lastActive: Instant

  init(worker: Worker, client: ClientConnection, authority: Authority, record: AccessRecord) {
    self.worker = worker
    self.client = client
    self.authority = authority
    self.record = record
    parent = worker.settings.parents.parent(
      host: authority.bareHost, port: authority.port, isSecure: true)
    lastActive = worker.loop.now
    super.init(loop: worker.loop)
  }

  /// The client's address.
  var peer: SocketAddress { record.client }

  // MARK: Connecting

  func start() {
    guard takeFarSides(1) else { return }
    // What a name stands for only the parent knows; an address stands for itself.
    if parent != nil, !worker.settings.destinations.allows(unresolved: authority.bareHost) {
      worker.metrics.add(.upstreamConnectFailures, .forbidden)
      let error = ProxyError.prohibited(
        authority.host, IPAddress(authority.bareHost).map { [$0] })
      loop.afterTurn { [self] in fail(error) }
      return
    }
    lookup = HostLookup(
      loop: loop, resolver: worker.resolver, host: parent?.host ?? authority.bareHost,
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
      fail(.resolving(parent?.name ?? host, failure))
    case .success(let addresses):
      do throws(ProxyError) {
        let permitted = try worker.permitted(
          addresses, of: host, port: parent?.port ?? authority.port, isConfigured: parent != nil)
        // As many as are tried side by side.
        guard takeFarSides(min(permitted.count, ConnectionRace.sideBySide)) else { return }
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
    keepFarSides(1)
    farPeer = address
    if let parent {
      parentTunnel = ParentTunnel(
        worker: worker, parent: parent, descriptor: socket.release(), authority: "\(authority)",
        delegate: self)
    } else {
      connected(SocketStream(socket.release()))
    }
  }

  private func connected(_ stream: SocketStream, unread: [UInt8] = []) {
    record.status = .ok
    open(stream, answer: Self.established + unread)
  }

  func parentTunnel(_ tunnel: ParentTunnel, opened stream: SocketStream, unread: [UInt8]) {
    parentTunnel = nil
    guard !isOver else { return FileDescriptor.close(raw: stream.descriptor) }
    connected(stream, unread: unread)
  }

  func parentTunnel(_ tunnel: ParentTunnel, failed error: ProxyError) {
    parentTunnel = nil
    fail(error)
  }

  /// Both sides are connected already, and have agreed to speak another protocol.
  /// - Parameters:
  ///   - far: counted among the far sides by the caller.
  ///   - peer: of that side.
  ///   - head: what the client is told.
  ///   - unread: what the other side has said behind its agreement.
  func join(_ far: SocketStream, peer: SocketAddress, head: [UInt8], unread: [UInt8]) {
    farSides = 1
    farPeer = peer
    open(far, answer: head + unread)
  }

  func connector(_ connector: Connector, failed attempts: [ConnectionRace.Attempt]) {
    self.connector = nil
    let failure = ConnectFailure(attempts)
    worker.metrics.add(.upstreamConnectFailures, failure)
    if failure == .timeout { worker.metrics.add(.timeouts, .connect) }
    fail(.connecting(parent?.name ?? "\(authority)", attempts))
  }

  private func fail(_ error: ProxyError) {
    guard !isOver else { return }
    isOver = true
    var error = error
    if let fault = error.fault {
      var evidence = Evidence(Ending(.upstream, .connect, fault.means))
      evidence.socket.errno = fault.errno
      evidence.socket.syscall = fault.syscall
      evidence.own = fault.own
      evidence.alert = fault.alert
      evidence.complaint = fault.complaint
      evidence.socket.hasNoWay = fault.hasNoWay
      evidence.connection.age = loop.now - record.startedAt
      evidence.connection.requests = 1
      fault.attempt?.describe(to: &evidence.socket)
      error = error.recorded(as: worker.report(evidence, transaction))
    }
    record.error = error
    record.status = error.status
    leave()
    client.tunnelFailed(error, record)
  }

  /// The client is gone before there is a tunnel.
  func clientLeft() {
    guard !isOver else { return }
    isOver = true
    lookup?.cancel()
    connector?.cancel()
    parentTunnel?.cancel()
    record.ending = .clientLeft
    worker.log(record)
    leave()
  }

  /// Counts descriptors up to as many.
  /// - Returns: false when there are too few, which the client has been told then.
  private func takeFarSides(_ count: Int) -> Bool {
    guard count > farSides else { return true }
    guard worker.takeFarSides(count - farSides) else {
      worker.metrics.add(.upstreamConnectFailures, .limit)
      fail(.tooManyConnections(worker.settings.budget.clients, isBudget: true))
      return false
    }
    farSides = count
    return true
  }

  /// Gives descriptors back until as many are left.
  private func keepFarSides(_ count: Int) {
    worker.giveBackFarSides(farSides - count)
    farSides = count
  }

  private func leave() {
    keepFarSides(0)
    unregister()
  }

  private func open(_ farStream: SocketStream, answer: [UInt8]) {
    // Before the connection is gone from the worker, so that at no time there seems to be nothing left.
    worker.tunnelOpened(self)
    let (nearStream, unsent, unread) = client.surrender()
    let near = TunnelEnd(tunnel: self, loop: loop, stream: nearStream, peer: client.socketPeer)
    let far = TunnelEnd(tunnel: self, loop: loop, stream: farStream, peer: farPeer)
    self.near = near
    self.far = far
    near.other = far
    far.other = near
    makeThrottle()
    guard near.start(), far.start() else {
      close(.aborted)
      return
    }
    far.watch(worker.shared.packets, worker.shared.kernel)
    // Interim answers may wait for the client yet.
    (unsent + answer).withUnsafeBytes { near.send($0) }
    if !isOver, !unread.isEmpty {
      unread.withUnsafeBytes {
        near.hasSaid($0)
        far.send($0)
      }
    }
    // What TLS has read of it already the kernel does not tell of.
    if !isOver { far.readAgain() }
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
    far?.readAgain()
  }

  func throttleOpened() { far?.readAgain() }

  /// How many bytes may be read from this end now; with 0 `readAgain` follows.
  func allowance(_ count: Int, from end: TunnelEnd) -> Int {
    guard end === far, let throttle else { return count }
    return min(count, throttle.allowance())
  }

  /// There was no more to be read from this end.
  func rests(_ end: TunnelEnd) {
    if end === far { throttle?.rest() }
  }

  // MARK: Passing on

  func passed(_ count: Int, from end: TunnelEnd) {
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
      // A FIN behind less than all would pass a part off as the whole.
      near?.hasOutput == true || far?.hasOutput == true ? cut() : close(.finished)
    } else {
      loop.arm(self, at: lastActive + limit)
    }
  }

  func ended() {
    if near?.isDone == true, far?.isDone == true { close(.finished) }
  }

  /// A connection broke at this end. The other one's peer gets what was sent to it before, and then sees a cut too.
  /// - Parameter errno: what a call on its socket said; nil where none did.
  func broke(_ end: TunnelEnd, _ errno: Errno?) {
    guard !isOver, !reportAlert(), let errno else {
      end.close(.aborted)
      cut()
      return
    }
    if end === far, hasAllBeenSaid {
      let hasFinished = end.hasFinished
      end.close(.aborted)
      // Behind the host's own FIN nothing was cut off, and the client has had that FIN.
      close(hasFinished ? .finished : .severed(worker), isInOrder: true)
      return
    }
    report(end, errno)
    end.close(.aborted)
    cut()
  }

  /// One side has said FIN, and all that has come for the client is on its way to it. Hosts then often reset what they have
  /// not read, or what comes when they have closed for good, such as the client's farewell in TLS.
  private var hasAllBeenSaid: Bool {
    guard let near, let far else { return false }
    return (near.hasFinished || far.hasFinished) && !near.hasOutput && !far.hasUnread
  }

  /// Our own kernel has reset what is behind this end: nothing will come from there.
  func doomed(_ end: TunnelEnd, _ news: StrayNews) {
    guard !isOver else { return }
    var packets = PacketEvidence()
    packets.stray = news.origin
    if !reportAlert() { report(end, nil, packets) }
    end.close(.aborted)
    cut()
  }

  private func cut() { close(.severed(worker)) }

  /// Clients often reset tunnels when they have what they wanted: that is an ending to be recorded only where bytes for
  /// them were still on the way.
  private func report(_ end: TunnelEnd, _ errno: Errno?, _ packets: PacketEvidence? = nil) {
    let isNear = end === near
    guard !isNear || end.isOwed else { return }
    var evidence = evidence(
      of: end, Ending(isNear ? .downstream : .upstream, .tunnel, errno.map(Means.init) ?? .reset))
    evidence.packets = packets
    evidence.socket.errno = errno
    evidence.socket.syscall = errno == nil ? nil : .recv
    record.recordID = worker.report(evidence, transaction)
  }

  /// Whatever else happens, it ends because one side has ended the handshake of what is passed on with an alert. To be
  /// asked while both sockets are open.
  /// - Returns: whether one has.
  private func reportAlert() -> Bool {
    guard let end = [near, far].compactMap(\.self).first(where: { $0.alert != nil }),
      let alert = end.alert
    else { return false }
    guard !hasReportedAlert else { return true }
    hasReportedAlert = true
    var evidence = evidence(of: end, Ending(end === near ? .downstream : .upstream, .tls, .alert))
    switch alert {
    case .alert(let alert): evidence.alert = "\(alert)"
    case .unreadable: evidence.alert = "encrypted; that it was one its size tells"
    }
    record.recordID = worker.report(evidence, transaction)
    return true
  }

  private func evidence(of end: TunnelEnd, _ ending: Ending) -> Evidence {
    var evidence = Evidence(ending)
    evidence.socket.info = Socket.information(end.descriptor).flatMap(TCPInfo.init)
    evidence.socket.local = try? Socket.localAddress(end.descriptor)
    evidence.socket.peer = end.peer
    evidence.socket.cookie = Socket.cookie(end.descriptor)
    evidence.connection.age = loop.now - record.startedAt
    evidence.connection.requests = 1
    evidence.content.answerBytes = Int64(clamping: record.sentBytes)
    evidence.content.delivered = Int64(clamping: record.sentBytes)
    return evidence
  }

  private var transaction: EndingRecord.Transaction {
    var transaction = EndingRecord.Transaction(record)
    transaction.server = "\(authority)"
    return transaction
  }

  override func loopEnding() {
    record.ending = .shutdown
    close(.aborted)
  }

  private func close(_ how: TunnelEnd.Closing, isInOrder: Bool = false) {
    guard !isOver else { return }
    isOver = true
    throttle?.end()
    throttle = nil
    var isInOrder = isInOrder
    if case .finished = how { isInOrder = true }
    if !reportAlert(), isInOrder {
      worker.metrics.add(.healthyEndings, .downstream, .tunnel)
      worker.metrics.add(.healthyEndings, .upstream, .tunnel)
    }
    near?.close(how)
    far?.close(how)
    worker.log(record)
    worker.tunnelClosed(self)
    leave()
  }
}
