// Two deadlines on one timer.

import Platform
import Testing

@testable import Proxy

@Suite struct AnswerDeadlinesTests {
  private func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

  @Test("the nearer one is what is waited for, and each is told once")
  func nearest() {
    var deadlines = AnswerDeadlines()
    #expect(deadlines.next == nil && !deadlines.hasContent)
    deadlines.content = at(60)
    deadlines.write = at(30)
    #expect(deadlines.next == at(30) && deadlines.hasContent)
    let early = deadlines.takeContent(at(30))
    let write = [30, 31].map { deadlines.takeWrite(at($0)) }
    #expect(!early && write == [true, false])
    #expect(deadlines.next == at(60))
    let content = deadlines.takeContent(at(61))
    #expect(content && deadlines.next == nil)
  }
}
