// The handshake with an https origin, or with a parent that is asked over TLS, between connecting and the first request.

import IO
import Platform
import Telemetry

extension Exchange {
  func secure(_ connection: OriginConnection) {
    do throws(ProxyError) {
      try connection.secure()
    } catch {
      connection.close()
      fail(error)
      return
    }
    state = .securing
    self.connection = connection
    connection.exchange = self
    loop.arm(self, after: worker.settings.upstream.connectTimeout)
    shakeHands()
  }

  /// Goes on with it as far as it goes.
  func shakeHands() {
    guard let connection else { return }
    switch connection.handshake() {
    case .done:
      loop.disarm(self)
      send(on: connection)
      // What came behind the handshake: tickets, or an end.
      if self.connection === connection, connection.hasUnread { loop.afterTurn(connection) }
    case .wantsRead:
      loop.setInterest(connection, .read)
    case .wantsWrite:
      loop.setInterest(connection, .write)
    case .failed(let failure):
      worker.metrics.add(.upstreamConnectFailures, .tls)
      fail(.tls(carrier.name, failure))
    }
  }

  func handshakeTimedOut() {
    worker.metrics.add(.timeouts, .connect)
    worker.metrics.add(.upstreamConnectFailures, .tls)
    fail(.handshakeTimedOut(carrier.name, worker.settings.upstream.connectTimeout))
  }
}
