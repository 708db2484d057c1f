// Pages whose links were written anew, in memory: few are hot, and a hot one is written once for each time its
// original is confirmed. The store has the originals only; what is here can be made again at any time, so that
// nothing of it outlives a restart or a change of the configuration.

import HTTP
import Mirrors
import Storage
import Synchronization

final class RewrittenPages: Sendable {
  /// All pages together, in bytes.
  static let limit = 64 << 20
  /// However small they are.
  static let countLimit = 4096
  /// A larger page would drive out all others, and is written for each request.
  static let largest = 32 << 20

  private struct Key: Hashable {
    var target: UInt64
    var variant: UInt32
    var links: MirrorLinks
  }

  private struct Page {
    /// Not held: it has a file open, and is of use here only as long as the store hands it out.
    weak var source: StoredEntry?
    var page: StoredEntry
    var lastUse: UInt64
  }

  private struct State {
    var pages: [Key: Page] = [:]
    var bytes = 0
    var clock: UInt64 = 0

    mutating func remove(_ key: Key) {
      if let page = pages.removeValue(forKey: key) { bytes -= page.page.memoryCost }
    }
  }

  private let state = Mutex(State())

  private static func key(_ source: StoredEntry, _ links: MirrorLinks) -> Key {
    Key(target: source.hash, variant: source.variantHash, links: links)
  }

  /// What `source` has become for clients that get these links.
  func page(of source: StoredEntry, links: MirrorLinks) -> StoredEntry? {
    state.withLock { state in
      let key = Self.key(source, links)
      guard let page = state.pages[key], page.source === source else { return nil }
      state.clock += 1
      state.pages[key]?.lastUse = state.clock
      return page.page
    }
  }

  /// Remembers a page, in the place of what was made of an older state of the same original.
  func add(_ page: StoredEntry, of source: StoredEntry, links: MirrorLinks) {
    guard page.contentLength <= Self.largest else { return }
    state.withLock { state in
      let key = Self.key(source, links)
      state.remove(key)
      state.clock += 1
      state.pages[key] = Page(source: source, page: page, lastUse: state.clock)
      state.bytes += page.memoryCost
      while state.bytes > Self.limit || state.pages.count > Self.countLimit,
        let oldest = state.pages.min(by: { $0.value.lastUse < $1.value.lastUse })?.key
      {
        state.remove(oldest)
      }
    }
  }

  /// Pages, and the bytes of their content.
  var counts: (pages: Int, bytes: Int) { state.withLock { ($0.pages.count, $0.bytes) } }
}
