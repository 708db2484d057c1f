// What a client is waited for while its request is being answered: that it takes the answer, and that it sends the
// rest of its request. Both may be waited for at a time, and a connection has one timer, which is set to the nearer.

import Platform

struct AnswerDeadlines {
  /// When more of the request's content has to have come; `distantFuture` while none is wanted.
  var content = Instant.distantFuture
  /// When it is looked at whether the client takes anything; `distantFuture` while the socket does not hold us up.
  var write = Instant.distantFuture

  /// What the timer is set to, if to anything.
  var next: Instant? {
    let next = min(content, write)
    return next == .distantFuture ? nil : next
  }

  var hasContent: Bool { content != .distantFuture }

  /// Whether the time for content is over. It is told once.
  mutating func takeContent(_ now: Instant) -> Bool { Self.take(&content, now) }

  /// Whether it is time to look at what the client takes. It is told once.
  mutating func takeWrite(_ now: Instant) -> Bool { Self.take(&write, now) }

  private static func take(_ deadline: inout Instant, _ now: Instant) -> Bool {
    guard deadline <= now else { return false }
    deadline = .distantFuture
    return true
  }
}
