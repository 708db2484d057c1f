// Carries out one transaction: turns the store, the fill, the origin and the client's socket into events
// for the machine (Transaction.swift), and its effects into calls. Lives as long as the request is being
// answered; simple hits never need one.
//
// TransactionFills.swift has the fill it follows, TransactionAnswers.swift what the store answers, TransactionRelay.swift
// what goes to the origin as it is, TransactionContent.swift the content of the request.

import Caching
import Forensics
import HTTP
import IO
import Mirrors
import Platform
import Storage
import Telemetry

final class TransactionDriver: ExchangeConsumer {
  /// Relayed content waiting for the client, above which the origin is asked to wait, and below which
  /// it may go on.
  static let relayHighWater = 256 << 10
  static let relayLowWater = 64 << 10

  let worker: Worker
  let request: ClientRequest
  let client: ClientConnection
  var machine: Transaction
  var entry: StoredEntry?
  /// A part of an incomplete response that answers this request.
  var part: (kept: Incomplete, plan: Answers.Plan)?
  /// A stored page is being written anew, or waits for its turn.
  var awaitsPage = false
  /// An answer that is gathered whole, to be written anew.
  var gathering: Gathering?
  /// What has become of it.
  var page: RewrittenPage?
  /// Turned out to be unreadable when it was to be sent.
  var unreadable: StoredEntry?
  var validationReason = CacheStatus.ForwardReason.uriMiss
  /// What permits the stale answer that is sent, as Cache-Status tells it.
  var staleDetail: StaticString?
  /// The server error in whose place a stale answer is sent.
  var errorStatus: Status?
  /// Fields of the answer that are for this client and not kept for others: set by the fill it leads.
  var ownFields = FieldSection()
  var fill: Fill?
  /// Of answers to the same target that this request does not select.
  var otherVariances: [Variance] = []
  /// Keeps the fill going.
  var interest: FillInterest?
  /// What the fill brought, as it was when it was decided upon.
  var reader: BodyReader?
  var isCollapsed = false
  /// The fill was answered with 304.
  var isConfirmed = false
  /// Fetches of others that this one waited for, and that failed.
  var failedWaits = 0
  /// What is stored is confirmed, and removed: it is for this client only.
  var isUnkept = false
  // It holds this one weakly.
  var fillDriver: FillDriver?
  var exchange: Exchange?
  var relayHead: ResponseHead?
  var relayDetail: StaticString?
  /// What the origin said, when the client is told something else.
  var originStatus: Status?
  var relayIsChunked = false
  /// Where what is relayed has to be something in particular.
  var relayProof: RelayProof?
  /// What has been relayed, if it could be gone on with.
  var relayed: RelayedContent?
  /// It was asked for as a fetch for all, with these fields of the request along.
  var relayedForAll: FieldNames?
  /// The connection to the origin had ended, and the relay goes on (RelayHealing.swift).
  var healing: Healing?
  var progress = HealingProgress()
  /// What exchanges before this one have brought.
  var earlierBytes: UInt64 = 0
  var headWatch: HeadWatch?
  var content: RequestContent
  private(set) var isOver = false
  var record: AccessRecord

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

  func carryOut(_ effects: Transaction.Effects) {
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
      case .relayHead: if let page { answerPage(page) } else { sendRelayHead() }
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

  override func timerFired() { pageTimedOut() }

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
    case .pageRewritten:
      guard let rewriting = letter.payload as? Rewriting else { return }
      rewritten(rewriting)
    case .fillNews:
      fillChanged()
    case .settings, .drain, .admitted, .deserted, .stray, .authenticated:
      break
    }
    client.advance()
  }

  /// Nothing whole is stored. A range that lies in what is kept of an incomplete response can be answered all the
  /// same, as long as that is fresh (RFC 9111 §3.3).
  private func nothingWhole() {
    let now = loop.wallSeconds
    guard request.method == .get, request.fields.contains(.range), request.links == nil,
      let kept = worker.store.incomplete(request.key, for: request.fields, now: now),
      request.accepts(kept.response),
      case .fresh = Reuse.decide(
        request.limit(kept.response), request.demands(on: kept.response, now: now), now: now,
        policy: request.policy)
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
      let isFresh = request.policy.adjust(request.limit(entry.response)).isFresh(at: now)
      staleDetail = "offline"
      carryOut(machine.storeAnswered(isFresh ? .fresh : .staleAllowed))
      return
    }
    if request.resource.kind == .debianIndex, !isOfItsRelease(entry) {
      validationReason = .stale
      carryOut(machine.storeAnswered(.stale))
      return
    }
    let reuse = Reuse.decide(
      request.limit(entry.response), request.demands(on: entry.response, now: now), now: now,
      policy: request.policy)
    if request.links == nil,
      case .failed = Preconditions.evaluate(
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

  /// Whether an index was confirmed after the release file it belongs to, as far as one is known.
  private func isOfItsRelease(_ entry: StoredEntry) -> Bool {
    let suffix = request.credential?.keySuffix ?? []
    for key in ReleaseGroup.leaders(of: request.target.key) {
      switch worker.lookup(CacheKey(key + suffix, hasher: worker.hasher)) {
      case .absent: continue
      // What it says is not known without reading it; whoever updates asks for it first.
      case .cold: return false
      case .hot(let set):
        guard let release = set.entries.first, release.response.status == .ok else { continue }
        return entry.response.responseTime > release.response.responseTime
      }
    }
    return true
  }

  func select(_ set: VariantSet) -> StoredEntry? {
    let now = loop.wallSeconds
    return Variance.select(
      set.entries.filter { request.accepts($0.response) }, { $0.response.variance.ofRequests },
      for: request.fields
    ) {
      request.policy.adjust(request.limit($0.response)).isFresh(at: now)
    }
  }

  // MARK: Relaying

  override func exchangeGotInformational(_ exchange: Exchange, status: Status, fields: FieldSection)
  {
    relayInformational(status: status, fields: fields)
  }

  override var beneficiary: Beneficiary? {
    isOver ? nil : Beneficiary(client: client.peer, delivered: client.sentBytes)
  }

  override func exchangeGotHead(_ exchange: Exchange, _ head: ResponseHead) {
    if healing != nil {
      healing?.answered(worker, request.origin)
      if machine.isAnswering { return relayHealingGotHead(exchange, head) }
      relayHealingWorks(.repeated)
    }
    relayHead = head
    worker.invalidate(after: request, head)
    headWatch?.hear(
      head, for: request, on: loop, via: worker.via, along: exchange.followed)
    if head.status.kind == .serverError, !machine.isAnswering, mayServeStale(.answered(head.status))
    {
      standIn(for: head.status)
      carryOut(machine.originFailedButStale())
      client.advance()
      return
    }
    if gather(head, along: exchange.followed, isFromFill: false) {
      client.advance()
      return
    }
    carryOut(machine.originHeadArrived())
  }

  override func exchangeGoesOn(_ exchange: Exchange, as next: Exchange) { self.exchange = next }

  override func exchangeSwitchedProtocols(
    _ exchange: Exchange, _ fields: FieldSection, _ connection: OriginConnection,
    unread: UnsafeRawBufferPointer
  ) {
    self.exchange = nil
    joinSides(fields, connection, unread: unread)
  }

  override func exchangeGotContent(_ exchange: Exchange, _ bytes: UnsafeRawBufferPointer) {
    guard !isOver else { return }
    if gathering != nil {
      gatherContent(bytes)
      return
    }
    if healing == nil || !relayHealingGotContent(bytes) { relayContent(bytes) }
    if !isOver, client.waitingOutput > Self.relayHighWater { exchange.pause() }
  }

  override func exchangeFinished(_ exchange: Exchange, trailers: FieldSection?) {
    self.exchange = nil
    earlierBytes += exchange.receivedBytes
    guard !isOver else { return }
    // Too short to be the same.
    if healing?.check != nil { return giveUpRelay("it is shorter than it was") }
    if gathering != nil { gatheringEnded() } else { relayFinished(trailers: trailers) }
    client.advance()
  }

  override func exchangeFailed(_ exchange: Exchange, _ error: ProxyError) {
    self.exchange = nil
    earlierBytes += exchange.receivedBytes
    guard !isOver else { return }
    let hasStale = !machine.isAnswering && error.isOutage && mayServeStale(.disconnected)
    if !hasStale, healRelay(error, after: exchange) { return }
    record.error = error
    if let gathered = gathering {
      gathering = nil
      gatheringFailed(gathered, error)
    } else if hasStale {
      standIn(for: nil)
      carryOut(machine.originFailedButStale())
    } else {
      carryOut(machine.originFailed(error))
    }
    client.advance()
  }

  override func exchangeWantsContent(_ exchange: Exchange) {
    guard !content.isFinished, !isOver else { return }
    client.listenForContent(true)
    client.advance()
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

  func clientLeft(_ ending: ClientEnding, _ recordID: RecordID?) {
    guard !isOver else { return }
    record.ending = ending
    record.recordID = recordID
    let effects = machine.clientLeft()
    carryOut(effects)
  }

  /// What follows is a tunnel's, its line in the log included.
  func finishSwitched() {
    isOver = true
    _ = machine.originSwitched()
    unregister()
  }

  private func finish() {
    guard !isOver else { return }
    isOver = true
    record.upstreamBytes = earlierBytes + (exchange?.receivedBytes ?? 0)
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
