// A whole proxy on virtual time, many times over: see docs/testing.md and Tests/Simulation.

import Glibc
import Platform
import Simulation
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

  @Test("no answer is wrong, short or missing, and nothing is lost", arguments: Scenario.Kind.allCases)
  func holds(kind: Scenario.Kind) throws {
    try inMemory { directory in
      let report = Run.perform(seed: 1, kind: kind, transactions: 500, directory: directory)
      print(report.seed, report.scenario, report.transactions, report.virtualSeconds, report.tallies)
      #expect(report.violations.isEmpty)
    }
  }

  private func inMemory(_ body: (String) throws -> Void) throws {
    let parent = (try? File.status(at: "/dev/shm")) != nil ? "/dev/shm" : "/tmp"
    let directory = try File.makeTemporaryDirectory(prefix: "holdfast-simulation-", in: parent)
    defer { try? File.removeTree(directory) }
    try body(directory)
  }
}
