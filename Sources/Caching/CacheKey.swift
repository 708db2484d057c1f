// The key under which responses are found: the bytes of the target URI, and a hash of them.
//
// The method is not part of it: only GET is stored, and HEAD reads what GET stored (RFC 9111 §4).
// What Vary adds is not part of it either: a key leads to all variants, and the variance of each
// tells them apart. The seed of the hash is chosen at random when a store is made, and stays with it
// because hashes are on disk; nobody outside knows it, so nobody can choose URLs that collide.

import HTTP

/// The bytes of a normalised target URI with their hash.
public struct CacheKey: Sendable, Hashable {
  public let bytes: [UInt8]
  public let hash: UInt64

  @inlinable
  public init(_ bytes: [UInt8], hasher: KeyHasher) {
    self.bytes = bytes
    hash = hasher.hash(bytes.span)
  }

  @inlinable
  public static func == (left: CacheKey, right: CacheKey) -> Bool {
    left.hash == right.hash && left.bytes == right.bytes
  }

  @inlinable
  public func hash(into hasher: inout Hasher) { hasher.combine(hash) }
}

/// Hashes key bytes; made once, copied to whoever needs it.
///
/// Eight bytes at a time: mix in, multiply to 128 bits, fold the halves together. Not
/// cryptographic; the seed keeps strangers from predicting it, and equality of bytes is always
/// checked after equality of hashes.
public struct KeyHasher: Sendable, BitwiseCopyable {
  @usableFromInline let seed: UInt64

  @inlinable
  public init(seed: UInt64) { self.seed = seed }

  /// With a seed nobody can know.
  public static func random() -> KeyHasher {
    KeyHasher(seed: UInt64.random(in: UInt64.min...UInt64.max))
  }

  // Odd numbers with about as many ones as zeros; any would do.
  @usableFromInline static var first: UInt64 { 0x9E37_79B9_7F4A_7C15 }
  @usableFromInline static var second: UInt64 { 0xD6E8_FEB8_6659_FD93 }

  @inlinable @inline(__always)
  static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
    let product = left.multipliedFullWidth(by: right)
    return product.high ^ product.low
  }

  @inlinable
  public func hash(_ bytes: borrowing Span<UInt8>) -> UInt64 {
    unsafe bytes.withUnsafeBytes { unsafe hash($0) }
  }

  /// The hash of a buffer. No allocation, no bytes read past its end.
  @inlinable
  public func hash(_ buffer: UnsafeRawBufferPointer) -> UInt64 {
    var state = seed ^ Self.first
    var offset = 0
    let count = buffer.count
    while offset &+ 8 <= count {
      let word = unsafe UInt64(
        littleEndian: buffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      state = Self.fold(state ^ word, Self.second) ^ state.byteSwapped
      offset &+= 8
    }
    var tail: UInt64 = 0
    var shift: UInt64 = 0
    while offset < count {
      unsafe tail |= UInt64(buffer[offset]) &<< shift
      shift &+= 8
      offset &+= 1
    }
    // The length keeps a tail of zero bytes apart from no tail.
    state = Self.fold(state ^ tail, Self.second ^ UInt64(truncatingIfNeeded: count))
    return Self.fold(state ^ seed, Self.first)
  }
}
