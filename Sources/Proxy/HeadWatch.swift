// A HEAD request on its way to the origin, and the stored answer to GET that its answer speaks of
// (RFC 9111 §4.3.5). The answer is relayed to the client in any case; what it says renews the stored one, or
// makes it stale.

import Caching
import HTTP
import IO
import Platform
import Storage

final class HeadWatch {
  private let store: Store
  private let entry: StoredEntry
  private let watch: Watch
  private let sentAt: Instant

  init(store: Store, key: CacheKey, entry: StoredEntry, sentAt: Instant) {
    self.store = store
    self.entry = entry
    self.sentAt = sentAt
    watch = store.watch(key, holding: entry)
  }

  /// - Parameter chain: the redirects that led to the answer.
  func hear(
    _ head: ResponseHead, for request: ClientRequest, on loop: EventLoop, via: Via,
    along chain: RedirectChain?
  ) {
    guard entry.response.isOfSameOrigin(as: chain, asked: request.target) else { return }
    let now = loop.wallSeconds
    var fields = head.fields
    Forwarding.tidyResponse(&fields, version: head.version, via: via)
    let news = Validation.hear(
      ofHead: head.status, fields, about: entry.response, request: request.fields,
      requestTime: loop.wallSeconds(of: sentAt), responseTime: now, policy: request.policy)
    switch news {
    case .confirmed(let response):
      store.refresh(
        entry, response: response.followed(along: chain, policy: request.policy), watch: watch)
    case .superseded:
      store.refresh(entry, response: entry.response.expired(at: now), watch: watch)
    case .nothing:
      break
    }
  }
}
