// Every metric there is: name, type, meaning and labels, written once.
//
// `Metric` is the closed list; /metrics and docs/metrics.md are printed from `definition`.
// MetricHandles.swift gives each entry a typed name for the code that counts. To add a
// metric: a case, its definition, its handle; the tests say what was forgotten.

/// The type of a metric in the exposition format.
public enum MetricType: String, Sendable {
  /// Only grows, from 0 at start.
  case counter
  /// Goes up and down.
  case gauge
  /// Counts observations in buckets of fixed bounds.
  case histogram
}

/// What is fixed about a metric.
public struct MetricDefinition: Sendable {
  /// The name as it is printed, with its unit (`_seconds`, `_bytes`) and `_total` for counters.
  public let name: String
  public let type: MetricType
  /// One sentence: what is counted.
  public let help: String
  /// Names and values of the labels, outermost first; at most two.
  public let labels: [(name: String, values: [String])]
  /// Upper bounds of a histogram's buckets in nanoseconds; empty for the others. `+Inf` comes on top.
  public let bounds: [UInt64]
  /// What one unit of a cell is worth in printed units, as a power of ten: -9 for nanoseconds.
  public let scale: Int

  /// The number of time series, before a histogram's buckets.
  public var seriesCount: Int { labels.reduce(1) { $0 * $1.values.count } }
  /// Cells of one series: a histogram keeps a count per bucket, one for `+Inf`, and the sum.
  public var cellsPerSeries: Int { type == .histogram ? bounds.count + 2 : 1 }

  init(
    _ type: MetricType, _ name: String, _ help: String, _ labels: [any MetricLabel.Type] = [],
    bounds: [UInt64] = [], scale: Int = 0
  ) {
    self.name = name
    self.type = type
    self.help = help
    self.labels = labels.map { Self.label($0) }
    self.bounds = bounds
    self.scale = scale
  }

  private static func label<L: MetricLabel>(_ label: L.Type) -> (name: String, values: [String]) {
    (L.labelName, L.allCases.map(\.labelValue))
  }
}

/// The closed list of metrics, in the order they are printed.
public enum Metric: Int, CaseIterable, Sendable {
  case requests, responses, requestDuration
  case downstreamReceived, downstreamSent, storeServed
  case upstreamReceived, upstreamSent
  case connectionsOpen, connectionsAccepted, connectionsRefused, acceptPauses
  case healthyEndings
  case downstreamHandshakes
  case authentications, rateWaits
  case upstreamRequests, upstreamWaiting
  case upstreamConnects, upstreamReuses, upstreamConnectFailures, upstreamRetries, upstreamFirstByte
  case upstreamRedirects
  case fillsRunning, fills, digestMismatches, pagesRewritten, relays, timeouts
  case tunnelsOpen, tunnels, tunnelBytes
  case storeBytes, storeCapacity, storeEntries, storeMemory
  case storeIncomplete, completedBytes
  case storeEvictions, storeTroubles
  case configurationReloads, accessLogLost
  case residentMemory, openDescriptors, maximumDescriptors, processorTime, startTime

  /// What is fixed about this metric.
  public var definition: MetricDefinition {
    switch self {
    case .requests:
      .init(
        .counter, "holdfast_requests_total",
        "Requests finished, by method class and by what the cache had to do with them.",
        [MethodClass.self, CacheVerdict.self])
    case .responses:
      .init(
        .counter, "holdfast_responses_total", "Responses sent to clients, by class of status code.",
        [StatusClass.self])
    case .requestDuration:
      .init(
        .histogram, "holdfast_request_duration_seconds",
        "Time from the first byte of a request to the last byte of its response given to the kernel.",
        [CacheVerdict.self], bounds: Self.durationBounds, scale: -9)
    case .downstreamReceived:
      .init(.counter, "holdfast_downstream_received_bytes_total", "Bytes received from clients.")
    case .downstreamSent:
      .init(.counter, "holdfast_downstream_sent_bytes_total", "Bytes sent to clients.")
    case .storeServed:
      .init(
        .counter, "holdfast_store_served_bytes_total",
        "Bytes of content sent to clients from the store, without asking an origin for them.")
    case .upstreamReceived:
      .init(.counter, "holdfast_upstream_received_bytes_total", "Bytes received from origins.")
    case .upstreamSent:
      .init(.counter, "holdfast_upstream_sent_bytes_total", "Bytes sent to origins.")
    case .connectionsOpen:
      .init(
        .gauge, "holdfast_connections_open", "Connections open now, idle ones included.",
        [Side.self])
    case .connectionsAccepted:
      .init(
        .counter, "holdfast_connections_accepted_total", "Connections accepted from clients.")
    case .connectionsRefused:
      .init(
        .counter, "holdfast_connections_refused_total",
        "Connections from clients closed right after they were accepted, by reason.",
        [ConnectionRefusal.self])
    case .acceptPauses:
      .init(
        .counter, "holdfast_accept_pauses_total",
        "Times a listener stopped accepting because descriptors had run out.")
    case .healthyEndings:
      .init(
        .counter, "holdfast_healthy_endings_total",
        "Connections that ended in order, by side and how. All others are in `holdfast_endings_total`, with a record each.",
        [Side.self, HealthyEnding.self])
    case .authentications:
      .init(
        .counter, "holdfast_authentications_total",
        "Requests whose credentials were looked at, by outcome. Further requests on a connection with the same credentials are not counted.",
        [AuthenticationOutcome.self])
    case .rateWaits:
      .init(
        .counter, "holdfast_rate_waits_total",
        "Times a connection waited because `rate` or `upstream.rate` allowed no more bytes, by side.",
        [Side.self])
    case .downstreamHandshakes:
      .init(
        .counter, "holdfast_downstream_tls_handshakes_total",
        "TLS handshakes with clients, by what became of them.", [HandshakeOutcome.self])
    case .upstreamRequests:
      .init(.gauge, "holdfast_upstream_requests", "Requests at origins now.")
    case .upstreamWaiting:
      .init(.gauge, "holdfast_upstream_waiting", "Requests that wait for a place at their origin.")
    case .upstreamConnects:
      .init(.counter, "holdfast_upstream_connects_total", "Connections made to origins.")
    case .upstreamReuses:
      .init(
        .counter, "holdfast_upstream_reuses_total",
        "Requests sent on a connection to the origin that was open already.")
    case .upstreamConnectFailures:
      .init(
        .counter, "holdfast_upstream_connect_failures_total",
        "Attempts to connect to an origin that failed, by reason.", [ConnectFailure.self])
    case .upstreamRedirects:
      .init(
        .counter, "holdfast_upstream_redirects_total",
        "Redirects that mirrors met at origins: followed, or refused with 502.", [Outcome.self])
    case .upstreamRetries:
      .init(
        .counter, "holdfast_upstream_retries_total",
        "Requests sent to an origin once more because the attempt before failed.")
    case .upstreamFirstByte:
      .init(
        .histogram, "holdfast_upstream_first_byte_seconds",
        "Time from sending a request to an origin to the first byte of its response.",
        bounds: Self.durationBounds, scale: -9)
    case .fillsRunning:
      .init(.gauge, "holdfast_fills_running", "Answers being written to the store now.")
    case .fills:
      .init(
        .counter, "holdfast_fills_total",
        "Answers that were being written to the store, by how that ended.", [FillOutcome.self])
    case .digestMismatches:
      .init(
        .counter, "holdfast_digest_mismatches_total",
        "Fetched files that were not what their index or their name says, and were not kept.")
    case .pagesRewritten:
      .init(
        .counter, "holdfast_pages_rewritten_total",
        "Pages of indexes whose links were written anew, once for all who waited for it.")
    case .relays:
      .init(
        .counter, "holdfast_relays_total", "Answers passed on without being stored, by reason.",
        [RelayReason.self])
    case .timeouts:
      .init(
        .counter, "holdfast_timeouts_total", "Waits that were given up, by kind.",
        [TimeoutKind.self])
    case .tunnelsOpen:
      .init(.gauge, "holdfast_tunnels_open", "Tunnels open now.")
    case .tunnels:
      .init(.counter, "holdfast_tunnels_total", "Tunnels established.")
    case .tunnelBytes:
      .init(
        .counter, "holdfast_tunnel_bytes_total", "Bytes passed through tunnels, by direction.",
        [TunnelDirection.self])
    case .storeBytes:
      .init(
        .gauge, "holdfast_store_bytes",
        "Disk space in use by the store, bodies that are still growing included.")
    case .storeCapacity:
      .init(.gauge, "holdfast_store_capacity_bytes", "Disk space the store may use.")
    case .storeEntries:
      .init(.gauge, "holdfast_store_entries", "Stored responses.")
    case .storeMemory:
      .init(
        .gauge, "holdfast_store_memory_bytes", "Memory held by small answers kept ready to send.")
    case .storeIncomplete:
      .init(
        .gauge, "holdfast_store_incomplete",
        "Responses kept without their end, because their fetch broke off; the next one asks for the rest only."
      )
    case .completedBytes:
      .init(
        .counter, "holdfast_completed_bytes_total",
        "Bytes of content that were not fetched again because an earlier fetch had got that far.")
    case .storeEvictions:
      .init(
        .counter, "holdfast_store_evictions_total", "Stored responses dropped to make room.")
    case .storeTroubles:
      .init(
        .counter, "holdfast_store_troubles_total",
        "Times something could not be kept, or was found damaged, by what was wrong.",
        [StoreTroubleKind.self])
    case .configurationReloads:
      .init(
        .counter, "holdfast_configuration_reloads_total",
        "Times the configuration was read again on request, by outcome.", [Outcome.self])
    case .accessLogLost:
      .init(
        .counter, "holdfast_access_log_lost_total",
        "Lines of the access log that could not be written, or not in time.")
    // The rest carry the names that every Prometheus client library gives them, so that
    // ready-made dashboards find them.
    case .residentMemory:
      .init(.gauge, "process_resident_memory_bytes", "Resident memory of the process.")
    case .openDescriptors:
      .init(.gauge, "process_open_fds", "File descriptors open in the process.")
    case .maximumDescriptors:
      .init(.gauge, "process_max_fds", "File descriptors the process may open.")
    case .processorTime:
      .init(
        .counter, "process_cpu_seconds_total", "Processor time used, user and system.", scale: -9)
    case .startTime:
      .init(
        .gauge, "process_start_time_seconds", "When the process started, in seconds since 1970.",
        scale: -9)
    }
  }

  /// From a hit out of memory (tens of µs) to a large download on a slow line.
  static let durationBounds: [UInt64] = [
    50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000, 250_000_000,
    500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000, 30_000_000_000,
    60_000_000_000, 300_000_000_000,
  ]
}
