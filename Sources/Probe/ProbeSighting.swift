// What each side of a probe saw, how it is written in a line, and what follows from it.

import Platform

package struct ServerSighting: Sendable, Equatable {
  /// Resets that came for the connection: at exactly its place, and beside it.
  package var exactResets = 0
  package var otherResets = 0
  /// Segments of the client's that answer the injected ones: they have arrived, and been translated.
  package var answers = 0
  package var socketIsDead = false
  package var clock = ProbeClock.unknown

  package init() {}

  var line: String {
    "exact-resets=\(exactResets) other-resets=\(otherResets) answers=\(answers) socket=\(socketIsDead ? "dead" : "alive") clock=\(clock.rawValue)"
  }

  /// More than a server ever sees of one connection: it looks at 10,000 segments at a time.
  private static let maximumCount = 1_000_000

  /// Reads the line of a server, who may be anybody.
  init(reading words: some Sequence<Substring>) throws(ProbeError) {
    var values: [Substring: Substring] = [:]
    for word in words {
      let pair = word.split(separator: "=", maxSplits: 1)
      guard pair.count == 2 else { throw .notAnAnswer(String(word)) }
      values[pair[0]] = pair[1]
    }
    func count(_ name: Substring) throws(ProbeError) -> Int {
      guard let text = values[name], text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
        let count = Int(text), count <= Self.maximumCount
      else { throw .notAnAnswer("\(name)=\(values[name] ?? "")") }
      return count
    }
    exactResets = try count("exact-resets")
    otherResets = try count("other-resets")
    answers = try count("answers")
    switch values["socket"] {
    case "dead": socketIsDead = true
    case "alive": socketIsDead = false
    case let other: throw .notAnAnswer("socket=\(other ?? "")")
    }
    guard let clock = values["clock"].flatMap({ ProbeClock(rawValue: String($0)) }) else {
      throw .notAnAnswer("clock=\(values["clock"] ?? "")")
    }
    self.clock = clock
  }
}

/// Whether the connection that the client has is the one that the server has. Each TCP has a clock of its own for every peer,
/// and shows it in each segment (TSval, RFC 7323 §3.2; its offset is random, tcp_timestamps in ip-sysctl.rst). Who only
/// translates leaves that as it is; a proxy in between has a connection, and so a clock, of its own.
package enum ProbeClock: String, Sendable {
  /// The server sees what the client has said of its own.
  case same
  case other
  /// Neither end has one (tcp_timestamps=0).
  case unknown

  /// How far apart what is said and what is seen may be: in milliseconds a quarter of an hour, in microseconds (a choice of
  /// routes in newer kernels) a second. That a stranger's is as near is a chance of one in four thousand.
  private static let tolerance: UInt32 = 1_000_000
  /// Segments may come in another order than they were sent in.
  private static let disorder: UInt32 = 10_000

  init(said: UInt32?, seen: UInt32?) {
    switch (said, seen) {
    case (nil, nil): self = .unknown
    case (let said?, let seen?):
      self = seen &- said &+ Self.disorder <= Self.tolerance ? .same : .other
    default: self = .other
    }
  }
}

package enum ClientSighting: String, Sendable {
  case lived
  /// The kernel told of a reset by itself.
  case reset
  case ended
  /// Nothing more came; a reset did once we spoke.
  case stalled
  /// Nothing more came, whatever we did.
  case silent
}

package enum ProbeVerdict: String, Sendable {
  /// The connection died of it.
  case exposed
  /// It passed untranslated, and the connection lived: the reset that it drew missed.
  case strayed
  case safe
  case unknown
}

package struct ProbeResult: Sendable {
  package var kind: ProbeKind
  package var client: ClientSighting?
  package var server: ServerSighting?
  /// Segments that came from the server's own address; nil where that could not be watched.
  package var strays: Int?
  /// Why it could not be tried, or not on the whole way.
  package var failure: String?

  package init(_ kind: ProbeKind) { self.kind = kind }

  package var verdict: ProbeVerdict {
    guard failure == nil, let client else { return .unknown }
    switch client {
    case .lived: break
    // Nobody whose connection dies says goodbye: the server has gone.
    case .ended: return .unknown
    case .reset, .stalled, .silent: return kind == .control ? .unknown : .exposed
    }
    let resets = (server?.exactResets ?? 0) + (server?.otherResets ?? 0)
    if resets > 0 || strays ?? 0 > 0 { return .strayed }
    return server == nil ? .unknown : .safe
  }

  /// Why what became of it says nothing of the way between client and server; nil where it does.
  func relayed(server real: SocketAddress, seenAs: SocketAddress, from local: SocketAddress)
    -> String?
  {
    let proxy = "a proxy or sidecar in between takes the connection and makes one of its own"
    let rest =
      "so the way to it was not tried: probe without it (sidecar.istio.io/inject: \"false\")"
    // The way to loopback ends on the same machine.
    if real.ip.isLoopback || seenAs.ip.isLoopback, !local.ip.isLoopback {
      return "\(proxy) (seen as \(seenAs) at \(real)), \(rest)"
    }
    switch server?.clock {
    case .same, nil: return nil
    case .other: return "\(proxy) (its clock is not ours), \(rest)"
    case .unknown:
      return
        "there may be a proxy in between, which cannot be told without timestamps: sysctl -w net.ipv4.tcp_timestamps=1 on both ends"
    }
  }

  /// What happened, in a sentence.
  package var words: String {
    if let failure { return failure }
    guard let client else { return "not tried" }
    let reset = (server?.exactResets ?? 0) > 0 || server?.socketIsDead == true
    let seen = strays.map { $0 > 0 ? " (\($0) untranslated segments seen)" : "" } ?? ""
    switch client {
    case .lived where verdict == .strayed:
      return (server?.exactResets ?? 0) + (server?.otherResets ?? 0) > 0
        ? "passed untranslated; the reset that it drew missed, and the connection lived\(seen)"
        : "passed untranslated and drew no reset: it is kept back here\(seen)"
    case .lived where kind == .control: return "the connection lived"
    case .lived:
      return (server?.answers ?? 0) > 0
        ? "arrived translated, and was ignored"
        : "nobody answered it: dropped on the way, or its reset kept back\(seen)"
    case .stalled:
      return
        (reset ? "the server was reset" : "the server fell silent")
        + "; the client knew nothing, waited, and was reset when it spoke\(seen)"
    case .silent:
      return (reset ? "the server was reset" : "the server fell silent")
        + "; the client waits for ever\(seen)"
    case .reset: return "the client was reset\(reset ? ", and the server too" : "")\(seen)"
    case .ended: return "the server closed it without a word: was it ended?\(seen)"
    }
  }
}
