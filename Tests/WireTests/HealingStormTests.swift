// Hundreds of large downloads from an origin whose connections break at random places: by RST, by FIN, by silence. Every
// client gets every byte, stored or relayed, whatever there is to go on with; and where there are several versions, no client
// ever gets parts of two.
//
// HOLDFAST_HEALING=500 makes it five hundred downloads of 8 MiB each way, HOLDFAST_SEED chooses the places.

import Configuration
import Forensics
import Glibc
import Platform
import Support
import Synchronization
import Telemetry
import Testing

@Suite("Healing hundreds of downloads", .serialized) struct HealingStormTests {
  private static func number(_ name: String) -> Int? {
    getenv(name).flatMap { Int(String(cString: $0)) }
  }

  @Test(
    "that break at random places",
    arguments: BreakingOrigin.Manner.allCases, [true, false])
  func storm(manner: BreakingOrigin.Manner, isStorable: Bool) throws {
    let downloads = Self.number("HOLDFAST_HEALING") ?? 40
    let length = Self.number("HOLDFAST_HEALING") == nil ? 1 << 20 : 8 << 20
    let seed = UInt64(Self.number("HOLDFAST_SEED") ?? 1)
    let origin = try BreakingOrigin(
      manner, isStorable: isStorable, length: length, seed: seed, stalls: true)
    var configuration = TestProxy.configuration()
    configuration.upstream.retries = 4
    configuration.upstream.readTimeout = .milliseconds(400)
    configuration.store.size = .mib(768)
    let script = Script()
    let proxy = try TestProxy(script, configuration, inMemory: true)
    let next = Atomic<Int>(0)
    let clients = try (0..<8).map { _ in
      try Background { () throws -> [Downloader.Result] in
        let downloader = Downloader(proxy.address, origin)
        var results: [Downloader.Result] = []
        while true {
          let number = next.wrappingAdd(1, ordering: .relaxed).oldValue
          guard number < downloads else { return results }
          results.append(try downloader.get(number))
        }
      }
    }
    let results = try clients.flatMap { try $0.join() }
    #expect(results.count == downloads)
    #expect(origin.broken.load(ordering: .relaxed) >= downloads)
    if manner == .changing {
      for result in results {
        switch result {
        // Each answer breaks off, up to the eighth: an error says as much as a cut.
        case .whole, .cut, .refused(502): break
        case .refused, .wrong: Issue.record("\(result)")
        }
      }
    } else {
      #expect(results.filter { $0 != .whole(version: 0) } == [])
    }
    let records = proxy.server.recentEndings(4000)
    for record in records where record.evidence.ending.side == .upstream {
      // Each of them says what became of the download.
      let outcome = record.resumption?.outcome
      #expect(outcome != nil && (manner == .changing || outcome != .failed), "\(record)")
    }
    origin.stop()
    try proxy.expectQuiet()
  }
}
