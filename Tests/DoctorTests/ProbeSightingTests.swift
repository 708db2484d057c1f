// What follows from what both sides of a probe saw.

import Platform
import Testing

@testable import Probe

@Suite("Probe: verdicts") struct ProbeSightingTests {
  private func server(exact: Int = 0, other: Int = 0, answers: Int = 0, dead: Bool = false)
    -> ServerSighting
  {
    var sighting = ServerSighting()
    sighting.exactResets = exact
    sighting.otherResets = other
    sighting.answers = answers
    sighting.socketIsDead = dead
    return sighting
  }

  @Test("what the server saw survives its line")
  func lines() throws {
    let sighting = server(exact: 1, other: 2, answers: 3, dead: true)
    #expect(try ServerSighting(reading: sighting.line.split(separator: " ")) == sighting)
  }

  @Test(
    "of what a stranger says in its place only counts that there can be are taken",
    arguments: [
      "", "rubbish", "exact-resets=x",
      "exact-resets=9223372036854775807 other-resets=1 answers=0 socket=alive clock=same",
      "exact-resets=99999999999999999999 other-resets=1 answers=0 socket=alive clock=same",
      "exact-resets=-1 other-resets=0 answers=0 socket=alive clock=same",
      "exact-resets=0 other-resets=+1 answers=0 socket=alive clock=same",
      "exact-resets=0 other-resets=0 answers= socket=alive clock=same",
      "exact-resets=0 other-resets=0 answers=0 socket=\u{1B}[31m clock=same",
      "exact-resets=0 other-resets=0 answers=0 socket=alive",
      "exact-resets=0 other-resets=0 answers=0 socket=alive clock=noon",
    ])
  func strangersLines(line: String) {
    #expect {
      try ServerSighting(reading: line.split(separator: " "))
    } throws: {
      let words = "\($0)"
      return words.contains("no probe server") && !words.contains("\u{1B}")
    }
  }

  @Test("a clock is the same if it shows what was said, or a little later, also around its end")
  func clocks() {
    #expect(ProbeClock(said: 5000, seen: 5000) == .same)
    #expect(ProbeClock(said: 5000, seen: 5300) == .same)
    #expect(ProbeClock(said: .max - 10, seen: 5) == .same)
    #expect(ProbeClock(said: 5000, seen: 4990) == .same)
    #expect(ProbeClock(said: 50_000, seen: 20_000) == .other)
    #expect(ProbeClock(said: 5000, seen: 2_000_000_000) == .other)
    #expect(ProbeClock(said: nil, seen: 5) == .other)
    #expect(ProbeClock(said: 5, seen: nil) == .other)
    #expect(ProbeClock(said: nil, seen: nil) == .unknown)
  }

  @Test("what a stranger sends is printed without anything that moves a cursor or hides words")
  func printable() {
    #expect("a\u{1B}[31m\u{9B}2J\u{202E}é\n".printable == "a?[31m?2J???")
    #expect(String(repeating: "x", count: 5000).printable.count == 200)
  }

  @Test(
    "a Service is a name or an address and a port",
    arguments: [
      ("registry.example.org:80", true), ("10.2.0.2:80", true), ("[fd00::a]:80", true),
      ("foo", false), ("10.2.0.2:99999", false), ("10.2.0.2:0", false), ("fd00::a:80", false),
      (":80", false), ("foo:", false), ("foo:http", false), ("", false),
    ])
  func services(text: String, isMeant: Bool) {
    #expect(ProbeClient.isMeant(text) == isMeant)
  }

  @Test("a connection that dies is exposed, one that lives while resets come has strays")
  func verdicts() {
    func verdict(
      _ kind: ProbeKind, _ client: ClientSighting?, _ server: ServerSighting?, strays: Int? = nil,
      failure: String? = nil
    ) -> ProbeVerdict {
      var result = ProbeResult(kind)
      result.client = client
      result.server = server
      result.strays = strays
      result.failure = failure
      #expect(!result.words.isEmpty)
      return result.verdict
    }
    #expect(verdict(.aboveWindow, .stalled, server(exact: 1, dead: true)) == .exposed)
    #expect(verdict(.aboveWindow, .reset, nil) == .exposed)
    #expect(verdict(.acknowledgementBeyond, .lived, server(other: 3)) == .strayed)
    #expect(verdict(.acknowledgementBeyond, .lived, server(), strays: 1) == .strayed)
    #expect(verdict(.aboveWindow, .lived, server(answers: 3), strays: 0) == .safe)
    #expect(verdict(.aboveWindow, .lived, nil) == .unknown)
    #expect(verdict(.aboveWindow, nil, nil, failure: "no") == .unknown)
    // If what nothing was done to dies, the rest tells nothing.
    #expect(verdict(.control, .reset, nil) == .unknown)
  }

  @Test("where the connection that was left alone dies as well, nobody is blamed")
  func distrust() throws {
    func report(_ control: ClientSighting) throws -> ProbeReport {
      var report = ProbeReport(target: try #require(SocketAddress("10.96.0.10:80")))
      report.results = [ProbeResult(.control), ProbeResult(.aboveWindow), ProbeResult(.noFlags)]
      report.results[0].client = control
      report.results[0].server = server()
      report.results[1].client = .stalled
      report.results[1].server = server(exact: 1, dead: true)
      // A server that has been ended closes everything.
      report.results[2].client = .ended
      report.distrust()
      return report
    }
    #expect(try report(.lived).verdict == .exposed)
    #expect(try report(.lived).results[2].verdict == .unknown)
    for sight in [ClientSighting.reset, .ended, .stalled, .silent] {
      #expect(try report(sight).verdict == .unknown)
    }
  }

  @Test("segments are read with and without an IP header, and short ones are not")
  func segments() throws {
    let tcp: [UInt8] =
      [0x1F, 0x90, 0xC3, 0x50, 0, 0, 1, 0, 0, 0, 2, 0, 0x50, 0x14, 0, 0, 0, 0, 0, 0] + [1, 2, 3]
    let bare = try #require(SeenSegment(tcp[...], isV4: false))
    #expect(bare.sourcePort == 8080)
    #expect(bare.destinationPort == 50000)
    #expect((bare.sequence, bare.acknowledgement) == (256, 512))
    #expect(bare.isReset && !bare.isSynchronising)
    #expect(bare.contentLength == 3)
    #expect(bare.timestamp == nil)
    // Two fillings, and a clock that shows 256.
    var timed = tcp.prefix(20) + [1, 1, 8, 10, 0, 0, 1, 0, 0, 0, 0, 0, 9]
    timed[12] = 0x80
    #expect(SeenSegment(timed[...], isV4: false)?.timestamp == 256)
    #expect(SeenSegment(timed[...], isV4: false)?.contentLength == 1)
    for length in 20..<32 {
      #expect(SeenSegment(timed.prefix(length), isV4: false)?.timestamp == nil)
    }
    // Options that say that they are longer than all, or shorter than themselves.
    for length in [UInt8(0), 1, 200] {
      timed[21] = 5
      timed[22] = length
      #expect(SeenSegment(timed[...], isV4: false)?.timestamp == nil)
    }
    let ip = [UInt8(0x46)] + [UInt8](repeating: 0, count: 23)
    #expect(SeenSegment((ip + tcp)[...], isV4: true) == bare)
    for length in 0..<20 {
      #expect(SeenSegment(tcp.prefix(length), isV4: false) == nil)
      #expect(SeenSegment((ip + tcp.prefix(length))[...], isV4: true) == nil)
    }
  }

  @Test("names of kinds are told apart") func words() {
    #expect(Set(ProbeKind.allCases.map(\.words)).count == ProbeKind.allCases.count)
  }
}
