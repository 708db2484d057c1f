// The configuration as a running worker uses it: immutable, shared by all workers, replaced as a whole when
// the configuration is read again.

import Caching
import Configuration
import HTTP
import IO
import Mirrors
import Platform
import TLS

final class Settings: Sendable {
  let configuration: Configuration
  let router: Router
  let headLimits: HeadLimits
  let contentLimit: UInt64
  /// Names that a fetch for the store may carry although its key does not tell them, in small letters.
  let forwardFields: FieldNames
  let idleTimeout: TimeoutClass
  let headerTimeout: TimeoutClass
  let contentTimeout: TimeoutClass
  /// How often it is looked whether a client that is waited for takes anything: twice in `limits.write-timeout`.
  let writeCheck: TimeoutClass
  let tunnelTimeout: TimeoutClass
  let readTimeout: TimeoutClass
  /// When and how it is looked whether the path to a silent origin is dead; nil for never.
  let probing: PathProbing?
  let poolTimeout: TimeoutClass
  let clientProgress: ProgressRule
  let originProgress: ProgressRule
  let orphanRule: OrphanRule
  /// The largest response that is kept, in bytes.
  let largestStored: Int64
  /// How long a closed client may take to read its last answer.
  let lingerTimeout = TimeoutClass(.seconds(5))
  /// No rule of the configuration speaks of particular hosts, so that a hit need not look at its own.
  let allowsEveryHost: Bool
  /// Some rate holds for what clients are sent, or for what origins send.
  let isRated: Bool
  let isUpstreamRated: Bool
  /// Clients have to say who they are.
  let requiresAuthentication: Bool

  /// What is known about resources.
  let rules: ResourceRules
  let hasRules: Bool
  /// No request may leave this machine.
  let isOffline: Bool

  /// By the listeners' numbers.
  private let listeners: [ListenerSecurity]
  /// Nil when every tunnel is passed on unread.
  let interception: Interception?
  /// Through whom origins are asked.
  let parents: Parents
  /// What origins are shown.
  let credentials: UpstreamCredentials
  /// How https origins are reached.
  let upstreamTLS: UpstreamTLS
  /// What may be open at a time: what `limits` says, or what the system's limit on descriptors leaves.
  let budget: DescriptorBudget

  init(_ configuration: Configuration, budget: DescriptorBudget = .unlimited) {
    self.configuration = configuration
    self.budget = budget
    rules = ResourceRules(configuration.rules.map { ResourceRules.Rule($0) })
    hasRules = !rules.isEmpty
    isOffline = configuration.offline
    parents = Parents(configuration.upstream)
    credentials = UpstreamCredentials(configuration.upstream.credentials)
    router = Router(
      configuration.mirrors, publicURL: configuration.publicURL, credentials: credentials)
    upstreamTLS = UpstreamTLS(configuration.upstream)
    interception = Interception(configuration.intercept)
    listeners = configuration.listeners.map { ListenerSecurity($0) }
    let limits = configuration.limits
    headLimits = HeadLimits(
      startLine: Int(clamping: limits.requestLine.bytes), head: Int(clamping: limits.head.bytes),
      fieldCount: limits.fields)
    contentLimit = limits.content.map { UInt64(clamping: $0.bytes) } ?? .max
    forwardFields = Set(
      configuration.upstream.forwardFields.map { Array($0.name.lowercased().utf8) })
    idleTimeout = TimeoutClass(limits.idleTimeout)
    headerTimeout = TimeoutClass(limits.headerTimeout)
    contentTimeout = TimeoutClass(limits.contentTimeout)
    writeCheck = TimeoutClass(limits.writeTimeout / 2)
    tunnelTimeout = TimeoutClass(limits.tunnelTimeout)
    readTimeout = TimeoutClass(configuration.upstream.readTimeout)
    probing = PathProbing(configuration.upstream)
    poolTimeout = TimeoutClass(configuration.upstream.idleTimeout)
    isRated = configuration.rate.isLimited
    isUpstreamRated = configuration.upstream.rate != nil
    requiresAuthentication = configuration.auth.isRequired
    clientProgress = ProgressRule(
      window: limits.progressWindow, minimum: UInt64(clamping: limits.minProgress?.bytes ?? 0))
    originProgress = ProgressRule(
      window: limits.progressWindow,
      minimum: UInt64(clamping: configuration.upstream.minProgress?.bytes ?? 0))
    orphanRule = OrphanRule(settings: configuration.upstream.orphans)
    largestStored = configuration.store.size.bytes / 100 &* Int64(configuration.store.maxShare)
    allowsEveryHost =
      configuration.destinations.allow.contains(.any) && configuration.destinations.deny.isEmpty
  }

  /// How a listener speaks; one that is not in this configuration any more takes nobody in.
  func security(of listener: Int) -> ListenerSecurity {
    listeners.indices.contains(listener) ? listeners[listener] : .unusable
  }

  /// Everything that speaks TLS with clients.
  private var serverContexts: [TLSContext] {
    listeners.compactMap(\.context) + (interception.map { [$0.context] } ?? [])
  }

  func renewTicketKeys(now: Instant) {
    for context in serverContexts { context.renewTicketKeys(now: now) }
  }

  /// Others take the place of these.
  func forgetTickets() {
    for context in serverContexts { context.forgetTickets() }
  }

  var limits: Limits { configuration.limits }
  var upstream: UpstreamSettings { configuration.upstream }
  var destinations: Destinations { configuration.destinations }
}

extension ResourceRules.Rule {
  /// A rule as it is configured.
  init(_ rule: CacheRule) {
    var terms = ResourcePolicy()
    terms.lifetime = rule.fresh?.deltaSeconds
    terms.overridesOrigin = rule.override
    terms.negativeLifetime = rule.negative?.deltaSeconds ?? 0
    terms.staleIfError = rule.staleIfError?.deltaSeconds ?? 0
    terms.staleWhileRevalidate = rule.staleWhileRevalidate?.deltaSeconds ?? 0
    let kind: ResourcePolicy.Kind? =
      switch rule.kind {
      case .immutable: .immutable
      case .mutable: .mutable
      case .pass: .passed
      case nil: nil
      }
    self.init(rule.match, kind: kind, terms: terms)
  }
}

extension Duration {
  /// Whole seconds as caching counts them; what is shorter than one is none.
  fileprivate var deltaSeconds: Int64 { DeltaSeconds.clamped(wholeNanoseconds / 1_000_000_000) }
}
