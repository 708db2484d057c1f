// A stored response in memory, ready to be sent, and the set of all variants of one key.
//
// Both never change once made: a loop that holds one may use it while the store replaces it. The serialised head
// and an inline body lie in one piece of memory, so a small answer leaves in one `sendmsg`.

import Caching
import Glibc
import HTTP

/// Where the content of a stored response is.
public enum StoredBody: Sendable {
  /// In memory: `StoredEntry.inlineBody`.
  case inline
  /// In a file of its own.
  case blob(BlobFile)
}

/// One stored response.
public final class StoredEntry: Sendable {
  /// The key it is stored under.
  public let key: [UInt8]
  public let hash: UInt64
  public let response: StoredResponse
  public let body: StoredBody
  /// Length of the content in bytes.
  public let contentLength: Int64
  /// `HTTP/1.1 200 OK CRLF` and all fields, without the empty line. Valid as long as this object.
  public nonisolated(unsafe) let head: UnsafeRawBufferPointer
  /// The content, if it is in memory; empty otherwise. Valid as long as this object.
  public nonisolated(unsafe) let inlineBody: UnsafeRawBufferPointer
  /// Tells variants of a key apart: the fields of the request that chose this one, as bytes and hashed.
  package let variance: [UInt8]
  package let variantHash: UInt32
  private nonisolated(unsafe) let memory: UnsafeMutableRawPointer

  package enum Content {
    case inline(UnsafeRawBufferPointer)
    case blob(BlobFile)
  }

  package init(
    key: [UInt8], hash: UInt64, response: StoredResponse, content: Content, seed: UInt64
  ) {
    self.key = key
    self.hash = hash
    self.response = response
    variance = VarianceCoding.encode(response.variance)
    variantHash = VarianceCoding.hash(response.variance, seed: seed)

    var head: [UInt8] = []
    head.reserveCapacity(response.fields.bytes.count + 48)
    head.append(contentsOf: "HTTP/1.1 ".utf8)
    head.append(contentsOf: String(response.status.rawValue).utf8)
    head.append(UInt8(ascii: " "))
    response.status.reasonPhrase.withUTF8Buffer { head.append(contentsOf: $0) }
    head.append(contentsOf: [13, 10])
    response.fields.serialise(into: &head)
    // What is stored whole is served in ranges, whether or not its origin does so (RFC 9110 §14.3).
    if response.status == .ok, !response.fields.contains(.acceptRanges) {
      head.append(contentsOf: "Accept-Ranges: bytes\r\n".utf8)
    }

    let inlineCount: Int
    switch content {
    case .inline(let bytes):
      inlineCount = bytes.count
      body = .inline
      contentLength = Int64(inlineCount)
    case .blob(let file):
      inlineCount = 0
      body = .blob(file)
      contentLength = file.length
    }
    let memory = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(1, head.count + inlineCount), alignment: 8)
    memory.copyBytes(from: head)
    self.head = UnsafeRawBufferPointer(rebasing: memory[..<head.count])
    let rest = UnsafeMutableRawBufferPointer(
      rebasing: memory[head.count..<head.count + inlineCount])
    if case .inline(let bytes) = content { rest.copyMemory(from: bytes) }
    inlineBody = UnsafeRawBufferPointer(rest)
    // An allocation of at least one byte has an address; the compiler cannot know.
    self.memory = memory.baseAddress ?? UnsafeMutableRawPointer(bitPattern: 8).unsafelyUnwrapped
  }

  deinit { memory.deallocate() }

  package var blobReference: BlobReference? {
    guard case .blob(let file) = body else { return nil }
    return BlobReference(digest: file.digest, length: UInt64(clamping: file.length))
  }

  /// Roughly the memory this takes.
  package var memoryCost: Int {
    512 + key.count + 2 * head.count + inlineBody.count + variance.count
  }

  /// The same response as a record; the bytes of the body are borrowed for the time of `body`.
  package func withRecord<Result>(_ body: (RecordContent) -> Result) -> Result {
    var content = RecordContent()
    content.keyHash = hash
    content.variantHash = variantHash
    content.key = key
    content.variance = variance
    content.status = response.status.rawValue
    content.requestTime = response.requestTime
    content.responseTime = response.responseTime
    response.fields.serialise(into: &content.fields)
    switch self.body {
    case .inline: content.body = .inline(inlineBody)
    case .blob(let file):
      content.body = .blob(file.digest, length: UInt64(clamping: file.length))
    }
    return withExtendedLifetime(self) { body(content) }
  }
}

/// All stored variants of one key.
public final class VariantSet: Sendable {
  public let key: [UInt8]
  public let hash: UInt64
  /// Newest first; never empty.
  public let entries: [StoredEntry]
  package let cost: Int
  private let blobCost: Int

  /// - Parameter blobCost: what an open descriptor is charged as, in bytes.
  package init(key: [UInt8], hash: UInt64, entries: [StoredEntry], blobCost: Int) {
    self.key = key
    self.hash = hash
    self.entries = entries
    self.blobCost = blobCost
    cost = entries.reduce(256 + key.count) { sum, entry in
      if case .blob = entry.body { return sum + entry.memoryCost + blobCost }
      return sum + entry.memoryCost
    }
  }

  @inline(__always)
  package func hasKey(_ other: UnsafeRawBufferPointer) -> Bool {
    guard key.count == other.count else { return false }
    guard let otherStart = other.baseAddress else { return true }
    return key.withUnsafeBytes { bytes in
      bytes.baseAddress.map { memcmp($0, otherStart, other.count) == 0 } ?? true
    }
  }

  /// This set with one more variant, which takes the place of the one it replaces.
  package func adding(_ entry: StoredEntry) -> VariantSet {
    var entries = [entry]
    for old in self.entries where old.variantHash != entry.variantHash {
      if entries.count == LogLimits.variants { break }
      entries.append(old)
    }
    return VariantSet(key: key, hash: hash, entries: entries, blobCost: blobCost)
  }
}
