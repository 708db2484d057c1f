// Makes of a page the one whose links lead through the mirror: reads it, has its links written anew (Mirrors), and
// gives it a head of its own. On a pool thread, whole in memory, with a bound on its size.
//
// What comes out is another representation: its entity tag is about its own bytes, and a date of modification it has
// none, because the same original is written differently when the configuration changes.

import Caching
import HTTP
import Mirrors
import Platform
import Storage

struct PageRewriter: Sendable {
  /// The largest page that is rewritten.
  static let limit: Int64 = 64 << 20
  /// The same where it may not be stored, so that it is gathered in memory for each client that asks.
  static let gatheringLimit: Int64 = 16 << 20

  let page: TargetURI
  let document: LinkedDocument
  let links: MirrorLinks
  /// Nil for pages whose word on other hosts' files counts for nothing.
  let digests: FileDigests?
  let hasher: KeyHasher

  enum Outcome {
    case page(StoredEntry)
    case tooLarge
    /// Its file does not give what it should.
    case unreadable
  }

  /// A stored page.
  func rewrite(_ source: StoredEntry) -> Outcome {
    guard source.contentLength <= Self.limit else { return .tooLarge }
    switch source.body {
    case .inline:
      return rewrite(Array(source.inlineBody), of: source.response, key: source)
    case .blob(let file):
      guard let content = Self.read(file) else { return .unreadable }
      return rewrite(content, of: source.response, key: source)
    }
  }

  private static func read(_ file: BlobFile) -> [UInt8]? {
    let count = Int(clamping: file.length)
    let content = [UInt8](unsafeUninitializedCapacity: count) { buffer, done in
      let window = UnsafeMutableRawBufferPointer(
        UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
      done = (try? File.readFully(file.descriptor, into: window, at: 0)) ?? 0
    }
    return content.count == count ? content : nil
  }

  /// A page that is not stored.
  func rewrite(_ content: [UInt8], of response: StoredResponse) -> Outcome {
    rewrite(content, of: response, key: nil)
  }

  private func rewrite(
    _ content: [UInt8], of response: StoredResponse, key source: StoredEntry?
  ) -> Outcome {
    let rewritten = document.rewrite(
      content, of: page, links: links, limit: Int(Self.limit), wantsDigests: digests != nil)
    guard !rewritten.isTooLarge else { return .tooLarge }
    if let digests {
      digests.learn(
        rewritten.digests.compactMap { file in
          Digest(hex: String(decoding: file.hex, as: UTF8.self))
            .map { (CacheKey(file.key, hasher: hasher).hash, $0) }
        })
    }
    var fields = response.fields
    // Of the original's bytes, all of them.
    for name in [
      .lastModified, .contentDigest, .reprDigest, .digest, .acceptRanges, .contentEncoding,
    ] as [FieldName] {
      fields.remove(name)
    }
    fields.remove(named: "Content-MD5")
    var tag = Hasher256()
    rewritten.content.withUnsafeBytes { tag.update($0) }
    if let digest = tag.finish() {
      fields.set(.etag, "\"\(digest.hex.prefix(40))\"")
    } else {
      fields.remove(.etag)
    }
    fields.set(.contentLength, "\(rewritten.content.count)")
    let answer = StoredResponse(
      status: response.status, fields: fields, requestTime: response.requestTime,
      responseTime: response.responseTime, variance: response.variance, targets: response.targets)
    let entry = rewritten.content.withUnsafeBytes { bytes in
      StoredEntry(
        key: source?.key ?? page.key, hash: source?.hash ?? 0, response: answer,
        content: .inline(bytes), seed: 0)
    }
    return .page(entry)
  }
}
