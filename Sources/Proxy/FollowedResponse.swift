// Answers that came by a redirect from another origin than the one they are stored under. They are for clients of
// mirrors, which asked this proxy to follow; a forward proxy's client gets the redirect itself, or an open redirect
// would let one site's content pass as another's. So they bear a mark, as if they varied on a field that no request can
// have: the mark is written down with them, keeps them off the short way (HitPath.swift), and is shown to nobody.

import Caching
import HTTP

extension Variance {
  /// No name of a field: a colon ends one.
  private static let mark = Array(":followed".utf8)

  /// Of an answer that a redirect brought from another origin.
  var isFollowed: Bool { selectors.contains { $0.name == Self.mark } }

  /// Without the mark: what requests are compared with.
  var ofRequests: Variance {
    guard isFollowed else { return self }
    return Variance(
      selectors: selectors.filter { $0.name != Self.mark }, matchesNothing: matchesNothing)
  }

  func marked(_ isFollowed: Bool) -> Variance {
    guard isFollowed != self.isFollowed else { return self }
    guard isFollowed else { return ofRequests }
    return Variance(
      selectors: [Selector(name: Self.mark, value: nil)] + selectors,
      matchesNothing: matchesNothing)
  }
}

extension StoredResponse {
  var isFollowed: Bool { variance.isFollowed }

  /// The same response, with the mark or without it.
  func marked(_ isFollowed: Bool) -> StoredResponse {
    guard isFollowed != self.isFollowed else { return self }
    return StoredResponse(
      status: status, fields: fields, requestTime: requestTime, responseTime: responseTime,
      variance: variance.marked(isFollowed), targets: targets)
  }
}

extension ClientRequest {
  /// Redirects end here: a mirror's clients are not led past it.
  var followsRedirects: Bool {
    (route.way == .mirror || route.way == .prefix) && (method == .get || method == .head)
      && !hasContent
  }

  /// Whether a stored answer is for clients that came this way.
  func accepts(_ response: StoredResponse) -> Bool {
    followsRedirects ? !RedirectChain.concerns(response.status) : !response.isFollowed
  }
}
