// Checksum and digest against published values.

import Testing

@testable import Storage

@Suite struct ChecksumTests {
  @Test(
    "XXH64 as published",
    arguments: [
      ("", 0, 0xEF46_DB37_51D8_E999),
      ("a", 0, 0xD24E_C4F1_A98C_6E5B),
      ("abc", 0, 0x44BC_2CF5_AD77_0999),
      ("", 2_654_435_761, 0xAC75_FDA2_929B_17EF),
      ("Nobody inspects the spammish repetition", 0, 0xFBCE_A83C_8A37_8BF1),
    ] as [(String, UInt64, UInt64)])
  func published(text: String, seed: UInt64, expected: UInt64) {
    #expect(Checksum.of(Array(text.utf8), seed: seed) == expected)
  }

  @Test("one flipped bit changes it, at every length")
  func everyBitCounts() {
    for count in 1..<80 {
      var data = bytes(count)
      let whole = Checksum.of(data, seed: 7)
      for bit in 0..<count * 8 {
        data[bit / 8] ^= 1 << UInt8(bit % 8)
        #expect(Checksum.of(data, seed: 7) != whole)
        data[bit / 8] ^= 1 << UInt8(bit % 8)
      }
    }
  }
}

@Suite struct DigestTests {
  @Test("SHA-256 as published, in pieces")
  func published() throws {
    var hasher = Hasher256()
    Array("a".utf8).withUnsafeBytes { hasher.update($0) }
    Array("bc".utf8).withUnsafeBytes { hasher.update($0) }
    let finished = hasher.finish()
    let digest = try #require(finished)
    #expect(
      digest.hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(Digest(hex: digest.hex) == digest)
  }

  @Test(
    "only 64 lower-case digits are a name",
    arguments: [
      "", "ab", String(repeating: "A", count: 64), String(repeating: "g", count: 64),
      String(repeating: "0", count: 65),
    ])
  func names(text: String) {
    #expect(Digest(hex: text) == nil)
  }
}
