// A fetch for the store whose connection has ended: asked again, gone on with, or compared with what is in its file
// (Healing.swift says when which). Those who read along notice nothing; where nobody has been told anything yet, another
// version may come as well.

import Caching
import Forensics
import HTTP
import IO
import Platform
import Storage
import Telemetry

extension FillDriver {
  /// Tries to go on after the connection has ended.
  /// - Returns: false when that is not possible, or has been tried often enough.
  func heal(_ error: ProxyError, after exchange: Exchange? = nil) -> Bool {
    guard mayHeal(error), orphaned == nil || body != nil else {
      return failHealing(error, nil)
    }
    if received > completedFrom || body != nil {
      guard let body, canGoOn(body.response), !file.isRelayingFromMemory, !file.hasGap,
        !file.hasSpilled
      else { return failHealing(error, "nothing would tell another version from this one") }
      handOver()
    }
    guard
      var next = Healing.next(
        healing, after: error, of: exchange, at: received, &progress, to: request.origin,
        by: worker)
    else { return failHealing(error, "tried often enough") }
    next.way = body.map { way($0, next) } ?? .again
    let delay = next.delay(progress)
    healing = next
    if let delay {
      healing?.wait(delay, loop) { [weak self] in self?.askAgain() }
    } else {
      askAgain()
    }
    return true
  }

  /// Whether it was the connection that failed, and nothing stored is there sooner.
  func mayHeal(_ error: ProxyError) -> Bool {
    if body == nil, leader?.mayServeStale(.disconnected) == true { return false }
    return Healing.isPossible(after: error, worker.settings)
  }

  /// Whether what has come of this answer can be told from another version of it.
  private func canGoOn(_ response: StoredResponse) -> Bool {
    guard response.status == .ok else { return false }
    return response.validators.entityTag != nil || response.validators.lastModified != nil
      || body?.expectedLength != nil || expectedDigest != nil
  }

  private func way(_ body: GrowingBody, _ healing: Healing) -> Healing.Way {
    guard received > 0, !healing.distrustsParts else { return .whole }
    if body.response.validators.hasStrongTag, Completion.isPossible(for: body.response) {
      return .rest
    }
    let overlaps = Completion.isPossibleOverlapping(
      for: body.response, length: body.expectedLength, hasDigest: expectedDigest != nil)
    return overlaps && received > Healing.overlap
      ? .overlap(from: received - Healing.overlap) : .whole
  }

  private func askAgain() {
    guard let healing else { return }
    let part: (from: Int64, isConditional: Bool)? =
      switch healing.way {
      case .rest: (received, true)
      case .overlap(let from): (from, false)
      case .again, .whole: nil
      }
    let asked: OriginRequest =
      if let body {
        part.map {
          Forwarding.restRequest(
            request, of: body.response, from: $0.from, isConditional: $0.isConditional,
            via: worker.via, forwarding: varied.forwarded)
        }
          ?? Forwarding.fillRequest(
            request, validating: nil, via: worker.via, forwarding: varied.forwarded)
      } else {
        firstRequest
      }
    let exchange = Exchange(worker: worker, request: asked, consumer: self)
    exchange.avoided = healing.error.peer
    self.exchange = exchange
    exchange.start()
  }

  // MARK: Its answer

  /// Judges the head of an answer to a fetch that had broken off.
  func healingGotHead(_ exchange: Exchange, _ head: ResponseHead) {
    guard let healing, let body else { return }
    var fields = head.fields
    Forwarding.tidyResponse(&fields, version: head.version, via: worker.via)
    let isHere = body.response.isOfSameOrigin(as: chain, asked: request.target)
    let announced = head.framing.announcedLength
    switch head.status.rawValue {
    case 206:
      guard isHere, varied.judge(fields, isWhole: false) == .inOrder,
        fits(part: fields, announced, body)
      else { return askForWhole() }
      if case .overlap(let from) = healing.way {
        compare(from..<received)
      } else {
        self.healing?.outcome = .resumed
      }
    case 200:
      guard isHere, varied.judge(fields, isWhole: true) == .inOrder,
        Completion.isSameVersion(
          body.response, length: body.expectedLength, with: fields, announced: announced,
          now: loop.wallSeconds)
      else { return giveUpHealing("it has changed meanwhile") }
      if received > 0 { return compare(0..<received) }
      // A head is out, and nothing of the content that could be compared: what came first has to be said to be the same.
      guard
        body.expectedLength != nil
          || Completion.shareStrongValidator(body.response, fields, now: loop.wallSeconds)
      else { return giveUpHealing("nothing would tell another version from this one") }
      self.healing?.outcome = .compared
    case 500..., 408, 425, 429:
      // An origin that comes up again says this for a while.
      askOnceMore()
    default:
      giveUpHealing("the origin answered \(head.status) when it was asked again")
    }
  }

  private func fits(part fields: FieldSection, _ announced: UInt64?, _ body: GrowingBody) -> Bool {
    let now = loop.wallSeconds
    switch healing?.way {
    case .rest:
      let outcome = Completion.join(
        body.response, keptUpTo: received, with: fields, announced: announced,
        request: varied.selecting, requestTime: requestTime, responseTime: now,
        policy: request.policy)
      guard case .rest(_, let length) = outcome,
        length == body.expectedLength ?? learnedLength ?? length, length <= largest
      else { return false }
      learnedLength = length
      return true
    case .overlap(let from):
      return Completion.isPart(
        of: body.response, from: from, whole: body.expectedLength ?? learnedLength, with: fields,
        announced: announced, isStrong: false, now: now)
    case .again, .whole, nil:
      return false
    }
  }

  /// The part that came is not the one that was asked for: this origin is not asked for parts again.
  private func askForWhole() {
    if case .whole = healing?.way {
      return giveUpHealing("the origin sent a part when it was asked for the whole")
    }
    healing?.distrustsParts = true
    askOnceMore()
  }

  private func askOnceMore() {
    exchange?.cancel()
    exchange = nil
    guard let error = healing?.error, !heal(error) else { return }
    handOver()
    breakOff(error, keeps: error.leavesContentInOrder)
  }

  // MARK: Comparing

  private func compare(_ range: Range<Int64>) {
    checks += 1
    healing?.check = ContentCheck(range, number: checks)
  }

  /// Takes what is compared and not kept.
  /// - Returns: whether it has taken all.
  func healingGotContent(_ exchange: Exchange, _ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let check = healing?.check else {
      healingGoesOn()
      return false
    }
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
    let range = check.range
    let digest = check.digest
    let number = check.number
    // Behind what is still queued to be written.
    onPool { post in
      post(.compared, number << 1 | (ContentCheck.isSame(digest, as: blob, range) ? 1 : 0), nil)
    }
    return true
  }

  /// - Parameter number: of the check: the connection may have ended meanwhile, and another one be under way.
  func compared(_ isSame: Bool, _ number: Int) {
    guard let check = healing?.check, check.number == number else { return }
    guard isSame else { return giveUpHealing("what came of it a second time is not the same") }
    healing?.check = nil
    healing?.outcome = .compared
    let behind = check.behind
    let isFinished = check.isFinished
    if !behind.isEmpty || isFinished { healingGoesOn() }
    if !behind.isEmpty { behind.withUnsafeBytes { keepContent($0) } }
    if isFinished { contentFinished() } else { exchange?.resume() }
  }

  // MARK: Ends

  /// Something has come that was not there before, or all of it was.
  func healingGoesOn() {
    if let outcome = healing?.outcome { healingWorks(outcome) }
  }

  /// What comes from here on is the rest.
  func healingWorks(_ outcome: EndingRecord.Resumption.Outcome) {
    guard let healing else { return }
    self.healing = nil
    announce()
    healing.worked(outcome, worker)
  }

  /// Those who read along are cut, as they would have been at once; where there is nobody, another version will do.
  private func giveUpHealing(_ why: String) {
    guard let healing else { return }
    if !isAnnounced, restarts < worker.settings.upstream.retries { return startOver() }
    let error = healing.error
    endHealing(why)
    // What is kept belongs to a version that is no more.
    handOver()
    breakOff(error)
  }

  /// Nobody has been told anything of what has come.
  private func startOver() {
    guard var healing else { return }
    self.healing = nil
    healing.check = nil
    fill.isCompleting = false
    if let blob = file.blob, !worker.disk.submit(lane: fill.key.hash, { blob.abandon() }) {
      blob.giveUp()
    }
    beginAgain(stale: stale, carrying: varied.carried, healing: healing)
  }

  /// - Returns: false, for who asks whether it is healed.
  private func failHealing(_ error: ProxyError, _ why: String?) -> Bool {
    Healing.fail(&healing, after: error, why, isTold: isAnnounced, at: received, worker)
  }

  func endHealing(_ why: String) {
    var ended = healing.take()
    ended?.failed(why, worker)
  }
}
