// Carries out one transaction: turns the store, the fill, the origin and the client's socket into events
// for the machine (Transaction.swift), and its effects into calls. Lives as long as the request is being
// answered; simple hits never need one.

import Caching
import HTTP
import IO
import Platform
import Storage
import Telemetry

final class TransactionDriver: ExchangeConsumer {
  /// Relayed content waiting for the client, above which the origin is asked to wait, and below which
  /// it may go on.
  private static let relayHighWater = 256 << 10
  private static let relayLowWater = 64 << 10

  let worker: Worker
  let request: ClientRequest
  private let client: ClientConnection
  private var machine: Transaction
  private var entry: StoredEntry?
  /// A part of an incomplete response that answers this request.
  private var part: (kept: Incomplete, plan: Answers.Plan)?
  /// Turned out to be unreadable when it was to be sent.
  private var unreadable: StoredEntry?
  private var validationReason = CacheStatus.ForwardReason.uriMiss
  /// What permits the stale answer that is sent, as Cache-Status tells it.
  private var staleDetail: StaticString?
  /// The server error in whose place a stale answer is sent.
  private var errorStatus: Status?
  /// Fields of the answer that are for this client and not kept for others: set by the fill it leads.
  var ownFields = FieldSection()
  private var fill: Fill?
  /// Of answers to the same target that this request does not select.
  private var otherVariances: [Variance] = []
  /// Keeps the fill going.
  private var interest: FillInterest?
  /// What the fill brought, as it was when it was decided upon.
  private var reader: BodyReader?
  private var isCollapsed = false
  /// The fill was answered with 304.
  private var isConfirmed = false
  /// Of the fill's hints.
  private var hintsRelayed = 0
  // It holds this one weakly.
  private var fillDriver: FillDriver?
  private var exchange: Exchange?
  private var relayHead: ResponseHead?
  private var relayDetail: StaticString?
  /// What the origin said, when the client is told something else.
  private var originStatus: Status?
  private var relayIsChunked = false
  private var headWatch: HeadWatch?
  private var content: RequestContent
  private var askedForContent = false
  private var isOver = false
  private(set) var record: AccessRecord

  init(worker: Worker, client: ClientConnection, request: ClientRequest, record: AccessRecord) {
    self.worker = worker
    self.client = client
    self.request = request
    self.record = record
    machine = Transaction(request.traits)
    content = RequestContent(request.framing, limit: worker.settings.contentLimit)
    super.init(loop: worker.loop)
  }

  func start() { carryOut(machine.begin()) }

  // MARK: Effects

  private func carryOut(_ effects: Transaction.Effects) {
    if let effect = effects.origin {
      switch effect {
      case .follow: followFill()
      case .fillAlone: leadAlone()
      case .relay: relay()
      case .drop: dropExchange()
      }
    }
    if let effect = effects.store {
      switch effect {
      case .lookUp: lookUp()
      case .load: load()
      }
    }
    if let effect = effects.client {
      switch effect {
      case .answerStored: answerStored()
      case .answerGrowing: answerGrowing()
      case .relayHead: sendRelayHead()
      case .sendError(let error): sendError(error)
      case .abort: client.close(.cut)
      }
    }
    if effects.isFinished { finish() }
  }

  // MARK: The store

  private func lookUp() {
    switch worker.lookup(request.key) {
    case .absent: nothingWhole()
    case .hot(let set): judge(set)
    case .cold: carryOut(machine.storeAnswered(.cold))
    }
  }

  /// A record's way from the log to memory, on a pool thread.
  private final class Loaded: Sendable {
    let result: LoadResult
    init(_ result: LoadResult) { self.result = result }
  }

  private func load() {
    let mailbox = loop.mailbox
    let id = id
    let store = worker.store
    let key = request.key
    let isTaken = worker.disk.submit {
      mailbox.post(
        Letter(to: id, subject: LetterSubject.loaded.rawValue, payload: Loaded(store.load(key))))
    }
    // A disk that cannot keep up is no reason to fail: fetch it.
    if !isTaken { carryOut(machine.storeAnswered(.unreadable)) }
  }

  override func receive(_ letter: Letter) {
    guard !isOver, let subject = LetterSubject(rawValue: letter.subject) else { return }
    switch subject {
    case .loaded:
      guard let loaded = letter.payload as? Loaded else { return }
      switch loaded.result {
      case .set(let set): judge(set)
      case .nothing: nothingWhole()
      case .failed: carryOut(machine.storeAnswered(.unreadable))
      }
    case .firstPieceRead:
      guard let read = letter.payload as? FirstPiece else { return }
      firstPieceRead(read)
    case .fillNews:
      fillChanged()
    case .settings, .drain, .admitted, .deserted, .authenticated:
      break
    }
    client.advance()
  }

  /// Nothing whole is stored. A range that lies in what is kept of an incomplete response can be answered all the
  /// same, as long as that is fresh (RFC 9111 §3.3).
  private func nothingWhole() {
    let now = loop.wallSeconds
    guard request.method == .get, request.fields.contains(.range),
      let kept = worker.store.incomplete(request.key, for: request.fields, now: now),
      case .fresh = Reuse.decide(
        kept.response.freshness, request.directives, now: now, policy: request.policy)
    else {
      carryOut(machine.storeAnswered(.nothing))
      return
    }
    let plan = Answers.plan(
      request, kept.response, length: kept.expectedLength, received: kept.length, now: now)
    guard case .part(let range) = plan.kind, range.upperBound <= kept.length else {
      carryOut(machine.storeAnswered(.nothing))
      return
    }
    part = (kept, plan)
    carryOut(machine.storeAnswered(.fresh))
  }

  private func answer(_ plan: Answers.Plan, from kept: Incomplete) {
    begin(plan, kept.response, length: kept.expectedLength, now: loop.wallSeconds)
    if let content = plan.content, client.phase == .answering {
      client.content = ContentSource(blob: kept.file, range: content, residentEnd: 0)
      client.flushScratch()
      client.advance()
    } else {
      client.flushScratch()
      answerSent()
    }
  }

  /// Picks the variant this request selects, and decides whether it may be used.
  private func judge(_ set: VariantSet) {
    guard let entry = select(set) else {
      validationReason = .varyMiss
      otherVariances = set.entries.map(\.response.variance)
      carryOut(machine.storeAnswered(.otherVariant))
      return
    }
    self.entry = entry
    let now = loop.wallSeconds
    guard !request.isOffline else {
      let isFresh = request.policy.adjust(entry.response.freshness).isFresh(at: now)
      staleDetail = "offline"
      carryOut(machine.storeAnswered(isFresh ? .fresh : .staleAllowed))
      return
    }
    let reuse = Reuse.decide(
      entry.response.freshness, request.directives, now: now, policy: request.policy)
    if case .failed = Preconditions.evaluate(
      request.fields, method: request.method, status: entry.response.status,
      validators: entry.response.validators, now: now)
    {
      // The client may know a newer version than the one stored: that If-Match fails is only true once the
      // origin has confirmed what is here (RFC 9111 §4.3.2 leaves the judgement to it).
      validationReason = .request
      carryOut(machine.storeAnswered(.stale))
      return
    }
    switch reuse {
    case .fresh:
      carryOut(machine.storeAnswered(.fresh))
    case .stale(_, let grounds):
      staleDetail = grounds.rule
      if grounds == .whileRevalidate { worker.revalidate(request, entry) }
      carryOut(machine.storeAnswered(.staleAllowed))
    case .mustValidate(let reason):
      validationReason = reason.forwardReason
      carryOut(machine.storeAnswered(.stale))
    case .notAllowed:
      carryOut(machine.storeAnswered(.stale))
    }
  }

  private func select(_ set: VariantSet) -> StoredEntry? {
    let now = loop.wallSeconds
    return Variance.select(set.entries, \.response.variance, for: request.fields) {
      request.policy.adjust($0.response.freshness).isFresh(at: now)
    }
  }

  // MARK: Fills

  private func followFill() {
    switch worker.fills.enter(
      request.key, now: loop.now, asksForLess: request.traits.asksForLess)
    {
    case .joined(let fill):
      self.fill = fill
      interest = FillInterest(adopting: fill)
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

  private func storedMeanwhile() -> StoredEntry? {
    guard case .hot(let set) = worker.lookup(request.key), let entry = select(set),
      entry !== self.entry, entry !== unreadable,
      case .fresh = Reuse.decide(
        entry.response.freshness, request.directives, now: loop.wallSeconds, policy: request.policy)
    else { return nil }
    return entry
  }

  /// A fill that nobody else can find.
  private func leadAlone() {
    let fill = Fill(request.key)
    fill.retain()
    lead(fill)
  }

  private func lead(_ fill: Fill) {
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
      // The leader has had them from its own exchange.
      guard isCollapsed else { return }
      for hint in fill.hints.dropFirst(hintsRelayed) {
        relayInformational(status: hint.status, fields: hint.fields)
        hintsRelayed += 1
      }
      return
    case .growing(let body):
      guard mayShare(body.response) else { return goAlone() }
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
      carryOut(
        machine.fillSaid(isStale ? .failedButStale : .failed(error), collapsed: isCollapsed))
    }
    client.advance()
  }

  /// The fill this transaction leads asks once more.
  func fillBeganAgain(_ driver: FillDriver) { fillDriver = driver }

  private func mayShare(_ response: StoredResponse) -> Bool {
    if !isCollapsed || response.variance.matches(request.fields) { return true }
    otherVariances.append(response.variance)
    return false
  }

  /// What others fetch is not for this request.
  private func goAlone(_ news: Transaction.FillNews = .notForYou) {
    fill = nil
    interest = nil
    isCollapsed = false
    carryOut(machine.fillSaid(news, collapsed: false))
  }

  /// With no answer to be had, or a bad one, a stale one may do (RFC 9111 §4.2.4, RFC 5861 §4).
  func mayServeStale(_ failure: Reuse.Failure) -> Bool {
    guard let entry, !isOver else { return false }
    return Reuse.afterFailure(
      entry.response.freshness, request.directives, now: loop.wallSeconds,
      failure: failure, policy: request.policy)
  }

  private func standIn(for status: Status?) {
    errorStatus = status
    staleDetail = "stale-if-error"
    ownFields = FieldSection()
  }

  /// The fill this transaction leads turned out to be for it alone.
  /// - Parameters:
  ///   - exchange: goes on reporting here; nil when all of the answer has come.
  ///   - begun: content that has come already.
  func takeOver(
    _ exchange: Exchange?, _ head: ResponseHead, begun: [UInt8], isComplete: Bool, why: StaticString
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
    if let short = Answers.conditional(head, for: request, now: loop.wallSeconds) {
      dropExchange()
      originStatus = head.status
      relayHead = short
      begun = []
      isComplete = true
    }
    carryOut(machine.fillSaid(.yoursAlone, collapsed: false))
    if !isOver, !begun.isEmpty { begun.withUnsafeBytes { relayContent($0) } }
    if !isOver, isComplete { relayFinished(trailers: nil) }
    client.advance()
  }

  // MARK: Answers from the store

  private func answerStored() {
    if let part { return answer(part.plan, from: part.kept) }
    guard let entry else { return }
    let now = loop.wallSeconds
    let length = entry.contentLength
    let plan = Answers.plan(request, entry.response, length: length, received: length, now: now)
    if case .blob(let file) = entry.body, let content = plan.content, !content.isEmpty {
      let count = min(Int64(content.count), ContentSource.turnLimit)
      if let end = file.residentEnd(from: content.lowerBound, count: count, now: now) {
        answer(plan, from: entry, now: now, residentEnd: end)
      } else {
        readFirst(count, at: content.lowerBound, of: file, for: plan, from: entry)
      }
    } else {
      answer(plan, from: entry, now: now, residentEnd: 0)
    }
  }

  private func answer(
    _ plan: Answers.Plan, from entry: StoredEntry, now: Int64, residentEnd: Int64
  ) {
    begin(plan, entry.response, length: entry.contentLength, now: now)
    guard let content = plan.content, client.phase == .answering else {
      client.flushScratch()
      answerSent()
      return
    }
    switch entry.body {
    case .inline where content.isEmpty:
      if case .parts(let parts) = plan.kind { writeParts(parts, of: entry.inlineBody) }
      client.flushScratch()
      answerSent()
    case .inline:
      let range = Int(content.lowerBound)..<Int(content.upperBound)
      worker.scratch.append(UnsafeRawBufferPointer(rebasing: entry.inlineBody[range]))
      client.flushScratch()
      answerSent()
    case .blob(let file):
      if case .parts(let parts) = plan.kind {
        client.content = ContentSource(blob: file, parts: parts)
      } else {
        client.content = ContentSource(blob: file, range: content, residentEnd: residentEnd)
      }
      client.flushScratch()
      client.advance()
    }
  }

  /// The parts of small content, which lies in memory.
  private func writeParts(_ parts: MultipartRanges, of body: UnsafeRawBufferPointer) {
    for part in parts.parts {
      let range = Int(part.range.lowerBound)..<Int(part.range.upperBound)
      if worker.scratch.room < part.head.count + range.count + parts.end.count {
        client.flushScratch(more: true)
      }
      worker.scratch.append(part.head)
      worker.scratch.append(UnsafeRawBufferPointer(rebasing: body[range]))
    }
    worker.scratch.append(parts.end)
  }

  /// The first piece of a stored file, read on a pool thread before the head of the answer goes out.
  private final class FirstPiece: Sendable {
    let plan: Answers.Plan
    let entry: StoredEntry
    let end: Int64
    let outcome: PageCache.Outcome

    init(_ plan: Answers.Plan, _ entry: StoredEntry, end: Int64, _ outcome: PageCache.Outcome) {
      self.plan = plan
      self.entry = entry
      self.end = end
      self.outcome = outcome
    }
  }

  private func readFirst(
    _ count: Int64, at offset: Int64, of file: BlobFile, for plan: Answers.Plan,
    from entry: StoredEntry
  ) {
    let mailbox = loop.mailbox
    let id = id
    let isTaken = worker.disk.submit {
      let outcome = PageCache.fetch(file.descriptor, offset: offset, count: Int(count))
      mailbox.post(
        Letter(
          to: id, subject: LetterSubject.firstPieceRead.rawValue,
          payload: FirstPiece(plan, entry, end: offset + count, outcome)))
    }
    // With the pool's queue full the loop reads for itself: slow, but it goes on.
    if !isTaken {
      answer(plan, from: entry, now: loop.wallSeconds, residentEnd: offset + count)
    }
  }

  private func firstPieceRead(_ piece: FirstPiece) {
    switch piece.outcome {
    case .resident:
      answer(piece.plan, from: piece.entry, now: loop.wallSeconds, residentEnd: piece.end)
    case .short, .failed:
      // Nobody has been told that it is a hit: so it is a miss.
      if case .blob(let file) = piece.entry.body { worker.store.reportDamaged(file) }
      unreadable = piece.entry
      entry = nil
      carryOut(machine.storedContentUnreadable())
    }
  }

  private func answerGrowing() {
    // Not looked up in the fill again, which may be over by now on its own thread.
    guard let reader else { return }
    let body = reader.body
    self.reader = nil
    let length = body.length
    let plan = Answers.plan(
      request, body.response, length: length, received: length == nil ? body.available : 0,
      isGrowing: true, now: loop.wallSeconds)
    begin(plan, body.response, length: length, now: loop.wallSeconds)
    if case .whole = plan.kind {} else { fill?.hasServedLess = true }
    guard let content = plan.content, client.phase == .answering else {
      client.flushScratch()
      answerSent()
      return
    }
    if case .parts(let parts) = plan.kind {
      client.content = ContentSource(growing: reader, parts: parts)
      client.flushScratch()
      client.advance()
      return
    }
    client.content = ContentSource(
      growing: reader, from: content.lowerBound,
      to: content.upperBound == .max ? nil : content.upperBound,
      isChunked: content.upperBound == .max && request.version == .http11)
    client.flushScratch()
    client.advance()
  }

  private func begin(_ plan: Answers.Plan, _ response: StoredResponse, length: Int64?, now: Int64) {
    let delimiter: Answers.Delimiter =
      switch plan.kind {
      case .whole where response.status.forbidsContent: .asIs
      case .whole: length.map { .length($0) } ?? unknownLength
      case .part(let range): .length(Int64(range.count))
      case .parts(let parts): .length(parts.contentLength)
      case .notModified: .asIs
      case .preconditionFailed, .unsatisfiable: .length(0)
      }
    let keepsAlive = client.keepsAlive && delimiter != .close
    client.beginAnswer(keepsAlive: keepsAlive)
    record.status = plan.status
    var head = Answers.head(
      for: plan, of: response, length: length, age: response.freshness.currentAge(at: now),
      cacheStatus: cacheStatus(response, now: now), delimiter: delimiter,
      keepsAlive: client.keepsAlive, version: request.version)
    if !ownFields.isEmpty {
      head.removeLast(2)
      ownFields.serialise(into: &head)
      head.append(contentsOf: [13, 10])
    }
    if worker.scratch.room < head.count {
      // Only a configuration with very large heads gets here.
      client.flushScratch()
      head.withUnsafeBytes { client.write($0, more: true) }
    } else {
      worker.scratch.append(head)
    }
    if worker.scratch.room < Store.inlineLimit + 1024 { client.flushScratch() }
  }

  private var unknownLength: Answers.Delimiter { request.version == .http11 ? .chunked : .close }

  private func cacheStatus(_ response: StoredResponse, now: Int64) -> CacheStatus {
    let left = request.policy.adjust(response.freshness).remaining(at: now)
    switch machine.handling {
    case .stale where machine.isForwarded:
      // The origin was asked, and failed (RFC 9211 §2.1: a hit is what was not forwarded).
      return CacheStatus(
        forwarded: validationReason, forwardStatus: errorStatus, timeToLive: left,
        detail: staleDetail)
    case .stale:
      return CacheStatus(forwarded: nil, timeToLive: left, detail: staleDetail)
    case .hit:
      return .hit(timeToLive: left)
    case .miss where fill?.isCompleting == true, .collapsed where fill?.isCompleting == true:
      return CacheStatus(
        forwarded: .partial, forwardStatus: .partialContent, timeToLive: left, isStored: true,
        isCollapsed: isCollapsed)
    case .miss, .validated, .collapsed:
      return CacheStatus(
        forwarded: validationReason, forwardStatus: isConfirmed ? .notModified : response.status,
        timeToLive: left, isStored: true, isCollapsed: isCollapsed)
    case .bypass, .error:
      return CacheStatus(forwarded: .bypass)
    }
  }

  // MARK: Relaying

  private func relay() {
    worker.metrics.add(.relays, .request)
    if request.method == .head, let entry {
      headWatch = HeadWatch(
        store: worker.store, key: request.key, entry: entry, sentAt: loop.wallSeconds)
    }
    // Why a miss is not stored, where the reason lies in who asks.
    if request.traits.isCacheable, UnkeyedFields.areInside(request.fields) {
      relayDetail = "request-credentials"
    }
    let exchange = Exchange(
      worker: worker, request: Forwarding.relayedRequest(request, via: worker.via), consumer: self)
    self.exchange = exchange
    exchange.start()
  }

  override func exchangeGotInformational(_ exchange: Exchange, status: Status, fields: FieldSection)
  {
    relayInformational(status: status, fields: fields)
  }

  func relayInformational(status: Status, fields: FieldSection) {
    guard request.version == .http11, !machine.isAnswering else { return }
    let head = Answers.informational(status: status, fields: fields)
    head.withUnsafeBytes { client.write($0) }
    if client.waitingOutput > 0 { client.waitForSocket() }
  }

  override func exchangeGotHead(_ exchange: Exchange, _ head: ResponseHead) {
    relayHead = head
    worker.invalidate(after: request, head)
    headWatch?.hear(head, for: request, at: loop.wallSeconds, via: worker.via)
    if head.status.kind == .serverError, !machine.isAnswering, mayServeStale(.answered(head.status))
    {
      standIn(for: head.status)
      carryOut(machine.originFailedButStale())
      client.advance()
      return
    }
    carryOut(machine.originHeadArrived())
  }

  private func sendRelayHead() {
    guard let head = relayHead else { return }
    var fields = head.fields
    Forwarding.tidyResponse(
      &fields, version: head.version, via: worker.via,
      keepingTrailer: head.framing == .chunked && request.acceptsTrailers)
    // RFC 9110 §6.6.1: who has a clock dates what comes without a date.
    if !fields.contains(.date) { fields.set(.date, HTTPDate.bytes(loop.wallSeconds)) }
    let delimiter: Answers.Delimiter =
      switch head.framing {
      case .none, .refused: .asIs
      case .length(let length): .length(Int64(clamping: length))
      case .chunked, .untilClose: unknownLength
      }
    relayIsChunked = delimiter == .chunked
    // A request that is not finished when its answer begins may never be, and then nothing can follow it.
    client.beginAnswer(
      keepsAlive: client.keepsAlive && delimiter != .close && content.isFinished)
    record.status = head.status
    let answer = Answers.relayed(
      head, fields: fields,
      cacheStatus: CacheStatus(
        forwarded: forwardReason, forwardStatus: originStatus ?? head.status,
        detail: relayDetail ?? passDetail),
      delimiter: delimiter, keepsAlive: client.keepsAlive, version: request.version)
    client.content = .relay
    answer.withUnsafeBytes {
      client.write($0, more: head.framing != .none && head.framing != .length(0))
    }
  }

  /// Why the request went to the origin as it is.
  private var forwardReason: CacheStatus.ForwardReason {
    guard request.method == .get || request.method == .head else { return .method }
    if request.policy.kind == .passed { return .bypass }
    return request.directives.noStore || request.hasContent ? .request : validationReason
  }

  private var passDetail: StaticString? { request.policy.kind == .passed ? "pass" : nil }

  override func exchangeGotContent(_ exchange: Exchange, _ bytes: UnsafeRawBufferPointer) {
    guard !isOver else { return }
    relayContent(bytes)
    if !isOver, client.waitingOutput > Self.relayHighWater { exchange.pause() }
  }

  private func relayContent(_ bytes: UnsafeRawBufferPointer) {
    if relayIsChunked {
      var start: [UInt8] = []
      ChunkedEncoding.appendChunkStart(bytes.count, to: &start)
      start.withUnsafeBytes { client.write($0, more: true) }
      client.write(bytes, more: true)
      let end: [UInt8] = [13, 10]
      end.withUnsafeBytes { client.write($0) }
    } else {
      client.write(bytes)
    }
    if client.waitingOutput > 0 { client.waitForSocket() }
  }

  /// The client's socket took what waited.
  func clientCanTake() {
    if client.waitingOutput <= Self.relayLowWater { exchange?.resume() }
  }

  override func exchangeFinished(_ exchange: Exchange, trailers: FieldSection?) {
    self.exchange = nil
    record.upstreamBytes = exchange.receivedBytes
    guard !isOver else { return }
    relayFinished(trailers: trailers)
    client.advance()
  }

  private func relayFinished(trailers: FieldSection?) {
    if relayIsChunked {
      var end: [UInt8] = []
      // Who did not say that trailers are welcome may not even look for them (RFC 9110 §6.5.1).
      let kept = request.acceptsTrailers ? trailers : nil
      ChunkedEncoding.appendEnd(trailers: kept ?? FieldSection(), to: &end)
      end.withUnsafeBytes { client.write($0) }
    }
    if client.waitingOutput > 0 { client.waitForSocket() }
    answerSent()
  }

  override func exchangeFailed(_ exchange: Exchange, _ error: ProxyError) {
    self.exchange = nil
    record.upstreamBytes = exchange.receivedBytes
    record.error = error
    guard !isOver else { return }
    if !machine.isAnswering, error.isOutage, mayServeStale(.disconnected) {
      standIn(for: nil)
      carryOut(machine.originFailedButStale())
    } else {
      carryOut(machine.originFailed(error))
    }
    client.advance()
  }

  private func dropExchange() {
    exchange?.cancel()
    exchange = nil
  }

  // MARK: Request content

  /// The client is to be read: the origin can take more.
  var wantsContent: Bool {
    !content.isFinished && !isOver && (exchange?.canSendContent ?? false)
  }

  override func exchangeWantsContent(_ exchange: Exchange) {
    guard !content.isFinished, !isOver else { return }
    client.listenForContent(true)
    client.advance()
  }

  /// - Returns: how many of the bytes were content; the rest belongs to the next request.
  func contentArrived(_ bytes: UnsafeRawBufferPointer) -> Int {
    guard let exchange, !isOver else { return bytes.count }
    let span = Span<UInt8>(_unsafeBytes: bytes)
    var position = 0
    while position <= bytes.count {
      switch content.step(span, at: &position) {
      case .content(let range):
        let goesOn = exchange.sendContent(UnsafeRawBufferPointer(rebasing: bytes[range]))
        // The origin may have failed in this call, and with the answer to that the connection's bytes are gone.
        guard !isOver else { return bytes.count }
        if content.isFinished {
          exchange.finishContent()
          client.listenForContent(false)
          return position
        }
        if !goesOn {
          client.listenForContent(false)
          return position
        }
      case .needsMoreBytes:
        return bytes.count
      case .finished(let end):
        exchange.finishContent(trailers: content.trailers)
        client.listenForContent(false)
        return end
      case .refused(let refusal):
        contentFailed(ProxyError(refusal))
        return bytes.count
      case .tooLarge:
        contentFailed(.contentTooLarge(worker.settings.contentLimit))
        return bytes.count
      }
    }
    return position
  }

  func contentTimedOut() { contentFailed(.contentTimedOut(worker.settings.limits.contentTimeout)) }

  func contentTrickled() { contentFailed(.contentTrickled(worker.settings.clientProgress)) }

  private func contentFailed(_ error: ProxyError) {
    dropExchange()
    record.error = error
    carryOut(machine.originFailed(error))
  }

  // MARK: Ending

  private func sendError(_ error: ProxyError) {
    record.error = error
    record.status = error.status
    client.beginAnswer(keepsAlive: client.keepsAlive && content.isFinished)
    let status: CacheStatus =
      machine.isForwarded
      ? CacheStatus(forwarded: forwardReason, detail: passDetail)
      : .own(request.isOffline ? "offline" : "only-if-cached")
    let answer = Answers.error(
      error, cacheStatus: status, date: loop.wallSeconds, keepsAlive: client.keepsAlive,
      isHead: request.method == .head, version: request.version)
    worker.scratch.append(answer)
    client.flushScratch()
    answerSent()
  }

  /// All of the answer is with the socket, or waits for it in the connection's output.
  func answerSent() {
    guard !isOver else { return }
    carryOut(machine.answerSent())
  }

  func storedContentFailed() {
    guard !isOver else { return }
    switch fill?.phase {
    case .failed(let error), .unkept(let error): record.error = error
    default: break
    }
    carryOut(machine.storedContentFailed())
  }

  func clientLeft(_ ending: ClientEnding) {
    guard !isOver else { return }
    record.ending = ending
    let effects = machine.clientLeft()
    carryOut(effects)
  }

  private func finish() {
    guard !isOver else { return }
    isOver = true
    if let exchange { record.upstreamBytes = exchange.receivedBytes }
    if let fillDriver { record.upstreamBytes = fillDriver.upstreamBytes }
    dropExchange()
    interest = nil
    record.handling = machine.handling
    record.sentBytes = client.sentBytes + UInt64(client.waitingOutput)
    worker.log(record)
    unregister()
    if client.phase == .answering {
      if !content.isFinished { client.keepAliveEnds() }
      client.answerFinished()
    }
  }
}
