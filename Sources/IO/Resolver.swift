// Names to addresses, off the loop: getaddrinfo(3) on two threads, with a memory for answers and for failures.
//
//   resolve ─▶ literal? ──▶ answer              lookups for one name that are under way are joined
//            └▶ remembered? ──▶ answer          a failure is remembered too, for a shorter time
//            └▶ queue ─▶ thread ─▶ answer to all who wait
//
// getaddrinfo tells no time to live, so answers are kept for a fixed time. It also takes "127.1" and "0x7f000001" for
// addresses; such names are refused here before it sees them. Addresses keep the order of RFC 6724 that it puts them in.

import Glibc
import Platform

/// Finds the addresses of hosts.
package final class Resolver: Sendable {
  /// Why there is no address.
  package enum Failure: Error, Hashable, Sendable {
    /// The name does not exist or has no address.
    case notFound
    /// The name servers could not answer now; later they might.
    case temporary
    /// Something else, in the C library's words.
    case failed(String)
    /// Too many lookups wait already.
    case overloaded
    /// The answer did not come in time.
    case timedOut
    /// The resolver is shut down.
    case stopped

    /// A sentence for people, to follow "HOST: ".
    package var message: String {
      switch self {
      case .notFound: "the name does not exist or has no address"
      case .temporary: "the name servers could not answer now"
      case .failed(let text): "the lookup failed: \(text)"
      case .overloaded: "too many lookups are waiting"
      case .timedOut: "the lookup took too long"
      case .stopped: "the resolver is shut down"
      }
    }
  }

  /// What a lookup came to; the payload of the letter that tells it.
  package final class Answer: Sendable {
    package let host: String
    /// In the order they should be tried; never empty.
    package let result: Result<[IPAddress], Failure>

    init(host: String, result: Result<[IPAddress], Failure>) {
      self.host = host
      self.result = result
    }
  }

  package struct Options: Sendable {
    package var threads = 2
    /// How many different names may wait for a thread.
    package var queueLimit = 256
    /// How many names are remembered.
    package var cacheLimit = 4096
    package var keepsAnswers: Duration = .seconds(30)
    package var keepsFailures: Duration = .seconds(2)

    package init() {}
  }

  /// Does one lookup, and may block.
  package typealias Lookup = @Sendable (String) -> Result<[IPAddress], Failure>

  private struct Waiter {
    let mailbox: Mailbox
    let to: ObjectID
    let subject: UInt32
    let deadline: Instant
  }

  private struct Remembered {
    let answer: Answer
    let until: Instant
  }

  private struct State {
    var cache: [String: Remembered] = [:]
    var waiting: [String: [Waiter]] = [:]
    var queue: [String] = []
    var isStopped = false
    var statistics = Statistics()
  }

  package struct Statistics: Sendable {
    /// Answered without asking anybody: literals and remembered names.
    package var fromMemory = 0
    /// Joined a lookup that was under way.
    package var joined = 0
    package var lookups = 0
    package var failures = 0
    package var refused = 0
  }

  private let state = Monitor(State())
  private let threads: Monitor<[WorkerThread]>
  private let options: Options
  private let lookup: Lookup
  private let now: @Sendable () -> Instant

  /// - Parameters:
  ///   - lookup: how to look up; tests give their own.
  ///   - now: the clock that remembering goes by.
  package init(
    options: Options = Options(), now: @escaping @Sendable () -> Instant = { Instant.now() },
    lookup: @escaping Lookup = Resolver.systemLookup
  ) throws(Errno) {
    self.options = options
    self.now = now
    self.lookup = lookup
    threads = Monitor([])
    for number in 0..<max(1, options.threads) {
      do throws(Errno) {
        let thread = try WorkerThread.start(name: "resolver-\(number)") { self.work() }
        threads.withLock { $0.append(thread) }
      } catch {
        shutdown()
        throw error
      }
    }
  }

  // MARK: Asking

  /// What is known without waiting: an address literal, or a name looked up a short while ago.
  package func known(_ host: String) -> Answer? {
    let host = Resolver.normalised(host)
    if let answer = Resolver.literal(host) { return answer }
    let now = self.now()
    return state.withLock { state in
      guard let found = state.cache[host], now < found.until else { return nil }
      state.statistics.fromMemory += 1
      return found.answer
    }
  }

  /// Looks a host up, and leaves the answer in the mailbox: a letter with an `Answer`.
  /// - Parameters:
  ///   - host: a name, or an address without brackets.
  ///   - deadline: a lookup that nobody waits for any more when its turn comes is not done; the waiter is told `.timedOut`
  ///     then. Meanwhile the waiter must keep its own time (`HostLookup` does): a lookup under way cannot be interrupted.
  package func resolve(
    _ host: String, deadline: Instant = .distantFuture, reply mailbox: Mailbox, _ to: ObjectID,
    subject: UInt32 = 0
  ) {
    let host = Resolver.normalised(host)
    let waiter = Waiter(mailbox: mailbox, to: to, subject: subject, deadline: deadline)
    if let answer = Resolver.literal(host) {
      Resolver.send(answer, to: [waiter])
      return
    }
    let now = self.now()
    var answer: Answer?
    var isNew = false
    state.withLock { state in
      if let found = state.cache[host], now < found.until {
        state.statistics.fromMemory += 1
        answer = found.answer
      } else if state.isStopped {
        answer = Answer(host: host, result: .failure(.stopped))
      } else if state.waiting[host] != nil {
        state.statistics.joined += 1
        state.waiting[host, default: []].append(waiter)
      } else if state.queue.count >= options.queueLimit {
        state.statistics.refused += 1
        answer = Answer(host: host, result: .failure(.overloaded))
      } else {
        state.waiting[host] = [waiter]
        state.queue.append(host)
        isNew = true
      }
    }
    if isNew { state.wakeOne() }
    if let answer { Resolver.send(answer, to: [waiter]) }
  }

  package var statistics: Statistics { state.withLock { $0.statistics } }

  /// Tells all who wait `.stopped`, and waits for the lookups under way to end.
  package func shutdown() {
    let waiting = state.withLock { state in
      state.isStopped = true
      state.queue = []
      let waiting = state.waiting
      state.waiting = [:]
      return waiting
    }
    state.wakeAll()
    for (host, waiters) in waiting {
      Resolver.send(Answer(host: host, result: .failure(.stopped)), to: waiters)
    }
    let joined = threads.withLock { threads in
      let all = threads
      threads = []
      return all
    }
    for thread in joined { thread.join() }
  }

  // MARK: On the threads

  private func work() {
    while let host = state.wait(for: Resolver.next) {
      // Whoever still waits decides whether it is worth the time.
      let now = self.now()
      let late = state.withLock { state -> [Waiter] in
        let waiters = state.waiting[host] ?? []
        let late = waiters.filter { $0.deadline <= now }
        let rest = waiters.filter { $0.deadline > now }
        state.waiting[host] = rest.isEmpty ? nil : rest
        if !rest.isEmpty { state.statistics.lookups += 1 }
        return late
      }
      Resolver.send(Answer(host: host, result: .failure(.timedOut)), to: late)
      guard state.withLock({ $0.waiting[host] != nil }) else { continue }
      finish(host, with: Resolver.isLookable(host) ? lookup(host) : .failure(.notFound))
    }
  }

  private static func next(_ state: inout State) -> String?? {
    if state.isStopped { return .some(nil) }
    return state.queue.isEmpty ? .none : .some(state.queue.removeFirst())
  }

  private func finish(_ host: String, with result: Result<[IPAddress], Failure>) {
    var result = result
    if case .success(let addresses) = result, addresses.isEmpty { result = .failure(.notFound) }
    let answer = Answer(host: host, result: result)
    let now = self.now()
    let keep: Duration
    switch result {
    case .success: keep = options.keepsAnswers
    case .failure: keep = options.keepsFailures
    }
    let waiters = state.withLock { state in
      if case .failure = result { state.statistics.failures += 1 }
      if state.cache.count >= options.cacheLimit {
        Resolver.makeRoom(in: &state, now, options.cacheLimit)
      }
      state.cache[host] = Remembered(answer: answer, until: now + keep)
      return state.waiting.removeValue(forKey: host) ?? []
    }
    Resolver.send(answer, to: waiters)
  }

  private static func makeRoom(in state: inout State, _ now: Instant, _ limit: Int) {
    state.cache = state.cache.filter { now < $0.value.until }
    // All still good: forget some, whichever come first.
    while state.cache.count >= limit, let host = state.cache.keys.first {
      state.cache.removeValue(forKey: host)
    }
  }

  private static func send(_ answer: Answer, to waiters: [Waiter]) {
    for waiter in waiters {
      waiter.mailbox.post(Letter(to: waiter.to, subject: waiter.subject, payload: answer))
    }
  }

  // MARK: Names

  private static func normalised(_ host: String) -> String {
    host.utf8.contains { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
      ? host.lowercased() : host
  }

  private static func literal(_ host: String) -> Answer? {
    IPAddress(host).map { Answer(host: host, result: .success([$0])) }
  }

  /// Whether getaddrinfo may see the name. No top-level domain is a number (RFC 3696 §2), so a name whose last label is one
  /// is some old spelling of an address; NUL would end the name early for C.
  static func isLookable(_ host: String) -> Bool {
    guard !host.isEmpty, host.utf8.count <= 254, !host.utf8.contains(0) else { return false }
    let name = host.hasSuffix(".") ? host.dropLast() : host[...]
    guard let last = name.split(separator: ".", omittingEmptySubsequences: false).last?.utf8,
      !last.isEmpty
    else { return false }
    let isNumber = last.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    let isHex = last.count >= 2 && last.starts(with: "0x".utf8)
    return !isNumber && !isHex
  }

  /// Asks the C library, which asks what the system is configured to ask.
  package static let systemLookup: Lookup = { host in
    var hints = addrinfo()
    hints.ai_family = AF_UNSPEC
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    let code = getaddrinfo(host, nil, &hints, &list)
    defer { if let list { freeaddrinfo(list) } }
    switch code {
    case 0:
      var addresses: [IPAddress] = []
      var entry = list
      while let current = entry {
        if let address = current.pointee.ai_addr,
          let found = SocketAddress(address, length: current.pointee.ai_addrlen),
          !addresses.contains(found.ip)
        {
          addresses.append(found.ip)
        }
        entry = current.pointee.ai_next
      }
      return addresses.isEmpty ? .failure(.notFound) : .success(addresses)
    // -5 is EAI_NODATA, which only GNU headers name: the name exists, but has no address.
    case EAI_NONAME, -5:
      return .failure(.notFound)
    case EAI_AGAIN:
      return .failure(.temporary)
    case EAI_SYSTEM:
      return .failure(.failed(Errno(rawValue: errno).description))
    default:
      return .failure(.failed(gai_strerror(code).map { String(cString: $0) } ?? "error \(code)"))
    }
  }
}
