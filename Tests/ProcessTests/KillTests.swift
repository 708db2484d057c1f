// SIGKILL at random moments: while bodies grow, right after answers have ended, and while a start is still
// reading what the last kill left behind. After each one the store is verified as it lies, started again, and
// asked for everything that anybody ever asked for.
//
// What must hold: no byte is ever wrong, what is framed as complete is complete, `partial/` has only what can be
// gone on with after the start, and what was once found again after a start is found after every later one (the
// cap is never reached).
// When the kill comes is measured in bytes the origin has sent, so slow and fast machines meet the same moments.

import Foundation
import SeededRandom
import Testing

extension WholeProgram {
  @Suite("Killed at any moment")
  struct KillTests {
    @Test("killed at random moments, it never serves a wrong byte and never loses what was kept")
    func kills() throws {
      let lanes = max(1, setting("HOLDFAST_KILL_LANES", default: 2))
      let kills = setting("HOLDFAST_KILLS", default: 100)
      let seed = runSeed
      let results = concurrently(lanes) { lane in
        let rounds = kills / lanes + (lane < kills % lanes ? 1 : 0)
        let run = try KillRun(seed: seed &+ UInt64(lane) &* 1_000_003)
        defer { run.origin.stop() }
        for _ in 0..<rounds { try run.round() }
        try run.end()
        return run.tally
      }
      for (lane, result) in results.enumerated() {
        switch result {
        case .success(let tally):
          print("killed, store \(lane): \(tally)")
          for problem in tally.problems { Issue.record("store \(lane), seed \(seed): \(problem)") }
        case .failure(let error):
          Issue.record("store \(lane), seed \(seed): \(error)")
        }
      }
    }
  }
}

/// What came of it.
struct KillTally: Sendable, CustomStringConvertible {
  var kills = 0
  var killsWhileStarting = 0
  var leftovers = 0
  var checked = 0
  var hits = 0
  var cut = 0
  var problems: [String] = []

  var description: String {
    "\(kills) kills, \(killsWhileStarting) of them at the start; \(leftovers) unfinished bodies left behind; "
      + "\(checked) answers checked, \(hits) from the store, \(cut) cut by a kill"
  }
}

/// One store and everything that happens to it.
private final class KillRun {
  let origin: ScriptedOrigin
  private let directory: TemporaryDirectory
  private var store: String { directory.path + "/store" }
  private var random: SeededGenerator
  private var asked: [Resource] = []
  /// Served by a process that cannot have got it from anywhere but the disk.
  private var kept: Set<Resource> = []
  private(set) var tally = KillTally()

  init(seed: UInt64) throws {
    random = SeededGenerator(seed: seed)
    directory = try TemporaryDirectory()
    origin = try ScriptedOrigin()
  }

  func round() throws {
    let isReachable = Int.random(in: 0..<10, using: &random) < 6
    if Int.random(in: 0..<8, using: &random) == 0 { try killWhileStarting() }
    let holdfast = try HoldfastProcess(store: store)
    defer { holdfast.process.end() }
    origin.setReachable(isReachable)
    try check(holdfast, isReachable: isReachable)
    origin.setReachable(true)
    try attack(holdfast)
    try verify()
  }

  /// An orderly end, and a start after it.
  func end() throws {
    let last = try HoldfastProcess(store: store)
    origin.setReachable(true)
    try check(last, isReachable: true, isLast: true)
    last.process.signal(SIGTERM)
    let ending = try last.process.waitForEnd()
    if ending != .exited(0) { tally.problems.append("SIGTERM ended it with \(ending)") }
    try verify()
    let holdfast = try HoldfastProcess(store: store)
    defer { holdfast.process.end() }
    origin.setReachable(false)
    try check(holdfast, isReachable: false, isLast: true)
  }

  private func killWhileStarting() throws {
    let process = try HoldfastProcess.launch(store: store)
    usleep(UInt32.random(in: 0..<150_000, using: &random))
    process.end()
    tally.kills += 1
    tally.killsWhileStarting += 1
  }

  // MARK: Asking for everything again

  private func check(_ holdfast: HoldfastProcess, isReachable: Bool, isLast: Bool = false) throws {
    try holdfast.waitUntilRecovered()
    let strays = HoldfastProcess.strays(store: store)
    if !strays.isEmpty { tally.problems.append("in partial/ after a start: \(strays)") }
    var client = try Client(port: holdfast.port)
    for resource in isLast ? asked : sample() {
      let before = origin.requestCount(resource)
      let answer = try client.get(resource, of: origin)
      tally.checked += 1
      if answer.head.fields["connection"] == "close" || !answer.isComplete {
        client = try Client(port: holdfast.port)
      }
      let isFromStore = answer.isRight(resource) && origin.requestCount(resource) == before
      if isFromStore {
        tally.hits += 1
        kept.insert(resource)
      } else if answer.isRight(resource) && isReachable {
        // Fetched or confirmed. What is fetched now is kept by the time the next start finds it.
        if kept.contains(resource), resource.kind != .validated {
          tally.problems.append("\(resource) was kept and is lost")
        }
      } else if isReachable || answer.status < 500 || !answer.isComplete {
        tally.problems.append("\(resource): \(answer)")
      } else if kept.contains(resource) {
        tally.problems.append("\(resource) was kept and is lost: \(answer.status)")
      }
    }
  }

  /// Everything; in long runs what was asked for last, and some of the rest.
  private func sample() -> [Resource] {
    guard asked.count > 400 else { return asked }
    return asked.dropLast(100).shuffled(using: &random).prefix(200) + asked.suffix(100)
  }

  private func verify() throws {
    let result = try HoldfastProcess.verify(store: store)
    if result.code != 0 { tally.problems.append("verify: \(result.text)") }
  }

  // MARK: Killing it at work

  /// Clients fetch new things and old ones, and somewhere on the way the process is gone.
  private func attack(_ holdfast: HoldfastProcess) throws {
    let round = tally.kills
    var wanted = (0..<8).map { newResource(number: $0, round: round) }
    let fresh = wanted.reduce(0) { $0 + $1.size }
    asked += wanted
    wanted += asked.shuffled(using: &random).prefix(4)
    wanted += wanted.prefix(3)
    wanted.shuffle(using: &random)
    // Past the end of everything for some: then all answers are out, and the log has yet to be written.
    let limit = Int.random(in: 0...(fresh + fresh / 5), using: &random)
    let before = origin.state.withLock { $0.sent }

    let queue = Shared(wanted)
    let port = holdfast.port
    let origin = self.origin
    let crew = Crew(4) { _ in
      var answers: [(Resource, Answer)] = []
      var client: Client?
      while let resource = queue.withLock({ $0.popLast() }) {
        do {
          let connection = try client ?? Client(port: port)
          let answer = try connection.get(resource, of: origin)
          answers.append((resource, answer))
          client = answer.isComplete ? connection : nil
        } catch {
          // Cut before the head, or the process is gone.
          client = nil
        }
      }
      return answers
    }
    while origin.state.withLock({ $0.sent }) - before < limit, !crew.isFinished { usleep(500) }
    if crew.isFinished { usleep(UInt32.random(in: 0..<20_000, using: &random)) }
    holdfast.process.signal(SIGKILL)
    try holdfast.process.waitForEnd()
    tally.kills += 1
    tally.leftovers += HoldfastProcess.partials(store: store).count { !$0.hasSuffix(".about") }
    for result in crew.results() {
      for (resource, answer) in try result.get() {
        tally.checked += 1
        if !answer.isComplete { tally.cut += 1 }
        // With its origin in reach it has no reason to refuse either.
        if answer.isWrong(resource) || answer.status != 200 {
          tally.problems.append("\(resource), about to be killed: \(answer)")
        }
      }
    }
  }

  private func newResource(number: Int, round: Int) -> Resource {
    let kind: Resource.Kind =
      switch number {
      case 0, 1, 2: .length
      case 3, 4: .chunked
      case 5: .validated
      case 6: .close
      default: Resource.Kind.allCases.randomElement(using: &random) ?? .length
      }
    // Around 16 KiB lies the border between inline bodies and blobs.
    let size: Int =
      switch Int.random(in: 0..<8, using: &random) {
      case 0: Int.random(in: 0...100, using: &random)
      case 1, 2: Int.random(in: 100...16_000, using: &random)
      case 3: Int.random(in: 16_380...16_390, using: &random)
      case 4, 5: Int.random(in: 17_000...300_000, using: &random)
      default: Int.random(in: 300_000...3_000_000, using: &random)
      }
    return Resource(kind, size, "r\(round)-\(number)")
  }
}
