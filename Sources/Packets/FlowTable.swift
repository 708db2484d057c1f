// The flows that were seen, each with its last packets: a table of fixed size that never allocates once it is full.
// Not shared; `FlowIndex` puts a lock around it.
//
//   hash of the tuple ─▶ bucket ─▶ flow ─▶ flow …          found by the whole tuple
//   local port ────────▶ flow ─▶ flow …                    found by the port alone: strays match no tuple
//   live: newest … oldest     ended: newest … oldest       who goes first when there is no room
//
// Ports are used again, so a flow is one connection: where another one begins between the same ends, the earlier one is
// kept behind it, for who asks about its ending yet, and the one before that goes.
//
// A flow that has seen a reset, or a FIN from both sides, counts as ended; those are forgotten first, so that a long
// download is not displaced by a thousand short connections.

import Glibc
import Platform

/// Slot of a flow in the table.
typealias FlowSlot = Int32

// Sendable, because all its memory is its own and it is never copied.
struct FlowTable: ~Copyable, @unchecked Sendable {
  /// What is kept of a packet beside its bytes.
  struct StoredPacket {
    var sighting: PacketSighting
    /// Of what makes a packet that packet, so that a second look at it is noticed.
    var fingerprint: UInt64
    var captured: UInt8
    var copies: UInt16
  }

  struct Flow {
    /// Canonical: the source is the lower end.
    var endpoints: PacketEndpoints
    /// When its first SYN was seen, in nanoseconds since 1970; nil where it had begun before.
    var began: Int64?
    var lower = FlowBaseline()
    var upper = FlowBaseline()
    var total: UInt64 = 0
    var hasResets = false
    var isEnded = false
    /// Which ends are ours, as far as directions have told: bit 0 the lower one, bit 1 the upper one.
    var localEnds: UInt8 = 0
    // Links are slots; -1 for none.
    var nextInBucket: FlowSlot = -1
    var newer: FlowSlot = -1
    var older: FlowSlot = -1
    // Links of the port lists are `slot * 2 + end`; one pair for each end.
    var portNext: (Int32, Int32) = (-1, -1)
    var portPrevious: (Int32, Int32) = (-1, -1)
  }

  struct AgeList {
    var newest: FlowSlot = -1
    var oldest: FlowSlot = -1
  }

  let capacity: Int
  let depth: Int
  private let flows: UnsafeMutablePointer<Flow>
  private let packets: UnsafeMutablePointer<StoredPacket>
  private let bytes: UnsafeMutablePointer<UInt8>
  private let buckets: UnsafeMutablePointer<FlowSlot>
  private let bucketMask: Int
  private let ports: UnsafeMutablePointer<Int32>
  private let seed: UInt64
  // Slots from here on have never been used, and their memory not touched.
  private var used = 0
  private var live = AgeList()
  private var ended = AgeList()
  private var resets: [FlowSlot: [ResetSighting]] = [:]
  // Whose resets were kept, the oldest at `resetsBegin` once there are as many as may be.
  private var resetOrder: [FlowSlot] = []
  private var resetsBegin = 0
  private(set) var evictions: UInt64 = 0

  static let snap = Int(PacketFilter.snapLength)
  private static let maximumResets = 4
  /// Of all flows together; the oldest one gives way.
  private static let maximumSightings = 1024
  /// Behind the first four of a flow one is kept in so many nanoseconds: a flood is counted, not copied.
  private static let resetInterval: Int64 = 100_000_000
  private static let portCount = 65536

  /// What a table takes when it is full, in bytes.
  static func maximumBytes(flows: Int, depth: Int) -> Int {
    // A reset is kept with its triggers, each of them an object with its headers and bytes.
    let resets = maximumSightings * (1 + ResetSighting.maximumCandidates) * 512
    let packet = MemoryLayout<StoredPacket>.stride + snap
    return flows * (MemoryLayout<Flow>.stride + depth * packet) + resets + bucketCount(flows) * 4
      + portCount * 4
  }

  private static func bucketCount(_ flows: Int) -> Int {
    var count = 64
    while count < flows { count *= 2 }
    return count
  }

  init(flows capacity: Int, depth: Int, seed: UInt64) {
    self.capacity = min(max(capacity, 16), 1 << 20)
    self.depth = min(max(depth, 4), 256)
    self.seed = seed
    flows = .allocate(capacity: self.capacity)
    packets = .allocate(capacity: self.capacity * self.depth)
    bytes = .allocate(capacity: self.capacity * self.depth * FlowTable.snap)
    let count = FlowTable.bucketCount(self.capacity)
    bucketMask = count - 1
    buckets = .allocate(capacity: count)
    buckets.initialize(repeating: -1, count: count)
    ports = .allocate(capacity: FlowTable.portCount)
    ports.initialize(repeating: -1, count: FlowTable.portCount)
  }

  deinit {
    // All of it trivial.
    flows.deallocate()
    packets.deallocate()
    bytes.deallocate()
    buckets.deallocate()
    ports.deallocate()
  }

  var count: Int { used }

  // MARK: Recording

  /// Takes in a packet.
  /// - Returns: false for a second look at one that is there already.
  mutating func record(
    _ sighting: PacketSighting, _ header: PacketHeader, _ captured: UnsafeBufferPointer<UInt8>
  ) -> Bool {
    switch header.content {
    case .tcp(let tcp):
      // What the connection is used for is not kept; what a reset says is.
      let captured =
        tcp.isReset
        ? captured
        : UnsafeBufferPointer(rebasing: captured.prefix(Int(header.contentOffset)))
      let slot = place(for: header.endpoints, tcp, sighting)
      let fingerprint = FlowTable.fingerprint(header, tcp)
      if isCopy(sighting, fingerprint, in: slot) { return false }
      noteLocalEnd(slot, sighting, header.endpoints)
      if tcp.isReset {
        noteReset(slot, sighting, header, captured)
      } else if beginning(tcp, from: header.endpoints, sighting, in: slot) == .strange {
        // Kept to be shown, and no part of what the sender is like.
        store(sighting, captured, fingerprint, in: slot)
        return true
      } else if header.endpoints.isAscending {
        let flow = flows + Int(slot)
        flow.pointee.lower.observe(
          header, tcp, at: sighting.time, receiver: flow.pointee.upper,
          isOurs: sighting.isOutgoing)
      } else {
        let flow = flows + Int(slot)
        flow.pointee.upper.observe(
          header, tcp, at: sighting.time, receiver: flow.pointee.lower,
          isOurs: sighting.isOutgoing)
      }
      // A SYN that is sent again has not been refused by whatever came in between.
      let flow = flows + Int(slot)
      let isEnded = tcp.isReset || flow.pointee.lower.hasFinished && flow.pointee.upper.hasFinished
      touch(slot, isEnded: isEnded || flow.pointee.isEnded && !tcp.flags.contains(.synchronise))
      store(sighting, captured, fingerprint, in: slot)
      return true
    case .icmp(let error):
      // Only about what we know: anybody can send one that quotes anything.
      guard let quoted = error.quotation, quoted.protocol == 6, let slot = find(quoted.endpoints)
      else { return true }
      let fingerprint = UInt64(error.type) << 8 | UInt64(error.code) | 1 << 63
      if isCopy(sighting, fingerprint, in: slot) { return false }
      store(sighting, captured, fingerprint, in: slot)
      return true
    case .other:
      return true
    }
  }

  private mutating func store(
    _ sighting: PacketSighting, _ captured: UnsafeBufferPointer<UInt8>, _ fingerprint: UInt64,
    in slot: FlowSlot
  ) {
    let place = place(of: flows[Int(slot)].total, in: slot)
    let count = min(captured.count, FlowTable.snap)
    (packets + place).initialize(
      to: StoredPacket(
        sighting: sighting, fingerprint: fingerprint, captured: UInt8(clamping: count), copies: 0))
    if let start = captured.baseAddress {
      (bytes + place * FlowTable.snap).update(from: start, count: count)
    }
    flows[Int(slot)].total &+= 1
  }

  private func place(of number: UInt64, in slot: FlowSlot) -> Int {
    Int(slot) * depth + Int(number % UInt64(depth))
  }

  /// How many of a flow's packets are there.
  private func held(_ slot: FlowSlot) -> Int { Int(min(flows[Int(slot)].total, UInt64(depth))) }

  private static func fingerprint(_ header: PacketHeader, _ tcp: TCPHeader) -> UInt64 {
    var hash = UInt64(tcp.sequence.rawValue) << 32 | UInt64(tcp.acknowledgement.rawValue)
    hash = mix(hash ^ UInt64(tcp.flags.rawValue) << 56 ^ UInt64(tcp.window) << 32)
    hash = mix(hash ^ UInt64(header.identification ?? 0) << 32 ^ UInt64(tcp.contentLength))
    hash ^= header.endpoints.isAscending ? 1 : 2
    return mix(hash ^ UInt64(tcp.timestamps?.value ?? 0) << 8)
  }

  /// The same packet in another place, a moment ago: a bridge and its ports, a VLAN and its interface, a router's
  /// two sides. The same packet in the same place is a retransmission, and no copy.
  private mutating func isCopy(
    _ sighting: PacketSighting, _ fingerprint: UInt64, in slot: FlowSlot
  ) -> Bool {
    let total = flows[Int(slot)].total
    for back in 1...4 where UInt64(back) <= total {
      let place = place(of: total - UInt64(back), in: slot)
      let other = packets[place]
      guard other.fingerprint == fingerprint,
        other.sighting.interface != sighting.interface
          || other.sighting.isOutgoing != sighting.isOutgoing,
        abs(sighting.time &- other.sighting.time) < 10_000_000
      else { continue }
      packets[place].copies = other.copies == .max ? .max : other.copies + 1
      return true
    }
    return false
  }

  private mutating func noteReset(
    _ slot: FlowSlot, _ sighting: PacketSighting, _ header: PacketHeader,
    _ captured: UnsafeBufferPointer<UInt8>
  ) {
    let flow = flows + Int(slot)
    let fromLower = header.endpoints.isAscending
    if fromLower {
      flow.pointee.lower.resets &+= 1
    } else {
      flow.pointee.upper.resets &+= 1
    }
    flow.pointee.hasResets = true
    let sender = fromLower ? flow.pointee.lower : flow.pointee.upper
    let receiver = fromLower ? flow.pointee.upper : flow.pointee.lower
    var kept = resets[slot] ?? []
    let isFull = kept.count >= FlowTable.maximumResets
    if isFull {
      guard let place = displaced(by: header, at: sighting.time, sender, receiver, among: kept)
      else { return }
      kept.remove(at: place)
    }
    kept.append(
      ResetSighting(
        packet: RecordedPacket(
          sighting: sighting, header: header, bytes: Array(captured.prefix(FlowTable.snap))),
        sender: sender, receiver: receiver,
        candidates: candidates(slot, from: header.endpoints.destination)))
    resets[slot] = kept
    if !isFull { limitSightings(slot) }
  }

  /// Which of the resets that are kept makes room for another one: one that fits displaces one that does not, and no
  /// other does so; those whose places are not known are the first two and the last two.
  private func displaced(
    by header: PacketHeader, at time: Int64, _ sender: FlowBaseline, _ receiver: FlowBaseline,
    among kept: [ResetSighting]
  ) -> Int? {
    let isSoon = kept.last.map { time &- $0.packet.time < FlowTable.resetInterval } ?? false
    let fit = header.tcp.map { ResetFacts.fit($0, sender: sender, receiver: receiver) }
    if fit == .unknown { return isSoon ? kept.count - 1 : FlowTable.maximumResets / 2 }
    let misfit = kept.lastIndex { kept in
      guard let tcp = kept.packet.header.tcp else { return true }
      return !ResetFacts.fit(tcp, sender: kept.sender, receiver: kept.receiver).isEffective
    }
    if fit == .exact, let misfit { return misfit }
    guard !isSoon else { return nil }
    if fit == .exact { return FlowTable.maximumResets / 2 }
    let later = kept.indices.dropFirst(FlowTable.maximumResets / 2)
    return later.first { place in
      guard let tcp = kept[place].packet.header.tcp else { return true }
      return !ResetFacts.fit(tcp, sender: kept[place].sender, receiver: kept[place].receiver)
        .isEffective
    }
  }

  /// Forgets the oldest of all kept resets when there are too many. What it belonged to may be gone already, and
  /// another flow in its place; then that one has one less, and there is still no more than the bound.
  private mutating func limitSightings(_ slot: FlowSlot) {
    guard resetOrder.count >= FlowTable.maximumSightings else {
      resetOrder.append(slot)
      return
    }
    let oldest = resetOrder[resetsBegin]
    resetOrder[resetsBegin] = slot
    resetsBegin = (resetsBegin + 1) % FlowTable.maximumSightings
    guard let kept = resets[oldest] else { return }
    resets[oldest] = kept.count > 1 ? Array(kept.dropFirst()) : nil
  }

  private func candidates(_ slot: FlowSlot, from sender: SocketAddress) -> [RecordedPacket] {
    var found: [RecordedPacket] = []
    let total = flows[Int(slot)].total
    for back in 0..<held(slot) where found.count < ResetSighting.maximumCandidates {
      if let packet = recorded(place(of: total - 1 - UInt64(back), in: slot)),
        packet.header.tcp != nil, packet.header.endpoints.source == sender
      {
        found.append(packet)
      }
    }
    return found
  }

  private mutating func noteLocalEnd(
    _ slot: FlowSlot, _ sighting: PacketSighting, _ endpoints: PacketEndpoints
  ) {
    var ends: UInt8 = sighting.isOutgoing == endpoints.isAscending ? 1 : 2
    if sighting.isLoopback { ends = 3 }
    let new = ends & ~flows[Int(slot)].localEnds
    guard new != 0 else { return }
    flows[Int(slot)].localEnds |= ends
    for end: Int32 in [0, 1] where new & 1 << UInt8(end) != 0 { linkPort(slot, end) }
  }

  // MARK: Finding

  /// The last connection between these ends.
  func find(_ endpoints: PacketEndpoints) -> FlowSlot? {
    let key = endpoints.canonical
    return find(key, from: buckets[bucket(of: key)])
  }

  private func find(_ key: PacketEndpoints, from first: FlowSlot) -> FlowSlot? {
    var slot = first
    while slot >= 0 {
      if flows[Int(slot)].endpoints == key { return slot }
      slot = flows[Int(slot)].nextInBucket
    }
    return nil
  }

  /// The connection between these ends before that one.
  private func earlier(than slot: FlowSlot) -> FlowSlot? {
    find(flows[Int(slot)].endpoints, from: flows[Int(slot)].nextInBucket)
  }

  private func bucket(of key: PacketEndpoints) -> Int {
    var hash = FlowTable.mix(seed ^ key.sourceHigh)
    hash = FlowTable.mix(hash ^ key.sourceLow)
    hash = FlowTable.mix(hash ^ key.destinationHigh)
    hash = FlowTable.mix(hash ^ key.destinationLow)
    hash = FlowTable.mix(hash ^ UInt64(key.sourcePort) << 16 ^ UInt64(key.destinationPort))
    return Int(truncatingIfNeeded: hash) & bucketMask
  }

  // Of SplitMix64 (Steele, Lea and Flood 2014).
  private static func mix(_ value: UInt64) -> UInt64 {
    var mixed = value &+ 0x9E37_79B9_7F4A_7C15
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// Where a segment belongs.
  private mutating func place(
    for endpoints: PacketEndpoints, _ tcp: TCPHeader, _ sighting: PacketSighting
  ) -> FlowSlot {
    let began = tcp.flags.contains(.synchronise) ? sighting.time : nil
    guard let slot = find(endpoints) else { return make(endpoints, began, takeSlot()) }
    guard beginning(tcp, from: endpoints, sighting, in: slot) == .another else { return slot }
    // Never more than two, or who comes again and again would fill a bucket.
    guard let earlier = earlier(than: slot) else {
      return make(endpoints, began, takeSlot())
    }
    forget(earlier)
    return make(endpoints, began, earlier)
  }

  private func beginning(
    _ tcp: TCPHeader, from sender: PacketEndpoints, _ sighting: PacketSighting, in slot: FlowSlot
  ) -> ConnectionBeginning {
    // Most segments.
    guard tcp.flags.contains(.synchronise) else { return .same }
    let flow = flows[Int(slot)]
    return ConnectionBeginning(
      tcp, sender: sender.isAscending ? flow.lower : flow.upper,
      receiver: sender.isAscending ? flow.upper : flow.lower,
      isEnded: flow.isEnded, isOurs: sighting.isOutgoing)
  }

  private mutating func takeSlot() -> FlowSlot {
    if used < capacity {
      used += 1
      return FlowSlot(used - 1)
    }
    let slot = ended.oldest >= 0 ? ended.oldest : live.oldest
    evictions &+= 1
    forget(slot)
    return slot
  }

  private mutating func make(
    _ endpoints: PacketEndpoints, _ began: Int64?, _ slot: FlowSlot
  ) -> FlowSlot {
    let key = endpoints.canonical
    (flows + Int(slot)).initialize(to: Flow(endpoints: key, began: began))
    let bucket = bucket(of: key)
    flows[Int(slot)].nextInBucket = buckets[bucket]
    buckets[bucket] = slot
    linkNewest(slot, isEnded: false)
    return slot
  }

  private mutating func forget(_ slot: FlowSlot) {
    let flow = flows + Int(slot)
    let bucket = bucket(of: flow.pointee.endpoints)
    if buckets[bucket] == slot {
      buckets[bucket] = flow.pointee.nextInBucket
    } else {
      var before = buckets[bucket]
      while before >= 0, flows[Int(before)].nextInBucket != slot {
        before = flows[Int(before)].nextInBucket
      }
      if before >= 0 { flows[Int(before)].nextInBucket = flow.pointee.nextInBucket }
    }
    unlinkAge(slot)
    for end: Int32 in [0, 1] where flow.pointee.localEnds & 1 << UInt8(end) != 0 {
      unlinkPort(slot, end)
    }
    if flow.pointee.hasResets { resets[slot] = nil }
  }

  // MARK: Lists

  private mutating func touch(_ slot: FlowSlot, isEnded: Bool) {
    let flow = flows + Int(slot)
    if flow.pointee.isEnded == isEnded, (isEnded ? ended : live).newest == slot { return }
    unlinkAge(slot)
    linkNewest(slot, isEnded: isEnded)
  }

  private mutating func linkNewest(_ slot: FlowSlot, isEnded: Bool) {
    var list = isEnded ? ended : live
    let flow = flows + Int(slot)
    flow.pointee.isEnded = isEnded
    flow.pointee.newer = -1
    flow.pointee.older = list.newest
    if list.newest >= 0 { flows[Int(list.newest)].newer = slot } else { list.oldest = slot }
    list.newest = slot
    if isEnded { ended = list } else { live = list }
  }

  private mutating func unlinkAge(_ slot: FlowSlot) {
    let flow = flows[Int(slot)]
    var list = flow.isEnded ? ended : live
    if flow.newer >= 0 {
      flows[Int(flow.newer)].older = flow.older
    } else {
      list.newest = flow.older
    }
    if flow.older >= 0 {
      flows[Int(flow.older)].newer = flow.newer
    } else {
      list.oldest = flow.newer
    }
    if flow.isEnded { ended = list } else { live = list }
  }

  private func port(_ slot: FlowSlot, _ end: Int32) -> Int {
    let endpoints = flows[Int(slot)].endpoints
    return Int(end == 0 ? endpoints.sourcePort : endpoints.destinationPort)
  }

  private mutating func linkPort(_ slot: FlowSlot, _ end: Int32) {
    let link = slot * 2 + end
    let head = ports[port(slot, end)]
    setPort(link, next: head)
    setPort(link, previous: -1)
    if head >= 0 { setPort(head, previous: link) }
    ports[port(slot, end)] = link
  }

  private mutating func unlinkPort(_ slot: FlowSlot, _ end: Int32) {
    let flow = flows[Int(slot)]
    let next = end == 0 ? flow.portNext.0 : flow.portNext.1
    let previous = end == 0 ? flow.portPrevious.0 : flow.portPrevious.1
    if previous >= 0 { setPort(previous, next: next) } else { ports[port(slot, end)] = next }
    if next >= 0 { setPort(next, previous: previous) }
  }

  private func setPort(_ link: Int32, next: Int32) {
    let flow = flows + Int(link / 2)
    if link % 2 == 0 { flow.pointee.portNext.0 = next } else { flow.pointee.portNext.1 = next }
  }

  private func setPort(_ link: Int32, previous: Int32) {
    let flow = flows + Int(link / 2)
    if link % 2 == 0 {
      flow.pointee.portPrevious.0 = previous
    } else {
      flow.pointee.portPrevious.1 = previous
    }
  }

  // MARK: Telling

  /// The baseline of an end, by what it sends: `endpoints.source` is the end.
  func baseline(of endpoints: PacketEndpoints) -> FlowBaseline? {
    guard let slot = find(endpoints) else { return nil }
    return endpoints.isAscending ? flows[Int(slot)].lower : flows[Int(slot)].upper
  }

  /// All about the last connection between these ends that had begun by then, seen from the source of `endpoints`.
  func snapshot(_ endpoints: PacketEndpoints, at time: Int64) -> FlowPackets? {
    guard var slot = find(endpoints) else { return nil }
    // One whose beginning was not seen may have begun at any time.
    while let began = flows[Int(slot)].began, began > time {
      guard let earlier = earlier(than: slot) else { return nil }
      slot = earlier
    }
    return snapshot(slot, fromLower: endpoints.isAscending)
  }

  private func snapshot(_ slot: FlowSlot, fromLower: Bool) -> FlowPackets {
    let flow = flows[Int(slot)]
    let count = held(slot)
    var kept: [RecordedPacket] = []
    kept.reserveCapacity(count)
    for number in (flow.total - UInt64(count))..<flow.total {
      if let packet = recorded(place(of: number, in: slot)) { kept.append(packet) }
    }
    // Interfaces are captured one beside the other, so an earlier time may stand behind a later one.
    kept.sort { $0.time < $1.time }
    return FlowPackets(
      local: fromLower ? flow.endpoints.source : flow.endpoints.destination,
      peer: fromLower ? flow.endpoints.destination : flow.endpoints.source, began: flow.began,
      sent: fromLower ? flow.lower : flow.upper, received: fromLower ? flow.upper : flow.lower,
      packets: kept, total: flow.total, resets: resets[slot] ?? [])
  }

  private func recorded(_ place: Int) -> RecordedPacket? {
    let stored = packets[place]
    let frame = UnsafeBufferPointer(
      start: bytes + place * FlowTable.snap, count: Int(stored.captured))
    guard
      let header = PacketParser.parse(
        frame.span, link: stored.sighting.link, length: Int(stored.sighting.length))
    else { return nil }
    return RecordedPacket(
      sighting: stored.sighting, header: header, bytes: Array(frame), copies: stored.copies)
  }

  /// The flows that have a local end with this port, those that began last first.
  func snapshots(localPort: UInt16, limit: Int) -> [FlowPackets] {
    var found: [FlowPackets] = []
    var link = ports[Int(localPort)]
    while link >= 0, found.count < limit {
      found.append(snapshot(link / 2, fromLower: link % 2 == 0))
      let flow = flows[Int(link / 2)]
      link = link % 2 == 0 ? flow.portNext.0 : flow.portNext.1
    }
    return found
  }
}
