// A request as the slow paths keep it: owned, routed, with everything decided that its head decides. A hit
// from memory never makes one.

import Caching
import HTTP

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
  /// What is known of what was asked for, beyond what its origin says.
  var policy: ResourcePolicy
  /// The operator wants no request to leave this machine.
  var isOffline = false
  /// The client wants to go on using the connection (RFC 9112 §9.3).
  var keepsAlive: Bool

  var target: TargetURI { route.target }

  var hasContent: Bool { framing != .none && framing != .length(0) }

  var origin: Origin {
    Origin(
      isSecure: target.scheme == .https, host: target.authority.bareHost, port: target.port,
      isConfigured: route.isConfigured)
  }

  var traits: RequestTraits {
    let isRetrieval = (method == .get || method == .head) && !hasContent
    return RequestTraits(
      isCacheable: isRetrieval && policy.kind != .passed,
      mayFill: isRetrieval && method == .get && !directives.noStore,
      mayCollapse: !fields.contains(.authorization),
      onlyIfCached: directives.onlyIfCached, isOffline: isOffline)
  }

  /// The method's bytes, whatever it is.
  var methodBytes: [UInt8] {
    method == .other ? methodName : method.spelling.withUTF8Buffer { Array($0) }
  }
}
