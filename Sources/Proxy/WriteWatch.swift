// Whether a client takes its answer: bytes in each window of time, as long as it is waited for (ProgressMeter), and, when
// the socket stays full, whether the client confirms any of what lies in it.

import Platform

struct WriteWatch {
  private var meter = ProgressMeter()
  /// Bytes of the answer that had been sent when the meter was last told.
  private var metered: UInt64 = 0
  /// Bytes the client had not confirmed at the last look, and how many looks in a row have found as many;
  /// `Int.max` before the first.
  private var unconfirmed = Int.max
  private var standstills = 0

  /// Bytes are counted from 0 again.
  mutating func answerBegins() { metered = 0 }

  /// The socket is full: from now on it is looked at what the client confirms.
  mutating func begin() {
    unconfirmed = .max
    standstills = 0
  }

  /// It is not the client that is waited for.
  mutating func stop() { meter.stop() }

  /// Whether the client, which is waited for, takes more than a trickle.
  /// - Parameter sent: bytes of the answer that the socket took.
  mutating func isEnough(_ sent: UInt64, _ now: Instant, _ rule: ProgressRule) -> Bool {
    let count = Int(clamping: sent &- min(metered, sent))
    metered = sent
    defer { meter.begin(now) }
    return meter.moved(count, now, rule)
  }

  /// Looks, for the second or a later time, at a socket that has been full ever since.
  /// - Parameter count: bytes not confirmed; nil if the kernel does not say.
  /// - Returns: whether the client has confirmed nothing for two looks.
  mutating func standsStill(_ count: Int?) -> Bool {
    let count = count ?? unconfirmed
    standstills = count < unconfirmed ? 0 : standstills + 1
    unconfirmed = count
    return standstills >= 2
  }
}
