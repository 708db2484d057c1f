// A transaction and the fill it follows: joining one that runs, leading a new one, hearing what comes of it, and
// going on alone where the answer is not for this request.

import Caching
import HTTP
import IO
import Storage

extension TransactionDriver {
  func followFill() {
    switch worker.fills.enter(
      request.key, now: loop.now, asksForLess: request.traits.asksForLess)
    {
    case .joined(let fill):
      let interest = FillInterest(adopting: fill)
      if case .growing(let body) = fill.phase, !mayJoin(body.response) {
        // Its answer was there before this request was made. Who comes now follows this one; those who read
        // along go on.
        worker.fills.leave(fill)
        return followFill()
      }
      self.fill = fill
      self.interest = interest
      isCollapsed = true
      _ = fill.follow(Follower(mailbox: loop.mailbox, id: id))
      fillChanged()
    case .alone:
      if machine.traits.isBestAskedAsItIs { goAlone(.notForSharing) } else { leadAlone() }
    case .lead(let fill):
      // Between the look into the store and this moment another fill may have ended well.
      if let entry = storedMeanwhile() {
        worker.fills.leave(fill)
        fill.enter(.stored(entry))
        self.fill = fill
        interest = FillInterest(adopting: fill)
        isCollapsed = true
        fillChanged()
      } else {
        lead(fill)
      }
    }
  }

  /// Whether an answer that has come, but not all of it, may be used for a request made later: if it could be, were
  /// it stored already (RFC 9111 §4). What the client would like does not count here: who may have what is under
  /// way is the origin's to say, and a request's directives are wishes (§5.2.1).
  private func mayJoin(_ response: StoredResponse) -> Bool {
    switch Reuse.decide(
      request.limit(response), RequestDirectives(), now: loop.wallSeconds, policy: request.policy)
    {
    case .fresh: true
    case .stale, .mustValidate, .notAllowed: request.isOffline
    }
  }

  func storedMeanwhile() -> StoredEntry? {
    guard case .hot(let set) = worker.lookup(request.key), let entry = select(set),
      entry !== self.entry, entry !== unreadable,
      case .fresh = Reuse.decide(
        request.limit(entry.response),
        request.demands(on: entry.response, now: loop.wallSeconds), now: loop.wallSeconds,
        policy: request.policy)
    else { return nil }
    return entry
  }

  /// A fill that nobody else can find.
  func leadAlone() {
    let fill = Fill(request.key)
    fill.retain()
    lead(fill)
  }

  func lead(_ fill: Fill) {
    self.fill = fill
    interest = FillInterest(adopting: fill)
    let driver = FillDriver(
      worker: worker, fill: fill, request: request, stale: entry, leader: self,
      holdsVariants: machine.found == .otherVariant || machine.found == .unreadable,
      variances: otherVariances)
    fillDriver = driver
    driver.start()
  }

  /// The fill has news: called by the driver of a fill this transaction leads, by letter otherwise.
  func fillChanged() {
    guard !isOver, !machine.isAnswering, let fill else { return }
    switch fill.phase {
    case .waiting:
      return
    case .growing(let body):
      guard mayShare(body.response) else { return goAlone() }
      if linkedDocument(body.response.status, body.response.fields) != nil {
        // It is written anew once it is whole.
        guard isCollapsed, !fill.followToEnd(Follower(mailbox: loop.mailbox, id: id)) else {
          return
        }
        return fillChanged()
      }
      // A range of content whose length nobody knows can be given once the content reaches beyond it.
      if body.length == nil,
        let count = Answers.contentNeeded(
          by: request, of: body.response, now: loop.wallSeconds),
        !body.has(count, orTell: Follower(mailbox: loop.mailbox, id: id))
      {
        return
      }
      // Who comes when the start of the content may be gone is on its own.
      guard let reader = body.join(Follower(mailbox: loop.mailbox, id: client.id))
      else { return goAlone() }
      self.reader = reader
      carryOut(machine.fillSaid(.growing, collapsed: isCollapsed))
    case .stored(let entry):
      guard mayShare(entry.response) else { return goAlone() }
      self.entry = entry
      carryOut(machine.fillSaid(.stored, collapsed: isCollapsed))
    case .confirmed(let entry):
      guard mayShare(entry.response) else { return goAlone() }
      self.entry = entry
      isConfirmed = true
      carryOut(machine.fillSaid(.confirmed, collapsed: isCollapsed))
    case .unshared, .unkept:
      goAlone(.notForSharing)
    case .refused(let status):
      guard mayServeStale(.answered(status)) else { return goAlone() }
      standIn(for: status)
      carryOut(machine.fillSaid(.failedButStale, collapsed: isCollapsed))
    case .failed(let error):
      let isStale = error.isOutage && mayServeStale(.disconnected)
      if isStale { standIn(for: nil) }
      if !isStale, failedForOthers(error) { break }
      carryOut(
        machine.fillSaid(isStale ? .failedButStale : .failed(error), collapsed: isCollapsed))
    }
    client.advance()
  }

  /// The fill this transaction leads has heard that what is stored is good for this request, and not to be stored.
  func confirmedForOne(_ entry: StoredEntry) {
    guard !isOver, !machine.isAnswering else { return }
    self.entry = entry
    isConfirmed = true
    isUnkept = true
    carryOut(machine.fillSaid(.confirmed, collapsed: false))
    client.advance()
  }

  /// What this transaction waited for has failed in a way that may have been the request's own, and others made that
  /// request. Whoever is first among those who waited asks for all of them; a few times, since he may be like the one before.
  private func failedForOthers(_ error: ProxyError) -> Bool {
    guard isCollapsed, error.mayBeRequestsOwn else { return false }
    failedWaits += 1
    guard failedWaits <= Self.waitsAtMost else {
      // What is refused costs no origin anything.
      guard !error.isOutage else { return false }
      goAlone()
      return true
    }
    fill = nil
    interest = nil
    isCollapsed = false
    followFill()
    return true
  }

  private static let waitsAtMost = 2

  /// The fill this transaction leads asks once more.
  func fillBeganAgain(_ driver: FillDriver) { fillDriver = driver }

  func mayShare(_ response: StoredResponse) -> Bool {
    if !isCollapsed { return true }
    if request.accepts(response), response.variance.ofRequests.matches(request.fields) {
      return true
    }
    otherVariances.append(response.variance)
    return false
  }

  /// What others fetch is not for this request.
  func goAlone(_ news: Transaction.FillNews = .notForYou) {
    fill = nil
    interest = nil
    isCollapsed = false
    carryOut(machine.fillSaid(news, collapsed: false))
  }

  /// With no answer to be had, or a bad one, a stale one may do (RFC 9111 §4.2.4, RFC 5861 §4).
  func mayServeStale(_ failure: Reuse.Failure) -> Bool {
    guard let entry, !isOver,
      // That what is stored is no longer what a client has would be news only if it came from the origin (RFC 9111 §4.3.2).
      Preconditions.evaluate(
        request.fields, method: request.method, status: entry.response.status,
        validators: entry.response.validators, now: loop.wallSeconds) != .failed
    else { return false }
    return Reuse.afterFailure(
      request.limit(entry.response), request.demandsAfterFailure, now: loop.wallSeconds,
      failure: failure, policy: request.policy)
  }

  func standIn(for status: Status?) {
    errorStatus = status
    staleDetail = "stale-if-error"
    ownFields = FieldSection()
  }

  /// The fill this transaction leads turned out to be for it alone.
  /// - Parameters:
  ///   - exchange: goes on reporting here; nil when it has ended.
  ///   - chain: the redirects that led to it.
  ///   - begun: content that has come already.
  ///   - failed: what the exchange ended with in the middle of the answer.
  ///   - names: of fields that went along with the request.
  func takeOver(
    _ exchange: Exchange?, _ head: ResponseHead, along chain: RedirectChain?, begun: [UInt8],
    isComplete: Bool, failed: (exchange: Exchange, error: ProxyError)? = nil,
    carrying names: FieldNames, why: StaticString
  ) {
    guard !isOver else {
      exchange?.cancel()
      return
    }
    var begun = begun
    var isComplete = isComplete
    self.exchange = exchange
    relayHead = head
    relayDetail = why
    relayedForAll = names
    if gather(head, along: chain, begun: begun, isFromFill: true) {
      if !isOver { tookOver(isComplete, failed) { gatheringEnded() } }
      client.advance()
      return
    }
    if request.method == .head {
      // The fetch was for all of a page; what came is none.
      dropExchange()
      relayHead?.framing = .none
      begun = []
      isComplete = true
    } else if let short = Answers.conditional(head, for: request, now: loop.wallSeconds) {
      dropExchange()
      originStatus = head.status
      relayHead = short
      begun = []
      isComplete = true
    }
    carryOut(machine.fillSaid(.yoursAlone, collapsed: false))
    if !isOver, !begun.isEmpty { begun.withUnsafeBytes { relayContent($0) } }
    if !isOver { tookOver(isComplete, failed) { relayFinished(trailers: nil) } }
    client.advance()
  }

  /// Nobody will say again that the exchange has ended.
  private func tookOver(
    _ isComplete: Bool, _ failed: (exchange: Exchange, error: ProxyError)?, _ finish: () -> Void
  ) {
    if isComplete {
      finish()
    } else if let failed {
      exchangeFailed(failed.exchange, failed.error)
    }
  }
}
