// Carries out one fill on the loop of the transaction that leads it: sends the request, decides what may
// become of the answer, keeps it (small content in memory, the rest in a file that a pool thread writes
// and hashes), and tells the followers. It outlives its leader: a client that leaves stops nothing.

import Caching
import HTTP
import IO
import Platform
import Storage
import Telemetry

final class FillDriver: ExchangeConsumer {
  /// Content on its way to the pool thread, above which the origin is asked to wait.
  private static let inFlightLimit = 1 << 20
  private enum State {
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
  private let stale: StoredEntry?
  /// What an earlier fill has left may be gone on with (FillCompletion.swift).
  private let mayComplete: Bool
  /// What goes along for being known to vary (VariedFields.swift).
  private(set) var varied: VariedFields
  /// The beginning that was kept, as long as the origin has not said what it thinks of it.
  private var kept: Incomplete?
  /// Where the content that is fetched begins.
  private var completedFrom: Int64 = 0
  private weak var leader: TransactionDriver?
  private var exchange: Exchange?
  private var state = State.awaitingHead
  private var body: GrowingBody?
  private var isAnnounced = false
  private var isOpeningFile = false
  private var isContentComplete = false
  /// A piece did not reach the file: nothing that comes after it may.
  private var hasGap = false
  private var blob: GrowingBlob?
  /// Where the pool thread puts it.
  private let opened = OpenedBlob()
  /// Where the content ends that is here, what was kept of it included.
  private var received: Int64 = 0
  /// Content that is not yet with the pool thread: full pieces, and one that is being filled.
  private var gathered: [Piece] = []
  /// The file could not take everything.
  private var hasSpilled = false
  /// There is no file at all, and those who read along get what comes.
  private var isRelayingFromMemory = false
  /// Content that was given to the pool thread.
  private var handedOver: Int64 = 0
  /// Since when, and from how many bytes on, this goes on for nobody.
  private var orphaned: (at: Instant, received: Int64)?
  /// Content has come in this turn.
  private var hasGathered = false
  private var inFlight = 0
  let requestTime: Int64
  /// What others do to the key meanwhile.
  private var watch: Watch?
  private let holdsVariants: Bool
  private let isRenewal: Bool
  /// Good answers are stored for this key, which a server error must not replace.
  private let holdsGood: Bool
  /// Small content is kept back until it is complete, because a stale answer may stand in for one that
  /// breaks off.
  private var isHeldBack = false
  /// What is longer is not kept. The same for all of a fill, also when the configuration changes.
  private let largest: Int64

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
    requestTime = worker.loop.wallSeconds
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
    let exchange = Exchange(
      worker: worker,
      request: kept.map {
        Forwarding.completingRequest(
          request, $0, via: worker.via, forwarding: varied.forwarded)
      }
        ?? Forwarding.fillRequest(
          request, validating: stale?.response, via: worker.via,
          forwarding: varied.forwarded),
      consumer: self)
    self.exchange = exchange
    exchange.start()
  }

  /// Bytes of content the origin has sent so far.
  var upstreamBytes: UInt64 { UInt64(clamping: received - completedFrom) }

  private func takeKept(_ watch: Watch) -> Incomplete? {
    let now = loop.wallSeconds
    guard let found = worker.store.incomplete(fill.key, for: request.fields, now: now),
      // Older than what is stored whole: superseded.
      found.response.responseTime >= stale?.response.responseTime ?? .min,
      // A request whose answer nobody else may have (Authorization) can complete nothing, and is not to be the end
      // of what others have begun.
      case .storable = Storability.decide(
        method: .get, request: request.fields, status: found.response.status,
        fields: found.response.fields, requestTime: requestTime, responseTime: now,
        policy: request.policy, targets: worker.store.targets)
    else { return nil }
    return worker.store.takeIncomplete(fill.key, for: request.fields, now: now, watch: watch)
  }

  // MARK: The origin's head

  override func exchangeGotInformational(_ exchange: Exchange, status: Status, fields: FieldSection)
  {
    leader?.relayInformational(status: status, fields: fields)
    // Others wait for the same answer; 100 and 102 speak of one request's progress.
    if status.rawValue == 103 { fill.hint(Fill.Hint(status: status, fields: fields)) }
  }

  override func exchangeGotHead(_ exchange: Exchange, _ head: ResponseHead) {
    var fields = head.fields
    Forwarding.tidyResponse(&fields, version: head.version, via: worker.via)
    let now = loop.wallSeconds
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
    case .storable(let response):
      leader?.ownFields = StoredResponse.unshared(of: fields, targets: worker.store.targets)
      keep(response, head, exchange)
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
      end(.confirmed(worker.store.refresh(stale, response: response, watch: watch)), .finished)
    case .unstorable(_, let reason) where reason.isAboutRequest:
      // Confirmed, but this request may not renew it for others (Authorization): it stays as it was.
      end(.confirmed(stale), .finished)
    case .unstorable(let response, _):
      // Good for those who wait, and for nobody after them.
      let entry = worker.store.refresh(stale, response: response, watch: watch)
      worker.store.remove(fill.key)
      end(.confirmed(entry), .finished)
    case .unrelated:
      // The 304 is about something we do not hold: only a request without conditions can mend that.
      worker.store.remove(fill.key)
      beginAgain(stale: nil, carrying: varied.carried)
    }
  }

  /// Asks once more, for all of it.
  /// - Parameter names: of fields that go along this time.
  private func beginAgain(stale: StoredEntry?, carrying names: FieldNames = []) {
    exchange?.cancel()
    let again = FillDriver(
      worker: worker, fill: fill, request: request, stale: stale, leader: leader,
      holdsVariants: holdsVariants, mayComplete: false, isRenewal: isRenewal, carrying: names)
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
    handedOver = kept.length
    body = GrowingBody(response: response, expectedLength: length)
    state = .opening(head)
    openFile(resuming: kept)
    if orphaned != nil { reconsider() }
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
    body = GrowingBody(response: response, expectedLength: expected)
    if let expected, expected > Int64(Store.inlineLimit) {
      // Told to nobody before the file is there: without one the answer can still be relayed. What comes
      // meanwhile is gathered.
      state = .opening(head)
      openFile()
    } else {
      state = .filling
      isHeldBack = leader?.mayServeStale(.disconnected) ?? false
      // Small content often comes in the same segment as its head: then the finished entry is the news.
      loop.afterTurn(self)
    }
  }

  override func turnEnded() {
    guard case .filling = state, !isHeldBack else { return }
    announce()
    // As long as content keeps coming only full pieces go to the file: writes that begin at even places let
    // the kernel keep the file in large pages, which makes every hit cheaper. A turn without any ends that.
    handOver(fullOnly: hasGathered)
    if hasGathered, !gathered.isEmpty { loop.afterTurn(self) }
    hasGathered = false
  }

  private func announce() {
    guard !isAnnounced, let body else { return }
    isAnnounced = true
    fill.enter(.growing(body))
    leader?.fillChanged()
  }

  /// The answer is not for sharing: its leader takes it over, the others ask for themselves.
  private func yield(
    _ exchange: Exchange?, _ head: ResponseHead, reason: RelayReason, why: StaticString,
    telling phase: Fill.Phase = .unshared
  ) {
    state = .over
    let begun = gathered.reduce(into: body?.memoryContent ?? []) { $0.append(contentsOf: $1.bytes) }
    let isComplete = isContentComplete
    self.exchange = nil
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
      leader.takeOver(exchange, head, begun: begun, isComplete: isComplete, why: why)
      if exchange?.consumer === leader { exchange?.resume() }
    } else {
      exchange?.cancel()
    }
    retire()
  }

  // MARK: Going on for nobody

  /// The last one who wanted the answer has left.
  private func deserted() {
    guard fill.isDeserted else { return }
    switch state {
    case .awaitingHead, .opening, .filling: break
    case .committing, .over: return
    }
    if orphaned == nil {
      guard worker.shared.orphans.enter(limit: worker.settings.upstream.orphans.finishAtMost) else {
        giveUp()
        return
      }
    }
    orphaned = (loop.now, received)
    reconsider()
  }

  private func reconsider() {
    guard let orphaned else { return }
    guard fill.isDeserted else {
      adopted()
      return
    }
    let waited = loop.now - orphaned.at
    if worker.settings.orphanRule.goesOn(
      received: received, expected: body?.expectedLength, since: received - orphaned.received,
      waited: waited, isRenewal: isRenewal)
    {
      loop.arm(self, after: worker.settings.upstream.orphans.finishWithin - waited)
    } else {
      giveUp()
    }
  }

  override func timerFired() { reconsider() }

  /// Somebody wants it, or it is over.
  private func adopted() {
    guard orphaned != nil else { return }
    orphaned = nil
    loop.disarm(self)
    worker.shared.orphans.leave()
  }

  private func giveUp() {
    switch state {
    case .awaitingHead, .opening, .filling: break
    // All of it is here: who comes until it is saved is to find it.
    case .committing, .over: return
    }
    // Who comes in this moment is not to hear of an end that has nothing to do with the origin.
    guard worker.fills.leaveIfDeserted(fill) else {
      adopted()
      return
    }
    // The next one would fare no better.
    if isRenewal { worker.fills.remember(.renewalGivenUp, hash: fill.key.hash, now: loop.now) }
    if fill.hasServedLess {
      worker.fills.remember(.wholeUnwanted, hash: fill.key.hash, now: loop.now)
    }
    switch state {
    case .awaitingHead:
      exchange?.cancel()
      giveBackKept()
      end(.failed(.abandoned), .abandoned)
    case .opening, .filling:
      handOver()
      breakOff(.abandoned, as: .abandoned, keeps: true)
    case .committing, .over:
      break
    }
  }

  // MARK: Content

  override func exchangeGotContent(_ exchange: Exchange, _ bytes: UnsafeRawBufferPointer) {
    guard let body else { return }
    received += Int64(bytes.count)
    if orphaned != nil { reconsider() }
    switch state {
    case .opening:
      gather(bytes)
      if received - completedFrom > Int64(Self.inFlightLimit) { exchange.pause() }
    case .filling where isRelayingFromMemory:
      inFlight += bytes.count
      guard body.spill(bytes, behind: 0, producer: tailProducer) else { return storeFailed() }
      if inFlight > Self.inFlightLimit { exchange.pause() }
    case .filling where blob == nil:
      body.append(bytes)
      if received > Int64(Store.inlineLimit), !isOpeningFile {
        isHeldBack = false
        announce()
        openFile()
      }
      if received > Int64(Self.inFlightLimit) { exchange.pause() }
    case .filling:
      gather(bytes)
      if gathered.count > 1 { handOver(fullOnly: true) }
      loop.afterTurn(self)
    case .awaitingHead, .committing, .over:
      break
    }
  }

  private func gather(_ bytes: UnsafeRawBufferPointer) {
    hasGathered = true
    var rest = bytes
    while !rest.isEmpty {
      if gathered.last?.isFull != false { gathered.append(worker.pieces.take()) }
      guard let taken = gathered.last?.append(rest) else { return }
      rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
    }
  }

  /// What a pool thread has to say.
  private enum News: UInt32 {
    case opened, written, spilled, failed, committed, relayed
  }

  private func openFile(resuming kept: Incomplete? = nil) {
    guard let body else { return }
    isOpeningFile = true
    let store = worker.store
    let key = fill.key
    let opened = self.opened
    let watch = self.watch
    let isTaken = onPool { post in
      do throws(Errno) {
        let blob =
          if let kept, let watch, let length = body.expectedLength {
            try store.resume(kept, response: body.response, expectedLength: length, watch: watch)
          } else {
            try store.grow(
              key, response: body.response, expectedLength: body.expectedLength, watch: watch)
          }
        opened.blob = blob
        post(.opened, 0, nil)
      } catch {
        post(.failed, 0, nil)
      }
    }
    if !isTaken, let kept { giveBack(kept) }
  }

  /// Runs a job after all earlier ones of this fill.
  /// - Returns: false when it will not run; then there is a letter that something failed.
  @discardableResult
  private func onPool(
    _ job: @escaping @Sendable (_ post: (News, Int, (any AnyObject & Sendable)?) -> Void) -> Void
  ) -> Bool {
    let mailbox = loop.mailbox
    let id = id
    let isTaken = worker.disk.submit(lane: fill.key.hash) {
      job { news, value, payload in
        mailbox.post(Letter(to: id, subject: news.rawValue, value: value, payload: payload))
      }
    }
    if !isTaken {
      // The letter comes in a later turn, and content in this one.
      hasGap = true
      mailbox.post(Letter(to: id, subject: News.failed.rawValue))
    }
    return isTaken
  }

  /// Gives what has been gathered to the pool thread, which writes it and moves the watermark.
  /// - Parameter fullOnly: leave a piece that has room for more.
  private func handOver(fullOnly: Bool = false) {
    guard let blob, let body, !gathered.isEmpty, !hasGap else { return }
    var pieces = gathered
    gathered = []
    if fullOnly, let last = pieces.last, !last.isFull {
      gathered = [last]
      pieces.removeLast()
    }
    let producer = tailProducer
    for piece in pieces {
      inFlight += piece.count
      handedOver += Int64(piece.count)
      let isTooMuch = handedOver > largest
      onPool { post in
        if !isTooMuch, case .appended = blob.append(piece.bytes) {
          body.fileGrew()
          post(.written, piece.count, piece)
          return
        }
        // A blob that has failed stays failed, and an answer that is too long stays too long, so this and all
        // later pieces go the same way: to memory, for those who read along.
        let isRead = body.spill(piece.bytes, behind: blob.watermark, producer: producer)
        post(isRead ? .spilled : .failed, piece.count, piece)
      }
    }
    if inFlight > Self.inFlightLimit { exchange?.pause() }
  }

  /// What readers take out of the tail may be asked of the origin anew.
  private var tailProducer: GrowingBody.Producer {
    let mailbox = loop.mailbox
    let id = id
    return GrowingBody.Producer(
      taken: { count in
        mailbox.post(Letter(to: id, subject: News.written.rawValue, value: count))
      },
      deserted: { mailbox.post(Letter(to: id, subject: News.failed.rawValue)) })
  }

  /// The disk takes no more: the fill goes on as a relay for those who read along, and nobody may join.
  /// No file could be made, and those who read along have begun: they get all of it from memory.
  private func relayFromMemory() {
    isOpeningFile = false
    guard let body, body.spillAll(producer: tailProducer) else { return unkept() }
    isRelayingFromMemory = true
    spilled()
    inFlight = Int(clamping: received)
    if isContentComplete {
      relayedFromMemory()
    } else if inFlight <= Self.inFlightLimit {
      exchange?.resume()
    }
  }

  private func relayedFromMemory() {
    body?.complete(length: received)
    end(.unshared, .abandoned)
  }

  private func spilled() {
    guard !hasSpilled else { return }
    hasSpilled = true
    worker.fills.leave(fill)
    worker.metrics.add(.relays, .space)
  }

  override func receive(_ letter: Letter) {
    if letter.subject == LetterSubject.deserted.rawValue {
      deserted()
      return
    }
    guard let news = News(rawValue: letter.subject) else { return }
    switch news {
    case .opened:
      guard let blob = opened.blob else { return }
      fileOpened(blob)
    case .written:
      inFlight -= letter.value
      if let piece = letter.payload as? Piece { worker.pieces.give(piece) }
      if inFlight <= Self.inFlightLimit / 2 { exchange?.resume() }
    case .spilled:
      if let piece = letter.payload as? Piece { worker.pieces.give(piece) }
      spilled()
    case .relayed:
      end(.unshared, .abandoned)
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
      self.blob = blob
      state = .filling
      let begun = body.moveToFile(blob)
      if !begun.isEmpty {
        // Content of unknown length that was kept in memory so far: it comes before all that was gathered.
        let later = gathered
        gathered = []
        begun.withUnsafeBytes { gather($0) }
        gathered += later
      }
      announce()
      handOver()
      if isContentComplete {
        commit()
      } else if inFlight <= Self.inFlightLimit {
        exchange?.resume()
      }
    case .awaitingHead, .committing, .over:
      break
    }
  }

  /// No file, no space, or a disk that fails.
  private func storeFailed() {
    switch state {
    case .opening where completedFrom > 0:
      // Its beginning is not to be had, and the rest alone is no answer.
      fill.isCompleting = false
      beginAgain(stale: stale)
    case .opening(let head):
      yield(exchange, head, reason: .space, why: "no-space")
    case .filling where blob == nil && !isRelayingFromMemory:
      relayFromMemory()
    case .filling, .committing:
      unkept()
    case .awaitingHead, .over:
      break
    }
  }

  private func unkept(_ why: String = "the disk is full or fails") {
    let error = ProxyError.notKept(why)
    breakOff(error, .unkept(error))
  }

  override func exchangeFinished(_ exchange: Exchange, trailers: FieldSection?) {
    self.exchange = nil
    isContentComplete = true
    guard case .filling = state, !isOpeningFile || blob != nil, let body else { return }
    if isRelayingFromMemory { return relayedFromMemory() }
    guard blob == nil else {
      commit()
      return
    }
    let content = body.memoryContent ?? []
    let response = body.response.completed(length: Int64(content.count))
    let entry = worker.store.save(
      fill.key, response: response, body: .inline(content), watch: watch)
    body.complete(length: received)
    end(.stored(entry), .finished)
  }

  private func commit() {
    guard let blob, let body else { return }
    handOver()
    state = .committing
    guard !hasGap else { return }
    let length = received
    let expected = body.expectedLength ?? length
    onPool { post in
      guard !body.isSpilling else {
        body.complete(length: length)
        blob.abandon()
        post(.relayed, 0, nil)
        return
      }
      guard blob.watermark == length else {
        post(.committed, 0, nil)
        return
      }
      // All readers may see the end as soon as the last byte is there; what follows is for those to come.
      body.complete(length: length)
      guard case .finished(let finished) = blob.finish(length: expected) else {
        post(.committed, 0, nil)
        return
      }
      post(.committed, 0, finished)
    }
  }

  override func exchangeFailed(_ exchange: Exchange, _ error: ProxyError) {
    self.exchange = nil
    switch state {
    case .awaitingHead:
      giveBackKept()
      end(.failed(error), .failed)
    case .opening, .filling:
      // What has come so far is for those who read along, and worth keeping.
      handOver()
      breakOff(error, keeps: error.leavesContentInOrder)
    case .committing, .over:
      break
    }
  }

  // MARK: Ending

  /// What was kept of the content has not been asked about: the next one may.
  private func giveBackKept() {
    if let kept { giveBack(kept) }
    kept = nil
  }

  func giveBack(_ taken: Incomplete) {
    guard let watch else { return }
    worker.store.giveBack(taken, watch: watch, now: loop.wallSeconds)
  }

  /// The content will never be complete: those who read along are cut off where it ends.
  /// - Parameters:
  ///   - phase: what those hear who do not read along, if it is not that the fill has failed.
  ///   - isKept: what has come is in order, and may be gone on with later.
  private func breakOff(
    _ error: ProxyError, _ phase: Fill.Phase? = nil, as outcome: FillOutcome = .failed,
    keeps isKept: Bool = false
  ) {
    exchange?.cancel()
    exchange = nil
    let body = self.body
    if let blob {
      // Behind whatever is still queued for it, so that readers get all there is.
      let isTaken = worker.disk.submit(lane: fill.key.hash) {
        body?.cut(error)
        if isKept { blob.leave() } else { blob.abandon() }
      }
      if !isTaken {
        // Not on the loop, where it would wait for whatever the disk is doing: when the last one lets go of it.
        body?.cut(error)
        if !isKept { blob.giveUp() }
        self.blob = nil
        opened.blob = nil
      }
    } else {
      let begun = body?.memoryContent ?? []
      let rest = gathered
      body?.cut(error)
      if isOpeningFile {
        // The file is still being opened: what there is gets into it behind that.
        let opened = self.opened
        _ = worker.disk.submit(lane: fill.key.hash) {
          guard let blob = opened.blob else { return }
          guard isKept else { return blob.abandon() }
          if !begun.isEmpty { _ = begun.withUnsafeBytes { blob.append($0) } }
          for piece in rest { _ = blob.append(piece.bytes) }
          blob.leave()
        }
      }
    }
    end(phase ?? .failed(error), outcome)
  }

  private func end(_ phase: Fill.Phase, _ outcome: FillOutcome) {
    if case .over = state { return }
    state = .over
    worker.fills.leave(fill)
    fill.enter(phase)
    worker.metrics.subtract(.fillsRunning)
    worker.metrics.add(.fills, outcome)
    leader?.fillChanged()
    retire()
  }

  private func retire() {
    adopted()
    exchange = nil
    watch = nil
    unregister()
  }
}
