import Platform
import Testing

@testable import Proxy

@Suite struct ProgressMeterTests {
  private let rule = ProgressRule(window: .seconds(60), minimum: 1024)

  private func at(_ seconds: Int64) -> Instant {
    Instant(nanoseconds: 5_000_000_000 + seconds * 1_000_000_000)
  }

  struct Peer: Sendable, CustomTestStringConvertible {
    var testDescription: String
    /// Bytes per step, and seconds between steps.
    var bytes: Int
    var pause: Int64
    /// When it is found out, if ever.
    var ends: Int64?
  }

  @Test(
    "who trickles is found out within two windows, who is only slow is not",
    arguments: [
      Peer(testDescription: "a byte every 20 s", bytes: 1, pause: 20, ends: 60),
      Peer(testDescription: "a byte every 59 s", bytes: 1, pause: 59, ends: 118),
      Peer(testDescription: "a burst just below the demand", bytes: 1023, pause: 60, ends: 60),
      Peer(testDescription: "a burst just at the demand", bytes: 1024, pause: 60, ends: nil),
      Peer(testDescription: "2 KiB/s, as an old telephone", bytes: 2048, pause: 1, ends: nil),
      Peer(testDescription: "18 bytes a second", bytes: 18, pause: 1, ends: nil),
      Peer(testDescription: "17 bytes a second", bytes: 17, pause: 1, ends: 60),
    ])
  func peers(_ peer: Peer) {
    var meter = ProgressMeter()
    meter.begin(at(0))
    var ends: Int64?
    var time: Int64 = 0
    while ends == nil, time < 3600 {
      time += peer.pause
      if !meter.moved(peer.bytes, at(time), rule) { ends = time }
    }
    #expect(ends == peer.ends)
  }

  @Test("time in which this side is not willing does not count")
  func stopped() {
    var meter = ProgressMeter()
    meter.begin(at(0))
    var answers = [meter.moved(1, at(59), rule)]
    meter.stop()
    // Nothing is measured: whatever arrives was asked for before.
    answers.append(meter.moved(1, at(500), rule))
    meter.begin(at(1000))
    meter.begin(at(1030))
    answers.append(meter.moved(1, at(1059), rule))
    answers.append(meter.moved(1, at(1060), rule))
    #expect(answers == [true, true, true, false])
  }

  @Test("without a demand everybody is content")
  func noDemand() {
    let none = ProgressRule(window: .seconds(1), minimum: 0)
    var meter = ProgressMeter()
    meter.begin(at(0))
    let isEnough = meter.moved(0, at(1000), none)
    #expect(isEnough)
  }
}
