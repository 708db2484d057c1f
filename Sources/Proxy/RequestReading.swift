// How a client's requests are read: heads are parsed where they were received, and what is behind one that takes longer
// to answer is kept until its turn. A connection answers one request at a time, in the order they came.

import HTTP
import Platform
import Telemetry

extension ClientConnection {
  func read() {
    let buffer = loop.receiveBuffer
    switch stream.receive(into: buffer) {
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
      if !rest.isEmpty, phase == .waiting || phase == .answering || phase == .securing {
        // The time for a complete head runs from its first byte.
        if phase == .waiting { loop.arm(self, after: worker.settings.headerTimeout) }
        input.append(rest)
      }
    case .wouldBlock:
      awaitRoomToRead()
    case .endOfStream:
      // A client that has said all it wants to say may still wait for the answer to its last request, which may
      // lie here since the answer before it ended in this very turn.
      advance()
      if phase == .waiting, output.isEmpty {
        idleEnding = .idleFinish
        close(.finished)
      }
    case .failed:
      idleEnding = .idleReset
      close(.finished)
    }
  }

  /// Answers the requests whose heads are complete, as long as that needs no waiting.
  /// - Returns: how many bytes are done with.
  func process(_ bytes: UnsafeRawBufferPointer) -> Int {
    var used = 0
    while phase == .waiting, output.isEmpty, used < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[used...])
      switch worker.parseRequest(rest, resuming: &cursor) {
      case .complete(let consumed):
        used += consumed
        requests &+= 1
        sentBytes = 0
        writing.answerBegins()
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
  func beginTransaction(_ bytes: UnsafeRawBufferPointer) -> Bool {
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
      if let interception = worker.settings.interception, decrypts(authority, interception) {
        record.way = .intercept
        beginInterception(authority, interception, record: record)
        return true
      }
      guard !worker.settings.isOffline else {
        refuse(.offline, method: record.method, target: record.target)
        return true
      }
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
  func authenticationEnded() {
    guard awaitsAuthentication else { return }
    awaitsAuthentication = false
    phase = .waiting
    loop.setInterest(self, .read)
    loop.arm(self, after: worker.settings.headerTimeout)
    advance()
  }

  // MARK: Room for TLS

  /// Where TLS has to answer before it reads on (a key update) and the socket is full, nothing is listened to until
  /// there is room: the kernel would tell again and again of what cannot be read yet.
  private func awaitRoomToRead() {
    if stream.wantsRoomToRead { loop.setInterest(self, .write) }
  }

  /// There is room: listens again, if that is what room was wanted for.
  func resumesReading() -> Bool {
    guard stream.wantsRoomToRead, !waitsForSocket, phase == .waiting || phase == .answering else {
      return false
    }
    loop.setInterest(self, .read)
    return true
  }

  // MARK: Content

  func readContent() {
    guard let driver, driver.wantsContent else {
      // A pipelined request, or the client's FIN: either waits until this answer is out. Not listening
      // keeps the loop from being told again and again.
      loop.setInterest(self, output.isEmpty ? [] : [.write])
      return
    }
    let buffer = loop.receiveBuffer
    switch stream.receive(into: buffer) {
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
      awaitRoomToRead()
    case .endOfStream:
      close(.clientLeft)
    case .failed(let errno):
      lostBy = errno
      close(.clientLeft)
    }
  }

  /// Gives what was read already to the driver, as far as it is content and is wanted.
  func offerInput() {
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
}
