// Sharing out what `ulimit -n` grants.

import Testing

@testable import Proxy

@Suite struct DescriptorBudgetTests {
  @Test("with plenty the configuration decides")
  func plenty() {
    let budget = DescriptorBudget(limit: 1 << 20, own: 40, workers: 2, atOrigins: 2560)
    #expect(budget.clients > 1_000_000)
    #expect(budget.farewells == Farewell.limit)
    #expect(DescriptorBudget(limit: 0, own: 0, workers: 2, atOrigins: 1) == .unlimited)
  }

  @Test(
    "whatever the limit, all shares together keep within it, and somebody is served",
    arguments: [1, 20, 64, 100, 256, 1024, 4096, 65_536, .max] as [UInt64],
    [1, 2, 64])
  func shares(limit: UInt64, workers: Int) {
    let own = 30 + 3 * workers
    let budget = DescriptorBudget(limit: limit, own: own, workers: workers, atOrigins: 2560)
    #expect(budget.clients >= 1 && budget.farewells >= 0)
    let fixed = own + DescriptorBudget.openBlobs(limit: limit)
    let used = budget.clients - 1 + budget.farewells * workers
    #expect(used <= max(0, Int(clamping: limit) - fixed))
    if limit >= 1024, workers < 64 {
      // Half at most is set aside for origins and files.
      #expect(
        budget.clients + budget.farewells * workers >= (Int(clamping: limit) - fixed) / 2 - 16)
    }
  }
}
