// A document with its links written anew, and what it says about the files they lead to.

import HTTP

/// What came of rewriting a document.
public struct RewrittenDocument: Sendable {
  public var content: [UInt8] = []
  /// Digests that the document tells, by the keys of the files' own URLs.
  public var digests: [FileDigest] = []
  public var linkCount = 0
  /// It would have become larger than it may, and ends somewhere in the middle.
  public var isTooLarge = false
  /// Bytes that may come out: short links become long ones.
  var limit = Int.max
  /// Whether what it tells of a file is of use; nil where nothing is.
  var believes: (@Sendable (TargetURI) -> Bool)?
  /// More files than any project has.
  private static let digestLimit = 100_000

  /// The SHA-256 of a file.
  public struct FileDigest: Sendable, Equatable {
    /// The key of the target URI.
    public var key: [UInt8]
    /// 64 hexadecimal digits in lower case.
    public var hex: [UInt8]

    public init(key: [UInt8], hex: [UInt8]) {
      self.key = key
      self.hex = hex
    }
  }

  mutating func note(_ target: TargetURI, suffix: String = "", _ hex: some Collection<UInt8>) {
    guard let believes, digests.count < Self.digestLimit, hex.count == 64,
      hex.allSatisfy({ $0.hexadecimalValue != nil }), believes(target)
    else { return }
    let file =
      suffix.isEmpty
      ? target : target.replacingPath(with: target.pathAndQuery + suffix.utf8)
    digests.append(FileDigest(key: file.key, hex: hex.map(\.lowercased)))
  }

  /// Whether there is room for another link.
  mutating func hasRoom() -> Bool {
    if content.count > limit { isTooLarge = true }
    return !isTooLarge
  }

  /// `sha256=HEX` at the start of a text, as it stands behind `#` and in attributes.
  mutating func note(_ target: TargetURI, suffix: String = "", field: ArraySlice<UInt8>) {
    let name = Array("sha256=".utf8)
    guard field.starts(with: name) else { return }
    note(target, suffix: suffix, field.dropFirst(name.count).prefix { $0 != 0x26 })
  }
}

/// Documents whose links can be written anew.
public enum LinkedDocument: Sendable {
  case html
  case json

  /// By the value of Content-Type; nil for what is not known to be a document of this kind of resource.
  public init?(contentType: some Collection<UInt8>, kind: ResourceKind) {
    let type = String(
      decoding: contentType.prefix { $0 != 0x3B && $0 != 0x20 }.map(\.lowercased), as: UTF8.self)
    switch (kind, type) {
    case (.pypiIndex, "text/html"), (.pypiIndex, "application/vnd.pypi.simple.v1+html"):
      self = .html
    case (.pypiIndex, "application/vnd.pypi.simple.v1+json"), (.pypiProject, "application/json"):
      self = .json
    default: return nil
    }
  }

  /// Writes the links of a document anew.
  /// - Parameters:
  ///   - page: where the document was found.
  ///   - links: how they are written.
  ///   - limit: bytes that may come of it.
  ///   - believes: whether what it tells of a file is of use; nil where nothing is.
  public func rewrite(
    _ content: [UInt8], of page: TargetURI, links: MirrorLinks, limit: Int = .max,
    believes: (@Sendable (TargetURI) -> Bool)? = nil
  ) -> RewrittenDocument {
    var result = RewrittenDocument()
    result.limit = limit
    result.believes = believes
    switch self {
    case .html: return HTMLLinks.rewrite(content, of: page, links: links, into: result)
    case .json: return JSONLinks.rewrite(content, of: page, links: links, into: result)
    }
  }
}
