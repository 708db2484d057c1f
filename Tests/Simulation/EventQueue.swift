// What is still to happen, by virtual time; what is due at the same moment happens in the order it was planned.

struct EventQueue {
  private struct Event {
    let time: Int64
    let number: UInt64
    let action: () -> Void

    func isBefore(_ other: Event) -> Bool {
      time != other.time ? time < other.time : number < other.number
    }
  }

  private var heap: [Event] = []
  private var planned: UInt64 = 0

  var nextTime: Int64? { heap.first?.time }
  var count: Int { heap.count }

  mutating func plan(at time: Int64, _ action: @escaping () -> Void) {
    planned += 1
    heap.append(Event(time: time, number: planned, action: action))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].isBefore(heap[parent]) else { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  mutating func next() -> (() -> Void)? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    guard !heap.isEmpty else { return first.action }
    heap[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < heap.count && heap[child].isBefore(heap[least]) {
        least = child
      }
      if least == parent { return first.action }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
