// Names to addresses with an injected lookup and a hand-set clock; only one test asks the system, for localhost.

import Platform
import Synchronization
import Testing

@testable import IO

/// A lookup that waits until the test opens the gate, and counts what it was asked.
private final class FakeNames: Sendable {
  private struct State {
    var asked: [String] = []
    var isOpen: Bool
    var answers: [String: Result<[IPAddress], Resolver.Failure>] = [:]
  }

  private let state: Monitor<State>

  init(isOpen: Bool = true) {
    state = Monitor(State(isOpen: isOpen))
  }

  var asked: [String] { state.withLock { $0.asked } }

  func set(_ host: String, _ result: Result<[IPAddress], Resolver.Failure>) {
    state.withLock { $0.answers[host] = result }
  }

  func open() {
    state.withLock { $0.isOpen = true }
    state.wakeAll()
  }

  func waitUntilAsked(_ count: Int) {
    state.wait { $0.asked.count >= count ? () : nil }
  }

  func lookup(_ host: String) -> Result<[IPAddress], Resolver.Failure> {
    state.withLock { $0.asked.append(host) }
    state.wakeAll()
    return state.wait { $0.isOpen ? $0.answers[host] ?? .failure(.notFound) : nil }
  }
}

private final class HandSetClock: Sendable {
  private let time = Atomic<Int64>(1_000_000_000_000)

  var now: Instant { Instant(nanoseconds: time.load(ordering: .sequentiallyConsistent)) }

  func advance(_ duration: Duration) {
    time.add(duration.wholeNanoseconds, ordering: .sequentiallyConsistent)
  }
}

private final class Asker: LoopObject {
  var answers: [Result<[IPAddress], Resolver.Failure>] = []

  override func receive(_ letter: Letter) {
    if let answer = letter.payload as? Resolver.Answer { answers.append(answer.result) }
  }
}

@Suite("Resolver")
struct ResolverTests {
  static let one = IPAddress("192.0.2.1") ?? .anyV4
  static let two = IPAddress("2001:db8::2") ?? .anyV6

  private func resolver(
    _ names: FakeNames, clock: HandSetClock = HandSetClock(), options: Resolver.Options = .init()
  ) throws -> Resolver {
    try Resolver(options: options, now: { clock.now }, lookup: { names.lookup($0) })
  }

  private func ask(_ resolver: Resolver, _ host: String, _ loop: EventLoop) -> Result<
    [IPAddress], Resolver.Failure
  >? {
    let asker = Asker(loop: loop)
    resolver.resolve(host, reply: loop.mailbox, asker.id)
    loop.run { !asker.answers.isEmpty }
    asker.unregister()
    return asker.answers.first
  }

  @Test("an address is its own answer, and nobody is asked")
  func literal() throws {
    let (names, loop) = (FakeNames(), try EventLoop())
    let resolver = try resolver(names)
    defer { resolver.shutdown() }
    #expect(ask(resolver, "192.0.2.1", loop) == .success([Self.one]))
    #expect(ask(resolver, "2001:DB8::2", loop) == .success([Self.two]))
    #expect(names.asked.isEmpty)
  }

  @Test(
    "old spellings of addresses are no names and never asked for",
    arguments: [
      "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "a.1", "1.2.3.4.", "", ".", "a\0b", "x.0x7f",
    ])
  func oldSpellings(_ host: String) throws {
    let (names, loop) = (FakeNames(), try EventLoop())
    let resolver = try resolver(names)
    defer { resolver.shutdown() }
    #expect(ask(resolver, host, loop) == .failure(.notFound))
    #expect(names.asked.isEmpty)
  }

  @Test("an answer is remembered for its time, whatever the case of the name")
  func remembers() throws {
    let (names, clock, loop) = (FakeNames(), HandSetClock(), try EventLoop())
    names.set("a.example.org", .success([Self.one, Self.two]))
    let resolver = try resolver(names, clock: clock)
    defer { resolver.shutdown() }
    #expect(resolver.known("a.example.org") == nil)
    #expect(ask(resolver, "a.example.org", loop) == .success([Self.one, Self.two]))
    clock.advance(.seconds(29))
    #expect(ask(resolver, "A.Example.ORG", loop) == .success([Self.one, Self.two]))
    #expect(resolver.known("a.example.org")?.result == .success([Self.one, Self.two]))
    #expect(names.asked.count == 1)
    clock.advance(.seconds(2))
    names.set("a.example.org", .success([Self.two]))
    #expect(ask(resolver, "a.example.org", loop) == .success([Self.two]))
    #expect(names.asked.count == 2)
  }

  @Test(
    "a failure is remembered for a shorter time",
    arguments: [
      Resolver.Failure.notFound, .temporary, .failed("broken"),
    ])
  func remembersFailure(_ failure: Resolver.Failure) throws {
    let (names, clock, loop) = (FakeNames(), HandSetClock(), try EventLoop())
    names.set("a.example.org", .failure(failure))
    let resolver = try resolver(names, clock: clock)
    defer { resolver.shutdown() }
    #expect(ask(resolver, "a.example.org", loop) == .failure(failure))
    clock.advance(.milliseconds(1900))
    #expect(ask(resolver, "a.example.org", loop) == .failure(failure))
    #expect(names.asked.count == 1)
    clock.advance(.milliseconds(200))
    names.set("a.example.org", .success([Self.one]))
    #expect(ask(resolver, "a.example.org", loop) == .success([Self.one]))
  }

  @Test("many who ask for one name at once cause one lookup, and all get its answer")
  func joins() throws {
    let (names, loop) = (FakeNames(isOpen: false), try EventLoop())
    names.set("a.example.org", .success([Self.one]))
    let resolver = try resolver(names)
    defer { resolver.shutdown() }
    let askers = (0..<50).map { _ in Asker(loop: loop) }
    for asker in askers { resolver.resolve("a.example.org", reply: loop.mailbox, asker.id) }
    names.waitUntilAsked(1)
    let late = Asker(loop: loop)
    resolver.resolve("a.example.org", reply: loop.mailbox, late.id)
    names.open()
    loop.run { (askers + [late]).allSatisfy { $0.answers == [.success([Self.one])] } }
    #expect(names.asked == ["a.example.org"])
    #expect(resolver.statistics.joined == 50 && resolver.statistics.lookups == 1)
    for asker in askers + [late] { asker.unregister() }
  }

  @Test("a name without addresses is a failure")
  func empty() throws {
    let (names, loop) = (FakeNames(), try EventLoop())
    names.set("a.example.org", .success([]))
    let resolver = try resolver(names)
    defer { resolver.shutdown() }
    #expect(ask(resolver, "a.example.org", loop) == .failure(.notFound))
  }

  @Test("when too many names wait, the next is refused at once, and those that wait are served")
  func overloaded() throws {
    let (names, loop) = (FakeNames(isOpen: false), try EventLoop())
    var options = Resolver.Options()
    options.threads = 1
    options.queueLimit = 2
    let resolver = try resolver(names, options: options)
    defer { resolver.shutdown() }
    let askers = (0..<4).map { _ in Asker(loop: loop) }
    resolver.resolve("0.example.org", reply: loop.mailbox, askers[0].id)
    names.waitUntilAsked(1)
    for number in 1..<4 {
      resolver.resolve("\(number).example.org", reply: loop.mailbox, askers[number].id)
    }
    loop.run { askers[3].answers == [.failure(.overloaded)] }
    names.open()
    loop.run { askers.allSatisfy { $0.answers.count == 1 } }
    #expect(askers[2].answers == [.failure(.notFound)])
    for asker in askers { asker.unregister() }
  }

  @Test("a lookup that nobody waits for any more when its turn comes is not done")
  func late() throws {
    let (names, clock, loop) = (FakeNames(isOpen: false), HandSetClock(), try EventLoop())
    var options = Resolver.Options()
    options.threads = 1
    let resolver = try resolver(names, clock: clock, options: options)
    defer { resolver.shutdown() }
    let (first, second) = (Asker(loop: loop), Asker(loop: loop))
    resolver.resolve("slow.example.org", reply: loop.mailbox, first.id)
    names.waitUntilAsked(1)
    resolver.resolve(
      "late.example.org", deadline: clock.now + .seconds(1), reply: loop.mailbox, second.id)
    clock.advance(.seconds(2))
    names.open()
    loop.run { second.answers == [.failure(.timedOut)] && first.answers.count == 1 }
    #expect(names.asked == ["slow.example.org"])
    first.unregister()
    second.unregister()
  }

  @Test("a resolver that is shut down says so to all who wait and who come later")
  func shutdown() throws {
    let (names, loop) = (FakeNames(isOpen: false), try EventLoop())
    let resolver = try resolver(names)
    let asker = Asker(loop: loop)
    resolver.resolve("a.example.org", reply: loop.mailbox, asker.id)
    names.waitUntilAsked(1)
    // The lookup under way ends first, because shutting down waits for it.
    names.open()
    resolver.shutdown()
    resolver.resolve("b.example.org", reply: loop.mailbox, asker.id)
    loop.run { asker.answers.count == 2 }
    #expect(asker.answers.last == .failure(.stopped))
    asker.unregister()
  }

  @Test("the memory for names is bounded")
  func bounded() throws {
    let (names, loop) = (FakeNames(), try EventLoop())
    var options = Resolver.Options()
    options.cacheLimit = 4
    let resolver = try resolver(names, options: options)
    defer { resolver.shutdown() }
    for number in 0..<10 { _ = ask(resolver, "\(number).example.org", loop) }
    let known = (0..<10).filter { resolver.known("\($0).example.org") != nil }
    #expect(known.count == 4 && known.contains(9))
  }

  @Test("the system knows localhost")
  func system() throws {
    let loop = try EventLoop()
    let resolver = try Resolver()
    defer { resolver.shutdown() }
    let addresses = try ask(resolver, "localhost", loop)?.get() ?? []
    #expect(!addresses.isEmpty && addresses.allSatisfy(\.isLoopback))
  }
}

@Suite("Host lookup")
struct HostLookupTests {
  private final class Waiter: HostLookupDelegate {
    var results: [Result<[IPAddress], Resolver.Failure>] = []

    func lookup(
      _ lookup: HostLookup, of host: String, found result: Result<[IPAddress], Resolver.Failure>
    ) {
      results.append(result)
    }
  }

  @Test("the waiter is told in time, even if the lookup takes for ever, and only once")
  func timeout() throws {
    let (names, loop, waiter) = (FakeNames(isOpen: false), try EventLoop(), Waiter())
    let resolver = try Resolver(lookup: { names.lookup($0) })
    _ = HostLookup(
      loop: loop, resolver: resolver, host: "a.example.org", timeout: .milliseconds(5),
      delegate: waiter)
    loop.run { !waiter.results.isEmpty }
    #expect(waiter.results == [.failure(.timedOut)])
    names.open()
    resolver.shutdown()
    // The answer, if it comes after all, lies in the mailbox before this.
    loop.drainMailbox()
    #expect(waiter.results.count == 1 && loop.objectCount == 0)
  }

  @Test("an answer is told once; a cancelled lookup tells nothing")
  func answers() throws {
    let (names, loop, waiter) = (FakeNames(), try EventLoop(), Waiter())
    names.set("a.example.org", .success([ResolverTests.one]))
    let resolver = try Resolver(lookup: { names.lookup($0) })
    defer { resolver.shutdown() }
    let cancelled = HostLookup(
      loop: loop, resolver: resolver, host: "192.0.2.9", timeout: .seconds(60), delegate: waiter)
    cancelled.cancel()
    _ = HostLookup(
      loop: loop, resolver: resolver, host: "a.example.org", timeout: .seconds(60), delegate: waiter
    )
    loop.run { !waiter.results.isEmpty }
    #expect(waiter.results == [.success([ResolverTests.one])])
    loop.turn(waitingAtMost: .zero)
    #expect(loop.objectCount == 0)
  }
}
