// Fills that go on where an earlier one broke off (RFC 9111 §3.4): what is kept of the content is asked about with
// Range and If-Range, and what the origin says decides.
//
//   206 that fits ─▶ the kept file grows on         200 ─▶ what was kept goes, the answer is stored as any other
//   206 that does not, 416, 304 ─▶ what was kept goes, and the whole is asked for
//   5xx, 408, 425, 429, or no answer at all ─▶ what was kept stays for the next one

import Caching
import HTTP
import Storage
import Synchronization

extension FillDriver {
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
      let announced: UInt64? = if case .length(let length) = head.framing { length } else { nil }
      let outcome = Completion.join(
        kept.response, keptUpTo: kept.length, with: fields, announced: announced,
        request: varied.selecting, requestTime: requestTime, responseTime: now,
        policy: request.policy)
      if case .rest(let response, let length) = outcome,
        varied.judge(fields, isWhole: false) == .inOrder
      {
        return .fits(response, length: length)
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

/// A file that a pool thread has opened for a fill: for the fill, or for who tidies up after it.
final class OpenedBlob: Sendable {
  private let held = Mutex<GrowingBlob?>(nil)

  var blob: GrowingBlob? {
    get { held.withLock { $0 } }
    set { held.withLock { $0 = newValue } }
  }
}
