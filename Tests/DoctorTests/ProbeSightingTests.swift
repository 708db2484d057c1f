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
  func lines() {
    let sighting = server(exact: 1, other: 2, answers: 3, dead: true)
    #expect(ServerSighting(sighting.line.split(separator: " ")) == sighting)
    #expect(ServerSighting("exact-resets=x".split(separator: " ")) == nil)
    #expect(ServerSighting("rubbish".split(separator: " ")) == nil)
    #expect(ServerSighting("".split(separator: " ")) == nil)
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
