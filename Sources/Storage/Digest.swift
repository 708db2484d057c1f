// SHA-256: the name of every blob, and the proof that its bytes are what they were.

import COpenSSL

/// A SHA-256 digest.
public struct Digest: Hashable, Sendable, CustomStringConvertible {
  public static let byteCount = 32

  // Four words rather than an array: a digest is a dictionary key and must not allocate.
  private var word0: UInt64 = 0
  private var word1: UInt64 = 0
  private var word2: UInt64 = 0
  private var word3: UInt64 = 0

  /// From exactly 32 bytes.
  public init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.byteCount else { return nil }
    word0 = bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
    word1 = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    word2 = bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
    word3 = bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self)
  }

  /// From 64 hexadecimal digits; the store writes them in lower case and reads no others.
  public init?(hex: some StringProtocol) {
    let digits = Array(hex.utf8)
    guard digits.count == 2 * Self.byteCount else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.byteCount)
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let high = Self.value(of: digits[index]), let low = Self.value(of: digits[index + 1])
      else { return nil }
      bytes.append(high << 4 | low)
    }
    guard let digest = bytes.withUnsafeBytes({ Digest($0) }) else { return nil }
    self = digest
  }

  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    withUnsafeBytes(of: (word0, word1, word2, word3), body)
  }

  /// 64 lower-case hexadecimal digits.
  public var hex: String {
    withBytes { bytes in
      String(unsafeUninitializedCapacity: 64) { digits in
        for (index, byte) in bytes.enumerated() {
          digits[2 * index] = Self.digit(byte >> 4)
          digits[2 * index + 1] = Self.digit(byte & 15)
        }
        return 64
      }
    }
  }

  public var description: String { hex }

  private static func digit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }

  private static func value(of digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    default: nil
    }
  }
}

/// SHA-256 over bytes that come piece by piece.
///
/// Has one owner at a time, who may be on any thread.
package struct Hasher256: ~Copyable, @unchecked Sendable {
  // nil only when OpenSSL could not allocate; then no digest comes out and nothing gets committed.
  private var context: OpaquePointer?

  package init() {
    context = EVP_MD_CTX_new()
    if EVP_DigestInit_ex(context, EVP_sha256(), nil) != 1 {
      EVP_MD_CTX_free(context)
      context = nil
    }
  }

  deinit { EVP_MD_CTX_free(context) }

  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard context != nil, bytes.count > 0 else { return }
    if EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) != 1 {
      EVP_MD_CTX_free(context)
      context = nil
    }
  }

  /// The digest of everything so far; the computation goes on.
  package func soFar() -> Digest? {
    guard context != nil, let copy = EVP_MD_CTX_new() else { return nil }
    defer { EVP_MD_CTX_free(copy) }
    guard EVP_MD_CTX_copy_ex(copy, context) == 1 else { return nil }
    return withUnsafeTemporaryAllocation(byteCount: Digest.byteCount, alignment: 8) { buffer in
      guard EVP_DigestFinal_ex(copy, buffer.baseAddress, nil) == 1 else { return nil }
      return Digest(UnsafeRawBufferPointer(buffer))
    }
  }

  /// The digest of everything so far; ends the computation.
  package consuming func finish() -> Digest? {
    guard context != nil else { return nil }
    return withUnsafeTemporaryAllocation(byteCount: Digest.byteCount, alignment: 8) { buffer in
      guard EVP_DigestFinal_ex(context, buffer.baseAddress, nil) == 1 else { return nil }
      return Digest(UnsafeRawBufferPointer(buffer))
    }
  }
}
