// Typed names for the metrics, so that the compiler checks the labels:
// `cells.add(.requests, .get, .hit)` compiles, `cells.add(.requests, .downstream)` does not.
//
// A handle is nothing but its `Metric`; the tests compare its labels with the catalogue.

/// A counter or gauge without labels. One type serves both: a gauge may also be subtracted from.
@frozen public struct Scalar: Sendable {
  public let metric: Metric
  @inlinable init(_ metric: Metric) { self.metric = metric }
}

/// A counter or gauge with one label.
@frozen public struct Scalar1<A: MetricLabel>: Sendable {
  public let metric: Metric
  @inlinable init(_ metric: Metric) { self.metric = metric }
}

/// A counter or gauge with two labels.
@frozen public struct Scalar2<A: MetricLabel, B: MetricLabel>: Sendable {
  public let metric: Metric
  @inlinable init(_ metric: Metric) { self.metric = metric }
}

/// A histogram without labels.
@frozen public struct Histogram: Sendable {
  public let metric: Metric
  @inlinable init(_ metric: Metric) { self.metric = metric }
}

/// A histogram with one label.
@frozen public struct Histogram1<A: MetricLabel>: Sendable {
  public let metric: Metric
  @inlinable init(_ metric: Metric) { self.metric = metric }
}

extension Scalar {
  @inlinable public static var downstreamReceived: Self { Self(.downstreamReceived) }
  @inlinable public static var downstreamSent: Self { Self(.downstreamSent) }
  @inlinable public static var storeServed: Self { Self(.storeServed) }
  @inlinable public static var upstreamReceived: Self { Self(.upstreamReceived) }
  @inlinable public static var upstreamSent: Self { Self(.upstreamSent) }
  @inlinable public static var connectionsAccepted: Self { Self(.connectionsAccepted) }
  @inlinable public static var acceptPauses: Self { Self(.acceptPauses) }
  @inlinable public static var digestMismatches: Self { Self(.digestMismatches) }
  @inlinable public static var pagesRewritten: Self { Self(.pagesRewritten) }
  @inlinable public static var upstreamRequests: Self { Self(.upstreamRequests) }
  @inlinable public static var upstreamWaiting: Self { Self(.upstreamWaiting) }
  @inlinable public static var upstreamConnects: Self { Self(.upstreamConnects) }
  @inlinable public static var upstreamReuses: Self { Self(.upstreamReuses) }
  @inlinable public static var upstreamRetries: Self { Self(.upstreamRetries) }
  @inlinable public static var fillsRunning: Self { Self(.fillsRunning) }
  @inlinable public static var tunnelsOpen: Self { Self(.tunnelsOpen) }
  @inlinable public static var tunnels: Self { Self(.tunnels) }
  @inlinable public static var storeBytes: Self { Self(.storeBytes) }
  @inlinable public static var storeCapacity: Self { Self(.storeCapacity) }
  @inlinable public static var storeEntries: Self { Self(.storeEntries) }
  @inlinable public static var storeMemory: Self { Self(.storeMemory) }
  @inlinable public static var storeIncomplete: Self { Self(.storeIncomplete) }
  @inlinable public static var completedBytes: Self { Self(.completedBytes) }
  @inlinable public static var storeEvictions: Self { Self(.storeEvictions) }
  @inlinable public static var accessLogLost: Self { Self(.accessLogLost) }
  @inlinable public static var residentMemory: Self { Self(.residentMemory) }
  @inlinable public static var openDescriptors: Self { Self(.openDescriptors) }
  @inlinable public static var maximumDescriptors: Self { Self(.maximumDescriptors) }
  /// In nanoseconds.
  @inlinable public static var processorTime: Self { Self(.processorTime) }
  /// In nanoseconds since 1970.
  @inlinable public static var startTime: Self { Self(.startTime) }
}

extension Scalar2 where A == MethodClass, B == CacheVerdict {
  @inlinable public static var requests: Self { Self(.requests) }
}
extension Scalar2 where A == Side, B == HealthyEnding {
  @inlinable public static var healthyEndings: Self { Self(.healthyEndings) }
}
extension Scalar1 where A == StatusClass {
  @inlinable public static var responses: Self { Self(.responses) }
}
extension Scalar1 where A == Side {
  @inlinable public static var connectionsOpen: Self { Self(.connectionsOpen) }
  @inlinable public static var rateWaits: Self { Self(.rateWaits) }
}
extension Scalar1 where A == ConnectionRefusal {
  @inlinable public static var connectionsRefused: Self { Self(.connectionsRefused) }
}
extension Scalar1 where A == AuthenticationOutcome {
  @inlinable public static var authentications: Self { Self(.authentications) }
}
extension Scalar1 where A == HandshakeOutcome {
  @inlinable public static var downstreamHandshakes: Self { Self(.downstreamHandshakes) }
}
extension Scalar1 where A == ConnectFailure {
  @inlinable public static var upstreamConnectFailures: Self { Self(.upstreamConnectFailures) }
}
extension Scalar1 where A == FillOutcome {
  @inlinable public static var fills: Self { Self(.fills) }
}
extension Scalar1 where A == RelayReason {
  @inlinable public static var relays: Self { Self(.relays) }
}
extension Scalar1 where A == TimeoutKind {
  @inlinable public static var timeouts: Self { Self(.timeouts) }
}
extension Scalar1 where A == TunnelDirection {
  @inlinable public static var tunnelBytes: Self { Self(.tunnelBytes) }
}
extension Scalar1 where A == StoreTroubleKind {
  @inlinable public static var storeTroubles: Self { Self(.storeTroubles) }
}
extension Scalar1 where A == Outcome {
  @inlinable public static var configurationReloads: Self { Self(.configurationReloads) }
  @inlinable public static var upstreamRedirects: Self { Self(.upstreamRedirects) }
}
extension Histogram1 where A == CacheVerdict {
  @inlinable public static var requestDuration: Self { Self(.requestDuration) }
}
extension Histogram {
  @inlinable public static var upstreamFirstByte: Self { Self(.upstreamFirstByte) }
}
