// A whole proxy on virtual time, many times over: see docs/testing.md and Tests/Simulation.
//
// HOLDFAST_TRANSACTIONS and HOLDFAST_SEED say how much and from where. A seed that is printed and given back with
// HOLDFAST_TRANSACTIONS=1 repeats that run (and the next one); HOLDFAST_KEEP keeps its store and access log.

import Glibc
import Platform
import Simulation
import Synchronization
import Testing

@Suite("Simulation")
struct SimulationTests {
  @Test("the same seed does the same")
  func sameSeed() throws {
    try inMemory { directory in
      let first = Run.perform(seed: 42, kind: .storm, transactions: 300, directory: directory)
      let second = Run.perform(seed: 42, kind: .storm, transactions: 300, directory: directory)
      #expect(first.trace == second.trace)
      #expect(first.tallies == second.tallies)
    }
  }

  /// Two parts side by side, of every other seed each.
  @Test("no answer is wrong, short or missing, and nothing is lost", arguments: 0..<2)
  func holds(part: Int) throws {
    let wanted = number("HOLDFAST_TRANSACTIONS") ?? 4_000
    let firstSeed = UInt64(number("HOLDFAST_SEED") ?? 1)
    try inMemory { directory in
      var seed = firstSeed + UInt64(part)
      var done = 0
      var tallies: [String: Int] = [:]
      repeat {
        if getenv("HOLDFAST_VERBOSE") != nil { say("seed \(seed)") }
        let report = Run.perform(seed: seed, transactions: 1000, directory: directory)
        if !report.violations.isEmpty {
          say("seed \(seed) (\(report.scenario)):")
          for violation in report.violations.prefix(6) { say("  \(violation)") }
          Issue.record(
            "seed \(seed): \(report.violations.count) violations, \(report.violations[0])")
        }
        done += report.transactions
        tallies.merge(report.tallies, uniquingKeysWith: +)
        seed += 2
      } while done < wanted / 2
      say(
        "\(done) transactions, seeds \(firstSeed + UInt64(part)) to \(seed - 2): \(tallies.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))"
      )
    }
  }

  @Test(
    "what does not fit into a socket goes out when there is room again",
    arguments: [1, 2, 3] as [UInt64])
  func smallWindows(seed: UInt64) throws {
    try inMemory { directory in
      let report = Run.perform(
        seed: seed, kind: .calm, transactions: 200, hasSmallWindows: true, directory: directory)
      #expect(report.violations.isEmpty)
    }
  }

  /// Each found something once: an answer that stood still, a loop that span, an answer cut short that looked whole,
  /// and 500 in the place of a part that the disk had lost, twice.
  @Test(
    "seeds that found something find nothing",
    arguments: [1, 103, 1011, 1020, 1037, 1041] as [UInt64])
  func found(seed: UInt64) throws {
    try inMemory { directory in
      let report = Run.perform(seed: seed, directory: directory)
      #expect(report.violations.isEmpty)
    }
  }

  private func say(_ line: String) {
    var line = line + "\n"
    line.withUTF8 { _ = Glibc.write(1, $0.baseAddress, $0.count) }
  }

  private func number(_ name: String) -> Int? {
    getenv(name).flatMap { Int(String(cString: $0)) }
  }

  private func inMemory(_ body: (String) throws -> Void) throws {
    let parent = (try? File.status(at: "/dev/shm")) != nil ? "/dev/shm" : "/tmp"
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-simulation-", in: parent)
    defer { if getenv("HOLDFAST_KEEP") == nil { try? File.removeTree(directory) } }
    try body(directory)
  }
}
