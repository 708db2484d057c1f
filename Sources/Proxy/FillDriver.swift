// Carries out one fill on the loop of the transaction that leads it: sends the request, decides what may
// become of the answer, keeps it (small content in memory, the rest in a file that a pool thread writes
// and hashes), and tells the followers. It outlives its leader: a client that leaves stops nothing.
//
//   awaitingHead ─▶ filling ─────────────────▶ committing ─▶ over: stored
//      │  └─▶ opening ─▶ ▲ └─ small ─▶ over: stored
//      │         └─▶ over: relayed by its leader, for want of a file
//      └─▶ over: confirmed, refused, failed, or relayed by its leader      (from anywhere: failed, given up)
//
// FillFile.swift has the file, FillCompletion.swift what an earlier fill has left, FillOrphan.swift when it is given up.

import Caching
import HTTP
import IO
import Platform
import Storage
import Telemetry

final class FillDriver: ExchangeConsumer {
  enum State {
    case awaitingHead
    /// The answer is to be kept, and a pool thread makes its file; nobody has been told yet.
    case opening(ResponseHead)
    /// Content goes into the growing body.
    case filling
    /// All content is here; its file is being made permanent.
    case committing
    case over
  }

  let worker: Worker
  let fill: Fill
  let request: ClientRequest
  /// Stored, but to be confirmed: a 304 makes it fresh again.
  let stale: StoredEntry?
  /// What an earlier fill has left may be gone on with (FillCompletion.swift).
  let mayComplete: Bool
  /// What goes along for being known to vary (VariedFields.swift).
  private(set) var varied: VariedFields
  /// The redirects that led to the answer.
  private(set) var chain: RedirectChain?
  /// The beginning that was kept, as long as the origin has not said what it thinks of it.
  var kept: Incomplete?
  /// Where the content that is fetched begins.
  var completedFrom: Int64 = 0
  weak var leader: TransactionDriver?
  var exchange: Exchange?
  private(set) var state = State.awaitingHead
  var body: GrowingBody?
  private(set) var isAnnounced = false
  var isContentComplete = false
  /// What it is in, unless it is small.
  var file = FillFile()
  /// Where the content ends that is here, what was kept of it included.
  var received: Int64 = 0
  /// Since when, and from how many bytes on, this goes on for nobody.
  var orphaned: (at: Instant, received: Int64)?
  private let begunAt: Instant
  /// What others do to the key meanwhile.
  var watch: Watch?
  private let holdsVariants: Bool
  let isRenewal: Bool
  /// Good answers are stored for this key, which a server error must not replace.
  private let holdsGood: Bool
  /// Small content is kept back until it is complete, because a stale answer may stand in for one that
  /// breaks off.
  private var isHeldBack = false
  /// What the content has to be, where its path or an index says so.
  private(set) var expectedDigest: Digest?
  /// The connection had ended, and the fetch goes on (FillHealing.swift).
  var healing: Healing?
  var progress = HealingProgress()
  /// How often another version has taken the place of one that nobody had been told of.
  private(set) var restarts = 0
  /// How often something has been compared.
  var checks = 0
  /// The whole length, where only a part that was asked for has told it.
  var learnedLength: Int64?
  private var failedWhileOpening: (exchange: Exchange, error: ProxyError)?
  /// What is longer is not kept. The same for all of a fill, also when the configuration changes.
  let largest: Int64

  /// - Parameters:
  ///   - stale: what a 304 would confirm.
  ///   - holdsVariants: other variants are stored for the key.
  ///   - isRenewal: nobody waits for it; it is to renew what is used though it is stale.
  ///   - variances: of answers to the same target.
  ///   - carrying: names that go along because the answer varies on them.
  init(
    worker: Worker, fill: Fill, request: ClientRequest, stale: StoredEntry?,
    leader: TransactionDriver?, holdsVariants: Bool = false, mayComplete: Bool = true,
    isRenewal: Bool = false, variances: [Variance] = [], carrying: FieldNames = []
  ) {
    self.isRenewal = isRenewal
    varied = VariedFields(
      request.fields, allowed: worker.settings.forwardFields, carried: carrying)
    for variance in variances { varied.learn(from: variance) }
    if let stale { varied.learn(from: stale.response.variance) }
    self.holdsVariants = holdsVariants
    holdsGood = holdsVariants || stale.map { $0.response.status.kind != .serverError } ?? false
    self.mayComplete = mayComplete
    self.worker = worker
    self.fill = fill
    self.request = request
    self.stale = stale
    self.leader = leader
    begunAt = worker.loop.now
    largest = worker.settings.largestStored
    super.init(loop: worker.loop)
  }

  func start() {
    worker.metrics.add(.fillsRunning)
    let watch = worker.store.watch(fill.key, holding: stale)
    self.watch = watch
    fill.begin(watch)
    fill.attach(Follower(mailbox: loop.mailbox, id: id))
    if mayComplete { kept = takeKept(watch) }
    if let kept { varied.learn(from: kept.response.variance) }
    let exchange = Exchange(worker: worker, request: firstRequest, consumer: self)
    self.exchange = exchange
    exchange.start()
  }

  /// What is asked first: for the rest of what is kept, for a confirmation of what is stored, or for all of it.
  var firstRequest: OriginRequest {
    kept.map {
      Forwarding.restRequest(
        request, of: $0.response, from: $0.length, via: worker.via, forwarding: varied.forwarded)
    }
      ?? Forwarding.fillRequest(
        request, validating: stale?.response, via: worker.via, forwarding: varied.forwarded)
  }

  /// When the request was made, in Unix seconds.
  var requestTime: Int64 { loop.wallSeconds(of: begunAt) }

  /// Bytes of content the origin has sent so far.
  var upstreamBytes: UInt64 { UInt64(clamping: received - completedFrom) }

  override var beneficiary: Beneficiary? {
    guard let leader, !leader.isOver else { return nil }
    return Beneficiary(
      client: leader.client.peer, delivered: fill.isOneClients ? leader.client.sentBytes : nil)
  }

  override func exchangeGoesOn(_ exchange: Exchange, as next: Exchange) { self.exchange = next }

  // MARK: The origin's head

  override func exchangeGotInformational(_ exchange: Exchange, status: Status, fields: FieldSection)
  {
    // For whoever asked. Others wait for the same answer, but whether they may have it is known with its head, and what
    // comes before that may be this client's own (a cookie, what a private answer will link to).
    leader?.relayInformational(status: status, fields: fields)
  }

  override func exchangeGotHead(_ exchange: Exchange, _ head: ResponseHead) {
    var fields = head.fields
    Forwarding.tidyResponse(&fields, version: head.version, via: worker.via)
    let now = loop.wallSeconds
    chain = exchange.followed
    if healing != nil {
      healing?.answered(worker, request.origin)
      guard body == nil else { return healingGotHead(exchange, head) }
      healingWorks(.repeated)
    }
    if let kept {
      self.kept = nil
      switch judgeRest(kept, head, fields, now: now) {
      case .fits(let response, let length) where length <= largest:
        return complete(kept, response, length, head)
      case .fits:
        worker.store.discard(kept)
        return beginAgain(stale: stale)
      case .useless:
        return beginAgain(stale: stale)
      case .other: break
      }
    }
    if head.status == .notModified, let stale {
      guard stale.response.isOfSameOrigin(as: chain, asked: request.target) else {
        // Another origin than the one it came from says so.
        worker.store.remove(fill.key)
        return beginAgain(stale: nil)
      }
      switch varied.judge(fields, isWhole: false) {
      case .inOrder: break
      case .askWith(let names): return beginAgain(stale: stale, carrying: names)
      case .forOneClient:
        // It varies on less than it did: only the whole says what is for all now.
        worker.store.remove(fill.key)
        return beginAgain(stale: nil)
      }
      leader?.ownFields = StoredResponse.unshared(of: fields, targets: worker.store.targets)
      freshen(stale, with: fields, now: now)
      return
    }
    // A fill asks for the whole, and for 304 only of what it holds. Passed on, a part would be taken for the
    // whole by clients that look at nothing but the class of the status.
    if head.status == .notModified || head.status == .partialContent
      || head.status == .rangeNotSatisfiable
    {
      exchange.cancel()
      end(
        .failed(
          .unasked(
            request.origin.authority,
            "answered \(head.status) to a request without conditions and ranges")), .failed)
      return
    }
    if head.status.kind == .serverError, holdsGood {
      serverFailed(exchange, head)
      return
    }
    switch varied.judge(fields) {
    case .inOrder: break
    case .askWith(let names): return beginAgain(stale: stale, carrying: names)
    case .forOneClient:
      // What is stored says that it varies on a field, which holds no longer.
      if holdsGood, head.status.kind == .successful { worker.store.remove(fill.key) }
      return yield(exchange, head, reason: .response, why: "vary-unforwarded")
    }
    let verdict = Storability.decide(
      method: .get, request: varied.selecting, status: head.status, fields: fields,
      requestTime: requestTime, responseTime: now, policy: request.policy,
      targets: worker.store.targets)
    switch verdict {
    case .storable(let response) where isUncheckable(response):
      // It was asked for as it is. Stored, it would be for ever what nobody has looked at.
      yield(exchange, head, reason: .response, why: "coded")
    case .storable(let response):
      leader?.ownFields = StoredResponse.unshared(of: fields, targets: worker.store.targets)
      keep(response.followed(along: chain, policy: request.policy), head, exchange)
      if orphaned != nil { reconsider() }
    case .not(let reason):
      if holdsGood, supersedes(head.status, reason) { worker.store.remove(fill.key) }
      yield(exchange, head, reason: .response, why: reason.rule)
    }
  }

  /// The origin says that it cannot answer. What is stored stays as it is; who may have it though it is stale
  /// gets it, the others get the error (RFC 9111 §4.3.3, RFC 5861 §4).
  private func serverFailed(_ exchange: Exchange, _ head: ResponseHead) {
    if let leader, !leader.mayServeStale(.answered(head.status)) {
      yield(
        exchange, head, reason: .response, why: "server-error", telling: .refused(head.status))
    } else {
      exchange.cancel()
      end(.refused(head.status), .failed)
    }
  }

  /// Whether an answer that may not be stored says all the same that what is stored has had its time: the
  /// resource is gone, or another one to everybody. What is only this client's says nothing.
  private func supersedes(_ status: Status, _ reason: Storability.Reason) -> Bool {
    let isNews = status.kind == .successful || status == .notFound || status == Status(410)
    return isNews && !reason.isAboutRequest && !request.fields.contains(.authorization)
      && !request.fields.contains(.cookie)
  }

  private func freshen(_ stale: StoredEntry, with fields: FieldSection, now: Int64) {
    let outcome = Validation.freshen(
      stale.response, with: fields, request: varied.selecting, requestTime: requestTime,
      responseTime: now, policy: request.policy)
    switch outcome {
    case .updated(let response):
      end(.confirmed(renew(stale, response)), .finished)
    case .unstorable(_, let reason) where reason.isAboutRequest:
      // Confirmed, but this request may not renew it for others (Authorization): it stays as it was.
      end(.confirmed(stale), .finished)
    case .unstorable(let response, _):
      // No longer for all: it is good for whoever asked, and the others who wait ask for themselves.
      worker.store.remove(fill.key)
      leader?.confirmedForOne(worker.store.freshened(stale, response: response))
      if worker.fills.leave(fill) {
        worker.fills.remember(.unshared, hash: fill.key.hash, now: loop.now)
      }
      end(.unshared, .finished)
    case .unrelated:
      // The 304 is about something we do not hold: only a request without conditions can mend that.
      worker.store.remove(fill.key)
      beginAgain(stale: nil, carrying: varied.carried)
    }
  }

  private func renew(_ stale: StoredEntry, _ response: StoredResponse) -> StoredEntry {
    worker.store.refresh(
      stale, response: response.followed(along: chain, policy: request.policy), watch: watch)
  }

  /// Asks once more, for all of it.
  /// - Parameter names: of fields that go along this time.
  /// - Parameter healing: what this is a part of, if a connection had ended.
  func beginAgain(
    stale: StoredEntry?, carrying names: FieldNames = [], healing: Healing? = nil
  ) {
    exchange?.cancel()
    let again = FillDriver(
      worker: worker, fill: fill, request: request, stale: stale, leader: leader,
      holdsVariants: holdsVariants, mayComplete: false, isRenewal: isRenewal, carrying: names)
    again.healing = healing
    again.restarts = healing == nil ? restarts : restarts + 1
    state = .over
    worker.metrics.subtract(.fillsRunning)
    retire()
    leader?.fillBeganAgain(again)
    again.start()
    if fill.isDeserted { again.deserted() }
  }

  /// The rest of what is kept will come: all of it grows for everybody, the beginning being there at once.
  private func complete(
    _ kept: Incomplete, _ response: StoredResponse, _ length: Int64, _ head: ResponseHead
  ) {
    fill.isCompleting = true
    worker.metrics.add(.completedBytes, UInt64(clamping: kept.length))
    completedFrom = kept.length
    received = kept.length
    file.handedOver = kept.length
    beginBody(response, expectedLength: length)
    state = .opening(head)
    openFile(resuming: kept)
    if orphaned != nil { reconsider() }
  }

  /// What the content has to be is known, and cannot be held against it: a digest is of the file itself, not of what
  /// it was compressed to on its way.
  func isUncheckable(_ response: StoredResponse) -> Bool {
    response.status == .ok && Completion.isCoded(response.fields)
      && request.expectedDigest(worker.shared.digests, hasher: worker.hasher) != nil
  }

  /// Makes the body, and finds out what the content has to be. A digest is of no error in its place.
  private func beginBody(_ response: StoredResponse, expectedLength: Int64?) {
    if response.status == .ok, !Completion.isCoded(response.fields) {
      expectedDigest = request.expectedDigest(worker.shared.digests, hasher: worker.hasher)
    }
    file.proof = expectedDigest.map { SpillProof($0) }
    body = GrowingBody(
      response: response, expectedLength: expectedLength, isChecked: expectedDigest != nil)
  }

  /// The answer may be stored: from here on its content grows for everybody.
  private func keep(_ response: StoredResponse, _ head: ResponseHead, _ exchange: Exchange) {
    let expected: Int64? =
      switch head.framing {
      case .none: 0
      case .length(let length): Int64(clamping: length)
      case .chunked, .untilClose, .refused: nil
      }
    if let expected, expected > largest {
      yield(exchange, head, reason: .space, why: "too-large")
      return
    }
    beginBody(response, expectedLength: expected)
    if let expected, expected > Int64(Store.inlineLimit) {
      // Told to nobody before the file is there: without one the answer can still be relayed. What comes
      // meanwhile is file.gathered.
      state = .opening(head)
      openFile()
    } else {
      state = .filling
      isHeldBack = expectedDigest != nil || leader?.mayServeStale(.disconnected) ?? false
      // Small content often comes in the same segment as its head: then the finished entry is the news.
      loop.afterTurn(self)
    }
  }

  override func turnEnded() {
    guard case .filling = state, !isHeldBack else { return }
    announce()
    // As long as content keeps coming only full pieces go to the file: writes that begin at even places let
    // the kernel keep the file in large pages, which makes every hit cheaper. A turn without any ends that.
    handOver(fullOnly: file.hasGathered)
    if file.hasGathered, !file.gathered.isEmpty { loop.afterTurn(self) }
    file.hasGathered = false
  }

  func announce() {
    guard !isAnnounced, let body else { return }
    isAnnounced = true
    fill.enter(.growing(body))
    leader?.fillChanged()
  }

  /// The answer is not for sharing: its leader takes it over, the others ask for themselves.
  func yield(
    _ exchange: Exchange?, _ head: ResponseHead, reason: RelayReason, why: StaticString,
    telling phase: Fill.Phase = .unshared
  ) {
    state = .over
    fill.attach(nil)
    let begun = file.gathered.reduce(into: body?.memoryContent ?? []) {
      $0.append(contentsOf: $1.bytes)
    }
    let isComplete = isContentComplete
    self.exchange = nil
    defer { failedWhileOpening = nil }
    // What a request that fetches for itself gets says nothing about what others would get.
    // And an outage says nothing about what the origin will answer once it is over.
    if worker.fills.leave(fill), head.status.kind != .serverError {
      worker.fills.remember(.unshared, hash: fill.key.hash, now: loop.now)
    }
    fill.enter(phase)
    worker.metrics.subtract(.fillsRunning)
    worker.metrics.add(.relays, reason)
    if let leader {
      exchange?.consumer = leader
      leader.takeOver(
        exchange, head, along: chain, begun: begun, isComplete: isComplete,
        failed: failedWhileOpening, carrying: varied.forwarded, why: why)
      if exchange?.consumer === leader { exchange?.resume() }
    } else {
      exchange?.cancel()
    }
    retire()
  }

  /// Nobody wants the answer, and that may have lasted long enough.
  override func timerFired() { reconsider() }

  // MARK: Content

  override func exchangeGotContent(_ exchange: Exchange, _ bytes: UnsafeRawBufferPointer) {
    if healing != nil, healingGotContent(exchange, bytes) { return }
    keepContent(bytes)
  }

  /// Takes content that goes on where the last has ended.
  func keepContent(_ bytes: UnsafeRawBufferPointer) {
    guard let body else { return }
    received += Int64(bytes.count)
    if orphaned != nil { reconsider() }
    switch state {
    case .opening:
      gather(bytes)
      if received - completedFrom > Int64(Self.inFlightLimit) { exchange?.pause() }
    case .filling where file.isRelayingFromMemory:
      file.inFlight += bytes.count
      file.proof?.update(bytes, behind: nil)
      guard body.spill(bytes, behind: 0, producer: tailProducer) else { return storeFailed() }
      if file.inFlight > Self.inFlightLimit { exchange?.pause() }
    case .filling where file.blob == nil:
      body.append(bytes)
      if received > Int64(Store.inlineLimit), !file.isOpening {
        isHeldBack = false
        announce()
        openFile()
      }
      if received > Int64(Self.inFlightLimit) { exchange?.pause() }
    case .filling:
      gather(bytes)
      if file.gathered.count > 1 { handOver(fullOnly: true) }
      loop.afterTurn(self)
    case .awaitingHead, .committing, .over:
      break
    }
  }

  override func receive(_ letter: Letter) {
    if letter.subject == LetterSubject.deserted.rawValue {
      deserted()
      return
    }
    guard let news = News(rawValue: letter.subject) else { return }
    switch news {
    case .opened:
      guard let blob = file.opened.blob else { return }
      fileOpened(blob)
    case .written:
      file.inFlight -= letter.value
      if let piece = letter.payload as? Piece { worker.pieces.give(piece) }
      if file.inFlight <= Self.inFlightLimit / 2 { exchange?.resume() }
    case .spilled:
      if let piece = letter.payload as? Piece { worker.pieces.give(piece) }
      spilled()
    case .relayed:
      end(.unshared, .abandoned)
    case .mismatched:
      mismatched()
    case .compared:
      compared(letter.value & 1 == 1, letter.value >> 1)
    case .failed:
      storeFailed()
    case .committed:
      guard let body, let finished = letter.payload as? FinishedBlob else {
        unkept("its file could not be made permanent")
        return
      }
      let response = body.response.completed(length: finished.length)
      end(
        .stored(
          worker.store.save(fill.key, response: response, body: .blob(finished), watch: watch)),
        .finished)
    }
  }

  private func fileOpened(_ blob: GrowingBlob) {
    guard let body else { return }
    switch state {
    case .opening, .filling:
      file.blob = blob
      state = .filling
      let begun = body.moveToFile(blob)
      if !begun.isEmpty {
        // Content of unknown length that was kept in memory so far: it comes before all that was gathered.
        let later = file.gathered
        file.gathered = []
        begun.withUnsafeBytes { gather($0) }
        file.gathered += later
      }
      if let failed = failedWhileOpening {
        failedWhileOpening = nil
        // Told when it is healed; if that fails, all get the error.
        contentBroke(failed.error)
        return
      }
      announce()
      handOver()
      if isContentComplete {
        commit()
      } else if file.inFlight <= Self.inFlightLimit {
        exchange?.resume()
      }
    case .awaitingHead, .committing, .over:
      break
    }
  }

  /// No file, no space, or a disk that fails.
  func storeFailed() {
    switch state {
    case .opening where completedFrom > 0:
      // Its beginning is not to be had, and the rest alone is no answer.
      fill.isCompleting = false
      beginAgain(stale: stale)
    case .opening(let head):
      yield(exchange, head, reason: .space, why: "no-space")
    case .filling where file.blob == nil && !file.isRelayingFromMemory:
      relayFromMemory()
    case .filling, .committing:
      unkept()
    case .awaitingHead, .over:
      break
    }
  }

  override func exchangeFinished(_ exchange: Exchange, trailers: FieldSection?) {
    self.exchange = nil
    if let check = healing?.check {
      check.isFinished = true
      // Too short to be the same.
      if !check.isComplete { compared(false, check.number) }
      return
    }
    contentFinished()
  }

  func contentFinished() {
    healingGoesOn()
    if let expected = body?.expectedLength ?? learnedLength, expected != received {
      return contentBroke(
        .unasked(request.origin.authority, "sent content of another length than it had promised"))
    }
    isContentComplete = true
    guard case .filling = state, !file.isOpening || file.blob != nil, let body else { return }
    if file.isRelayingFromMemory { return relayedFromMemory() }
    guard file.blob == nil else {
      commit()
      return
    }
    let content = body.memoryContent ?? []
    if let expectedDigest, !expectedDigest.isOf(content) { return mismatched() }
    let response = body.response.completed(length: Int64(content.count))
    let entry = worker.store.save(
      fill.key, response: response, body: .inline(content), watch: watch)
    body.complete(length: received)
    end(.stored(entry), .finished)
  }

  /// Whoever has begun to read is cut off before the last byte, everybody else gets an error, and nothing is kept.
  func mismatched() {
    worker.metrics.add(.digestMismatches)
    worker.shared.logger.warning(
      "\(request.target): what came is not what its index or its name says (expected SHA-256 \(expectedDigest?.hex ?? "-"))"
    )
    breakOff(.wrongDigest(request.origin.authority))
  }

  private func commit() {
    guard file.blob != nil, body != nil else { return }
    handOver()
    state = .committing
    makePermanent()
  }

  override func exchangeFailed(_ exchange: Exchange, _ error: ProxyError) {
    self.exchange = nil
    switch state {
    case .awaitingHead:
      if heal(error, after: exchange) { return }
      giveBackKept()
      end(.failed(error), .failed)
    case .opening:
      // Nobody has been told yet; with a file there is something to go on from.
      if mayHeal(error) { failedWhileOpening = (exchange, error) } else { contentBroke(error) }
    case .filling:
      contentBroke(error)
    case .committing, .over:
      break
    }
  }

  /// The connection has ended in the middle.
  private func contentBroke(_ error: ProxyError) {
    if case .filling = state, heal(error) { return }
    // What has come so far is for those who read along, and worth keeping.
    handOver()
    breakOff(error, keeps: error.leavesContentInOrder)
  }

  // MARK: Ending

  func end(_ phase: Fill.Phase, _ outcome: FillOutcome) {
    if case .over = state { return }
    state = .over
    fill.attach(nil)
    worker.fills.leave(fill)
    fill.enter(phase)
    worker.metrics.subtract(.fillsRunning)
    worker.metrics.add(.fills, outcome)
    leader?.fillChanged()
    retire()
  }

  private func retire() {
    endHealing("nobody waited for it any more")
    adopted()
    exchange = nil
    watch = nil
    unregister()
  }
}
