// How many requests may be at origins at a time: one gate for all workers, with a line in front of each origin.
//
//   enter ─▶ admitted ──────────────────────▶ leave ─▶ the next in the line is told
//     ├───▶ waiting ─ told, or gives up ─────────▲
//     └───▶ full: the line is as long as it may be
//
// A place is held from before the name is looked up until the answer is over, so that it bounds lookups, handshakes
// and connections in use alike. Kept idle connections hold none: the pool bounds them. The line of an origin
// is first come, first served; with all places of the proxy taken, lines take turns, so that one slow origin with
// a long line does not starve the others.

import Configuration
import IO
import Synchronization

/// Bounds of a gate (`upstream.max-connections`, `upstream.max-total`, `upstream.max-waiting`).
struct GateLimits: Sendable, Equatable {
  var perOrigin: Int
  var total: Int
  var waitingPerOrigin: Int

  init(perOrigin: Int, total: Int, waitingPerOrigin: Int) {
    self.perOrigin = perOrigin
    self.total = total
    self.waitingPerOrigin = waitingPerOrigin
  }

  init(_ settings: UpstreamSettings) {
    self.init(
      perOrigin: settings.maxConnections, total: settings.maxTotal,
      waitingPerOrigin: settings.maxWaiting)
  }
}

final class UpstreamGate: Sendable {
  enum Entry: Equatable {
    case admitted
    /// A letter with `subject` comes when it is this one's turn; the place is taken by then.
    case waiting
    /// The line is full.
    case full
  }

  private struct Line {
    var inUse = 0
    var waiting: [Follower] = []
    /// Is among those that wait for a place of the proxy.
    var isHeld = false

    /// Nothing has to be remembered.
    var isIdle: Bool { inUse == 0 && waiting.isEmpty }
  }

  private struct State {
    var limits: GateLimits
    var total = 0
    var lines: [Origin: Line] = [:]
    /// Origins whose next in line waits for a place of the proxy, not for one of the origin.
    var held: [Origin] = []

    mutating func hold(_ origin: Origin, _ line: inout Line) {
      guard !line.isHeld else { return }
      line.isHeld = true
      held.append(origin)
    }

    /// Keeps what there is to remember of an origin, and nothing of one that nobody asks for: clients choose the
    /// names.
    mutating func keep(_ line: Line, of origin: Origin) {
      guard line.isIdle else {
        lines[origin] = line
        return
      }
      lines[origin] = nil
      if line.isHeld { held.removeAll { $0 == origin } }
    }
  }

  private let state: Mutex<State>

  init(_ limits: GateLimits) {
    state = Mutex(State(limits: limits))
  }

  /// Other bounds from now on. Nobody inside is turned out; who waits is let in as far as there is room now.
  func change(_ limits: GateLimits) {
    let admitted = state.withLock { state in
      state.limits = limits
      var admitted: [Follower] = []
      for origin in state.lines.keys.sorted(by: { $0.host < $1.host }) {
        while let next = Self.admitNext(origin, &state) { admitted.append(next) }
      }
      return admitted
    }
    for follower in admitted { follower.tell(.admitted) }
  }

  func enter(_ origin: Origin, _ follower: Follower) -> Entry {
    state.withLock { state in
      var line = state.lines[origin] ?? Line()
      if line.waiting.isEmpty, line.inUse < state.limits.perOrigin,
        state.total < state.limits.total
      {
        line.inUse += 1
        state.total += 1
        state.lines[origin] = line
        return .admitted
      }
      guard line.waiting.count < state.limits.waitingPerOrigin else { return .full }
      line.waiting.append(follower)
      if line.inUse < state.limits.perOrigin { state.hold(origin, &line) }
      state.lines[origin] = line
      return .waiting
    }
  }

  /// Ends waiting.
  /// - Returns: false when the place was given already: its letter is on the way, and the caller has to `leave`.
  func giveUp(_ origin: Origin, _ id: ObjectID) -> Bool {
    state.withLock { state in
      guard var line = state.lines[origin],
        let index = line.waiting.firstIndex(where: { $0.id == id })
      else { return false }
      line.waiting.remove(at: index)
      state.keep(line, of: origin)
      return true
    }
  }

  /// Gives a place back.
  func leave(_ origin: Origin) {
    let admitted = state.withLock { state in
      guard var line = state.lines[origin] else { return [Follower]() }
      line.inUse -= 1
      state.total -= 1
      state.keep(line, of: origin)
      var admitted: [Follower] = []
      // Others have waited for a place of the proxy for longer than this origin's next.
      while state.total < state.limits.total, !state.held.isEmpty {
        let first = state.held.removeFirst()
        state.lines[first]?.isHeld = false
        if let next = Self.admitNext(first, &state) { admitted.append(next) }
      }
      if let next = Self.admitNext(origin, &state) { admitted.append(next) }
      return admitted
    }
    for follower in admitted { follower.tell(.admitted) }
  }

  private static func admitNext(_ origin: Origin, _ state: inout State) -> Follower? {
    guard var line = state.lines[origin], !line.waiting.isEmpty,
      line.inUse < state.limits.perOrigin
    else { return nil }
    guard state.total < state.limits.total else {
      // Takes its turn behind the others.
      state.hold(origin, &line)
      state.lines[origin] = line
      return nil
    }
    let next = line.waiting.removeFirst()
    line.inUse += 1
    state.total += 1
    if !line.waiting.isEmpty, line.inUse < state.limits.perOrigin { state.hold(origin, &line) }
    state.lines[origin] = line
    return next
  }

  /// Origins that something is remembered of, and those of them that wait for a place of the proxy.
  var remembered: (lines: Int, held: Int) { state.withLock { ($0.lines.count, $0.held.count) } }

  /// Places taken, and how many wait, over all origins.
  var counts: (inUse: Int, waiting: Int) {
    state.withLock { state in
      (state.total, state.lines.values.reduce(0) { $0 + $1.waiting.count })
    }
  }
}
