// Patterns for target URIs, as an operator writes them: `host/path` with `*` for anything within a segment
// and `**` for anything at all.
//
//   registry.example.org/simple/**    all below a path, http and https
//   https://*.example.org/*.whl       one scheme, all hosts below a name, files right at the root
//   /**/maven-metadata.xml            this file on any host
//
// A pattern is matched against the key of the target, so host names are compared without case and ports
// that go without saying are left out. `*` stops at `/` and at `?`. `/**/` stands for a single slash as well: any number of
// segments, be it none.
//
// Anybody may send any target, so matching takes one step per byte whatever the pattern is: all
// positions of the pattern that could be reached are kept as bits, and each byte moves them on.

/// A pattern for target URIs.
public struct URIPattern: Sendable, Hashable {
  /// Why a text is no pattern; completes the sentence `"<text>" …`.
  public struct Problem: Error, Hashable, Sendable {
    public let message: String
  }

  /// The pattern in its normal form.
  public let text: String
  private let scheme: Scheme?
  /// Bit `i` of the row of a byte: literal `i` of the pattern is this byte.
  private let literals: [UInt64]
  /// Bit `i`: before literal `i`, or behind the last, stands `*` or `**`; any byte may be skipped there,
  /// or any but a separator.
  private let skips: [UInt64]
  private let skipsAll: [UInt64]
  /// Bit `i`: literal `i` is the slash behind `/**`, and need not be there.
  private let optional: [UInt64]
  private let literalCount: Int

  /// Longer patterns are refused.
  public static var maximumLength: Int { 255 }
  private static var words: Int { 4 }

  /// Reads a pattern.
  public init(_ text: String) throws(Problem) {
    var pattern = Array(text.utf8)
    guard !pattern.isEmpty else {
      throw Problem(message: "is empty; write host/path, like \(Self.example)")
    }
    guard pattern.count <= Self.maximumLength else {
      throw Problem(message: "is longer than \(Self.maximumLength) bytes; shorten it with **")
    }
    guard pattern.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
      throw Problem(
        message: "has a space or a special character; percent-encode it as the URL does")
    }
    guard !pattern.contains(0x23) else {
      throw Problem(message: "has a fragment (#), which no request ever has; leave it out")
    }
    var scheme: Scheme?
    if let end = text.firstRange(of: "://") {
      let name = text[..<end.lowerBound].lowercased()
      guard let known = [Scheme.http, .https].first(where: { "\($0.name)" == name }) else {
        throw Problem(
          message: "begins with a scheme that is not http or https; write one like \(Self.example)")
      }
      scheme = known
      pattern = Array(text[end.upperBound...].utf8)
    }
    try Self.normalise(&pattern, scheme)
    self.scheme = scheme
    self.text = (scheme.map { "\($0.name)://" } ?? "") + String(decoding: pattern, as: UTF8.self)
    // What begins with a path is for every host.
    if pattern.first == 0x2F { pattern.insert(0x2A, at: 0) }

    var literals = [UInt64](repeating: 0, count: 256 * Self.words)
    var skips = [UInt64](repeating: 0, count: Self.words)
    var skipsAll = skips
    var optional = skips
    var count = 0
    var at = 0
    while at < pattern.count {
      let bit: UInt64 = 1 << UInt64(count % 64)
      if pattern[at] == 0x2A {
        skips[count / 64] |= bit
        let isDeep = at + 1 < pattern.count && pattern[at + 1] == 0x2A
        let isBehindSlash = at > 0 && pattern[at - 1] == 0x2F
        if isDeep { skipsAll[count / 64] |= bit }
        while at < pattern.count, pattern[at] == 0x2A { at += 1 }
        if isDeep, isBehindSlash, at < pattern.count, pattern[at] == 0x2F {
          optional[count / 64] |= bit
          // Said twice it means the same.
          while let again = Self.deep(pattern[(at + 1)...]) { at = again }
        }
      } else {
        literals[Int(pattern[at]) * Self.words + count / 64] |= bit
        count += 1
        at += 1
      }
    }
    self.literals = literals
    self.skips = skips
    self.skipsAll = skipsAll
    self.optional = optional
    literalCount = count
  }

  /// Where the slash is behind `**`, if that is what a pattern goes on with.
  private static func deep(_ rest: ArraySlice<UInt8>) -> Int? {
    let end = rest.firstIndex { $0 != 0x2A } ?? rest.endIndex
    return end - rest.startIndex > 1 && end < rest.endIndex && rest[end] == 0x2F ? end : nil
  }

  private static var example: String { "registry.example.org/simple/**" }

  private static func normalise(_ pattern: inout [UInt8], _ scheme: Scheme?) throws(Problem) {
    let end = pattern.firstIndex(of: 0x2F) ?? pattern.endIndex
    let authority = pattern[..<end].map(\.lowercased)
    if end == pattern.endIndex, !authority.starts(with: [0x2A, 0x2A]) {
      throw Problem(
        message:
          "has no path; write \(String(decoding: authority, as: UTF8.self))/** for all of a host")
    }
    if authority.contains(0x40) {
      throw Problem(message: "has a user name; requests are matched without one")
    }
    var host = authority
    for (known, port) in [(Scheme.http, ":80"), (.https, ":443")]
    where authority.suffix(port.utf8.count).elementsEqual(port.utf8) {
      guard let scheme else {
        throw Problem(
          message:
            "names the port that goes without saying; write \(known.name):// before the host instead"
        )
      }
      if scheme == known { host.removeLast(port.utf8.count) }
    }
    pattern.replaceSubrange(..<end, with: host)
    // Keys have capital digits in what is percent-encoded.
    for index in pattern.indices where pattern[index] == 0x25 {
      for digit in pattern[(index + 1)...].indices.prefix(2)
      where pattern[digit] &- 0x61 < 6 { pattern[digit] -= 0x20 }
    }
  }

  /// Whether the pattern matches all of a key (`TargetURI.key`). Allocates nothing.
  public func matches(_ key: borrowing Span<UInt8>) -> Bool {
    var at = 0
    if key.equalsPrefix("http://") {
      guard scheme != .https else { return false }
      at = 7
    } else if key.equalsPrefix("https://") {
      guard scheme != .http else { return false }
      at = 8
    }
    var reached = InlineArray<4, UInt64>(repeating: 0)
    reached[0] = 1
    while at < key.count {
      let byte = key[at]
      let isSeparator = byte == 0x2F || byte == 0x3F
      let row = Int(byte) * Self.words
      var carry: UInt64 = 0
      var carryBeyond: UInt64 = 0
      var alive: UInt64 = 0
      for word in 0..<Self.words {
        let moved = reached[word] & literals[row + word]
        let stays = reached[word] & (isSeparator ? skipsAll[word] : skips[word])
        let next = moved &<< 1 | carry
        // From the slash in front of `**` to behind the one that follows it, in one step.
        let beyond = next & optional[word]
        reached[word] = next | beyond &<< 1 | carryBeyond | stays
        carry = moved &>> 63
        carryBeyond = beyond &>> 63
        alive |= reached[word]
      }
      if alive == 0 { return false }
      at += 1
    }
    return reached[literalCount / 64] &>> UInt64(literalCount % 64) & 1 == 1
  }

  public static func == (left: URIPattern, right: URIPattern) -> Bool { left.text == right.text }

  public func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

extension Span where Element == UInt8 {
  fileprivate func equalsPrefix(_ literal: StaticString) -> Bool {
    let length = literal.utf8CodeUnitCount
    return count >= length && extracting(0..<length).equals(literal)
  }
}
