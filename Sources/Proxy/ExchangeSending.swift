// How a request gets to its origin: the head, then content as it comes, framed anew; with bounds on what waits here, and
// a deadline for an origin that does not take it.

import HTTP
import Platform
import Telemetry

extension Exchange {
  /// Request content waiting for the origin's socket, above which the client is asked to wait.
  static let outputLimit = 256 << 10

  func send(on connection: OriginConnection) {
    self.connection = connection
    connection.exchange = self
    connection.requests += 1
    peer = connection.peer
    state = .awaitingHead
    gotBytes = false
    output.append(parent.map { request.head(for: $0) } ?? request.head)
    loop.setInterest(connection, .read)
    flush()
    awaitOrigin()
    if state == .awaitingHead, !requestSent { consumer?.exchangeWantsContent(self) }
  }

  /// Sends a piece of the request's content, framing it.
  /// - Returns: whether more may be given now; if not, `exchangeWantsContent` comes later.
  func sendContent(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard canBeSentTo, !bytes.isEmpty else { return canBeSentTo }
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

  var canSendContent: Bool { canBeSentTo && output.count < Self.outputLimit }

  /// The head is on its way: before the end of a handshake nothing may go out, or it would go before the head.
  private var canBeSentTo: Bool { connection != nil && state != .securing }

  /// Sets the deadline for whatever the origin has to do next. While the client's content is what is waited
  /// for, it has nothing to do, and the client has a deadline of its own. Nor is it late while the rate keeps us from
  /// reading what it says.
  func awaitOrigin() {
    guard connection != nil, state == .awaitingHead else { return }
    if !output.isEmpty || requestSent && !isThrottled {
      awaitProgress()
    } else {
      loop.disarm(self)
    }
  }

  func flush() {
    guard let connection, state != .securing else { return }
    while !output.isEmpty {
      switch connection.send(output.bytes) {
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
        if !output.isEmpty, !isPaused { awaitProgress() }
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

  func updateInterest() {
    guard let connection else { return }
    var interest: Interest = isPaused || isThrottled ? [] : .read
    if !output.isEmpty { interest.insert(.write) }
    // The kernel would tell again and again of what cannot be read yet.
    if connection.wantsRoomToRead, !isPaused, !isThrottled { interest = .write }
    loop.setInterest(connection, interest)
  }
}
