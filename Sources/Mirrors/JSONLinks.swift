// Links in JSON: a scan of its tokens, which copies everything but the URLs of files byte for byte. Where they stand:
//
//   the simple API, `/simple/NAME/`     files[].url
//   a project,  `/pypi/NAME/json`       urls[].url, releases.VERSION[].url
//
// What a parser would refuse is not noticed here: the client's own parser will. Nothing is built, so that depth and
// size cost nothing but the time to look at each byte.

import HTTP

struct JSONLinks {
  private let content: [UInt8]
  private let links: MirrorLinks
  private let page: TargetURI
  private var result = RewrittenDocument()
  private var copied = 0

  /// What is around the place that is read: the key under which each container lies, nil in arrays, as far down as
  /// files have anything to say.
  private var path: [Level] = []
  /// Containers below that.
  private var deeper = 0
  private static let depth = 6

  private struct Level {
    var isObject: Bool
    /// The key whose value is read, in an object.
    var key: Key = .other
    var isKeyNext: Bool
  }

  private enum Key {
    case files, urls, releases, url, hashes, digests, sha256, metadata, other
  }

  /// What an object that describes a file has said so far.
  private struct File {
    var url: LinkReference?
    var digest: ArraySlice<UInt8>?
    var metadata: ArraySlice<UInt8>?
  }
  private var file = File()

  static func rewrite(
    _ content: [UInt8], of page: TargetURI, links: MirrorLinks,
    into result: RewrittenDocument = RewrittenDocument()
  ) -> RewrittenDocument {
    var scan = JSONLinks(content: content, links: links, page: page)
    scan.result = result
    scan.result.content.reserveCapacity(content.count + content.count / 8)
    scan.run()
    scan.result.content += content[scan.copied...]
    return scan.result
  }

  private init(content: [UInt8], links: MirrorLinks, page: TargetURI) {
    self.content = content
    self.links = links
    self.page = page
  }

  private mutating func run() {
    var at = 0
    while at < content.count {
      switch content[at] {
      case 0x22:
        // A string ends at the next quote that is not escaped.
        var end = at + 1
        while end < content.count, content[end] != 0x22 {
          end += content[end] == 0x5C ? 2 : 1
        }
        guard end < content.count else { return }
        string(at + 1..<end)
        at = end
      case 0x7B: open(isObject: true)
      case 0x5B: open(isObject: false)
      case 0x7D, 0x5D: close()
      case 0x2C:
        if deeper == 0, path.last?.isObject == true { path[path.count - 1].isKeyNext = true }
      case 0x3A:
        if deeper == 0, path.last?.isObject == true { path[path.count - 1].isKeyNext = false }
      default: break
      }
      at += 1
    }
  }

  private mutating func open(isObject: Bool) {
    guard deeper == 0, path.count < Self.depth else {
      deeper += 1
      return
    }
    path.append(Level(isObject: isObject, isKeyNext: isObject))
    if isFile { file = File() }
  }

  private mutating func close() {
    if deeper > 0 {
      deeper -= 1
      return
    }
    if isFile { fileEnded() }
    if !path.isEmpty { path.removeLast() }
  }

  /// Whether the innermost container describes a file.
  private var isFile: Bool { isFile(path.count) }

  private func isFile(_ count: Int) -> Bool {
    switch count {
    case 3:
      path[0].isObject && (path[0].key == .files || path[0].key == .urls) && !path[1].isObject
        && path[2].isObject
    case 4:
      path[0].isObject && path[0].key == .releases && path[1].isObject && !path[2].isObject
        && path[3].isObject
    default: false
    }
  }

  private mutating func string(_ range: Range<Int>) {
    guard deeper == 0, let level = path.last, level.isObject else { return }
    if level.isKeyNext {
      path[path.count - 1].key = key(range)
      return
    }
    if isFile {
      if level.key == .url { rewrite(range) }
      return
    }
    // hashes.sha256 and core-metadata.sha256, one level down.
    guard level.key == .sha256, path.count >= 4, isFile(path.count - 1) else { return }
    switch path[path.count - 2].key {
    case .hashes, .digests: file.digest = content[range]
    case .metadata: file.metadata = content[range]
    default: break
    }
  }

  private func key(_ range: Range<Int>) -> Key {
    // Longer than the longest that counts, with every letter escaped.
    guard range.count <= 6 * 32 else { return .other }
    guard let text = Self.decode(content[range]) else { return .other }
    return switch String(decoding: text, as: UTF8.self) {
    case "files": .files
    case "urls": .urls
    case "releases": .releases
    case "url": .url
    case "hashes": .hashes
    case "digests": .digests
    case "sha256": .sha256
    case "core-metadata", "dist-info-metadata", "data-dist-info-metadata": .metadata
    default: .other
    }
  }

  private mutating func rewrite(_ range: Range<Int>) {
    guard result.hasRoom(), range.count <= 6 * LinkReference.longest,
      let text = Self.decode(content[range]),
      let reference = LinkReference(text, relativeTo: page),
      let link = links.link(to: reference.target)
    else { return }
    result.content += content[copied..<range.lowerBound]
    // What comes out of a reference has neither quotes nor backslashes nor controls.
    result.content += link
    result.content += reference.fragment
    copied = range.upperBound
    result.linkCount += 1
    file.url = reference
  }

  private mutating func fileEnded() {
    defer { file = File() }
    guard let url = file.url else { return }
    if let digest = file.digest {
      result.note(url.target, digest)
    } else {
      result.note(url.target, field: url.fragment.dropFirst())
    }
    if let metadata = file.metadata { result.note(url.target, suffix: ".metadata", metadata) }
  }

  /// A string's text; nil if an escape in it is none.
  static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    guard text.contains(0x5C) else { return Array(text) }
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    var at = text.startIndex
    var units: [UInt16] = []
    func flush() {
      guard !units.isEmpty else { return }
      result += Array(String(decoding: units, as: UTF16.self).utf8)
      units = []
    }
    while at < text.endIndex {
      let byte = text[at]
      at += 1
      guard byte == 0x5C else {
        flush()
        result.append(byte)
        continue
      }
      guard at < text.endIndex else { return nil }
      let escape = text[at]
      at += 1
      if escape == 0x75 {
        guard text.endIndex - at >= 4 else { return nil }
        var unit: UInt16 = 0
        for index in at..<at + 4 {
          guard let digit = text[index].hexadecimalValue else { return nil }
          unit = unit << 4 | UInt16(digit)
        }
        units.append(unit)
        at += 4
        continue
      }
      flush()
      switch escape {
      case 0x22, 0x5C, 0x2F: result.append(escape)
      case 0x62: result.append(0x08)
      case 0x66: result.append(0x0C)
      case 0x6E: result.append(0x0A)
      case 0x72: result.append(0x0D)
      case 0x74: result.append(0x09)
      default: return nil
      }
    }
    flush()
    return result
  }
}
