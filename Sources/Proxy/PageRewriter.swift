// Makes of a page the one whose links lead through the mirror: reads it, has its links written anew (Mirrors), and
// gives it a head of its own. On a pool thread, whole in memory, with a bound on its size.
//
// What comes out is another representation: its entity tag is about its own bytes, and a date of modification it has
// none, because the same original is written differently when the configuration changes.

import Caching
import ContentCoding
import HTTP
import Mirrors
import Platform
import Storage

struct PageRewriter: Sendable {
  /// The largest page that is rewritten, before and after.
  static let limit = 64 << 20
  /// The same where it may not be stored, so that it is gathered in memory for each client that asks.
  static let gatheringLimit = 16 << 20

  /// What its links are relative to.
  let base: TargetURI
  let document: LinkedDocument
  let links: MirrorLinks
  let coding: PageCoding
  /// Whose files a page may speak of, and where that is kept; nil for pages whose word counts for nothing.
  let digests: (known: FileDigests, hosts: DigestHosts)?
  let hasher: KeyHasher

  enum Outcome {
    case page(RewrittenPage)
    case tooLarge
    /// Its file does not give what it should.
    case unreadable
    /// It was compressed, and cannot be read.
    case damaged(ContentCoding, ContentCoding.Fault)
    /// No thread had time for it.
    case busy
  }

  /// Roughly the bytes it takes to write a page: what it is written from, what becomes of it, and once more while that is
  /// copied to where it stays.
  static func cost(_ length: Int) -> Int { 3 * min(max(0, length), limit) }

  /// The same for one that is stored.
  func cost(_ source: StoredEntry) -> Int {
    let length = Int(clamping: source.contentLength)
    // How much comes of a compressed one is seen when it is read; pages of links shrink to a tenth.
    if case .coded = coding { return Self.cost(min(length, Self.limit) * 10) }
    return Self.cost(length)
  }

  /// A stored page.
  func rewrite(_ source: StoredEntry, _ claim: PageBudget.Claim) -> Outcome {
    guard source.contentLength <= Self.limit else { return .tooLarge }
    switch source.body {
    case .inline:
      return rewrite(Array(source.inlineBody), of: source.response, key: source, claim)
    case .blob(let file):
      guard let content = Self.read(file) else { return .unreadable }
      return rewrite(content, of: source.response, key: source, claim)
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
  func rewrite(
    _ content: [UInt8], of response: StoredResponse, _ claim: PageBudget.Claim
  ) -> Outcome {
    rewrite(content, of: response, key: nil, claim)
  }

  private func rewrite(
    _ content: [UInt8], of response: StoredResponse, key source: StoredEntry?,
    _ claim: PageBudget.Claim
  ) -> Outcome {
    var content = content
    if case .coded(let coding) = coding {
      do throws(ContentCoding.Fault) {
        content = try coding.decode(content, limit: Self.limit)
      } catch .tooLarge {
        return .tooLarge
      } catch {
        return .damaged(coding, error)
      }
      claim.change(to: Self.cost(content.count))
    }
    var believes: (@Sendable (TargetURI) -> Bool)?
    // What came from elsewhere is not the mirror's word.
    if let digests, digests.hosts.covers(base) {
      believes = { [hosts = digests.hosts] in hosts.covers($0) }
    }
    let rewritten = document.rewrite(
      content, of: base, links: links, limit: Self.limit, believes: believes)
    content = []
    guard !rewritten.isTooLarge else { return .tooLarge }
    digests?.known.learn(
      rewritten.digests.compactMap { file in
        Digest(hex: String(decoding: file.hex, as: UTF8.self))
          .map { (CacheKey(file.key, hasher: hasher).hash, $0) }
      })
    let entry = rewritten.content.withUnsafeBytes { bytes in
      StoredEntry(
        key: source?.key ?? base.key, hash: source?.hash ?? 0,
        response: answer(response, content: bytes), content: .inline(bytes), seed: 0)
    }
    return .page(RewrittenPage(entry, claim))
  }

  /// The head of the page as it is now.
  private func answer(
    _ response: StoredResponse, content: UnsafeRawBufferPointer
  ) -> StoredResponse {
    var fields = response.fields
    // Of the original's bytes, all of them.
    for name in [
      .lastModified, .contentDigest, .reprDigest, .digest, .acceptRanges, .contentEncoding,
    ] as [FieldName] {
      fields.remove(name)
    }
    fields.remove(named: "Content-MD5")
    var tag = Hasher256()
    tag.update(content)
    if let digest = tag.finish() {
      fields.set(.etag, "\"\(digest.hex.prefix(40))\"")
    } else {
      fields.remove(.etag)
    }
    fields.set(.contentLength, "\(content.count)")
    return StoredResponse(
      status: response.status, fields: fields, requestTime: response.requestTime,
      responseTime: response.responseTime, variance: response.variance, targets: response.targets)
  }
}
