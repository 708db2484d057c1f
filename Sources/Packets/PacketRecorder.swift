// The packet sensor: one thread that takes headers out of the kernel's ring, puts them into the flow index and shows
// our own resets to the stray detector. It touches no socket of the proxy's: whatever happens here, traffic goes on.
//
//   kernel ─ filter ─▶ ring ─▶ this thread ─▶ FlowIndex ◀── who asks after an ending
//                                        └──▶ StrayDetector ──▶ closure
//
// What is captured is seen here up to `delay` later, when the kernel hands over the block it is in.

import Platform
import Synchronization

/// Records the packets of a network namespace until it is stopped.
package final class PacketRecorder: Sendable {
  package struct Options: Sendable {
    package var filter: PacketFilter
    /// Blocks of the ring, 256 KiB each; nil for 1 MiB in lite mode and 4 MiB in full mode.
    package var blocks: Int?
    /// The network namespace to look at, as a path; nil for the caller's own.
    package var namespacePath: String?

    package init(filter: PacketFilter, blocks: Int? = nil, namespacePath: String? = nil) {
      self.filter = filter
      self.blocks = blocks
      self.namespacePath = namespacePath
    }

    /// What the ring takes.
    package var ringBytes: Int { effectiveBlocks * PacketRing.blockSize }

    var effectiveBlocks: Int { blocks ?? (filter.mode == .lite ? 4 : 16) }
  }

  /// What has been counted since the start.
  package struct Statistics: Hashable, Sendable {
    /// Packets that passed the filter and were read.
    package var received: UInt64 = 0
    /// Packets that passed the filter and found the ring full.
    package var dropped: UInt64 = 0
    /// How often the ring was full.
    package var freezes: UInt64 = 0
    /// Those among `received` that had been seen on another interface already.
    package var copies: UInt64 = 0
    /// Those that are no IP packet with whole headers.
    package var unreadable: UInt64 = 0
    package var resetsSent: UInt64 = 0
    package var resetsReceived: UInt64 = 0
    package var errorsReceived: UInt64 = 0

    package init() {}
  }

  /// Why it does not record any more; nil while it does.
  package enum End: Hashable, Sendable {
    case stopped
    /// The socket failed for good.
    case failed(Errno)
  }

  private struct Progress {
    var outcome: Result<Void, PacketSensorError>?
    var statistics = Statistics()
    var losses = LossHistory()
    var names: [Int32: String] = [:]
    var end: End?
    /// How often somebody asked that all be read, and how often it was.
    var asked = 0
    var answered = 0
  }

  /// Until so long after its passing a packet may not be in the index yet: the kernel's time for a block, and a step
  /// of its timer.
  package static let delay: Duration = .milliseconds(15)

  package let options: Options
  package let index: FlowIndex
  private let detector: StrayDetector?
  private let progress = Monitor(Progress())
  private let wake: EventFD
  private let isStopping = Atomic<Bool>(false)
  private let thread = Mutex<WorkerThread?>(nil)

  /// Opens everything on a thread of its own, and returns when it records.
  /// - Parameters:
  ///   - index: where packets go.
  ///   - detector: who is shown our resets.
  package static func start(
    _ options: Options, index: FlowIndex, detector: StrayDetector? = nil
  ) throws(PacketSensorError) -> PacketRecorder {
    let recorder: PacketRecorder
    do {
      recorder = PacketRecorder(options, index, detector, wake: try EventFD())
      let thread = try WorkerThread.start(name: "packets") { recorder.run() }
      recorder.thread.withLock { $0 = thread }
    } catch {
      throw .failed(step: "starting the recorder's thread", error)
    }
    switch recorder.progress.wait(for: { $0.outcome }) {
    case .success: return recorder
    case .failure(let error):
      recorder.stop()
      throw error
    }
  }

  private init(
    _ options: Options, _ index: FlowIndex, _ detector: StrayDetector?, wake: consuming EventFD
  ) {
    self.options = options
    self.index = index
    self.detector = detector
    self.wake = wake
  }

  /// Stops, and waits until what was captured has been read. The recorder ends only so: its thread keeps it.
  package func stop() {
    isStopping.store(true, ordering: .relaxed)
    wake.signal()
    let thread = self.thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    thread?.join()
  }

  /// Waits until all that was captured before is in the index.
  package func settle() {
    let mine = progress.withLock { progress in
      progress.asked += 1
      return progress.asked
    }
    wake.signal()
    _ = progress.wait { progress in
      progress.answered >= mine || progress.end != nil ? true : nil
    }
  }

  /// Up to date with the last block that was read.
  package var statistics: Statistics { progress.withLock { $0.statistics } }

  /// How many packets found no room then; a tenth of a second more or less.
  /// - Parameter times: nanoseconds since 1970.
  package func lost(in times: ClosedRange<Int64>) -> UInt64 {
    progress.withLock { $0.losses.lost(in: times) }
  }

  /// Nil while it records.
  package var end: End? { progress.withLock { $0.end } }

  /// The name of an interface that a packet was seen on, as it was when the first one came.
  package func interfaceName(_ index: Int32) -> String? {
    progress.withLock { $0.names[index] }
  }

  /// Waits until `condition` holds, or the recorder has ended. It is asked again whenever something was captured,
  /// with a lock held: it may ask the index and the detector, and not the recorder itself.
  /// - Returns: whether it holds.
  package func wait(until condition: @Sendable () -> Bool) -> Bool {
    progress.wait { progress in
      if condition() { return true }
      return progress.end == nil ? nil : false
    }
  }

  // MARK: The thread

  private func run() {
    var end = End.stopped
    do throws(PacketSensorError) {
      if let path = options.namespacePath { try NetworkNamespace.enter(path) }
      var ring = try PacketRing(filter: options.filter, blocks: options.effectiveBlocks)
      let epoll = try watch(ring)
      progress.withLock { $0.outcome = .success(()) }
      progress.wakeAll()
      end = record(&ring, epoll)
    } catch {
      progress.withLock { $0.outcome = .failure(error) }
    }
    progress.withLock { $0.end = end }
    progress.wakeAll()
  }

  private func watch(_ ring: borrowing PacketRing) throws(PacketSensorError) -> Epoll {
    do {
      let epoll = try Epoll(capacity: 2)
      try epoll.add(ring.rawValue, .read, token: 0)
      try epoll.add(wake.rawValue, .read, token: 1)
      return epoll
    } catch {
      throw .failed(step: "watching the ring", error)
    }
  }

  private func record(_ ring: inout PacketRing, _ epoll: borrowing Epoll) -> End {
    var failures = 0
    while !isStopping.load(ordering: .relaxed) {
      do {
        let count = try epoll.wait(milliseconds: -1)
        for event in 0..<count where epoll.event(event).token == 0 {
          guard epoll.event(event).readiness.contains(.error) else { continue }
          // An interface that goes away may say so here; an error that asking does not take away is for good.
          let errno = Socket.pendingError(ring.rawValue)
          failures += 1
          if failures > 100 { return .failed(errno ?? .networkDown) }
        }
      } catch {
        return .failed(error)
      }
      if readBlocks(&ring) { failures = 0 }
      answer(&ring)
    }
    readAll(&ring)
    addLosses(ring)
    return .stopped
  }

  /// Reads also what has been captured and not handed over yet. A block is, at the latest, after its time; on a machine that
  /// has much to do the kernel's timer may be late.
  private func readAll(_ ring: inout PacketRing) {
    sleepThread(PacketRecorder.delay)
    _ = readBlocks(&ring)
    let position = ring.position
    for _ in 0..<100 where ring.isHeldBack && ring.position == position {
      sleepThread(.milliseconds(5))
      _ = readBlocks(&ring)
    }
  }

  /// Lets those know who wait until all is read.
  private func answer(_ ring: inout PacketRing) {
    let asked = progress.withLock { $0.asked > $0.answered ? $0.asked : nil }
    guard let asked else { return }
    wake.clear()
    readAll(&ring)
    progress.withLock { $0.answered = asked }
    progress.wakeAll()
  }

  /// Reads all blocks that are ours.
  private func readBlocks(_ ring: inout PacketRing) -> Bool {
    var counted = Statistics()
    var unnamed: Set<Int32> = []
    var lastInterface: Int32 = -1
    var any = false
    // So many that a flood does not keep it from telling what it has counted.
    for _ in 0..<options.effectiveBlocks {
      let unreached = ring.readBlock { packet in
        counted.received &+= 1
        if packet.sighting.interface != lastInterface {
          lastInterface = packet.sighting.interface
          unnamed.insert(lastInterface)
        }
        take(packet, &counted)
      }
      guard let unreached else { break }
      counted.unreadable &+= UInt64(unreached)
      any = true
    }
    guard any else { return false }
    addLosses(ring)
    let known = progress.withLock { $0.names }
    var names: [Int32: String] = [:]
    // Bounded: names of interfaces that came and went are of no use to anybody.
    for interface in unnamed where known[interface] == nil && known.count < 256 {
      names[interface] = ring.interfaceName(interface)
    }
    progress.withLock { progress in
      progress.statistics.add(counted)
      progress.names.merge(names) { old, _ in old }
    }
    progress.wakeAll()
    return true
  }

  private func addLosses(_ ring: borrowing PacketRing) {
    guard let losses = ring.takeStatistics() else { return }
    progress.withLock { progress in
      progress.statistics.dropped &+= UInt64(losses.drops)
      let now = WallTime.now()
      progress.losses.add(
        UInt64(losses.drops), at: now.seconds &* 1_000_000_000 &+ Int64(now.nanoseconds))
      progress.statistics.freezes &+= UInt64(losses.freezes)
    }
  }

  private func take(_ packet: RingPacket, _ counted: inout Statistics) {
    guard
      let header = PacketParser.parse(
        packet.bytes.span, link: packet.sighting.link, length: Int(packet.sighting.length))
    else {
      counted.unreadable &+= 1
      return
    }
    guard index.record(packet.sighting, header, packet.bytes) else {
      counted.copies &+= 1
      return
    }
    switch header.content {
    case .tcp(let tcp) where tcp.isReset:
      if packet.sighting.isOutgoing {
        counted.resetsSent &+= 1
        detector?.look(packet.sighting, header)
      }
      if !packet.sighting.isOutgoing || packet.sighting.isLoopback { counted.resetsReceived &+= 1 }
    case .icmp where !packet.sighting.isOutgoing || packet.sighting.isLoopback:
      counted.errorsReceived &+= 1
    default: break
    }
  }
}

extension PacketRecorder.Statistics {
  fileprivate mutating func add(_ other: Self) {
    received &+= other.received
    copies &+= other.copies
    unreadable &+= other.unreadable
    resetsSent &+= other.resetsSent
    resetsReceived &+= other.resetsReceived
    errorsReceived &+= other.errorsReceived
  }
}
