// The variant sets that are ready to be sent, within a bound of bytes: S3-FIFO, one table per shard.
//
//   new ─▶ small (a tenth) ──used again──▶ main ──used again──▶ back to its start
//             │ not used                     │ not used
//             ▼                              ▼
//           out                            out
//
// A scan over many cold keys so passes through the small queue and leaves the main one alone. The ghost queue
// of the published algorithm is the index's used bit: what was used before it left goes straight to main when it
// comes back. A set that holds an open blob is charged for the descriptor as if it were memory, so one bound
// covers both. Everything here happens under the lock of the shard.

import Glibc

package struct HotTable: ~Copyable {
  private struct Slot {
    var hash: UInt64 = 0
    var set: VariantSet?
    var cost = 0
    var next: Int32 = -1
    var previous: Int32 = -1
    var uses: UInt8 = 0
    var isInMain = false
    /// Used since the log last asked (`takeUse`).
    var usedSince = false
  }

  private struct Queue {
    var first: Int32 = -1
    var last: Int32 = -1
    var cost = 0
  }

  package let limit: Int
  package private(set) var count = 0
  private var slots: UnsafeMutablePointer<Slot>
  private var slotCapacity: Int
  private var freeSlot: Int32 = -1
  private var slotsTouched = 0
  // Open addressing from hash to slot; −1 is free. Capacity is a power of two, at most half full.
  private var buckets: UnsafeMutablePointer<Int32>
  private var bucketMask: Int
  private var small = Queue()
  private var main = Queue()

  package init(limit: Int) {
    self.limit = limit
    slotCapacity = 8
    slots = .allocate(capacity: slotCapacity)
    slots.initialize(repeating: Slot(), count: slotCapacity)
    bucketMask = 15
    buckets = .allocate(capacity: 16)
    buckets.initialize(repeating: -1, count: 16)
  }

  deinit {
    slots.deinitialize(count: slotCapacity)
    slots.deallocate()
    buckets.deallocate()
  }

  package var cost: Int { small.cost + main.cost }

  @inline(__always)
  private func home(_ hash: UInt64) -> Int {
    Int(truncatingIfNeeded: (hash &* 0x9E37_79B9_7F4A_7C15) &>> 32) & bucketMask
  }

  @inline(__always)
  private func find(_ hash: UInt64) -> Int? {
    var bucket = home(hash)
    while true {
      let slot = Int(buckets[bucket])
      if slot < 0 { return nil }
      if slots[slot].hash == hash { return slot }
      bucket = (bucket &+ 1) & bucketMask
    }
  }

  /// The set of this key, which counts as a use of it.
  @inline(__always)
  mutating func use(_ hash: UInt64, key: UnsafeRawBufferPointer) -> VariantSet? {
    guard let slot = find(hash), let set = slots[slot].set, set.hasKey(key) else { return nil }
    if slots[slot].uses < 3 { slots[slot].uses &+= 1 }
    slots[slot].usedSince = true
    return set
  }

  /// The set under this hash, without counting it.
  package func peek(_ hash: UInt64) -> VariantSet? {
    find(hash).flatMap { slots[$0].set }
  }

  /// Whether the set was used since this was last asked.
  package mutating func takeUse(_ hash: UInt64) -> Bool {
    guard let slot = find(hash) else { return false }
    defer { slots[slot].usedSince = false }
    return slots[slot].usedSince
  }

  /// Puts the set in, in place of one with the same hash.
  /// - Parameter wasUsed: it was used before, and goes to the main queue at once.
  /// - Returns: the hashes of the sets that had to go and were used since the log last asked.
  package mutating func insert(_ set: VariantSet, wasUsed: Bool) -> [UInt64] {
    let hash = set.hash
    if let slot = find(hash) {
      let growth = set.cost - slots[slot].cost
      slots[slot].set = set
      slots[slot].cost = set.cost
      if slots[slot].isInMain { main.cost += growth } else { small.cost += growth }
    } else {
      let slot = takeSlot()
      slots[slot] = Slot(hash: hash, set: set, cost: set.cost, isInMain: wasUsed)
      link(slot)
      addBucket(hash, slot)
      count += 1
    }
    return cost > limit ? makeRoom() : []
  }

  /// Forgets what is under this hash.
  package mutating func remove(_ hash: UInt64) {
    if let slot = find(hash) { drop(slot) }
  }

  private mutating func makeRoom() -> [UInt64] {
    var used: [UInt64] = []
    while cost > limit {
      let fromSmall = small.last >= 0 && (small.cost > limit / 10 || main.last < 0)
      let slot = Int(fromSmall ? small.last : main.last)
      guard slot >= 0 else { break }
      if slots[slot].uses > 0 {
        // Second chance. In main each round costs one use, so this ends.
        unlink(slot)
        slots[slot].uses = fromSmall ? 0 : slots[slot].uses - 1
        slots[slot].isInMain = true
        link(slot)
      } else {
        if slots[slot].usedSince { used.append(slots[slot].hash) }
        drop(slot)
      }
    }
    return used
  }

  // MARK: Slots and queues

  private mutating func takeSlot() -> Int {
    if freeSlot >= 0 {
      let slot = Int(freeSlot)
      freeSlot = slots[slot].next
      return slot
    }
    if slotsTouched == slotCapacity {
      let larger = UnsafeMutablePointer<Slot>.allocate(capacity: 2 * slotCapacity)
      larger.moveInitialize(from: slots, count: slotCapacity)
      (larger + slotCapacity).initialize(repeating: Slot(), count: slotCapacity)
      slots.deallocate()
      slots = larger
      slotCapacity *= 2
    }
    slotsTouched += 1
    return slotsTouched - 1
  }

  private mutating func drop(_ slot: Int) {
    unlink(slot)
    removeBucket(slots[slot].hash)
    slots[slot] = Slot()
    slots[slot].next = freeSlot
    freeSlot = Int32(truncatingIfNeeded: slot)
    count -= 1
  }

  private mutating func link(_ slot: Int) {
    let number = Int32(truncatingIfNeeded: slot)
    var queue = slots[slot].isInMain ? main : small
    slots[slot].previous = -1
    slots[slot].next = queue.first
    if queue.first >= 0 { slots[Int(queue.first)].previous = number } else { queue.last = number }
    queue.first = number
    queue.cost += slots[slot].cost
    if slots[slot].isInMain { main = queue } else { small = queue }
  }

  private mutating func unlink(_ slot: Int) {
    var queue = slots[slot].isInMain ? main : small
    let previous = slots[slot].previous
    let next = slots[slot].next
    if previous >= 0 { slots[Int(previous)].next = next } else { queue.first = next }
    if next >= 0 { slots[Int(next)].previous = previous } else { queue.last = previous }
    queue.cost -= slots[slot].cost
    if slots[slot].isInMain { main = queue } else { small = queue }
  }

  private mutating func addBucket(_ hash: UInt64, _ slot: Int) {
    if (count + 1) * 2 > bucketMask + 1 { growBuckets() }
    var bucket = home(hash)
    while buckets[bucket] >= 0 { bucket = (bucket + 1) & bucketMask }
    buckets[bucket] = Int32(truncatingIfNeeded: slot)
  }

  private mutating func removeBucket(_ hash: UInt64) {
    var hole = home(hash)
    while buckets[hole] >= 0, slots[Int(buckets[hole])].hash != hash {
      hole = (hole + 1) & bucketMask
    }
    guard buckets[hole] >= 0 else { return }
    var probe = (hole + 1) & bucketMask
    while buckets[probe] >= 0 {
      let ideal = home(slots[Int(buckets[probe])].hash)
      if (probe - ideal) & bucketMask >= (probe - hole) & bucketMask {
        buckets[hole] = buckets[probe]
        hole = probe
      }
      probe = (probe + 1) & bucketMask
    }
    buckets[hole] = -1
  }

  private mutating func growBuckets() {
    let old = buckets
    let oldCount = bucketMask + 1
    bucketMask = 2 * oldCount - 1
    buckets = .allocate(capacity: 2 * oldCount)
    buckets.initialize(repeating: -1, count: 2 * oldCount)
    for position in 0..<oldCount where old[position] >= 0 {
      var bucket = home(slots[Int(old[position])].hash)
      while buckets[bucket] >= 0 { bucket = (bucket + 1) & bucketMask }
      buckets[bucket] = old[position]
    }
    old.deallocate()
  }
}
