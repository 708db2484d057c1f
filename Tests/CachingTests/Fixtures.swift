// The moment at which all tests happen, and short ways to say what was asked and answered.

import HTTP
import Testing

@testable import Caching

/// 2026-03-02T10:11:12Z, when every response here arrives.
let arrival: Int64 = 1_772_446_272

/// A date in a field, so many seconds after the arrival.
func date(_ offset: Int64) -> String {
  String(decoding: HTTPDate.bytes(arrival + offset), as: UTF8.self)
}

/// A response as it would be stored, whether it may be or not.
func stored(
  _ fields: FieldSection, status: Status = .ok, for request: FieldSection = [:],
  delay: Int64 = 0, at time: Int64 = arrival
) -> StoredResponse {
  StoredResponse(
    status: status, fields: fields, requestTime: time - delay, responseTime: time,
    variance: Variance(response: fields, request: request))
}

/// The name of the rule that forbids storing, or `storable`.
func storability(
  _ fields: FieldSection, status: Status = .ok, method: HTTP.Method = .get,
  for request: FieldSection = [:], policy: ResourcePolicy = .standard
) -> String {
  switch Storability.decide(
    method: method, request: request, status: status, fields: fields, requestTime: arrival,
    responseTime: arrival, policy: policy)
  {
  case .storable: "storable"
  case .not(let reason): "\(reason.rule)"
  }
}

/// What becomes of a request so many seconds after the arrival.
func reuse(
  _ response: FieldSection, after seconds: Int64, request: FieldSection = [:],
  policy: ResourcePolicy = .standard
) -> Reuse {
  Reuse.decide(
    stored(response).freshness, RequestDirectives(request), now: arrival + seconds, policy: policy)
}

extension FieldSection {
  /// A section of one Cache-Control field.
  static func cacheControl(_ value: String) -> FieldSection { ["Cache-Control": value] }
}
