// The table: what the shape of a path says about a resource, whichever host it is on and whichever way a request
// for it came in. A company's own repository is laid out like the public one, so no host is named here.
//
// Only what can be said from the path alone, and without harm if a path merely looks like it. What a path alone does
// not say safely, a mirror says whose ecosystem is configured: its rows hold below that mirror's URL only.
//
// Asked for each request, so the patterns are compiled once, into flat arrays of trivial values, and a path is held
// only against those that can end in its last byte. Nothing is allocated.
//
// A pattern stands for the end of a path, from a slash on:
//   *          a part of a segment, one byte at least      **         any number of whole segments
//   {word}     the same, without an underscore             {version}  a word with a digit in it
//   {hex:N}    N hexadecimal digits                         {sha256}   64 of them: the digest of the content

import HTTP

public enum PathRules {
  struct Row: Sendable {
    var pattern: String
    var kind: ResourceKind
    /// Holds for all that lies below a mirror of this ecosystem, where the pattern is all of the path.
    var below: Ecosystem?

    init(_ pattern: String, _ kind: ResourceKind, below: Ecosystem? = nil) {
      self.pattern = pattern
      self.kind = kind
      self.below = below
    }
  }

  /// The first row that fits decides.
  static let table: [Row] = [
    // Debian. By-hash comes before the names that stand for what changes.
    Row("/by-hash/SHA256/{sha256}", .debianByHash),
    Row("/by-hash/SHA512/{hex:128}", .debianByHash),
    Row("/by-hash/SHA1/{hex:40}", .debianByHash),
    Row("/by-hash/MD5Sum/{hex:32}", .debianByHash),
    // What is called tool_current_amd64.deb is replaced in place: there is a digit in a version.
    Row("/{word}_{version}_{word}.deb", .debianPackage),
    Row("/{word}_{version}_{word}.udeb", .debianPackage),
    Row("/{word}_{version}_{word}.ddeb", .debianPackage),
    Row("/pool/**/{word}_{version}.dsc", .debianSource),
    Row("/pool/**/{word}_{version}.tar.gz", .debianSource),
    Row("/pool/**/{word}_{version}.tar.xz", .debianSource),
    Row("/pool/**/{word}_{version}.tar.bz2", .debianSource),
    Row("/pool/**/{word}_{version}.diff.gz", .debianSource),
    Row("/dists/**/InRelease", .debianRelease),
    Row("/dists/**/Release", .debianRelease),
    Row("/dists/**/Release.gpg", .debianIndex),
    Row("/dists/**/Packages", .debianIndex),
    Row("/dists/**/Packages.*", .debianIndex),
    Row("/dists/**/Sources", .debianIndex),
    Row("/dists/**/Sources.*", .debianIndex),
    Row("/dists/**/Translation-*", .debianIndex),
    Row("/dists/**/Contents-*", .debianIndex),
    Row("/dists/**/dep11/*", .debianIndex),
    Row("/dists/**/*.diff/Index", .debianIndex),

    // PyPI. The directory of a file is the hash of its content, though of another kind than indexes tell.
    Row("/packages/{hex:2}/{hex:2}/{hex:60}/*", .pypiFile),
    Row("/simple/", .pypiIndex),
    Row("/simple/*/", .pypiIndex),
    Row("/pypi/*/json", .pypiProject),
    Row("/pypi/*/*/json", .pypiProject),
    Row("/", .pypiIndex, below: .pypi),
    Row("/*/", .pypiIndex, below: .pypi),
    Row("/**/*.whl", .pypiFile, below: .pypi),
    Row("/**/*.whl.metadata", .pypiFile, below: .pypi),
    Row("/**/*-*.tar.gz", .pypiFile, below: .pypi),
    Row("/**/*-*.tar.gz.metadata", .pypiFile, below: .pypi),
    Row("/**/*-*.zip", .pypiFile, below: .pypi),
  ]

  /// What a table says about a key.
  public struct Match: Sendable, BitwiseCopyable {
    public var kind: ResourceKind
    /// Where the key has the SHA-256 of the content, as hexadecimal digits; empty if nowhere.
    public var digest: Range<Int> { digestStart..<digestStart &+ digestCount }
    var digestStart = 0
    var digestCount = 0
  }

  /// The mirror that a request came by, as far as it says more than the path.
  public struct Below: Sendable {
    public var ecosystem: Ecosystem
    /// The length of the mirror's URL as a key, with its last slash.
    public var baseCount: Int

    public init(_ ecosystem: Ecosystem, baseCount: Int) {
      self.ecosystem = ecosystem
      self.baseCount = baseCount
    }
  }

  /// What a target URI's key names; nil for all that nothing is known about, and for whatever has a query, which
  /// may make anything of a path.
  public static func match(_ key: borrowing Span<UInt8>, below mirror: Below? = nil) -> Match? {
    compiled.match(key, below: mirror)
  }

  /// Whether a path may name a page whose links are written anew for clients of mirrors. A look at a few bytes, for
  /// the short way of a hit; says true too often rather than too rarely.
  @inlinable
  public static func mayHaveLinks(_ key: borrowing Span<UInt8>) -> Bool {
    let count = key.count
    guard count > 5 else { return true }
    return key[count &- 1] == 0x2F || key.extracting(count &- 5..<count).equals("/json")
  }

  /// Whether the lifetime of what a path names may be limited here: by its last byte, as above.
  @inlinable
  public static func mayBeLimited(_ key: borrowing Span<UInt8>) -> Bool {
    switch key[key.count &- 1] {
    case 0x2F, 0x6E, 0x65: true  // …/, /json, Release
    default: false
    }
  }

  /// Whether a stored answer may be of use only together with another one. Nearly always told by one letter.
  @inlinable
  public static func belongsToGroup(_ key: borrowing Span<UInt8>) -> Bool {
    var at = key.count
    // An index by its name: its last segment begins with one of a few letters.
    while at > 0, key[at &- 1] != 0x2F { at &-= 1 }
    guard at < key.count else { return false }
    switch key[at] {
    case 0x43, 0x49, 0x50, 0x52, 0x53, 0x54, 0x69: break  // C I P R S T i
    default: return false
    }
    return match(key)?.kind == .debianIndex
  }

  private static let compiled = CompiledPaths(table)
}

/// The patterns of a table, ready to be compared.
struct CompiledPaths: Sendable {
  private enum Element: BitwiseCopyable {
    case literal(start: Int, count: Int)
    case any
    case word
    case version
    case hex(Int)
    case digest
  }

  /// A segment: its elements, or any number of segments.
  private struct Segment: BitwiseCopyable {
    var first: Int
    var end: Int
    var isDeep = false
  }

  private struct Rule: BitwiseCopyable {
    var kind: ResourceKind
    var below: Ecosystem?
    var first: Int
    var end: Int
  }

  private var rules: [Rule] = []
  private var segments: [Segment] = []
  private var elements: [Element] = []
  private var literals: [UInt8] = []
  /// For each byte the rules whose paths can end in it, a bit each.
  private var byLastByte = [UInt64](repeating: 0, count: 256)

  init(_ rows: [PathRules.Row]) {
    precondition(rows.count <= 64, "a rule is a bit")
    for row in rows { add(row) }
  }

  // MARK: Compiling

  private mutating func add(_ row: PathRules.Row) {
    let pattern = Array(row.pattern.utf8)
    let first = segments.count
    for segment in pattern.dropFirst().split(separator: 0x2F, omittingEmptySubsequences: false) {
      let start = elements.count
      let isDeep = segment.elementsEqual("**".utf8)
      if !isDeep { compile(segment) }
      segments.append(Segment(first: start, end: elements.count, isDeep: isDeep))
    }
    let bit = UInt64(1) << UInt64(rules.count)
    for byte in 0..<256 where mayEnd(in: UInt8(byte)) { byLastByte[byte] |= bit }
    rules.append(Rule(kind: row.kind, below: row.below, first: first, end: segments.count))
  }

  private mutating func compile(_ segment: ArraySlice<UInt8>) {
    var rest = segment
    while let byte = rest.first {
      if byte == 0x2A {
        elements.append(.any)
        rest = rest.dropFirst()
      } else if byte == 0x7B, let close = rest.firstIndex(of: 0x7D) {
        let name = String(decoding: rest[rest.startIndex + 1..<close], as: UTF8.self)
        switch name {
        case "word": elements.append(.word)
        case "version": elements.append(.version)
        case "sha256": elements.append(.digest)
        default: elements.append(.hex(Int(name.drop { $0 != ":" }.dropFirst()) ?? 0))
        }
        rest = rest[(close + 1)...]
      } else {
        let literal = rest.prefix { $0 != 0x2A && $0 != 0x7B }
        elements.append(.literal(start: literals.count, count: literal.count))
        literals += literal
        rest = rest.dropFirst(literal.count)
      }
    }
  }

  /// Whether a path that fits the segments added last can end in this byte.
  private func mayEnd(in byte: UInt8) -> Bool {
    guard let last = segments.last, !last.isDeep else { return true }
    guard last.end > last.first else { return byte == 0x2F }
    switch elements[last.end - 1] {
    case .literal(let start, let count): return literals[start + count - 1] == byte
    case .hex, .digest: return byte.hexadecimalValue != nil
    case .any, .word, .version: return byte != 0x2F
    }
  }

  // MARK: Matching

  func match(_ key: borrowing Span<UInt8>, below mirror: PathRules.Below?) -> PathRules.Match? {
    guard key.count > 0 else { return nil }
    var candidates = byLastByte[Int(key[key.count - 1])]
    guard candidates != 0 else { return nil }
    // The path begins with the third slash.
    var start = 0
    var slashes = 0
    while start < key.count {
      if key[start] == 0x2F {
        slashes += 1
        if slashes == 3 { break }
      }
      start += 1
    }
    guard slashes == 3 else { return nil }
    var at = start
    while at < key.count {
      if key[at] == 0x3F { return nil }
      at += 1
    }
    while candidates != 0 {
      let index = candidates.trailingZeroBitCount
      candidates &= candidates &- 1
      let rule = rules[index]
      var from = start
      if let below = rule.below {
        guard let mirror, mirror.ecosystem == below, mirror.baseCount > start,
          mirror.baseCount <= key.count
        else { continue }
        // Its last slash is the first of what is below it.
        from = mirror.baseCount - 1
      }
      var digest = 0
      if fits(rule.first, rule.end, key, from, key.count, isAll: rule.below != nil, &digest) {
        return PathRules.Match(
          kind: rule.kind, digestStart: digest, digestCount: digest > 0 ? 64 : 0)
      }
    }
    return nil
  }

  /// Holds segments of a pattern, the last one first, against the end of a path.
  /// - Parameters:
  ///   - start: of the path: its first slash.
  ///   - end: of what is left of it.
  ///   - isAll: nothing may be left in front.
  private func fits(
    _ first: Int, _ last: Int, _ key: borrowing Span<UInt8>, _ start: Int, _ end: Int, isAll: Bool,
    _ digest: inout Int
  ) -> Bool {
    var segment = last
    var end = end
    while segment > first {
      segment -= 1
      if segments[segment].isDeep {
        while true {
          if fits(first, segment, key, start, end, isAll: isAll, &digest) { return true }
          guard let slash = slash(before: end, key, start) else { return false }
          end = slash
        }
      }
      guard let slash = slash(before: end, key, start) else { return false }
      guard
        fits(
          segments[segment].first, segments[segment].end, key, slash + 1, end, digest: &digest)
      else { return false }
      end = slash
    }
    return !isAll || end == start
  }

  /// The slash in front of the segment that ends at `end`.
  private func slash(before end: Int, _ key: borrowing Span<UInt8>, _ start: Int) -> Int? {
    var at = end - 1
    while at >= start {
      if key[at] == 0x2F { return at }
      at -= 1
    }
    return nil
  }

  /// Holds the elements of one segment against bytes without a slash.
  private func fits(
    _ first: Int, _ last: Int, _ key: borrowing Span<UInt8>, _ start: Int, _ end: Int,
    digest: inout Int
  ) -> Bool {
    // No file has a longer name, and runs are tried at every length.
    guard end - start <= 255 else { return false }
    var at = start
    var element = first
    while element < last {
      switch elements[element] {
      case .literal(let literal, let count):
        guard end - at >= count else { return false }
        for index in 0..<count where key[at + index] != literals[literal + index] { return false }
        at += count
      case .hex(let count):
        guard end - at >= count else { return false }
        for index in at..<at + count where key[index].hexadecimalValue == nil { return false }
        at += count
      case .digest:
        guard end - at >= 64 else { return false }
        for index in at..<at + 64 where key[index].hexadecimalValue == nil { return false }
        digest = at
        at += 64
      case .any, .word, .version:
        return fitsRun(element, last, key, at, end, digest: &digest)
      }
      element += 1
    }
    return at == end
  }

  /// A run of bytes, the longest first, and what follows it.
  private func fitsRun(
    _ element: Int, _ last: Int, _ key: borrowing Span<UInt8>, _ start: Int, _ end: Int,
    digest: inout Int
  ) -> Bool {
    var isAny = false
    var needsDigit = false
    switch elements[element] {
    case .any: isAny = true
    case .version: needsDigit = true
    default: break
    }
    var longest = end
    if !isAny {
      longest = start
      while longest < end, key[longest] != 0x5F { longest += 1 }
    }
    while longest > start {
      if !needsDigit || hasDigit(key, start, longest),
        fits(element + 1, last, key, longest, end, digest: &digest)
      {
        return true
      }
      longest -= 1
    }
    return false
  }

  private func hasDigit(_ key: borrowing Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    for index in start..<end where key[index].isDigit { return true }
    return false
  }
}
