// The index against a dictionary, and its size.

import SeededRandom
import Testing

@testable import Storage

@Suite struct IndexTests {
  private struct Key: Hashable {
    var hash: UInt64
    var variant: UInt32
  }

  @Test("does what a dictionary does", arguments: 0..<20 as Range<UInt64>)
  func model(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var index = Index()
    var model: [Key: IndexEntry] = [:]
    for step in 0..<3000 {
      // Few hashes, and close together, so that they share probe sequences.
      let hash =
        UInt64.random(in: 1...200, using: &random) &* (seed % 2 == 0 ? 1 : 0x1000_0000_0001)
      let variant = UInt32.random(in: 0...2, using: &random)
      let key = Key(hash: hash, variant: variant)
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<5:
        let entry = IndexEntry(
          hash: hash, variant: variant, segment: UInt32(step / 100 + 1), offset: step * 8,
          length: 80, blob: step % 5 == 0 ? BlobID(row: UInt32(step)) : nil)
        let replaced = index.put(entry)
        #expect(replaced == model[key])
        model[key] = entry
      case 5..<8:
        if let entry = model[key] {
          let removed = index.remove(entry)
          #expect(removed == entry)
          model[key] = nil
        }
      case 8:
        let removed = index.removeAll(hash)
        #expect(
          Set(removed.map(\.variant)) == Set(model.keys.filter { $0.hash == hash }.map(\.variant)))
        for variant in 0...2 as ClosedRange<UInt32> {
          model[Key(hash: hash, variant: variant)] = nil
        }
      default:
        let found = index.entries(hash)
        #expect(found.count == model.keys.filter { $0.hash == hash }.count)
        #expect(zip(found, found.dropFirst()).allSatisfy { $1.isOlder(than: $0) })
      }
      let (found, count) = (index.entry(hash, variant: variant), index.count)
      #expect(found == model[key])
      #expect(count == model.count)
    }
    for (key, entry) in model {
      let found = index.entry(key.hash, variant: key.variant)
      #expect(found == entry)
    }
  }

  @Test("a moved entry keeps its mark only when asked to")
  func marks() throws {
    var index = Index()
    let old = IndexEntry(hash: 5, variant: 0, segment: 1, offset: 32, length: 80, blob: nil)
    let new = IndexEntry(hash: 5, variant: 0, segment: 2, offset: 64, length: 80, blob: nil)
    _ = index.put(old)
    let isThere = index.touch(5)
    #expect(isThere)
    let isMoved = index.move(old, to: new, keepingUse: true)
    let moved = index.entry(5, variant: 0)
    #expect(isMoved && moved?.isUsed == true)
    let isMovedTwice = index.move(old, to: new, keepingUse: true)
    #expect(!isMovedTwice)
    let isMovedBack = index.move(new, to: old, keepingUse: false)
    let back = index.entry(5, variant: 0)
    #expect(isMovedBack && back?.isUsed == false)
  }

  @Test("a million entries take less than 64 MB")
  func memory() {
    var worst = 0
    var index = Index()
    var random = SeededGenerator(seed: 1)
    for number in 0..<1_000_000 {
      _ = index.put(
        IndexEntry(
          hash: random.next(), variant: 0, segment: 1, offset: number * 8, length: 80, blob: nil))
      worst = max(worst, index.memory)
    }
    let count = index.count
    #expect(count == 1_000_000)
    #expect(worst < 64_000_000)
  }
}
