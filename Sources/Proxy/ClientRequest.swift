// A request as the slow paths keep it: owned, routed, with everything decided that its head decides. A hit
// from memory never makes one.

import Caching
import HTTP
import Mirrors
import Storage

struct ClientRequest {
  var method: Method
  /// The method as it was written; only for methods without a name here.
  var methodName: [UInt8]
  var version: Version
  /// Everything the client sent, connection fields included.
  var fields: FieldSection
  var framing: MessageFraming
  var route: Route
  var directives: RequestDirectives
  /// Of the target URI, hashed.
  var key: CacheKey
  /// What the origin is shown, in place of what the client sent.
  var credential: ShownCredential?
  /// What is known of what was asked for, beyond what its origin says.
  var resource = ResourceRules.Classification()
  /// How the links of the answer are written, if it has any that are to be written anew.
  var links: MirrorLinks? = nil
  /// Some of its fields stay behind when the store is filled.
  var leavesFieldsBehind = false
  /// The operator wants no request to leave this machine.
  var isOffline = false
  /// The client wants to go on using the connection (RFC 9112 §9.3).
  var keepsAlive: Bool
  /// Other protocols the client would like to go on with (ProtocolUpgrade.swift).
  var upgrade: [UInt8]? = nil
  /// OPTIONS about the origin as a whole: its target is `*` (RFC 9112 §3.2.4).
  var asksForServer = false

  var target: TargetURI { route.target }

  var policy: ResourcePolicy { resource.terms.policy }

  /// The freshness of a stored response within the limits known for what was asked for.
  func limit(_ response: StoredResponse) -> Freshness { resource.terms.limit(response.freshness) }

  /// What the client demands of a stored response. Habitual demands to ask again are not met more often than it
  /// makes sense.
  func demands(on response: StoredResponse, now: Int64) -> RequestDirectives {
    let rest = resource.terms.restTime
    let resident = DeltaSeconds.difference(now, response.responseTime)
    guard rest > 0, resident >= 0, resident < rest else { return directives }
    return leniently
  }

  /// The same where the origin was asked, and failed.
  var demandsAfterFailure: RequestDirectives {
    resource.terms.restTime > 0 ? leniently : directives
  }

  private var leniently: RequestDirectives {
    var lenient = directives
    lenient.noCache = false
    lenient.maxAge = nil
    return lenient
  }

  var hasContent: Bool { framing != .none && framing != .length(0) }

  var origin: Origin {
    Origin(
      isSecure: target.scheme == .https, host: target.authority.bareHost, port: target.port,
      isConfigured: route.isConfigured)
  }

  var traits: RequestTraits {
    let isRetrieval = (method == .get || method == .head) && !hasContent
    let isOwn = UnkeyedFields.areInside(fields)
    let mayCollapse = !fields.contains(.authorization)
    return RequestTraits(
      isCacheable: isRetrieval && policy.kind != .passed && upgrade == nil,
      // What is said of a page that is written anew takes all of it.
      mayFill: isRetrieval && (method == .get || links != nil) && !directives.noStore
        && !isOwn,
      mayCollapse: mayCollapse,
      onlyIfCached: directives.onlyIfCached, isOffline: isOffline,
      asksForLess: fields.contains(.range)
        || !fields.names.isDisjoint(with: Preconditions.conditions),
      leavesFieldsBehind: leavesFieldsBehind,
      asksForAll: mayCollapse && !isOwn && !leavesFieldsBehind, isRewritten: links != nil)
  }

  /// The client will make something of trailers (RFC 9110 §6.5.1).
  var acceptsTrailers: Bool {
    fields.all(.te).contains { value in
      var at = value.startIndex
      while let element = fields.bytes.span.nextListElement(from: &at, to: value.endIndex) {
        if fields.bytes[element].span.equalsToken("trailers") { return true }
      }
      return false
    }
  }

  /// The method's bytes, whatever it is.
  var methodBytes: [UInt8] {
    method == .other ? methodName : method.spelling.withUTF8Buffer { Array($0) }
  }
}
