// The request goes to the origin as it is, and the answer to this client alone: its head, its content as fast as the
// client takes it, its trailers.

import Caching
import HTTP
import IO
import Storage
import Telemetry

extension TransactionDriver {
  func relay() {
    worker.metrics.add(.relays, .request)
    // It goes as it is, and what one client's fields have shaped is no news about what all are given.
    if request.method == .head, request.traits.asksForAll, let entry {
      headWatch = HeadWatch(
        store: worker.store, key: request.key, entry: entry, sentAt: loop.now)
    }
    // Why a miss is not stored, where the reason lies in who asks.
    if request.traits.isCacheable, UnkeyedFields.areInside(request.fields) {
      relayDetail = "request-credentials"
    }
    var request = request
    // What the client knows of a page is about the one that was written anew for it.
    if request.links != nil { Forwarding.askForWhole(&request.fields) }
    let exchange = Exchange(
      worker: worker, request: Forwarding.relayedRequest(request, via: worker.via), consumer: self)
    self.exchange = exchange
    exchange.start()
  }

  func relayInformational(status: Status, fields: FieldSection) {
    guard request.version == .http11, !machine.isAnswering else { return }
    var fields = fields
    if request.route.looksLikeOneHost { fields.remove(.setCookie) }
    let head = Answers.informational(status: status, fields: fields)
    head.withUnsafeBytes { client.write($0) }
    if client.waitingOutput > 0 { client.waitForSocket() }
  }

  func sendRelayHead() {
    guard var head = relayHead else { return }
    if request.method == .get, head.status == .ok, !Completion.isCoded(head.fields),
      let digest = request.expectedDigest(worker.shared.digests, hasher: worker.hasher)
    {
      let proof = RelayProof(digest, framing: head.framing)
      // Of nothing there is no byte to be held back.
      if head.framing == .none || head.framing == .length(0), !proof.isRight {
        return relayMismatched()
      }
      relayProof = proof
    }
    if worker.settings.upstream.retries > 0 {
      relayed = RelayedContent(
        head, along: exchange?.followed, for: request, targets: worker.store.targets,
        hasDigest: relayProof != nil, now: loop.wallSeconds)
    }
    var fields = head.fields
    if linkedDocument(head.status, head.fields) != nil {
      // HEAD of a page that was not had, so that it could not be written anew.
      for name in [.etag, .lastModified, .contentLength, .contentEncoding] as [FieldName] {
        fields.remove(name)
      }
      head.framing = .none
    }
    Forwarding.tidyResponse(
      &fields, version: head.version, via: worker.via,
      keepingTrailer: head.framing == .chunked && request.acceptsTrailers)
    if request.route.looksLikeOneHost { fields.remove(.setCookie) }
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
    // Content often comes in the same segment as its head, and goes on in one as well.
    let hasContent = head.framing != .none && head.framing != .length(0)
    answer.withUnsafeBytes { if hasContent { client.hold($0) } else { client.write($0) } }
  }

  /// Why the request went to the origin as it is.
  var forwardReason: CacheStatus.ForwardReason {
    guard request.method == .get || request.method == .head else { return .method }
    if request.policy.kind == .passed { return .bypass }
    return request.directives.noStore || request.hasContent ? .request : validationReason
  }

  var passDetail: StaticString? { request.policy.kind == .passed ? "pass" : nil }

  func relayContent(_ bytes: UnsafeRawBufferPointer) {
    relayed?.take(bytes)
    guard let relayProof else { return passOn(bytes) }
    let count = relayProof.take(bytes)
    if count > 0 { passOn(UnsafeRawBufferPointer(rebasing: bytes[..<count])) }
  }

  private func passOn(_ bytes: UnsafeRawBufferPointer) {
    if relayIsChunked { client.writeChunk(bytes) } else { client.write(bytes) }
    if client.isWaitingForSocket { client.waitForSocket() }
  }

  /// The client's socket took what waited.
  func clientCanTake() {
    if client.waitingOutput <= Self.relayLowWater { exchange?.resume() }
  }

  /// It is cut, and nobody takes it for whole.
  private func relayMismatched() {
    worker.metrics.add(.digestMismatches)
    worker.shared.logger.warning(
      "\(request.target): what came is not what its index or its name says; it is passed on without being stored, and cut"
    )
    let error = ProxyError.wrongDigest(request.origin.authority)
    record.error = error
    dropExchange()
    carryOut(machine.originFailed(error))
  }

  func relayFinished(trailers: FieldSection?) {
    relayHealingGoesOn()
    if let relayed, !relayed.isWhole {
      let error = ProxyError.unasked(
        request.origin.authority, "sent content of another length than it had promised")
      record.error = error
      return carryOut(machine.originFailed(error))
    }
    if let relayProof {
      guard relayProof.isRight else { return relayMismatched() }
      if let held = relayProof.held { withUnsafeBytes(of: held) { passOn($0) } }
    }
    if relayIsChunked {
      var end: [UInt8] = []
      // Who did not say that trailers are welcome may not even look for them (RFC 9110 §6.5.1).
      let kept = request.acceptsTrailers ? trailers : nil
      ChunkedEncoding.appendEnd(trailers: kept ?? FieldSection(), to: &end)
      end.withUnsafeBytes { client.write($0) }
    }
    client.release()
    if client.waitingOutput > 0 { client.waitForSocket() }
    answerSent()
  }

  func dropExchange() {
    earlierBytes += exchange?.receivedBytes ?? 0
    exchange?.cancel()
    exchange = nil
    endRelayHealing("nobody waited for it any more")
  }
}
