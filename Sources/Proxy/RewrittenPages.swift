// Pages whose links were written anew, in memory: few are hot, and a hot one is written once for each time its
// original is confirmed. The store has the originals only; what is here can be made again at any time, so that
// nothing of it outlives a restart or a change of the configuration.
//
// Whoever wants a page that is being written waits for that one. A page too large to be remembered is shared by those who
// ask for it while somebody is being sent it.

import HTTP
import IO
import Mirrors
import Storage
import Synchronization

/// A page as clients of a mirror get it. Takes its part of what pages may take for as long as anybody holds it.
final class RewrittenPage: Sendable {
  let entry: StoredEntry
  private let claim: PageBudget.Claim

  init(_ entry: StoredEntry, _ claim: PageBudget.Claim) {
    self.entry = entry
    self.claim = claim
    claim.change(to: entry.memoryCost)
  }
}

/// What a pool thread has made of a page.
final class Rewriting: Sendable {
  /// Nil for one that is not stored.
  let source: StoredEntry?
  let outcome: PageRewriter.Outcome

  init(_ source: StoredEntry?, _ outcome: PageRewriter.Outcome) {
    self.source = source
    self.outcome = outcome
  }
}

final class RewrittenPages: Sendable {
  struct Limits: Sendable {
    /// All remembered pages together, in bytes.
    var remembered = 64 << 20
    /// However small they are.
    var count = 4096
    /// A larger page would drive out all others, and is not remembered.
    var largest = 32 << 20
    /// The same with those that are being written or sent, and what they are written from.
    var all = 256 << 20
  }

  fileprivate struct Key: Hashable {
    var target: UInt64
    var variant: UInt32
    var links: MirrorLinks
  }

  /// A writing, by the very entry it is made of.
  fileprivate struct Work: Hashable {
    var source: ObjectIdentifier
    var links: MirrorLinks
  }

  /// A page that lives as long as it is sent to somebody.
  fileprivate struct Large {
    weak var source: StoredEntry?
    weak var page: RewrittenPage?
  }

  fileprivate struct State {
    var pages = LeastRecentlyUsed<Key, Remembered>()
    var bytes = 0
    var running: [Work: [Follower]] = [:]
    var large: [Work: Large] = [:]
  }

  fileprivate struct Remembered {
    /// Not held: it has a file open, and is of use here only as long as the store hands it out.
    weak var source: StoredEntry?
    var page: RewrittenPage
  }

  private let limits: Limits
  private let state: Mutex<State>
  let budget: PageBudget

  init(_ limits: Limits = Limits()) {
    self.limits = limits
    let room = Room()
    budget = PageBudget(limit: limits.all, small: limits.all / 64, reserve: limits.all / 8) {
      room.make()
    }
    state = Mutex(State())
    room.pages = self
  }

  /// How the budget reaches the pages it may do without.
  private final class Room: Sendable {
    private struct Weak { weak var pages: RewrittenPages? }
    private let held = Mutex(Weak())

    var pages: RewrittenPages? {
      get { held.withLock { $0.pages } }
      set { held.withLock { $0.pages = newValue } }
    }

    func make() -> Bool { pages?.forgetOne() ?? false }
  }

  // MARK: Looking

  /// What `source` has become for clients that get these links.
  func page(of source: StoredEntry, links: MirrorLinks) -> RewrittenPage? {
    state.withLock { $0.page(of: source, links: links) }
  }

  /// Gives a page, or sees to it that a letter comes with what has become of it.
  /// - Parameters:
  ///   - count: bytes that it will take to write it.
  ///   - pool: whose threads write it.
  ///   - make: writes it; once for all who wait.
  /// - Returns: the page, if it is there; otherwise whether this call is the one that has it written.
  func page(
    of source: StoredEntry, links: MirrorLinks, claiming count: Int, on pool: DiskPool,
    telling follower: Follower, make: @escaping @Sendable (PageBudget.Claim) -> PageRewriter.Outcome
  ) -> (page: RewrittenPage?, isFirst: Bool) {
    let work = Work(source: ObjectIdentifier(source), links: links)
    let (page, isFirst) = state.withLock { state in
      if let page = state.page(of: source, links: links) { return (page as RewrittenPage?, false) }
      let isFirst = state.running[work] == nil
      state.running[work, default: []].append(follower)
      return (nil, isFirst)
    }
    guard isFirst else { return (page, false) }
    budget.claim(count) { claim in
      let isTaken = pool.submit { self.finish(work, source, make(claim)) }
      if !isTaken { self.finish(work, source, .busy) }
    }
    return (nil, true)
  }

  private func finish(_ work: Work, _ source: StoredEntry, _ outcome: PageRewriter.Outcome) {
    let (waiting, forgotten) = state.withLock { state in
      var forgotten: [RewrittenPage] = []
      if case .page(let page) = outcome { forgotten = remember(page, of: source, work, &state) }
      return (state.running.removeValue(forKey: work) ?? [], forgotten)
    }
    // What is forgotten goes outside of the lock: others may be served for it.
    withExtendedLifetime(forgotten) {}
    let rewriting = Rewriting(source, outcome)
    for follower in waiting {
      follower.mailbox.post(
        Letter(
          to: follower.id, subject: LetterSubject.pageRewritten.rawValue, payload: rewriting))
    }
  }

  /// Remembers a page, in the place of what was made of an older state of the same original.
  /// - Returns: what was forgotten for it.
  private func remember(
    _ page: RewrittenPage, of source: StoredEntry, _ work: Work, _ state: inout State
  ) -> [RewrittenPage] {
    var forgotten: [RewrittenPage] = []
    guard page.entry.contentLength <= limits.largest else {
      // Whoever looks at them may turn out to be the last who holds them, which must not be in here.
      let alive = state.large.compactMap { work, large in large.page.map { (work, $0) } }
      let gone = Set(state.large.keys).subtracting(alive.map(\.0))
      for work in gone { state.large[work] = nil }
      state.large[work] = Large(source: source, page: page)
      return alive.map(\.1)
    }
    let key = Key(target: source.hash, variant: source.variantHash, links: work.links)
    if let old = state.pages.insert(Remembered(source: source, page: page), for: key) {
      state.bytes -= old.page.entry.memoryCost
      forgotten.append(old.page)
    }
    state.bytes += page.entry.memoryCost
    while state.bytes > limits.remembered || state.pages.count > limits.count,
      let page = state.forgetOne()
    {
      forgotten.append(page)
    }
    return forgotten
  }

  /// - Returns: whether there was one.
  private func forgetOne() -> Bool { state.withLock { $0.forgetOne() } != nil }

  /// Pages, and the bytes they take.
  var counts: (pages: Int, bytes: Int) { state.withLock { ($0.pages.count, $0.bytes) } }
}

extension RewrittenPages.State {
  fileprivate mutating func page(of source: StoredEntry, links: MirrorLinks) -> RewrittenPage? {
    let key = RewrittenPages.Key(
      target: source.hash, variant: source.variantHash, links: links)
    if let found = pages.value(for: key), found.source === source {
      pages.touch(key)
      return found.page
    }
    guard !large.isEmpty else { return nil }
    let work = RewrittenPages.Work(source: ObjectIdentifier(source), links: links)
    guard let found = large[work], found.source === source else { return nil }
    return found.page
  }

  fileprivate mutating func forgetOne() -> RewrittenPage? {
    guard let page = pages.removeOldest()?.page else { return nil }
    bytes -= page.entry.memoryCost
    return page
  }
}
