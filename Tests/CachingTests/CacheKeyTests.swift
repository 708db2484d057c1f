// Keys and the quality of their hash.

import SeededRandom
import Testing

@testable import Caching

private let hasher = KeyHasher(seed: 0x0123_4567_89AB_CDEF)

private func hash(_ text: String) -> UInt64 { hasher.hash(Array(text.utf8).span) }

@Suite("Cache keys")
struct CacheKeyTests {
  @Test("equal bytes make equal keys")
  func equality() {
    let one = CacheKey(Array("http://a.example/x".utf8), hasher: hasher)
    let same = CacheKey(Array("http://a.example/x".utf8), hasher: hasher)
    let other = CacheKey(Array("http://a.example/y".utf8), hasher: hasher)
    #expect(one == same)
    #expect(one != other)
    #expect(Set([one, same, other]).count == 2)
  }

  @Test("a hundred thousand URLs that look alike have as many hashes")
  func noCollisions() {
    var hashes = Set<UInt64>()
    for index in 0..<100_000 { hashes.insert(hash("http://deb.example.org/pool/main/\(index)")) }
    for index in 0..<1000 {
      hashes.insert(hash(String(repeating: "\u{0}", count: index)))
      hashes.insert(hash(String(repeating: "a", count: index + 1)))
    }
    #expect(hashes.count == 102_000)
  }

  @Test("the halves and the low bits spread as well as the whole")
  func spread() {
    var low = [Int](repeating: 0, count: 1024)
    var high = [Int](repeating: 0, count: 1024)
    let count = 102_400
    for index in 0..<count {
      let value = hash("http://deb.example.org/pool/main/\(index).deb")
      low[Int(value & 1023)] += 1
      high[Int(value >> 54)] += 1
    }
    // 100 in each on average; six standard deviations on either side.
    #expect(low.allSatisfy { (40...160).contains($0) })
    #expect(high.allSatisfy { (40...160).contains($0) })
  }

  @Test("changing one bit of a key changes about half of the hash")
  func avalanche() {
    var random = SeededGenerator(seed: 64)
    var total = 0
    var trials = 0
    for length in 1...64 {
      let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
      let before = hasher.hash(bytes.span)
      for bit in 0..<length * 8 {
        var changed = bytes
        changed[bit / 8] ^= 1 << UInt8(bit % 8)
        let difference = (before ^ hasher.hash(changed.span)).nonzeroBitCount
        #expect(difference >= 8)
        total += difference
        trials += 1
      }
    }
    let average = Double(total) / Double(trials)
    #expect((31.0...33.0).contains(average))
  }

  @Test("another seed makes another hash")
  func seeds() {
    let text = Array("http://a.example/".utf8)
    var hashes = Set<UInt64>()
    for seed in 0..<1000 as Range<UInt64> { hashes.insert(KeyHasher(seed: seed).hash(text.span)) }
    #expect(hashes.count == 1000)
  }

  @Test("where the bytes lie does not matter")
  func alignment() {
    let text = Array("http://a.example/some/longer/path".utf8)
    for shift in 1..<9 {
      let moved = [UInt8](repeating: 0x41, count: shift) + text
      #expect(hasher.hash(moved.span.extracting(shift...)) == hasher.hash(text.span))
    }
  }
}
