// What an unsafe request spoils (RFC 9111 §4.4): after a successful PUT, POST, DELETE or a method
// nobody knows, what is stored for the target is no longer to be trusted, nor what is stored for
// the URIs that the response names as changed.

import HTTP

/// Invalidation after unsafe requests.
public enum Invalidation {
  /// The targets whose stored responses have to go; empty when the exchange spoils nothing.
  ///
  /// Those named by Location and Content-Location are among them only if they have the origin of
  /// the target: nobody may empty the cache of another host (§4.4).
  public static func targets(
    method: Method, target: TargetURI, status: Status, fields: FieldSection
  ) -> [TargetURI] {
    // A non-error response is one with 2xx or 3xx.
    guard !method.isSafe, status.kind == .successful || status.kind == .redirection else {
      return []
    }
    var targets = [target]
    for name in [FieldName.location, .contentLocation] {
      guard let reference = fields.only(name), let named = resolve(reference, against: target),
        named.keyPrefix == target.keyPrefix, !targets.contains(named)
      else { continue }
      targets.append(named)
    }
    return targets
  }

  /// Resolves a URI reference (RFC 3986 §5.2); nil when it is not http, https or not a URI at all.
  public static func resolve(_ reference: some Collection<UInt8>, against base: TargetURI)
    -> TargetURI?
  {
    let text = Array(reference.prefix { $0 != 0x23 })
    if hasScheme(text) { return try? TargetURI.parse(text) }
    if text.starts(with: [0x2F, 0x2F]) {
      return try? TargetURI.parse(Array("\(base.scheme.name):".utf8) + text)
    }
    // What a TargetURI is built from must be visible ASCII; parsing the whole again sees to that.
    let basePath = base.pathAndQuery.prefix { $0 != 0x3F }
    let path: [UInt8]
    switch text.first {
    case nil: path = base.pathAndQuery
    case 0x3F: path = basePath + text
    case 0x2F: path = withoutDotSegments(text)
    default:
      let parent = basePath.lastIndex(of: 0x2F).map { basePath[...$0] } ?? [0x2F]
      path = withoutDotSegments(parent + text)
    }
    return try? TargetURI.parse(base.keyPrefix + path)
  }

  private static func hasScheme(_ text: [UInt8]) -> Bool {
    guard let first = text.first, first.isLetter else { return false }
    for byte in text {
      if byte == 0x3A { return true }
      guard byte.isLetter || byte.isDigit || byte == 0x2B || byte == 0x2D || byte == 0x2E else {
        return false
      }
    }
    return false
  }

  // RFC 3986 §5.2.4, on the path only.
  private static func withoutDotSegments(_ pathAndQuery: [UInt8]) -> [UInt8] {
    let path = pathAndQuery.prefix { $0 != 0x3F }
    let query = pathAndQuery[path.endIndex...]
    var kept: [ArraySlice<UInt8>] = []
    let segments = path.dropFirst().split(separator: 0x2F, omittingEmptySubsequences: false)
    for (index, segment) in segments.enumerated() {
      let isLast = index == segments.count - 1
      if segment.elementsEqual([0x2E]) {
        if isLast { kept.append([]) }
      } else if segment.elementsEqual([0x2E, 0x2E]) {
        if !kept.isEmpty { kept.removeLast() }
        if isLast { kept.append([]) }
      } else {
        kept.append(segment)
      }
    }
    return [0x2F] + kept.joined(separator: [0x2F]) + query
  }
}
