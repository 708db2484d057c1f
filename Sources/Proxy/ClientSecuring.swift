// TLS with clients, on listeners that have a certificate: the handshake before the first request, and a word in clear
// for clients that speak plain HTTP to such a port.

import IO
import Platform
import TLS
import Telemetry

extension ClientConnection {
  /// Goes on with the handshake as far as it goes.
  /// - Parameter isLast: the client is gone, so that nothing comes after what is here.
  func shakeHands(isLast: Bool = false) {
    guard let session = stream.tls else { return }
    switch session.handshake() {
    case .done:
      metricsOfHandshake(.succeeded)
      interceptionBegan()
      phase = .waiting
      loop.setInterest(self, .read)
      loop.arm(self, after: worker.settings.idleTimeout)
      // The first request may have come in the same segment as the end of the handshake.
      if stream.hasUnread { read() }
      // Begun while the proxy was ending already: what is asked now is answered, nothing is waited for.
      if worker.isDraining { drain() }
    case .wantsRead where isLast, .wantsWrite where isLast:
      metricsOfHandshake(.failed)
      close(.clientLeft)
    case .wantsRead:
      loop.setInterest(self, .read)
    case .wantsWrite:
      loop.setInterest(self, .write)
    case .failed(.plainHTTP):
      metricsOfHandshake(.plainHTTP)
      interceptionFailed(.plainHTTP)
      stream.forgetTLS()
      phase = .waiting
      refuse(.plainHTTPOnTLS)
    case .failed(let failure):
      metricsOfHandshake(failure.isRejection ? .rejected : .failed)
      interceptionFailed(failure)
      worker.shared.logger.debug("TLS with \(peer.ip) failed: \(failure)")
      close(.finished)
    }
  }

  private func metricsOfHandshake(_ outcome: HandshakeOutcome) {
    worker.metrics.add(.downstreamHandshakes, outcome)
  }

  /// What was decrypted and not asked for is looked at again when there is use for it.
  var hasWantedUnread: Bool {
    guard stream.hasUnread else { return false }
    return switch phase {
    case .waiting: output.isEmpty
    case .answering: driver?.wantsContent == true
    case .securing, .lingering, .closed: false
    }
  }
}
