// Answers from the store, from what is kept of an incomplete response, and from content that is still growing: the
// head, and where the connection takes the content from. The content of a stored file begins to be read on a pool thread
// before the head goes out, so that a disk that fails makes a miss of it.

import Caching
import HTTP
import IO
import Platform
import Storage
import Telemetry

extension TransactionDriver {
  func answerStored() {
    if let part { return answer(part.plan, from: part.kept) }
    guard let entry else { return }
    if let document = linkedDocument(entry.response.status, entry.response.fields) {
      return answerRewritten(entry, document)
    }
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

  func answer(_ plan: Answers.Plan, from kept: Incomplete) {
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

  func answer(
    _ plan: Answers.Plan, from entry: StoredEntry, page: RewrittenPage? = nil, now: Int64,
    residentEnd: Int64
  ) {
    begin(plan, entry.response, length: entry.contentLength, now: now)
    guard let content = plan.content, client.phase == .answering else {
      client.flushScratch()
      answerSent()
      return
    }
    if let page, plan.contentLength > Int64(worker.scratch.room) {
      // Sent from where it lies, as the client takes it.
      if case .parts(let parts) = plan.kind {
        client.content = ContentSource(page: page, parts: parts)
      } else {
        client.content = ContentSource(page: page, range: content)
      }
      client.flushScratch()
      client.advance()
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
  func writeParts(_ parts: MultipartRanges, of body: UnsafeRawBufferPointer) {
    for part in parts.parts {
      let range = Int(part.range.lowerBound)..<Int(part.range.upperBound)
      if worker.scratch.room < part.head.count + range.count + parts.end.count {
        client.flushScratch(more: true)
      }
      worker.scratch.append(part.head)
      let content = UnsafeRawBufferPointer(rebasing: body[range])
      if content.count <= worker.scratch.room {
        worker.scratch.append(content)
      } else {
        client.flushScratch(more: true)
        client.write(content, more: true)
      }
    }
    if worker.scratch.room < parts.end.count { client.flushScratch(more: true) }
    worker.scratch.append(parts.end)
  }

  /// The first piece of a stored file, read on a pool thread before the head of the answer goes out.
  final class FirstPiece: Sendable {
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

  func readFirst(
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

  func firstPieceRead(_ piece: FirstPiece) {
    switch piece.outcome {
    case .resident:
      answer(piece.plan, from: piece.entry, now: loop.wallSeconds, residentEnd: piece.end)
    case .short, .failed:
      storedUnreadable(piece.entry)
    }
  }

  /// Nobody has been told that it is a hit: so it is a miss.
  func storedUnreadable(_ source: StoredEntry?) {
    if let source {
      if case .blob(let file) = source.body { worker.store.reportDamaged(file) }
      unreadable = source
    }
    entry = nil
    // Whatever brought it, another fill or a confirmation, has no part in what comes now.
    fill = nil
    interest = nil
    isCollapsed = false
    isConfirmed = false
    isUnkept = false
    carryOut(machine.storedContentUnreadable())
  }

  func answerGrowing() {
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

  func begin(_ plan: Answers.Plan, _ response: StoredResponse, length: Int64?, now: Int64) {
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
    // RFC 6265 goes by the host a client sees: the cookie would come back for whatever is behind the same address.
    if request.route.looksLikeOneHost { ownFields.remove(.setCookie) }
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

  var unknownLength: Answers.Delimiter { request.version == .http11 ? .chunked : .close }

  func cacheStatus(_ response: StoredResponse, now: Int64) -> CacheStatus {
    if page != nil {
      return CacheStatus(
        forwarded: forwardReason, forwardStatus: response.status, detail: relayDetail ?? passDetail)
    }
    let left = request.policy.adjust(request.limit(response)).remaining(at: now)
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
        timeToLive: left, isStored: !isUnkept, isCollapsed: isCollapsed)
    case .bypass, .error:
      return CacheStatus(forwarded: .bypass)
    }
  }
}
