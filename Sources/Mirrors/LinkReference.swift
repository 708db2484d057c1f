// A reference as it stands in a document, made absolute (RFC 3986 §5): against the URL of the page, or the base that
// the page names. Only http and https references come out; others, and those within the page, are left alone.

import HTTP

/// Where a link of a document leads.
struct LinkReference {
  var target: TargetURI
  /// What stands behind `#`, with it; empty without one. Never sent, but Python's indexes keep digests there.
  var fragment: [UInt8]

  /// The longest link that is looked at, in bytes.
  static let longest = 4 << 10
  /// The longest base that relative links are written out with.
  static let longestBase = 2 << 10

  /// - Parameters:
  ///   - text: the reference, with the document's own escapes undone.
  ///   - base: what it is relative to.
  /// - Returns: nil for a reference within the page, of another scheme, or that nobody can follow.
  init?(_ text: [UInt8], relativeTo base: TargetURI) {
    guard text.count <= Self.longest else { return nil }
    // As the URL standard reads what people write: space around it, and line ends within, mean nothing.
    var reference = text.filter { $0 != 0x09 && $0 != 0x0A && $0 != 0x0D }[...]
    while let first = reference.first, first <= 0x20 { reference.removeFirst() }
    while let last = reference.last, last <= 0x20 { reference.removeLast() }
    let mark = reference.firstIndex(of: 0x23) ?? reference.endIndex
    fragment = Self.escaped(reference[mark...])
    reference = reference[..<mark]
    guard !reference.isEmpty, !reference.contains(0x5C) else { return nil }

    var scheme = base.scheme
    if let colon = Self.endOfScheme(reference) {
      if reference[..<colon].elementsEqual("http".utf8, by: { $0 | 0x20 == $1 }) {
        scheme = .http
      } else if reference[..<colon].elementsEqual("https".utf8, by: { $0 | 0x20 == $1 }) {
        scheme = .https
      } else {
        return nil
      }
      reference = reference[(colon + 1)...]
      // `https:path` means different things to different readers.
      guard reference.starts(with: [0x2F, 0x2F]) else { return nil }
    }
    if reference.starts(with: [0x2F, 0x2F]) {
      let rest = reference.dropFirst(2)
      let end = rest.firstIndex { $0 == 0x2F || $0 == 0x3F } ?? rest.endIndex
      let absolute =
        Array("\(scheme.name)://".utf8) + rest[..<end] + Self.normalised(Array(rest[end...]))
      guard let parsed = try? TargetURI.parse(absolute) else { return nil }
      target = parsed
      return
    }
    let basePath = base.pathAndQuery.prefix { $0 != 0x3F }
    var path: [UInt8]
    switch reference.first {
    case 0x2F: path = Array(reference)
    case 0x3F: path = Array(basePath) + reference
    default:
      let slash = basePath.lastIndex(of: 0x2F) ?? basePath.startIndex
      path = Array(basePath[..<slash]) + [0x2F] + reference
    }
    path = Self.normalised(path)
    target = base.replacingPath(with: path)
  }

  /// The colon behind a scheme (RFC 3986 §3.1).
  private static func endOfScheme(_ bytes: ArraySlice<UInt8>) -> Int? {
    guard let first = bytes.first, first.isLetter else { return nil }
    for index in bytes.indices {
      let byte = bytes[index]
      if byte == 0x3A { return index }
      guard byte.isLetter || byte.isDigit || byte == 0x2B || byte == 0x2D || byte == 0x2E else {
        return nil
      }
    }
    return nil
  }

  /// A path and query without dot segments (§5.2.4), with what no request line takes percent-encoded.
  private static func normalised(_ pathAndQuery: [UInt8]) -> [UInt8] {
    let mark = pathAndQuery.firstIndex(of: 0x3F) ?? pathAndQuery.endIndex
    var segments: [ArraySlice<UInt8>] = []
    let all = pathAndQuery[..<mark].split(separator: 0x2F, omittingEmptySubsequences: false)
    for (index, segment) in all.enumerated() {
      let isLast = index == all.count - 1
      switch Self.dots(segment) {
      case 1:
        if isLast { segments.append([]) }
      case 2:
        // The empty one in front of the first slash stays.
        if segments.count > 1 { segments.removeLast() }
        if isLast { segments.append([]) }
      default: segments.append(segment)
      }
    }
    var path = Array(segments.joined(separator: [0x2F]))
    if path.first != 0x2F { path.insert(0x2F, at: 0) }
    return escaped(path[...] + pathAndQuery[mark...])
  }

  /// How many dots a segment is made of, encoded or not; 0 if there is anything else.
  private static func dots(_ segment: ArraySlice<UInt8>) -> Int {
    var count = 0
    var rest = segment
    while let first = rest.first {
      if first == 0x2E {
        rest.removeFirst()
      } else if rest.count >= 3, rest.starts(with: [0x25, 0x32]),
        rest[rest.startIndex + 2] | 0x20 == 0x65
      {
        rest.removeFirst(3)
      } else {
        return 0
      }
      count += 1
    }
    return count <= 2 ? count : 0
  }

  /// What may not stand in a URI as it is, percent-encoded.
  private static func escaped(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    for byte in bytes {
      switch byte {
      case 0...0x20, 0x22, 0x3C, 0x3E, 0x5C, 0x5E, 0x60, 0x7B, 0x7C, 0x7D, 0x7F...0xFF:
        result.append(0x25)
        result.append("0123456789ABCDEF".utf8.byte(at: Int(byte >> 4)))
        result.append("0123456789ABCDEF".utf8.byte(at: Int(byte & 15)))
      default: result.append(byte)
      }
    }
    return result
  }
}

extension String.UTF8View {
  fileprivate func byte(at offset: Int) -> UInt8 { self[index(startIndex, offsetBy: offset)] }
}
