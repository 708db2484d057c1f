// The metrics as Prometheus reads them: text exposition format, version 0.0.4.
//
//   # HELP holdfast_responses_total Responses sent to clients, by class of status code.
//   # TYPE holdfast_responses_total counter
//   holdfast_responses_total{class="2xx"} 17
//
// HELP and TYPE appear once per metric and all its series follow them. A histogram's buckets
// are cumulative and end with +Inf, which equals its _count; the cells are not cumulative,
// so that counting touches one bucket only.

/// Prints a registry in the Prometheus text format.
public enum PrometheusText {
  /// The media type to send it with.
  public static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

  /// All metrics, every series, and `holdfast_build_info` with `version`.
  public static func render(_ registry: MetricRegistry, version: String) -> String {
    var text = ""
    text.reserveCapacity(16 * 1024)
    header(
      "holdfast_build_info", "gauge", "Always 1; the version of this program is in the label.",
      &text)
    text += "holdfast_build_info{version=\"\(escapedLabelValue(version))\"} 1\n"
    let cells = registry.snapshot()
    var cell = 0
    for definition in registry.layout.definitions {
      header(definition.name, definition.type.rawValue, definition.help, &text)
      for series in 0..<definition.seriesCount {
        let labels = labels(of: definition, series: series)
        let values = cells[cell..<(cell + definition.cellsPerSeries)]
        cell += definition.cellsPerSeries
        if definition.type == .histogram {
          histogram(definition, labels, values, &text)
        } else if let value = values.first {
          let number = decimal(Int64(bitPattern: value), scale: definition.scale)
          text += "\(definition.name)\(braces(labels)) \(number)\n"
        }
      }
    }
    return text
  }

  private static func header(_ name: String, _ type: String, _ help: String, _ text: inout String) {
    text += "# HELP \(name) \(escapedHelp(help))\n# TYPE \(name) \(type)\n"
  }

  private static func histogram(
    _ definition: MetricDefinition, _ labels: [String], _ values: ArraySlice<UInt64>,
    _ text: inout String
  ) {
    var count: UInt64 = 0
    for (bucket, value) in values.dropLast().enumerated() {
      count &+= value
      let bound =
        bucket < definition.bounds.count
        ? decimal(Int64(clamping: definition.bounds[bucket]), scale: definition.scale) : "+Inf"
      text += "\(definition.name)_bucket\(braces(labels + ["le=\"\(bound)\""])) \(count)\n"
    }
    let sum = decimal(Int64(bitPattern: values.last ?? 0), scale: definition.scale)
    text += "\(definition.name)_sum\(braces(labels)) \(sum)\n"
    text += "\(definition.name)_count\(braces(labels)) \(count)\n"
  }

  /// `name="value"` for each label of the series with this number.
  private static func labels(of definition: MetricDefinition, series: Int) -> [String] {
    var rest = series
    var labels: [String] = []
    for label in definition.labels.reversed() {
      let value = label.values[rest % label.values.count]
      rest /= label.values.count
      labels.insert("\(label.name)=\"\(escapedLabelValue(value))\"", at: 0)
    }
    return labels
  }

  private static func braces(_ labels: [String]) -> String {
    labels.isEmpty ? "" : "{\(labels.joined(separator: ","))}"
  }

  /// Label values escape the backslash, the quote and the line feed.
  static func escapedLabelValue(_ value: String) -> String {
    escapedHelp(value).split(separator: "\"", omittingEmptySubsequences: false)
      .joined(separator: "\\\"")
  }

  /// Help texts escape the backslash and the line feed only.
  static func escapedHelp(_ text: String) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": escaped += "\\\\"
      case "\n": escaped += "\\n"
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }

  /// `value` times ten to the power of `scale`, exactly and without trailing zeros.
  static func decimal(_ value: Int64, scale: Int) -> String {
    guard scale < 0 else { return String(value) }
    var digits = String(value.magnitude)
    if digits.count <= -scale {
      digits = String(repeating: "0", count: 1 - scale - digits.count) + digits
    }
    let point = digits.index(digits.endIndex, offsetBy: scale)
    var fraction = digits[point...]
    while fraction.last == "0" { fraction.removeLast() }
    let sign = value < 0 ? "-" : ""
    return sign + digits[..<point] + (fraction.isEmpty ? "" : "." + fraction)
  }
}
