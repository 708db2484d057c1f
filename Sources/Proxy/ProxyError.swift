// Every answer the proxy makes by itself because something went wrong: the RFC 9209 error type that names
// it in `Proxy-Status`, the status code, and the sentence a person reads. Whatever fails between a client's
// request and an origin's answer ends as one of these, and the constructors below are the list of them.

import ContentCoding
import Forensics
import HTTP
import IO
import Platform
import TLS
import Telemetry

struct ProxyError: Error, Sendable {
  let type: ProxyStatus.ErrorType
  /// What to answer while no byte of another answer is out.
  let status: Status
  /// One plain sentence: what happened, to what, and where possible what to do.
  var detail: String
  /// What the client is told to show, with 407 and 401.
  var challenge: Challenge? = nil
  /// What it was on the wire, where a connection or an attempt at one ended.
  var fault: Fault? = nil
  /// What the record of that ending is called.
  private(set) var record: RecordID? = nil
  /// With whom the connection was.
  var peer: SocketAddress? = nil

  /// The same, with what it was on the wire.
  func met(_ fault: Fault?) -> ProxyError {
    var error = self
    error.fault = fault
    return error
  }

  /// The same, with the record's name in the sentence, for who looks at it afterwards.
  func recorded(as id: RecordID) -> ProxyError {
    var error = self
    error.record = id
    error.detail += " (record \(id))"
    return error
  }

  init(_ type: ProxyStatus.ErrorType, _ detail: String, status: Status? = nil) {
    self.type = type
    self.detail = detail
    self.status = status ?? type.recommendedStatus
  }

  // MARK: Requests

  /// A request that is not proper HTTP.
  init(_ refusal: Refusal) {
    self.init(.requestError, refusal.sentence, status: refusal.status)
  }

  static func headTimedOut(_ limit: Duration) -> ProxyError {
    ProxyError(
      .requestError, "the head of the request was not complete within \(limit.inWords)",
      status: .requestTimeout)
  }

  static func contentTimedOut(_ limit: Duration) -> ProxyError {
    ProxyError(
      .requestError, "the content of the request stopped coming for \(limit.inWords)",
      status: .requestTimeout)
  }

  static func contentTrickled(_ rule: ProgressRule) -> ProxyError {
    ProxyError(
      .requestError,
      "less than \(rule.minimum) bytes of the request's content came within \(rule.window.inWords)"
        + " (`limits.min-progress`)", status: .requestTimeout)
  }

  static func contentTooLarge(_ limit: UInt64) -> ProxyError {
    ProxyError(
      .requestError,
      "the content of the request is larger than \(limit) bytes (`limits.content`)",
      status: .contentTooLarge)
  }

  static func notAllowedClient(_ client: SocketAddress) -> ProxyError {
    ProxyError(
      .requestDenied, "\(client.ip) is not among `clients` in the configuration", status: .forbidden
    )
  }

  static func unauthenticated(_ challenge: Challenge, isWrong: Bool) -> ProxyError {
    let isProxy = if case .proxy = challenge { true } else { false }
    var error = ProxyError(
      .requestDenied,
      isWrong
        ? "name or password are wrong"
        : "this proxy asks for a name and a password\(isProxy ? " (Proxy-Authorization)" : "")",
      status: isProxy ? Status(407) : Status(401))
    error.challenge = challenge
    return error
  }

  static let authenticatorBusy = ProxyError(
    .proxyInternalError, "too many passwords are being checked; try again in a moment",
    status: .serviceUnavailable)

  /// - Parameter isBudget: the system's limit is lower than the configuration's.
  static func tooManyConnections(_ limit: Int, isBudget: Bool) -> ProxyError {
    let reason =
      isBudget
      ? "as many as the proxy's file descriptors allow, a tunnel being two: raise its `ulimit -n`"
      : "`limits.connections`"
    return ProxyError(
      .connectionLimitReached, "there are \(limit) connections already (\(reason))",
      status: .serviceUnavailable)
  }

  static func tooManyConnectionsOfClient(_ client: IPAddress, _ limit: Int) -> ProxyError {
    ProxyError(
      .connectionLimitReached,
      "\(ClientCounts.network(of: client)) has \(limit) connections already"
        + " (`limits.connections-per-client`)", status: .tooManyRequests)
  }

  static var outOfDescriptors: ProxyError {
    ProxyError(
      .proxyInternalError, "the proxy has no file descriptor left (raise its `ulimit -n`)",
      status: .serviceUnavailable)
  }

  static func deniedHost(_ host: String) -> ProxyError {
    ProxyError(
      .requestDenied, "\(host) may not be reached: see `destinations` in the configuration",
      status: .forbidden)
  }

  static func deniedTunnel(_ port: UInt16) -> ProxyError {
    ProxyError(
      .requestDenied,
      "CONNECT to port \(port) is refused: add it to `destinations.connect-ports` if it is meant",
      status: .forbidden)
  }

  static let unknownExpectation = ProxyError(
    .requestError, "the request expects something this proxy does not know (Expect)",
    status: .expectationFailed)

  static let noTunnelHere = ProxyError(
    .requestDenied, "this listener serves one origin only and opens no tunnels",
    status: .methodNotAllowed)

  static let plainHTTPOnTLS = ProxyError(
    .requestError,
    "plain HTTP was sent to a port that speaks TLS: write https:// in front of this proxy's address"
  )

  static func misdirected(_ authority: Authority) -> ProxyError {
    ProxyError(
      .requestError,
      "this connection is a tunnel to \(authority), and only that host can be asked through it",
      status: Status(421))
  }

  static let loop = ProxyError(
    .proxyLoopDetected, "the request has passed this proxy before: its Via field names it")

  static let malformedMaxForwards = ProxyError(
    .requestError, "Max-Forwards is not one plain decimal number")

  static let traceNotForwarded = ProxyError(
    .requestDenied,
    "TRACE is not passed on, because it has an origin repeat what should stay secret; with"
      + " Max-Forwards: 0 it shows what reaches this proxy",
    status: .methodNotAllowed)

  static func leadsHere(_ host: String, _ port: UInt16) -> ProxyError {
    ProxyError(
      .proxyLoopDetected,
      "\(host) port \(port) is where this proxy itself listens; ask for the origin's own address")
  }

  static let nothingStored = ProxyError(
    .proxyInternalResponse,
    "nothing stored answers this request, and it asks for stored answers only (only-if-cached)",
    status: .gatewayTimeout)

  static let offline = ProxyError(
    .destinationUnavailable,
    "nothing stored answers this request, and the proxy is set offline: set `offline: false` in the"
      + " configuration and send SIGHUP to let it reach the network",
    status: .gatewayTimeout)

  /// Whether the origin is to blame, or the way to it: then a stale answer may stand in (RFC 9111 §4.2.4).
  /// What this proxy refuses is refused whatever is stored.
  var isOutage: Bool {
    switch type {
    case .requestError, .requestDenied, .destinationIPProhibited, .destinationNotFound,
      .proxyLoopDetected, .proxyConfigurationError, .proxyInternalResponse:
      false
    default: true
    }
  }

  /// Whether the same might go well if somebody else asked for it: it was refused for who asked, or by what way, or the
  /// origin ended the connection over what it was sent. What happens on the way to the origin happens to everybody, and what
  /// takes its time would take it again.
  var mayBeRequestsOwn: Bool {
    switch type {
    case .dnsTimeout, .dnsError, .destinationUnavailable, .destinationIPUnroutable,
      .connectionRefused, .connectionTimeout, .connectionReadTimeout, .connectionWriteTimeout,
      .connectionLimitReached, .tlsProtocolError, .tlsCertificateError, .tlsAlertReceived,
      .responseTimeout, .proxyInternalError:
      false
    default: true
    }
  }

  // MARK: Reaching the origin

  static func resolving(_ host: String, _ failure: Resolver.Failure) -> ProxyError {
    let type: ProxyStatus.ErrorType = failure == .timedOut ? .dnsTimeout : .dnsError
    let isOurs = failure == .overloaded || failure == .stopped
    return ProxyError(
      type, "\(host): \(failure.message)", status: isOurs ? .serviceUnavailable : nil)
  }

  static func queueFull(_ authority: String, _ limit: Int) -> ProxyError {
    ProxyError(
      .connectionLimitReached,
      "\(limit) requests wait for \(authority) already (`upstream.max-waiting`)")
  }

  static func queueTimedOut(_ authority: String, _ limit: Duration) -> ProxyError {
    ProxyError(
      .connectionLimitReached,
      "no connection for \(authority) came free within \(limit.inWords); raise"
        + " `upstream.max-connections`, `upstream.max-total` or `upstream.queue-timeout`")
  }

  /// - Parameter addresses: of the host; nil if its name alone tells.
  static func prohibited(_ host: String, _ addresses: [IPAddress]?) -> ProxyError {
    let first = addresses.map { $0.first.map { "\($0)" } ?? "no address" } ?? "this machine"
    return ProxyError(
      .destinationIPProhibited,
      "\(host) is at \(first), which is not a public address; add its network to"
        + " `destinations.private` if it is meant",
      status: .forbidden)
  }

  static func connecting(_ authority: String, _ attempts: [ConnectionRace.Attempt]) -> ProxyError {
    // Nothing the origin can be blamed for.
    for case .failed(let errno) in attempts.map(\.outcome) where errno.isOutOfDescriptors {
      return .outOfDescriptors
    }
    let tried = attempts.compactMap { attempt -> String? in
      switch attempt.outcome {
      case .failed(let errno): "\(attempt.address): \(errno.message)"
      case .underWay, .abandoned: "\(attempt.address): no answer"
      case .notTried, .connected: nil
      }
    }
    let type: ProxyStatus.ErrorType =
      switch ConnectFailure(attempts) {
      case .refused: .connectionRefused
      case .timeout: .connectionTimeout
      case .unreachable: .destinationIPUnroutable
      case .resolution, .forbidden, .limit, .tls, .other: .destinationUnavailable
      }
    return ProxyError(type, "no connection to \(authority) (\(tried.joined(separator: "; ")))")
      .met(Fault(attempts))
  }

  // MARK: The origin's answer

  static func malformed(_ authority: String, _ refusal: Refusal) -> ProxyError {
    ProxyError(
      .init(refusal.reason),
      "\(authority) did not answer in proper HTTP: \(refusal.reason.sentence)"
    ).met(Fault(.malformed, own: .malformed))
  }

  static func unasked(_ authority: String, _ what: String) -> ProxyError {
    ProxyError(.protocolError, "\(authority) \(what)").met(Fault(.malformed, own: .malformed))
  }

  static func endedBeforeHead(
    _ authority: String, _ errno: Errno?, _ failure: TLSFailure? = nil
  ) -> ProxyError {
    if let failure { return .brokenTLS(authority, failure, isInContent: false) }
    return ProxyError(
      .connectionTerminated,
      errno.map { "the connection to \(authority) broke before an answer came: \($0)" }
        ?? "\(authority) closed the connection without an answer"
    ).met(Fault(errno))
  }

  static func endedInContent(
    _ authority: String, _ errno: Errno?, _ failure: TLSFailure? = nil
  ) -> ProxyError {
    if let failure { return .brokenTLS(authority, failure, isInContent: true) }
    return ProxyError(
      .responseIncomplete,
      errno.map { "the connection to \(authority) broke in the middle of the content: \($0)" }
        ?? "\(authority) closed the connection in the middle of the content"
    ).met(Fault(errno))
  }

  /// Our own kernel has reset the origin, because an answer of its came by another address than it was asked by.
  static func strayReset(_ authority: String, isInContent: Bool) -> ProxyError {
    ProxyError(
      isInContent ? .responseIncomplete : .connectionTerminated,
      "what \(authority) sent reached this machine untranslated, and its kernel reset the sender: \(isInContent ? "the rest of the content" : "no answer") will come"
    ).met(Fault(.reset, inSilence: true))
  }

  /// What an origin was doing when it fell silent.
  enum Silence {
    /// Nothing of an answer has come.
    case beforeHead
    /// A head has begun, and does not end.
    case inHead
    case inContent
    /// It takes nothing of what is sent to it.
    case notReading
  }

  static func silent(_ authority: String, _ limit: Duration, _ silence: Silence) -> ProxyError {
    let (type, what): (ProxyStatus.ErrorType, String) =
      switch silence {
      case .beforeHead: (.responseTimeout, "did not answer within")
      case .inHead: (.responseTimeout, "did not complete the head of its answer within")
      case .inContent: (.connectionReadTimeout, "stopped sending for")
      case .notReading: (.connectionWriteTimeout, "took nothing of the request for")
      }
    return ProxyError(type, "\(authority) \(what) \(limit.inWords) (`upstream.read-timeout`)")
      .met(Fault(.timeout, own: .deadline))
  }

  /// - Parameter isReading: it was to take content; otherwise, to send some.
  static func trickled(_ authority: String, _ rule: ProgressRule, isReading: Bool) -> ProxyError {
    ProxyError(
      isReading ? .connectionWriteTimeout : .connectionReadTimeout,
      "\(authority) \(isReading ? "took" : "sent") less than \(rule.minimum) bytes within"
        + " \(rule.window.inWords) (`upstream.min-progress`)"
    ).met(Fault(.timeout, own: .progress))
  }

  // MARK: Here

  static func notKept(_ reason: String) -> ProxyError {
    ProxyError(.proxyInternalError, "the answer could not be kept while it came: \(reason)")
  }

  // MARK: Pages of mirrors

  static func pageTooLarge(_ authority: String, _ limit: Int) -> ProxyError {
    ProxyError(
      .responseBodySize,
      "the page of \(authority) is larger than \(limit >> 20) MiB, too large to have its links"
        + " lead through this mirror; ask for it as a forward proxy")
  }

  static func codedPage(_ authority: String, _ coding: String) -> ProxyError {
    ProxyError(
      .responseContentCoding,
      "\(authority) compressed the page (\(coding)) although it was asked not to, so that its links cannot lead"
        + " through this mirror; ask for it as a forward proxy, or set `ecosystem: none` for the mirror"
    )
  }

  static func damagedPage(
    _ authority: String, _ coding: ContentCoding, _ fault: ContentCoding.Fault
  ) -> ProxyError {
    let what =
      switch fault {
      case .truncated: "that ends in the middle"
      case .noMemory: "for which there is no memory"
      case .corrupt, .tooLarge: "that cannot be read"
      }
    return ProxyError(
      .responseContentCoding,
      "\(authority) sent a page compressed with \(coding) \(what); it was not kept, and the next request"
        + " fetches it again")
  }

  static func pageOfNoPlace(_ authority: String) -> ProxyError {
    ProxyError(
      .protocolError,
      "\(authority) redirects the page to a URL longer than \(FollowedNote.longestPath) bytes, so that its"
        + " relative links cannot lead through this mirror; ask for it as a forward proxy")
  }

  /// Pages that may not be stored, each in memory for its client alone.
  static let pagesBusy = ProxyError(
    .proxyInternalError,
    "too many pages of indexes are being written anew at this moment; try again in a moment",
    status: .serviceUnavailable)

  static let poolBusy = ProxyError(
    .proxyInternalError, "the disk threads have too much to do; try again in a moment",
    status: .serviceUnavailable)

  static func wrongDigest(_ authority: String) -> ProxyError {
    ProxyError(
      .protocolError,
      "the content \(authority) sent is not what its index says it is (SHA-256); it was not kept")
  }

  static let cannotWatch = ProxyError(
    .proxyInternalError,
    "the kernel refuses to watch another connection (memory, or `fs.epoll.max_user_watches`)",
    status: .serviceUnavailable)

  static let abandoned = ProxyError(
    .proxyInternalResponse, "everybody who wanted this answer left before it was complete",
    status: .badGateway)

  static let shuttingDown = ProxyError(
    .proxyInternalError, "the proxy is shutting down", status: .serviceUnavailable)
}

extension Duration {
  /// `30 s`, `0.5 s`, `5 min`: as people say it.
  var inWords: String {
    let milliseconds = wholeNanoseconds / 1_000_000
    if milliseconds >= 120_000, milliseconds % 60_000 == 0 { return "\(milliseconds / 60_000) min" }
    if milliseconds % 1000 == 0 { return "\(milliseconds / 1000) s" }
    return milliseconds < 1000
      ? "\(milliseconds) ms" : "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
  }
}

extension ConnectFailure {
  /// What the attempts came to, by the one that tells.
  init(_ attempts: [ConnectionRace.Attempt]) {
    switch attempts.telling?.errno {
    case .connectionRefused?: self = .refused
    case nil, .timedOut?: self = .timeout
    case .hostUnreachable?, .networkUnreachable?, .networkDown?: self = .unreachable
    default: self = .other
    }
  }
}

extension ProxyStatus.ErrorType {
  /// What RFC 9209 calls it when a response is refused for this reason.
  init(_ reason: Refusal.Reason) {
    switch reason {
    case .headTooLarge, .tooManyFields: self = .responseHeaderSectionSize
    case .fieldNameTooLong: self = .responseHeaderSize
    case .trailersTooLarge: self = .responseTrailerSectionSize
    case .unknownTransferCoding, .malformedChunkSize, .chunkTooLarge, .malformedChunkExtension,
      .chunkExtensionsTooLong, .missingChunkEnd:
      self = .responseTransferCoding
    default: self = .protocolError
    }
  }
}
