// docs/metrics.md, printed from the catalogue. A test compares the committed page with this.

/// The page that describes every metric.
public enum MetricsPage {
  /// The whole page as Markdown.
  public static func markdown() -> String {
    var page = """
      # Metrics

      `GET /metrics` on the admin listener answers in the Prometheus text format. Counters end in
      `_total` and start at 0 with the process; times are in seconds, sizes in bytes. The labels have
      the fixed values listed here: nothing a client sends can add a time series.

      This page is printed by `holdfast reference metrics`; edit `Sources/Telemetry/MetricCatalogue.swift`,
      not this file.

      | Metric | Type | Meaning | Labels |
      |---|---|---|---|
      | `holdfast_build_info` | gauge | Always 1; the version of this program is in the label. | `version` |

      """
    for metric in Metric.allCases {
      let definition = metric.definition
      let labels = definition.labels.map { label in
        "`\(label.name)`: " + label.values.map { "`\($0)`" }.joined(separator: " ")
      }
      page += "| `\(definition.name)` | \(definition.type.rawValue) | \(definition.help) | "
      page += labels.isEmpty ? "|\n" : labels.joined(separator: "; ") + " |\n"
    }
    page += """
      | `holdfast_endings_total` | counter | Connections, and attempts at one, that ended otherwise than they should have, and what the cause is judged to be. Series appear with their first ending. | `side`: `downstream` `upstream`; `phase`, `means` and `code`: see [endings](endings.md) |
      | `holdfast_resumptions_total` | counter | What became of requests and downloads whose connection ended in the middle. | `outcome`: `resumed` `compared` `repeated` `failed` |
      | `holdfast_endings_lost_total` | counter | Lines of the record of endings that could not be written. | |
      | `holdfast_endings_rotations_failed_total` | counter | Attempts to move the record of endings aside that failed: it is written on, and grows. | |

      ## What to look at

      - Share of requests answered without a transfer from the origin:
        `sum(rate(holdfast_requests_total{cache=~"hit|stale|validated|collapsed"}[5m])) / sum(rate(holdfast_requests_total[5m]))`
      - Bytes the origins did not have to send: `rate(holdfast_store_served_bytes_total[5m])`
      - Trouble on the way to origins: `rate(holdfast_upstream_connect_failures_total[5m])`,
        `rate(holdfast_timeouts_total{kind=~"connect|upstream"}[5m])`, `rate(holdfast_upstream_retries_total[5m])`
      - Who breaks connections: `sum by (code) (rate(holdfast_endings_total[5m]))`; `holdfast resets` has the stories
      - A store that is too small: `rate(holdfast_store_evictions_total[1h])` near the rate at which new answers come in
      - Too few descriptors: `holdfast_accept_pauses_total` above 0

      """
    return page
  }
}
