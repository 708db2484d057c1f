// The flows whose entries in the connection table are of interest, and what has become of these since. A kernel that
// meets a flow without an entry makes a new one, perhaps to another server, and throws it away at the first reset: an
// entry that replaced another is usually gone by the time that somebody asks, and only the events told of it.
//
//   watch ─▶ first ─┬─ deleted ─▶ lost ── created ─▶ successor
//                   └─ (reset) ──▶ state close, deleted ten seconds later: in order

import Platform

struct FlowWatch {
  /// What is known of one flow.
  struct Flow: Sendable {
    /// As it looks here, our address first.
    let tuple: ConntrackTuple
    /// When it was established.
    let first: ConntrackEntry
    /// As it was when it was deleted.
    var lost: ConntrackEntry?
    /// What took its place.
    var successor: ConntrackEntry?
  }

  /// Flows that are remembered at least; beyond twice as many the oldest make room. Ports are used again, so nobody needs to say when one has ended.
  static let limit = 8192

  private var flows: [ConntrackTuple: Flow] = [:]
  /// The ways in which packets of a flow may look on both sides of the translation, to its key in `flows`.
  private var sights: [ConntrackTuple: ConntrackTuple] = [:]
  private var order: [ConntrackTuple] = []

  var count: Int { flows.count }

  mutating func watch(_ tuple: ConntrackTuple, _ entry: ConntrackEntry) {
    forget(tuple)
    if order.count >= Self.limit * 2 { trim() }
    flows[tuple] = Flow(tuple: tuple, first: entry)
    for sight in [entry.original, entry.reply] { sights[sight] = tuple }
    order.append(tuple)
  }

  func flow(_ tuple: ConntrackTuple) -> Flow? { flows[tuple] }

  /// An entry was made.
  mutating func created(_ entry: ConntrackEntry) {
    guard let key = sights[entry.original] ?? sights[entry.reply] else { return }
    // The first one too is heard of, perhaps after it was asked for. Ids are made of addresses and tuples, so one that
    // comes after it may have the same.
    guard let flow = flows[key], flow.lost != nil || flow.first.id != entry.id else { return }
    flows[key]?.successor = entry
  }

  /// An entry was deleted.
  mutating func deleted(_ entry: ConntrackEntry) {
    guard let key = sights[entry.original], let flow = flows[key] else { return }
    if flow.first.id == entry.id, flow.lost == nil { flows[key]?.lost = entry }
  }

  private mutating func trim() {
    // Each tuple counts where it was put in last.
    var seen: Set<ConntrackTuple> = []
    let kept = order.reversed().filter { flows[$0] != nil && seen.insert($0).inserted }
    for old in kept.dropFirst(Self.limit) { forget(old) }
    order = kept.prefix(Self.limit).reversed()
  }

  private mutating func forget(_ tuple: ConntrackTuple) {
    guard let flow = flows.removeValue(forKey: tuple) else { return }
    for sight in [flow.first.original, flow.first.reply] where sights[sight] == tuple {
      sights[sight] = nil
    }
  }
}
