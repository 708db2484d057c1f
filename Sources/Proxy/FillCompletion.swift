// Fills that go on where an earlier one broke off (RFC 9111 §3.4): what is kept of the content is asked about with
// Range and If-Range, and what the origin says decides.
//
//   206 that fits ─▶ the kept file grows on         200 ─▶ what was kept goes, the answer is stored as any other
//   206 that does not, 416, 304 ─▶ what was kept goes, and the whole is asked for
//   5xx, 408, 425, 429, or no answer at all ─▶ what was kept stays for the next one

import Caching
import HTTP
import Storage

extension FillDriver {
  // MARK: What was kept

  func takeKept(_ watch: Watch) -> Incomplete? {
    let now = loop.wallSeconds
    guard let found = worker.store.incomplete(fill.key, for: request.fields, now: now),
      request.accepts(found.response), !isUncheckable(found.response),
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

  /// What was kept of the content has not been asked about: the next one may.
  func giveBackKept() {
    if let kept { giveBack(kept) }
    kept = nil
  }

  func giveBack(_ taken: Incomplete) {
    guard let watch else { return }
    worker.store.giveBack(taken, watch: watch, now: loop.wallSeconds)
  }

  // MARK: The rest of it

  /// What an answer to a request for the rest means.
  enum Rest {
    /// It is the rest; the response as it is from now on, and its whole length.
    case fits(StoredResponse, length: Int64)
    /// It is an answer in its own right.
    case other
    /// It is none at all: ask for the whole.
    case useless
  }

  /// Judges the head, and sees to it that what is kept is given back or let go where it is not wanted here.
  func judgeRest(
    _ kept: Incomplete, _ head: ResponseHead, _ fields: FieldSection, now: Int64
  ) -> Rest {
    switch head.status.rawValue {
    case 206:
      let announced = head.framing.announcedLength
      let outcome = Completion.join(
        kept.response, keptUpTo: kept.length, with: fields, announced: announced,
        request: varied.selecting, requestTime: requestTime, responseTime: now,
        policy: request.policy)
      if case .rest(let response, let length) = outcome,
        kept.response.isOfSameOrigin(as: chain, asked: request.target),
        varied.judge(fields, isWhole: false) == .inOrder
      {
        return .fits(response.followed(along: chain, policy: request.policy), length: length)
      }
      worker.store.discard(kept)
      return .useless
    case 304, 416:
      worker.store.discard(kept)
      return .useless
    case 500..., 408, 425, 429:
      giveBack(kept)
      return .other
    default:
      worker.store.discard(kept)
      return .other
    }
  }
}

extension ProxyError {
  /// What came before this error was in order, and may be gone on with: the connection broke, or fell silent.
  var leavesContentInOrder: Bool {
    switch type {
    case .connectionTerminated, .responseIncomplete, .connectionReadTimeout, .responseTimeout: true
    default: false
    }
  }
}
