// A fetch whose connection has ended goes on, before any client can notice, in the gentlest way there is:
//
//   nothing of an answer had come          ─▶ asked again, on a new connection
//   a strong validator, and ranges         ─▶ Range from where it broke, with If-Range; a 206 that fits goes on (RFC 9110 §14)
//   anything else, or a 200 all the same   ─▶ fetched from the start; if the beginning is the same, it goes on behind it
//
// A version that is another one by its validators, its length or its beginning ends it: parts of two are never mixed, and
// those who read along are cut. Attempts are bounded, wait longer each time, try another address first, and take from a
// budget that an origin gives back by answering.

import Caching
import Forensics
import HTTP
import IO
import Platform
import Storage
import Telemetry

/// A fetch that is being healed.
struct FillHealing {
  /// What has to be healed, the youngest last.
  fileprivate(set) var records: [RecordID] = []
  fileprivate var error: ProxyError
  fileprivate let since: Instant
  /// Attempts since something has come.
  fileprivate var attempts = 0
  /// Where the content broke off.
  fileprivate var offset: Int64
  /// The whole comes again, and its beginning is compared.
  fileprivate(set) var check: PrefixCheck?
  fileprivate var pause: HealingPause?

  /// An answer is awaited, whose head decides.
  fileprivate(set) var isAwaitingHead = true
}

extension FillDriver {
  private static let firstPause: Duration = .milliseconds(50)

  /// Tries to go on after the connection has ended.
  /// - Returns: false when that is not possible, or has been tried often enough.
  func heal(_ error: ProxyError) -> Bool {
    guard mayHeal(error), orphaned == nil || body != nil else { return failHealing(error) }
    let hasContent = received > completedFrom || body != nil
    if hasContent {
      guard let body, canGoOn(body.response), !file.isRelayingFromMemory, !file.hasGap,
        !file.hasSpilled
      else { return failHealing(error) }
      handOver()
    }
    let attempts = healing?.attempts ?? 0
    guard attempts < worker.settings.upstream.retries,
      worker.shared.retries.take(request.origin, now: loop.now)
    else { return failHealing(error) }
    var next = healing ?? FillHealing(error: error, since: loop.now, offset: received)
    next.error = error
    next.attempts = attempts + 1
    next.offset = received
    next.check = nil
    next.isAwaitingHead = true
    if let record = error.record {
      next.records.append(record)
      worker.shared.endings.isHealing(record)
    }
    healing = next
    worker.metrics.add(.upstreamRetries)
    guard attempts > 0 || error.fault?.means == .reset && body == nil && isConnecting(error) else {
      askAgain()
      return true
    }
    // Longer each time, and not all at once.
    let base = Self.firstPause.wholeNanoseconds << Int64(min(attempts, 6))
    let jitter = Int64(Randomness.word() % UInt64(base))
    healing?.pause = HealingPause(loop: loop, after: .nanoseconds(base / 2 + jitter)) {
      [weak self] in
      guard let self, healing != nil else { return }
      healing?.pause = nil
      askAgain()
    }
    return true
  }

  private func isConnecting(_ error: ProxyError) -> Bool { error.type == .connectionRefused }

  /// Whether it was the connection that failed, and not what was said on it or here.
  func mayHeal(_ error: ProxyError) -> Bool {
    guard let fault = error.fault, worker.settings.upstream.retries > 0 else { return false }
    if body == nil, leader?.mayServeStale(.disconnected) == true { return false }
    switch fault.means {
    case .reset, .finish, .icmp: return true
    // All addresses have had their time.
    case .timeout: return fault.syscall != .connect || fault.errno == nil
    case .abort, .killed, .alert, .malformed, .exhausted: return false
    }
  }

  /// Whether what has come of this answer can be told from another version of it.
  private func canGoOn(_ response: StoredResponse) -> Bool {
    guard response.status == .ok else { return false }
    return response.validators.entityTag != nil || response.validators.lastModified != nil
      || body?.expectedLength != nil || expectedDigest != nil
  }

  private func askAgain() {
    let healed: OriginRequest
    if let body {
      let canAskForRest = received > 0 && Completion.isPossible(for: body.response)
      healed =
        canAskForRest
        ? Forwarding.restRequest(
          request, of: body.response, from: received, via: worker.via,
          forwarding: varied.forwarded)
        : Forwarding.fillRequest(
          request, validating: nil, via: worker.via, forwarding: varied.forwarded)
    } else {
      healed = firstRequest
    }
    let exchange = Exchange(worker: worker, request: healed, consumer: self)
    exchange.avoided = healing?.error.peer
    self.exchange = exchange
    exchange.start()
  }

  // MARK: Its answer

  /// Judges the head of an answer to a fetch that had broken off.
  func healingGotHead(_ exchange: Exchange, _ head: ResponseHead) {
    guard var healing, let body else { return }
    var fields = head.fields
    Forwarding.tidyResponse(&fields, version: head.version, via: worker.via)
    let now = loop.wallSeconds
    healing.isAwaitingHead = false
    switch head.status.rawValue {
    case 206:
      let announced: UInt64? = if case .length(let length) = head.framing { length } else { nil }
      let outcome = Completion.join(
        body.response, keptUpTo: received, with: fields, announced: announced,
        request: varied.selecting, requestTime: requestTime, responseTime: now,
        policy: request.policy)
      guard case .rest(_, let length) = outcome, length == body.expectedLength ?? length,
        length <= largest, body.response.isOfSameOrigin(as: chain, asked: request.target),
        varied.judge(fields, isWhole: false) == .inOrder
      else { return giveUpHealing("the part that came does not fit what was there") }
      healingWorks(.resumed)
    case 200:
      guard isSameVersion(head, fields, body) else {
        return giveUpHealing("it has changed meanwhile")
      }
      guard received > 0 else { return healingWorks(.compared) }
      checks += 1
      healing.check = PrefixCheck(length: received, number: checks)
      self.healing = healing
    case 500..., 408, 425, 429:
      self.healing = healing
      exchange.cancel()
      self.exchange = nil
      // An origin that comes up again says this for a while.
      let error = healing.error
      if !heal(ProxyError(error.type, error.detail, status: error.status).met(error.fault)) {
        handOver()
        breakOff(error, keeps: error.leavesContentInOrder)
      }
    default:
      giveUpHealing("the origin answered \(head.status) when it was asked again")
    }
  }

  /// Whether a 200 is the same version as what has come, as far as its head tells.
  private func isSameVersion(
    _ head: ResponseHead, _ fields: FieldSection, _ body: GrowingBody
  ) -> Bool {
    let before = body.response
    let after = Validators(fields, receivedAt: loop.wallSeconds)
    if let tag = before.validators.entityTag {
      guard after.entityTag?.matchesWeakly(tag) == true else { return false }
    } else if after.entityTag != nil {
      return false
    }
    guard before.validators.lastModified == after.lastModified,
      before.fields.only(.contentEncoding).map({ Array($0) })
        == fields.only(.contentEncoding).map({ Array($0) }),
      body.response.isOfSameOrigin(as: chain, asked: request.target),
      varied.judge(fields, isWhole: true) == .inOrder
    else { return false }
    if case .length(let length) = head.framing {
      return body.expectedLength.map { UInt64(clamping: $0) == length } ?? true
    }
    return body.expectedLength == nil
  }

  // MARK: Comparing

  /// Takes what is compared and not kept.
  /// - Returns: whether it has taken all.
  func healingGotContent(_ exchange: Exchange, _ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let check = healing?.check else { return false }
    check.take(bytes)
    guard check.isComplete, !check.isAsked else { return true }
    check.isAsked = true
    exchange.pause()
    if let content = body?.memoryContent {
      compared(check.isSame(as: content), check.number)
      return true
    }
    guard let blob = file.blob else {
      giveUpHealing("its beginning is not to be had any more")
      return true
    }
    let length = check.length
    let digest = check.digest
    let number = check.number
    // Behind what is still queued to be written.
    onPool { post in
      let isSame = blob.watermark == length && digest != nil && blob.digestSoFar == digest
      post(.compared, number << 1 | (isSame ? 1 : 0), nil)
    }
    return true
  }

  /// - Parameter number: of the check: the connection may have ended meanwhile, and another one be under way.
  func compared(_ isSame: Bool, _ number: Int) {
    guard let check = healing?.check, check.number == number else { return }
    guard isSame else { return giveUpHealing("its beginning is another one now") }
    healing?.check = nil
    healingWorks(.compared)
    let behind = check.behind
    let isFinished = check.isFinished
    if let exchange, !behind.isEmpty {
      behind.withUnsafeBytes { exchangeGotContent(exchange, $0) }
    } else if !behind.isEmpty {
      behind.withUnsafeBytes { keepContent($0) }
    }
    if isFinished { contentFinished() } else { exchange?.resume() }
  }

  // MARK: Ends

  /// What comes from here on is the rest.
  func healingWorks(_ outcome: EndingRecord.Resumption.Outcome) {
    guard let healing else { return }
    self.healing = nil
    announce()
    worker.shared.retries.giveBack(request.origin)
    for record in healing.records {
      worker.shared.endings.resumed(
        record, .init(offset: healing.offset, outcome: outcome, after: loop.now - healing.since))
    }
  }

  /// Those who read along are cut, as they would have been at once.
  private func giveUpHealing(_ why: String) {
    guard let healing else { return }
    let error = healing.error
    endHealing(why)
    // What is kept belongs to a version that is no more.
    handOver()
    breakOff(error)
  }

  /// - Returns: false, for who asks whether it is healed.
  private func failHealing(_ error: ProxyError) -> Bool {
    if let record = error.record, healing != nil { healing?.records.append(record) }
    endHealing("tried \(healing?.attempts ?? 0) times")
    return false
  }

  func endHealing(_ why: String) {
    guard let healing else { return }
    self.healing = nil
    healing.pause?.cancel()
    for record in healing.records {
      worker.shared.endings.resumed(
        record,
        .init(
          offset: healing.offset, outcome: .failed, after: loop.now - healing.since, note: why))
    }
  }
}

/// The beginning of content that comes a second time: hashed, and what is behind it kept for a moment.
final class PrefixCheck {
  let length: Int64
  let number: Int
  private var left: Int64
  private var hasher = Hasher256()
  /// What has come behind it.
  private(set) var behind: [UInt8] = []
  var isAsked = false
  /// All of the content has come.
  var isFinished = false

  init(length: Int64, number: Int) {
    self.length = length
    self.number = number
    left = length
  }

  var isComplete: Bool { left == 0 }

  func take(_ bytes: UnsafeRawBufferPointer) {
    let count = Int(min(Int64(bytes.count), left))
    hasher.update(UnsafeRawBufferPointer(rebasing: bytes[0..<count]))
    left -= Int64(count)
    behind += bytes[count...]
  }

  var digest: Digest? { isComplete ? hasher.soFar() : nil }

  func isSame(as content: [UInt8]) -> Bool {
    var other = Hasher256()
    content.withUnsafeBytes { other.update($0) }
    let digest = other.finish()
    return Int64(content.count) == length && digest != nil && digest == self.digest
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
