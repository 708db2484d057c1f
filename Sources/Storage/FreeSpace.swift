// What the disk has left, against what is to be left to others on it: a store shares its file system with logs,
// builds and databases, and must not be the one that fills it.
//
// The kernel is asked once a second at most, by threads that may wait; in between, what the store has taken or given
// back since is counted on. Where it cannot be asked nothing is held up: a disk that is full says so itself.

import Platform
import Synchronization

/// How much of its file system a store leaves free for others.
public enum KeepFree: Sendable, Equatable {
  /// A twentieth of the file system, and 1 GiB at most.
  case automatic
  case bytes(Int64)

  /// In bytes, on a file system of `total` bytes.
  package func floor(of total: Int64) -> Int64 {
    switch self {
    case .automatic: min(max(0, total) / 20, 1 << 30)
    case .bytes(let bytes): max(0, bytes)
    }
  }
}

package final class FreeSpace: Sendable {
  /// What the kernel says of the file system of a path.
  package typealias Measure = @Sendable (String) -> File.Space?

  private struct State {
    var rule: KeepFree
    var measuredAt: Instant?
    /// What the disk had beyond the floor when it was measured; `nil` if nobody could say.
    var spare: Int64?
    /// What the store had taken at that moment.
    var used: Int64 = 0
  }

  private static let interval: Duration = .seconds(1)

  private let path: String
  private let measure: Measure
  private let state: Mutex<State>

  package init(
    path: String, _ rule: KeepFree,
    measure: @escaping Measure = { try? File.space(at: $0) }
  ) {
    self.path = path
    self.measure = measure
    state = Mutex(State(rule: rule))
  }

  /// Another floor, from now on.
  package func use(_ rule: KeepFree) {
    state.withLock { state in
      guard state.rule != rule else { return }
      state.rule = rule
      state.measuredAt = nil
    }
  }

  /// By how much the floor would be broken if the store took `bytes` more; zero or less when it would not. May block.
  /// - Parameter used: what the store has taken now.
  package func shortage(for bytes: Int64, used: Int64, now: Instant = .precise()) -> Int64 {
    state.withLock { state in
      guard state.rule != .bytes(0) else { return .min }
      if state.measuredAt.map({ now - $0 >= Self.interval }) ?? true {
        state.measuredAt = now
        state.used = used
        state.spare = measure(path).map { $0.available - state.rule.floor(of: $0.total) }
      }
      guard let spare = state.spare else { return .min }
      return bytes &+ (used &- state.used) &- spare
    }
  }
}

extension StoreCore {
  /// Takes `bytes` for a body if both the cap and the disk allow it.
  func take(_ bytes: Int64) -> Bool {
    freeSpace.shortage(for: bytes, used: space.used) <= 0 && space.reserve(bytes)
  }

  /// How much has to go before a body can take `bytes`; zero or less when it can, or when nothing that goes would
  /// help: of a store that is all but empty the disk's shortage is not the fault.
  /// - Parameter ahead: what is to be free beyond that. Where the disk sets the bound it is a small part of what is
  ///   stored: the cap, which it was made for, may be many times what there ever will be.
  func shortage(for bytes: Int64, ahead: Int64) -> Int64 {
    let used = space.used
    let onDisk = freeSpace.shortage(for: bytes + min(ahead, used / 16), used: used)
    return max(space.shortage(for: bytes + ahead), min(onDisk, used - Int64(segmentSize)))
  }

  /// Whether a body could be stored if nothing else were.
  func couldTake(_ bytes: Int64) -> Bool {
    guard bytes <= space.largestBody else { return false }
    let used = space.used
    return freeSpace.shortage(for: bytes, used: used) <= max(0, used - Int64(segmentSize))
  }

  /// Says why there is no room for a body.
  func noteNoRoom(for bytes: Int64) {
    let isDiskShort = freeSpace.shortage(for: bytes, used: space.used) > 0
    troubles.note(isDiskShort ? .keepFreeReached : .capReached)
  }
}
