// What several blocks count is shown as one sum.

import Testing

@testable import Telemetry

@Suite("The metric registry")
struct MetricRegistryTests {
  @Test("what the workers count adds up")
  func sums() {
    let registry = MetricRegistry()
    let first = registry.makeCells()
    let second = registry.makeCells()
    first.add(.requests, .get, .hit)
    first.add(.requests, .head, .hit)
    second.add(.requests, .get, .hit, 4)
    registry.shared.addShared(.storeTroubles, .diskFull)
    #expect(registry.value(.requests, .get, .hit) == 5)
    #expect(registry.value(.requests, .head, .hit) == 1)
    #expect(registry.value(.requests, .get, .miss) == 0)
    #expect(registry.value(.storeTroubles, .diskFull) == 1)
  }

  @Test("a gauge that one worker raises and another lowers ends where it began")
  func gaugeAcrossWorkers() {
    let registry = MetricRegistry()
    let first = registry.makeCells()
    let second = registry.makeCells()
    first.add(.connectionsOpen, .upstream)
    second.subtract(.connectionsOpen, .upstream)
    #expect(registry.value(.connectionsOpen, .upstream) == 0)
    first.subtract(.fillsRunning)
    #expect(registry.value(.fillsRunning) == -1)
  }

  @Test("each label combination has a cell of its own")
  func distinctCells() {
    let registry = MetricRegistry()
    let cells = registry.makeCells()
    var amount: UInt64 = 1
    for method in MethodClass.allCases {
      for verdict in CacheVerdict.allCases {
        cells.add(.requests, method, verdict, amount)
        amount += 1
      }
    }
    for status in StatusClass.allCases { cells.add(.responses, status, 1000) }
    var expected: Int64 = 1
    for method in MethodClass.allCases {
      for verdict in CacheVerdict.allCases {
        #expect(registry.value(.requests, method, verdict) == expected)
        expected += 1
      }
    }
  }

  @Test("a status code outside the registered classes counts as a server error")
  func statusClasses() {
    #expect(StatusClass(status: 103) == .informational)
    #expect(StatusClass(status: 200) == .successful)
    #expect(StatusClass(status: 304) == .redirection)
    #expect(StatusClass(status: 404) == .clientError)
    #expect(StatusClass(status: 503) == .serverError)
    #expect(StatusClass(status: 999) == .serverError)
  }
}
