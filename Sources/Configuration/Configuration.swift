// What can be configured, with its defaults: plain values, no YAML.
//
// Each property with a key has a line in Reference.swift, which holds its meaning and its
// bounds. A value of this type that came out of `ConfigurationLoader` has passed all checks.

import Platform
import TLS

/// Everything a running instance needs to know.
package struct Configuration: Sendable, Equatable {
  /// Where clients connect; at least one.
  package var listeners: [ListenerSettings] = [ListenerSettings(address: .loopback(port: 3128))]
  /// Where the metrics and the admin API are served; nil for nowhere.
  package var admin: AdminSettings? = .loopback(port: 3129)
  package var threads = ThreadCount.automatic
  package var store = StoreSettings()
  /// Who may use the proxy.
  package var clients: [IPNetwork] = IPNetwork.loopback
  /// What they have to show besides.
  package var auth = AuthSettings()
  package var destinations = Destinations()
  package var intercept = InterceptSettings()
  package var mirrors = Mirrors()
  /// Where clients reach this proxy, if links that it writes are to say so.
  package var publicURL: OriginURL?
  /// What the operator says about resources; the first whose pattern matches decides.
  package var rules: [CacheRule] = []
  package var cache = CacheSettings()
  /// Answer from the store only, and leave the network alone.
  package var offline = false
  package var upstream = UpstreamSettings()
  package var limits = Limits()
  package var rate = RateSettings()
  package var resets = ResetSettings()
  package var log = LogSettings()

  package init() {}

  /// Whether a client with this address may use the proxy.
  package func allows(client: IPAddress) -> Bool { clients.contains { $0.contains(client) } }
}

/// One address that clients connect to.
package struct ListenerSettings: Sendable, Equatable {
  package var address: SocketAddress
  /// Set for a reverse proxy: the one origin that all origin-form requests go to.
  package var origin: OriginURL?
  /// Whether a load balancer in front says whose connections it passes on.
  package var proxyProtocol = ProxyProtocolUse.off
  /// Files in PEM form, for a listener that speaks TLS: certificate with its chain, and its key.
  package var certificateFile: String?
  package var keyFile: String?
  /// What was in them.
  package var identity: TLSIdentity?

  package var isSecure: Bool { certificateFile != nil || keyFile != nil }
  package var scheme: String { isSecure ? "https" : "http" }

  package init(
    address: SocketAddress, origin: OriginURL? = nil, proxyProtocol: ProxyProtocolUse = .off
  ) {
    self.address = address
    self.origin = origin
    self.proxyProtocol = proxyProtocol
  }
}

/// From whom a listener takes the PROXY protocol.
package enum ProxyProtocolUse: Sendable, Equatable {
  /// From nobody: such a header is no HTTP.
  case off
  /// From everyone who connects, who must send it.
  case on
  /// From everyone in these networks, who must send it; others connect for themselves.
  case from([IPNetwork])
}

/// How many worker threads to run.
package enum ThreadCount: Sendable, Equatable {
  /// One per core that this process may run on.
  case automatic
  case fixed(Int)
}

/// Where and how much is stored.
package struct StoreSettings: Sendable, Equatable {
  /// The directory; made if it is missing.
  package var path: String = StoreSettings.defaultPath()
  /// Hard cap on disk space, growing bodies included.
  package var size: ByteCount = .gib(10)
  /// The largest share of `size` that one response may take, in percent.
  package var maxShare = 50
  /// What of the disk is left to others.
  package var keepFree = FreeSpaceFloor.automatic
  /// Memory for small answers kept ready to send.
  package var memory: ByteCount = .mib(256)

  package init() {}
}

/// How much of its file system the store leaves free.
package enum FreeSpaceFloor: Sendable, Equatable {
  /// A twentieth of it, and 1 GiB at most.
  case automatic
  case fixed(ByteCount)
}

/// Waiting for origins, and keeping connections to them.
package struct UpstreamSettings: Sendable, Equatable {
  package var connectTimeout: Duration = .seconds(10)
  /// The longest silence of an origin in the middle of an exchange.
  package var readTimeout: Duration = .seconds(30)
  /// How long an origin that is waited for may leave the kernel without any sign of it; zero for no limit.
  package var deadAfter: Duration = .seconds(5)
  /// How often a request or a download is tried again in a row when its connection has ended.
  package var retries = 3
  /// The least an origin has to send or take in each `limits.progress-window`; nil for no demand.
  package var minProgress: ByteCount? = .kib(1)
  package var idleTimeout: Duration = .seconds(30)
  /// Idle connections kept per origin and worker.
  package var maxIdle = 32
  /// Request fields that go along with fetches for the store although they are no part of the key.
  package var forwardFields: [RequestFieldName] = []
  /// How fast origins are read, all together; nil for as fast as can be.
  package var rate: Rate?
  /// Idle connections kept per worker.
  package var maxIdleTotal = 256
  /// Requests at one origin at a time, all workers together.
  package var maxConnections = 256
  /// Requests at all origins at a time.
  package var maxTotal = 2048
  /// Requests that wait for a place at one origin.
  package var maxWaiting = 1024
  package var queueTimeout: Duration = .seconds(30)
  package var orphans = OrphanSettings()
  /// Who vouches for https origins.
  package var ca = TLSTrust.system
  /// The proxy through which origins are asked.
  package var parent = ParentChoice.none
  package var parentPasswordFile: String?
  /// What is in `parentPasswordFile`.
  package var parentPassword: HiddenText?
  /// What is asked directly all the same.
  package var noParent: [HostPattern] = []
  /// What the environment says about parents, if `parent` goes by it.
  package var environmentParents = Parents()
  /// What origins are shown.
  package var credentials: [UpstreamCredential] = []
  /// Hosts whose certificates are not looked at.
  package var unverifiedHosts: [HostPattern] = []

  package init() {}
}

/// When a fetch goes on although everybody who wanted it has left.
package struct OrphanSettings: Sendable, Equatable {
  /// At most this much is still to come, or comes of an answer that does not say how much.
  package var finishBelow: ByteCount = .mib(16)
  /// Or this share of it is here, in percent.
  package var finishAbove = 50
  package var finishWithin: Duration = .seconds(300)
  /// How many such fetches at a time.
  package var finishAtMost = 32

  package init() {}
}

/// Every bound on what a client may do.
package struct Limits: Sendable, Equatable {
  package var requestLine: ByteCount = .kib(16)
  /// Start line and fields together.
  package var head: ByteCount = .kib(64)
  package var fields = 100
  /// Content of a request; nil for no limit.
  package var content: ByteCount? = .gib(10)
  package var headerTimeout: Duration = .seconds(30)
  package var contentTimeout: Duration = .seconds(60)
  package var idleTimeout: Duration = .seconds(75)
  package var writeTimeout: Duration = .seconds(60)
  /// The least a client has to send or take in each `progressWindow`; nil for no demand.
  package var minProgress: ByteCount? = .kib(1)
  package var progressWindow: Duration = .seconds(60)
  package var tunnelTimeout: Duration = .seconds(600)
  /// Open connections from clients, all workers together.
  package var connections = 32768
  /// Open connections from one IPv4 address or one IPv6 /64.
  package var connectionsPerClient = 8192
  package var drainTimeout: Duration = .seconds(25)

  package init() {}
}

/// What is written down, and where.
package struct LogSettings: Sendable, Equatable {
  package var format = LogFormat.text
  package var access = LogDestination.stdout
  package var level = LogLevel.info

  package init() {}
}

/// How log lines look.
package enum LogFormat: String, Sendable, CaseIterable {
  /// For people.
  case text
  /// For machines: one JSON object per line.
  case json
}

/// Where the access log goes.
package enum LogDestination: Sendable, Equatable {
  case stdout
  case stderr
  case none
  /// Appended to the file of this name.
  case file(String)
}

/// The least severe messages that are still written, in swift-log's words.
package enum LogLevel: String, Sendable, CaseIterable {
  case trace, debug, info, notice, warning, error, critical
}

extension SocketAddress {
  package static func loopback(port: UInt16) -> SocketAddress {
    SocketAddress(.loopbackV4, port: port)
  }
}

extension IPNetwork {
  /// 127.0.0.0/8 and ::1.
  package static let loopback: [IPNetwork] = [
    IPNetwork(.loopbackV4, prefixLength: 8), IPNetwork(.loopbackV6, prefixLength: 128),
  ].compactMap(\.self)
}
