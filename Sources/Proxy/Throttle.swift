// The bandwidth of one connection: asks the buckets that hold for it for a portion at a time, and tells its
// owner when the next one may go. There is none where nothing is limited.

import Configuration
import IO
import Platform
import Telemetry

/// Who sends or reads through a throttle.
protocol Throttled: AnyObject {
  /// There is an allowance again, after `allowance` said that there was none.
  func throttleOpened()
}

final class Throttle: LoopObject {
  private let worker: Worker
  // The owner ends its throttle before it goes.
  private unowned(unsafe) let owner: any Throttled
  private let client: IPAddress?
  private let shared: [SharedBucket]
  private var own: TokenBucket?
  private let portion: Int
  private let side: Side
  /// Bytes that may go now; less than 0 when more went than was allowed, as heads of answers do.
  private var credit = 0
  /// Bytes that may go at the time the timer is set to.
  private var promised = 0

  /// For answers to a client.
  /// - Parameter includesUpstream: what is sent comes straight from an origin, as in tunnels.
  init(worker: Worker, client: IPAddress, includesUpstream: Bool = false, owner: any Throttled) {
    self.worker = worker
    self.owner = owner
    self.client = client
    side = .downstream
    let rate = worker.settings.configuration.rate.connection
    var buckets = worker.shared.rates.join(client)
    if includesUpstream, let upstream = worker.shared.rates.upstream { buckets.append(upstream) }
    shared = buckets
    own = rate.map { TokenBucket(rate: $0.bytesPerSecond, now: worker.loop.now) }
    portion = Self.portion(buckets, rate)
    super.init(loop: worker.loop)
  }

  /// For an answer of an origin.
  init(worker: Worker, upstream: SharedBucket, owner: any Throttled) {
    self.worker = worker
    self.owner = owner
    client = nil
    side = .upstream
    shared = [upstream]
    portion = Self.portion(shared, nil)
    super.init(loop: worker.loop)
  }

  private static func portion(_ buckets: [SharedBucket], _ rate: Rate?) -> Int {
    let rates = buckets.map(\.rate) + (rate.map { [$0.bytesPerSecond] } ?? [])
    return TokenBucket.portion(of: rates.min() ?? .max)
  }

  /// How many bytes may go now. With 0 the owner is told when there are more.
  func allowance() -> Int {
    if credit > 0 { return credit }
    guard promised == 0 else { return 0 }
    // What went too much is part of what is asked for.
    let wanted = portion - credit
    let now = loop.now
    var time = now
    for bucket in shared { time = max(time, bucket.reserve(wanted, now: now)) }
    if own != nil, let ownTime = own?.reserve(wanted, now: now) { time = max(time, ownTime) }
    guard time > now else {
      credit += wanted
      return credit
    }
    promised = wanted
    worker.metrics.add(.rateWaits, side)
    loop.arm(self, at: time)
    return 0
  }

  /// There is no allowance, and the owner will be told when there is.
  var isShut: Bool { credit <= 0 && promised > 0 }

  /// So many bytes went.
  func spent(_ count: Int) { credit -= count }

  /// Nothing waits to go any more: what is left of the allowance goes back. Idle connections would have a share of
  /// the rate otherwise, and the others wait for it.
  func rest() {
    guard credit > 0 else { return }
    for bucket in shared { bucket.giveBack(credit) }
    own?.giveBack(credit)
    credit = 0
  }

  override func timerFired() {
    credit += promised
    promised = 0
    owner.throttleOpened()
  }

  /// Gives back what was not used.
  func end() {
    guard isRegistered else { return }
    unregister()
    let unused = promised + max(0, credit)
    if unused > 0 { for bucket in shared { bucket.giveBack(unused) } }
    if let client { worker.shared.rates.leave(client) }
  }

  override func loopEnding() { end() }
}
