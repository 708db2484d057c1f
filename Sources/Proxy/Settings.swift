// The configuration as a running worker uses it: immutable, shared by all workers, replaced as a whole when
// the configuration is read again.

import Configuration
import HTTP
import IO
import Platform

final class Settings: Sendable {
  let configuration: Configuration
  let router: Router
  let headLimits: HeadLimits
  let contentLimit: UInt64
  let idleTimeout: TimeoutClass
  let headerTimeout: TimeoutClass
  let contentTimeout: TimeoutClass
  /// How often it is looked whether a client that is waited for takes anything: twice in `limits.write-timeout`.
  let writeCheck: TimeoutClass
  let tunnelTimeout: TimeoutClass
  let readTimeout: TimeoutClass
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

  init(_ configuration: Configuration) {
    self.configuration = configuration
    router = Router(configuration.mirrors)
    let limits = configuration.limits
    headLimits = HeadLimits(
      startLine: Int(clamping: limits.requestLine.bytes), head: Int(clamping: limits.head.bytes),
      fieldCount: limits.fields)
    contentLimit = limits.content.map { UInt64(clamping: $0.bytes) } ?? .max
    idleTimeout = TimeoutClass(limits.idleTimeout)
    headerTimeout = TimeoutClass(limits.headerTimeout)
    contentTimeout = TimeoutClass(limits.contentTimeout)
    writeCheck = TimeoutClass(limits.writeTimeout / 2)
    tunnelTimeout = TimeoutClass(limits.tunnelTimeout)
    readTimeout = TimeoutClass(configuration.upstream.readTimeout)
    poolTimeout = TimeoutClass(configuration.upstream.idleTimeout)
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

  var limits: Limits { configuration.limits }
  var upstream: UpstreamSettings { configuration.upstream }
  var destinations: Destinations { configuration.destinations }
}
