// One request to an origin and its response: finds the addresses, takes a kept connection or makes a new
// one, sends, reads, takes the framing off, and reports to one consumer. A request that met a kept
// connection at the moment the origin closed it is sent again on a new one (RFC 9112 §9.3.1).
//
//   queued ─▶ resolving ─▶ connecting ─▶ (securing) ─▶ awaitingHead ─▶ content ─▶ done
//    (gate)       └── a kept connection ────────────────────▲  │
//                           ▲─────────────────── gone before a byte of the answer, and safe to repeat
//
// Here are its state, its way to a connection, and its end; the rest is in ExchangeSecuring.swift,
// ExchangeSending.swift, ExchangeReceiving.swift and ExchangeFollowing.swift.

import Configuration
import HTTP
import IO
import Platform
import Telemetry

final class Exchange: LoopObject, HostLookupDelegate, ConnectorDelegate, ParentTunnelDelegate,
  Throttled
{
  enum State {
    case idle, queued, resolving, connecting, securing, awaitingHead, content, done
  }

  let worker: Worker
  let request: OriginRequest
  /// The proxy between here and the origin.
  let parent: ParentProxy?
  /// Whose connections the request may go on.
  let carrier: Origin
  /// Cleared when the exchange is over, so that nobody is told twice.
  var consumer: ExchangeConsumer?
  var state = State.idle
  var connection: OriginConnection?
  var connector: Connector?
  /// Asks the parent for a way to an https origin.
  private var parentTunnel: ParentTunnel?
  var lookup: HostLookup?
  var framing = MessageFraming.none
  /// Bytes of content still to come, where the length is known.
  var remaining: UInt64 = 0
  /// The same of a part whose framing does not tell: its Content-Range does.
  var partRemaining: UInt64?
  var chunks = ChunkedDecoder(.response)
  var cursor = HeadCursor()
  var responseAllowsReuse = false
  /// The part of a head that has come.
  var input = ByteQueue()
  /// What the origin's socket has not taken yet.
  var output = ByteQueue()
  var informationals = 0
  var informationalBytes = 0
  var attempts = 0
  /// Counted by the gate.
  var hasPlace = false
  /// Something of the answer has come on this connection.
  var gotBytes = false
  /// The consumer can take no more now.
  var isPaused = false
  var throttle: Throttle?
  /// `upstream.rate` does not allow to read now.
  var isThrottled = false
  var requestSent: Bool
  var sending = ProgressMeter()
  var receiving = ProgressMeter()
  /// Of an event stream nothing is demanded.
  var isMeasured = true
  /// The deadline that is set is that for looking after a silent origin (PathProbing.swift).
  var awaitsProbing = false
  var isOnKeptConnection = false
  /// The request was sent once more, and nothing of its answer has come yet.
  var repeated: Repetition?
  /// Of the answer.
  var status: Status?
  var receivedBytes: UInt64 = 0
  var peer: SocketAddress?
  /// An address that has just failed: the others come first.
  var avoided: SocketAddress?
  let startedAt: Instant

  init(worker: Worker, request: OriginRequest, consumer: ExchangeConsumer) {
    self.worker = worker
    self.request = request
    let origin = request.origin
    parent = worker.settings.parents.parent(
      host: origin.host, port: origin.port, isSecure: origin.isSecure)
    carrier = origin.carrier(by: parent)
    self.consumer = consumer
    requestSent = request.framing == .none
    startedAt = worker.loop.now
    super.init(loop: worker.loop)
  }

  // MARK: Connecting

  func start() {
    // Given up before its turn came.
    guard state == .idle else { return }
    let origin = request.origin
    switch worker.shared.gate.enter(origin, Follower(mailbox: loop.mailbox, id: id)) {
    case .admitted:
      hasPlace = true
      proceed()
    case .waiting:
      state = .queued
      loop.arm(self, after: worker.settings.upstream.queueTimeout)
    case .full:
      worker.metrics.add(.upstreamConnectFailures, .limit)
      failLater(.queueFull(origin.authority, worker.settings.upstream.maxWaiting))
    }
  }

  override func receive(_ letter: Letter) {
    guard letter.subject == LetterSubject.admitted.rawValue, state == .queued else { return }
    hasPlace = true
    loop.disarm(self)
    proceed()
  }

  private func queueTimedOut() {
    guard worker.shared.gate.giveUp(request.origin, id) else {
      // Its turn has come in this very moment; the letter will find it at work.
      hasPlace = true
      proceed()
      return
    }
    worker.metrics.add(.timeouts, .queue)
    worker.metrics.add(.upstreamConnectFailures, .limit)
    fail(.queueTimedOut(request.origin.authority, worker.settings.upstream.queueTimeout))
  }

  /// With a place of its own.
  func proceed() {
    attempts += 1
    // What is sent again goes on a connection of its own: other kept ones may have ended just as well.
    if attempts == 1, let kept = worker.pool.take(carrier) {
      isOnKeptConnection = true
      worker.metrics.add(.upstreamReuses)
      send(on: kept)
      return
    }
    isOnKeptConnection = false
    state = .resolving
    let host = parent?.host ?? request.origin.host
    if let known = worker.resolver.known(host) {
      resolved(known.result)
    } else {
      lookup = HostLookup(
        loop: loop, resolver: worker.resolver, host: host,
        timeout: worker.settings.upstream.connectTimeout, delegate: self)
    }
  }

  func lookup(
    _ lookup: HostLookup, of host: String, found result: Result<[IPAddress], Resolver.Failure>
  ) {
    self.lookup = nil
    if state == .resolving { resolved(result) }
  }

  private func resolved(_ result: Result<[IPAddress], Resolver.Failure>) {
    switch result {
    case .success(let addresses):
      connect(to: addresses)
    case .failure(let failure):
      worker.metrics.add(.upstreamConnectFailures, .resolution)
      if failure == .timedOut { worker.metrics.add(.timeouts, .connect) }
      failLater(.resolving(parent?.name ?? request.origin.host, failure))
    }
  }

  private func connect(to addresses: [IPAddress]) {
    let permitted: [SocketAddress]
    do throws(ProxyError) {
      // The parent is the operator's word; where it goes, it knows alone.
      permitted = try worker.permitted(
        addresses, of: parent?.host ?? request.origin.host,
        port: parent?.port ?? request.origin.port,
        isConfigured: parent != nil || request.origin.isConfigured)
    } catch {
      worker.metrics.add(.upstreamConnectFailures, .forbidden)
      failLater(refused(error))
      return
    }
    state = .connecting
    let ordered = permitted.filter { $0 != avoided } + permitted.filter { $0 == avoided }
    connector = Connector(
      loop: loop, addresses: ordered, timeout: worker.settings.upstream.connectTimeout,
      delegate: self)
  }

  func connector(
    _ connector: Connector, connected socket: consuming FileDescriptor, to address: SocketAddress,
    attempts: [ConnectionRace.Attempt]
  ) {
    self.connector = nil
    guard state == .connecting else { return }
    worker.metrics.add(.upstreamConnects)
    peer = address
    if let parent, request.origin.isSecure {
      parentTunnel = ParentTunnel(
        worker: worker, parent: parent, descriptor: socket.release(),
        authority: request.origin.authority, delegate: self)
    } else {
      connected(SocketStream(socket.release()), address)
    }
  }

  private func connected(_ stream: SocketStream, _ address: SocketAddress) {
    let connection = OriginConnection(
      worker: worker, origin: carrier, peer: address, stream: stream)
    guard connection.open() else {
      fail(.cannotWatch)
      return
    }
    if carrier.isSecure { secure(connection) } else { send(on: connection) }
  }

  func parentTunnel(_ tunnel: ParentTunnel, opened stream: SocketStream, unread: [UInt8]) {
    parentTunnel = nil
    guard state == .connecting, let peer, unread.isEmpty else {
      FileDescriptor.close(raw: stream.descriptor)
      // In TLS it is we who speak first.
      if let parent { fail(.unasked(parent.name, "sent something before it was asked")) }
      return
    }
    connected(stream, peer)
  }

  func parentTunnel(_ tunnel: ParentTunnel, failed error: ProxyError) {
    parentTunnel = nil
    fail(error)
  }

  func connector(_ connector: Connector, failed attempts: [ConnectionRace.Attempt]) {
    self.connector = nil
    guard state == .connecting else { return }
    let error = ProxyError.connecting(parent?.name ?? request.origin.authority, attempts)
    let failure = ConnectFailure(attempts)
    worker.metrics.add(.upstreamConnectFailures, failure)
    if failure == .timeout { worker.metrics.add(.timeouts, .connect) }
    fail(error)
  }

  /// Fails at the end of the turn: whoever started the exchange is not told before `start` returns.
  func failLater(_ error: ProxyError) {
    loop.afterTurn { [self] in fail(error) }
  }

  // MARK: Ending

  func ended(_ errno: Errno?) {
    let errno = errno ?? connection?.sendFailure
    switch state {
    case .awaitingHead:
      if isOnKeptConnection, !gotBytes, request.mayRepeat {
        // The origin closed the kept connection as the request went out; nothing of it was answered.
        worker.metrics.add(.upstreamRetries)
        let error = record(
          .endedBeforeHead(request.origin.authority, errno, connection?.tlsFailure), in: state,
          isHealing: true)
        repeated = error.record.map { Repetition(of: $0, since: loop.now) }
        releaseConnection(reusable: false)
        output.removeAll()
        // The next connection's progress is its own.
        sending.stop()
        proceed()
        return
      }
      fail(.endedBeforeHead(request.origin.authority, errno, connection?.tlsFailure))
    case .content:
      if framing == .untilClose, errno == nil, partRemaining ?? 0 == 0 {
        finish(trailers: nil)
      } else {
        fail(.endedInContent(request.origin.authority, errno, connection?.tlsFailure))
      }
    case .idle, .queued, .resolving, .connecting, .securing, .done:
      break
    }
  }

  /// Our own kernel has reset what is behind the connection. Its socket will not say so for long, or never.
  func connectionDoomed() {
    // What had come before lies there yet, and may be all that was wanted.
    connectionReady(.read)
    guard state == .awaitingHead || state == .content else { return }
    fail(.strayReset(request.origin.authority, isInContent: state == .content))
  }

  override func timerFired() {
    if state == .awaitingHead || state == .content, beginProbing() { return }
    let silence: ProxyError.Silence
    switch state {
    case .awaitingHead where gotBytes && !input.isEmpty: silence = .inHead
    case .awaitingHead where !output.isEmpty: silence = .notReading
    case .awaitingHead: silence = .beforeHead
    case .content: silence = .inContent
    case .queued:
      queueTimedOut()
      return
    case .securing:
      handshakeTimedOut()
      return
    case .idle, .resolving, .connecting, .done: return
    }
    worker.metrics.add(.timeouts, .upstream)
    fail(.silent(request.origin.authority, worker.settings.upstream.readTimeout, silence))
  }

  /// Bytes came behind the end of the answer, in one piece with it: nothing of it is believed.
  func failWithSurplus() {
    fail(.unasked(request.origin.authority, "sent more than the one answer that was asked for"))
  }

  func finish(trailers: FieldSection?) {
    if !requestSent || !output.isEmpty || connection?.sendFailure != nil { recordRefusedContent() }
    state = .done
    releaseConnection(
      .answered,
      reusable: responseAllowsReuse && requestSent && output.isEmpty && !request.endsConnection)
    let consumer = self.consumer
    retire()
    consumer?.exchangeFinished(self, trailers: trailers)
  }

  func fail(_ error: ProxyError) {
    guard state != .done else { return }
    let error = record(error, in: state)
    state = .done
    releaseConnection(reusable: false)
    let consumer = self.consumer
    retire()
    consumer?.exchangeFailed(self, error)
    // Unless the consumer goes on, and knows better.
    repeated?.end(.failed, at: loop.now, worker.shared.endings)
    repeated = nil
  }

  /// Nobody wants the answer any more.
  func cancel() {
    guard state != .done else { return }
    if state == .queued, !worker.shared.gate.giveUp(request.origin, id) { hasPlace = true }
    if let repeated { repeated.end(.failed, at: loop.now, worker.shared.endings) }
    repeated = nil
    state = .done
    connector?.cancel()
    parentTunnel?.cancel()
    lookup?.cancel()
    releaseConnection(reusable: false)
    retire()
  }

  private func retire() {
    consumer = nil
    connector = nil
    parentTunnel = nil
    lookup = nil
    throttle?.end()
    throttle = nil
    if hasPlace {
      hasPlace = false
      worker.shared.gate.leave(request.origin)
    }
    unregister()
  }

  /// - Parameter how: it ends, if that is in order.
  private func releaseConnection(_ how: HealthyEnding? = nil, reusable: Bool) {
    guard let connection else { return }
    self.connection = nil
    connection.exchange = nil
    // Paused and no longer watched means that it has met its end meanwhile.
    if reusable, connection.isWatched {
      worker.pool.put(connection)
    } else {
      connection.close(how)
    }
  }
}
