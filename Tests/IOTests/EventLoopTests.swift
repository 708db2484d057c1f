// The loop on real sockets: who is told what, who is not, and that every object ends exactly once.

import Platform
import Synchronization
import Testing

@testable import IO

@Suite("Event loop")
struct EventLoopTests {
  @Test(
    "an object is told when its descriptor is ready, and again until it has dealt with it",
    arguments: [
      IPAddress.loopbackV4, .loopbackV6,
    ])
  func levelTriggered(_ ip: IPAddress) throws {
    let loop = try EventLoop()
    let pair = try Pair(ip)
    let object = Recorder(loop: loop)
    try loop.watch(pair.server.rawValue, object, .read)
    pair.clientSends("hello")
    loop.run { object.events.count >= 2 }
    #expect(object.events == [.read, .read])
    object.events = []
    guard case .bytes(5) = Socket.receive(pair.server.rawValue, into: loop.receiveBuffer) else {
      Issue.record("the bytes did not arrive")
      return
    }
    loop.turn(waitingAtMost: .zero)
    #expect(object.events.isEmpty)
    object.unregister()
  }

  @Test("the interest can change and change back")
  func interest() throws {
    let loop = try EventLoop()
    let pair = try Pair()
    let object = Recorder(loop: loop)
    try loop.watch(pair.server.rawValue, object, .read)
    loop.turn(waitingAtMost: .zero)
    #expect(object.events.isEmpty)
    loop.setInterest(object, .write)
    loop.turn()
    #expect(object.events == [.write])
    loop.setInterest(object, [])
    loop.turn(waitingAtMost: .zero)
    #expect(object.events == [.write])
    loop.unwatch(object)
    object.unregister()
  }

  @Test(
    "an object that unregisters itself while it is told stays whole until it returns, and ends once"
  )
  func unregistersItself() throws {
    let loop = try EventLoop()
    let pair = try Pair()
    let census = Census()
    do {
      let object = Recorder(loop: loop, census: census)
      object.onReady = { object in
        object.unregister()
        object.unregister()
        #expect(!object.isRegistered)
        #expect(census.alive == 1)
      }
      try loop.watch(pair.server.rawValue, object, .read)
    }
    #expect(loop.objectCount == 1)
    pair.clientSends("x")
    loop.run { census.ended == 1 }
    #expect(loop.objectCount == 0)
    #expect(census.alive == 0)
  }

  @Test("an object that unregisters another in the same batch of events keeps the event from it")
  func unregistersAnother() throws {
    let loop = try EventLoop()
    let (one, two) = (try Pair(), try Pair())
    let census = Census()
    let first = Recorder(loop: loop, census: census)
    let second = Recorder(loop: loop, census: census)
    first.onReady = { _ in second.unregister() }
    second.onReady = { _ in first.unregister() }
    try loop.watch(one.server.rawValue, first, .read)
    try loop.watch(two.server.rawValue, second, .read)
    one.clientSends("x")
    two.clientSends("x")
    // Both are ready before the loop looks: sending over loopback delivers at once.
    loop.turn()
    #expect(first.events.count + second.events.count == 1)
    #expect(loop.statistics.late == 1)
    #expect(loop.objectCount == 1)
    first.unregister()
    second.unregister()
  }

  @Test(
    "news for an object that is gone never reaches the one that has its place and its descriptor now"
  )
  func heir() throws {
    let loop = try EventLoop()
    let (one, two) = (try Pair(), try Pair())
    let first = Recorder(loop: loop)
    let second = Recorder(loop: loop)
    var heir: Recorder?
    // Whichever is told first: the other one goes, and an heir comes into its slot, with its descriptor.
    let replace = { (victim: Recorder, fd: Int32) in
      let slot = victim.id.slot
      victim.unregister()
      let next = Recorder(loop: loop)
      #expect(next.id.slot == slot && next.id != victim.id)
      #expect(throws: Never.self) { try loop.watch(fd, next, .write) }
      heir = next
    }
    first.onReady = { _ in if heir == nil { replace(second, two.server.rawValue) } }
    second.onReady = { _ in if heir == nil { replace(first, one.server.rawValue) } }
    try loop.watch(one.server.rawValue, first, .read)
    try loop.watch(two.server.rawValue, second, .read)
    one.clientSends("x")
    two.clientSends("x")
    loop.turn()
    let child = try #require(heir)
    #expect(child.events.isEmpty)
    #expect(loop.statistics.late == 1)
    // Letters and deadlines are kept from it likewise.
    let dead = first.isRegistered ? second : first
    loop.mailbox.post(Letter(to: dead.id, subject: 0, value: 1))
    loop.arm(dead, after: .zero)
    loop.run { loop.statistics.late == 2 }
    #expect(child.letters.isEmpty && !loop.isArmed(child))
    loop.run { child.events == [.write] || child.events.count > 1 }
  }

  @Test("an object that watches another descriptor is not told about the old one")
  func secondDescriptor() throws {
    let loop = try EventLoop()
    let (one, two, trigger) = (try Pair(), try Pair(), try Pair())
    let object = Recorder(loop: loop)
    let changer = Recorder(loop: loop)
    var isChanged = false
    changer.onReady = { changer in
      guard !isChanged else { return }
      isChanged = true
      #expect(throws: Never.self) { try loop.watch(two.server.rawValue, object, .read) }
      changer.unregister()
    }
    // Watched first, told first: the change comes between the batch and the old event.
    try loop.watch(trigger.server.rawValue, changer, .read)
    try loop.watch(one.server.rawValue, object, .read)
    trigger.clientSends("x")
    one.clientSends("x")
    loop.run { isChanged }
    object.events = []
    loop.turn(waitingAtMost: .zero)
    #expect(object.events.isEmpty)
    two.clientSends("x")
    loop.run { !object.events.isEmpty }
    object.unregister()
  }

  @Test("deadlines are told in their order, and only once")
  func deadlines() throws {
    let loop = try EventLoop()
    var order: [Int] = []
    let objects = (0..<3).map { number in
      let object = Recorder(loop: loop)
      object.onTimer = { _ in order.append(number) }
      return object
    }
    let brief = TimeoutClass(.milliseconds(1))
    loop.arm(objects[0], after: .milliseconds(30))
    loop.arm(objects[1], after: brief)
    loop.arm(objects[2], after: .milliseconds(15))
    #expect(loop.isArmed(objects[1]))
    loop.run { order.count == 3 }
    #expect(order == [1, 2, 0])
    #expect(!loop.isArmed(objects[0]))
    for object in objects { object.unregister() }
  }

  @Test("an object that unregisters when its time has come ends once")
  func unregistersInTimer() throws {
    let loop = try EventLoop()
    let census = Census()
    for _ in 0..<100 {
      let object = Recorder(loop: loop, census: census)
      object.onTimer = { $0.unregister() }
      loop.arm(object, after: .milliseconds(1))
    }
    loop.run { census.ended == 100 }
    #expect(loop.objectCount == 0)
  }

  @Test(
    "what is put off runs after the turn's events; what it puts off itself waits for the next turn")
  func afterTurn() throws {
    let loop = try EventLoop()
    let object = Recorder(loop: loop)
    var order: [String] = []
    loop.afterTurn {
      order.append("first")
      loop.afterTurn { order.append("second") }
    }
    loop.afterTurn(object)
    loop.turn()
    #expect(order == ["first"] && object.turnsEnded == 1)
    loop.turn()
    #expect(order == ["first", "second"] && object.turnsEnded == 1)
    loop.afterTurn(object)
    object.unregister()
    loop.turn()
    #expect(object.turnsEnded == 1)
  }

  @Test("objects beyond the first few find room, with their deadlines")
  func growth() throws {
    let loop = try EventLoop()
    let census = Census()
    let objects = (0..<1000).map { _ in Recorder(loop: loop, census: census) }
    #expect(Set(objects.map(\.id)).count == 1000)
    for object in objects { loop.arm(object, after: .milliseconds(2)) }
    loop.run { objects.allSatisfy { $0.expiries == 1 } }
    for object in objects { object.unregister() }
    #expect(loop.objectCount == 0)
  }

  @Test("the end of a loop is the end of its objects, once each")
  func end() throws {
    let census = Census()
    do {
      let loop = try EventLoop()
      for _ in 0..<10 { _ = Recorder(loop: loop, census: census) }
      #expect(census.alive == 10)
      loop.stop()
      loop.run()
      #expect(census.alive == 0)
      #expect(!loop.mailbox.post(Letter(to: .none, subject: 0)))
    }
    #expect(census.ended == 10)
    do {
      let loop = try EventLoop()
      _ = Recorder(loop: loop, census: census)
      _ = loop.now
    }
    #expect(census.ended == 11)
  }

  @Test("the date is written anew when a second begins")
  func date() throws {
    let loop = try EventLoop()
    var seconds: [Int64] = []
    loop.setDateFormatter { second, bytes in
      seconds.append(second)
      bytes.copyBytes(from: "Sun, 06 Nov 1994 08:49:37 GMT".utf8)
    }
    #expect(seconds.count == 1)
    #expect(String(decoding: loop.date, as: UTF8.self) == "Sun, 06 Nov 1994 08:49:37 GMT")
    loop.turn(waitingAtMost: .zero)
    #expect(seconds.last == loop.wallSeconds)
  }
}

@Suite("Mailbox")
struct MailboxTests {
  @Test("letters from many threads all arrive, in the order of each sender")
  func manyThreads() throws {
    let loop = try EventLoop()
    let object = Recorder(loop: loop)
    let (mailbox, id) = (loop.mailbox, object.id)
    let senders = try (0..<4).map { sender in
      try WorkerThread.start(name: "sender-\(sender)") {
        for number in 0..<2000 {
          mailbox.post(Letter(to: id, subject: 1, value: sender * 10_000 + number))
        }
      }
    }
    loop.run { object.letters.count == 8000 }
    for sender in senders { sender.join() }
    for sender in 0..<4 {
      let own = object.letters.filter { $0 / 10_000 == sender }
      #expect(own == (0..<2000).map { sender * 10_000 + $0 })
    }
    object.unregister()
  }

  @Test("a letter written in answer to a letter arrives in a later turn")
  func chain() throws {
    let loop = try EventLoop()
    let mailbox = loop.mailbox
    let count = Atomic<Int>(0)
    @Sendable func next(_ loop: EventLoop) {
      if count.add(1, ordering: .relaxed).newValue < 10 { mailbox.perform(next) }
    }
    mailbox.perform(next)
    loop.run { count.load(ordering: .relaxed) == 10 }
    #expect(loop.statistics.turns >= 10)
  }

  @Test("a loop on its own thread is set up, reached, stopped and joined")
  func loopThread() throws {
    let reached = Monitor(0)
    let thread = try LoopThread.start(name: "loop") { loop in
      loop.afterTurn { reached.withLock { $0 += 1 } }
    }
    thread.mailbox.perform { _ in
      reached.withLock { $0 += 10 }
      reached.wakeAll()
    }
    reached.wait { $0 >= 10 ? () : nil }
    thread.stop()
    thread.join()
    #expect(!thread.mailbox.perform { _ in })
  }

  @Test("a set-up that fails is told to the one who started the thread")
  func failedSetUp() {
    #expect(throws: Errno.addressInUse) {
      _ = try LoopThread.start(name: "loop") { _ throws(Errno) in throw .addressInUse }
    }
  }
}
