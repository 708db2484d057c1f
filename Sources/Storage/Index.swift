// Where each key lies in the log, kept in memory: 24 bytes per record in an open-addressing table.
//
// The full key is not here, only its 64-bit hash: what is found is a candidate, and whoever reads the record
// compares the key. Variants of one key are entries with the same hash and different variant hashes; the
// table keeps at most one entry per pair. One `Index` belongs to one shard and is used under its lock.
//
//   hash u64 | segment u32 | place u32: used, blob, offset/8 | extra u32 | variant u32
//
// `extra` is the length of the record, or for a record that names a blob the row of the blob in `BlobTable`,
// so that a blob loses its reference without anyone reading the record. Segment 0 marks a free place;
// `pendingSegment` marks a record that waits for the log thread, its place then holds its ticket.

/// Where one record lies, and what is known of it without reading it.
package struct IndexEntry: Sendable, Equatable {
  package static let pendingSegment = UInt32.max

  private static let usedBit: UInt32 = 1 << 31
  private static let blobBit: UInt32 = 1 << 30
  private static let placeMask: UInt32 = (1 << 30) - 1

  package var hash: UInt64
  package var segment: UInt32
  private var packedPlace: UInt32
  private var extra: UInt32
  package var variant: UInt32

  static var free: IndexEntry { IndexEntry() }

  private init() {
    hash = 0
    segment = 0
    packedPlace = 0
    extra = 0
    variant = 0
  }

  /// A record in the log.
  package init(
    hash: UInt64, variant: UInt32, segment: UInt32, offset: Int, length: Int, blob: BlobID?
  ) {
    self.hash = hash
    self.variant = variant
    self.segment = segment
    packedPlace = UInt32(truncatingIfNeeded: offset / RecordFormat.alignment) & Self.placeMask
    extra = blob?.row ?? UInt32(truncatingIfNeeded: length)
    if blob != nil { packedPlace |= Self.blobBit }
  }

  /// A record that is not written yet.
  package init(hash: UInt64, variant: UInt32, ticket: UInt32, blob: BlobID?) {
    self.hash = hash
    self.variant = variant
    segment = Self.pendingSegment
    packedPlace = ticket & Self.placeMask
    extra = blob?.row ?? 0
    if blob != nil { packedPlace |= Self.blobBit }
  }

  static func ticket(_ number: UInt32) -> UInt32 { number & placeMask }

  var isFree: Bool { segment == 0 }
  package var isPending: Bool { segment == Self.pendingSegment }
  package var ticket: UInt32? { isPending ? packedPlace & Self.placeMask : nil }
  package var offset: Int { Int(packedPlace & Self.placeMask) * RecordFormat.alignment }
  /// The length of the record; `nil` when it names a blob (its header tells).
  package var length: Int? { packedPlace & Self.blobBit == 0 ? Int(extra) : nil }
  package var blob: BlobID? { packedPlace & Self.blobBit == 0 ? nil : BlobID(row: extra) }

  package var isUsed: Bool {
    get { packedPlace & Self.usedBit != 0 }
    set {
      if newValue { packedPlace |= Self.usedBit } else { packedPlace &= ~Self.usedBit }
    }
  }

  /// Newer records lie further on; what is not written yet is newest.
  func isOlder(than other: IndexEntry) -> Bool {
    segment != other.segment
      ? segment < other.segment
      : packedPlace & Self.placeMask < other.packedPlace & Self.placeMask
  }

  func isAtSamePlace(as other: IndexEntry) -> Bool {
    segment == other.segment && (packedPlace ^ other.packedPlace) & Self.placeMask == 0
  }
}

/// A row of the blob table.
package struct BlobID: Sendable, Hashable {
  package var row: UInt32
}

package struct Index: ~Copyable {
  private var table: UnsafeMutablePointer<IndexEntry>
  private(set) var capacity: Int
  package private(set) var count = 0

  package init(capacity: Int = 16) {
    self.capacity = capacity
    table = .allocate(capacity: capacity)
    table.initialize(repeating: .free, count: capacity)
  }

  deinit { table.deallocate() }

  package var memory: Int { capacity * MemoryLayout<IndexEntry>.stride }

  // The home of a hash: its high bits scaled to the capacity, which needs no power of two. The multiplication
  // spreads what the choice of the shard used up.
  @inline(__always)
  private func home(_ hash: UInt64) -> Int {
    Int((hash &* 0x9E37_79B9_7F4A_7C15).multipliedFullWidth(by: UInt64(capacity)).high)
  }

  @inline(__always)
  private func next(_ position: Int) -> Int {
    position &+ 1 == capacity ? 0 : position &+ 1
  }

  /// Whether anything is stored under this hash; marks it as used.
  package mutating func touch(_ hash: UInt64) -> Bool {
    var position = home(hash)
    var found = false
    while !table[position].isFree {
      if table[position].hash == hash {
        table[position].isUsed = true
        found = true
      }
      position = next(position)
    }
    return found
  }

  package func contains(_ hash: UInt64) -> Bool {
    var position = home(hash)
    while !table[position].isFree {
      if table[position].hash == hash { return true }
      position = next(position)
    }
    return false
  }

  /// All entries of a hash, newest first.
  package func entries(_ hash: UInt64) -> [IndexEntry] {
    var result: [IndexEntry] = []
    var position = home(hash)
    while !table[position].isFree {
      if table[position].hash == hash { result.append(table[position]) }
      position = next(position)
    }
    if result.count > 1 { result.sort { $1.isOlder(than: $0) } }
    return result
  }

  package func entry(_ hash: UInt64, variant: UInt32) -> IndexEntry? {
    find(hash, variant).map { table[$0] }
  }

  private func find(_ hash: UInt64, _ variant: UInt32) -> Int? {
    var position = home(hash)
    while !table[position].isFree {
      if table[position].hash == hash && table[position].variant == variant { return position }
      position = next(position)
    }
    return nil
  }

  /// Puts the entry in; gives back the one it replaced.
  package mutating func put(_ entry: IndexEntry) -> IndexEntry? {
    if let position = find(entry.hash, entry.variant) {
      let old = table[position]
      table[position] = entry
      return old
    }
    if (count + 1) * 5 > capacity * 4 { grow() }
    place(entry)
    count += 1
    return nil
  }

  /// Moves the entry that is at the place of `expected`; false when something else is there now.
  /// Whether it was used since is kept or forgotten.
  package mutating func move(
    _ expected: IndexEntry, to entry: IndexEntry, keepingUse: Bool
  ) -> Bool {
    guard let position = find(expected.hash, expected.variant),
      table[position].isAtSamePlace(as: expected)
    else { return false }
    let wasUsed = table[position].isUsed
    table[position] = entry
    table[position].isUsed = keepingUse && wasUsed
    return true
  }

  /// Removes the entry if it is still at the place of `expected`; gives back what was removed.
  package mutating func remove(_ expected: IndexEntry) -> IndexEntry? {
    guard let position = find(expected.hash, expected.variant),
      table[position].isAtSamePlace(as: expected)
    else { return nil }
    let removed = table[position]
    vacate(position)
    return removed
  }

  /// Removes everything stored under a hash.
  package mutating func removeAll(_ hash: UInt64) -> [IndexEntry] {
    let removed = entries(hash)
    for entry in removed { _ = remove(entry) }
    return removed
  }

  package func visit(_ body: (IndexEntry) -> Void) {
    for position in 0..<capacity where !table[position].isFree { body(table[position]) }
  }

  private mutating func place(_ entry: IndexEntry) {
    var position = home(entry.hash)
    while !table[position].isFree { position = next(position) }
    table[position] = entry
  }

  // Linear probing without tombstones: what follows moves up, unless that would put it before its home.
  private mutating func vacate(_ position: Int) {
    var hole = position
    var probe = next(hole)
    while !table[probe].isFree {
      let distanceFromHome = distance(from: home(table[probe].hash), to: probe)
      if distanceFromHome >= distance(from: hole, to: probe) {
        table[hole] = table[probe]
        hole = probe
      }
      probe = next(probe)
    }
    table[hole] = .free
    count -= 1
  }

  private func distance(from: Int, to: Int) -> Int {
    to >= from ? to - from : to + capacity - from
  }

  // By a half, not by doubling: a million entries then never need more than 45 MB.
  private mutating func grow() {
    let oldTable = table
    let oldCapacity = capacity
    capacity += capacity / 2 + 1
    table = .allocate(capacity: capacity)
    table.initialize(repeating: .free, count: capacity)
    for position in 0..<oldCapacity where !oldTable[position].isFree { place(oldTable[position]) }
    oldTable.deallocate()
  }
}
