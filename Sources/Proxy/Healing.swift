// A request whose connection has ended goes on, before any client can notice, in the gentlest way there is:
//
//   nothing of an answer had come          ─▶ asked again, on a new connection
//   a strong entity tag, and ranges        ─▶ Range from where it broke, with If-Range; a 206 that fits goes on (RFC 9110 §14)
//   a date and a length, or a digest       ─▶ Range from 64 KiB before that; what comes twice is compared
//   anything else, or a 200 all the same   ─▶ fetched from the start; if the beginning is the same, it goes on behind it
//
// Compressed content is always of the last kind: its tag may be that of what was compressed. So content is joined on the
// word of a strong tag about a part of uncompressed content, or because it has been compared, and never otherwise.
//
// A version that is another one by its validators, its length or its beginning ends it: parts of two are never mixed, and
// those who have been sent some of it are cut. Attempts are bounded, wait longer each time, try another address first, and
// take from a budget that an origin gives back by answering.
//
// Here is what such a request costs and how its records learn of its end; FillHealing.swift has fetches for the store,
// RelayHealing.swift answers that go to one client, ContentCheck.swift the comparing.

import Forensics
import IO
import Platform
import Storage
import Telemetry

/// How often it was tried without getting on: a download that breaks every megabyte arrives, and one whose head comes and
/// next to nothing behind it is given up.
struct HealingProgress {
  /// What counts as getting on. An origin that sends a byte and resets could have itself asked for ever otherwise.
  static let least: Int64 = 64 << 10
  private var offset: Int64?
  private(set) var attempts = 0

  /// Counts an attempt to go on from `offset`.
  /// - Returns: whether it is one too many.
  mutating func count(_ offset: Int64, limit: Int) -> Bool {
    if self.offset.map({ offset - $0 >= Self.least }) ?? true {
      (self.offset, attempts) = (offset, 0)
    }
    attempts += 1
    return attempts > limit
  }
}

/// A request that is being healed.
struct Healing {
  enum Way {
    case again
    case rest
    case overlap(from: Int64)
    case whole
  }

  /// What comes twice where there is no strong validator.
  static let overlap: Int64 = 64 << 10
  private static let firstPause: Duration = .milliseconds(50)

  /// What has to be healed, the youngest last.
  private var records: [RecordID] = []
  private(set) var error: ProxyError
  private let since: Instant
  /// Where the content broke off.
  private let offset: Int64
  var way = Way.again
  /// What comes again is compared.
  var check: ContentCheck?
  /// What it will have been as soon as a byte comes that was not there before.
  var outcome: EndingRecord.Resumption.Outcome?
  /// The origin has sent a part that was not the one that was asked for: no more of them.
  var distrustsParts = false
  private var pause: HealingPause?
  /// The attempt that is under way has been taken from the origin's budget.
  private var isOwing = true

  /// Whether it was the connection that failed, and not what was said on it or here.
  static func isPossible(after error: ProxyError, _ settings: Settings) -> Bool {
    guard let fault = error.fault, settings.upstream.retries > 0 else { return false }
    switch fault.means {
    case .reset, .finish, .icmp: return true
    // All addresses have had their time.
    case .timeout: return fault.syscall != .connect || fault.errno == nil
    // A route may come back.
    case .exhausted: return fault.hasNoWay
    case .abort, .killed, .alert, .malformed: return false
    }
  }

  /// One more attempt.
  /// - Parameters:
  ///   - earlier: what this goes on with, if it is being healed.
  ///   - exchange: that failed; a repetition of its own becomes a part of this.
  ///   - offset: where the content broke off.
  /// - Returns: nil when it has been tried often enough.
  static func next(
    _ earlier: Healing?, after error: ProxyError, of exchange: Exchange?, at offset: Int64,
    _ progress: inout HealingProgress, to origin: Origin, by worker: Worker
  ) -> Healing? {
    guard !progress.count(offset, limit: worker.settings.upstream.retries),
      worker.shared.retries.take(origin, now: worker.loop.now)
    else { return nil }
    var next = earlier ?? Healing(error: error, since: worker.loop.now, offset: offset)
    next.error = error
    next.check = nil
    next.outcome = nil
    next.isOwing = true
    if let repeated = exchange?.repeated {
      exchange?.repeated = nil
      next.records.append(repeated.id)
    }
    next.add(error.record, worker)
    worker.metrics.add(.upstreamRetries)
    return next
  }

  private init(error: ProxyError, since: Instant, offset: Int64) {
    self.error = error
    self.since = since
    self.offset = offset
  }

  private mutating func add(_ record: RecordID?, _ worker: Worker) {
    guard let record, !records.contains(record) else { return }
    records.append(record)
    worker.shared.endings.isHealing(record)
  }

  /// How long to wait before the attempt. The first one is made at once, unless nobody listens there.
  func delay(_ progress: HealingProgress) -> Duration? {
    guard progress.attempts > 1 || error.type == .connectionRefused else { return nil }
    // Longer each time, and not all at once.
    let base = Self.firstPause.wholeNanoseconds << Int64(min(max(0, progress.attempts - 1), 6))
    return .nanoseconds(base / 2 + Int64(Randomness.word() % UInt64(base)))
  }

  mutating func wait(_ delay: Duration, _ loop: EventLoop, _ action: @escaping () -> Void) {
    pause = HealingPause(loop: loop, after: delay, action)
  }

  /// The origin has answered, whatever it said: it is there.
  mutating func answered(_ worker: Worker, _ origin: Origin) {
    guard isOwing else { return }
    isOwing = false
    worker.shared.retries.giveBack(origin)
  }

  /// What comes from here on is the rest.
  func worked(_ outcome: EndingRecord.Resumption.Outcome, _ worker: Worker) {
    let after = worker.loop.now - since
    for record in records {
      worker.shared.endings.resumed(
        record, .init(offset: offset, outcome: outcome, after: after))
    }
  }

  /// It is not gone on with after `error`.
  /// - Parameters:
  ///   - healing: what that ends; nil where nothing was being healed.
  ///   - why: nil where the error is of another kind, and nothing has been tried because of it.
  ///   - isTold: somebody has been sent some of the answer, up to `offset`, and is cut.
  /// - Returns: false, for who asks whether it is healed.
  static func fail(
    _ healing: inout Healing?, after error: ProxyError, _ why: String?, isTold: Bool,
    at offset: Int64, _ worker: Worker
  ) -> Bool {
    if var failing = healing.take() {
      failing.failed(why ?? "the origin failed in another way", last: error, worker)
    } else if let record = error.record, let why, isTold {
      worker.shared.endings.resumed(
        record, .init(offset: offset, outcome: .failed, after: .zero, note: why))
    }
    return false
  }

  /// - Parameter last: the error that was too much.
  mutating func failed(_ why: String, last: ProxyError? = nil, _ worker: Worker) {
    pause?.cancel()
    pause = nil
    add(last?.record, worker)
    let after = worker.loop.now - since
    for record in records {
      worker.shared.endings.resumed(
        record, .init(offset: offset, outcome: .failed, after: after, note: why))
    }
  }
}

/// Some time that passes before something is done.
final class HealingPause: LoopObject {
  private let action: () -> Void

  init(loop: EventLoop, after duration: Duration, _ action: @escaping () -> Void) {
    self.action = action
    super.init(loop: loop)
    loop.arm(self, after: duration)
  }

  override func timerFired() {
    unregister()
    action()
  }

  func cancel() { if isRegistered { unregister() } }

  override func loopEnding() { cancel() }
}
