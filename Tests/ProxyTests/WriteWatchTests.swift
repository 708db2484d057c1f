// Whether a client takes its answer, with numbers in place of a socket.

import Platform
import Testing

@testable import Proxy

@Suite struct WriteWatchTests {
  private let rule = ProgressRule(window: .seconds(1), minimum: 1000)

  private func at(_ milliseconds: Int64) -> Instant {
    Instant(nanoseconds: 1_000_000_000_000 + milliseconds * 1_000_000)
  }

  @Test("only a client that confirms nothing for two looks in a row stands still")
  func standstill() {
    var watch = WriteWatch()
    watch.begin()
    let looks = [5000, 5000, 4999, 4999, 4999].map { watch.standsStill($0) }
    #expect(looks == [false, false, false, false, true])
    // Where the kernel does not say, time alone counts.
    watch.begin()
    let blind = (0..<2).map { _ in watch.standsStill(nil) }
    #expect(blind == [false, true])
    watch.begin()
    let again = watch.standsStill(4999)
    #expect(!again)
  }

  @Test("bytes are measured while the client is waited for, and not otherwise")
  func progress() {
    var watch = WriteWatch()
    let waited = [(100, 0), (1100, 1000), (1101, 2000)].map {
      watch.isEnough(UInt64($0.0), at($0.1), rule)
    }
    #expect(waited == [true, true, false])
    watch.stop()
    let stopped = watch.isEnough(1102, at(5000), rule)
    #expect(stopped)
    // The next answer's bytes are counted from 0.
    watch.answerBegins()
    let next = [(1000, 6000), (1001, 7000)].map { watch.isEnough(UInt64($0.0), at($0.1), rule) }
    #expect(next == [true, false])
  }
}
