// The memory that pages may take while their links are written anew, while they are remembered, and while they are sent.
// Who wants to begin has to claim what it will need. A stored page waits its turn if there is too little, because what
// it waits for is over soon; an answer that may not be stored cannot wait, because what has come of it takes memory
// already.
//
//   claim ─ room? ─▶ work ─▶ change(to: what is left of it) ─▶ … ─▶ let go of: the next one's turn
//             └─ no ─▶ remembered pages go first, then in line
//
// Large pages that are read slowly may take much of it for long. So some of it is for small ones alone, and these do not
// stand in line behind large ones.

import Synchronization

/// What pages may take.
final class PageBudget: Sendable {
  /// A part of it, given back by whoever lets go of it.
  final class Claim: Sendable {
    private let budget: PageBudget
    private let held: Mutex<Int>

    fileprivate init(_ budget: PageBudget, _ count: Int) {
      self.budget = budget
      held = Mutex(count)
    }

    deinit { budget.give(back: held.withLock { $0 }) }

    /// What is needed turned out to be something else, more as well as less: what is here already has to be counted.
    func change(to count: Int) {
      let difference = held.withLock { held in
        defer { held = count }
        return held - count
      }
      budget.give(back: difference)
    }

    /// Claims more, if there is room.
    func grow(to count: Int) -> Bool {
      let missing = held.withLock { max(0, count - $0) }
      guard missing > 0 else { return true }
      guard budget.take(missing) else { return false }
      held.withLock { $0 += missing }
      return true
    }
  }

  private struct State {
    var used = 0
    var waiting: [(count: Int, job: @Sendable (Claim) -> Void)] = []
    var isServing = false
    /// Something was given back while others were being served.
    var hasNews = false
  }

  /// In bytes.
  let limit: Int
  /// What is no larger is small.
  private let small: Int
  /// How much of the limit is for small ones alone.
  private let reserve: Int
  /// Lets go of something that is held for convenience only; false if there is nothing.
  private let makeRoom: @Sendable () -> Bool
  private let state = Mutex(State())

  init(
    limit: Int, small: Int = 0, reserve: Int = 0, makeRoom: @escaping @Sendable () -> Bool
  ) {
    self.limit = limit
    self.small = small
    self.reserve = min(reserve, limit)
    self.makeRoom = makeRoom
  }

  var used: Int { state.withLock { $0.used } }
  var waiting: Int { state.withLock { $0.waiting.count } }

  /// Runs `job` with a claim, at once or when it is its turn, on whatever thread that becomes known.
  func claim(_ count: Int, _ job: @escaping @Sendable (Claim) -> Void) {
    // What is larger than all there is would wait for ever.
    state.withLock { $0.waiting.append((min(count, ceiling(count)), job)) }
    serve()
  }

  /// A claim, if there is room for it.
  func claimNow(_ count: Int) -> Claim? { take(count) ? Claim(self, count) : nil }

  /// How much may be in use when so much has been given.
  private func ceiling(_ count: Int) -> Int { count <= small ? limit : limit - reserve }

  private func fits(_ count: Int, _ used: Int) -> Bool {
    let ceiling = ceiling(count)
    return count <= ceiling && used <= ceiling - count
  }

  private func take(_ count: Int) -> Bool {
    repeat {
      let isTaken = state.withLock { state in
        guard fits(count, state.used) else { return false }
        state.used += count
        return true
      }
      if isTaken { return true }
    } while makeRoom()
    return false
  }

  fileprivate func give(back count: Int) {
    let isAwaited = state.withLock { state in
      state.used -= count
      return !state.waiting.isEmpty
    }
    if isAwaited { serve() }
  }

  /// Gives whoever waits what they wait for, in their order but for small ones. One thread at a time: letting go of a page in here comes
  /// back by `give`.
  private func serve() {
    let begins = state.withLock { state in
      state.hasNews = true
      guard !state.isServing else { return false }
      state.isServing = true
      return true
    }
    guard begins else { return }
    while true {
      enum Step {
        case run(@Sendable (Claim) -> Void, Int)
        case makeRoom, done
      }
      let step: Step = state.withLock { state in
        guard !state.waiting.isEmpty else {
          state.isServing = false
          return .done
        }
        state.hasNews = false
        var next = 0
        if !fits(state.waiting[0].count, state.used) {
          let passing = state.waiting.firstIndex {
            $0.count <= small && fits($0.count, state.used)
          }
          guard let passing else { return .makeRoom }
          next = passing
        }
        let served = state.waiting.remove(at: next)
        state.used += served.count
        return .run(served.job, served.count)
      }
      switch step {
      case .done: return
      case .run(let job, let count): job(Claim(self, count))
      case .makeRoom:
        if makeRoom() { continue }
        let isOver = state.withLock { state in
          if !state.hasNews { state.isServing = false }
          return !state.hasNews
        }
        if isOver { return }
      }
    }
  }
}
