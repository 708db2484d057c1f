// What each side of a probe saw, how it is written in a line, and what follows from it.

package struct ServerSighting: Sendable, Equatable {
  /// Resets that came for the connection: at exactly its place, and beside it.
  package var exactResets = 0
  package var otherResets = 0
  /// Segments of the client's that answer the injected ones: they have arrived, and been translated.
  package var answers = 0
  package var socketIsDead = false

  package init() {}

  var line: String {
    "exact-resets=\(exactResets) other-resets=\(otherResets) answers=\(answers) socket=\(socketIsDead ? "dead" : "alive")"
  }

  init?(_ words: some Sequence<Substring>) {
    var values: [Substring: Substring] = [:]
    for word in words {
      let pair = word.split(separator: "=", maxSplits: 1)
      guard pair.count == 2 else { return nil }
      values[pair[0]] = pair[1]
    }
    guard let exact = values["exact-resets"].flatMap({ Int($0) }),
      let other = values["other-resets"].flatMap({ Int($0) }),
      let answers = values["answers"].flatMap({ Int($0) }), let socket = values["socket"]
    else { return nil }
    exactResets = exact
    otherResets = other
    self.answers = answers
    socketIsDead = socket == "dead"
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
  /// Why it could not be tried.
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
