// A machine in memory: virtual time, threads that take turns, and in Network.swift the sockets. It stands in for the
// kernel on the thread that runs it, so a whole `Server` runs on it unchanged, and does the same for the same seed.
//
// Threads are fibers: one goes on until it waits (for an event, a monitor, another thread, some time), then the
// generator picks who is next. When all wait, time jumps to the next planned event. Nothing is ever really waited for.

import CFibers
import CLinux
import Glibc
import Platform
import SeededRandom

package final class Machine: KernelStandIn, @unchecked Sendable {
  // Sendable, because everything on it happens on one real thread.

  /// How often what goes wrong, in thousandths.
  package struct Faults {
    /// Calls on files.
    package var disk = 0
    /// Which errors those are.
    package var diskErrors: [Errno] = [.noSpace, .inputOutput, .quotaExceeded]
    /// No descriptor left: accept, connect, open.
    package var descriptors = 0
    /// Pieces of files that are not in the page cache.
    package var cold = 0

    package init() {}
  }

  final class Fiber {
    let name: String
    /// Until it has ended: what it holds goes with it.
    var body: (() -> Void)?
    var raw: OpaquePointer?
    var isReady = false
    var hasEnded = false
    /// Counts waits, so that a timer of an earlier one is not taken for this one's.
    var waits: UInt64 = 0
    var joiners: [Fiber] = []

    init(_ name: String, _ body: @escaping () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// What running a thread for one turn costs, in nanoseconds of virtual time.
  private static let turnCost: Int64 = 2000

  package var random: SeededGenerator
  package var faults = Faults()
  /// Every connection has room for some hundred bytes on the way, and no more.
  package var hasSmallWindows = false
  /// Virtual nanoseconds since the machine began.
  package internal(set) var now: Int64 = 1_000_000_000
  /// All that happened so far, as one number.
  package private(set) var trace: UInt64 = 0xCBF2_9CE4_8422_2325
  package private(set) var switches = 0
  /// Objects that live on loops.
  package private(set) var objects = 0
  /// Files that are open.
  package private(set) var files: Set<Int32> = []
  package internal(set) var faultsRaised = 0
  /// A descriptor that a loop was told of again and again, and did nothing about.
  package internal(set) var spinning: String?
  /// The process has been killed: nothing it does from now on has an effect.
  package private(set) var isDead = false
  private var callsUntilDeath: Int?
  private var leftBehind: (descriptors: Int, files: Set<Int32>, objects: Int) = (0, [], 0)
  /// What a power cut would take; nil where there is none in the run.
  package var disk: DiskJournal?
  private var events = EventQueue()
  private var ready: [Fiber] = []
  private var parked: [ObjectIdentifier: [Fiber]] = [:]
  private(set) var current: Fiber?
  private var fiberCount = 0
  /// Threads that have not ended.
  package var threads: Int { fiberCount }
  var network = Network()

  package init(seed: UInt64) {
    random = SeededGenerator(seed: seed)
  }

  // MARK: Running

  /// Starts a thread for the test itself, which may then block as any thread does.
  package func begin(_ name: String, _ body: @escaping () -> Void) {
    start(Fiber(name, body))
  }

  /// Lets things happen until the condition holds.
  /// - Parameters:
  ///   - seconds: of virtual time.
  ///   - turns: of threads; a loop that spins would take all there are.
  /// - Returns: false when nothing is left to happen, or one of the limits has been reached.
  package func run(
    atMost seconds: Int64 = .max / 2_000_000_000, turns: Int = .max / 2, until isDone: () -> Bool
  ) -> Bool {
    let limit = now + seconds * 1_000_000_000
    let lastTurn = switches + turns
    return StandIn.with(self) {
      while !isDone() {
        while let time = events.nextTime, time <= now {
          events.next()?()
        }
        if !ready.isEmpty {
          guard switches < lastTurn else { return isDone() }
          let fiber = ready.remove(at: random.below(ready.count))
          enter(fiber)
          continue
        }
        guard let time = events.nextTime, time <= limit else { return isDone() }
        now = max(now, time)
      }
      return true
    }
  }

  private func enter(_ fiber: Fiber) {
    fiber.isReady = false
    switches += 1
    now += Self.turnCost
    current = fiber
    let hasEnded = fiber_enter(fiber.raw) != 0
    current = nil
    guard hasEnded else { return }
    fiber.hasEnded = true
    fiber.body = nil
    fiber_free(fiber.raw)
    fiber.raw = nil
    fiberCount -= 1
    for joiner in fiber.joiners { makeReady(joiner) }
    fiber.joiners = []
  }

  private func start(_ fiber: Fiber) {
    let argument = Unmanaged.passRetained(fiber).toOpaque()
    fiber.raw = fiber_make(
      1 << 20,
      { argument in
        guard let argument else { return }
        let fiber = Unmanaged<Fiber>.fromOpaque(argument).takeRetainedValue()
        fiber.body?()
      }, argument)
    precondition(fiber.raw != nil, "no memory for another thread")
    fiberCount += 1
    makeReady(fiber)
  }

  func makeReady(_ fiber: Fiber) {
    guard !fiber.isReady, !fiber.hasEnded else { return }
    fiber.isReady = true
    // Threads do not always get a processor at once.
    let delay = random.oneIn(8) ? Int64(random.below(3_000_000)) : Int64(random.below(20_000))
    if random.oneIn(2) {
      ready.append(fiber)
    } else {
      events.plan(at: now + delay) { [unowned self] in ready.append(fiber) }
    }
  }

  /// Gives the turn away until somebody makes this thread ready again.
  func leave() {
    guard let current, let raw = current.raw else {
      preconditionFailure("only a thread of the machine can wait")
    }
    current.waits += 1
    fiber_leave(raw)
  }

  /// Has something happen later.
  package func plan(after nanoseconds: Int64, _ action: @escaping () -> Void) {
    events.plan(at: now + max(0, nanoseconds), action)
  }

  func plan(at time: Int64, _ action: @escaping () -> Void) {
    events.plan(at: max(now, time), action)
  }

  /// Makes the current thread ready at that moment, if it still waits for the same thing.
  func planWake(at time: Int64) {
    guard let fiber = current else { return }
    let waits = fiber.waits + 1
    events.plan(at: time) { [unowned self] in
      if fiber.waits == waits { makeReady(fiber) }
    }
  }

  /// Remembers that something happened.
  func note(_ what: UInt64, _ number: Int) {
    trace = SeededGenerator.mix(trace ^ what &* 0x100_0000_01B3 ^ UInt64(bitPattern: Int64(number)))
  }

  // MARK: Time

  /// Seconds since 1970 at which the machine begins: 2026-03-02 10:00 UTC.
  private static let epoch: Int64 = 1_772_445_600

  package var seconds: Int64 { Self.epoch + now / 1_000_000_000 }

  package func monotonic(precise: Bool) -> Int64 {
    // Who asks again and again sees time pass.
    if precise { now += 100 }
    return now
  }

  /// Virtual seconds since then.
  func ago(_ time: Int64) -> Double { Double((now - time) / 1_000_000) / 1000 }

  package func wall() -> Int64 { Self.epoch * 1_000_000_000 + now }

  package func randomWord() -> UInt64 { random.next() }

  package func sleep(nanoseconds: Int64) {
    let end = now + nanoseconds
    while now < end {
      planWake(at: end)
      leave()
    }
  }

  // MARK: Threads

  package func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) -> AnyObject {
    let fiber = Fiber(name, body)
    start(fiber)
    return fiber
  }

  package func join(_ thread: AnyObject) {
    guard let fiber = thread as? Fiber, let current else { return }
    while !fiber.hasEnded {
      fiber.joiners.append(current)
      leave()
    }
  }

  package func park(at place: ObjectIdentifier) {
    guard let current else { preconditionFailure("nobody can wake the test itself") }
    parked[place, default: []].append(current)
    leave()
  }

  package func wake(_ place: ObjectIdentifier) {
    guard let fibers = parked.removeValue(forKey: place) else { return }
    for fiber in fibers { makeReady(fiber) }
  }

  // MARK: Kills

  /// Kills the process in front of so many calls on files from now.
  package func kill(afterCalls count: Int) { callsUntilDeath = count }

  /// Kills the process now.
  package func die() {
    callsUntilDeath = nil
    guard !isDead else { return }
    isDead = true
    note(8, 0)
    breakConnections()
  }

  /// The process has ended; the place is free for another one. What it left open in the middle of something the
  /// kernel closes, and nobody counts it.
  package func forgetProcess() {
    isDead = false
    callsUntilDeath = nil
    breakConnections()
    leftBehind = (openDescriptors, files, objects)
  }

  /// What the process that runs has not let go of; nil if nothing.
  package var leaks: String? {
    let counts = [
      (openDescriptors - leftBehind.descriptors, "descriptors"),
      (files.subtracting(leftBehind.files).count, "files"),
      (objects - leftBehind.objects, "objects of loops"),
    ].filter { $0.0 != 0 }
    return counts.isEmpty
      ? nil : counts.map { "\($0.0) \($0.1)" }.joined(separator: ", ") + " are left"
  }

  // MARK: Files

  package func fault(in call: FaultPlan.Call) -> Errno? {
    if let left = callsUntilDeath {
      callsUntilDeath = left - 1
      if left == 0 { die() }
    }
    // A process that is no more changes nothing.
    if isDead { return .inputOutput }
    switch call {
    case .accept, .connect:
      guard random.chance(faults.descriptors) else { return nil }
      faultsRaised += 1
      return .tooManyOpenFiles
    case .open where random.chance(faults.descriptors):
      faultsRaised += 1
      return .tooManyOpenFiles
    case .unlink, .list, .status, .lock:
      return nil
    default:
      guard random.chance(faults.disk) else { return nil }
      faultsRaised += 1
      return random.pick(faults.diskErrors)
    }
  }

  package func fileOpened(_ fd: Int32) { files.insert(fd) }
  package func fileClosed(_ fd: Int32) { files.remove(fd) }

  package func fileWillChange(_ fd: Int32, at offset: Int64, count: Int) {
    disk?.willWrite(fd, at: offset, count: count)
  }

  package func fileSynced(_ fd: Int32) { disk?.synced(fd) }

  package func isResident() -> Bool? { !random.chance(faults.cold) }

  package func countObject(_ change: Int) { objects += change }
}
