// The program from outside: `holdfast` as a process of its own, real sockets, a real disk, and what cannot be
// shown from within, such as a kill at any moment, memory, and full disks. Nothing of the program is linked in,
// so whatever these tests hold it to, a user can hold it to.
//
// The suites run one after the other: they measure, and there are few cores. What makes them heavier:
//
//   HOLDFAST_EXECUTABLE        the program to test; default: the one built beside the tests
//   HOLDFAST_KILLS             how often to kill it in KillTests (100)
//   HOLDFAST_KILL_LANES        how many stores to do that on side by side (2)
//   HOLDFAST_SEED              seed of everything random; each run prints its own
//   HOLDFAST_IDLE_CONNECTIONS  idle connections in IdleConnectionTests (10000)
//   HOLDFAST_SLOW_SECONDS      how long the slow clients of StampedeTests read (12)
//   HOLDFAST_CAP_TRAFFIC_MIB   traffic through the small store of FullDiskTests (640)

import Foundation
import Testing

@Suite("The whole program", .serialized)
enum WholeProgram {}

/// A number from the environment.
func setting(_ name: String, default value: Int) -> Int {
  ProcessInfo.processInfo.environment[name].flatMap { Int($0) } ?? value
}

/// The seed of this run, said once so that a failure can be had again.
let runSeed: UInt64 = {
  let given = ProcessInfo.processInfo.environment["HOLDFAST_SEED"].flatMap { UInt64($0) }
  let seed = given ?? UInt64.random(in: 0...999_999)
  print("process tests: HOLDFAST_SEED=\(seed)")
  return seed
}()
