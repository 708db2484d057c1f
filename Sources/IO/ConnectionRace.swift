// Which address to try when: the decisions of Happy Eyeballs (RFC 8305 §4 and §5), without sockets and clocks.
//
//   waiting ─▶ racing ─▶ won
//                └─────▶ lost (every address failed, or the time is over)
//
// The first address is tried at once. The next one follows when a head start of 250 ms has passed without an answer, or
// at once when an attempt fails; attempts that were begun go on side by side, and the first that succeeds wins. No more
// than four do so: a host may have any number of addresses, and each attempt is a descriptor.

import Platform

/// A race between the addresses of one host.
package struct ConnectionRace: Sendable {
  /// How an attempt ended, or that it did not.
  package enum Outcome: Hashable, Sendable {
    case notTried
    case underWay
    case connected
    case failed(Errno)
    /// The time was over, or another attempt was faster.
    case abandoned
  }

  /// One address and what became of it.
  package struct Attempt: Hashable, Sendable {
    package let address: SocketAddress
    package fileprivate(set) var outcome = Outcome.notTried
    /// The kernel refused to begin it: not a packet was sent.
    package fileprivate(set) var isRefusedHere = false
    /// How long after the start of the race it was begun and ended.
    package fileprivate(set) var began: Duration? = nil
    package fileprivate(set) var ended: Duration? = nil
    /// Its end here, once it failed or was given up.
    package fileprivate(set) var local: SocketAddress? = nil
    /// What the kernel knew of it by then (`TCP_INFO`), taken before the error was.
    package fileprivate(set) var information: [UInt8]? = nil
  }

  /// What to do next.
  package enum Step: Equatable, Sendable {
    /// Begin the attempt with this number, then report how that went, or `began`.
    case begin(Int)
    /// End the attempt with this number: it has had longest, and another address is to have its turn.
    case abandon(Int)
    /// Nothing until the timer or an attempt tells.
    case wait(until: Instant)
    /// The race is over: abandon every attempt but this.
    case won(Int)
    /// The race is over without a winner.
    case lost
  }

  private enum State {
    case racing
    case won
    case lost
  }

  /// Attempts that go on at a time.
  package static let sideBySide = 4

  /// All addresses, in the order they are tried.
  package private(set) var attempts: [Attempt]
  private var state = State.racing
  private let start: Instant
  private let deadline: Instant
  private let headStart: Duration
  /// When the next attempt may begin.
  private var nextStart: Instant
  private var next = 0

  /// - Parameters:
  ///   - addresses: in the order of preference, as the resolver gives them.
  ///   - headStart: the Connection Attempt Delay, 250 ms as recommended (RFC 8305 §5).
  ///   - timeout: for the whole race.
  package init(
    _ addresses: [SocketAddress], now: Instant, headStart: Duration = .milliseconds(250),
    timeout: Duration
  ) {
    attempts = ConnectionRace.interleaved(addresses).map { Attempt(address: $0) }
    start = now
    deadline = now + timeout
    self.headStart = headStart
    nextStart = now
  }

  /// Alternates the families, beginning with that of the first address, and keeps the order within each (RFC 8305 §4).
  static func interleaved(_ addresses: [SocketAddress]) -> [SocketAddress] {
    guard let first = addresses.first else { return [] }
    let preferred = addresses.filter { $0.ip.family == first.ip.family }
    let other = addresses.filter { $0.ip.family != first.ip.family }
    var result: [SocketAddress] = []
    for index in 0..<max(preferred.count, other.count) {
      if index < preferred.count { result.append(preferred[index]) }
      if index < other.count { result.append(other[index]) }
    }
    return result
  }

  /// What to do now. Call after the start, after every report and when the time of `.wait` has come; and again after each `.begin` or `.abandon`.
  package mutating func step(_ now: Instant) -> Step {
    switch state {
    case .won:
      return .won(attempts.firstIndex { $0.outcome == .connected } ?? 0)
    case .lost:
      return .lost
    case .racing:
      if now >= deadline {
        end(as: .lost, now)
        return .lost
      }
      if next < attempts.count, now >= nextStart {
        let underWay = attempts.indices.filter { attempts[$0].outcome == .underWay }
        if underWay.count >= Self.sideBySide, let oldest = underWay.first {
          attempts[oldest].outcome = .abandoned
          attempts[oldest].ended = now - start
          return .abandon(oldest)
        }
        let index = next
        next += 1
        attempts[index].outcome = .underWay
        attempts[index].began = now - start
        nextStart = now + headStart
        return .begin(index)
      }
      if next == attempts.count, !attempts.contains(where: { $0.outcome == .underWay }) {
        state = .lost
        return .lost
      }
      return .wait(until: next < attempts.count ? min(nextStart, deadline) : deadline)
    }
  }

  /// An attempt has succeeded.
  package mutating func connected(_ index: Int, _ now: Instant) {
    guard case .racing = state, attempts[index].outcome == .underWay else { return }
    attempts[index].outcome = .connected
    attempts[index].ended = now - start
    end(as: .won, now)
  }

  /// An attempt has failed: the next one need not wait.
  /// - Parameter isRefusedHere: it could not even be begun.
  package mutating func failed(
    _ index: Int, _ errno: Errno, _ now: Instant, isRefusedHere: Bool = false
  ) {
    guard case .racing = state, attempts[index].outcome == .underWay else { return }
    attempts[index].outcome = .failed(errno)
    attempts[index].isRefusedHere = isRefusedHere
    attempts[index].ended = now - start
    nextStart = now
  }

  /// What its socket told before it was closed.
  package mutating func observed(_ index: Int, local: SocketAddress?, information: [UInt8]?) {
    attempts[index].local = local
    attempts[index].information = information
  }

  private mutating func end(as state: State, _ now: Instant) {
    self.state = state
    for index in attempts.indices where attempts[index].outcome == .underWay {
      attempts[index].outcome = .abandoned
      attempts[index].ended = now - start
    }
  }
}

extension [ConnectionRace.Attempt] {
  /// The attempt that says why none has come to anything: one that nobody had answered when the time was over, or else
  /// the one that took longest to be refused. What this machine did not even begin says something only where it began
  /// nothing. Nil where none was tried.
  package var telling: ConnectionRace.Attempt? {
    let end = compactMap(\.ended).max()
    let silent = filter { $0.outcome == .underWay || $0.outcome == .abandoned }
    return longest(of: silent.filter { $0.outcome == .underWay || $0.ended == end })
      ?? longest(of: filter { $0.errno != nil && !$0.isRefusedHere })
      ?? longest(of: silent)
      // Of one family there may be none here; a shortage is news.
      ?? last { $0.errno?.isShortage == true } ?? last { $0.errno != nil }
  }

  /// Of several that took as long, the last one.
  private func longest(of attempts: [ConnectionRace.Attempt]) -> ConnectionRace.Attempt? {
    attempts.reversed().max { $0.duration < $1.duration }
  }
}

extension ConnectionRace.Attempt {
  /// How it failed.
  package var errno: Errno? { if case .failed(let errno) = outcome { errno } else { nil } }

  fileprivate var duration: Duration {
    guard let began, let ended else { return .zero }
    return ended - began
  }
}

extension Errno {
  /// No descriptor or memory was left.
  fileprivate var isShortage: Bool {
    isOutOfDescriptors || self == .noMemory || self == .noBufferSpace
  }
}
