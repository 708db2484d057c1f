// How answers get to a client: bytes go to the socket at once as long as it takes them, then wait in `output`, in their
// order. Where larger content comes from is told in ContentSource.swift, what is waited for in ClientWaiting.swift.

import HTTP
import Platform
import Telemetry

extension ClientConnection {
  /// The answer is about to be made.
  func beginAnswer(keepsAlive: Bool) {
    phase = .answering
    self.keepsAlive = keepsAlive && !worker.isDraining && !takesNoMore
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
    if !isAdvancing, !input.isEmpty || !output.isEmpty || stream.hasUnread { loop.afterTurn(self) }
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

  /// Answers with an error. Unless `keepsAlive`, nothing after it on this connection can be trusted to be
  /// a request.
  func refuse(
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

  // MARK: Bytes

  /// What is held back of an answer, so that its beginning goes out in one call, and one packet.
  private static let holdLimit = 16 << 10

  /// Takes the head of an answer whose content may follow at once, and holds it back until then, or until the turn is over.
  func hold(_ head: UnsafeRawBufferPointer) {
    guard phase != .closed else { return }
    output.append(head)
    isHolding = true
    loop.afterTurn(self)
  }

  /// Holds nothing back any more.
  func release(more: Bool = false) {
    guard isHolding else { return }
    isHolding = false
    guard phase != .closed, !output.isEmpty else { return }
    let allowed = allowance(output.count)
    guard allowed > 0 else { return }
    let window = UnsafeRawBufferPointer(rebasing: output.bytes[0..<allowed])
    switch stream.send(window, more: more) {
    case .bytes(let count):
      countSent(count)
      output.consume(count)
    case .wouldBlock: break
    case .endOfStream: close(.clientLeft)
    case .failed(let errno):
      lostBy = errno
      close(.clientLeft)
    }
  }

  /// Takes bytes in their order behind what waits already; sends at once what the socket takes.
  func write(_ bytes: UnsafeRawBufferPointer, more: Bool = false) {
    guard phase != .closed, !bytes.isEmpty else { return }
    if isHolding {
      guard output.count + bytes.count > Self.holdLimit else {
        output.append(bytes)
        return
      }
      release(more: true)
      guard phase != .closed else { return }
    }
    let allowed = allowance(bytes.count)
    guard output.isEmpty, allowed > 0 else {
      output.append(bytes)
      return
    }
    let window = UnsafeRawBufferPointer(rebasing: bytes[0..<allowed])
    switch stream.send(window, more: more || allowed < bytes.count) {
    case .bytes(let count):
      countSent(count)
      if count < bytes.count {
        output.append(UnsafeRawBufferPointer(rebasing: bytes[count...]))
      } else if !content.isActive {
        throttle?.rest()
      }
    case .wouldBlock:
      output.append(bytes)
    case .endOfStream:
      close(.clientLeft)
    case .failed(let errno):
      lostBy = errno
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

  /// Something waits, and not only for what follows it.
  var isWaitingForSocket: Bool { !output.isEmpty && !isHolding }

  /// Counts bytes that the socket took.
  func countSent(_ count: Int) {
    sentBytes &+= UInt64(count)
    throttle?.spent(count)
    worker.metrics.add(.downstreamSent, UInt64(count))
  }

  /// Sends what waits in `output`, then the content; nothing while something is held back.
  func pump() {
    guard !isHolding else { return }
    while !output.isEmpty {
      let allowed = allowance(output.count)
      guard allowed > 0 else {
        waitForAllowance()
        return
      }
      let window = UnsafeRawBufferPointer(rebasing: output.bytes[0..<allowed])
      switch stream.send(window, more: content.isActive) {
      case .bytes(let count):
        countSent(count)
        output.consume(count)
      case .wouldBlock:
        waitForSocket()
        return
      case .endOfStream:
        close(.clientLeft)
        return
      case .failed(let errno):
        lostBy = errno
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

  // MARK: Chunks

  private static let smallChunk = 16 << 10

  func writeChunk(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count <= Self.smallChunk else {
      writeChunkHeader(bytes.count)
      write(bytes, more: true)
      writeChunkEnd()
      return
    }
    // Copied together is cheaper than sent in three calls.
    var chunk: [UInt8] = []
    chunk.reserveCapacity(bytes.count + 16)
    ChunkedEncoding.appendChunkStart(bytes.count, to: &chunk)
    chunk.append(contentsOf: bytes)
    chunk.append(contentsOf: [13, 10])
    chunk.withUnsafeBytes { write($0) }
  }

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
}
