// How a client's connection ends: closed in one place, in order or by RST; or given away to a tunnel.

import Forensics
import HTTP
import IO
import Platform

extension ClientConnection {
  /// Bytes read and thrown away while lingering, at most.
  private static let discardLimit = 1 << 20

  /// The proxy ends.
  func drain() { endWhenIdle(.shutdown) }

  /// An idle connection ends at once, one that is busy after its answer.
  /// - Parameter ending: what is said of a handshake that is not waited for.
  func endWhenIdle(_ ending: ClientEnding) {
    keepsAlive = false
    if phase == .securing {
      record?.ending = ending
      close(.finished)
      return
    }
    guard phase == .waiting, input.isEmpty else { return }
    if output.isEmpty { close(.finished) } else { endsAfterOutput = true }
  }

  /// Says FIN, and waits for the client to have taken the answer.
  func linger() {
    guard phase == .answering || phase == .waiting else { return }
    phase = .lingering
    endsAfterOutput = false
    input.removeAll()
    stream.finish()
    loop.setInterest(self, .read)
    loop.arm(self, after: worker.settings.lingerTimeout)
  }

  func discard() {
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
    let recordID = wasAnswering ? report(ending) : nil
    let wasSecuring = phase == .securing
    if ending == .finished || ending == .shutdown && phase == .waiting, !wasSecuring {
      worker.metrics.add(
        .healthyEndings, .downstream, phase == .waiting ? idleEnding : .answered)
    }
    phase = .closed
    unregister()
    throttle?.end()
    throttle = nil
    if ending == .cut {
      var unsent = ByteQueue()
      swap(&unsent, &output)
      Severance.cut(stream, unsent: unsent, worker: worker)
    } else if ending.isAbort {
      Socket.abort(raw: descriptor)
    } else {
      stream.tls?.finish()
      FileDescriptor.close(raw: descriptor)
    }
    content = ContentSource()
    input.removeAll()
    output.removeAll()
    worker.connectionClosed(self)
    if wasSecuring, var record {
      self.record = nil
      if record.ending == .finished { record.ending = ending == .finished ? .clientLeft : ending }
      worker.log(record)
    }
    if wasAnswering {
      if let driver {
        self.driver = nil
        driver.clientLeft(ending, recordID)
      } else if let tunnel {
        self.tunnel = nil
        tunnel.clientLeft()
      } else if var record {
        self.record = nil
        record.sentBytes = sentBytes
        record.ending = ending
        record.recordID = recordID
        worker.log(record)
      }
    }
  }

  /// Records how it ended, where something was under way and it was the client's doing, or we do not wait any longer. A
  /// cut of ours has a record already: that of what went wrong at the origin.
  private func report(_ ending: ClientEnding) -> RecordID? {
    guard let record = driver?.record ?? record,
      ending == .clientLeft || ending == .clientStalled || ending == .shutdown
    else { return nil }
    var socket = SocketEvidence()
    // Before the error is taken, which clears some of it.
    socket.info = Socket.information(descriptor).flatMap(TCPInfo.init)
    socket.unconfirmed = Socket.unconfirmed(descriptor)
    socket.cookie = Socket.cookie(descriptor)
    socket.local = try? Socket.localAddress(descriptor)
    socket.peer = socketPeer
    let errno = lostBy ?? Socket.pendingError(descriptor)
    // EPIPE is what the kernel says where RST followed FIN. A sendfile(2) that has sent something keeps the error to itself;
    // then the state tells: behind a FIN alone it is CLOSE_WAIT.
    let hasFinished =
      errno == .brokenPipe || errno == nil && socket.info?.state != .closed
    if hasFinished { socket.errorBehindEnd = errno } else { socket.errno = errno }
    let means: Means =
      switch ending {
      case .clientStalled: .timeout
      case .shutdown: .abort
      case .clientLeft, .cut, .finished: hasFinished ? .finish : errno.map(Means.init) ?? .reset
      }
    var evidence = Evidence(
      Ending(.downstream, driver?.wantsContent == true ? .request : .content, means))
    evidence.own =
      switch ending {
      case .clientStalled: .deadline
      case .shutdown: .shutdown
      case .clientLeft, .cut, .finished: nil
      }
    evidence.socket = socket
    evidence.connection.age = loop.now - record.startedAt
    evidence.connection.requests = 1
    let delivered = Int64(clamping: sentBytes)
    evidence.content.delivered = delivered
    // What TLS makes of it has another length.
    if stream.tls == nil, let unconfirmed = socket.unconfirmed {
      evidence.content.confirmed = max(0, delivered &- Int64(unconfirmed))
    }
    evidence.content.expected = content.remaining.map {
      delivered &+ Int64(clamping: output.count) &+ $0
    }
    return worker.report(evidence, EndingRecord.Transaction(record))
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
  func surrender() -> (stream: SocketStream, unsent: [UInt8], unread: [UInt8]) {
    phase = .closed
    tunnel = nil
    unregister()
    throttle?.end()
    throttle = nil
    let unread = [UInt8](input.bytes)
    let unsent = [UInt8](output.bytes)
    input.removeAll()
    output.removeAll()
    worker.connectionClosed(self)
    return (stream, unsent, unread)
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
