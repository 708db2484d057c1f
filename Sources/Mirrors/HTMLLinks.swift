// Links in HTML: a scan of its tags, as an HTML parser would find them (comments, quotes, unquoted values, text that
// only looks like tags in scripts), which copies everything but the `href` of `a` and `base` byte for byte.
//
// `base` is written anew like a link: what is relative to it would lead past the mirror otherwise, and so would
// links that begin with a slash. A page that ends in the middle of a tag is copied to its end as it is.

import HTTP

struct HTMLLinks {
  private let content: [UInt8]
  private let links: MirrorLinks
  /// What links are relative to: the page's own URL, or what its first `base` says.
  private var base: TargetURI
  private var hasBase = false
  private var result = RewrittenDocument()
  /// Up to here everything is in the result.
  private var copied = 0

  static func rewrite(
    _ content: [UInt8], of page: TargetURI, links: MirrorLinks,
    into result: RewrittenDocument = RewrittenDocument()
  ) -> RewrittenDocument {
    var scan = HTMLLinks(content: content, links: links, base: page)
    scan.result = result
    scan.result.content.reserveCapacity(content.count + content.count / 8)
    scan.run()
    scan.result.content += content[scan.copied...]
    return scan.result
  }

  private init(content: [UInt8], links: MirrorLinks, base: TargetURI) {
    self.content = content
    self.links = links
    self.base = base
  }

  private mutating func run() {
    var at = 0
    while let open = content[at...].firstIndex(of: 0x3C) {
      at = open + 1
      guard at < content.count else { return }
      if content[at...].starts(with: [0x21, 0x2D, 0x2D]) {
        // `<!-->` and `<!--->` are comments as well.
        guard let end = endOfComment(at + 1) else { return }
        at = end
      } else if content[at] == 0x21 || content[at] == 0x3F || content[at] == 0x2F {
        guard let end = content[at...].firstIndex(of: 0x3E) else { return }
        at = end + 1
      } else if content[at].isLetter {
        guard let end = tag(at) else { return }
        at = end
      }
    }
  }

  private func endOfComment(_ start: Int) -> Int? {
    var at = start
    while let end = content[at...].firstIndex(of: 0x3E) {
      if end >= start + 2, content[end - 1] == 0x2D, content[end - 2] == 0x2D { return end + 1 }
      if end == start + 1 || end == start + 2 { return end + 1 }
      // `--!>` ends one too.
      if end >= start + 5, content[end - 1] == 0x21, content[end - 2] == 0x2D,
        content[end - 3] == 0x2D
      {
        return end + 1
      }
      at = end + 1
    }
    return nil
  }

  private enum Element {
    case link, base
    case raw(StaticString)
    case other
  }

  private func element(_ name: Range<Int>) -> Element {
    let name = content[name].span
    if name.equalsToken("a") { return .link }
    if name.equalsToken("base") { return .base }
    for raw in ["script", "style", "textarea", "title"] as [StaticString]
    where name.equalsToken(raw) {
      return .raw(raw)
    }
    return .other
  }

  /// Reads a start tag from its name on.
  /// - Returns: what comes behind it; nil if it does not end.
  private mutating func tag(_ start: Int) -> Int? {
    var at = start
    while at < content.count, !isSpace(at), content[at] != 0x2F, content[at] != 0x3E { at += 1 }
    let element = element(start..<at)
    var href: Range<Int>?
    var metadata: [ArraySlice<UInt8>] = []
    while true {
      while at < content.count, isSpace(at) || content[at] == 0x2F { at += 1 }
      guard at < content.count else { return nil }
      if content[at] == 0x3E { break }
      let nameStart = at
      // A name may begin with `=`, for whatever reason.
      at += 1
      while at < content.count, !isSpace(at), content[at] != 0x2F, content[at] != 0x3E,
        content[at] != 0x3D
      {
        at += 1
      }
      let name = content[nameStart..<at]
      while at < content.count, isSpace(at) { at += 1 }
      guard at < content.count else { return nil }
      guard content[at] == 0x3D else { continue }
      at += 1
      while at < content.count, isSpace(at) { at += 1 }
      guard at < content.count, let value = value(&at) else { return nil }
      // Of several of one name the first one counts.
      if name.span.equalsToken("href") {
        if href == nil { href = value }
      } else if name.span.equalsToken("data-core-metadata")
        || name.span.equalsToken("data-dist-info-metadata")
      {
        metadata.append(content[unquoted(value)])
      }
    }
    at += 1
    switch element {
    case .link:
      if let href { rewrite(href, isBase: false, metadata) }
    case .base:
      if let href { rewrite(href, isBase: true, []) }
    case .raw(let name):
      return endOfRaw(name, at)
    case .other: break
    }
    return at
  }

  /// The value of an attribute with its quotes, if it has any.
  private func value(_ at: inout Int) -> Range<Int>? {
    let start = at
    let quote = content[at]
    if quote == 0x22 || quote == 0x27 {
      guard let end = content[(at + 1)...].firstIndex(of: quote) else { return nil }
      at = end + 1
    } else {
      while at < content.count, !isSpace(at), content[at] != 0x3E { at += 1 }
      guard at < content.count else { return nil }
    }
    return start..<at
  }

  private func unquoted(_ value: Range<Int>) -> Range<Int> {
    guard value.count >= 2, let first = content[value].first, first == 0x22 || first == 0x27 else {
      return value
    }
    return value.lowerBound + 1..<value.upperBound - 1
  }

  /// Where the end tag of an element begins that has nothing but text in it; the end of the page without one.
  private func endOfRaw(_ name: StaticString, _ start: Int) -> Int {
    var at = start
    let count = name.utf8CodeUnitCount
    while let open = content[at...].firstIndex(of: 0x3C) {
      at = open + 1
      guard at + 1 + count <= content.count else { break }
      if content[at] == 0x2F, content[at + 1..<at + 1 + count].span.equalsToken(name) {
        return open
      }
    }
    return content.count
  }

  private mutating func rewrite(
    _ value: Range<Int>, isBase: Bool, _ metadata: [ArraySlice<UInt8>]
  ) {
    let text = content[unquoted(value)]
    guard result.hasRoom(),
      text.count <= (isBase ? LinkReference.longestBase : LinkReference.longest),
      let reference = LinkReference(CharacterReferences.decode(text), relativeTo: base)
    else { return }
    if isBase, !hasBase {
      base = reference.target
      hasBase = true
    }
    guard let link = links.link(to: reference.target) else { return }
    result.content += content[copied..<value.lowerBound]
    result.content.append(0x22)
    for byte in link + reference.fragment {
      switch byte {
      case 0x26: result.content += Array("&amp;".utf8)
      case 0x22: result.content += Array("&quot;".utf8)
      case 0x3C: result.content += Array("&lt;".utf8)
      case 0x3E: result.content += Array("&gt;".utf8)
      default: result.content.append(byte)
      }
    }
    result.content.append(0x22)
    copied = value.upperBound
    guard !isBase else { return }
    result.linkCount += 1
    result.note(reference.target, field: reference.fragment.dropFirst())
    if let field = metadata.first {
      result.note(reference.target, suffix: ".metadata", field: field)
    }
  }

  private func isSpace(_ at: Int) -> Bool {
    switch content[at] {
    case 0x09, 0x0A, 0x0C, 0x0D, 0x20: true
    default: false
    }
  }
}

/// Character references of HTML, as far as they stand in URLs: numbers, and the five that XML has too.
enum CharacterReferences {
  private static let named: [(name: [UInt8], byte: UInt8)] = [
    ("amp", 0x26), ("lt", 0x3C), ("gt", 0x3E), ("quot", 0x22), ("apos", 0x27),
  ].map { (Array($0.0.utf8), $0.1) }

  static func decode(_ text: ArraySlice<UInt8>) -> [UInt8] {
    guard text.contains(0x26) else { return Array(text) }
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    var rest = text
    while let first = rest.first {
      if first == 0x26, let (scalar, count) = reference(rest) {
        result += Array(String(Character(scalar)).utf8)
        rest = rest.dropFirst(count)
      } else {
        result.append(first)
        rest = rest.dropFirst()
      }
    }
    return result
  }

  /// The reference that a text begins with, and its length.
  private static func reference(_ text: ArraySlice<UInt8>) -> (Unicode.Scalar, Int)? {
    // As long as any that means something here.
    guard let end = text.prefix(12).firstIndex(of: 0x3B) else { return nil }
    var name = text[(text.startIndex + 1)..<end]
    let count = end + 1 - text.startIndex
    guard name.first == 0x23 else {
      guard let known = named.first(where: { name.elementsEqual($0.name) }) else { return nil }
      return (Unicode.Scalar(known.byte), count)
    }
    name = name.dropFirst()
    let isHexadecimal = name.first.map { $0 | 0x20 } == 0x78
    if isHexadecimal { name = name.dropFirst() }
    guard
      let number = UInt32(String(decoding: name, as: UTF8.self), radix: isHexadecimal ? 16 : 10),
      let scalar = Unicode.Scalar(number), number > 0
    else { return nil }
    return (scalar, count)
  }
}
