// One upstream request for one key, and the transactions that follow it, on any loop. The fill's driver
// (FillDriver.swift) is the only writer; followers look at the phase, read the content as it grows, and
// leave an address to be written to when they have seen all there is.
//
//   waiting ─▶ growing ─▶ stored            growing keeps the body readable; stored is in the store
//      │          └─────▶ cut
//      ├─▶ confirmed   a 304: what was there is good again
//      ├─▶ unshared    the answer is for its leader only
//      ├─▶ refused     the origin answered that it cannot: whoever has a stale answer may use it
//      ├─▶ unkept      the store failed: who does not read yet asks for himself
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

  func tell(_ subject: LetterSubject = .fillNews) {
    mailbox.post(Letter(to: id, subject: subject.rawValue))
  }
}

/// A transaction's wish to see how a fill ends. Whoever lets go of it needs the fill no longer.
final class FillInterest: Sendable {
  private let fill: Fill

  /// Takes over what `Fill.retain` has counted.
  init(adopting fill: Fill) { self.fill = fill }

  deinit { fill.release() }
}

final class Fill: Sendable {
  enum Phase {
    case waiting
    case growing(GrowingBody)
    case stored(StoredEntry)
    case confirmed(StoredEntry)
    case unshared
    /// A server error, which does not replace what is stored (RFC 9111 §4.3.3).
    case refused(Status)
    /// The store could not keep it. Who reads along is cut, and the others ask for themselves.
    case unkept(ProxyError)
    case failed(ProxyError)
  }

  private struct State {
    var phase = Phase.waiting
    var isCompleting = false
    var hasServedLess = false
    var waiting: [Follower] = []
    var watch: Watch?
    /// Transactions that want the answer.
    var interested = 0
    /// Who is told when none does any more.
    var driver: Follower?
  }

  let key: CacheKey
  private let state = Mutex(State())

  init(_ key: CacheKey) {
    self.key = key
  }

  /// The request leaves now: what happens to the key from here on counts.
  func begin(_ watch: Watch) { state.withLock { $0.watch = watch } }

  /// What is fetched has been removed meanwhile: it is for those who wait already, and for nobody who comes
  /// later.
  var isSpoiled: Bool { state.withLock { $0.watch?.isSpoiled ?? false } }

  var phase: Phase { state.withLock { $0.phase } }

  /// Only the end of the content is fetched: its beginning was kept (`fwd=partial`).
  var isCompleting: Bool {
    get { state.withLock { $0.isCompleting } }
    set { state.withLock { $0.isCompleting = newValue } }
  }

  /// Somebody has had all that was asked for, and that was not the whole of the content.
  var hasServedLess: Bool {
    get { state.withLock { $0.hasServedLess } }
    set { state.withLock { $0.hasServedLess = newValue } }
  }

  /// One more transaction wants the answer; `FillInterest` gives that back.
  func retain() { state.withLock { $0.interested += 1 } }

  /// One less does.
  func release() {
    let deserted = state.withLock { state -> Follower? in
      state.interested -= 1
      return state.interested == 0 ? state.driver : nil
    }
    deserted?.tell(.deserted)
  }

  /// One wants the answer, and no other.
  var isOneClients: Bool { state.withLock { $0.interested == 1 } }

  /// Nobody wants the answer, at this moment.
  var isDeserted: Bool { state.withLock { $0.interested == 0 } }

  /// Whom to tell when the last one who wanted the answer has left; nil when nothing of it goes on that could be given up.
  func attach(_ driver: Follower?) { state.withLock { $0.driver = driver } }

  /// What there is now; while that is nothing, `follower` gets a letter when it changes.
  func follow(_ follower: Follower) -> Phase {
    state.withLock { state in
      if case .waiting = state.phase { state.waiting.append(follower) }
      return state.phase
    }
  }

  /// Asks for a letter when the content that is growing has come to its end.
  /// - Returns: whether one will come; it is over already otherwise.
  func followToEnd(_ follower: Follower) -> Bool {
    state.withLock { state in
      guard case .growing = state.phase else { return false }
      state.waiting.append(follower)
      return true
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
