import Testing

@testable import Proxy

@Suite struct ByteQueueTests {
  @Test("bytes come out as they went in, whatever is appended and consumed", arguments: 0..<40)
  func model(seed: UInt64) {
    var random = Seeded(state: seed)
    var queue = ByteQueue()
    var model: [UInt8] = []
    for _ in 0..<400 {
      if Bool.random(using: &random) {
        let count = Int.random(in: 0...3000, using: &random)
        let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        queue.append(bytes)
        model += bytes
      } else {
        let count = Int.random(in: 0...4000, using: &random)
        queue.consume(count)
        model.removeFirst(min(count, model.count))
      }
      #expect(queue.count == model.count && queue.isEmpty == model.isEmpty)
      #expect(Array(queue.bytes) == model)
    }
    queue.removeAll()
    #expect(queue.isEmpty == true)
    #expect(queue.bytes.isEmpty)
  }

  @Test("consuming nothing, too much or less than nothing is harmless")
  func edges() {
    var queue = ByteQueue()
    queue.consume(5)
    queue.append([1, 2, 3])
    queue.consume(-1)
    #expect(Array(queue.bytes) == [1, 2, 3])
    queue.append([])
    queue.consume(0)
    #expect(queue.count == 3)
    queue.consume(99)
    #expect(queue.isEmpty == true)
  }
}

/// SplitMix64.
private struct Seeded: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
