// A request head, and behind it a response head, to the rules of RFC 9111: stored or not, fresh or
// not, freshened or not. A few promises can be checked without knowing the rules: what a shared
// cache may never keep, that ages neither run backwards nor out of bounds, and that a response is an
// answer to the very request that got it.

import Caching
import HTTP

/// Feeds a request head, and what follows it as a response head.
public func fuzzCaching(_ bytes: [UInt8]) {
  var head = ParsedHead()
  guard
    case .complete(let end) = MessageParser.parseRequest(bytes.span, into: &head),
    let target = try? TargetURI.of(head, in: bytes.span)
  else { return }
  let method = head.method
  let request = FieldSection(copying: head, of: bytes.span)
  let rest = Array(bytes[end...])
  guard case .complete = MessageParser.parseResponse(rest.span, into: &head) else { return }
  var response = FieldSection(copying: head, of: rest.span)
  let status = head.status
  HopByHop.removeAll(from: &response)
  for spoilt in Invalidation.targets(
    method: method, target: target, status: status, fields: response)
  where spoilt.keyPrefix != target.keyPrefix {
    require("\(spoilt) of another origin is spoilt")
  }
  require(CachingChecks.storing(request, status, response))
}

/// Each answers nil, or says which promise was broken.
public enum CachingChecks {
  private static let now: Int64 = 1_770_000_000

  static func storing(
    _ request: FieldSection, _ status: Status, _ response: FieldSection
  ) -> String? {
    let verdict = Storability.decide(
      method: .get, request: request, status: status, fields: response, requestTime: now - 2,
      responseTime: now)
    guard case .storable(let stored) = verdict else { return nil }
    if status.rawValue < 200 || status == .notModified { return "\(status) stored" }
    for name in [FieldName.setCookie, .connection, .transferEncoding, .proxyAuthenticate]
    where stored.fields.contains(name) {
      return "the field \(name) is stored"
    }
    if !stored.variance.matches(request) { return "no answer to the request that got it" }
    if stored.variance.holdsCredentials { return "a credential is stored" }
    return times(stored, request) ?? freshening(stored, request)
  }

  static func times(_ stored: StoredResponse, _ request: FieldSection) -> String? {
    let directives = RequestDirectives(request)
    let freshness = stored.freshness
    if !(0...DeltaSeconds.maximum).contains(freshness.lifetime) { return "\(freshness.lifetime) s" }
    var before: Int64 = 0
    for later in [Int64.min, now - 100, now, now + 1, now + 86_400, Int64.max] {
      let age = freshness.currentAge(at: later)
      if age < before || age > DeltaSeconds.maximum { return "the age \(age) after \(before)" }
      before = age
      switch Reuse.decide(freshness, directives, now: later) {
      case .fresh:
        if age >= freshness.lifetime { return "fresh at \(age) of \(freshness.lifetime) s" }
        if freshness.flags.contains(.alwaysValidate) { return "no-cache is used unasked" }
      case .stale:
        if !freshness.flags.isDisjoint(with: [.alwaysValidate, .staleForbidden]) {
          return "stale though forbidden"
        }
      case .mustValidate, .notAllowed: break
      }
      _ = Reuse.afterFailure(freshness, directives, now: later, failure: .disconnected)
      _ = Preconditions.evaluate(
        request, method: .get, status: stored.status, validators: stored.validators, now: later)
    }
    return nil
  }

  static func freshening(_ stored: StoredResponse, _ request: FieldSection) -> String? {
    var conditional = request
    let hasValidators = Validation.addConditions(for: stored, to: &conditional)
    if hasValidators == stored.validators.isEmpty { return "conditions without validators" }
    switch Validation.freshen(
      stored, with: stored.fields, request: request, requestTime: now + 5, responseTime: now + 6)
    {
    case .unrelated:
      return stored.validators.isEmpty ? nil : "a response is not confirmed by itself"
    case .updated(let fresh), .unstorable(let fresh, _):
      return fresh.status == stored.status ? nil : "a 304 changed the status"
    }
  }
}
