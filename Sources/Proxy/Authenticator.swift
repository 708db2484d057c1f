// Whether credentials are right. Hashing a password takes a quarter of a second by design, so it happens on a
// thread of its own, once for the same credentials, and the outcome is remembered for a while: under a digest
// with a key that only this process knows, so that memory holds no passwords.
//
//   verdict? ─ known ─▶ passed or refused, at once
//       └──── unknown ─▶ line (bounded, and for each client) ─▶ thread ─▶ letter to all who wait ─▶ verdict?

import Configuration
import HTTP
import IO
import Platform
import Storage
import Synchronization

/// A user whose password was right.
final class AuthenticatedUser: Sendable {
  let name: [UInt8]
  /// Of the password file.
  let generation: Int
  /// When the password has to be checked again.
  let until: Instant

  init(name: [UInt8], generation: Int, until: Instant) {
    self.name = name
    self.generation = generation
    self.until = until
  }
}

final class Authenticator: Sendable {
  enum Verdict: Sendable {
    case passed(AuthenticatedUser)
    case refused
  }

  enum Outcome {
    case known(Verdict)
    /// A letter follows.
    case checking
    /// Too many are being checked already.
    case busy
  }

  struct Options: Sendable {
    /// How long right credentials are remembered, and wrong ones: long enough for a client that tries the
    /// same again and again, short enough for somebody who was just added.
    var keepsRight: Duration = .seconds(600)
    var keepsWrong: Duration = .seconds(5)
    /// Different credentials that may wait, in all and from one client (an IPv6 network of 64 bits is one).
    var lineLimit = 64
    var lineLimitPerClient = 8
    var cacheLimit = 4096
  }

  private struct Remembered {
    var verdict: Verdict
    var until: Instant
  }

  private struct Job {
    var digest: Digest
    var credentials: BasicCredentials
    var client: IPNetwork
  }

  private struct Waiter {
    var mailbox: Mailbox
    var id: ObjectID
  }

  private struct State {
    var users = PasswordTable()
    var known: [Digest: Remembered] = [:]
    var waiting: [Digest: [Waiter]] = [:]
    var line: [Job] = []
    var thread: WorkerThread?
    var isStopped = false
    var checks: UInt64 = 0
  }

  private let state = Monitor(State())
  private let currentGeneration = Atomic<Int>(0)
  private let key: [UInt8]
  private let options: Options

  init(options: Options = Options()) {
    self.options = options
    var random = SystemRandomNumberGenerator()
    key = (0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }
  }

  /// Counts versions of the password file; what was found under another one is void.
  var generation: Int { currentGeneration.load(ordering: .acquiring) }

  /// Hashes computed so far.
  var checks: UInt64 { state.withLock { $0.checks } }

  /// Goes by these users from now on.
  func use(_ users: PasswordTable) {
    state.withLock { state in
      guard state.users != users else { return }
      state.users = users
      state.known = [:]
      currentGeneration.wrappingAdd(1, ordering: .releasing)
    }
  }

  /// Judges credentials, or sees to it that they are judged.
  /// - Parameter field: the value of the field they came in.
  func ask(
    _ credentials: BasicCredentials, field: borrowing Span<UInt8>, from client: IPAddress,
    now: Instant, reply mailbox: Mailbox, _ id: ObjectID
  ) -> Outcome {
    guard let digest = digest(field) else { return .busy }
    let client = ClientCounts.network(of: client)
    var starts = false
    let outcome = state.withLock { state -> Outcome in
      if let found = state.known[digest], now < found.until { return .known(found.verdict) }
      if state.waiting[digest] != nil {
        state.waiting[digest, default: []].append(Waiter(mailbox: mailbox, id: id))
        return .checking
      }
      let ofClient = state.line.count { $0.client == client }
      guard !state.isStopped, state.line.count < options.lineLimit,
        ofClient < options.lineLimitPerClient
      else { return .busy }
      state.waiting[digest] = [Waiter(mailbox: mailbox, id: id)]
      state.line.append(Job(digest: digest, credentials: credentials, client: client))
      starts = state.thread == nil
      return .checking
    }
    if starts { start() }
    state.wakeOne()
    return outcome
  }

  private func digest(_ field: borrowing Span<UInt8>) -> Digest? {
    var hasher = Hasher256()
    key.withUnsafeBytes { hasher.update($0) }
    field.withUnsafeBytes { hasher.update($0) }
    return hasher.finish()
  }

  /// The thread is there from the first check on: most instances never need it.
  private func start() {
    guard let thread = try? WorkerThread.start(name: "passwords", body: { self.work() }) else {
      return
    }
    let isSpare = state.withLock { state in
      guard state.thread == nil else { return true }
      state.thread = thread
      return false
    }
    // Two loops may have come here at once; two threads do no harm, but only one is joined at the end.
    if isSpare { spare.withLock { $0.append(thread) } }
  }

  private let spare = Mutex<[WorkerThread]>([])

  private func work() {
    while true {
      let next = state.wait { state -> (Job, PasswordTable, Int)?? in
        if state.isStopped { return .some(nil) }
        guard !state.line.isEmpty else { return nil }
        state.checks += 1
        return (
          state.line.removeFirst(), state.users, currentGeneration.load(ordering: .acquiring)
        )
      }
      guard let (job, users, generation) = next else { return }
      let isRight = users.accepts(name: job.credentials.name, password: job.credentials.password)
      finish(job, isRight: isRight, generation: generation)
    }
  }

  private func finish(_ job: Job, isRight: Bool, generation: Int) {
    let now = Instant.now()
    let until = now + (isRight ? options.keepsRight : options.keepsWrong)
    let verdict: Verdict =
      isRight
      ? .passed(
        AuthenticatedUser(name: job.credentials.name, generation: generation, until: until))
      : .refused
    let waiters = state.withLock { state in
      // Under another password file than the one now in use it is asked again.
      if generation == currentGeneration.load(ordering: .acquiring) {
        if state.known.count >= options.cacheLimit {
          state.known = state.known.filter { now < $0.value.until }
          while state.known.count >= options.cacheLimit, let first = state.known.keys.first {
            state.known[first] = nil
          }
        }
        state.known[job.digest] = Remembered(verdict: verdict, until: until)
      }
      return state.waiting.removeValue(forKey: job.digest) ?? []
    }
    for waiter in waiters {
      waiter.mailbox.post(Letter(to: waiter.id, subject: LetterSubject.authenticated.rawValue))
    }
  }

  /// Ends the thread. Whoever waits is not told any more: the loops have ended.
  func shutdown() {
    let thread = state.withLock { state in
      state.isStopped = true
      state.line = []
      state.waiting = [:]
      let thread = state.thread
      state.thread = nil
      return thread
    }
    state.wakeAll()
    thread?.join()
    for thread in spare.withLock({ threads in
      defer { threads = [] }
      return threads
    }) { thread.join() }
  }
}

extension PasswordTable {
  /// Whether this is the user's password. A name that is not here takes as long as one that is.
  func accepts(name: [UInt8], password: [UInt8]) -> Bool {
    guard let hash = hashes[name] else {
      _ = decoy?.matches(password)
      return false
    }
    return hash.matches(password)
  }
}
