// A host inside a path: `/NAME/+files/https/HOST[:PORT]/path`, by which the files of an index come through its mirror
// whichever host they are on, and the same for a host that is the first segment of a path.
//
// Clients differ in how they write such a path: some percent-encode the plus and the colon.

import HTTP
import Mirrors

struct FilesPath {
  var scheme: Scheme
  var authority: Range<Int>
  var path: Range<Int>

  /// Whether the path below a mirror's name is one.
  static func isMeant(by rest: Range<Int>, in bytes: borrowing Span<UInt8>) -> Bool {
    end(of: rest, in: bytes) != nil
  }

  /// Where the segment ends that says so.
  private static func end(of rest: Range<Int>, in bytes: borrowing Span<UInt8>) -> Int? {
    guard rest.count >= 7 else { return nil }
    let start = rest.lowerBound + 1
    let end: Int
    switch bytes[start] {
    case 0x2B: end = start + 6
    case 0x25: end = start + 8
    default: return nil
    }
    guard end <= rest.upperBound, end == rest.upperBound || isEnd(bytes[end]) else { return nil }
    let segment = bytes.extracting(start..<end)
    let isIt =
      segment.equals("+files") || segment.equals("%2Bfiles") || segment.equals("%2bfiles")
    return isIt ? end : nil
  }

  private static func isEnd(_ byte: UInt8) -> Bool { byte == 0x2F || byte == 0x3F }

  /// - Parameter rest: the path below a mirror's name, from its first slash on. Nil if it is none of these, or not
  ///   written plainly enough to be used as it stands.
  init?(_ rest: Range<Int>, in bytes: borrowing Span<UInt8>) {
    guard let pieces = Self.pieces(rest, in: bytes) else { return nil }
    for index in pieces.authority where bytes[index] == 0x25 { return nil }
    self = pieces
  }

  private init(scheme: Scheme, authority: Range<Int>, path: Range<Int>) {
    self.scheme = scheme
    self.authority = authority
    self.path = path
  }

  private static func pieces(_ rest: Range<Int>, in bytes: borrowing Span<UInt8>) -> FilesPath? {
    guard let segmentEnd = end(of: rest, in: bytes), segmentEnd < rest.upperBound,
      bytes[segmentEnd] == 0x2F
    else { return nil }
    var at = segmentEnd + 1
    let schemeStart = at
    while at < rest.upperBound, !isEnd(bytes[at]) { at += 1 }
    let name = bytes.extracting(schemeStart..<at)
    let scheme: Scheme
    if name.equals("https") {
      scheme = .https
    } else if name.equals("http") {
      scheme = .http
    } else {
      return nil
    }
    guard at < rest.upperBound, bytes[at] == 0x2F else { return nil }
    at += 1
    let authorityStart = at
    while at < rest.upperBound, !isEnd(bytes[at]) { at += 1 }
    guard at > authorityStart else { return nil }
    return FilesPath(
      scheme: scheme, authority: authorityStart..<at, path: at..<rest.upperBound)
  }

  /// What such a path leads to; nil if it is not complete.
  static func target(
    _ rest: Range<Int>, in bytes: borrowing Span<UInt8>
  ) throws(ProxyError) -> TargetURI? {
    guard let pieces = pieces(rest, in: bytes) else { return nil }
    return try target(pieces.scheme, pieces.authority, pieces.path, in: bytes)
  }

  /// The target of a path whose host and port are a segment of it, the colon perhaps as `%3A`.
  static func target(
    _ scheme: Scheme, _ authority: Range<Int>, _ path: Range<Int>, in bytes: borrowing Span<UInt8>
  ) throws(ProxyError) -> TargetURI {
    do {
      var isEscaped = false
      for index in authority where bytes[index] == 0x25 { isEscaped = true }
      guard isEscaped else {
        return try TargetURI.parse(scheme, authority: authority, pathAndQuery: path, in: bytes)
      }
      // Put together anew, with the colons decoded; anything else that is encoded is no host.
      var plain: [UInt8] = []
      var at = authority.lowerBound
      while at < authority.upperBound {
        if at + 2 < authority.upperBound, bytes[at] == 0x25, bytes[at + 1] == 0x33,
          bytes[at + 2] | 0x20 == 0x61
        {
          plain.append(0x3A)
          at += 3
        } else {
          plain.append(bytes[at])
          at += 1
        }
      }
      let host = 0..<plain.count
      let all = plain + bytes.copy(path)
      return try TargetURI.parse(
        scheme, authority: host, pathAndQuery: host.upperBound..<all.count, in: all.span)
    } catch {
      throw ProxyError(error)
    }
  }
}

extension Span where Element == UInt8 {
  /// Whether a host with a port has that of https, which then is its scheme.
  var isHTTPS: Bool {
    let end = extracting(max(0, count - 4)..<count)
    if count > 4, end.equals(":443") { return true }
    guard count > 6 else { return false }
    let escaped = extracting(count - 6..<count)
    return escaped.equals("%3A443") || escaped.equals("%3a443")
  }
}
