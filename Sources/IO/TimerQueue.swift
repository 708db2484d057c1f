// Deadlines: one for each of many thousand objects, moved far more often than they expire.
//
// A timing wheel with lazy deadlines. Time is cut into ticks of 4.2 ms; the wheel has a bucket for each of the
// next 2048 ticks (8.6 s). An entry remembers its deadline and hangs in a bucket at or before it:
//
//   wheel   [ cursor ][ … ][ … ] … [ cursor + 2047 ]        a bucket is a list of slot numbers
//   entry   due: the tick of the deadline      position: the tick of the bucket it hangs in, never after `due`
//
// Moving a deadline further away, which is what activity on a connection does, only stores `due`. When the wheel comes
// to the entry's bucket and finds the deadline later, it hangs the entry into the bucket of its deadline, or, beyond the
// wheel's end, into the last one, to look again in 8.6 s. Disarming stores "never", and the entry falls off the wheel
// when its bucket is reached. Only a deadline that comes nearer relinks at once.
//
// Compared with an ordered list for each length of time-out: one mechanism for all lengths, no list to touch when a
// deadline moves (its neighbours' cache lines stay untouched), at the price of up to one tick of delay. A deadline is
// never told early; it is told in the first `popExpired` whose time is in or after the tick that the deadline rounds up to.
//
// The queue knows no clock and no loop: time comes as an argument, and what expires is a number.

import Platform

/// Deadlines by slot number.
public struct TimerQueue: ~Copyable {
  static let tickBits: Int64 = 22
  static let bucketCount = 2048
  /// How late a deadline may be told at most, apart from the clock's own steps.
  public static let resolution = Duration.nanoseconds(Int64(1) << tickBits)

  private static let mask = Int64(bucketCount - 1)
  private static let none = UInt32.max
  private static let never = Int64.max

  private struct Entry {
    var due = never
    /// Negative while the entry hangs in no bucket.
    var position: Int64 = -1
    var next = none
    var previous = none
  }

  private struct Core {
    var entries: UnsafeMutablePointer<Entry>
    var capacity: Int
    /// The last tick that `popExpired` was told.
    var current: Int64
    /// Buckets before this tick are done. At most one after `current`.
    var cursor: Int64
    var linked = 0
  }

  // All state lies in raw memory, so that no call needs a check for exclusive access to a class's property.
  private let core: UnsafeMutablePointer<Core>
  private let heads: UnsafeMutablePointer<UInt32>
  private let occupied: UnsafeMutablePointer<UInt64>

  /// - Parameter now: the moment the queue begins at.
  public init(now: Instant, capacity: Int = 64) {
    let capacity = max(1, capacity)
    let entries = UnsafeMutablePointer<Entry>.allocate(capacity: capacity)
    entries.initialize(repeating: Entry(), count: capacity)
    let tick = now.nanoseconds >> Self.tickBits
    core = .allocate(capacity: 1)
    core.initialize(
      to: Core(entries: entries, capacity: capacity, current: tick, cursor: tick &+ 1))
    heads = .allocate(capacity: Self.bucketCount)
    heads.initialize(repeating: Self.none, count: Self.bucketCount)
    occupied = .allocate(capacity: Self.bucketCount / 64)
    occupied.initialize(repeating: 0, count: Self.bucketCount / 64)
  }

  deinit {
    core.pointee.entries.deallocate()
    core.deallocate()
    heads.deallocate()
    occupied.deallocate()
  }

  /// Makes room for slots `0..<capacity`.
  public borrowing func reserve(capacity: Int) {
    let old = core.pointee.capacity
    guard capacity > old else { return }
    let entries = UnsafeMutablePointer<Entry>.allocate(capacity: capacity)
    entries.moveInitialize(from: core.pointee.entries, count: old)
    (entries + old).initialize(repeating: Entry(), count: capacity - old)
    core.pointee.entries.deallocate()
    core.pointee.entries = entries
    core.pointee.capacity = capacity
  }

  /// Sets the deadline of a slot, in place of any it had.
  ///
  /// One that has passed already expires with the next tick: an object that arms itself with no delay
  /// each time it expires cannot keep a loop from its other work.
  public borrowing func arm(_ slot: UInt32, at deadline: Instant) {
    let (raised, overflow) = deadline.nanoseconds.addingReportingOverflow((1 << Self.tickBits) - 1)
    let due = overflow ? Self.never - 1 : max(raised >> Self.tickBits, core.pointee.current &+ 1)
    let entry = core.pointee.entries + Int(slot)
    entry.pointee.due = due
    if entry.pointee.position >= 0 {
      if due >= entry.pointee.position { return }
      unlink(slot)
    }
    link(slot, due)
  }

  /// Takes the deadline of a slot away.
  public borrowing func disarm(_ slot: UInt32) {
    core.pointee.entries[Int(slot)].due = Self.never
  }

  /// Whether the slot has a deadline that has not been told.
  public borrowing func isArmed(_ slot: UInt32) -> Bool {
    core.pointee.entries[Int(slot)].due != Self.never
  }

  /// The next slot whose deadline has come, or nil. It is disarmed by being told.
  ///
  /// Call until nil. Deadlines may be set and taken away between the calls.
  public borrowing func popExpired(_ now: Instant) -> UInt32? {
    let core = self.core
    let tick = now.nanoseconds >> Self.tickBits
    if tick > core.pointee.current { core.pointee.current = tick }
    while core.pointee.cursor <= core.pointee.current {
      let bucket = Int(core.pointee.cursor & Self.mask)
      while heads[bucket] != Self.none {
        let slot = heads[bucket]
        let entry = core.pointee.entries + Int(slot)
        unlink(slot)
        let due = entry.pointee.due
        if due <= core.pointee.current {
          entry.pointee.due = Self.never
          return slot
        }
        // Later than the current tick, so it goes to another bucket than this one.
        if due != Self.never { link(slot, due) }
      }
      core.pointee.cursor = min(nextOccupied() ?? .max, core.pointee.current &+ 1)
    }
    return nil
  }

  /// When to look again: no deadline comes before. Nil when there is nothing to wait for.
  ///
  /// Because moved deadlines are only noticed when their old bucket is reached, there may be nothing to tell then.
  public borrowing func nextWake() -> Instant? {
    guard let position = nextOccupied() else { return nil }
    return Instant(nanoseconds: position << Self.tickBits)
  }

  // MARK: The wheel

  private borrowing func link(_ slot: UInt32, _ due: Int64) {
    let position = min(due, core.pointee.cursor &+ Self.mask)
    let bucket = Int(position & Self.mask)
    let entries = core.pointee.entries
    let first = heads[bucket]
    entries[Int(slot)].position = position
    entries[Int(slot)].previous = Self.none
    entries[Int(slot)].next = first
    if first != Self.none { entries[Int(first)].previous = slot }
    heads[bucket] = slot
    occupied[bucket >> 6] |= 1 << UInt64(bucket & 63)
    core.pointee.linked &+= 1
  }

  private borrowing func unlink(_ slot: UInt32) {
    let entries = core.pointee.entries
    let entry = entries[Int(slot)]
    if entry.next != Self.none { entries[Int(entry.next)].previous = entry.previous }
    if entry.previous != Self.none {
      entries[Int(entry.previous)].next = entry.next
    } else {
      let bucket = Int(entry.position & Self.mask)
      heads[bucket] = entry.next
      if entry.next == Self.none { occupied[bucket >> 6] &= ~(1 << UInt64(bucket & 63)) }
    }
    entries[Int(slot)].position = -1
    core.pointee.linked &-= 1
  }

  /// The position of the first bucket, from the cursor on, in which an entry hangs.
  private borrowing func nextOccupied() -> Int64? {
    guard core.pointee.linked > 0 else { return nil }
    let cursor = core.pointee.cursor
    let start = Int(cursor & Self.mask)
    let words = Self.bucketCount / 64
    // The first word without the buckets before the cursor; at the end the same word again, with only them.
    var word = occupied[start >> 6] & (UInt64.max << UInt64(start & 63))
    for step in 0...words {
      if word != 0 {
        let bucket = ((start >> 6 + step) % words) << 6 + word.trailingZeroBitCount
        return cursor &+ (Int64(bucket &- start) & Self.mask)
      }
      word = occupied[((start >> 6) + step + 1) % words]
    }
    return nil
  }
}
