// Too little room: a store whose cap is a fraction of what goes through it, bodies larger than the cap, and a
// disk that is really full. The cap holds on the disk, everything is still served right, and no client fails.
//
// The full disk is a tmpfs in a mount namespace of the process's own (unshare(1)), which needs a privilege or user
// namespaces; it is skipped where neither is to be had.

import Foundation
import Glibc
import SeededRandom
import Testing

extension WholeProgram {
  @Suite("Too little room")
  struct FullDiskTests {
    private static let cap = 64 << 20

    /// A client that did not get what it asked for.
    private struct Mishap: CustomStringConvertible, Sendable {
      var description: String
      /// Not just cut: other bytes, or fewer and no sign of it.
      var isWrong = false
    }

    /// Sends clients for all of it.
    private func fetch(
      _ resources: [Resource], clients: Int, _ port: UInt16, _ origin: ScriptedOrigin
    ) -> [Mishap] {
      let queue = Shared(Array(resources.reversed()))
      let results = concurrently(clients) { _ -> [Mishap] in
        var mishaps: [Mishap] = []
        var client: Client?
        while let resource = queue.withLock({ $0.popLast() }) {
          do {
            let connection = try client ?? Client(port: port)
            client = nil
            let answer = try connection.get(resource, of: origin)
            if !answer.isRight(resource) {
              mishaps.append(
                Mishap(description: "\(resource): \(answer)", isWrong: answer.isWrong(resource)))
            } else if answer.head.fields["connection"] != "close" {
              client = connection
            }
          } catch {
            mishaps.append(Mishap(description: "\(resource): \(error)"))
          }
        }
        return mishaps
      }
      return results.flatMap { result -> [Mishap] in
        switch result {
        case .success(let mishaps): mishaps
        case .failure(let error): [Mishap(description: "\(error)")]
        }
      }
    }

    /// Things of all sizes, together so many bytes; each third one is asked for again later.
    private func traffic(_ total: Int, largest: Int, seed: UInt64) -> [Resource] {
      var random = SeededGenerator(seed: seed)
      var resources: [Resource] = []
      var sum = 0
      while sum < total {
        let size: Int =
          switch Int.random(in: 0..<10, using: &random) {
          case 0..<5: Int.random(in: 100...16_384, using: &random)
          case 5..<8: Int.random(in: 16_384...400_000, using: &random)
          default: Int.random(in: 400_000...largest, using: &random)
          }
        let kind: Resource.Kind = Bool.random(using: &random) ? .length : .chunked
        resources.append(Resource(kind, size, "t\(resources.count)"))
        sum += size
        if resources.count % 3 == 0, let again = resources.randomElement(using: &random) {
          resources.append(again)
          sum += again.size
        }
      }
      return resources
    }

    @Test(
      "ten times its cap goes through a small store, which never takes more of the disk than that")
    func cap() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let store = directory.path + "/store"
      let holdfast = try HoldfastProcess(store: store, configuration: .init(size: "64MiB"))
      defer { holdfast.process.end() }
      let most = Shared(0)
      let sampler = Sampler {
        let usage = diskUsage(store, doubtingAbove: Self.cap)
        most.withLock { $0 = max($0, usage) }
      }
      let total = setting("HOLDFAST_CAP_TRAFFIC_MIB", default: 640) << 20
      let wrong = fetch(
        traffic(total, largest: 6 << 20, seed: runSeed), clients: 4, holdfast.port, origin)
      sampler.stop()
      let used = most.withLock { $0 }
      print("small store: \(mebibytes(used)) of \(mebibytes(Self.cap)) at most")
      #expect(wrong.count == 0, "\(wrong.prefix(5)), \(wrong.count) in all, seed \(runSeed)")
      #expect(used <= Self.cap)
      // Room was made, not just refused: the last things fetched are there.
      #expect(used > Self.cap / 2)
      let last = Resource(.length, 1 << 20, "last")
      #expect(try Client(port: holdfast.port).get(last, of: origin).isRight(last))
      try holdfast.waitUntilQuiet()
      origin.setReachable(false)
      #expect(try Client(port: holdfast.port).get(last, of: origin).isRight(last))
      holdfast.process.signal(SIGTERM)
      #expect(try holdfast.process.waitForEnd() == .exited(0))
      #expect(try HoldfastProcess.verify(store: store).code == 0)
    }

    @Test(
      "a body larger than the cap reaches its client whole",
      arguments: [Resource(.length, 80 << 20, "large"), Resource(.chunked, 80 << 20, "large")])
    func larger(_ resource: Resource) throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let store = directory.path + "/store"
      let holdfast = try HoldfastProcess(store: store, configuration: .init(size: "64MiB"))
      defer { holdfast.process.end() }
      let most = Shared(0)
      let sampler = Sampler {
        let usage = diskUsage(store, doubtingAbove: Self.cap)
        most.withLock { $0 = max($0, usage) }
      }
      let small = Resource(.length, 5000, "small")
      let wrong = fetch([small, resource, small, resource], clients: 1, holdfast.port, origin)
      sampler.stop()
      #expect(wrong.count == 0, "\(wrong)")
      #expect(most.withLock { $0 } <= Self.cap)
    }

    @Test(
      "a body of unknown length that fits but for its last piece is not cut and called complete")
    func lastPiece() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try HoldfastProcess(
        store: directory.path + "/store", configuration: .init(size: "16MiB"))
      defer { holdfast.process.end() }
      // Somewhere on the way the room ends just before the body does, wherever exactly that is.
      for size in stride(from: 8 << 20, through: 17 << 20, by: 96 << 10) {
        let resource = Resource(.chunked, size, "body")
        let answer = try Client(port: holdfast.port).get(resource, of: origin)
        #expect(!answer.isWrong(resource), "\(answer.received) of \(size)")
      }
    }

    // MARK: A full disk

    /// How a mount namespace is to be had here.
    private static let namespace: [String]? = {
      for words in [["/usr/bin/unshare", "-m"], ["/usr/bin/unshare", "-rm"]] {
        let script = ["/bin/sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]
        guard let probe = try? ChildProcess(words[0], Array(words.dropFirst()) + script) else {
          continue
        }
        if (try? probe.waitForEnd()) == .exited(0) { return words }
      }
      return nil
    }()

    @Test(
      "a full disk turns fills into relays: no client fails, and it is said once a minute at most",
      .enabled(if: namespace != nil, "neither a privilege to mount nor user namespaces"))
    func fullDisk() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      // The disk is mounted where the store will be, and seen by this process alone.
      let disk = directory.path + "/disk"
      try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
      let mount = [
        "/bin/sh", "-c", "mount -t tmpfs -o size=40m none \"$0\" && exec \"$@\"", disk,
      ]
      let start = Date()
      let store = disk + "/store"
      let holdfast = try HoldfastProcess(
        store: store, file: directory.path + "/holdfast.yaml",
        configuration: .init(size: "1GiB"), wrapper: (Self.namespace ?? []) + mount)
      defer { holdfast.process.end() }
      let wrong = fetch(
        traffic(120 << 20, largest: 6 << 20, seed: runSeed), clients: 4, holdfast.port, origin)
      let small = Resource(.length, 700, "small")
      let large = Resource(.length, 60 << 20, "large")
      let rest = fetch([small, large, small], clients: 1, holdfast.port, origin)
      #expect(!(wrong + rest).contains { $0.isWrong }, "seed \(runSeed)")
      #expect((wrong + rest).count == 0, "\(wrong.count + rest.count) cut, seed \(runSeed)")

      let warnings = try holdfast.process.wait(for: "a warning") { lines in
        let warnings = lines.filter { $0.contains("disk of the store is full") }
        return warnings.isEmpty ? nil : warnings
      }
      #expect(warnings.count <= 1 + Int(-start.timeIntervalSinceNow / 60))
      #expect(try holdfast.readiness() == 200)
      holdfast.process.signal(SIGTERM)
      #expect(try holdfast.process.waitForEnd() == .exited(0))
    }
  }
}
