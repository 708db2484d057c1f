// What a run is like: how many of everything, and how often what goes wrong, all chosen by the seed.

import Configuration
import SeededRandom

package struct Scenario: CustomStringConvertible {
  package enum Kind: String, CaseIterable {
    /// Nothing goes wrong but time: every request has to be answered whole and right.
    case calm
    /// Origins break off, stall, answer with errors and nonsense.
    case badOrigins
    /// Clients leave, stall, and break off.
    case badClients
    /// The disk is full or broken now and then.
    case badDisk
    /// All of it, and no descriptors now and then.
    case storm
  }

  package var kind: Kind
  package var transactions: Int
  package var clients = 16
  package var origins = 4
  package var resources = 60
  package var workers = 1
  package var largest = 200_000
  /// Of twenty resources.
  package var large = 2
  /// Thousandths.
  package var originFaults = 0
  package var clientFaults = 0
  package var diskFaults = 0
  package var descriptorFaults = 0
  /// Seconds between purges, about; nil for none.
  package var purgeEvery: Int?
  /// Seconds between restarts, about; nil for none.
  package var restartEvery: Int?
  package var rates = Rates()
  /// Seconds between reloads that change the rates, about; nil for none.
  package var reloadEvery: Int?
  /// Some clients come through a load balancer that says who they are.
  package var hasBalancer = false
  /// Bytes above which a fetch that nobody wants any more is given up.
  package var finishBelow = 16 << 20

  package init(kind: Kind, transactions: Int, _ random: inout SeededGenerator) {
    self.kind = kind
    self.transactions = transactions
    clients = random.within(4...40)
    resources = random.within(10...120)
    workers = random.within(1...2)
    largest = random.pick([60_000, 200_000, 600_000])
    if random.oneIn(6) {
      large = 8
      largest = min(largest, 200_000)
    }
    purgeEvery = random.pick([nil, 5, 60])
    restartEvery = random.pick([nil, nil, nil, 10])
    if random.oneIn(4) { reloadEvery = 3 }
    hasBalancer = random.oneIn(4)
    if random.oneIn(4) { rates = Rates(&random) }
    if random.oneIn(2) { finishBelow = 30_000 }
    if kind == .badOrigins || kind == .storm { originFaults = random.pick([20, 100, 300]) }
    if kind == .badClients || kind == .storm { clientFaults = random.pick([20, 100, 300]) }
    if kind == .badDisk || kind == .storm { diskFaults = random.pick([2, 20, 200]) }
    if kind == .storm { descriptorFaults = random.pick([0, 5, 50]) }
  }

  /// Whether fetching can fail.
  var hasFailures: Bool { originFaults > 0 || descriptorFaults > 0 }
  /// Whether a fetch can end in the middle.
  var mayBreakOff: Bool { originFaults + clientFaults > 0 || restartEvery != nil }
  /// Whether a whole answer can be out of the question for reasons that are not the client's.
  var mayCut: Bool { originFaults > 0 || diskFaults > 0 || descriptorFaults > 0 }

  package var description: String {
    "\(kind.rawValue): \(transactions) transactions, \(clients) clients, \(resources) resources,"
      + " \(workers) workers, faults \(originFaults)/\(clientFaults)/\(diskFaults)/\(descriptorFaults)"
  }
}

/// How fast bytes may pass; nil for as fast as can be.
package struct Rates {
  var connection: Rate?
  var client: Rate?
  var total: Rate?
  var upstream: Rate?

  init() {}

  init(_ random: inout SeededGenerator) {
    switch random.below(4) {
    case 0: connection = .perSecond(.kib(Int64(random.pick([20, 100, 500]))))
    case 1: client = .perSecond(.kib(Int64(random.pick([20, 100, 500]))))
    case 2: total = .perSecond(.kib(Int64(random.pick([200, 1000]))))
    default: upstream = .perSecond(.kib(Int64(random.pick([200, 1000]))))
    }
  }

  func apply(to configuration: inout Configuration) {
    configuration.rate.connection = connection
    configuration.rate.client = client
    configuration.rate.total = total
    configuration.upstream.rate = upstream
  }
}
