// What is known of a connection to an origin when it ends, put together while its socket is still there, and what becomes
// of the request then.

import Forensics
import HTTP
import IO
import Platform
import Telemetry

extension Exchange {
  /// Records how it ended, if that was an ending of a connection.
  /// - Parameters:
  ///   - state: what it was in.
  ///   - isHealing: the request goes on, and `healed` says how.
  func record(_ error: ProxyError, in state: State, isHealing: Bool = false) -> ProxyError {
    guard let fault = error.fault else { return error }
    let id = worker.report(
      evidence(fault, in: state), transaction(for: consumer?.beneficiary), isHealing: isHealing)
    var recorded = error.recorded(as: id)
    recorded.peer = peer
    return recorded
  }

  /// Records how a connection ended whose answer was whole before all of the request was sent: if the origin has broken
  /// it off behind the answer, it did not want the rest. The client has the answer.
  func recordRefusedContent() {
    guard let connection,
      let errno = connection.sendFailure ?? Socket.pendingError(connection.descriptor)
    else { return }
    _ = worker.report(evidence(Fault(errno), in: .content), transaction(for: consumer?.beneficiary))
  }

  private func transaction(for beneficiary: Beneficiary?) -> EndingRecord.Transaction {
    var transaction = EndingRecord.Transaction()
    transaction.client = beneficiary?.client
    transaction.method = "\(request.method.spelling)"
    transaction.url = String(decoding: request.asked, as: UTF8.self)
    transaction.server = request.origin.authority
    transaction.status = status.map { Int($0.rawValue) }
    return transaction
  }

  private func evidence(_ fault: Fault, in state: State) -> Evidence {
    var evidence = Evidence(Ending(.upstream, phase(state), fault.means))
    evidence.own = fault.own
    evidence.alert = fault.alert
    evidence.complaint = fault.complaint
    evidence.socket.hasNoWay = fault.hasNoWay
    evidence.socket.errno = fault.errno
    evidence.socket.syscall = fault.errno == nil && fault.own != nil ? nil : fault.syscall
    evidence.socket.peer = peer
    if let connection {
      connection.describe(to: &evidence, now: loop.now, isTimeout: fault.means == .timeout)
    } else {
      evidence.connection.age = loop.now - startedAt
      evidence.connection.requests = 1
      fault.attempt?.describe(to: &evidence.socket)
    }
    evidence.content.hasHead = state == .content
    evidence.content.status = status.map { Int($0.rawValue) }
    if case .length(let length) = framing, state == .content {
      evidence.content.expected = Int64(clamping: length)
    }
    evidence.content.received = Int64(clamping: receivedBytes)
    evidence.content.delivered = consumer?.beneficiary?.delivered.map { Int64(clamping: $0) }
    evidence.content.answerBytes = gotBytes ? max(1, Int64(clamping: receivedBytes)) : 0
    evidence.content.hasUnsentRequest =
      !requestSent || !output.isEmpty || connection?.sendFailure != nil
    return evidence
  }

  private func phase(_ state: State) -> Phase {
    switch state {
    case .idle, .queued, .resolving, .connecting: .connect
    case .securing: .tls
    case .awaitingHead where !output.isEmpty || !requestSent: .request
    case .awaitingHead, .done: .head
    case .content: .content
    }
  }
}

extension ConnectionRace.Attempt {
  /// What it has left behind.
  func describe(to socket: inout SocketEvidence) {
    socket.peer = address
    socket.local = local
    socket.info = information.flatMap(TCPInfo.init)?.ofAttempt
  }
}

extension OriginConnection {
  /// What its socket and its life so far tell.
  fileprivate func describe(to evidence: inout Evidence, now: Instant, isTimeout: Bool) {
    evidence.connection.age = now - establishedAt
    evidence.connection.requests = requests
    evidence.connection.idle = idleBefore
    let fd = descriptor
    if let stray {
      var packets = PacketEvidence()
      packets.stray = stray.origin
      evidence.packets = packets
    }
    evidence.socket.info = lastInformation ?? Socket.information(fd).flatMap(TCPInfo.init)
    evidence.socket.local = try? Socket.localAddress(fd)
    evidence.socket.unconfirmed = Socket.unconfirmed(fd)
    evidence.socket.cookie = Socket.cookie(fd)
    // A router's message ends no established connection: it waits here for who asks.
    if isTimeout { evidence.socket.softError = Socket.pendingError(fd) }
    if evidence.ending.means == .finish {
      evidence.socket.errorBehindEnd = Socket.pendingError(fd)
    }
  }
}
