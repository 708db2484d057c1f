// The closed lists of label values.
//
// A label is an enum with small consecutive raw values, so that the cell of a labelled
// metric is found by arithmetic alone and the number of time series is known when the
// program starts: nothing a client sends can add one.

/// The values of one label, in the order of their cells.
public protocol MetricLabel: CaseIterable, RawRepresentable, Sendable where RawValue == UInt8 {
  /// The label's name in the exposition format.
  static var labelName: String { get }
  /// How many values there are; raw values run from 0 to `valueCount - 1`.
  static var valueCount: Int { get }
  /// The value as it is printed.
  var labelValue: String { get }
}

/// What kind of request it was (RFC 9110 §9).
@frozen public enum MethodClass: UInt8, MetricLabel {
  /// GET and HEAD are the methods the cache answers.
  case get
  case head
  case connect
  /// POST, PUT, PATCH and DELETE: they change something and spoil what is stored.
  case write
  /// Everything else, OPTIONS and unknown methods included.
  case other

  public static var labelName: String { "method" }
  @inlinable public static var valueCount: Int { 5 }
  public var labelValue: String { "\(self)" }
}

/// What the cache had to do with a request. Each request ends in exactly one.
@frozen public enum CacheVerdict: UInt8, MetricLabel {
  /// Answered from the store, fresh.
  case hit
  /// Answered from the store although stale, as a directive or the configuration allows.
  case stale
  /// The origin confirmed the stored response with 304.
  case validated
  /// Read along with a fetch that another request had started.
  case collapsed
  /// Fetched from the origin, and stored where that is allowed.
  case miss
  /// The cache stood aside: the method, or a directive, keeps the request away from it.
  case bypass
  /// A CONNECT tunnel or an upgraded connection: bytes that are not looked into.
  case tunnel
  /// Turned away before anything was fetched: not allowed, malformed or too large.
  case refused
  /// No answer could be had: the origin failed, or the client left too early.
  case error

  public static var labelName: String { "cache" }
  @inlinable public static var valueCount: Int { 9 }
  public var labelValue: String { "\(self)" }
}

/// The first digit of a status code (RFC 9110 §15).
@frozen public enum StatusClass: UInt8, MetricLabel {
  case informational
  case successful
  case redirection
  case clientError
  case serverError

  /// The class of `status`; codes outside 100...599 count as server errors, as RFC 9110 §15 asks.
  @inlinable public init(status: UInt16) {
    switch status {
    case 100..<200: self = .informational
    case 200..<300: self = .successful
    case 300..<400: self = .redirection
    case 400..<500: self = .clientError
    default: self = .serverError
    }
  }

  public static var labelName: String { "class" }
  @inlinable public static var valueCount: Int { 5 }
  public var labelValue: String { "\(rawValue + 1)xx" }
}

/// Which side of the proxy: `downstream` faces clients, `upstream` faces origins.
@frozen public enum Side: UInt8, MetricLabel {
  case downstream
  case upstream

  public static var labelName: String { "side" }
  @inlinable public static var valueCount: Int { 2 }
  public var labelValue: String { "\(self)" }
}

/// Why a client's connection was turned away at the door.
@frozen public enum ConnectionRefusal: UInt8, MetricLabel {
  /// The address is not in `clients`.
  case client
  /// `limits.connections` is reached.
  case limit
  /// The instance is draining before it stops.
  case draining
  /// The PROXY protocol header was missing, malformed or late.
  case preamble
  /// `limits.connections-per-client` is reached.
  case clientLimit
  /// The kernel has no memory or no descriptor for it.
  case resources

  public static var labelName: String { "reason" }
  @inlinable public static var valueCount: Int { 6 }
  public var labelValue: String { self == .clientLimit ? "client_limit" : "\(self)" }
}

/// What became of a TLS handshake with a client.
@frozen public enum HandshakeOutcome: UInt8, MetricLabel {
  case succeeded
  /// Broken off by either side.
  case failed
  /// The client does not trust the certificate, or the authority behind it.
  case rejected
  /// The client spoke HTTP in clear.
  case plainHTTP
  /// Not complete within `limits.header-timeout`.
  case timedOut

  public static var labelName: String { "outcome" }
  @inlinable public static var valueCount: Int { 5 }
  public var labelValue: String {
    switch self {
    case .plainHTTP: "plain_http"
    case .timedOut: "timed_out"
    case .succeeded, .failed, .rejected: "\(self)"
    }
  }
}

/// What became of the question who a client is.
@frozen public enum AuthenticationOutcome: UInt8, MetricLabel {
  /// Name and password were right.
  case passed
  /// They were wrong, or not in a form that is understood.
  case refused
  /// None were shown: for most clients the first request of each connection.
  case missing
  /// Too many others were being checked.
  case busy

  public static var labelName: String { "outcome" }
  @inlinable public static var valueCount: Int { 4 }
  public var labelValue: String { "\(self)" }
}

/// Why no connection to an origin came about.
@frozen public enum ConnectFailure: UInt8, MetricLabel {
  /// The name has no address, or no name server answered.
  case resolution
  /// The origin answered the handshake with a reset.
  case refused
  /// Nothing answered in time.
  case timeout
  /// The network says that there is no way there.
  case unreachable
  /// The address is one that `destinations` does not allow.
  case forbidden
  /// Anything else, such as no free port or descriptor on this side.
  case other
  /// `upstream.max-connections` or `upstream.max-total` was reached, and the line too long or too slow.
  case limit
  /// The TLS handshake failed.
  case tls

  public static var labelName: String { "reason" }
  @inlinable public static var valueCount: Int { 8 }
  public var labelValue: String { "\(self)" }
}

/// How a fill (an answer being written to the store while clients read along) ended.
@frozen public enum FillOutcome: UInt8, MetricLabel {
  /// Complete, verified and stored.
  case finished
  /// The answer was cut short or did not verify; nothing was kept.
  case failed
  /// Given up on purpose: nobody was left to read it.
  case abandoned

  public static var labelName: String { "outcome" }
  @inlinable public static var valueCount: Int { 3 }
  public var labelValue: String { "\(self)" }
}

/// How a connection ends that nobody need know about: by what it was doing, and by whom.
@frozen public enum HealthyEnding: UInt8, MetricLabel {
  /// Kept with nothing asked, and the peer said FIN.
  case idleFinish
  /// The same, and the peer said RST: nobody was owed anything.
  case idleReset
  /// The same, and it was closed here: its time was up, a bound was reached, or the program ends.
  case idleClose
  /// Behind the last answer.
  case answered
  /// A tunnel that both sides have finished.
  case tunnel

  public static var labelName: String { "how" }
  @inlinable public static var valueCount: Int { 5 }
  public var labelValue: String {
    switch self {
    case .idleFinish: "idle_finish"
    case .idleReset: "idle_reset"
    case .idleClose: "idle_close"
    case .answered: "answered"
    case .tunnel: "tunnel"
    }
  }
}

/// Why an answer was passed on without being stored.
@frozen public enum RelayReason: UInt8, MetricLabel {
  /// The request's method or fields rule storing out.
  case request
  /// The response's status or fields rule storing out (RFC 9111 §3).
  case response
  /// The store has no room for it.
  case space
  /// The store could not be written.
  case storeError

  public static var labelName: String { "reason" }
  @inlinable public static var valueCount: Int { 4 }
  public var labelValue: String { self == .storeError ? "store_error" : "\(self)" }
}

/// Which wait was too long. Each has a key in the configuration.
@frozen public enum TimeoutKind: UInt8, MetricLabel {
  /// A client's request head did not arrive (`limits.header-timeout`).
  case requestHead
  /// A client's content stopped arriving (`limits.content-timeout`).
  case requestContent
  /// A client sent no further request (`limits.idle-timeout`).
  case idle
  /// A client stopped reading (`limits.write-timeout`).
  case write
  /// A client sent content, but hardly any (`limits.min-progress`).
  case requestTrickle
  /// A client read, but hardly anything (`limits.min-progress`).
  case writeTrickle
  /// No connection to the origin, or no address for it (`upstream.connect-timeout`).
  case connect
  /// The origin stopped sending, or reading (`upstream.read-timeout`).
  case upstream
  /// The origin sent or read, but hardly anything (`upstream.min-progress`).
  case upstreamTrickle
  /// Nothing moved through a tunnel (`limits.tunnel-timeout`).
  case tunnel
  /// No place at the origin came free (`upstream.queue-timeout`).
  case queue

  public static var labelName: String { "kind" }
  @inlinable public static var valueCount: Int { 11 }
  public var labelValue: String {
    switch self {
    case .requestHead: "request_head"
    case .requestContent: "request_content"
    case .requestTrickle: "request_trickle"
    case .writeTrickle: "write_trickle"
    case .upstreamTrickle: "upstream_trickle"
    default: "\(self)"
    }
  }
}

/// The way bytes take through a tunnel.
@frozen public enum TunnelDirection: UInt8, MetricLabel {
  case toUpstream
  case toDownstream

  public static var labelName: String { "direction" }
  @inlinable public static var valueCount: Int { 2 }
  public var labelValue: String { self == .toUpstream ? "to_upstream" : "to_downstream" }
}

/// What is wrong with the store.
@frozen public enum StoreTroubleKind: UInt8, MetricLabel {
  /// The cap is reached and nothing can be evicted.
  case capReached
  /// The disk has no more left than is kept free for others.
  case keepFreeReached
  /// The disk, its quota or its inodes.
  case diskFull
  case diskReadOnly
  /// Files of the store are gone.
  case missing
  case diskFailed
  /// Answers come faster than the log can be written.
  case logBehind
  /// Something was not what its checksum or name says.
  case damaged

  public static var labelName: String { "trouble" }
  @inlinable public static var valueCount: Int { 8 }
  public var labelValue: String {
    switch self {
    case .capReached: "cap_reached"
    case .keepFreeReached: "keep_free_reached"
    case .diskFull: "disk_full"
    case .diskReadOnly: "disk_read_only"
    case .missing: "missing"
    case .diskFailed: "disk_failed"
    case .logBehind: "log_behind"
    case .damaged: "damaged"
    }
  }
}

/// Whether something that can go two ways went well.
@frozen public enum Outcome: UInt8, MetricLabel {
  case succeeded
  case failed

  public static var labelName: String { "outcome" }
  @inlinable public static var valueCount: Int { 2 }
  public var labelValue: String { "\(self)" }
}
