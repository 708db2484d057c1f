// How an answer is read: any number of interim heads, the final one, and its content without framing. What does not add
// up fails the exchange. Reading stops while the consumer or the rate (`upstream.rate`) asks for it.

import HTTP
import IO
import Platform
import Telemetry

extension Exchange {
  /// 1xx answers before the final one: more of them are an attack or a bug (RFC 9110 §15.2 has no bound).
  private static let informationalLimit = 64
  /// Bytes of them: a client need not read them as fast as they come.
  private static let informationalBytesLimit = 256 << 10
  private static let receivesPerTurn = 4

  func connectionReady(_ events: Readiness) {
    if state == .securing {
      shakeHands()
      return
    }
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
    let wantedRoom = connection.wantsRoomToRead
    guard wantedRoom || !events.isDisjoint(with: [.read, .peerFinish, .hangUp, .error]) else {
      return
    }
    receive(from: connection)
    guard self.connection === connection else { return }
    if connection.hasUnread, !isPaused, !isThrottled { loop.afterTurn(connection) }
    if wantedRoom || connection.wantsRoomToRead { updateInterest() }
  }

  /// Reads on while each call fills the buffer: then there is more, and asking epoll first is a detour. The
  /// bound leaves the other connections their turn.
  func receive(from connection: OriginConnection) {
    for _ in 0..<Self.receivesPerTurn {
      let allowed = allowance(loop.receiveBuffer.count)
      guard allowed > 0 else { return }
      let buffer = UnsafeMutableRawBufferPointer(rebasing: loop.receiveBuffer[0..<allowed])
      switch connection.receive(into: buffer) {
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

  func received(_ bytes: UnsafeRawBufferPointer) {
    if !gotBytes { answerBegins() }
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
      awaitProgress()
      receivedContent(bytes)
      guard state == .content else { return }
      let rule = worker.settings.originProgress
      if !receiving.moved(bytes.count, loop.now, rule) {
        worker.metrics.add(.timeouts, .upstreamTrickle)
        fail(.trickled(request.origin.authority, rule, isReading: false))
      }
    case .idle, .queued, .resolving, .connecting, .securing, .done:
      break
    }
  }

  /// The first bytes of an answer are here.
  private func answerBegins() {
    // What was hardly idle tells nothing.
    if isOnKeptConnection, let connection, connection.idleBefore >= .milliseconds(200) {
      worker.shared.endings.survived(connection.idleBefore, at: request.origin.authority)
    }
    if let repeated {
      self.repeated = nil
      repeated.end(.repeated, at: loop.now, worker.shared.endings)
    }
  }

  /// Sets the deadline after bytes came for a head.
  /// - Parameters:
  ///   - wasBegun: there was a part of a head before them.
  ///   - heads: how many interim answers there were before them.
  func headsRead(_ wasBegun: Bool, _ heads: Int) {
    switch state {
    case .content:
      if !isPaused { awaitProgress() }
    case .awaitingHead where input.isEmpty:
      // Interim answers and nothing else: what is waited for is what was waited for before.
      awaitOrigin()
    case .awaitingHead:
      // The time for a complete head runs from its first byte.
      if !wasBegun || heads != informationals { awaitProgress() }
    case .idle, .queued, .resolving, .connecting, .securing, .done:
      break
    }
  }

  /// Parses as many heads as are there: any number of 1xx, then the final one.
  /// - Returns: how many bytes they took.
  func parseHeads(_ bytes: UnsafeRawBufferPointer) -> Int {
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
          if status.rawValue == 101, let offer = request.upgrade,
            ProtocolUpgrade.accepts(fields, offer: offer)
          {
            switchProtocols(
              fields, unread: UnsafeRawBufferPointer(rebasing: bytes[used...]))
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

  /// The connection speaks another protocol from here on, and is the consumer's.
  private func switchProtocols(_ fields: FieldSection, unread: UnsafeRawBufferPointer) {
    guard let connection, let consumer else { return }
    // The rest of it would be the first bytes of another protocol, or never arrive.
    guard output.isEmpty else {
      fail(.unasked(request.origin.authority, "switched protocols before it had read the request"))
      return
    }
    self.connection = nil
    connection.exchange = nil
    consumer.exchangeSwitchedProtocols(self, fields, connection, unread: unread)
    cancel()
  }

  /// - Parameter behind: so many bytes came behind the head in the same piece.
  func headArrived(_ head: ResponseHead, persists: Bool, behind: Int) {
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
    partRemaining = nil
    status = head.status
    responseAllowsReuse = persists && framing != .untilClose
    state = .content
    if case .length(let length) = framing { remaining = length } else { measurePart(head) }
    // Events come when there are any; a client waits for each of them.
    isMeasured = !head.isEventStream
    if isMeasured { receiving.begin(loop.now) }
    if let parent, !request.origin.isSecure, head.status.rawValue == 407 {
      return fail(.parentRefused(parent, request.origin.authority, head.status))
    }
    if let credential = request.credential, head.status.rawValue == 401 || head.status == .forbidden
    {
      return fail(.credentialsRefused(request.origin.authority, credential, head.status))
    }
    if isFollowed(head) {
      follow(head)
    } else {
      var head = head
      if let step = ownStep(of: head) { head.fields.set(.location, step) }
      request.redirects?.tidy(&head.fields)
      // A session of the operator's.
      if request.credential != nil { head.fields.remove(.setCookie) }
      consumer?.exchangeGotHead(self, head)
    }
    guard state == .content else { return }
    if framing == .none || framing == .length(0) { finish(trailers: nil) }
  }

  /// A part that is framed by chunks or by the end of the connection would be taken for whole wherever that comes: what
  /// is joined with it, or trusts its head, wants all that Content-Range says (RFC 9110 §14.4).
  private func measurePart(_ head: ResponseHead) {
    guard head.status == .partialContent, head.framing != .none,
      let value = head.fields.only(.contentRange).map({ Array($0) }),
      let range = ContentRange(value.span)?.range
    else { return }
    partRemaining = UInt64(clamping: range.upperBound &- range.lowerBound)
  }

  // MARK: Content

  func receivedContent(_ bytes: UnsafeRawBufferPointer) {
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

  func receivedChunks(_ bytes: UnsafeRawBufferPointer) {
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
        } else if let partRemaining, partRemaining > 0 {
          fail(.unasked(request.origin.authority, "sent less than its Content-Range says"))
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

  func deliver(_ bytes: UnsafeRawBufferPointer) {
    guard !bytes.isEmpty else { return }
    if let partRemaining {
      guard UInt64(bytes.count) <= partRemaining else { return failWithSurplus() }
      self.partRemaining = partRemaining - UInt64(bytes.count)
    }
    receivedBytes &+= UInt64(bytes.count)
    consumer?.exchangeGotContent(self, bytes)
  }

  // MARK: Pauses

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

  func readAgain() {
    guard !isPaused, !isThrottled, connection != nil else { return }
    if state == .awaitingHead, input.isEmpty {
      awaitOrigin()
    } else {
      if isMeasured, state == .content { receiving.begin(loop.now) }
      awaitProgress()
    }
    connection?.watchAgain()
    if connection?.isWatched == false {
      // At the end of the turn: whoever wants more does not expect to hear of an end at once.
      failLater(.cannotWatch)
      return
    }
    updateInterest()
    if let connection, connection.hasUnread { loop.afterTurn(connection) }
  }

  /// How many bytes may be read now; with 0 the reading goes on when there are more.
  func allowance(_ count: Int) -> Int {
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
}
