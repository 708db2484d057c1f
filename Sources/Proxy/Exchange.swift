// One request to an origin and its response: finds the addresses, takes a kept connection or makes a new
// one, sends, reads, takes the framing off, and reports to one consumer. A request that met a kept
// connection at the moment the origin closed it is sent again on a new one (RFC 9112 §9.3.1).
//
//   queued ─▶ resolving ─▶ connecting ─▶ awaitingHead ─▶ content ─▶ done
//    (gate)       └── a kept connection ──────▲  │
//                           ▲─── gone before a byte of the answer, and safe to repeat

import HTTP
import IO
import Platform
import Telemetry

/// What is sent to an origin.
struct OriginRequest {
  var origin: Origin
  var method: Method
  /// Request line and fields, with the empty line.
  var head: [UInt8]
  /// How content follows, if it does.
  var framing: MessageFraming
  /// Nothing breaks if the origin gets it twice: a safe or idempotent method without content.
  var mayRepeat: Bool
  /// Content where its method gives it no meaning (RFC 9110 §9.3.1): an origin that does not look for it takes it
  /// for the next request, so there will be none on this connection.
  var endsConnection = false
}

/// Scheme, host and port, and whether the operator or a client chose them.
struct Origin: Hashable, Sendable {
  var isSecure: Bool
  var host: String
  var port: UInt16
  /// Named in the configuration, so that its addresses are not held against `destinations`. Part of the
  /// identity: a connection made on the operator's word is not lent to a client's.
  var isConfigured: Bool

  var authority: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
}

/// The final response's head.
struct ResponseHead {
  var status: Status
  var version: Version
  var fields: FieldSection
  var framing: MessageFraming

  /// Server-sent events, which may be rare and small by design.
  var isEventStream: Bool {
    let name = Array("text/event-stream".utf8)
    return fields.first(.contentType).map { value in
      value.prefix(name.count).map { $0 | 0x20 } == name.map { $0 | 0x20 }
    } ?? false
  }
}

/// Who gets the response of an exchange. A base class rather than a protocol: calls cost a table look-up.
class ExchangeConsumer: LoopObject {
  func exchangeGotInformational(_ exchange: Exchange, status: Status, fields: FieldSection) {}
  func exchangeGotHead(_ exchange: Exchange, _ head: ResponseHead) {}
  func exchangeGotContent(_ exchange: Exchange, _ bytes: UnsafeRawBufferPointer) {}
  func exchangeFinished(_ exchange: Exchange, trailers: FieldSection?) {}
  func exchangeFailed(_ exchange: Exchange, _ error: ProxyError) {}
  /// Request content may be sent again after `sendContent` asked to wait.
  func exchangeWantsContent(_ exchange: Exchange) {}
}

final class Exchange: LoopObject, HostLookupDelegate, ConnectorDelegate, Throttled {
  /// 1xx answers before the final one: more of them are an attack or a bug (RFC 9110 §15.2 has no bound).
  private static let informationalLimit = 64
  /// Bytes of them: a client need not read them as fast as they come.
  private static let informationalBytesLimit = 256 << 10
  /// Request content waiting for the origin's socket, above which the client is asked to wait.
  private static let outputLimit = 256 << 10

  private static let receivesPerTurn = 4

  private enum State {
    case idle, queued, resolving, connecting, awaitingHead, content, done
  }

  let worker: Worker
  let request: OriginRequest
  /// Cleared when the exchange is over, so that nobody is told twice.
  var consumer: ExchangeConsumer?
  private var state = State.idle
  private var connection: OriginConnection?
  private var connector: Connector?
  private var lookup: HostLookup?
  private var framing = MessageFraming.none
  private var remaining: UInt64 = 0
  private var chunks = ChunkedDecoder(.response)
  private var cursor = HeadCursor()
  private var responseAllowsReuse = false
  private var input = ByteQueue()
  private var output = ByteQueue()
  private var informationals = 0
  private var informationalBytes = 0
  private var attempts = 0
  /// Counted by the gate.
  private var hasPlace = false
  private var gotBytes = false
  private var isPaused = false
  private var throttle: Throttle?
  /// `upstream.rate` does not allow to read now.
  private var isThrottled = false
  private var requestSent: Bool
  private var sending = ProgressMeter()
  private var receiving = ProgressMeter()
  /// Of an event stream nothing is demanded.
  private var isMeasured = true
  private(set) var isOnKeptConnection = false
  private(set) var receivedBytes: UInt64 = 0
  private(set) var peer: SocketAddress?
  let startedAt: Instant

  init(worker: Worker, request: OriginRequest, consumer: ExchangeConsumer) {
    self.worker = worker
    self.request = request
    self.consumer = consumer
    requestSent = request.framing == .none
    startedAt = worker.loop.now
    super.init(loop: worker.loop)
  }

  // MARK: Connecting

  func start() {
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
  private func proceed() {
    attempts += 1
    // What is sent again goes on a connection of its own: other kept ones may have ended just as well.
    if attempts == 1, let kept = worker.pool.take(request.origin) {
      isOnKeptConnection = true
      worker.metrics.add(.upstreamReuses)
      send(on: kept)
      return
    }
    isOnKeptConnection = false
    state = .resolving
    if let known = worker.resolver.known(request.origin.host) {
      resolved(known.result)
    } else {
      lookup = HostLookup(
        loop: loop, resolver: worker.resolver, host: request.origin.host,
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
      failLater(.resolving(request.origin.host, failure))
    }
  }

  private func connect(to addresses: [IPAddress]) {
    let permitted: [SocketAddress]
    do throws(ProxyError) {
      permitted = try worker.permitted(
        addresses, of: request.origin.host, port: request.origin.port,
        isConfigured: request.origin.isConfigured)
    } catch {
      worker.metrics.add(.upstreamConnectFailures, .forbidden)
      failLater(error)
      return
    }
    state = .connecting
    connector = Connector(
      loop: loop, addresses: permitted, timeout: worker.settings.upstream.connectTimeout,
      delegate: self)
  }

  func connector(
    _ connector: Connector, connected socket: consuming FileDescriptor, to address: SocketAddress,
    attempts: [ConnectionRace.Attempt]
  ) {
    self.connector = nil
    guard state == .connecting else { return }
    worker.metrics.add(.upstreamConnects)
    let connection = OriginConnection(
      worker: worker, origin: request.origin, peer: address, descriptor: socket.release())
    guard connection.open() else {
      fail(.cannotWatch)
      return
    }
    send(on: connection)
  }

  func connector(_ connector: Connector, failed attempts: [ConnectionRace.Attempt]) {
    self.connector = nil
    guard state == .connecting else { return }
    let error = ProxyError.connecting(request.origin.authority, attempts)
    let failure = ConnectFailure(attempts)
    worker.metrics.add(.upstreamConnectFailures, failure)
    if failure == .timeout { worker.metrics.add(.timeouts, .connect) }
    fail(error)
  }

  /// Fails at the end of the turn: whoever started the exchange is not told before `start` returns.
  private func failLater(_ error: ProxyError) {
    loop.afterTurn { [self] in fail(error) }
  }

  // MARK: Sending

  private func send(on connection: OriginConnection) {
    self.connection = connection
    connection.exchange = self
    connection.requests += 1
    peer = connection.peer
    state = .awaitingHead
    gotBytes = false
    output.append(request.head)
    loop.setInterest(connection, .read)
    flush()
    awaitOrigin()
    if state == .awaitingHead, !requestSent { consumer?.exchangeWantsContent(self) }
  }

  /// Sends a piece of the request's content, framing it.
  /// - Returns: whether more may be given now; if not, `exchangeWantsContent` comes later.
  func sendContent(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard connection != nil, !bytes.isEmpty else { return connection != nil }
    if request.framing == .chunked {
      var start: [UInt8] = []
      ChunkedEncoding.appendChunkStart(bytes.count, to: &start)
      output.append(start)
      output.append(bytes)
      output.append([13, 10])
    } else {
      output.append(bytes)
    }
    flush()
    awaitOrigin()
    return canSendContent
  }

  func finishContent(trailers: FieldSection = FieldSection()) {
    guard !requestSent else { return }
    requestSent = true
    if request.framing == .chunked {
      var end: [UInt8] = []
      ChunkedEncoding.appendEnd(trailers: trailers, to: &end)
      output.append(end)
    }
    flush()
    awaitOrigin()
  }

  /// Sets the deadline for whatever the origin has to do next. While the client's content is what is waited
  /// for, it has nothing to do, and the client has a deadline of its own. A head that has begun has its time too.
  private func awaitOrigin() {
    guard connection != nil, state == .awaitingHead, input.isEmpty else { return }
    if requestSent || !output.isEmpty {
      loop.arm(self, after: worker.settings.readTimeout)
    } else {
      loop.disarm(self)
    }
  }

  var canSendContent: Bool { connection != nil && output.count < Self.outputLimit }

  private func flush() {
    guard let connection else { return }
    while !output.isEmpty {
      switch Socket.send(connection.descriptor, output.bytes) {
      case .bytes(let count):
        worker.metrics.add(.upstreamSent, UInt64(count))
        output.consume(count)
        if output.isEmpty { sending.stop() }
        let rule = worker.settings.originProgress
        guard sending.moved(count, loop.now, rule) else {
          worker.metrics.add(.timeouts, .upstreamTrickle)
          fail(.trickled(request.origin.authority, rule, isReading: true))
          return
        }
        // An origin that is still taking the request is not silent, however slow it is.
        if !output.isEmpty, !isPaused { loop.arm(self, after: worker.settings.readTimeout) }
      case .wouldBlock:
        sending.begin(loop.now)
        updateInterest()
        return
      case .endOfStream, .failed:
        // The reading side has the whole story: an early answer may lie there, and the error after it.
        output.removeAll()
        requestSent = true
        responseAllowsReuse = false
        updateInterest()
        return
      }
    }
    // Whoever emptied it: a socket that is watched for room nobody needs makes the loop spin.
    updateInterest()
  }

  private func updateInterest() {
    guard let connection else { return }
    var interest: Interest = isPaused || isThrottled ? [] : .read
    if !output.isEmpty { interest.insert(.write) }
    loop.setInterest(connection, interest)
  }

  // MARK: Receiving

  /// Stops reading: the consumer cannot take more now.
  func pause() {
    guard !isPaused, state == .content else { return }
    isPaused = true
    receiving.stop()
    loop.disarm(self)
    updateInterest()
  }

  func resume() {
    guard isPaused else { return }
    isPaused = false
    readAgain()
  }

  private func readAgain() {
    guard !isPaused, !isThrottled, connection != nil else { return }
    if isMeasured { receiving.begin(loop.now) }
    loop.arm(self, after: worker.settings.readTimeout)
    connection?.watchAgain()
    if connection?.isWatched == false {
      // At the end of the turn: whoever wants more does not expect to hear of an end at once.
      failLater(.cannotWatch)
      return
    }
    updateInterest()
  }

  // MARK: Bandwidth

  /// How many bytes may be read now; with 0 the reading goes on when there are more.
  private func allowance(_ count: Int) -> Int {
    guard worker.settings.isUpstreamRated else { return count }
    if throttle == nil, let bucket = worker.shared.rates.upstream {
      throttle = Throttle(worker: worker, upstream: bucket, owner: self)
    }
    guard let throttle else { return count }
    let allowed = min(count, throttle.allowance())
    if allowed == 0 {
      isThrottled = true
      // It is not the origin that is slow.
      receiving.stop()
      loop.disarm(self)
      updateInterest()
    }
    return allowed
  }

  func throttleOpened() {
    guard isThrottled else { return }
    isThrottled = false
    readAgain()
  }

  func connectionReady(_ events: Readiness) {
    if events.contains(.write), !output.isEmpty {
      flush()
      guard connection != nil else { return }
      awaitOrigin()
      if output.isEmpty { updateInterest() }
      if !requestSent, output.count < Self.outputLimit { consumer?.exchangeWantsContent(self) }
    }
    guard let connection else { return }
    if isPaused || isThrottled {
      // An error or hang-up is told again and again, whatever is asked for; what is left to be read is read
      // when the consumer wants it.
      if events.contains(.error) || events.contains(.hangUp) { connection.stopWatching() }
      return
    }
    guard !events.isDisjoint(with: [.read, .peerFinish, .hangUp, .error]) else { return }
    receive(from: connection)
  }

  /// Reads on while each call fills the buffer: then there is more, and asking epoll first is a detour. The
  /// bound leaves the other connections their turn.
  private func receive(from connection: OriginConnection) {
    for _ in 0..<Self.receivesPerTurn {
      let allowed = allowance(loop.receiveBuffer.count)
      guard allowed > 0 else { return }
      let buffer = UnsafeMutableRawBufferPointer(rebasing: loop.receiveBuffer[0..<allowed])
      switch Socket.receive(connection.descriptor, into: buffer) {
      case .bytes(let count):
        worker.metrics.add(.upstreamReceived, UInt64(count))
        throttle?.spent(count)
        if count < allowed { throttle?.rest() }
        received(UnsafeRawBufferPointer(rebasing: buffer[0..<count]))
        guard count == buffer.count, self.connection === connection, state == .content, !isPaused
        else { return }
      case .wouldBlock:
        throttle?.rest()
        return
      case .endOfStream:
        ended(nil)
        return
      case .failed(let errno):
        ended(errno)
        return
      }
    }
  }

  private func received(_ bytes: UnsafeRawBufferPointer) {
    gotBytes = true
    switch state {
    case .awaitingHead:
      let before = (isHeadBegun: !input.isEmpty, heads: informationals)
      defer { headsRead(before.isHeadBegun, before.heads) }
      if input.isEmpty {
        let used = parseHeads(bytes)
        if state == .awaitingHead {
          input.append(UnsafeRawBufferPointer(rebasing: bytes[used...]))
        } else if state == .content, used < bytes.count {
          receivedContent(UnsafeRawBufferPointer(rebasing: bytes[used...]))
        }
      } else {
        input.append(bytes)
        let used = parseHeads(input.bytes)
        input.consume(used)
        if state == .content {
          var rest = ByteQueue()
          swap(&rest, &input)
          receivedContent(rest.bytes)
        }
      }
    case .content:
      loop.arm(self, after: worker.settings.readTimeout)
      receivedContent(bytes)
      guard state == .content else { return }
      let rule = worker.settings.originProgress
      if !receiving.moved(bytes.count, loop.now, rule) {
        worker.metrics.add(.timeouts, .upstreamTrickle)
        fail(.trickled(request.origin.authority, rule, isReading: false))
      }
    case .idle, .queued, .resolving, .connecting, .done:
      break
    }
  }

  /// Sets the deadline after bytes came for a head.
  /// - Parameters:
  ///   - wasBegun: there was a part of a head before them.
  ///   - heads: how many interim answers there were before them.
  private func headsRead(_ wasBegun: Bool, _ heads: Int) {
    switch state {
    case .content:
      if !isPaused { loop.arm(self, after: worker.settings.readTimeout) }
    case .awaitingHead where input.isEmpty:
      // Interim answers and nothing else: what is waited for is what was waited for before.
      awaitOrigin()
    case .awaitingHead:
      // The time for a complete head runs from its first byte.
      if !wasBegun || heads != informationals { loop.arm(self, after: worker.settings.readTimeout) }
    case .idle, .queued, .resolving, .connecting, .done:
      break
    }
  }

  /// Parses as many heads as are there: any number of 1xx, then the final one.
  /// - Returns: how many bytes they took.
  private func parseHeads(_ bytes: UnsafeRawBufferPointer) -> Int {
    var used = 0
    while state == .awaitingHead {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[used...])
      switch worker.parseResponse(rest, resuming: &cursor) {
      case .needsMoreBytes:
        return used
      case .refused(let refusal):
        fail(.malformed(request.origin.authority, refusal))
        return bytes.count
      case .complete(let consumed):
        used += consumed
        cursor = HeadCursor()
        let head = worker.parsedHead
        let span = Span<UInt8>(_unsafeBytes: rest)
        let fields = FieldSection(copying: head.pointee, of: span)
        let status = head.pointee.status
        let framing = MessageFraming.ofResponse(head.pointee, in: span, to: request.method)
        let persists = ConnectionOptions.persists(head.pointee, in: span)
        if status.rawValue < 200 {
          if case .refused(let refusal) = framing {
            fail(.malformed(request.origin.authority, refusal))
            return bytes.count
          }
          informationals += 1
          informationalBytes += consumed
          guard status.rawValue != 101, informationals <= Self.informationalLimit,
            informationalBytes <= Self.informationalBytesLimit
          else {
            fail(
              .unasked(
                request.origin.authority,
                status.rawValue == 101
                  ? "switched protocols without being asked"
                  : "sent more than \(Self.informationalLimit) interim answers, or more than"
                    + " \(Self.informationalBytesLimit) bytes of them"))
            return bytes.count
          }
          consumer?.exchangeGotInformational(self, status: status, fields: fields)
        } else {
          headArrived(
            ResponseHead(
              status: status, version: head.pointee.version, fields: fields, framing: framing),
            persists: persists, behind: bytes.count - used)
        }
      }
    }
    return used
  }

  /// - Parameter behind: so many bytes came behind the head in the same piece.
  private func headArrived(_ head: ResponseHead, persists: Bool, behind: Int) {
    if case .refused(let refusal) = head.framing {
      fail(.malformed(request.origin.authority, refusal))
      return
    }
    // More than the whole answer: an origin that is wrong about its end may be wrong about all of it. Seen
    // here, before anybody has been told anything.
    switch head.framing {
    case .none where behind > 0: return failWithSurplus()
    case .length(let length) where UInt64(behind) > length: return failWithSurplus()
    default: break
    }
    worker.metrics.observe(
      .upstreamFirstByte, nanoseconds: UInt64(clamping: (loop.now - startedAt).wholeNanoseconds))
    framing = head.framing
    responseAllowsReuse = persists && framing != .untilClose
    state = .content
    if case .length(let length) = framing { remaining = length }
    // Events come when there are any; a client waits for each of them.
    isMeasured = !head.isEventStream
    if isMeasured { receiving.begin(loop.now) }
    consumer?.exchangeGotHead(self, head)
    guard state == .content else { return }
    if framing == .none || framing == .length(0) { finish(trailers: nil) }
  }

  private func receivedContent(_ bytes: UnsafeRawBufferPointer) {
    guard !bytes.isEmpty else { return }
    switch framing {
    case .none, .refused:
      responseAllowsReuse = false
    case .untilClose:
      deliver(bytes)
    case .length:
      let count = Int(min(UInt64(bytes.count), remaining))
      remaining -= UInt64(count)
      deliver(UnsafeRawBufferPointer(rebasing: bytes[0..<count]))
      if state == .content, remaining == 0 {
        if count < bytes.count { failWithSurplus() } else { finish(trailers: nil) }
      }
    case .chunked:
      receivedChunks(bytes)
    }
  }

  private func receivedChunks(_ bytes: UnsafeRawBufferPointer) {
    let span = Span<UInt8>(_unsafeBytes: bytes)
    var position = 0
    while state == .content {
      switch chunks.step(span, at: &position) {
      case .content(let range):
        deliver(UnsafeRawBufferPointer(rebasing: bytes[range]))
      case .needsMoreBytes:
        return
      case .finished:
        if position < bytes.count {
          failWithSurplus()
        } else {
          finish(trailers: chunks.trailers)
        }
        return
      case .refused(let refusal):
        fail(.malformed(request.origin.authority, refusal))
        return
      }
    }
  }

  private func deliver(_ bytes: UnsafeRawBufferPointer) {
    guard !bytes.isEmpty else { return }
    receivedBytes += UInt64(bytes.count)
    consumer?.exchangeGotContent(self, bytes)
  }

  // MARK: Ending

  private func ended(_ errno: Errno?) {
    switch state {
    case .awaitingHead:
      if isOnKeptConnection, !gotBytes, request.mayRepeat {
        // The origin closed the kept connection as the request went out; nothing of it was answered.
        worker.metrics.add(.upstreamRetries)
        releaseConnection(reusable: false)
        output.removeAll()
        // The next connection's progress is its own.
        sending.stop()
        proceed()
        return
      }
      fail(.endedBeforeHead(request.origin.authority, errno))
    case .content:
      if framing == .untilClose, errno == nil {
        finish(trailers: nil)
      } else {
        fail(.endedInContent(request.origin.authority, errno))
      }
    case .idle, .queued, .resolving, .connecting, .done:
      break
    }
  }

  override func timerFired() {
    let silence: ProxyError.Silence
    switch state {
    case .awaitingHead where gotBytes && !input.isEmpty: silence = .inHead
    case .awaitingHead where !output.isEmpty: silence = .notReading
    case .awaitingHead: silence = .beforeHead
    case .content: silence = .inContent
    case .queued:
      queueTimedOut()
      return
    case .idle, .resolving, .connecting, .done: return
    }
    worker.metrics.add(.timeouts, .upstream)
    fail(.silent(request.origin.authority, worker.settings.upstream.readTimeout, silence))
  }

  /// Bytes came behind the end of the answer, in one piece with it: nothing of it is believed.
  private func failWithSurplus() {
    fail(.unasked(request.origin.authority, "sent more than the one answer that was asked for"))
  }

  private func finish(trailers: FieldSection?) {
    state = .done
    releaseConnection(
      reusable: responseAllowsReuse && requestSent && output.isEmpty && !request.endsConnection)
    let consumer = self.consumer
    retire()
    consumer?.exchangeFinished(self, trailers: trailers)
  }

  private func fail(_ error: ProxyError) {
    guard state != .done else { return }
    state = .done
    releaseConnection(reusable: false)
    let consumer = self.consumer
    retire()
    consumer?.exchangeFailed(self, error)
  }

  /// Nobody wants the answer any more.
  func cancel() {
    guard state != .done else { return }
    if state == .queued, !worker.shared.gate.giveUp(request.origin, id) { hasPlace = true }
    state = .done
    connector?.cancel()
    lookup?.cancel()
    releaseConnection(reusable: false)
    retire()
  }

  private func retire() {
    consumer = nil
    connector = nil
    lookup = nil
    throttle?.end()
    throttle = nil
    if hasPlace {
      hasPlace = false
      worker.shared.gate.leave(request.origin)
    }
    unregister()
  }

  private func releaseConnection(reusable: Bool) {
    guard let connection else { return }
    self.connection = nil
    connection.exchange = nil
    // Paused and no longer watched means that it has met its end meanwhile.
    if reusable, connection.isWatched {
      worker.pool.put(connection)
    } else {
      connection.close()
    }
  }
}
