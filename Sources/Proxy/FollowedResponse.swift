// What is noted of an answer that redirects led to: whether another origin gave it, and where it was in the end. It is
// for clients of mirrors, which asked this proxy to follow; a forward proxy's client gets the redirect itself, or an
// open redirect would let one site's content pass as another's, and a relative link lead elsewhere than in a browser.
//
//   :followed   https://files.example.org              another origin; of what is no document nothing more is kept
//   :followed   https://index.example.org/simple/x/    another origin, and what its links are relative to
//   :moved      http://index.example.org/simple/x/     the origin that was asked, at another path
//
// The note lies with what the answer varies on (`Variance.Selector.isNote`), so that it is written down with it and
// keeps it off the short way (HitPath.swift); it is shown to nobody. Queries are left out: signatures are in them.

import Caching
import HTTP

/// Where an answer was in the end.
struct FollowedNote: Equatable {
  /// Longer paths are not kept.
  static let longestPath = 2048

  /// Redirects led past the origin that was asked.
  var hasCrossed: Bool
  /// Scheme, host and port, and the path if `hasPath`; nil where the note cannot be read.
  var end: TargetURI?
  var hasPath = false

  /// The note on an answer with these fields; nil for one that needs none.
  init?(_ chain: RedirectChain, of fields: FieldSection) {
    let path = Array(chain.target.pathAndQuery.prefix { $0 != 0x3F })
    // Only in a document there is anything that is relative to where it was.
    let isDocument = Self.isDocument(fields)
    guard chain.hasCrossed || isDocument && chain.hops > 0 && !chain.isWhereAsked else {
      return nil
    }
    hasCrossed = chain.hasCrossed
    hasPath = isDocument && path.count <= Self.longestPath
    end = chain.target.replacingPath(with: hasPath ? path : [0x2F])
  }

  private static func isDocument(_ fields: FieldSection) -> Bool {
    guard let type = fields.first(.contentType) else { return false }
    let text = String(decoding: type.map(\.lowercased), as: UTF8.self)
    return text.contains("html") || text.contains("json")
  }

  // MARK: In what an answer varies on

  private static let followed = Array(":followed".utf8)
  private static let moved = Array(":moved".utf8)

  fileprivate init?(_ variance: Variance) {
    guard let note = variance.selectors.first(where: \.isNote) else { return nil }
    // A note that is not known is of a version to come, and may say anything.
    hasCrossed = note.name != Self.moved
    guard note.name == Self.followed || note.name == Self.moved, let value = note.value,
      let place = try? TargetURI.parse(value), !place.pathAndQuery.contains(0x3F)
    else { return }
    end = place
    hasPath = value.count(where: { $0 == 0x2F }) > 2
  }

  fileprivate var selector: Variance.Selector {
    var value: [UInt8]?
    if let end {
      value = Array("\(end.scheme.name)://\(end.hostField)".utf8)
      if hasPath { value? += end.pathAndQuery }
    }
    return Variance.Selector(name: hasCrossed ? Self.followed : Self.moved, value: value)
  }
}

extension Variance {
  /// Without notes: what requests are compared with.
  var ofRequests: Variance {
    guard selectors.contains(where: \.isNote) else { return self }
    return Variance(
      selectors: selectors.filter { !$0.isNote }, matchesNothing: matchesNothing)
  }
}

extension StoredResponse {
  /// Where it was in the end, if redirects led there.
  var followed: FollowedNote? { FollowedNote(variance) }

  /// The same response as it came along these redirects: with a note of where it was, and kept no longer than they allow.
  func followed(along chain: RedirectChain?, policy: ResourcePolicy) -> StoredResponse {
    let limited = chain.map { $0.terms.limit(self, policy: policy) } ?? self
    let note = chain.flatMap { FollowedNote($0, of: fields) }
    guard note != followed else { return limited }
    let requests = limited.variance.ofRequests
    return StoredResponse(
      status: limited.status, fields: limited.fields, requestTime: limited.requestTime,
      responseTime: limited.responseTime,
      variance: Variance(
        selectors: (note.map { [$0.selector] } ?? []) + requests.selectors,
        matchesNothing: requests.matchesNothing),
      targets: limited.targets)
  }

  /// Whether what an origin says now, at the end of these redirects, is about this response: one origin knows nothing
  /// of what another one sent.
  /// - Parameter asked: what both were asked for.
  func isOfSameOrigin(as chain: RedirectChain?, asked: TargetURI) -> Bool {
    let hasCrossed = chain?.hasCrossed ?? false
    guard let note = followed else { return !hasCrossed }
    guard note.hasCrossed == hasCrossed else { return false }
    guard hasCrossed else { return true }
    return note.end.map { $0.keyPrefix == chain?.target.keyPrefix } ?? false
  }

  /// What its relative links are relative to (RFC 3986 §5.1.3: where it was in the end); nil where that is not known.
  func base(asked: TargetURI) -> TargetURI? {
    guard let note = followed else { return asked }
    return note.hasPath ? note.end : nil
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
    guard followsRedirects else { return response.followed == nil }
    guard !RedirectChain.concerns(response.status) else {
      // One that it follows itself, and that was written for all ways in.
      guard let next = RedirectChain.target(of: response.fields, from: target) else { return false }
      return response.fields.only(.location).map { Array($0) }
        == target.reference(toDirectory: next)
    }
    // A page whose links cannot be written anew is fetched again, so that they can.
    guard links != nil, response.status == .ok else { return true }
    return response.base(asked: target) != nil && PageCoding.canRead(response.fields)
  }
}
