// Pages of links wait for memory that others take, and not for ever.

import Platform
import Support
import Telemetry
import Testing

@testable import Proxy

@Suite struct PageTurnTests {
  @Test(
    "a page that finds no memory for as long as a request may wait is an error, and comes once there is some"
  )
  func noRoom() throws {
    try wire(configure: { configuration, origin in
      try PythonMirrorTests.configure(&configuration, origin)
      configuration.upstream.queueTimeout = .milliseconds(100)
    }) { origin, proxy in
      let budget = proxy.server.shared.pages.budget
      var claims: [PageBudget.Claim] = []
      var count = budget.limit
      while count > 0 {
        if let claim = budget.claimNow(count) { claims.append(claim) } else { count /= 2 }
      }
      #expect(budget.used == budget.limit)
      let client = try proxy.connect().get("/pypi/x/")
      try origin.serve(
        200, ["Content-Type: text/html", "Cache-Control: max-age=600"], "<a href=\"y\">")
      try client.expectError(503, "being written anew", type: "proxy_internal_error")
      try proxy.expect("a wait in vain, counted") { $0.value(.timeouts, .queue) == 1 }
      claims.removeAll()
      try client.get("/pypi/x/").expectResponse(200, content: "<a href=\"/pypi/x/y\">")
    }
  }
}
