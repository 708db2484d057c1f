// Files and directories, whole and failing.

import Platform
import Testing

/// A directory of the test's own, gone when the test is over.
final class TemporaryDirectory {
  let path: String

  init() throws {
    path = try File.makeTemporaryDirectory(prefix: "holdfast-platform-")
  }

  deinit {
    try? File.removeTree(path)
  }
}

@Suite("Files")
struct FileTests {
  private func write(_ text: String, to path: String) throws {
    let file = try File.open(path, [.write, .create, .truncate])
    try Array(text.utf8).withUnsafeBytes { try File.writeFully(file.rawValue, $0, at: 0) }
  }

  private func read(_ path: String) throws -> String {
    let file = try File.open(path)
    return try withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
      let count = try File.readFully(file.rawValue, into: buffer, at: 0)
      return String(decoding: buffer[..<count], as: UTF8.self)
    }
  }

  @Test("what was written is read back, from any offset")
  func readBack() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/file"
    try write("hello, world", to: path)
    #expect(try read(path) == "hello, world")
    let file = try File.open(path)
    var bytes = [UInt8](repeating: 0, count: 5)
    let atSeven = try bytes.withUnsafeMutableBytes {
      try File.pread(file.rawValue, into: $0, at: 7)
    }
    #expect(atSeven == 5)
    #expect(String(decoding: bytes, as: UTF8.self) == "world")
    let atEnd = try bytes.withUnsafeMutableBytes { try File.pread(file.rawValue, into: $0, at: 12) }
    #expect(atEnd == 0)
    let status = try File.status(file.rawValue)
    #expect(
      status.size == 12 && status.kind == .file && status.linkCount == 1 && status.mode & 0o077 == 0
    )
  }

  @Test("a rename takes the name over, a link refuses to")
  func renameAndLink() throws {
    let directory = try TemporaryDirectory()
    let (a, b) = (directory.path + "/a", directory.path + "/b")
    try write("new", to: a)
    try write("old", to: b)
    #expect(throws: Errno.fileExists) { try File.link(a, to: b) }
    try File.rename(a, to: b)
    #expect(try read(b) == "new")
    #expect(throws: Errno.noSuchFile) { try File.status(at: a) }
    try File.syncDirectory(directory.path)
  }

  @Test("a directory lists what is in it")
  func list() throws {
    let directory = try TemporaryDirectory()
    try write("x", to: directory.path + "/file")
    try File.makeDirectories(directory.path + "/one/two/three")
    try File.makeDirectories(directory.path + "/one/two/three")
    let entries = try File.list(directory.path)
    #expect(Set(entries.map(\.name)) == ["file", "one"])
    #expect(entries.first { $0.name == "one" }?.kind == .directory)
    #expect(entries.first { $0.name == "file" }?.kind == .file)
    #expect(throws: Errno.directoryNotEmpty) { try File.removeDirectory(directory.path + "/one") }
    #expect(throws: Errno.noSuchFile) { try File.list(directory.path + "/none") }
  }

  @Test("a lock is held by one open descriptor, and free when it is closed")
  func lock() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path + "/lock"
    do {
      let first = try File.open(path, [.readWrite, .create])
      #expect(try File.lock(first.rawValue))
      let second = try File.open(path, .readWrite)
      #expect(try !File.lock(second.rawValue))
    }
    let third = try File.open(path, .readWrite)
    #expect(try File.lock(third.rawValue))
  }

  @Test("reserving space leaves the length alone, truncating sets it")
  func allocateAndTruncate() throws {
    let directory = try TemporaryDirectory()
    let file = try File.open(directory.path + "/file", [.readWrite, .create])
    // Where the file system cannot reserve, callers do without.
    if (try? File.allocate(file.rawValue, count: 65_536)) != nil {
      #expect(try File.status(file.rawValue).allocated >= 65_536)
    }
    #expect(try File.status(file.rawValue).size == 0)
    try File.truncate(file.rawValue, to: 100)
    #expect(try File.status(file.rawValue).size == 100)
  }

  @Test("bytes that were just read or written are resident, bytes that do not exist are not")
  func resident() throws {
    let directory = try TemporaryDirectory()
    try write(String(repeating: "x", count: 10_000), to: directory.path + "/file")
    let file = try File.open(directory.path + "/file")
    // A busy machine may drop or move pages at any moment, so ask until they have stayed long enough to be seen.
    var bytes = [UInt8](repeating: 0, count: 10_000)
    for (offset, count) in [(0, 10_000), (5_000, 5_000), (9_999, 1)] {
      while !File.isResident(file.rawValue, offset: Int64(offset), count: count) {
        _ = try bytes.withUnsafeMutableBytes { try File.readFully(file.rawValue, into: $0, at: 0) }
      }
    }
    #expect(File.isResident(file.rawValue, offset: 0, count: 0))
    #expect(!File.isResident(file.rawValue, offset: 1 << 20, count: 4096))
  }

  @Test("a symbolic link is not followed unless asked")
  func links() throws {
    let directory = try TemporaryDirectory()
    #expect(throws: Errno.symbolicLinkLoop) { _ = try File.open("/proc/self/exe").rawValue }
    #expect(throws: Never.self) { _ = try File.open("/proc/self/exe", .followLinks).rawValue }
    #expect(throws: Errno.fileExists) {
      try write("x", to: directory.path + "/f")
      _ = try File.open(directory.path + "/f", [.write, .create, .exclusive]).rawValue
    }
    #expect(throws: Errno.notADirectory) {
      _ = try File.open(directory.path + "/f", .directory).rawValue
    }
  }

  @Test("the file system tells its space")
  func space() throws {
    let space = try File.space(at: "/")
    #expect(space.total > 0 && space.available <= space.total)
  }
}

#if DEBUG
  @Suite("Failures on order")
  struct FaultPlanTests {
    @Test("the Nth call fails, the others do not, and nobody else's")
    func nth() throws {
      let mine = try TemporaryDirectory()
      let other = try TemporaryDirectory()
      let plan = FaultPlan(in: .directory(mine.path), failing: [.write], number: 2, with: .noSpace)
      plan.install()
      defer { plan.remove() }
      let file = try File.open(mine.path + "/f", [.write, .create])
      let elsewhere = try File.open(other.path + "/f", [.write, .create])
      func write(_ fd: Int32) throws -> Int {
        try [UInt8(1)].withUnsafeBytes { try File.pwrite(fd, $0, at: 0) }
      }
      #expect(try write(file.rawValue) == 1)
      #expect(try write(elsewhere.rawValue) == 1)
      #expect(throws: Errno.noSpace) { try write(file.rawValue) }
      #expect(try write(file.rawValue) == 1)
      #expect(plan.fired == 1 && plan.seen == 3)
    }

    /// Five calls that may fail.
    private func writeAside(in directory: String) throws {
      let file = try File.open(directory + "/a", [.write, .create])
      try [UInt8(1)].withUnsafeBytes { try File.writeFully(file.rawValue, $0, at: 0) }
      try File.fdatasync(file.rawValue)
      try File.rename(directory + "/a", to: directory + "/b")
      try File.unlink(directory + "/b")
    }

    @Test("a sweep over all calls comes to an end")
    func sweep() throws {
      let directory = try TemporaryDirectory()
      var failures = 0
      for number in 1...100 {
        let plan = FaultPlan(in: .directory(directory.path), number: number, with: .inputOutput)
        plan.install()
        defer { plan.remove() }
        do {
          try writeAside(in: directory.path)
        } catch {
          #expect(error as? Errno == .inputOutput)
          failures += 1
        }
        if plan.fired == 0 { break }
      }
      #expect(failures == 5)
    }

    @Test("a disk that is gone stays gone")
    func repeats() throws {
      let directory = try TemporaryDirectory()
      let plan = FaultPlan(
        in: .directory(directory.path), failing: [.open], number: 1, with: .inputOutput,
        repeats: true)
      plan.install()
      for _ in 1...3 {
        #expect(throws: Errno.inputOutput) {
          _ = try File.open(directory.path + "/f", [.write, .create]).rawValue
        }
      }
      plan.remove()
      #expect(throws: Never.self) {
        _ = try File.open(directory.path + "/f", [.write, .create]).rawValue
      }
    }
  }
#endif
