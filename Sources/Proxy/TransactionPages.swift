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
    var content: [UInt8]
    /// It came from the fill this transaction led, and not from a request of its own.
    var isFromFill: Bool
  }

  /// What a pool thread has made of a page.
  final class Rewriting: Sendable {
    let source: StoredEntry?
    let outcome: PageRewriter.Outcome

    init(_ source: StoredEntry?, _ outcome: PageRewriter.Outcome) {
      self.source = source
      self.outcome = outcome
    }
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
    _ fields: FieldSection, length: Int64?, limit: Int64
  ) -> ProxyError? {
    if let coding = fields.combinedValue(.contentEncoding), !coding.isEmpty,
      !coding.span.equalsToken("identity")
    {
      return .codedPage(request.origin.authority, String(decoding: coding, as: UTF8.self))
    }
    if let length, length > limit { return .pageTooLarge(request.origin.authority, limit) }
    return nil
  }

  private func rewriter(_ document: LinkedDocument) -> PageRewriter? {
    request.links.map {
      PageRewriter(
        page: request.target, document: document, links: $0,
        digests: request.route.way == .mirror && request.route.isConfigured
          && request.route.below?.ecosystem == .pypi ? worker.shared.digests : nil,
        hasher: worker.hasher)
    }
  }

  // MARK: Stored pages

  /// Answers with a stored page, its links written anew.
  func answerRewritten(_ entry: StoredEntry, _ document: LinkedDocument) {
    guard let rewriter = rewriter(document) else { return }
    if let error = obstacle(
      entry.response.fields, length: entry.contentLength, limit: PageRewriter.limit)
    {
      carryOut(machine.rewritingFailed(error))
      return
    }
    let pages = worker.shared.pages
    if let page = pages.page(of: entry, links: rewriter.links) { return answerPage(page) }
    onPool {
      // Whoever came first may have made it meanwhile.
      if let page = pages.page(of: entry, links: rewriter.links) {
        return Rewriting(entry, .page(page))
      }
      let outcome = rewriter.rewrite(entry)
      if case .page(let page) = outcome { pages.add(page, of: entry, links: rewriter.links) }
      return Rewriting(entry, outcome)
    }
  }

  private func onPool(_ work: @escaping @Sendable () -> Rewriting) {
    let mailbox = loop.mailbox
    let id = id
    let isTaken = worker.disk.submit {
      mailbox.post(
        Letter(to: id, subject: LetterSubject.pageRewritten.rawValue, payload: work()))
    }
    if !isTaken { rewritten(Rewriting(nil, .tooLarge), isBusy: true) }
  }

  func rewritten(_ rewriting: Rewriting, isBusy: Bool = false) {
    let gathered = gathering
    gathering = nil
    switch rewriting.outcome {
    case .page(let page):
      guard let gathered else { return answerPage(page) }
      self.page = page
      carryOut(
        gathered.isFromFill
          ? machine.fillSaid(.yoursAlone, collapsed: false) : machine.originHeadArrived())
    case .tooLarge:
      let error: ProxyError =
        isBusy ? .poolBusy : .pageTooLarge(request.origin.authority, PageRewriter.limit)
      if let gathered {
        gatheringFailed(gathered, error)
      } else {
        carryOut(machine.rewritingFailed(error))
      }
    case .unreadable:
      // Nobody has been told that it is a hit: so it is a miss.
      if let source = rewriting.source {
        if case .blob(let file) = source.body { worker.store.reportDamaged(file) }
        unreadable = source
      }
      entry = nil
      carryOut(machine.storedContentUnreadable())
    }
  }

  func answerPage(_ page: StoredEntry) {
    let now = loop.wallSeconds
    let length = page.contentLength
    let plan = Answers.plan(request, page.response, length: length, received: length, now: now)
    answer(plan, from: page, now: now, residentEnd: 0)
  }

  // MARK: Pages that may not be stored

  /// Takes an answer in that is for this client alone and has to be written anew.
  /// - Returns: whether it is one.
  func gather(_ head: ResponseHead, begun: [UInt8] = [], isFromFill: Bool) -> Bool {
    guard linkedDocument(head.status, head.fields) != nil else { return false }
    // Of a page nobody has seen nothing can be said but that it is there.
    if request.method == .head, !isFromFill { return false }
    var length: Int64?
    if case .length(let announced) = head.framing { length = Int64(clamping: announced) }
    let gathering = Gathering(head: head, content: begun, isFromFill: isFromFill)
    if let error = obstacle(
      head.fields, length: length, limit: PageRewriter.gatheringLimit)
    {
      dropExchange()
      gatheringFailed(gathering, error)
      return true
    }
    self.gathering = gathering
    return true
  }

  func gatherContent(_ bytes: UnsafeRawBufferPointer) {
    // Not held beside: the content would be copied with every piece.
    guard let count = gathering?.content.count else { return }
    guard count + bytes.count <= Int(PageRewriter.gatheringLimit) else {
      guard let gathered = gathering else { return }
      gathering = nil
      dropExchange()
      return gatheringFailed(
        gathered, .pageTooLarge(request.origin.authority, PageRewriter.gatheringLimit))
    }
    gathering?.content.append(contentsOf: bytes)
  }

  func gatheringFailed(_ gathered: Gathering, _ error: ProxyError) {
    carryOut(
      gathered.isFromFill
        ? machine.fillSaid(.failed(error), collapsed: false) : machine.originFailed(error))
  }

  /// All of it has come.
  func gatheringEnded() {
    guard let gathered = gathering,
      let document = linkedDocument(gathered.head.status, gathered.head.fields),
      let rewriter = rewriter(document)
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
    onPool { Rewriting(nil, rewriter.rewrite(content, of: response)) }
  }
}
