// One upstream request for one key, and the transactions that follow it, on any loop. The fill's driver
// (FillDriver.swift) is the only writer; followers look at the phase, read the content as it grows, and
// leave an address to be written to when they have seen all there is.
//
//   waiting ─▶ growing ─▶ stored            growing keeps the body readable; stored is in the store
//      │          └─────▶ cut
//      ├─▶ confirmed   a 304: what was there is good again
//      ├─▶ unshared    the answer is for its leader only
//      └─▶ failed

import Caching
import HTTP
import IO
import Storage
import Synchronization

/// Where a transaction can be told of news.
struct Follower: Sendable {
  let mailbox: Mailbox
  let id: ObjectID

  func tell() {
    mailbox.post(Letter(to: id, subject: LetterSubject.fillNews.rawValue))
  }
}

final class Fill: Sendable {
  enum Phase {
    case waiting
    case growing(GrowingBody)
    case stored(StoredEntry)
    case confirmed(StoredEntry)
    case unshared
    case failed(ProxyError)
  }

  private struct State {
    var phase = Phase.waiting
    var isCompleting = false
    var waiting: [Follower] = []
  }

  let key: CacheKey
  private let state = Mutex(State())

  init(_ key: CacheKey) {
    self.key = key
  }

  var phase: Phase { state.withLock { $0.phase } }

  /// Only the end of the content is fetched: its beginning was kept (`fwd=partial`).
  var isCompleting: Bool {
    get { state.withLock { $0.isCompleting } }
    set { state.withLock { $0.isCompleting = newValue } }
  }

  /// What there is now; while that is nothing, `follower` gets a letter when it changes.
  func follow(_ follower: Follower) -> Phase {
    state.withLock { state in
      if case .waiting = state.phase { state.waiting.append(follower) }
      return state.phase
    }
  }

  /// Only the fill's driver changes the phase; it tells its own leader itself.
  func enter(_ phase: Phase) {
    let waiting = state.withLock { state in
      state.phase = phase
      let waiting = state.waiting
      state.waiting = []
      return waiting
    }
    for follower in waiting { follower.tell() }
  }
}
