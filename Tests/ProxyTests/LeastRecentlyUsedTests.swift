// What was used longest ago goes first, whatever was done before.

import Testing

@testable import Proxy

@Suite struct LeastRecentlyUsedTests {
  @Test("what was used longest ago goes first")
  func order() {
    var values = LeastRecentlyUsed<Int, String>()
    for number in 1...4 { values.insert("\(number)", for: number) }
    values.touch(1)
    values.touch(4)
    #expect(values.insert("3'", for: 3) == "3")
    #expect(values.remove(9) == nil)
    values.touch(9)
    var order: [String] = []
    while let value = values.removeOldest() { order.append(value) }
    #expect(order == ["2", "1", "4", "3'"])
    #expect(values.count == 0)
    values.insert("5", for: 5)
    #expect(values.value(for: 5) == "5" && values.removeOldest() == "5")
  }

  @Test("it is a dictionary and an order, whatever is done to it", arguments: 0..<20)
  func model(seed: UInt64) {
    var values = LeastRecentlyUsed<Int, Int>()
    var model: [(key: Int, value: Int)] = []
    var state = seed &* 2_862_933_555_777_941_757 &+ 1
    for step in 0..<2000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let key = Int(state >> 40) % 12
      let place = model.firstIndex { $0.key == key }
      switch Int(state >> 60) % 4 {
      case 0:
        values.touch(key)
        if let place { model.append(model.remove(at: place)) }
      case 1:
        #expect(values.remove(key) == place.map { model.remove(at: $0).value })
      case 2:
        let oldest = model.isEmpty ? nil : model.removeFirst().value
        #expect(values.removeOldest() == oldest)
      default:
        #expect(values.insert(step, for: key) == place.map { model.remove(at: $0).value })
        model.append((key, step))
      }
      #expect(values.count == model.count)
      #expect(values.value(for: key) == model.first { $0.key == key }?.value)
    }
  }
}
