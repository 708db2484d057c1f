// Redirects that end here: where a request of a mirror goes on to, hop by hop, until something is no redirect any more.
// Clients of a mirror often have no other way out, and what they would fetch past it would not be stored.
//
//   asked ─▶ 302 ─▶ judged (Location, loop, scheme, destination) ─▶ asked there ─▶ … ─▶ the answer
//                        └─ 502 that says what is wrong
//
// A value that decides; `Exchange.follow` does. The answer is stored under the URL that was asked for. Where a hop led
// is in no key, in no answer, and in no message beyond its host: signed targets are as good as passwords.

import Caching
import Configuration
import HTTP
import Platform

struct RedirectChain {
  /// More hops than this lead nowhere. Browsers allow 20, curl 50; registries take one or two.
  static let limit = 10
  /// Bytes of a Location; signed ones have one or two thousand.
  private static let longestLocation = 16 << 10

  /// What the client asked for.
  let asked: TargetURI
  /// The operator named the origin of `asked`, and no other.
  private let isConfigured: Bool
  /// Of that origin, what the operator's credential is for; nil without one.
  private let scope: CredentialScope?
  /// Where the request goes now.
  private(set) var target: TargetURI
  private(set) var hops = 0
  /// It has left the origin that was asked for, or what of it the operator's credential is for, and whatever was meant for that one stays behind for good.
  private(set) var hasCrossed = false
  /// Fields of the request but for Host.
  private(set) var fields: FieldSection
  /// Every request made so far: target as it was sent, and whether it had what a crossing takes away.
  private var visited: Set<[UInt8]>
  /// What the redirects vary on: part of what chose the answer.
  private var varying: [[UInt8]] = []
  /// What they say about keeping it.
  private(set) var terms = RedirectTerms()

  init(
    _ target: TargetURI, isConfigured: Bool, fields: FieldSection, scope: CredentialScope? = nil
  ) {
    asked = target
    self.scope = scope
    self.target = target
    self.isConfigured = isConfigured
    self.fields = fields
    visited = [Self.place(target, hasCrossed: false)]
  }

  /// Whether an answer is one to be followed. Not 300 and 304, which name no one place, nor 305 and 306, which are
  /// out of use.
  static func concerns(_ status: Status) -> Bool {
    switch status.rawValue {
    case 301, 302, 303, 307, 308: true
    default: false
    }
  }

  /// Where the next request goes, and on whose word.
  var origin: Origin {
    Origin(
      isSecure: target.scheme == .https, host: target.authority.bareHost, port: target.port,
      isConfigured: isConfigured && target.keyPrefix == asked.keyPrefix)
  }

  /// It is where it began, but perhaps for what is behind the `?`.
  var isWhereAsked: Bool {
    target.keyPrefix == asked.keyPrefix
      && target.pathAndQuery.prefix { $0 != 0x3F } == asked.pathAndQuery.prefix { $0 != 0x3F }
  }

  /// Where the client has to go by itself, relative to what it asked for: to the same place with a slash behind it. If
  /// that were answered in its place, the relative links of a listing would lead a directory too high (RFC 3986 §5.1.3).
  func ownStep(of status: Status, _ answer: FieldSection) -> [UInt8]? {
    guard hops == 0, Self.concerns(status) else { return nil }
    return Self.target(of: answer, from: asked).flatMap { asked.reference(toDirectory: $0) }
  }

  // MARK: Following

  /// Goes where a redirect leads.
  /// - Parameters:
  ///   - status, answer: of the redirect.
  ///   - destinations: where the proxy may go. The operator's word for a mirror covers its own origin only.
  ///   - targets: the fields that speak to this cache before Cache-Control does.
  ///   - now: in Unix seconds.
  /// - Throws: why it is not followed.
  mutating func follow(
    _ status: Status, _ answer: FieldSection, by destinations: Destinations,
    targets: TargetedFields = .standard, now: Int64
  ) throws(ProxyError) {
    let here = target.authority.description
    guard hops < Self.limit else { throw .tooManyRedirects(asked.authority.description) }
    guard let next = Self.target(of: answer, from: target) else {
      throw .unusableLocation(here, status)
    }
    guard target.scheme == .http || next.scheme == .https || asked.scheme == .http else {
      throw .redirectInClear(here, to: next)
    }
    let crosses = next.keyPrefix != target.keyPrefix
    let isOwn = isConfigured && next.keyPrefix == asked.keyPrefix
    if !isOwn {
      let host = next.authority.bareHost
      guard destinations.allows(host: host) else {
        throw .deniedHost(next.host).behindRedirect(of: here)
      }
      guard destinations.allows(unresolved: host) else {
        throw .prohibited(next.host, IPAddress(host).map { [$0] }).behindRedirect(of: here)
      }
    }
    if crosses || scope?.contains(next) == false { leaveOrigin() }
    target = next
    hops += 1
    guard visited.insert(Self.place(next, hasCrossed: hasCrossed)).inserted else {
      throw .redirectLoop(here)
    }
    varying += answer.all(.vary).map { Array($0) }
    terms.add(status, answer, targets: targets, now: now)
  }

  /// The target of a redirect; nil if there is none that can be used. Its fragment is the client's business.
  static func target(of answer: FieldSection, from base: TargetURI) -> TargetURI? {
    guard let location = answer.only(.location), !location.isEmpty,
      location.count <= longestLocation
    else { return nil }
    // Spaces and letters beyond ASCII are sent as they are by many; what is meant is plain.
    var reference: [UInt8] = []
    reference.reserveCapacity(location.count)
    for byte in location {
      if byte == 0x20 || byte >= 0x80 {
        let digits = Array("0123456789ABCDEF".utf8)
        reference += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      } else {
        reference.append(byte)
      }
    }
    return Invalidation.resolve(reference, against: base)
  }

  /// What speaks of who asks goes no further than the origin it was sent to.
  private mutating func leaveOrigin() {
    hasCrossed = true
    fields.removeAll { known, name, _ in
      known == .authorization || known == .proxyAuthorization
        || UnkeyedFields.isCredential(known, name) || UnkeyedFields.isLeftBehind(known, name)
    }
  }

  private static func place(_ target: TargetURI, hasCrossed: Bool) -> [UInt8] {
    [hasCrossed ? 1 : 0] + target.keyPrefix + target.pathAndQuery
  }

  // MARK: The answer

  /// Makes the answer at the end one to what was asked: without a word of where it came from, and with what chose the
  /// way there among what it varies on.
  func tidy(_ answer: inout FieldSection) {
    guard hops > 0 else { return }
    answer.remove(.location)
    answer.remove(.contentLocation)
    // A cookie of another origin is not for whoever talks to this one; nor is its word about its own host.
    if hasCrossed {
      answer.remove(.setCookie)
      answer.remove(named: "Strict-Transport-Security")
      answer.remove(named: "Alt-Svc")
    }
    for names in varying { answer.append(.vary, names) }
    terms.tidy(&answer)
  }
}

extension TargetURI {
  /// The place of the same name with a slash behind it, relative to this one; nil if `next` is any other. It means the
  /// same whichever way a client came by.
  func reference(toDirectory next: TargetURI) -> [UInt8]? {
    let path = pathAndQuery.prefix { $0 != 0x3F }
    let nextPath = next.pathAndQuery.prefix { $0 != 0x3F }
    let query = next.pathAndQuery[nextPath.count...]
    guard next.keyPrefix == keyPrefix, nextPath.elementsEqual(path + [0x2F]),
      query.isEmpty || query == pathAndQuery[path.count...],
      let slash = path.lastIndex(of: 0x2F)
    else { return nil }
    // With a dot in front, no colon makes a scheme of it (RFC 3986 §4.2), and no slash a host.
    return Array("./".utf8) + nextPath[(slash + 1)...] + query
  }
}
