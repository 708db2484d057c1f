// One thread's events: waits for descriptors, letters and deadlines, and tells the objects they concern.
//
//   turn:  wait ─▶ read the clocks ─▶ ready(…) of each event ─▶ letters ─▶ deadlines ─▶ what was put off ─▶ release
//
// Everything on a loop runs on its thread, one thing after the other; nothing is locked. Events are level-triggered: what
// was not finished is told again. Objects are found by a slot number and a generation, which travel through the kernel
// in the epoll token; so news about an object that is gone, or about a descriptor that an object watches no more, is
// recognised and dropped. The path of an event takes no lock, no allocation, no closure and no reference count: slots lie
// in raw memory, hold their object with one retain for its whole life, and unregistered objects are released only at the end
// of the turn, when no method of theirs can be running.

import Platform

/// A length of time-out that is used over and over: the conversion from `Duration` is done once.
public struct TimeoutClass: Sendable {
  let nanoseconds: Int64

  public init(_ duration: Duration) {
    nanoseconds = max(0, duration.wholeNanoseconds)
  }
}

/// The event loop of one thread.
public final class EventLoop {
  struct Slot {
    var object: Unmanaged<LoopObject>? = nil
    var generation: UInt32 = 1
    var descriptor: Int32 = -1
    var interest: Interest = []
    /// Counts the descriptors the object has watched, so that events of an earlier one are not taken for the next one's.
    var watch: UInt32 = 0
    var nextFree = UInt32.max
  }

  /// What a loop has done so far.
  public struct Statistics: Sendable {
    public var turns: UInt64 = 0
    public var events: UInt64 = 0
    public var letters: UInt64 = 0
    public var expiries: UInt64 = 0
    /// Events and letters for objects that were gone.
    public var late: UInt64 = 0
  }

  struct Core {
    var slots: UnsafeMutablePointer<Slot>
    var capacity: UInt32
    var firstFree = UInt32.max
    var count = 0
    var now: Instant
    var wall: WallTime
    var isStopping = false
    var hasLeft = false
    /// Whether there is something in `deferred…` and `released`: asked in every turn, and cheaper to ask than the arrays.
    var hasDeferred = false
    var hasReleased = false
    var statistics = Statistics()
  }

  /// Where other threads leave letters for this loop.
  public let mailbox: Mailbox
  /// 64 KiB to receive into. Belongs to whoever's method runs, until it returns.
  public let receiveBuffer: UnsafeMutableRawBufferPointer
  /// 128 KiB to put answers together in. Belongs to whoever's method runs, until it returns.
  public let sendBuffer: UnsafeMutableRawBufferPointer

  // In raw memory, like the slots: a property of a class is checked for exclusive access at each use.
  let core: UnsafeMutablePointer<Core>
  private let dateLine: UnsafeMutableRawBufferPointer
  private let epoll: Epoll
  private let timers: TimerQueue
  private var letters: [Letter] = []
  private var released: [Unmanaged<LoopObject>] = []
  private var deferredObjects: [ObjectID] = []
  private var deferredClosures: [() -> Void] = []
  private var dateFormatter: ((Int64, UnsafeMutableRawBufferPointer) -> Void)?

  // Tokens have a slot in bits 0–23, the count of watches in 24–31 and the generation above.
  private static let slotBits: UInt64 = 24
  private static let mailToken = UInt64.max
  private static let maximumObjects: UInt32 = 1 << 24 - 1

  /// Makes the loop of this thread.
  public init(mailbox: Mailbox) throws(Errno) {
    let epoll = try Epoll(capacity: 512)
    try epoll.add(mailbox.descriptor, .read, token: Self.mailToken)
    let capacity: UInt32 = 64
    let slots = UnsafeMutablePointer<Slot>.allocate(capacity: Int(capacity))
    slots.initialize(repeating: Slot(), count: Int(capacity))
    let now = Instant.now()
    let core = UnsafeMutablePointer<Core>.allocate(capacity: 1)
    core.initialize(to: Core(slots: slots, capacity: capacity, now: now, wall: .coarse()))
    for slot in (0..<capacity).reversed() {
      slots[Int(slot)].nextFree = core.pointee.firstFree
      core.pointee.firstFree = slot
    }
    self.mailbox = mailbox
    self.core = core
    self.epoll = epoll
    timers = TimerQueue(now: now, capacity: Int(capacity))
    // Page-aligned, so that no bytes of the first and last page belong to something else.
    receiveBuffer = .allocate(byteCount: 64 << 10, alignment: 4096)
    sendBuffer = .allocate(byteCount: 128 << 10, alignment: 4096)
    dateLine = .allocate(byteCount: 29, alignment: 8)
    dateLine.initializeMemory(as: UInt8.self, repeating: UInt8(ascii: " "))
  }

  /// Makes a loop with a mailbox of its own.
  public convenience init() throws(Errno) {
    try self.init(mailbox: Mailbox())
  }

  deinit {
    tearDown()
    core.pointee.slots.deallocate()
    core.deallocate()
    receiveBuffer.deallocate()
    sendBuffer.deallocate()
    dateLine.deallocate()
  }

  // MARK: Time

  /// The time of this turn.
  public var now: Instant { core.pointee.now }

  /// The wall clock's time of this turn.
  public var wallTime: WallTime { core.pointee.wall }

  /// The wall clock's seconds since 1970 of this turn.
  public var wallSeconds: Int64 { core.pointee.wall.seconds }

  /// The 29 bytes that the date formatter made for this second; blanks without one.
  public var date: UnsafeRawBufferPointer { UnsafeRawBufferPointer(dateLine) }

  /// Sets what writes `date`, once now and then when a second begins. It is given the seconds since 1970 and 29 bytes to fill.
  public func setDateFormatter(_ format: @escaping (Int64, UnsafeMutableRawBufferPointer) -> Void) {
    dateFormatter = format
    format(wallSeconds, dateLine)
  }

  #if DEBUG
    /// Seconds by which the wall clock of this loop has been moved, for tests of what becomes of times then.
    package var wallStep: Int64 = 0
  #endif

  private func readClocks() {
    core.pointee.now = .now()
    let before = core.pointee.wall.seconds
    core.pointee.wall = .coarse()
    #if DEBUG
      core.pointee.wall.seconds &+= wallStep
    #endif
    if core.pointee.wall.seconds != before, let dateFormatter {
      dateFormatter(core.pointee.wall.seconds, dateLine)
    }
  }

  // MARK: Running

  /// Runs turns until `stop`, then ends all objects.
  public func run() {
    while !core.pointee.isStopping { turn() }
    tearDown()
  }

  /// Ends `run` after the current turn. From another thread: `mailbox.stop()`.
  public func stop() {
    core.pointee.isStopping = true
  }

  /// What the loop has done so far.
  public var statistics: Statistics { core.pointee.statistics }

  /// How many objects live on the loop.
  public var objectCount: Int { core.pointee.count }

  /// One turn: waits until something happens, and deals with it.
  /// - Parameter limit: wait no longer than this, even if nothing happens.
  public func turn(waitingAtMost limit: Duration? = nil) {
    let count: Int
    do {
      count = try epoll.wait(milliseconds: timeout(limit))
    } catch {
      // epoll_wait(2) fails only for wrong arguments.
      preconditionFailure("waiting for events: \(error)")
    }
    readClocks()
    core.pointee.statistics.turns &+= 1
    core.pointee.statistics.events &+= UInt64(truncatingIfNeeded: count)
    var hasMail = false
    for index in 0..<count {
      let (token, readiness) = epoll.event(index)
      if token == Self.mailToken {
        hasMail = true
        continue
      }
      let slot = Int(token & (1 << Self.slotBits - 1))
      let found = core.pointee.slots + slot
      guard let object = found.pointee.object, Self.token(slot, found.pointee) == token else {
        core.pointee.statistics.late &+= 1
        continue
      }
      object._withUnsafeGuaranteedRef { $0.ready(readiness) }
    }
    if hasMail { deliver() }
    while let slot = timers.popExpired(core.pointee.now) {
      core.pointee.statistics.expiries &+= 1
      guard let object = core.pointee.slots[Int(slot)].object else { continue }
      object._withUnsafeGuaranteedRef { $0.timerFired() }
    }
    if core.pointee.hasDeferred { runDeferred() }
    if core.pointee.hasReleased { releaseUnregistered() }
  }

  private func timeout(_ limit: Duration?) -> Int32 {
    if core.pointee.isStopping || core.pointee.hasDeferred { return 0 }
    var wait = Int64.max
    if let wake = timers.nextWake() {
      // The clock is a little behind, so this waits rather too long than too short, which would be for nothing.
      wait = max(0, wake.nanoseconds &- core.pointee.now.nanoseconds)
    }
    if let limit { wait = min(wait, max(0, limit.wholeNanoseconds)) }
    if wait == .max { return -1 }
    return Int32(clamping: wait / 1_000_000 + (wait % 1_000_000 == 0 ? 0 : 1))
  }

  private func deliver() {
    mailbox.take(&letters)
    core.pointee.statistics.letters &+= UInt64(truncatingIfNeeded: letters.count)
    // Taken out of the property while methods run that may turn to this loop.
    var batch: [Letter] = []
    swap(&batch, &letters)
    for letter in batch {
      if letter.to == .none {
        (letter.payload as? Mailbox.Job)?.body(self)
      } else if let object = object(letter.to) {
        object._withUnsafeGuaranteedRef { $0.receive(letter) }
      } else {
        core.pointee.statistics.late &+= 1
      }
    }
    batch.removeAll(keepingCapacity: batch.capacity <= 1024)
    swap(&batch, &letters)
  }

  // MARK: Putting off

  /// Calls `turnEnded` of the object when the events of this turn are dealt with.
  public func afterTurn(_ object: LoopObject) {
    deferredObjects.append(object.id)
    core.pointee.hasDeferred = true
  }

  /// Runs the closure when the events of this turn are dealt with. What is put off by it waits for the next turn, which follows at once.
  public func afterTurn(_ body: @escaping () -> Void) {
    deferredClosures.append(body)
    core.pointee.hasDeferred = true
  }

  private func runDeferred() {
    core.pointee.hasDeferred = false
    // Both taken before either runs: what is put off from here on belongs to the next turn.
    var objects: [ObjectID] = []
    swap(&objects, &deferredObjects)
    var closures: [() -> Void] = []
    swap(&closures, &deferredClosures)
    for id in objects {
      if let object = object(id) { object._withUnsafeGuaranteedRef { $0.turnEnded() } }
    }
    if deferredObjects.isEmpty {
      // The memory serves again.
      objects.removeAll(keepingCapacity: true)
      swap(&objects, &deferredObjects)
    }
    for closure in closures { closure() }
  }

  // MARK: Descriptors

  /// Watches a descriptor for an object, in place of the one it watched before.
  ///
  /// The descriptor must stay open until `unwatch` or `unregister`.
  public func watch(_ fd: Int32, _ object: LoopObject, _ interest: Interest) throws(Errno) {
    guard isRegistered(object.id) else { throw .canceled }
    unwatch(object)
    let index = Int(object.id.slot)
    let slot = core.pointee.slots + index
    slot.pointee.watch &+= 1
    try epoll.add(fd, interest, token: Self.token(index, slot.pointee))
    slot.pointee.descriptor = fd
    slot.pointee.interest = interest
  }

  /// Changes what the object's descriptor is watched for. Costs a system call only if that is a change.
  public func setInterest(_ object: LoopObject, _ interest: Interest) {
    guard isRegistered(object.id) else { return }
    let index = Int(object.id.slot)
    let slot = core.pointee.slots + index
    guard slot.pointee.descriptor >= 0, slot.pointee.interest != interest else { return }
    slot.pointee.interest = interest
    do {
      try epoll.modify(slot.pointee.descriptor, interest, token: Self.token(index, slot.pointee))
    } catch {
      // Modifying allocates nothing, so only a descriptor that was closed while watched can fail here.
      assertionFailure("changing the interest in descriptor \(slot.pointee.descriptor): \(error)")
    }
  }

  /// Ends watching the object's descriptor, which stays open. Must come before closing it.
  public func unwatch(_ object: LoopObject) {
    guard isRegistered(object.id) else { return }
    unwatch(slot: object.id.slot)
  }

  private func unwatch(slot index: UInt32) {
    let slot = core.pointee.slots + Int(index)
    guard slot.pointee.descriptor >= 0 else { return }
    do {
      try epoll.remove(slot.pointee.descriptor)
    } catch {
      assertionFailure(
        "descriptor \(slot.pointee.descriptor) was closed while it was watched: \(error)")
    }
    slot.pointee.descriptor = -1
    // The next one watched gets another token.
    slot.pointee.watch &+= 1
  }

  // MARK: Deadlines

  /// Has the object's `timerFired` called after this time, in place of any deadline it had.
  public func arm(_ object: LoopObject, after timeout: TimeoutClass) {
    arm(object, at: deadline(after: timeout))
  }

  /// When a deadline of this length, set now, will come.
  public func deadline(after timeout: TimeoutClass) -> Instant {
    let (sum, overflow) = core.pointee.now.nanoseconds.addingReportingOverflow(timeout.nanoseconds)
    return overflow ? .distantFuture : Instant(nanoseconds: sum)
  }

  /// The same for a time that is used once.
  public func arm(_ object: LoopObject, after timeout: Duration) {
    arm(object, at: core.pointee.now + timeout)
  }

  /// Has the object's `timerFired` called at this moment, in place of any deadline it had.
  public func arm(_ object: LoopObject, at deadline: Instant) {
    guard isRegistered(object.id) else { return }
    timers.arm(object.id.slot, at: deadline)
  }

  /// Takes the object's deadline away.
  public func disarm(_ object: LoopObject) {
    guard isRegistered(object.id) else { return }
    timers.disarm(object.id.slot)
  }

  /// Whether the object has a deadline that has not come.
  public func isArmed(_ object: LoopObject) -> Bool {
    isRegistered(object.id) && timers.isArmed(object.id.slot)
  }

  // MARK: Objects

  private static func token(_ index: Int, _ slot: Slot) -> UInt64 {
    UInt64(slot.generation) << 32 | UInt64(slot.watch & 0xFF) << slotBits
      | UInt64(truncatingIfNeeded: index)
  }

  private func object(_ id: ObjectID) -> Unmanaged<LoopObject>? {
    guard id.slot < core.pointee.capacity else { return nil }
    let slot = core.pointee.slots + Int(id.slot)
    return slot.pointee.generation == id.generation ? slot.pointee.object : nil
  }

  func isRegistered(_ id: ObjectID) -> Bool {
    core.pointee.slots[Int(id.slot)].generation == id.generation
  }

  /// A free slot, named by what its id will be.
  func reserve() -> ObjectID {
    if core.pointee.firstFree == .max { grow() }
    let index = core.pointee.firstFree
    let slot = core.pointee.slots + Int(index)
    core.pointee.firstFree = slot.pointee.nextFree
    core.pointee.count += 1
    return ObjectID(slot: index, generation: slot.pointee.generation)
  }

  func occupy(_ id: ObjectID, with object: LoopObject) {
    core.pointee.slots[Int(id.slot)].object = Unmanaged.passRetained(object)
  }

  func unregister(_ id: ObjectID) {
    guard let object = object(id) else { return }
    unwatch(slot: id.slot)
    timers.disarm(id.slot)
    let slot = core.pointee.slots + Int(id.slot)
    slot.pointee.object = nil
    // Generation 0 is nobody's, so that `ObjectID.none` never names an object.
    slot.pointee.generation = slot.pointee.generation == .max ? 1 : slot.pointee.generation + 1
    slot.pointee.nextFree = core.pointee.firstFree
    core.pointee.firstFree = id.slot
    core.pointee.count -= 1
    released.append(object)
    core.pointee.hasReleased = true
  }

  private func releaseUnregistered() {
    core.pointee.hasReleased = false
    // The end of one object may unregister others.
    while let object = released.popLast() { object.release() }
  }

  private func grow() {
    let old = core.pointee.capacity
    // Each object has at least one descriptor or one request behind it; 16 million are beyond any limit of those.
    precondition(old < Self.maximumObjects, "more than \(old) objects on one loop")
    let capacity = min(old * 2, Self.maximumObjects)
    let slots = UnsafeMutablePointer<Slot>.allocate(capacity: Int(capacity))
    slots.moveInitialize(from: core.pointee.slots, count: Int(old))
    (slots + Int(old)).initialize(repeating: Slot(), count: Int(capacity - old))
    core.pointee.slots.deallocate()
    core.pointee.slots = slots
    core.pointee.capacity = capacity
    timers.reserve(capacity: Int(capacity))
    for index in (old..<capacity).reversed() {
      slots[Int(index)].nextFree = core.pointee.firstFree
      core.pointee.firstFree = index
    }
  }

  private func tearDown() {
    guard !core.pointee.hasLeft else { return }
    core.pointee.hasLeft = true
    mailbox.close()
    deferredObjects = []
    deferredClosures = []
    core.pointee.hasDeferred = false
    // Objects may make others in their last moment, as long as it comes to an end; the bound is for those that do not.
    for _ in 0..<16 where core.pointee.count > 0 {
      for index in 0..<core.pointee.capacity {
        guard let object = core.pointee.slots[Int(index)].object else { continue }
        object._withUnsafeGuaranteedRef {
          $0.loopEnding()
          $0.unregister()
        }
      }
      releaseUnregistered()
    }
  }
}

extension EventLoop {
  /// Unix seconds of an earlier moment, by the wall clock as it is set now. Between a moment told so and now, a step
  /// of that clock is no time that has passed.
  public func wallSeconds(of moment: Instant) -> Int64 {
    wallSeconds &- (now - moment).wholeNanoseconds / 1_000_000_000
  }
}
