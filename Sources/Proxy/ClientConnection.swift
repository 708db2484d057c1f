// The client side of a connection: reads request heads, answers what the store has ready in the same
// turn, hands everything else to a TransactionDriver, and keeps order between pipelined requests. What it
// sends is one head after another, each with content from one of the sources in ContentSource.swift.
//
//   waiting ─▶ answering ─▶ waiting …            kept alive, request after request
//      │           └─▶ lingering ─▶ closed       said all, waits for the client to have read it
//      └─▶ tunnel                                CONNECT: the socket belongs to Tunnel.swift
//
// An idle connection owns its two small queues and nothing else.

import HTTP
import IO
import Platform
import Storage
import Telemetry

final class ClientConnection: LoopObject, Throttled {
  enum Phase: UInt8 {
    /// For a request's head, or its rest.
    case waiting
    /// A request is being answered; the next one waits, unread or in `input`.
    case answering
    /// The last answer is out and our side is shut; what still comes is thrown away, because closing
    /// over unread bytes would make the kernel send RST and tear the answer out of the client's hands.
    case lingering
    case closed
  }

  /// Bytes read and thrown away while lingering, at most.
  private static let discardLimit = 1 << 20

  let worker: Worker
  let role: ListenerRole
  let peer: SocketAddress
  let descriptor: Int32
  private(set) var phase = Phase.waiting
  /// The request being answered, when that takes more than the store's memory.
  var driver: TransactionDriver?
  private var tunnel: Tunnel?
  /// What is sent once `output` has gone.
  var content = ContentSource()
  /// The answer under way, for the access log; nil when the driver keeps it.
  var record: AccessRecord?
  /// Who was asking last, where clients have to say so.
  var authentication = AuthenticationMemory()
  private(set) var keepsAlive = true
  /// Requests begun on this connection.
  private(set) var requests = 0
  /// Bytes of the current answer that the socket took, head included.
  private(set) var sentBytes: UInt64 = 0
  private var input = ByteQueue()
  private var output = ByteQueue()
  private var cursor = HeadCursor()
  private var discarded = 0
  private var isAdvancing = false
  private var endsAfterOutput = false
  private var waitsForSocket = false
  private var awaitsAuthentication = false
  private var throttle: Throttle?
  private var deadlines = AnswerDeadlines()
  private var reading = ProgressMeter()
  private var writing = ProgressMeter()
  /// `sentBytes` when `writing` was last told.
  private var metered: UInt64 = 0
  /// Bytes the client had not confirmed when the deadline for reading came last, and how often in a row that
  /// has been as many; `Int.max` when it has not come.
  private var unconfirmed = Int.max
  private var standstills = 0

  init(worker: Worker, role: ListenerRole, peer: SocketAddress, descriptor: Int32) {
    self.worker = worker
    self.role = role
    self.peer = peer
    self.descriptor = descriptor
    super.init(loop: worker.loop)
  }

  /// - Returns: false when the kernel refuses to watch the descriptor, which stays the caller's then.
  func start() -> Bool {
    guard (try? loop.watch(descriptor, self, .read)) != nil else {
      unregister()
      phase = .closed
      return false
    }
    loop.arm(self, after: worker.settings.idleTimeout)
    if worker.settings.isRated { throttle = Throttle(worker: worker, client: peer.ip, owner: self) }
    return true
  }

  // MARK: Events

  override func ready(_ events: Readiness) {
    if phase != .waiting, !events.isDisjoint(with: [.error, .hangUp]) {
      close(phase == .lingering ? .finished : .clientLeft)
      return
    }
    if !events.isDisjoint(with: [.read, .peerFinish, .error, .hangUp]) {
      switch phase {
      case .waiting: read()
      case .answering: readContent()
      case .lingering: discard()
      case .closed: return
      }
    }
    advance()
  }

  override func timerFired() {
    switch phase {
    case .waiting where !output.isEmpty:
      takesNothing()
    case .waiting where input.isEmpty:
      worker.metrics.add(.timeouts, .idle)
      close(.finished)
    case .waiting:
      worker.metrics.add(.timeouts, .requestHead)
      refuse(.headTimedOut(worker.settings.limits.headerTimeout))
    case .answering where awaitsAuthentication:
      awaitsAuthentication = false
      phase = .waiting
      refuse(.authenticatorBusy)
    case .answering:
      if deadlines.takeContent(loop.now), let driver, driver.wantsContent {
        worker.metrics.add(.timeouts, .requestContent)
        driver.contentTimedOut()
      } else if deadlines.takeWrite(loop.now), !output.isEmpty || content.isBlocked {
        takesNothing()
      } else {
        armDeadlines()
      }
    case .lingering:
      close(.finished)
    case .closed:
      break
    }
  }

  /// There has been no room in the socket for half of `limits.write-timeout`. That alone says little: the kernel
  /// tells of room only when a third of a large buffer is free, which a slow client may need minutes for. Only one
  /// that confirms nothing for the whole time stands still.
  private func takesNothing() {
    let count = Socket.unconfirmed(descriptor) ?? unconfirmed
    standstills = count < unconfirmed ? 0 : standstills + 1
    unconfirmed = count
    guard standstills < 2 else {
      worker.metrics.add(.timeouts, .write)
      close(.clientStalled)
      return
    }
    deadlines.write = loop.deadline(after: worker.settings.writeCheck)
    armDeadlines()
  }

  /// Sets the timer to what the client is to do next. Content that is wanted always has a time by which it has to come.
  private func armDeadlines() {
    if let driver, driver.wantsContent {
      if !deadlines.hasContent {
        deadlines.content = loop.deadline(after: worker.settings.contentTimeout)
      }
    } else {
      deadlines.content = .distantFuture
    }
    if let next = deadlines.next { loop.arm(self, at: next) } else { loop.disarm(self) }
  }

  /// The content being sent has news: a growing body grew, or a cold piece of a file is in memory.
  override func receive(_ letter: Letter) {
    guard phase == .answering else { return }
    if letter.subject == LetterSubject.authenticated.rawValue {
      authenticationEnded()
      return
    }
    content.isWaiting = false
    advance()
  }

  override func turnEnded() { advance() }

  /// Does all that can be done now: sends what waits, and begins the next request when the one before
  /// is answered. Safe to call at any time, also from below itself.
  func advance() {
    guard !isAdvancing else { return }
    isAdvancing = true
    defer { isAdvancing = false }
    while phase != .closed {
      pump()
      if phase == .answering, !input.isEmpty { offerInput() }
      guard phase == .waiting, output.isEmpty, !input.isEmpty else { return }
      let used = process(input.bytes)
      input.consume(used)
      if used == 0, output.isEmpty { return }
    }
  }

  // MARK: Reading requests

  private func read() {
    let buffer = loop.receiveBuffer
    switch Socket.receive(descriptor, into: buffer) {
    case .bytes(let count):
      // Counted once it has been dealt with: whoever watches the number may rely on that.
      defer { worker.metrics.add(.downstreamReceived, UInt64(count)) }
      let bytes = UnsafeRawBufferPointer(rebasing: buffer[0..<count])
      guard input.isEmpty else {
        input.append(bytes)
        return
      }
      // Whatever finishes meanwhile waits for `advance`, which follows.
      isAdvancing = true
      let used = process(bytes)
      isAdvancing = false
      let rest = UnsafeRawBufferPointer(rebasing: bytes[used...])
      if !rest.isEmpty, phase == .waiting || phase == .answering {
        // The time for a complete head runs from its first byte.
        if phase == .waiting { loop.arm(self, after: worker.settings.headerTimeout) }
        input.append(rest)
      }
    case .wouldBlock:
      return
    case .endOfStream:
      // A client that has said all it wants to say may still wait for the answer to its last request, which may
      // lie here since the answer before it ended in this very turn.
      advance()
      if phase == .waiting, output.isEmpty { close(.finished) }
    case .failed:
      close(.finished)
    }
  }

  /// Answers the requests whose heads are complete, as long as that needs no waiting.
  /// - Returns: how many bytes are done with.
  private func process(_ bytes: UnsafeRawBufferPointer) -> Int {
    var used = 0
    while phase == .waiting, output.isEmpty, used < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[used...])
      switch worker.parseRequest(rest, resuming: &cursor) {
      case .complete(let consumed):
        used += consumed
        requests &+= 1
        sentBytes = 0
        metered = 0
        if answerHit(rest) { continue }
        flushScratch()
        // The request is read again once the answers before it have gone (a tunnel's first bytes must not overtake
        // them, and nothing is to pile up), or once it is known whether its credentials are right.
        guard phase == .waiting else { continue }
        guard output.isEmpty else {
          requests &-= 1
          return used - consumed
        }
        if !beginTransaction(rest) { return used - consumed }
      case .needsMoreBytes:
        flushScratch()
        return used
      case .refused(let refusal):
        flushScratch()
        // Whose it is nobody can tell.
        authentication.user = nil
        refuse(ProxyError(refusal))
        return bytes.count
      }
    }
    flushScratch()
    return used
  }

  /// The long way: routes the request, and has a driver or a tunnel answer it.
  /// - Returns: false if it has to be begun once more, when its credentials have been checked.
  private func beginTransaction(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let head = worker.parsedHead
    let consumesAuthorization: Bool
    switch authenticate(bytes) {
    case .passed(let consumes):
      consumesAuthorization = consumes
    case .pending:
      requests &-= 1
      awaitsAuthentication = true
      phase = .answering
      loop.arm(self, after: worker.settings.headerTimeout)
      return false
    case .refused(let error):
      let span = Span<UInt8>(_unsafeBytes: bytes)
      let framing = MessageFraming.ofRequest(head.pointee, in: span)
      refuse(
        error,
        keepsAlive: framing == .none && head.pointee.method != .connect
          && ConnectionOptions.persists(head.pointee, in: span),
        version: head.pointee.version, method: [UInt8](bytes[head.pointee.methodRange]),
        target: [UInt8](bytes[head.pointee.targetRange]))
      return true
    }
    let span = Span<UInt8>(_unsafeBytes: bytes)
    switch RequestIntake.read(head.pointee, in: span, role: role, worker: worker) {
    case .request(var request):
      // What was for this proxy is neither forwarded nor a reason not to share the answer.
      if consumesAuthorization { request.fields.remove(.authorization) }
      beginAnswer(keepsAlive: request.keepsAlive)
      var record = AccessRecord(
        client: peer, method: request.methodBytes, target: request.target.key,
        way: request.route.way, startedAt: loop.now)
      record.user = authentication.user
      let driver = TransactionDriver(
        worker: worker, client: self, request: request, record: record)
      self.driver = driver
      driver.start()
    case .tunnel(let authority):
      var record = AccessRecord(
        client: peer, method: Array("CONNECT".utf8), target: Array("\(authority)".utf8),
        way: .tunnel, startedAt: loop.now)
      record.user = authentication.user
      beginTunnel(Tunnel(worker: worker, client: self, authority: authority, record: record))
    case .answered(let local, let keepsAlive):
      beginAnswer(keepsAlive: keepsAlive)
      let answer = Answers.local(
        local, date: loop.wallSeconds, keepsAlive: self.keepsAlive, version: head.pointee.version)
      var record = AccessRecord(
        client: peer, method: span.copy(head.pointee.methodRange),
        target: span.copy(head.pointee.targetRange), way: .forward, startedAt: loop.now)
      record.user = authentication.user
      record.status = local.status
      record.sentBytes = UInt64(answer.count)
      answer.withUnsafeBytes { write($0) }
      worker.log(record)
      answerFinished()
    case .refused(let error, let keepsAlive):
      refuse(
        error, keepsAlive: keepsAlive, version: head.pointee.version,
        method: [UInt8](bytes[head.pointee.methodRange]),
        target: [UInt8](bytes[head.pointee.targetRange]))
    }
    return true
  }

  /// The request that was put off is in `input` still, and is read once more.
  private func authenticationEnded() {
    guard awaitsAuthentication else { return }
    awaitsAuthentication = false
    phase = .waiting
    loop.setInterest(self, .read)
    loop.arm(self, after: worker.settings.headerTimeout)
    advance()
  }

  // MARK: Answering

  /// The answer is about to be made.
  func beginAnswer(keepsAlive: Bool) {
    phase = .answering
    self.keepsAlive = keepsAlive && !worker.isDraining
  }

  /// A hit is in the scratch buffer, whole.
  func hitFinished() {
    content = ContentSource()
    if keepsAlive {
      phase = .waiting
      loop.arm(self, after: worker.settings.idleTimeout)
    } else {
      endsAfterOutput = true
    }
  }

  /// The whole answer is with the socket, or in `output`.
  func answerFinished() {
    guard phase == .answering else { return }
    driver = nil
    content = ContentSource()
    deadlines = AnswerDeadlines()
    // Often this comes from an origin or a fill, with nobody about to call `advance`, while the next request
    // waits here already, or the end of this answer waits for the socket.
    if !isAdvancing, !input.isEmpty || !output.isEmpty { loop.afterTurn(self) }
    if keepsAlive {
      phase = .waiting
      guard output.isEmpty else {
        waitForSocket()
        return
      }
      loop.setInterest(self, .read)
      loop.arm(
        self, after: input.isEmpty ? worker.settings.idleTimeout : worker.settings.headerTimeout)
    } else {
      endsAfterOutput = true
      if output.isEmpty { linger() } else { waitForSocket() }
    }
  }

  /// Takes bytes in their order behind what waits already; sends at once what the socket takes.
  func write(_ bytes: UnsafeRawBufferPointer, more: Bool = false) {
    guard phase != .closed, !bytes.isEmpty else { return }
    let allowed = allowance(bytes.count)
    guard output.isEmpty, allowed > 0 else {
      output.append(bytes)
      return
    }
    let window = UnsafeRawBufferPointer(rebasing: bytes[0..<allowed])
    switch Socket.send(descriptor, window, more: more || allowed < bytes.count) {
    case .bytes(let count):
      sent(count)
      if count < bytes.count {
        output.append(UnsafeRawBufferPointer(rebasing: bytes[count...]))
      } else if !content.isActive {
        throttle?.rest()
      }
    case .wouldBlock:
      output.append(bytes)
    case .endOfStream, .failed:
      close(.clientLeft)
    }
  }

  /// Sends what the worker's scratch buffer has gathered for this connection.
  func flushScratch(more: Bool = false) {
    guard worker.scratch.count > 0 else { return }
    write(worker.scratch.bytes, more: more || content.isActive)
    worker.scratch.count = 0
  }

  /// Bytes that wait for the socket to take them.
  var waitingOutput: Int { output.count }

  private func sent(_ count: Int) {
    sentBytes &+= UInt64(count)
    throttle?.spent(count)
    worker.metrics.add(.downstreamSent, UInt64(count))
  }

  /// Sends what waits in `output`, then the content.
  private func pump() {
    while !output.isEmpty {
      let allowed = allowance(output.count)
      guard allowed > 0 else {
        waitForAllowance()
        return
      }
      let window = UnsafeRawBufferPointer(rebasing: output.bytes[0..<allowed])
      switch Socket.send(descriptor, window, more: content.isActive) {
      case .bytes(let count):
        sent(count)
        output.consume(count)
      case .wouldBlock:
        waitForSocket()
        return
      case .endOfStream, .failed:
        close(.clientLeft)
        return
      }
    }
    if endsAfterOutput {
      linger()
      return
    }
    if content.isActive { sendContent() }
    if output.isEmpty, !content.isBlocked {
      throttle?.rest()
      settleInterest()
    }
    if phase == .answering { driver?.clientCanTake() }
  }

  func waitForSocket() {
    guard isTakingEnough() else {
      worker.metrics.add(.timeouts, .writeTrickle)
      close(.clientStalled)
      return
    }
    waitsForSocket = true
    // Who does not take answers is not asked for more requests: that bounds what can pile up here.
    loop.setInterest(self, driver?.wantsContent == true ? [.read, .write] : .write)
    unconfirmed = .max
    standstills = 0
    deadlines.write = loop.deadline(after: worker.settings.writeCheck)
    armDeadlines()
  }

  // MARK: Bandwidth

  /// How many of so many bytes may be sent now; with 0 `waitForAllowance` is due.
  func allowance(_ count: Int) -> Int {
    guard let throttle else { return count }
    return min(count, throttle.allowance())
  }

  /// The socket could take more, but the rate does not allow it yet. Time runs for nobody meanwhile: it is
  /// not the client that is slow. It begins anew when all that waits has gone, or the socket is what is waited for.
  func waitForAllowance() {
    waitsForSocket = true
    writing.stop()
    metered = sentBytes
    loop.setInterest(self, driver?.wantsContent == true ? .read : [])
    deadlines = AnswerDeadlines()
    loop.disarm(self)
  }

  func throttleOpened() { advance() }

  /// The configuration has other rates than before.
  func ratesChanged() {
    throttle?.end()
    throttle =
      worker.settings.isRated ? Throttle(worker: worker, client: peer.ip, owner: self) : nil
    advance()
  }

  /// Whether the client, which is waited for, reads more than a trickle.
  private func isTakingEnough() -> Bool {
    let count = Int(clamping: sentBytes &- min(metered, sentBytes))
    metered = sentBytes
    defer { writing.begin(loop.now) }
    return writing.moved(count, loop.now, worker.settings.clientProgress)
  }

  /// Nothing waits to be sent: what is listened to is what may come.
  private func settleInterest() {
    guard waitsForSocket, phase == .waiting || phase == .answering else { return }
    waitsForSocket = false
    writing.stop()
    loop.setInterest(self, phase == .waiting || driver?.wantsContent == true ? .read : [])
    deadlines.write = .distantFuture
    if phase == .waiting {
      loop.arm(
        self, after: input.isEmpty ? worker.settings.idleTimeout : worker.settings.headerTimeout)
    } else {
      armDeadlines()
    }
  }

  // MARK: Request content

  private func readContent() {
    guard let driver, driver.wantsContent else {
      // A pipelined request, or the client's FIN: either waits until this answer is out. Not listening
      // keeps the loop from being told again and again.
      loop.setInterest(self, output.isEmpty ? [] : [.write])
      return
    }
    let buffer = loop.receiveBuffer
    switch Socket.receive(descriptor, into: buffer) {
    case .bytes(let count):
      worker.metrics.add(.downstreamReceived, UInt64(count))
      let bytes = UnsafeRawBufferPointer(rebasing: buffer[0..<count])
      guard input.isEmpty else {
        // Behind what came before it; `advance` follows and offers both.
        input.append(bytes)
        return
      }
      let used = driver.contentArrived(bytes)
      // The limit is for silence, not for the whole of a long upload.
      if phase == .answering, driver.wantsContent {
        deadlines.content = loop.deadline(after: worker.settings.contentTimeout)
        armDeadlines()
        if !reading.moved(count, loop.now, worker.settings.clientProgress) {
          worker.metrics.add(.timeouts, .requestTrickle)
          driver.contentTrickled()
        }
      }
      if phase != .closed, used < count {
        input.append(UnsafeRawBufferPointer(rebasing: bytes[used...]))
      }
    case .wouldBlock:
      return
    case .endOfStream, .failed:
      close(.clientLeft)
    }
  }

  /// Gives what was read already to the driver, as far as it is content and is wanted.
  private func offerInput() {
    while let driver, driver.wantsContent, !input.isEmpty {
      let used = driver.contentArrived(input.bytes)
      input.consume(used)
      if used == 0 { return }
    }
  }

  /// Listens for request content, or stops doing so.
  func listenForContent(_ wants: Bool) {
    guard phase == .answering else { return }
    var interest: Interest = wants ? [.read] : []
    if !output.isEmpty { interest.insert(.write) }
    loop.setInterest(self, interest)
    deadlines.content = .distantFuture
    if wants { reading.begin(loop.now) } else { reading.stop() }
    armDeadlines()
  }

  // MARK: Ending

  /// Answers with an error. Unless `keepsAlive`, nothing after it on this connection can be trusted to be
  /// a request.
  private func refuse(
    _ error: ProxyError, keepsAlive: Bool = false, version: Version = .http11,
    method: [UInt8] = [UInt8(ascii: "-")], target: [UInt8] = [UInt8(ascii: "-")]
  ) {
    guard phase == .waiting else { return }
    beginAnswer(keepsAlive: keepsAlive)
    let answer = Answers.error(
      error, cacheStatus: nil, date: loop.wallSeconds, keepsAlive: self.keepsAlive,
      isHead: method.elementsEqual("HEAD".utf8), version: version)
    answer.withUnsafeBytes { write($0) }
    var record = AccessRecord(
      client: peer, method: method, target: target, way: .forward, startedAt: loop.now)
    record.status = error.status
    record.error = error
    record.handling = .error
    record.sentBytes = UInt64(answer.count)
    record.user = authentication.user
    worker.log(record)
    answerFinished()
  }

  /// There will be no other request on this connection.
  func keepAliveEnds() { keepsAlive = false }

  /// Counts bytes that went to the socket past `write`.
  func countSent(_ count: Int) { sent(count) }

  func writeChunkHeader(_ count: Int) {
    var start: [UInt8] = []
    ChunkedEncoding.appendChunkStart(count, to: &start)
    start.withUnsafeBytes { write($0, more: true) }
  }

  func writeChunkEnd() {
    let end: [UInt8] = [13, 10]
    end.withUnsafeBytes { write($0) }
  }

  func writeLastChunk() {
    var end: [UInt8] = []
    ChunkedEncoding.appendEnd(to: &end)
    end.withUnsafeBytes { write($0) }
  }

  /// The proxy ends: an idle connection goes at once, a busy one after its answer.
  func drain() {
    keepsAlive = false
    guard phase == .waiting, input.isEmpty else { return }
    if output.isEmpty { close(.finished) } else { endsAfterOutput = true }
  }

  override func loopEnding() { close(.shutdown) }

  /// Says FIN, and waits for the client to have taken the answer.
  private func linger() {
    guard phase == .answering || phase == .waiting else { return }
    phase = .lingering
    endsAfterOutput = false
    input.removeAll()
    Socket.shutdownWrite(descriptor)
    loop.setInterest(self, .read)
    loop.arm(self, after: worker.settings.lingerTimeout)
  }

  private func discard() {
    let buffer = loop.receiveBuffer
    switch Socket.receive(descriptor, into: buffer) {
    case .bytes(let count):
      discarded += count
      if discarded > Self.discardLimit { close(.finished) }
    case .wouldBlock:
      return
    case .endOfStream, .failed:
      close(.finished)
    }
  }

  /// The one place where a client's connection ends.
  func close(_ ending: ClientEnding) {
    guard phase != .closed else { return }
    let wasAnswering = phase == .answering
    phase = .closed
    unregister()
    throttle?.end()
    throttle = nil
    if ending.isAbort {
      Socket.abort(raw: descriptor)
    } else {
      FileDescriptor.close(raw: descriptor)
    }
    content = ContentSource()
    input.removeAll()
    output.removeAll()
    worker.connectionClosed(self)
    if wasAnswering {
      if let driver {
        self.driver = nil
        driver.clientLeft(ending)
      } else if let tunnel {
        self.tunnel = nil
        tunnel.clientLeft()
      } else if var record {
        self.record = nil
        record.sentBytes = sentBytes
        record.ending = ending
        worker.log(record)
      }
    }
  }

  // MARK: Tunnels

  /// CONNECT: the socket will belong to a tunnel, if the host can be reached.
  func beginTunnel(_ tunnel: Tunnel) {
    self.tunnel = tunnel
    beginAnswer(keepsAlive: false)
    tunnel.start()
  }

  func tunnelFailed(_ error: ProxyError, _ record: AccessRecord) {
    tunnel = nil
    guard phase == .answering else { return }
    let answer = Answers.error(
      error, cacheStatus: nil, date: loop.wallSeconds, keepsAlive: false, isHead: false,
      version: .http11)
    answer.withUnsafeBytes { write($0) }
    var record = record
    record.handling = .error
    record.sentBytes = UInt64(answer.count)
    worker.log(record)
    answerFinished()
    advance()
  }

  /// Gives the socket away, with what was read of it.
  func surrender() -> (descriptor: Int32, unread: [UInt8]) {
    phase = .closed
    tunnel = nil
    unregister()
    throttle?.end()
    throttle = nil
    let unread = [UInt8](input.bytes)
    input.removeAll()
    worker.connectionClosed(self)
    return (descriptor, unread)
  }
}

/// How a client's connection ended.
enum ClientEnding: String {
  /// All that was begun is answered.
  case finished
  /// The client closed or reset while its answer was under way.
  case clientLeft = "client-left"
  /// The client took nothing for longer than `limits.write-timeout`.
  case clientStalled = "client-stalled"
  /// The answer could not be completed; the connection is cut so that nobody takes it for whole.
  case cut
  /// The proxy is shutting down and does not wait any longer.
  case shutdown

  /// Ends with RST instead of FIN: an incomplete answer must not look like a complete one
  /// (RFC 9112 §8).
  var isAbort: Bool {
    switch self {
    case .cut, .clientStalled, .shutdown: true
    // Usually there is nobody to see it. But sending can fail for reasons of our own, and then what was sent
    // is not the whole either.
    case .clientLeft: true
    case .finished: false
    }
  }
}
