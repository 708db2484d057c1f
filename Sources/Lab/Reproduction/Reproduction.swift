// The story that started it all, as load: build clients download through a Service, and now and then the network sends a
// segment that conntrack cannot place. Played with each cure, with and without a proxy in between.

import Forensics
import Foundation
import Glibc
import Platform

/// What stands between the clients and the Service.
package enum Way: String, Sendable, CaseIterable {
  case direct, holdfast, nginx
}

package struct ReproductionOptions: Sendable {
  package var seconds = 20
  package var clients = 10
  /// Bytes of each download.
  package var size = 4 << 20
  /// Segments that are injected, in a second.
  package var rate = 2.0

  package init() {}
}

/// What came of one setting.
package struct ReproductionResult: Sendable {
  package let way: Way
  package let fix: Fix
  package var injected = 0
  package var complete = 0
  package var failed = 0
  package var wrong = 0
  /// Connections of the origin that were reset.
  package var originResets = 0
  /// Downloads of clients that were reset.
  package var clientResets = 0
  /// What the node's connection tracking called INVALID.
  package var invalid = 0
  package var megabytesPerSecond = 0.0
  /// The longest download, in seconds.
  package var longest = 0.0
  /// Downloads that Holdfast resumed; nil for others.
  package var healed: Int?
}

package struct Reproduction: Sendable {
  package let program: String
  package let options: ReproductionOptions

  package init(program: String, options: ReproductionOptions) {
    self.program = program
    self.options = options
  }

  /// - Parameter told: hears how it goes, about once a second.
  package func play(
    _ way: Way, _ fix: Fix, told: (ReproductionResult) -> Void = { _ in }
  ) throws -> ReproductionResult {
    let run = try LabRun()
    defer { run.remove() }
    let network = try Network(.behindService, of: run)
    try fix.apply(to: network)
    let origin = try network[.origin]
    let content = Content.bytes(0..<options.size)
    let server = try LoadServer(
      origin, Stage.address(network.topology.originAddress, Topology.originPort), content: content)
    defer { server.stop() }
    let between = try Between(way, self, network, run)
    let invalidBefore = try Self.invalid(network)
    let clients = try LoadClients(
      options.clients, on: try network[way == .direct ? .proxy : .client],
      to: way == .direct
        ? Stage.address(Topology.serviceAddress, Topology.servicePort)
        : Stage.address(network.topology.proxyAddress, Topology.proxyPort),
      authority: Topology.serviceAddress, isProxied: way == .holdfast, content: content)
    defer { clients.stop() }
    var result = ReproductionResult(way: way, fix: fix)
    let begin = Stage.now
    var lastTold = begin
    func takeSpeed() {
      result.megabytesPerSecond = Double(clients.counts.bytes) / 1e6 / (Stage.now - begin)
    }
    while Stage.now - begin < Double(options.seconds) {
      sleepThread(.milliseconds(Int64(1000 / max(0.1, options.rate))))
      if Self.inject(into: server, from: origin) { result.injected += 1 }
      if Stage.now - lastTold >= 1 {
        lastTold = Stage.now
        result.take(clients.counts, server.counts)
        takeSpeed()
        told(result)
      }
    }
    // What is still under way is awaited, which takes its time where a connection has died: that is not counted here.
    takeSpeed()
    clients.stop()
    result.take(clients.counts, server.counts)
    result.invalid = try Self.invalid(network) - invalidBefore
    result.healed = try between.end()
    // Of what was broken off nobody needs to hear.
    Interruption.guarding {}
    return result
  }

  /// - Returns: whether a download was found to inject into.
  private static func inject(into server: LoadServer, from origin: Host) -> Bool {
    var random = SystemRandomNumberGenerator()
    // Answers are short: it may take some looks to find one under way.
    for _ in 0..<200 {
      let isDone = server.tamper(random.next()) { connection, state in
        try Segment.beyondWindow(of: connection, at: state).send(from: origin)
      }
      if isDone { return true }
      sleepThread(.milliseconds(1))
    }
    return false
  }

  /// Over all processors.
  private static func invalid(_ network: Network) throws -> Int {
    let text = try network[.node].shell("conntrack -S")
    return text.split(whereSeparator: \.isWhitespace).reduce(0) { sum, word in
      word.hasPrefix("invalid=") ? sum + (Int(word.dropFirst("invalid=".count)) ?? 0) : sum
    }
  }
}

extension ReproductionResult {
  fileprivate mutating func take(_ clients: LoadClients.Counts, _ server: LoadServer.Counts) {
    (complete, failed, wrong) = (clients.complete, clients.failed, clients.wrong)
    (clientResets, originResets) = (clients.resets, server.resets)
    longest = clients.longest
  }
}
