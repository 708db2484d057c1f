// Where all chance of a simulation comes from: one sequence that its seed determines, asked in the terms
// of a scenario.

import SeededRandom

extension SeededGenerator {
  /// True once in so many times.
  package mutating func oneIn(_ count: Int) -> Bool { next() % UInt64(max(1, count)) == 0 }

  /// True with so many chances in a thousand.
  package mutating func chance(_ thousandths: Int) -> Bool {
    thousandths > 0 && Int(next() % 1000) < thousandths
  }

  package mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(1, bound))) }

  package mutating func within(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + below(range.upperBound - range.lowerBound + 1)
  }

  package mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[below(elements.count)]
  }
}
