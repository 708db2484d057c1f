// Disks that run out of other things than space, and that kernels make read-only. Real ones: a tmpfs or an ext4 in a
// file, in a mount namespace of the process's own, which goes with it. Skipped where that takes a privilege nobody has.

import Foundation
import Glibc
import Testing

extension WholeProgram {
  @Suite("Real disks")
  struct RealDiskTests {
    /// How a mount namespace is to be had here.
    private static let namespace: [String]? = works([["-m"], ["-rm"]]) {
      "mount -t tmpfs -o size=1m none /mnt"
    }

    /// A file system in a file, and the right to have the kernel take it for broken.
    private static let canBreak: Bool = {
      guard geteuid() == 0, let directory = try? TemporaryDirectory() else { return false }
      return works([["-m"]]) { make(directory.path) + " && " + mount(directory.path) } != nil
    }()

    private static func works(_ options: [[String]], _ script: () -> String) -> [String]? {
      for words in options {
        guard
          let probe = try? ChildProcess("/usr/bin/unshare", words + ["/bin/sh", "-c", script()])
        else { continue }
        if (try? probe.waitForEnd()) == .exited(0) { return ["/usr/bin/unshare"] + words }
      }
      return nil
    }

    private static func make(_ directory: String) -> String {
      "cd \(directory) && truncate -s 64M image && mkfs.ext4 -q -F image && mkdir -p disk"
    }

    private static func mount(_ directory: String) -> String {
      "mount -o loop,errors=remount-ro \(directory)/image \(directory)/disk"
    }

    /// The program on a disk of its own, which it alone sees.
    private func start(
      _ directory: TemporaryDirectory, mounting script: String,
      _ configuration: HoldfastProcess.Configuration
    ) throws -> HoldfastProcess {
      try FileManager.default.createDirectory(
        atPath: directory.path + "/disk", withIntermediateDirectories: true)
      return try HoldfastProcess(
        store: directory.path + "/disk/store", file: directory.path + "/holdfast.yaml",
        configuration: configuration,
        wrapper: (Self.namespace ?? []) + ["/bin/sh", "-c", script + " && exec \"$@\"", "sh"])
    }

    private func tmpfs(_ options: String, _ directory: TemporaryDirectory) -> String {
      "mount -t tmpfs -o \(options) none \(directory.path)/disk"
    }

    /// Fetches each thing, and has every byte compared.
    private func fetch(
      _ resources: [Resource], _ holdfast: HoldfastProcess, _ origin: ScriptedOrigin
    ) throws {
      for resource in resources {
        let answer = try Client(port: holdfast.port).get(resource, of: origin)
        #expect(answer.isRight(resource), "\(resource): \(answer)")
      }
    }

    private func expectWarning(_ words: String, _ holdfast: HoldfastProcess) throws {
      _ = try holdfast.process.wait(for: "“\(words)”") { lines in
        lines.contains { $0.contains(words) } ? true : nil
      }
    }

    private func end(_ holdfast: HoldfastProcess) throws {
      #expect(try holdfast.readiness() == 200)
      holdfast.process.signal(SIGTERM)
      #expect(try holdfast.process.waitForEnd() == .exited(0))
    }

    @Test(
      "without inodes, though there is space, answers are passed on",
      .enabled(if: namespace != nil, "neither a privilege to mount nor user namespaces"))
    func inodes() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try start(
        directory, mounting: tmpfs("size=200m,nr_inodes=40", directory), .init(size: "128MiB"))
      defer { holdfast.process.end() }
      let large = (0..<40).map {
        Resource($0 % 2 == 0 ? .length : .chunked, 40_000 + $0, "large-\($0)")
      }
      let small = (0..<10).map { Resource(.length, 500 + $0, "small-\($0)") }
      try fetch(small + large + small, holdfast, origin)
      try expectWarning("its inodes", holdfast)
      // What was stored before is served without its origin.
      origin.setReachable(false)
      try fetch([small[0], large[0]], holdfast, origin)
      try end(holdfast)
    }

    @Test(
      "what is to be kept free stays free: the oldest goes instead",
      .enabled(if: namespace != nil, "neither a privilege to mount nor user namespaces"))
    func keepFree() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try start(
        directory, mounting: tmpfs("size=64m", directory),
        .init(size: "256MiB", keepFree: "24MiB"))
      defer { holdfast.process.end() }
      let disk = "/proc/\(holdfast.process.id)/root\(directory.path)/disk"
      let least = Shared(Int.max)
      let sampler = Sampler {
        var status = statvfs()
        guard statvfs(disk, &status) == 0 else { return }
        let free = Int(status.f_bavail) * Int(status.f_frsize)
        least.withLock { $0 = min($0, free) }
      }
      let resources = (0..<60).map { number in
        Resource(number % 3 == 0 ? .chunked : .length, 1_500_000 + number, "body-\(number)")
      }
      try fetch(resources, holdfast, origin)
      sampler.stop()
      let free = least.withLock { $0 }
      print("floor of 24 MiB: \(mebibytes(free)) were free at least")
      #expect(free != .max)
      // The log may take one segment more, 4 MiB here, while it makes room.
      #expect(free >= 19 << 20)
      try holdfast.waitUntilQuiet()
      origin.setReachable(false)
      try fetch([resources[59], resources[58]], holdfast, origin)
      try end(holdfast)
    }

    @Test(
      "a file system that its kernel makes read-only takes away storing, not serving",
      .enabled(if: canBreak, "needs root, loop devices and mkfs.ext4"))
    func readOnly() throws {
      let directory = try TemporaryDirectory()
      let origin = try ScriptedOrigin()
      defer { origin.stop() }
      let holdfast = try start(
        directory, mounting: Self.make(directory.path) + " && " + Self.mount(directory.path),
        .init(size: "32MiB"))
      defer { holdfast.process.end() }
      let stored = [Resource(.length, 500, "small"), Resource(.length, 300_000, "large")]
      try fetch(stored, holdfast, origin)
      try holdfast.waitUntilQuiet()
      // As after an error of the disk (ext4(5), errors=remount-ro).
      let breaker = try ChildProcess(
        "/usr/bin/nsenter",
        [
          "-t", "\(holdfast.process.id)", "-m", "mount", "-o", "remount,abort",
          directory.path + "/disk",
        ])
      #expect(try breaker.waitForEnd() == .exited(0))
      let fresh = [
        Resource(.length, 700, "a"), Resource(.chunked, 900, "b"),
        Resource(.length, 400_000, "c"), Resource(.length, 2_000_000, "d"),
      ]
      try fetch(fresh + stored + fresh, holdfast, origin)
      try expectWarning("has become read-only", holdfast)
      origin.setReachable(false)
      try fetch(stored, holdfast, origin)
      try end(holdfast)
    }
  }
}
