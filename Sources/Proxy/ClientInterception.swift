// CONNECT to a host whose connections are decrypted: the client gets its tunnel, and finds us at its end with a
// certificate for the host it named. From then on its requests are read like all others, as long as they are about that
// host (InterceptedHost.swift).
//
//   waiting ─ CONNECT ─▶ 200, in clear ─▶ securing ─▶ waiting, as that host
//                                            └─▶ closed: the client does not take our certificate, or names another host

import HTTP
import IO
import Platform
import TLS
import Telemetry

extension ClientConnection {
  /// Whether the inside of a tunnel to this host is to be read on this connection.
  func decrypts(_ authority: Authority, _ interception: Interception) -> Bool {
    guard interception.covers(authority) else { return false }
    // Offline there is no tunnel to be had, so the store is worth another try.
    guard interception.tunnelsRejected, !worker.settings.isOffline else { return true }
    return !worker.shared.rejections.contains(peer.ip, authority.bareHost, now: loop.now)
  }

  /// Answers CONNECT, and begins TLS as the host it names.
  func beginInterception(
    _ authority: Authority, _ interception: Interception, record: AccessRecord
  ) {
    let host = authority.bareHost
    let session: TLSSession
    do throws(TLSFailure) {
      session = try TLSSession(
        server: interception.context, descriptor: descriptor,
        identity: try interception.identity(for: host, now: loop.wallSeconds),
        expectedName: host, scope: "\(authority)", over: stream.tls)
    } catch {
      refuse(
        .cannotIntercept("\(authority)", error), method: record.method, target: record.target)
      return
    }
    let answer = Tunnel.established
    var record = record
    record.status = .ok
    record.sentBytes = UInt64(answer.count)
    // Past the rate, which is for content; and so few bytes always fit where nothing waits.
    let transfer = answer.withUnsafeBytes { stream.send($0) }
    guard transfer == .bytes(answer.count) else {
      record.ending = .clientLeft
      worker.log(record)
      return close(.clientLeft)
    }
    countSent(answer.count)
    self.record = record
    stream.secure(session)
    role = .intercepted(InterceptedHost(authority))
    phase = .securing
    loop.setInterest(self, .read)
    loop.arm(self, after: worker.settings.headerTimeout)
  }

  /// After a reload: a tunnel that would be opened no more, or passed on unread, takes no further requests. What is under
  /// way in it comes to its end, and the client's next tunnel is what the configuration says.
  func reconsiderTunnel() {
    guard case .intercepted(let host) = role else { return }
    let settings = worker.settings
    guard
      settings.interception?.covers(host.authority) != true
        || !settings.destinations.allows(connectPort: host.authority.port)
    else { return }
    takesNoMore = true
    endWhenIdle(.cut)
  }

  /// What the client has sent behind its CONNECT, without waiting for the answer, belongs to the handshake.
  func continueEarly() {
    guard phase == .securing, !input.isEmpty else { return }
    stream.tls?.takeEarly(input.bytes)
    input.removeAll()
    shakeHands()
  }

  /// The handshake inside the tunnel is over: CONNECT has its line in the log.
  func interceptionBegan() {
    guard let record else { return }
    self.record = nil
    worker.log(record)
  }

  /// The client does not go on.
  func interceptionFailed(_ failure: TLSFailure) {
    guard case .intercepted(let host) = role, var record else { return }
    self.record = nil
    let error = ProxyError.interception(
      "\(host.authority)", failure, refusedName: stream.tls?.refusedName)
    record.error = error
    worker.log(record)
    guard failure.isRejection else { return }
    let isNews = worker.shared.rejections.note(peer.ip, host.authority.bareHost, now: loop.now)
    if isNews { worker.shared.logger.warning("\(peer.ip): \(error.detail)") }
  }
}
