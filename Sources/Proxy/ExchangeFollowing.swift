// An exchange whose answer is a redirect gives way to another one, for the place the redirect names, and its consumer
// hears nothing but the new exchange. What comes with the redirect in one piece is taken, so that its connection may be
// kept; for more than that it is not worth waiting.

import HTTP
import Telemetry

extension Exchange {
  /// Whether this head is one to be followed, and not the answer.
  func isFollowed(_ head: ResponseHead) -> Bool {
    request.redirects != nil && RedirectChain.concerns(head.status) && ownStep(of: head) == nil
  }

  /// A redirect that the client has to follow itself: what its Location says, as it holds for every way in.
  func ownStep(of head: ResponseHead) -> [UInt8]? {
    request.redirects?.ownStep(of: head.status, head.fields)
  }

  /// Where redirects have led, if any were followed.
  var followed: RedirectChain? { request.redirects.flatMap { $0.hops > 0 ? $0 : nil } }

  /// Goes on where a redirect leads.
  func follow(_ head: ResponseHead) {
    guard let consumer, var chain = request.redirects else { return }
    do throws(ProxyError) {
      try chain.follow(
        head.status, head.fields, by: worker.settings.destinations,
        targets: worker.store.targets, now: loop.wallSeconds)
    } catch {
      worker.metrics.add(.upstreamRedirects, .failed)
      fail(error)
      return
    }
    worker.metrics.add(.upstreamRedirects, .succeeded)
    let next = Exchange(
      worker: worker, request: Forwarding.redirected(request, along: chain), consumer: consumer)
    self.consumer = nil
    consumer.exchangeGoesOn(self, as: next)
    // By then this one's connection is free, if all of the redirect is here.
    loop.afterTurn { [self] in
      cancel()
      next.start()
    }
  }

  /// An address that is refused is the origin's doing if its redirect led there.
  func refused(_ error: ProxyError) -> ProxyError {
    guard let chain = request.redirects, chain.hops > 0 else { return error }
    return error.behindRedirect(of: chain.asked.authority.description)
  }
}
