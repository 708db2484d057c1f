// The page as a scraper reads it.

import Testing

@testable import Telemetry

@Suite("The Prometheus text")
struct PrometheusTextTests {
  let registry = MetricRegistry()

  func lines() -> [String] {
    PrometheusText.render(registry, version: "1.2.3").split(separator: "\n").map(String.init)
  }

  @Test("HELP and TYPE stand once before the series of each metric")
  func headers() {
    var current = ""
    var seen: Set<String> = []
    for line in lines() {
      let words = line.split(separator: " ", maxSplits: 3).map(String.init)
      if line.hasPrefix("# HELP ") {
        current = words[2]
        #expect(seen.insert(current).inserted, "\(current) has a second HELP")
      } else if line.hasPrefix("# TYPE ") {
        #expect(words[2] == current)
      } else {
        #expect(line.hasPrefix(current))
      }
    }
    #expect(seen.count == Metric.allCases.count + 1)
  }

  @Test("every line is a comment or a name, labels and a number")
  func grammar() throws {
    let series = /[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9]+(\.[0-9]+)?/
    for line in lines() where !line.hasPrefix("#") {
      #expect(try series.wholeMatch(in: line) != nil, "\(line)")
    }
  }

  @Test("no series appears twice")
  func unique() {
    let names = lines().filter { !$0.hasPrefix("#") }.compactMap { $0.split(separator: " ").first }
    #expect(Set(names).count == names.count)
  }

  @Test("labels are printed with the value counted under them")
  func labels() {
    registry.makeCells().add(.requests, .write, .bypass, 7)
    #expect(lines().contains(#"holdfast_requests_total{method="write",cache="bypass"} 7"#))
    #expect(lines().contains(#"holdfast_requests_total{method="get",cache="hit"} 0"#))
  }

  @Test("buckets are cumulative, and +Inf equals the count")
  func histogram() {
    let cells = registry.makeCells()
    for time: UInt64 in [50_000, 50_001, 2_000_000_000, 400_000_000_000] {
      cells.observe(.upstreamFirstByte, nanoseconds: time)
    }
    let name = "holdfast_upstream_first_byte_seconds"
    let lines = lines()
    #expect(lines.contains("\(name)_bucket{le=\"0.00005\"} 1"))
    #expect(lines.contains("\(name)_bucket{le=\"0.0001\"} 2"))
    #expect(lines.contains("\(name)_bucket{le=\"2.5\"} 3"))
    #expect(lines.contains("\(name)_bucket{le=\"300\"} 3"))
    #expect(lines.contains("\(name)_bucket{le=\"+Inf\"} 4"))
    #expect(lines.contains("\(name)_count 4"))
    #expect(lines.contains("\(name)_sum 402.000100001"))
  }

  @Test("a labelled histogram keeps its series apart")
  func labelledHistogram() {
    let cells = registry.makeCells()
    cells.observe(.requestDuration, .hit, nanoseconds: 40_000)
    cells.observe(.requestDuration, .miss, nanoseconds: 3_000_000)
    let name = "holdfast_request_duration_seconds"
    #expect(lines().contains("\(name)_bucket{cache=\"hit\",le=\"0.00005\"} 1"))
    #expect(lines().contains("\(name)_bucket{cache=\"miss\",le=\"0.00005\"} 0"))
    #expect(lines().contains("\(name)_sum{cache=\"miss\"} 0.003"))
    #expect(lines().contains("\(name)_count{cache=\"error\"} 0"))
  }

  @Test("the version is escaped like any label value")
  func version() {
    let text = PrometheusText.render(registry, version: "a\"b\\c\nd")
    #expect(text.contains(#"holdfast_build_info{version="a\"b\\c\nd"} 1"#))
  }

  @Test(
    "help texts escape the backslash and the line feed, and leave quotes alone",
    arguments: [("plain", "plain"), (#"a\b"#, #"a\\b"#), ("a\nb", #"a\nb"#), (#"a"b"#, #"a"b"#)])
  func help(text: String, escaped: String) {
    #expect(PrometheusText.escapedHelp(text) == escaped)
  }

  @Test(
    "numbers are printed exactly",
    arguments: [
      (0, "0"), (1, "0.000000001"), (1_000_000_000, "1"), (1_500_000_000, "1.5"),
      (-2_000_000_001, "-2.000000001"), (Int64.max, "9223372036.854775807"),
      (Int64.min, "-9223372036.854775808"),
    ])
  func decimals(nanoseconds: Int64, text: String) {
    #expect(PrometheusText.decimal(nanoseconds, scale: -9) == text)
  }
}
