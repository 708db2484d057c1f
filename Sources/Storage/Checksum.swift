// The 64-bit checksum that guards every record: XXH64, as its public specification defines it.
//
// It finds torn writes, flipped bits and records that are not where they should be. It is no defence
// against someone who may write into the store's directory. The seed is the store's own random
// identity, so bytes inside a stored body cannot pass for a record when a segment is scanned.

package enum Checksum {
  private static var prime1: UInt64 { 0x9E37_79B1_85EB_CA87 }
  private static var prime2: UInt64 { 0xC2B2_AE3D_27D4_EB4F }
  private static var prime3: UInt64 { 0x1656_67B1_9E37_79F9 }
  private static var prime4: UInt64 { 0x85EB_CA77_C2B2_AE63 }
  private static var prime5: UInt64 { 0x27D4_EB2F_1656_67C5 }

  /// XXH64 of `bytes` with `seed`.
  package static func of(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
    let count = bytes.count
    guard count > 0, let base = bytes.baseAddress else {
      return avalanche(seed &+ prime5)
    }
    var at = 0
    var hash: UInt64
    if count >= 32 {
      var lane1 = seed &+ prime1 &+ prime2
      var lane2 = seed &+ prime2
      var lane3 = seed
      var lane4 = seed &- prime1
      while at &+ 32 <= count {
        lane1 = round(lane1, word(base, at))
        lane2 = round(lane2, word(base, at &+ 8))
        lane3 = round(lane3, word(base, at &+ 16))
        lane4 = round(lane4, word(base, at &+ 24))
        at &+= 32
      }
      hash = rotate(lane1, 1) &+ rotate(lane2, 7) &+ rotate(lane3, 12) &+ rotate(lane4, 18)
      hash = merge(hash, lane1)
      hash = merge(hash, lane2)
      hash = merge(hash, lane3)
      hash = merge(hash, lane4)
    } else {
      hash = seed &+ prime5
    }
    hash = hash &+ UInt64(count)
    while at &+ 8 <= count {
      hash ^= round(0, word(base, at))
      hash = rotate(hash, 27) &* prime1 &+ prime4
      at &+= 8
    }
    if at &+ 4 <= count {
      let value = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: at, as: UInt32.self))
      hash ^= UInt64(value) &* prime1
      hash = rotate(hash, 23) &* prime2 &+ prime3
      at &+= 4
    }
    while at < count {
      hash ^= UInt64(base.load(fromByteOffset: at, as: UInt8.self)) &* prime5
      hash = rotate(hash, 11) &* prime1
      at &+= 1
    }
    return avalanche(hash)
  }

  package static func of(_ bytes: [UInt8], seed: UInt64) -> UInt64 {
    bytes.withUnsafeBytes { of($0, seed: seed) }
  }

  @inline(__always)
  private static func word(_ base: UnsafeRawPointer, _ offset: Int) -> UInt64 {
    UInt64(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }

  @inline(__always)
  private static func rotate(_ value: UInt64, _ by: UInt64) -> UInt64 {
    (value &<< by) | (value &>> (64 &- by))
  }

  @inline(__always)
  private static func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
    rotate(lane &+ input &* prime2, 31) &* prime1
  }

  @inline(__always)
  private static func merge(_ hash: UInt64, _ lane: UInt64) -> UInt64 {
    (hash ^ round(0, lane)) &* prime1 &+ prime4
  }

  @inline(__always)
  private static func avalanche(_ value: UInt64) -> UInt64 {
    var hash = value
    hash ^= hash &>> 33
    hash = hash &* prime2
    hash ^= hash &>> 29
    hash = hash &* prime3
    return hash ^ (hash &>> 32)
  }
}
