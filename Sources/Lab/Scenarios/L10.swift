// The bug that all this began with, as the client of a Service sees it: a segment of the origin that conntrack calls INVALID
// crosses the node untranslated, and our own kernel resets the origin. Ours sees a stall and no error.

import Forensics
import Telemetry

extension Scenario {
  static let l10 = untranslated(
    "L10", "an INVALID segment of the origin is not translated back", .behindService)

  static let l10v6 = untranslated(
    "L10v6", "the same over IPv6",
    {
      var topology = Topology.behindService
      topology.asksOverV6 = true
      return topology
    }())

  static let l10nft = untranslated(
    "L10nft", "the same with a Service made of nftables",
    {
      var topology = Topology.behindService
      topology.services[0].kind = .nftables
      return topology
    }())

  /// What must be recorded when an answer reaches us untranslated.
  static let strayed = Expectation(.undnatHere, .content, .timeout)
    .by(.timeout, at: .sockets).by(.reset, at: .packets)
    .judged(.sockets, .originStalled, atMost: 79)
    .judged(.packets, atLeast: 95)
    .having("resume.outcome", "resumed")
    .having("origin.real.port", "\(Topology.originPort)", from: .packets)

  /// Without packets only a limit of ours ends the silence.
  static let impatient: ProxyOptions = {
    var options = ProxyOptions()
    options.readTimeout = "2s"
    return options
  }()

  private static func untranslated(_ name: String, _ title: String, _ topology: Topology)
    -> Scenario
  {
    Scenario(
      name, title, on: topology, fixes: Set(Fix.allCases), options: impatient,
      expected: { fix in fix == .none ? [strayed.having("content.received", "50000")] : [] }
    ) { stage in
      let listener = try stage.originListens()
      stage.step("a client asks for 200 kB, and has 50 kB")
      let client = try stage.get("/l10")
      let first = try listener.accept()
      _ = try first.readRequest()
      try first.answerHead(200_000)
      try first.sendContent(0..<50_000)
      try client.readHead()
      stage.check("50 kB arrive", try client.readContent(0..<50_000))
      let counter = try stage.holdfast.counters()["OutRsts"] ?? 0
      try stage.fault("the origin sends a segment far beyond the window, with the right ack") {
        try stage.injectBeyondWindow(first)
      }
      if stage.fix == .none {
        stage.check(
          "our kernel resets the origin", try first.ending().reset == .connectionReset)
        stage.check("it counts the reset", try stage.holdfast.counters()["OutRsts"] ?? 0 > counter)
        let second = try listener.accept()
        let offset = try second.readRequest()
        stage.step("Holdfast asks for the rest, from byte \(offset)")
        try second.answerHead(200_000, from: offset)
        try second.sendContent(offset..<200_000)
      } else {
        stage.step("with \(stage.fix.rawValue) nothing breaks, and the origin sends the rest")
        try first.sendContent(50_000..<200_000)
      }
      stage.check(
        "the client has all bytes, and they are right", try client.readContent(50_000..<200_000))
    }
  }
}
