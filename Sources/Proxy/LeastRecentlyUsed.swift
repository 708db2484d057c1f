// A dictionary that knows in which order its values were used last. The order is a list of places in an array, each of
// which knows its neighbours, so that every operation takes the same time however many there are.

struct LeastRecentlyUsed<Key: Hashable, Value> {
  private struct Node {
    var key: Key
    var value: Value
    /// Used before this one.
    var older: Int?
    /// Used after it.
    var newer: Int?
  }

  private var nodes: [Node?] = []
  private var free: [Int] = []
  private var places: [Key: Int] = [:]
  private var oldest: Int?
  private var newest: Int?

  var count: Int { places.count }

  /// Looks without using it.
  func value(for key: Key) -> Value? { places[key].flatMap { nodes[$0]?.value } }

  /// From now on it is the one that was used last.
  mutating func touch(_ key: Key) {
    guard let place = places[key], place != newest else { return }
    unlink(place)
    link(place)
  }

  /// - Returns: what had the key before.
  @discardableResult
  mutating func insert(_ value: Value, for key: Key) -> Value? {
    let old = remove(key)
    let node = Node(key: key, value: value, older: nil, newer: nil)
    let place: Int
    if let reused = free.popLast() {
      place = reused
      nodes[place] = node
    } else {
      place = nodes.count
      nodes.append(node)
    }
    places[key] = place
    link(place)
    return old
  }

  @discardableResult
  mutating func remove(_ key: Key) -> Value? {
    guard let place = places.removeValue(forKey: key) else { return nil }
    unlink(place)
    let value = nodes[place]?.value
    nodes[place] = nil
    free.append(place)
    return value
  }

  mutating func removeOldest() -> Value? {
    guard let oldest, let key = nodes[oldest]?.key else { return nil }
    return remove(key)
  }

  private mutating func link(_ place: Int) {
    nodes[place]?.older = newest
    nodes[place]?.newer = nil
    if let newest { nodes[newest]?.newer = place } else { oldest = place }
    newest = place
  }

  private mutating func unlink(_ place: Int) {
    guard let node = nodes[place] else { return }
    if let older = node.older { nodes[older]?.newer = node.newer } else { oldest = node.newer }
    if let newer = node.newer { nodes[newer]?.older = node.older } else { newest = node.older }
  }
}
