// Answers whose links are written anew, for clients that came by a mirror: they are had whole first, from the store, from
// the fill once it has ended, or gathered as they come where they may not be stored. A pool thread writes them, and
// what it makes is answered like a stored response: conditions, ranges and HEAD are about the new bytes.

import Caching
import HTTP
import IO
import Mirrors
import Storage

extension TransactionDriver {
  /// An answer that is gathered because it may not be stored.
  struct Gathering {
    var head: ResponseHead
    /// What its links are relative to.
    var base: TargetURI
    var content: [UInt8]
    /// What it may take of the memory for pages.
    var claim: PageBudget.Claim?
    /// It came from the fill this transaction led, and not from a request of its own.
    var isFromFill: Bool
  }

  /// Bytes of a page's path; where it is longer, its links are left as they are.
  private static let longestPagePath = 2048

  /// The kind of document an answer is, if its links are to be written anew for this request.
  func linkedDocument(_ status: Status, _ fields: FieldSection) -> LinkedDocument? {
    // Every relative link is written out with what of this it is relative to.
    guard request.links != nil, request.target.pathAndQuery.count <= Self.longestPagePath,
      status == .ok, let kind = request.resource.kind,
      let type = fields.only(.contentType)
    else { return nil }
    return LinkedDocument(contentType: type, kind: kind)
  }

  /// Why a page of the right type can all the same not be read.
  private func obstacle(
    _ fields: FieldSection, length: Int64?, limit: Int
  ) -> ProxyError? {
    if case .unreadable(let coding) = PageCoding(fields) {
      return .codedPage(request.origin.authority, coding)
    }
    if let length, length > Int64(limit) { return .pageTooLarge(request.origin.authority, limit) }
    return nil
  }

  private func rewriter(
    _ document: LinkedDocument, _ fields: FieldSection, base: TargetURI
  ) -> PageRewriter? {
    request.links.map { links in
      PageRewriter(
        base: base, document: document, links: links, coding: PageCoding(fields),
        digests: request.route.digestHosts.map { (worker.shared.digests, $0) },
        hasher: worker.hasher)
    }
  }

  // MARK: Stored pages

  /// Answers with a stored page, its links written anew.
  func answerRewritten(_ entry: StoredEntry, _ document: LinkedDocument) {
    let fields = entry.response.fields
    if let error = obstacle(fields, length: entry.contentLength, limit: PageRewriter.limit) {
      carryOut(machine.rewritingFailed(error))
      return
    }
    guard let base = entry.response.base(asked: request.target) else {
      carryOut(machine.rewritingFailed(.pageOfNoPlace(request.origin.authority)))
      return
    }
    guard let rewriter = rewriter(document, fields, base: base) else { return }
    if let page = worker.shared.pages.page(of: entry, links: rewriter.links) {
      return answerPage(page)
    }
    let (page, isFirst) = worker.shared.pages.page(
      of: entry, links: rewriter.links, claiming: rewriter.cost(entry), on: worker.disk,
      telling: Follower(mailbox: loop.mailbox, id: id)
    ) { claim in rewriter.rewrite(entry, claim) }
    if isFirst { worker.metrics.add(.pagesRewritten) }
    guard let page else {
      // Those who read large ones slowly may have taken all there is.
      awaitsPage = true
      loop.arm(self, after: worker.settings.upstream.queueTimeout)
      return
    }
    answerPage(page)
  }

  /// No page for so long.
  func pageTimedOut() {
    guard !isOver, awaitsPage else { return }
    worker.metrics.add(.timeouts, .queue)
    carryOut(machine.rewritingFailed(.pagesBusy))
    client.advance()
  }

  func rewritten(_ rewriting: Rewriting) {
    awaitsPage = false
    loop.disarm(self)
    let gathered = gathering
    gathering = nil
    func failed(_ error: ProxyError) {
      if let gathered {
        gatheringFailed(gathered, error)
      } else {
        carryOut(machine.rewritingFailed(error))
      }
    }
    switch rewriting.outcome {
    case .page(let page):
      guard let gathered else { return answerPage(page) }
      self.page = page
      carryOut(
        gathered.isFromFill
          ? machine.fillSaid(.yoursAlone, collapsed: false) : machine.originHeadArrived())
    case .tooLarge:
      failed(.pageTooLarge(request.origin.authority, PageRewriter.limit))
    case .busy:
      failed(.poolBusy)
    case .damaged(let coding, let fault):
      // Stored, it would be an error for as long as it is fresh. Whoever is told later lets what comes instead be.
      if let source = rewriting.source, case .hot(let set) = worker.lookup(request.key),
        set.entries.contains(where: { $0 === source })
      {
        worker.store.remove(request.key)
      }
      failed(.damagedPage(request.origin.authority, coding, fault))
    case .unreadable:
      storedUnreadable(rewriting.source)
    }
  }

  func answerPage(_ page: RewrittenPage) {
    let now = loop.wallSeconds
    let length = page.entry.contentLength
    let plan = Answers.plan(
      request, page.entry.response, length: length, received: length, now: now)
    answer(plan, from: page.entry, page: page, now: now, residentEnd: 0)
  }

  // MARK: Pages that may not be stored

  /// Takes an answer in that is for this client alone and has to be written anew.
  /// - Parameter chain: the redirects that led to it.
  /// - Returns: whether it is one.
  func gather(
    _ head: ResponseHead, along chain: RedirectChain?, begun: [UInt8] = [], isFromFill: Bool
  ) -> Bool {
    guard linkedDocument(head.status, head.fields) != nil else { return false }
    // Of a page nobody has seen nothing can be said but that it is there.
    if request.method == .head, !isFromFill { return false }
    var length: Int64?
    if case .length(let announced) = head.framing { length = Int64(clamping: announced) }
    var gathering = Gathering(
      head: head, base: chain?.target ?? request.target, content: begun, isFromFill: isFromFill)
    var error = obstacle(head.fields, length: length, limit: PageRewriter.gatheringLimit)
    if gathering.base.pathAndQuery.count > 2 * FollowedNote.longestPath {
      error = .pageOfNoPlace(request.origin.authority)
    }
    if error == nil {
      let expected = Int(clamping: length ?? Int64(max(begun.count, Self.gatheringStep)))
      gathering.claim = worker.shared.pages.budget.claimNow(PageRewriter.cost(expected))
      if gathering.claim == nil { error = .pagesBusy }
    }
    if let error {
      dropExchange()
      gatheringFailed(gathering, error)
      return true
    }
    self.gathering = gathering
    return true
  }

  /// Bytes that are claimed for an answer whose length is not known, to begin with.
  private static var gatheringStep: Int { 64 << 10 }

  func gatherContent(_ bytes: UnsafeRawBufferPointer) {
    // Not held beside: the content would be copied with every piece.
    guard let had = gathering?.content.count else { return }
    let count = had + bytes.count
    var error: ProxyError?
    if count > PageRewriter.gatheringLimit {
      error = .pageTooLarge(request.origin.authority, PageRewriter.gatheringLimit)
    } else if gathering?.head.framing == .chunked || gathering?.head.framing == .untilClose,
      count.nextPowerOfTwo > had.nextPowerOfTwo,
      gathering?.claim?.grow(to: PageRewriter.cost(count.nextPowerOfTwo)) != true
    {
      error = .pagesBusy
    }
    if let error {
      guard let gathered = gathering else { return }
      gathering = nil
      dropExchange()
      return gatheringFailed(gathered, error)
    }
    gathering?.content.append(contentsOf: bytes)
  }

  func gatheringFailed(_ gathered: Gathering, _ error: ProxyError) {
    // Nothing of it has been shown to anybody: what is stored may do, as if it had not begun to come.
    if error.isOutage, mayServeStale(.disconnected) {
      standIn(for: nil)
      carryOut(
        gathered.isFromFill
          ? machine.fillSaid(.failedButStale, collapsed: false) : machine.originFailedButStale())
      return
    }
    carryOut(
      gathered.isFromFill
        ? machine.fillSaid(.failed(error), collapsed: false) : machine.originFailed(error))
  }

  /// All of it has come.
  func gatheringEnded() {
    guard let gathered = gathering, let claim = gathered.claim,
      let document = linkedDocument(gathered.head.status, gathered.head.fields),
      let rewriter = rewriter(document, gathered.head.fields, base: gathered.base)
    else { return }
    var fields = gathered.head.fields
    Forwarding.tidyResponse(&fields, version: gathered.head.version, via: worker.via)
    ownFields = StoredResponse.unshared(of: fields, targets: worker.store.targets)
    let now = loop.wallSeconds
    let response = StoredResponse(
      status: gathered.head.status, fields: fields, requestTime: now, responseTime: now,
      variance: Variance(response: fields, request: request.fields),
      targets: worker.store.targets)
    let content = gathered.content
    gathering?.content = []
    worker.metrics.add(.pagesRewritten)
    let mailbox = loop.mailbox
    let id = id
    let isTaken = worker.disk.submit {
      mailbox.post(
        Letter(
          to: id, subject: LetterSubject.pageRewritten.rawValue,
          payload: Rewriting(nil, rewriter.rewrite(content, of: response, claim))))
    }
    if !isTaken { rewritten(Rewriting(nil, .busy)) }
  }
}

extension Int {
  /// The least power of two that is as large, from the step on in which answers are gathered.
  fileprivate var nextPowerOfTwo: Int {
    var power = 64 << 10
    while power < self, power < 1 << 40 { power *= 2 }
    return power
  }
}
