// What redirects have to say about keeping the answer they lead to. It is stored under the URL that was asked for, so
// each of them is a part of it, and the strictest part decides:
//
//   no-store, private                       the answer is neither
//   max-age, s-maxage, Expires, no-cache    the answer is fresh no longer than that
//   nothing, 301 and 308                    no limit: they are about the place, for good (RFC 9110 §15.4.2, §15.4.9)
//   nothing, 302, 303 and 307               ten minutes, as for an index
//
// The last line is a choice. RFC 9111 §4.2.2 lets nobody guess how long such a redirect holds, and RFC 9110 §15.4.3 and
// §15.4.8 have clients ask for it each time; a mirror, which answers in the origin's place (§3.7), does for its clients
// what the standard leaves to a gateway. Registries lead to signed URLs of files that never change with a redirect
// that says nothing: a kind of file that is known not to change stays fresh for ever as it does anyway, and others
// are asked for again as soon as any pointer is.

import Caching
import HTTP
import Mirrors

struct RedirectTerms {
  /// Seconds for which a redirect holds that may change at any time and says nothing about when.
  static let temporaryLifetime = ResourceTerms.longestMetadata

  private var targets = TargetedFields.standard
  private var forbidsStoring = false
  private var isPrivate = false
  /// A stale redirect is not to be followed again without asking.
  private var forbidsStale = false
  /// Seconds that the shortest redirect has left, as it says itself.
  private var lifetime: Int64?
  private var isTemporary = false

  /// Takes in what one redirect says.
  /// - Parameters:
  ///   - targets: the fields that speak to this cache before Cache-Control does.
  ///   - now: when it came, in Unix seconds.
  mutating func add(
    _ status: Status, _ fields: FieldSection, targets: TargetedFields, now: Int64
  ) {
    self.targets = targets
    let directives = ResponseDirectives(fields, targets: targets)
    // With must-understand, no-store is for caches that do not know the status (RFC 9111 §5.2.2.3).
    if directives.flags.contains(.noStore), !directives.flags.contains(.mustUnderstand) {
      forbidsStoring = true
    }
    if directives.flags.contains(.isPrivate) { isPrivate = true }
    if directives.forbidsStale { forbidsStale = true }
    let freshness = Freshness(
      status: status, fields: fields, directives: directives,
      validators: Validators(fields, receivedAt: now), age: Freshness.receivedAge(fields),
      requestTime: now, responseTime: now)
    if freshness.flags.contains(.alwaysValidate) {
      lifetime = 0
    } else if freshness.flags.contains(.explicit) {
      lifetime = min(lifetime ?? .max, max(0, freshness.remaining(at: now)))
    } else if status.rawValue != 301, status.rawValue != 308 {
      isTemporary = true
    }
  }

  /// Has the answer say what the redirects said of who may keep it, to this cache and to those behind it.
  func tidy(_ answer: inout FieldSection) {
    guard forbidsStoring || isPrivate else { return }
    answer.removeAll { _, name, _ in targets.contains(name.map(\.lowercased)) }
    answer.set(.cacheControl, forbidsStoring ? "no-store" : "private")
  }

  /// The same response, fresh no longer than the redirects are.
  /// - Parameter policy: where it has a lifetime for what an origin says nothing of, the silence of a redirect changes
  ///   nothing.
  func limit(_ response: StoredResponse, policy: ResourcePolicy) -> StoredResponse {
    let freshness = response.freshness
    var left = lifetime ?? .max
    if isTemporary, freshness.flags.contains(.explicit) || policy.lifetime == nil {
      left = min(left, Self.temporaryLifetime)
    }
    // Freshness counts from the origin's clock on, and this from now on.
    let longest =
      left == .max ? .max : min(left &+ freshness.correctedInitialAge, DeltaSeconds.maximum)
    let tightens = forbidsStale && !freshness.flags.contains(.staleForbidden)
    guard freshness.lifetime > longest || tightens else { return response }

    var directives = response.directives
    if tightens { directives.flags.insert(.mustRevalidate) }
    if freshness.lifetime > longest {
      if let shared = directives.sMaxAge { directives.sMaxAge = min(shared, longest) }
      if directives.maxAge != nil || directives.sMaxAge == nil {
        directives.maxAge = min(directives.maxAge ?? longest, longest)
      }
      // It was granted for the time after another lifetime.
      directives.staleWhileRevalidate = nil
    }
    var fields = response.fields
    // Into the field that counts: a targeted one says nothing to browsers.
    let targeted = targets.names.first { fields.combinedValue(named: $0[...]) != nil }
    if directives.flags.contains(.targeted), let targeted {
      fields.remove(named: String(decoding: targeted, as: UTF8.self))
      fields.append(named: targeted[...], directives.serialised[...])
    } else {
      fields.set(.cacheControl, directives.serialised)
    }
    return StoredResponse(
      status: response.status, fields: fields, requestTime: response.requestTime,
      responseTime: response.responseTime, variance: response.variance, targets: response.targets)
  }
}

extension ResponseDirectives {
  /// As a field's value; what is not known here is not in it.
  fileprivate var serialised: [UInt8] {
    var all: [String] = []
    if let maxAge { all.append("max-age=\(maxAge)") }
    if let sMaxAge { all.append("s-maxage=\(sMaxAge)") }
    for (flag, name) in [
      (.isPublic, "public"), (.noCache, "no-cache"), (.mustRevalidate, "must-revalidate"),
      (.proxyRevalidate, "proxy-revalidate"), (.mustUnderstand, "must-understand"),
      (.noStore, "no-store"), (.immutable, "immutable"), (.noTransform, "no-transform"),
    ] as [(Flags, String)] where flags.contains(flag) {
      all.append(name)
    }
    if let staleWhileRevalidate { all.append("stale-while-revalidate=\(staleWhileRevalidate)") }
    if let staleIfError { all.append("stale-if-error=\(staleIfError)") }
    if !unsharedFields.isEmpty {
      let names = unsharedFields.map { String(decoding: $0, as: UTF8.self) }
      all.append("no-cache=\"\(names.joined(separator: ", "))\"")
    }
    return Array(all.joined(separator: ", ").utf8)
  }
}
