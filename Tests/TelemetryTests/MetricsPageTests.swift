// docs/metrics.md is what the catalogue prints.

import Foundation
import Testing

@testable import Telemetry

@Suite("The page of metrics")
struct MetricsPageTests {
  @Test("docs/metrics.md is what the catalogue prints; `make docs` prints it anew")
  func isCurrent() throws {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let page = try String(
      contentsOf: root.appendingPathComponent("docs/metrics.md"), encoding: .utf8)
    #expect(page == MetricsPage.markdown())
  }
}
